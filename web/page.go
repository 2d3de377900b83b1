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
	"partyline/rule"
)

//go:embed page/index.html page/*.js page/style.css page/favicon.svg
var pageFiles embed.FS

// PageConfig is what the test page shows and uses.
type PageConfig struct {
	Prefix string // first tokens of every subject
	Path   string // where the edge listens for Socket.IO, with slashes at both ends
	NATS   string // URL for a reader's NATS client, or several, separated by commas; shown without credentials; may be ""
	Open   bool   // everything is allowed, as in the development mode

	Rules func(namespace string) *rule.Rules // finds the rules that apply now; it returns nil if none are declared
	Tail  http.Handler                       // the live tail; nil: there is none
}

// contentSecurityPolicy allows the page its own files and connections to its own host, and nothing else.
const contentSecurityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; " +
	"connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// page serves the test page from memory. It is static after construction.
type page struct {
	files map[string]pageFile // by the URL's path
	PageConfig
}

type pageFile struct {
	contentType string
	etag        string
	body        []byte
}

// NewPage returns a handler for "/", the page's own files, /rules and, if there is one, /tail; any other path is a 404.
// The page connects to the edge as any client does, and shows the NATS subject of each message.
func NewPage(config PageConfig) http.Handler {
	config.NATS = redact.URLs(config.NATS)

	var index bytes.Buffer
	if err := template.Must(template.ParseFS(pageFiles, "page/index.html")).Execute(&index, config); err != nil {
		panic(err) // the template is embedded and the data are plain
	}
	icon := newPageFile("image/svg+xml", read("favicon.svg"))
	p := &page{PageConfig: config, files: map[string]pageFile{
		"/":            newPageFile("text/html; charset=utf-8", index.Bytes()),
		"/style.css":   newPageFile("text/css; charset=utf-8", read("style.css")),
		"/favicon.svg": icon,
		"/favicon.ico": icon, // browsers ask for this name on pages without a link, such as a plain test page
	}}
	for _, name := range []string{"chat.js", "contract.js", "log.js", "rules.js", "side.js"} {
		p.files["/"+name] = newPageFile("text/javascript; charset=utf-8", read(name))
	}
	return p
}

// ServeHTTP serves the file with exactly the URL's path. Browsers must revalidate it, so that a new binary shows its
// own page at once.
func (p *page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	file, ok := p.files[r.URL.Path]
	switch {
	case r.URL.Path == "/rules" && p.Rules != nil:
		p.serveRules(w, r)
		return
	case r.URL.Path == "/tail" && p.Tail != nil:
		p.Tail.ServeHTTP(w, r)
		return
	case !ok:
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
