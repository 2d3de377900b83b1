package node

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"partyline/admin"
	"partyline/bus"
	"partyline/cmd/internal/program"
	"partyline/config"
	"partyline/internal/wiring"
	"partyline/web"
)

// front serves clients: it is the parts of an edge, and the pages.
type front struct {
	*wiring.Parts
	handler     http.Handler
	certificate *certificate // nil without TLS
	gateway     Gateway      // nil: there is none in the process
}

// gatewayListen is the key of the gateway's address.
const gatewayListen = "gateway.listen"

// startGateway starts the gateway, if there is one, and returns why it could not. stop waits until it was tried.
func (f *front) startGateway(ctx context.Context) (refused <-chan error, stop func()) {
	if f.gateway == nil {
		return nil, func() {}
	}
	errs, starting := make(chan error, 1), sync.WaitGroup{}
	ctx, cancel := context.WithCancel(ctx)
	starting.Go(func() {
		if err := f.gateway.Start(ctx); err != nil {
			errs <- err
		}
	})
	return errs, func() { cancel(); starting.Wait() }
}

// ready returns why clients should not come now.
func (f *front) ready() []string {
	why := f.Ready()
	if f.gateway != nil {
		why = append(why, f.gateway.Ready()...)
	}
	return why
}

// newFront connects to NATS, which may take long, and makes everything that serves clients. The caller must call
// Leave.
func newFront(c config.Config, inside NATS, log *slog.Logger) (*front, error) {
	f := &front{}
	attend := []func(context.Context){func(ctx context.Context) { tidy(ctx, f.Engine.Moved, debug.FreeOSMemory) }}
	if c.TLS.Cert != "" {
		var err error
		if f.certificate, err = newCertificate(c.TLS, log); err != nil {
			return nil, err
		}
		attend = append(attend, f.certificate.watch)
	}
	var err error
	if f.Parts, err = wiring.New(c, program.Version(), log, bus.Options{InProcess: inside}); err != nil {
		return nil, err
	}
	if limit := limitMemory(c.Limits.Memory, log); limit > 0 {
		attend = append(attend, func(ctx context.Context) { f.Engine.GuardMemory(ctx, limit) })
	}
	f.Run(f.Cluster.Handle, attend...)
	f.handler = f.routes(c, inside)
	return f, nil
}

// routes returns the handler for clients. It compares paths itself: in the patterns of a ServeMux characters of the
// configured path could have a meaning.
func (f *front) routes(c config.Config, inside NATS) http.Handler {
	client, elsewhere := web.NewClient(), elsewhere(c, inside)
	bare := strings.TrimSuffix(c.Path, "/") // for clients with addTrailingSlash: false; the reference needs an option for them
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, isBelow := strings.CutPrefix(r.URL.Path, c.Path)
		switch {
		case isBelow && name == "" || r.URL.Path == bare:
			f.Forward.ServeHTTP(w, r)
		case isBelow && client.Has(name):
			f.Engine.WriteCORS(w, r)
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

// elsewhere returns the handler for paths that are not below c.Path.
func elsewhere(c config.Config, inside NATS) http.Handler {
	if c.Page {
		url := "" // where a reader of the page reaches NATS, perhaps not where the edge does
		if inside != nil {
			url = inside.ClientURL()
		}
		return web.NewPage(web.PageConfig{Prefix: c.NATS.Prefix, Path: c.Path, NATS: url})
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

// edges returns what /edges shows.
func (f *front) edges() []admin.Edge {
	var all []admin.Edge
	for _, m := range f.Cluster.Members() {
		all = append(all, admin.Edge{
			Edge: m.ID, Address: m.Address, Sockets: m.Sockets, BeatAge: m.Beat.Milliseconds(),
			This: m.This, Silent: m.Silent, Draining: m.Draining,
		})
	}
	return all
}

// When memory is returned to the system. A crowd of new sessions leaves as much garbage as it has live memory. Go
// would keep that for later garbage until the next collection, which may be two minutes away, and return it bit by
// bit after that. With 10,000 idle connections that is a quarter of the memory. The collection takes 30 ms of CPU.
const (
	tidyEvery = 2 * time.Second
	crowd     = 1000 // sessions that have begun or ended
	calm      = 100  // at most so many of them in tidyEvery
)

// tidy calls giveBack whenever a crowd of sessions has begun or ended and it is calm again. moved returns how many
// sessions have begun and ended since the start.
func tidy(ctx context.Context, moved func() uint64, giveBack func()) {
	tick := time.NewTicker(tidyEvery)
	defer tick.Stop()
	var seen, tidied uint64
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := moved()
		if now-tidied >= crowd && now-seen <= calm {
			giveBack()
			tidied = now
		}
		seen = now
	}
}
