// Package gateway lets those talk with Socket.IO clients who cannot hold a NATS connection: HTTP endpoints that are
// called for events (gateway/hook), programs that publish with one POST (gateway/api), and operators in a browser
// (gateway/adminui). It is one more NATS client, and no edge.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"

	"github.com/nats-io/nats.go"

	"partyline/backend"
	"partyline/gateway/adminui"
	"partyline/gateway/api"
	"partyline/gateway/hook"
	"partyline/internal/tally"
	"partyline/internal/throttle"
	"partyline/subjects"
)

// Options of a gateway.
type Options struct {
	Prefix   string // first token or tokens of every subject
	Group    string // the service group of all gateways
	Secret   string // that the edges sign their announcements with; "" if they do not
	UserRoom string // what the rooms of users begin with; "": they have none
	Hooks    []hook.Hook
	UI       *adminui.Options // nil: there is no Admin UI; Service and Log are the gateway's
	Log      *slog.Logger

	Keys              []api.Key // of the HTTP API; without keys there is none
	RequestsPerSecond int       // of one key; 0: as many as come
}

// Gateway is one instance. New makes it.
type Gateway struct {
	nc     *nats.Conn
	io     *backend.Service
	hooks  *hook.Hooks
	rivals rivals
	api    *api.API    // without keys it answers nothing
	ui     *adminui.UI // nil: there is none
	mux    *http.ServeMux
	sets   []*tally.Set

	started atomic.Bool
}

// mostHandlers is how many hooked sockets may wait for an endpoint at once, each with a goroutine. Past that the
// handlers of all others wait, too.
const mostHandlers = 32_768

// New makes a gateway over the caller's connection, which stays the caller's. The error is about an option.
func New(nc *nats.Conn, o Options) (*Gateway, error) {
	g := &Gateway{nc: nc, mux: http.NewServeMux()}
	// Each request of the API, each handler and the watch of the Admin UI has one question under way: none takes another's.
	limits := backend.Limits{Handlers: mostHandlers, Questions: api.MostQuestions + mostHandlers + 1}
	options := []backend.Option{backend.Logger(o.Log), backend.Prefix(o.Prefix), backend.WithLimits(limits)}
	if o.Secret != "" {
		options = append(options, backend.EdgesSecret(o.Secret))
	}
	var err error
	if g.io, err = backend.New(nc, o.Group, options...); err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	g.hooks = hook.New(o.Hooks, o.UserRoom, o.Log)
	g.hooks.Register(g.io)
	g.rivals = rivals{group: o.Group, hooks: g.hooks, complaints: throttle.New(o.Log)}
	g.rivals.prefix, _ = subjects.NewPrefix(o.Prefix) // as backend.New has read it
	g.sets = []*tally.Set{g.hooks.Metrics(), g.metrics()}
	if g.api, err = api.New(g.io, api.Options{
		Keys: o.Keys, RequestsPerSecond: float64(o.RequestsPerSecond), UserRoom: o.UserRoom, IsStarted: g.started.Load, Log: o.Log,
	}); err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	g.mux.Handle("/v1/", g.api)
	g.mux.Handle("/openapi.json", g.api)
	g.sets = append(g.sets, g.api.Metrics())
	if o.UI != nil {
		set := *o.UI
		set.Service, set.Log = g.io, o.Log
		if g.ui, err = adminui.New(set); err != nil {
			return nil, fmt.Errorf("gateway: %w", err)
		}
		g.mux.Handle("/ui/", g.ui.Handler())
		g.sets = append(g.sets, g.ui.Metrics())
	}
	return g, nil
}

// Prepare returns what makes the gateway go on with other hooks, keys, rate and users, or an error about one of them.
// Together the hooks must name the same namespaces as before, and the UI must be there or not as before. Requests under
// way end as they began.
func (g *Gateway) Prepare(o Options) (use func(), err error) {
	useKeys, err := g.api.Prepare(o.Keys, float64(o.RequestsPerSecond))
	if err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	return func() {
		useKeys()
		g.hooks.Replace(o.Hooks)
		if g.ui != nil && o.UI != nil {
			g.ui.SetUsers(o.UI.Users)
		}
	}, nil
}

// Start lets clients in. ctx bounds Start alone; what it starts ends with Close. It fails if NATS is away, or does not
// permit what a gateway needs.
func (g *Gateway) Start(ctx context.Context) error {
	if err := errors.Join(g.rivals.listen(g.nc), g.io.Start(ctx)); err != nil {
		return fmt.Errorf("gateway: %w", err)
	}
	g.started.Store(true)
	return nil
}

// Close hands the sockets of the gateway to other gateways, once their events so far are handled. No request may come
// any more to Handler. ctx bounds it; then the rest of these events is dropped.
func (g *Gateway) Close(ctx context.Context) error {
	g.started.Store(false)
	g.rivals.close()
	err := g.io.Close(ctx)
	g.hooks.Close()
	if g.ui != nil {
		g.ui.Close()
	}
	if err != nil {
		return fmt.Errorf("gateway: %w", err)
	}
	return nil
}

// Ready returns why no request should come now, nothing if one may.
func (g *Gateway) Ready() []string {
	switch {
	case !g.nc.IsConnected():
		return []string{"not connected to NATS"}
	case !g.started.Load():
		return []string{"not started, or stopping"}
	}
	return nil
}

// Handler serves the HTTP API and the Admin UI.
func (g *Gateway) Handler() http.Handler { return g.mux }

// Metrics returns the metrics of all parts.
func (g *Gateway) Metrics() []*tally.Set { return g.sets }

// metrics returns what the service counts.
func (g *Gateway) metrics() *tally.Set {
	set := &tally.Set{}
	for _, m := range []struct {
		kind       tally.Kind
		name, help string
		read       func(backend.Stats) uint64
	}{
		{tally.KindCounter, "gateway_events_total", "Events of clients that came to this gateway.", func(s backend.Stats) uint64 { return s.Events }},
		{tally.KindCounter, "gateway_pauses_total", "Times that a client was paused because hooks did not keep up.", func(s backend.Stats) uint64 { return s.Pauses }},
		{tally.KindCounter, "gateway_overflows_total", "Sockets whose connection was closed because pausing did not help.", func(s backend.Stats) uint64 { return s.Overflows }},
		{tally.KindCounter, "gateway_lost_total", "Messages from edges that were dropped because this gateway did not read fast enough.", func(s backend.Stats) uint64 { return s.Lost }},
		{tally.KindGauge, "gateway_sockets", "Sockets that this gateway owns.", func(s backend.Stats) uint64 { return uint64(s.Owned) }},
		{tally.KindGauge, "gateway_paused", "Sockets that are paused now.", func(s backend.Stats) uint64 { return uint64(s.Paused) }},
	} {
		set.Func(m.kind, m.name, m.help, func() float64 { return float64(m.read(g.io.Stats())) })
	}
	set.Counter(&g.rivals.seen, "gateway_rivals_total", "Beats of services of other groups that own sockets of hooked namespaces.")
	set.Func(tally.KindGauge, "gateway_nats_connected", "1 while the gateway is connected to NATS.", func() float64 {
		if g.nc.IsConnected() {
			return 1
		}
		return 0
	})
	return set
}
