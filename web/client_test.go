package web

import (
	"compress/gzip"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
)

// bundle is a stand-in for what fetch-client.sh copies.
var bundle = fstest.MapFS{
	"README.md":                    {Data: []byte("placeholder")},
	"VERSION":                      {Data: []byte("4.8.4\n")},
	"socket.io.js":                 {Data: []byte("window.io = 1;")},
	"socket.io.js.map":             {Data: []byte("{}")},
	"socket.io.min.js":             {Data: []byte("io=2")},
	"socket.io.min.js.map":         {Data: []byte("{}")},
	"socket.io.esm.min.js":         {Data: []byte("export default 3")},
	"socket.io.esm.min.js.map":     {Data: []byte("{}")},
	"socket.io.msgpack.min.js":     {Data: []byte("io=4")},
	"socket.io.msgpack.min.js.map": {Data: []byte("{}")},
}

// get sends a request with the headers given in pairs.
func get(t *testing.T, handler http.Handler, method, path string, headers ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	return w.Result()
}

func bodyOf(t *testing.T, response *http.Response) string {
	t.Helper()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestClientServesAsTheReference(t *testing.T) {
	c := newClient(bundle)
	for name, file := range bundle {
		if !strings.HasPrefix(name, "socket.io") {
			if c.Has(name) {
				t.Errorf("Has(%q) is true", name)
			}
			continue
		}
		if !c.Has(name) {
			t.Errorf("Has(%q) is false", name)
		}
		response := get(t, c, "GET", "/socket.io/"+name+"?v=1")
		contentType := "application/javascript; charset=utf-8"
		if strings.HasSuffix(name, ".map") {
			contentType = "application/json; charset=utf-8"
		}
		for header, want := range map[string]string{
			"Cache-Control":    "public, max-age=0",
			"Content-Type":     contentType,
			"Etag":             `"4.8.4"`,
			"Content-Encoding": "",
			"Vary":             "Accept-Encoding",
		} {
			if got := response.Header.Get(header); got != want {
				t.Errorf("%s: %s is %q, want %q", name, header, got, want)
			}
		}
		if body := bodyOf(t, response); response.StatusCode != 200 || body != string(file.Data) {
			t.Errorf("%s: %d %q", name, response.StatusCode, body)
		}
	}
}

func TestClientIsRevalidated(t *testing.T) {
	c := newClient(bundle)
	for etag, status := range map[string]int{`"4.8.4"`: 304, `W/"4.8.4"`: 304, `"4.8.3"`: 200, "4.8.4": 200} {
		response := get(t, c, "GET", "/socket.io/socket.io.js", "If-None-Match", etag)
		if response.StatusCode != status {
			t.Errorf("If-None-Match: %s: status %d, want %d", etag, response.StatusCode, status)
		}
		if body := bodyOf(t, response); status == 304 && body != "" {
			t.Errorf("If-None-Match: %s: a 304 with the body %q", etag, body)
		}
	}
}

func TestClientGzip(t *testing.T) {
	c := newClient(bundle)
	for accept, compressed := range map[string]bool{
		"gzip, deflate, br, zstd": true, "GZIP": true, "*": true, "gzip;q=0.5": true, "br, gzip; q=1.0": true,
		"": false, "identity": false, "gzip;q=0": false, "gzip;q=0, *": false, "*;q=0": false, "br": false,
		"gzip;q=x": false,
	} {
		for range 2 { // the second time from memory
			response := get(t, c, "GET", "/socket.io/socket.io.js", "Accept-Encoding", accept)
			if got := response.Header.Get("Content-Encoding") == "gzip"; got != compressed {
				t.Errorf("Accept-Encoding %q: compressed is %t", accept, got)
				continue
			}
			if !compressed {
				continue
			}
			z, err := gzip.NewReader(response.Body)
			if err != nil {
				t.Fatal(err)
			}
			plain, err := io.ReadAll(z)
			if err != nil || string(plain) != "window.io = 1;" {
				t.Errorf("Accept-Encoding %q: %q, %v", accept, plain, err)
			}
		}
	}
	response := get(t, c, "HEAD", "/socket.io/socket.io.js", "Accept-Encoding", "gzip")
	if bodyOf(t, response) != "" || response.Header.Get("Content-Length") == "" {
		t.Errorf("HEAD: want no body and a Content-Length, got %v", response.Header)
	}
}

// The Vary of the caller stays.
func TestClientVaries(t *testing.T) {
	c := newClient(bundle)
	cors := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Vary", "Origin")
		c.ServeHTTP(w, r)
	})
	for _, header := range [][]string{nil, {"Accept-Encoding", "gzip"}, {"If-None-Match", c.etag}} {
		response := get(t, cors, "GET", "/socket.io/socket.io.js", header...)
		if got := strings.Join(response.Header["Vary"], ", "); got != "Origin, Accept-Encoding" {
			t.Errorf("with %q: Vary: %q", header, got)
		}
	}
}

func TestClientNotBuiltIn(t *testing.T) {
	cutShort := fstest.MapFS{"socket.io.js": bundle["socket.io.js"]}
	for name, files := range map[string]fs.FS{
		"placeholder only": fstest.MapFS{"README.md": bundle["README.md"]},
		"no VERSION":       cutShort,
	} {
		c := newClient(files)
		if !c.Has("socket.io.js") || !c.Has("socket.io.min.js.map") || c.Has("README.md") || c.Has("") {
			t.Errorf("%s: Has must know the names, and only them", name)
		}
		response := get(t, c, "GET", "/socket.io/socket.io.js", "If-None-Match", `""`)
		if body := bodyOf(t, response); response.StatusCode != 404 || !strings.Contains(body, "make client") ||
			strings.Count(body, "\n") != 1 {
			t.Errorf("%s: %d %q", name, response.StatusCode, body)
		}
		if got := response.Header.Get("Cache-Control"); got != "" {
			t.Errorf("%s: a 404 with Cache-Control %q", name, got)
		}
	}
}

func TestClientRefuses(t *testing.T) {
	c := newClient(bundle)
	if response := get(t, c, "POST", "/socket.io/socket.io.js"); response.StatusCode != 405 {
		t.Errorf("POST: %d", response.StatusCode)
	}
	for _, path := range []string{"/socket.io/", "/socket.io/VERSION", "/socket.io/README.md", "/socket.io/.."} {
		if response := get(t, c, "GET", path); response.StatusCode != 404 {
			t.Errorf("%s: %d", path, response.StatusCode)
		}
	}
}

// TestEmbeddedClient passes with and without the bundle.
func TestEmbeddedClient(t *testing.T) {
	_, err := fs.Stat(clientFiles, "client/VERSION")
	response := get(t, NewClient(), "GET", "/socket.io/socket.io.js")
	if builtIn := err == nil; builtIn != (response.StatusCode == 200) {
		t.Errorf("built in: %t, status %d", builtIn, response.StatusCode)
	}
}
