// Package web has the files that the edge serves to browsers: the official Socket.IO client, under the paths of
// Socket.IO's own server, and a small chat page to try a new installation.
//
// Both are embedded. The client is third-party code and not in the repository: fetch-client.sh copies it from its npm
// package into client/ before the build. The page is in page/.
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

	"partyline/internal/request"
)

//go:embed all:client
var clientFiles embed.FS

// notBuiltIn is the response for a client file that this binary does not have.
const notBuiltIn = "The Socket.IO client is not built into this binary: " +
	"run `make client` in the source tree (it needs npm) and build again.\n"

// clientNames are the builds that Socket.IO's server offers (CLIENT_FILES in its index.js). Each has a source map.
var clientNames = [...]string{"socket.io.js", "socket.io.min.js", "socket.io.esm.min.js", "socket.io.msgpack.min.js"}

// Client serves the official client's builds and their source maps as the reference server does. It is safe for
// concurrent use.
type Client struct {
	etag  string                 // the client's version in quotes, "" when it is not built in; static after construction
	files map[string]*clientFile // by name; nil for a name that is not built in; static after construction
}

// clientFile is one file of the bundle.
type clientFile struct {
	plain      []byte        // static after construction
	compressed func() []byte // gzipped on first use, then kept
}

// NewClient returns the client that was embedded when this binary was built. Without one it responds with 404.
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

// Has reports whether a name is a file of the client, even if it is not built in. name is the URL's path after the
// configured path (by default "/socket.io/").
func (c *Client) Has(name string) bool {
	_, ok := c.files[name]
	return ok
}

// ServeHTTP serves the file that the last element of the URL's path names, with the headers of the reference server
// (index.js, serve): the browser must revalidate it, with the version as ETag, and it is compressed if the browser
// accepts gzip. A file that is unknown or not built in is a 404 with a sentence that explains what to do. The caller
// sets cross-origin headers, which depend on its configuration.
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
			sentence = "No such file of the Socket.IO client: there are " +
				strings.Join(clientNames[:], ", ") + " and their .map files.\n"
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
	h.Add("Vary", "Accept-Encoding") // beside the caller's Origin
	body := file.plain
	if request.AcceptsGzip(r.Header) {
		body = file.compressed()
		h.Set("Content-Encoding", "gzip")
		h.Set("Content-Length", strconv.Itoa(len(body))) // ServeContent omits it if there is a Content-Encoding
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}

// allowRead reports whether a request is a GET or HEAD, and responds with 405 if not.
func allowRead(w http.ResponseWriter, r *http.Request) bool {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return true
	}
	w.Header().Set("Allow", "GET, HEAD")
	http.Error(w, "Only GET and HEAD are answered here.", http.StatusMethodNotAllowed)
	return false
}

// compress compresses a file of the bundle. It is done once in a process, so the best level is worth its time.
func compress(plain []byte) []byte {
	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		panic(err) // only an invalid level fails
	}
	_, _ = z.Write(plain) // a bytes.Buffer does not fail
	_ = z.Close()
	return out.Bytes()
}
