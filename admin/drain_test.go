package admin

import (
	"errors"
	"net/http/httptest"
	"testing"
)

// drainer records its calls.
type drainer struct {
	drains   int
	draining bool
	broken   error
}

func (d *drainer) Drain() { d.drains++; d.draining = true }
func (d *drainer) Return() error {
	if d.broken == nil {
		d.draining = false
	}
	return d.broken
}

func TestDrain(t *testing.T) {
	d := &drainer{}
	h := newHandler(t, Options{Drain: d, Ready: func() []string {
		if d.draining {
			return []string{"draining: 7 left"}
		}
		return nil
	}})
	expect := func(method, path string, status int, body string) {
		t.Helper()
		if gotStatus, gotBody := get(t, h, method, path); gotStatus != status || body != "" && gotBody != body+"\n" {
			t.Errorf("%s %s: %d %q, want %d %q", method, path, gotStatus, gotBody, status, body)
		}
	}
	expect("GET", "/drain", 405, "")
	expect("POST", "/drain?cancle", 400, "")
	expect("POST", "/drain?cancel", 200, "ready")
	if d.drains > 0 {
		t.Fatal("it drains without a request")
	}
	expect("POST", "/drain", 202, "draining: 7 left")
	expect("GET", "/readyz", 503, "draining: 7 left")
	expect("POST", "/drain?cancel", 200, "ready")
	d.broken = errors.New("too late")
	expect("POST", "/drain?cancel", 409, "too late")
	if status, _ := get(t, newHandler(t, Options{}), "POST", "/drain"); status != 404 {
		t.Errorf("without a drainer: %d", status)
	}
}

// A web page in the operator's browser can POST to any address that the browser reaches, but the browser adds a
// header.
func TestWebPagesCannotDrain(t *testing.T) {
	d := &drainer{}
	h := newHandler(t, Options{Drain: d})
	for _, header := range [][2]string{
		{"Origin", "https://evil.example"}, {"Origin", "null"}, {"Origin", "http://127.0.0.1:3001"}, {"Origin", ""},
		{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-origin"}, {"Referer", "https://evil.example/"},
	} {
		r, w := httptest.NewRequest("POST", "http://localhost/drain", nil), httptest.NewRecorder()
		r.Header.Set(header[0], header[1])
		if h.ServeHTTP(w, r); w.Code != 403 || d.drains > 0 {
			t.Errorf("with %s: %q it is answered %d, drains: %d", header[0], header[1], w.Code, d.drains)
		}
	}
}
