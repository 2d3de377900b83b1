// Package admin is what an operator sees of a running process: whether it works (/healthz), whether it should be given
// clients (/readyz), which other edges it knows (/edges), and what it counts (/metrics, for Prometheus). A POST to /drain
// sends its clients elsewhere.
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

// Options say what the pages show.
type Options struct {
	Version string          // for the index and the metric partyline_build_info
	Ready   func() []string // reasons why no client should come now, each a sentence; nil or empty: ready
	Edges   func() []Edge   // this edge and those that it knows; nil: none
	Drain   Drainer         // sends the clients elsewhere; nil: the operator cannot
	Pprof   bool            // profiles of the process as well
	Metrics []*tally.Set    // what the packages count
	Log     *slog.Logger    // faults while metrics are written; nil logs nothing
}

// Edge is an edge as /edges shows it.
type Edge struct {
	Edge     string `json:"edge"`               // its id
	Address  string `json:"address"`            // where other edges reach it, "" if they do not
	Sockets  int    `json:"sockets"`            // that it has, as it says
	BeatAge  int64  `json:"beat_age_ms"`        // milliseconds since its last announcement; -1 before the first
	This     bool   `json:"this"`               // it is the edge that answers
	Silent   bool   `json:"silent,omitempty"`   // held to be dead since a short while
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
<li>POST /drain: send the clients to other edges; POST /drain?cancel: take clients again
</ul>
</html>
`

// NewHandler makes the pages. The error says which metrics do not fit together; it is a mistake in the program.
func NewHandler(o Options) (http.Handler, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	registry, err := newRegistry(o.Version, o.Ready, o.Metrics)
	if err != nil {
		return nil, fmt.Errorf("admin: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { writeText(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if reasons := notReady(o.Ready); len(reasons) > 0 {
			writeText(w, http.StatusServiceUnavailable, strings.Join(reasons, "\n"))
			return
		}
		writeText(w, http.StatusOK, "ready")
	})
	mux.HandleFunc("GET /edges", func(w http.ResponseWriter, _ *http.Request) {
		edges := []Edge{}
		if o.Edges != nil {
			edges = o.Edges()
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		_ = json.NewEncoder(w).Encode(edges) // the asker has gone: nothing to do
	})
	if o.Drain != nil {
		mux.Handle("POST /drain", drainPage(o.Drain, o.Ready))
	}
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog:      slog.NewLogLogger(o.Log.Handler(), slog.LevelWarn),
		ErrorHandling: promhttp.ContinueOnError, // some figures are better than none
	}))
	if o.Pprof {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	}
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprintf(w, index, o.Version)
	})
	return mux, nil
}

// notReady asks for the reasons and sorts them, so that a page changes only when they do.
func notReady(ask func() []string) []string {
	if ask == nil {
		return nil
	}
	return slices.Sorted(slices.Values(ask()))
}

func writeText(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text+"\n") // the asker has gone: nothing to do
}

// NewServer makes a server for the pages whose connections cannot be kept busy for ever.
func NewServer(handler http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      2 * time.Minute, // a profile is taken for half a minute or more
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug), // clients that speak no HTTP
	}
}
