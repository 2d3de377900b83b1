package adminui

import (
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
)

//go:embed all:pages
var pageFiles embed.FS

// notBuiltIn is the response for a page that this binary does not have.
const notBuiltIn = "The Admin UI is not built into this binary: run `make client` in the source tree (it needs npm) and build again."

// root is what the paths of the pages begin with.
const root = "/ui/"

// styles are the hashes of the style elements that Vuetify makes: an empty one, and its light and its dark theme.
const styles = "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=' 'sha256-H0hALk5rjM4aGisbF9hx4t4yVUsKf0ZX1N28nouwAhI=' " +
	"'sha256-UA8uVkzlAxGk09z6OrvqQkcbhXuelL/B23jotWQLt78='"

// policy is the content security policy: the page's own files, and connections to the edges alone.
const policy = "default-src 'none'; script-src 'self'; style-src 'self' " + styles + "; img-src 'self'; font-src 'self'; " +
	"connect-src %s; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// settings is a script of the page: what it does until its reader chooses otherwise. It polls with credentials, which the
// edges' cors.credentials would have to allow.
const settings = "localStorage.ws_only ||= true;\n"

// pages serves the files of the Admin UI. It is static after construction.
type pages struct {
	policy   string
	settings string // a script of the page that says where the edges are
	files    http.Handler
	isBuilt  bool // the files are there
}

// newPages returns the pages. serverURL is where browsers reach the edges; with "", the page asks, and may connect anywhere.
func newPages(serverURL string) (*pages, error) {
	files, _ := fs.Sub(pageFiles, "pages")  // the directive above embeds this very folder
	_, missing := fs.Stat(files, "VERSION") // fetch-pages.sh writes it last
	p := &pages{policy: fmt.Sprintf(policy, "*"), settings: settings, files: http.StripPrefix(root, http.FileServerFS(files)), isBuilt: missing == nil}
	if serverURL == "" {
		return p, nil
	}
	at, err := url.Parse(serverURL)
	if err != nil || at.Scheme != "http" && at.Scheme != "https" || at.Host == "" || strings.Trim(at.Path, "/") != "" || at.RawQuery != "" {
		return nil, fmt.Errorf("adminui: %q is not the address of the edges, such as https://chat.example", serverURL)
	}
	origin := at.Scheme + "://" + at.Host
	p.policy = fmt.Sprintf(policy, "'self' "+origin+" ws"+strings.TrimPrefix(origin, "http"))
	text, _ := json.Marshal(origin) // a string; what could end a script is escaped
	p.settings += fmt.Sprintf("localStorage.server_url ||= %s;\n", text)
	return p, nil
}

// ServeHTTP serves a file below root. The names of most have a hash of the file; browsers load the others again, so that a
// new binary shows its own pages at once.
func (p *pages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, h := strings.TrimPrefix(r.URL.Path, root), w.Header()
	h.Set("Content-Security-Policy", p.policy)
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-cache")
	switch {
	case !p.isBuilt:
		http.Error(w, notBuiltIn, http.StatusNotFound)
	case name == "settings.js":
		h.Set("Content-Type", "text/javascript; charset=utf-8")
		_, _ = w.Write([]byte(p.settings))
	case name != "" && strings.HasSuffix(name, "/"): // no lists of folders
		http.NotFound(w, r)
	default:
		if strings.HasPrefix(name, "js/") || strings.HasPrefix(name, "css/") || strings.HasPrefix(name, "img/") {
			h.Set("Cache-Control", "public, max-age=31536000, immutable")
		}
		p.files.ServeHTTP(w, r)
	}
}
