package api

import (
	"io"
	"mime"
	"net/http"
	"time"
)

// leastBody is what each body counts from its beginning on, in bytes.
const leastBody = 512

// body is the body of one request. What has come of it counts against the bound of all: one that says that it is large, or
// that does not say how large it is, takes no more of that than twice what it sends.
type body struct {
	of   *request
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
	err := b.readAll(http.MaxBytesReader(w, r.Body, int64(b.most)))
	if err == nil { // else it bounds the rest, which net/http reads
		_ = control.SetReadDeadline(time.Time{}) // or it would end the request's context
	}
	return err
}

// readAll reads what comes, into memory that counts. io.Copy would take 32 KiB more for each request.
func (b *body) readAll(from io.Reader) error {
	for {
		if len(b.text) == cap(b.text) {
			if err := b.grow(); err != nil {
				return err
			}
		}
		n, err := from.Read(b.text[len(b.text):cap(b.text)])
		b.text = b.text[:len(b.text)+n]
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// grow makes room for more, if all bodies may have so much.
func (b *body) grow() error {
	grown := min(max(2*cap(b.text), leastBody), b.most+1) // the last byte is for the error that it is too large
	if !b.count(grown) {
		b.count(-grown)
		return problemOf(busy, "the bodies under way have %d bytes, or those of this key %d", mostBodies, mostOfKey)
	}
	text := append(make([]byte, 0, grown), b.text...)
	b.release()
	b.text = text
	return nil
}

// release takes the body off what counts.
func (b *body) release() { b.count(-cap(b.text)) }

// count counts bytes, and reports whether there may be so many.
func (b *body) count(bytes int) bool {
	n := int64(bytes)
	ofKey, all := b.of.holder.bodies.Add(n), b.of.API.bodies.Add(n)
	return ofKey <= mostOfKey && all <= mostBodies
}
