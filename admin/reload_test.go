package admin

import (
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
)

// reloader is a process whose configuration can be read again.
type reloader struct {
	times int
	unfit bool
	err   error
}

func (r *reloader) reload() (bool, error) { r.times++; return r.unfit, r.err }

func TestReload(t *testing.T) {
	r := &reloader{}
	h := newHandler(t, Options{Reload: r.reload})
	post := func(path, from string, header ...string) (int, string) {
		t.Helper()
		request, w := httptest.NewRequest("POST", "http://127.0.0.1"+path, nil), httptest.NewRecorder()
		request.RemoteAddr = from
		for i := 0; i < len(header); i += 2 {
			request.Header.Set(header[i], header[i+1])
		}
		h.ServeHTTP(w, request)
		return w.Code, strings.TrimSpace(w.Body.String())
	}
	const here, elsewhere = "127.0.0.1:1", "10.0.0.7:1"
	if status, text := post("/reload", here); status != 200 || text != "reloaded" || r.times != 1 {
		t.Errorf("%d %q, reloaded %d times", status, text, r.times)
	}
	r.err = errors.New("edge.yaml:7: engine.ping_interval: \"x\" is not a duration\nedge.yaml:8: b: unknown key")
	if status, text := post("/reload", "[::1]:1"); status != 400 || text != r.err.Error() {
		t.Errorf("faults: %d %q", status, text)
	}
	r.unfit = true
	if status, text := post("/reload", here); status != 409 || text != r.err.Error() {
		t.Errorf("it needs a restart: %d %q", status, text)
	}
	times := r.times
	for _, refused := range []struct {
		status int
		path   string
		from   string
		header []string
	}{
		{403, "/reload", elsewhere, nil},
		{400, "/reload?now", here, nil},
		{403, "/reload", here, []string{"Origin", "http://127.0.0.1:3001"}},
		{403, "/reload", here, []string{"Origin", "null"}},
		{403, "/reload", here, []string{"Sec-Fetch-Site", "same-origin"}},
		{403, "/reload", here, []string{"Referer", "https://evil.example/"}},
	} {
		if status, text := post(refused.path, refused.from, refused.header...); status != refused.status || r.times > times {
			t.Errorf("%+v: %d %q, reloaded %d times more", refused, status, text, r.times-times)
		}
	}
	if status, _ := get(t, h, "GET", "/reload"); status != 405 {
		t.Errorf("GET: %d", status)
	}
	h = newHandler(t, Options{Reload: (&reloader{}).reload, Token: "s3cret"})
	if status, _ := post("/reload", here); status != 401 {
		t.Errorf("without the token: %d", status)
	}
	if status, text := post("/reload", elsewhere, "Authorization", "Bearer s3cret"); status != 200 {
		t.Errorf("with the token: %d %q", status, text)
	}
	if status, _ := get(t, newHandler(t, Options{}), "POST", "/reload"); status != 404 {
		t.Errorf("without a configuration: %d", status)
	}
}
