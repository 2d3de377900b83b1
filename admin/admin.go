// Package admin serves the operator's pages of a running process: whether it works (/healthz), whether clients should
// come (/readyz), the edges (/edges), and the metrics (/metrics, for Prometheus). A POST to /drain sends its clients
// elsewhere, one to /reload makes it read its configuration again.
package admin

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"partyline/internal/tally"
)

// Options is what the pages need.
type Options struct {
	Version string          // for the index and the metric partyline_build_info
	Ready   func() []string // returns why no client should come now, each a sentence; nil or empty: ready
	Edges   func() []Edge   // returns this edge and those that it knows; nil: none
	Drain   Drainer         // nil: there is no /drain
	Reload  Reloader        // nil: there is no /reload
	Pprof   bool            // serves profiles of the process, too
	Token   string          // all pages but /healthz and /readyz need it (Authorization: Bearer); "": none does
	Hosts   []string        // names under which the pages are served, beside IP addresses and localhost; ports do not count
	Metrics []*tally.Set    // of the packages
	Log     *slog.Logger    // errors while metrics are written; nil: they are not logged
}

// Edge is an edge as /edges shows it.
type Edge struct {
	Edge     string `json:"edge"`               // its id
	Address  string `json:"address"`            // where other edges reach it; "": they do not
	Sockets  int    `json:"sockets"`            // that it has, as announced
	BeatAge  int64  `json:"beat_age_ms"`        // milliseconds since its last announcement; -1 before the first
	This     bool   `json:"this"`               // it is the edge that responds
	Silent   bool   `json:"silent,omitempty"`   // it has counted as dead for less than a minute
	Draining bool   `json:"draining,omitempty"` // it sends its clients elsewhere
}

// index lists the pages. It loads nothing from elsewhere.
const index = `<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Partyline</title>
<h1>Partyline %s</h1>
<ul>
<li><a href="/healthz">/healthz</a>: the process works
<li><a href="/readyz">/readyz</a>: it should be given clients, or why not
<li><a href="/edges">/edges</a>: this edge and those that it knows, as JSON
<li><a href="/metrics">/metrics</a>: figures for Prometheus
%s</ul>
</html>
`

// reloadItem is the same of programs that can reload.
const reloadItem = "<li>POST /reload: read the configuration again\n"

// drainItem is in the index of programs that can drain.
const drainItem = "<li>POST /drain: send the clients to other edges; POST /drain?cancel: take clients again\n"

// NewHandler makes the pages. A request whose Host is a name that is not in Options.Hosts gets 403, unless it has the
// token. The error names metrics that contradict each other, which is a bug of the program.
func NewHandler(o Options) (http.Handler, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	mux := http.NewServeMux()
	guard := newGuard(mux, o.Token, o.Hosts, o.Log)
	registry, err := newRegistry(o.Version, o.Ready, append(slices.Clip(o.Metrics), guard.metrics()))
	if err != nil {
		return nil, fmt.Errorf("admin: %w", err)
	}
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { writeText(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		writeReady(w, o.Ready, http.StatusServiceUnavailable)
	})
	mux.HandleFunc("GET /edges", func(w http.ResponseWriter, _ *http.Request) {
		edges := []Edge{}
		if o.Edges != nil {
			edges = o.Edges()
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(edges) // an error means that the client has gone
	})
	if o.Drain != nil {
		mux.Handle("POST /drain", notForBrowsers(drainPage(o.Drain, o.Ready)))
	}
	if o.Reload != nil {
		mux.Handle("POST /reload", notForBrowsers(reloadPage(o.Reload, o.Token != "")))
	}
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog:      slog.NewLogLogger(o.Log.Handler(), slog.LevelWarn),
		ErrorHandling: promhttp.ContinueOnError, // some metrics are better than none
	}))
	if o.Pprof {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	}
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		posts := ""
		if o.Drain != nil {
			posts = drainItem
		}
		if o.Reload != nil {
			posts += reloadItem
		}
		fmt.Fprintf(w, index, o.Version, posts)
	})
	return guard, nil
}

// Drainer sends the clients of a process elsewhere and lets them come back.
type Drainer interface {
	Drain()        // begins to send the clients elsewhere and returns at once
	Return() error // takes clients again, or returns why not
}

// notForBrowsers is a page that changes something. It refuses every request that a web page in the operator's browser
// could make: browsers add one of these headers to each POST.
func notForBrowsers(page http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header["Origin"] != nil || r.Header["Sec-Fetch-Site"] != nil || r.Header["Referer"] != nil {
			writeText(w, http.StatusForbidden, "this is not for browsers: use a program such as curl")
			return
		}
		page(w, r)
	})
}

// drainPage begins or ends a drain and responds as /readyz does.
func drainPage(d Drainer, ready func() []string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.RawQuery {
		case "":
			d.Drain()
		case "cancel":
			if err := d.Return(); err != nil {
				writeText(w, http.StatusConflict, err.Error())
				return
			}
		default:
			writeText(w, http.StatusBadRequest,
				"POST /drain sends the clients to other edges, POST /drain?cancel takes clients again")
			return
		}
		writeReady(w, ready, http.StatusAccepted)
	}
}

// notReady returns the reasons of ready, sorted, so that a page changes only when they do.
func notReady(ready func() []string) []string {
	if ready == nil {
		return nil
	}
	return slices.Sorted(slices.Values(ready()))
}

// writeReady responds with the reasons of ready and a status for them, or with "ready".
func writeReady(w http.ResponseWriter, ready func() []string, otherwise int) {
	if reasons := notReady(ready); len(reasons) > 0 {
		writeText(w, otherwise, strings.Join(reasons, "\n"))
		return
	}
	writeText(w, http.StatusOK, "ready")
}

func writeText(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text+"\n") // an error means that the client has gone
}

// NewServer makes a server for the pages. Its timeouts end connections of slow clients.
func NewServer(handler http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      2 * time.Minute, // a profile takes half a minute or more
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		// errors of clients, such as requests that are not HTTP
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}
