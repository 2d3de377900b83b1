// Package front is an edge behind one http.Handler: the parts of package wiring, and the pages. Programs serve it on
// listeners of their own.
package front

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"

	"partyline/bus"
	"partyline/config"
	"partyline/internal/wiring"
	"partyline/web"
)

// NATS is a NATS server inside the process.
type NATS interface {
	ClientURL() string                // returns where other NATS clients connect
	InProcessConn() (net.Conn, error) // opens a connection without a socket
}

// Settings is what New needs.
type Settings struct {
	Config  config.Config
	Version string // for other edges
	NATS    NATS   // nil: NATS is where Config says
	Log     *slog.Logger
	Tail    http.Handler // for the page; nil: there is none

	Attend []func(context.Context) // run beside the parts, until Leave
}

// Front is a running edge. The caller must call Leave, once no request comes any more.
type Front struct {
	*wiring.Parts
	Handler http.Handler // for clients; without the limits of connections, which are a listener's
}

// New connects to NATS, which may take long, and starts everything that serves clients.
func New(set Settings) (*Front, error) {
	c := set.Config
	parts, err := wiring.New(c, set.Version, set.Log, bus.Options{InProcess: set.NATS})
	if err != nil {
		return nil, err
	}
	attend := append(slices.Clone(set.Attend), func(ctx context.Context) { tidy(ctx, parts.Engine.Moved, debug.FreeOSMemory) })
	if limit := limitMemory(c.Limits.Memory, set.Log); limit > 0 {
		attend = append(attend, func(ctx context.Context) { parts.Engine.GuardMemory(ctx, limit) })
	}
	parts.Run(parts.Cluster.Handle, attend...)
	return &Front{parts, routes(c, parts, elsewhere(set, parts))}, nil
}

// routes returns the handler for clients. It compares paths itself: in the patterns of a ServeMux characters of the
// configured path could have a meaning.
func routes(c config.Config, parts *wiring.Parts, elsewhere http.Handler) http.Handler {
	client := web.NewClient()
	bare := strings.TrimSuffix(c.Path, "/") // for clients with addTrailingSlash: false; the reference needs an option for them
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, isBelow := strings.CutPrefix(r.URL.Path, c.Path)
		switch {
		case isBelow && name == "" || r.URL.Path == bare:
			parts.Forward.ServeHTTP(w, r)
		case isBelow && client.Has(name):
			parts.Engine.WriteCORS(w, r)
			client.ServeHTTP(w, r)
		case isBelow:
			http.NotFound(w, r)
		default:
			elsewhere.ServeHTTP(w, r)
		}
	})
	if !c.Open {
		return handler
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isLocalHost(r.Host) {
			http.Error(w, "This is a development server that allows everything: it serves localhost, 127.0.0.1 and [::1] only. "+
				"Give it a `namespaces` section to use it under another name.", http.StatusForbidden)
			return
		}
		handler.ServeHTTP(w, r)
	})
}

// elsewhere returns the handler for paths that are not below the configured one.
func elsewhere(set Settings, parts *wiring.Parts) http.Handler {
	c := set.Config
	if c.Page {
		url := "" // where a reader of the page reaches NATS, perhaps not where the edge does
		if set.NATS != nil {
			url = set.NATS.ClientURL()
		}
		return web.NewPage(web.PageConfig{Prefix: c.NATS.Prefix, Path: c.Path, NATS: url, Open: c.Open,
			Rules: parts.Rules, Tail: set.Tail})
	}
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "Nothing is here. Socket.IO clients connect at "+c.Path+
			" (with `page: true` there is a page to try it).", http.StatusNotFound)
	})
}

// isLocalHost reports whether a Host names this machine. A page of another site can make a browser send any other
// name to a loopback address (DNS rebinding), but not these.
func isLocalHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return slices.Contains([]string{"localhost", "127.0.0.1", "::1"}, strings.Trim(strings.ToLower(host), "[]"))
}
