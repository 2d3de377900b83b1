package main

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"path"
	"time"
)

//go:embed page
var pageFiles embed.FS

// newPage serves the page. edge is where browsers reach the edges, "" for the page's own host.
func newPage(edge string) http.Handler {
	var index bytes.Buffer
	// The page is embedded, and edge is text.
	if err := template.Must(template.ParseFS(pageFiles, "page/index.html")).Execute(&index, edge); err != nil {
		panic(err)
	}
	elsewhere, sockets := edge, "ws: wss:"
	if u, err := url.Parse(edge); err == nil && u.Host != "" {
		sockets = fmt.Sprintf("ws://%s wss://%s", u.Host, u.Host)
	}
	// What people write cannot become part of the page. If it could, it would not run.
	policy := fmt.Sprintf("default-src 'none'; script-src 'self' %s; style-src 'self'; img-src 'self'; connect-src 'self' %s %s; "+
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'", elsewhere, elsewhere, sockets)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := r.URL.Path
		body := index.Bytes()
		if name != "/" {
			var err error
			if body, err = pageFiles.ReadFile("page" + path.Clean(name)); err != nil || name == "/index.html" {
				http.NotFound(w, r)
				return
			}
		} else {
			name = "/index.html"
		}
		h := w.Header()
		h.Set("Cache-Control", "no-cache")
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(body))
	})
}
