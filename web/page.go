package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"html/template"
	"net/http"
	"time"

	"partyline/internal/redact"
)

//go:embed page/index.html page/chat.js page/log.js page/contract.js page/style.css page/favicon.svg
var pageFiles embed.FS

// PageConfig is what the test page shows and uses.
type PageConfig struct {
	Prefix string // first tokens of every subject
	Path   string // where the edge listens for Socket.IO, with slashes at both ends
	NATS   string // URL for a reader's NATS client, or several, separated by commas; shown without credentials; may be ""
}

// contentSecurityPolicy allows the page its own files and connections to its own host, and nothing else.
const contentSecurityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; " +
	"connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// page serves the test page from memory. It is static after construction.
type page map[string]pageFile // by the URL's path

type pageFile struct {
	contentType string
	etag        string
	body        []byte
}

// NewPage returns a handler for "/" and the page's own files; any other path is a 404. The page connects to the edge
// as any client does, and shows the NATS subject of each message. It needs the open namespaces of the development
// mode.
func NewPage(config PageConfig) http.Handler {
	config.NATS = redact.URLs(config.NATS)

	var index bytes.Buffer
	if err := template.Must(template.ParseFS(pageFiles, "page/index.html")).Execute(&index, config); err != nil {
		panic(err) // the template is embedded and the data are three strings
	}
	icon := newPageFile("image/svg+xml", read("favicon.svg"))
	return page{
		"/":            newPageFile("text/html; charset=utf-8", index.Bytes()),
		"/chat.js":     newPageFile("text/javascript; charset=utf-8", read("chat.js")),
		"/log.js":      newPageFile("text/javascript; charset=utf-8", read("log.js")),
		"/contract.js": newPageFile("text/javascript; charset=utf-8", read("contract.js")),
		"/style.css":   newPageFile("text/css; charset=utf-8", read("style.css")),
		"/favicon.svg": icon,
		"/favicon.ico": icon, // browsers ask for this name on pages without a link, such as a plain test page
	}
}

// ServeHTTP serves the file with exactly the URL's path. Browsers must revalidate it, so that a new binary shows its
// own page at once.
func (p page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	file, ok := p[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	if !allowRead(w, r) {
		return
	}
	h := w.Header()
	h.Set("Cache-Control", "no-cache")
	h.Set("Content-Security-Policy", contentSecurityPolicy)
	h.Set("Content-Type", file.contentType)
	h.Set("ETag", file.etag)
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(file.body))
}

func newPageFile(contentType string, body []byte) pageFile {
	sum := sha256.Sum256(body)
	return pageFile{contentType: contentType, etag: `"` + hex.EncodeToString(sum[:8]) + `"`, body: body}
}

// read returns an embedded file of the page.
func read(name string) []byte {
	body, err := pageFiles.ReadFile("page/" + name)
	if err != nil {
		panic(err)
	}
	return body
}
