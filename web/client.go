// Package web has the files that the edge serves to browsers: the official Socket.IO client, under the paths of
// Socket.IO's own server, and a small chat page to try a new installation.
//
// Both are embedded. The client is third-party code and not in the repository: fetch-client.sh copies it from its npm
// package into client/ before the build. The page in page/ is our own.
package web

import (
	"bytes"
	"compress/gzip"
	"embed"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"

	"partyline/internal/accept"
)

//go:embed all:client
var clientFiles embed.FS

// notBuiltIn is the answer for a client file that this binary was built without.
const notBuiltIn = "The Socket.IO client is not built into this binary: run `make client` in the source tree (it needs npm) and build again.\n"

// clientNames are the builds that Socket.IO's server offers (CLIENT_FILES in its index.js), each with its source map.
var clientNames = [...]string{"socket.io.js", "socket.io.min.js", "socket.io.esm.min.js", "socket.io.msgpack.min.js"}

// Client serves the official client's builds and their source maps as the reference server does. All methods may be
// called by several goroutines at once.
type Client struct {
	etag  string                 // the client's version in quotes, "" when it is not built in; static after construction
	files map[string]*clientFile // by name; nil for a name that is not built in; static after construction
}

// clientFile is one file of the bundle.
type clientFile struct {
	plain      []byte        // static after construction
	compressed func() []byte // gzipped on first use, then kept
}

// NewClient returns the client that was embedded when this binary was built. Without one it still answers, see
// ServeHTTP.
func NewClient() *Client {
	files, err := fs.Sub(clientFiles, "client")
	if err != nil {
		panic(err) // the directive above embeds this very folder
	}
	return newClient(files)
}

// newClient reads the bundle from files: the builds, their maps, and VERSION, which fetch-client.sh writes last.
// Without VERSION the bundle counts as missing.
func newClient(files fs.FS) *Client {
	c := &Client{files: make(map[string]*clientFile, 2*len(clientNames))}
	version, _ := fs.ReadFile(files, "VERSION")
	if v := strings.TrimSpace(string(version)); v != "" {
		c.etag = `"` + v + `"`
	}
	for _, source := range clientNames {
		for _, name := range []string{source, source + ".map"} {
			c.files[name] = nil
			if c.etag == "" {
				continue
			}
			if plain, err := fs.ReadFile(files, name); err == nil {
				c.files[name] = &clientFile{plain, sync.OnceValue(func() []byte { return compress(plain) })}
			}
		}
	}
	return c
}

// Has reports whether ServeHTTP answers a name, the URL's path behind the configured path (by default "/socket.io/").
// It returns true for the known names even if the client is not built in.
func (c *Client) Has(name string) bool {
	_, ok := c.files[name]
	return ok
}

// ServeHTTP serves the file that the last element of the URL's path names, with the headers of the reference server
// (index.js, serve): revalidated each time with the version as ETag, compressed with gzip if the client accepts it. A
// file that is not built in, or a name for which Has returns false, is a 404 with a sentence that says what to do.
// The caller sets cross-origin headers, which depend on its configuration.
func (c *Client) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !allowRead(w, r) {
		return
	}
	name := path.Base(r.URL.Path)
	file := c.files[name]
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	if file == nil {
		sentence := notBuiltIn
		if !c.Has(name) {
			sentence = "No such file of the Socket.IO client: there are " + strings.Join(clientNames[:], ", ") + " and their .map files.\n"
		}
		h.Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(sentence))
		return
	}
	kind := "javascript"
	if strings.HasSuffix(name, ".map") {
		kind = "json"
	}
	h.Set("Cache-Control", "public, max-age=0")
	h.Set("Content-Type", "application/"+kind+"; charset=utf-8")
	h.Set("ETag", c.etag)
	h.Set("Vary", "Accept-Encoding")
	body := file.plain
	if accept.Gzip(r.Header) {
		body = file.compressed()
		h.Set("Content-Encoding", "gzip")
		h.Set("Content-Length", strconv.Itoa(len(body))) // ServeContent leaves it out beside a Content-Encoding
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}

// allowRead answers anything but GET and HEAD with 405 and reports whether the request may go on.
func allowRead(w http.ResponseWriter, r *http.Request) bool {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return true
	}
	w.Header().Set("Allow", "GET, HEAD")
	http.Error(w, "Only GET and HEAD are answered here.", http.StatusMethodNotAllowed)
	return false
}

// compress compresses a file of the bundle, once in a process: so the best level is worth its time.
func compress(plain []byte) []byte {
	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		panic(err) // only an invalid level fails
	}
	_, _ = z.Write(plain) // a bytes.Buffer takes everything
	_ = z.Close()
	return out.Bytes()
}
