package api

import (
	"io"
	"mime"
	"net/http"
	"time"
)

// body is the body of one request. What has come of it counts against the bound of all: one that says that it is large, or
// that does not say how large it is, takes no more of that than it sends.
type body struct {
	api  *API
	most int    // bytes that it may have
	text []byte // its capacity counts
}

// read reads a body, which must come soon. The caller must release it.
func (b *body) read(w http.ResponseWriter, r *http.Request) error {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return problemOf(notJSON, "send Content-Type: application/json")
	}
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(bodyTime))
	_, err := io.Copy(b, http.MaxBytesReader(w, r.Body, int64(b.most)))
	_ = control.SetReadDeadline(time.Time{}) // else it would end the request's context
	return err
}

// Write appends what has come.
func (b *body) Write(part []byte) (int, error) {
	const least = 4096
	if need := len(b.text) + len(part); need > cap(b.text) {
		grown := max(need, min(max(2*cap(b.text), least), b.most))
		if b.api.bodies.Add(int64(grown)) > mostBodies {
			b.api.bodies.Add(-int64(grown))
			return 0, problemOf(busy, "the bodies under way have %d bytes", mostBodies)
		}
		text := append(make([]byte, 0, grown), b.text...)
		b.release()
		b.text = text
	}
	b.text = append(b.text, part...)
	return len(part), nil
}

// release takes the body off what counts.
func (b *body) release() { b.api.bodies.Add(-int64(cap(b.text))) }
