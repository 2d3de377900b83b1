package adminui

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"partyline/backend"
	"partyline/internal/throttle"
	"partyline/internal/wake"
	"partyline/subjects"
)

const (
	fetchEvery = 5 * time.Second
	statsEvery = 2 * time.Second
	lookEvery  = 500 * time.Millisecond // how often one of them may be due, and a page that does not have everything gets more

	// maxSockets is from how many sockets on, in all namespaces, pages get figures alone.
	maxSockets = 10_000
	// maxNamespaces bounds the namespaces of one server that pages show.
	maxNamespaces = 1000
	// namespaceSlots is how many namespaces there seem to be at least: pages do not notice that a list has become longer.
	namespaceSlots = 32
)

// watch asks the edges while a page is open, and sends the pages what has changed.
type watch struct {
	service    *backend.Service
	stats      *stats
	complaints *throttle.Logger
	wake       wake.Flag // asks before the time

	mu      sync.Mutex
	view    view               // guarded by mu
	stop    context.CancelFunc // guarded by mu: ends run; nil while no page is open
	closed  bool               // guarded by mu
	running sync.WaitGroup
}

// view is the pages and what they are to show. It is not safe for concurrent use.
type view struct {
	features []string           // without ALL_EVENTS
	pages    map[string]*page   // by the socket's id
	truth    picture            // the sockets when the edges were asked; nil: they were not, or there are too many
	tooMany  bool               // there are maxSockets or more
	servers  map[string]*server // by id of the edge
}

func newWatch(o Options, st *stats) *watch {
	features := []string{"AGGREGATED_EVENTS"}
	if !o.Readonly {
		features = append(features, "EMIT", "JOIN", "LEAVE", "DISCONNECT", "MJOIN", "MLEAVE", "MDISCONNECT")
	}
	return &watch{
		service: o.Service, stats: st, complaints: throttle.New(o.Log), wake: wake.New(),
		view: view{features: features, pages: make(map[string]*page), servers: make(map[string]*server)},
	}
}

// add begins to show the cluster to a page.
func (w *watch) add(s *backend.Socket) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || w.view.pages[s.ID()] != nil {
		return
	}
	p := &page{socket: s}
	w.view.pages[s.ID()] = p
	w.stats.open.Add(1)
	if w.stop == nil {
		ctx, stop := context.WithCancel(context.Background())
		w.stop = stop
		w.running.Go(func() { w.run(ctx) })
	}
	w.view.show(p)
	w.view.reportServers(w.service.Edges(), time.Now(), false, p)
}

// remove ends that. After the last page nothing runs, and nothing is kept.
func (w *watch) remove(s *backend.Socket) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.view.pages[s.ID()] == nil {
		return
	}
	delete(w.view.pages, s.ID())
	w.stats.open.Add(-1)
	if len(w.view.pages) == 0 {
		w.stop()
		w.stop, w.view.truth, w.view.tooMany = nil, nil, false
		clear(w.view.servers)
	}
}

func (w *watch) close() {
	w.mu.Lock()
	w.closed = true
	if w.stop != nil {
		w.stop()
	}
	w.mu.Unlock()
	w.running.Wait()
}

// run asks the edges for their sockets, and sends the pages what is due, until ctx ends. While an edge dies a question
// takes as long as it takes for others to notice.
func (w *watch) run(ctx context.Context) {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	var fetched, reported time.Time
	for {
		if time.Since(fetched) >= fetchEvery {
			fetched = time.Now()
			w.fetch(ctx)
		}
		w.mu.Lock()
		if ctx.Err() != nil {
			w.mu.Unlock()
			return
		}
		all := slices.Collect(maps.Values(w.view.pages))
		for _, p := range all {
			w.view.show(p)
		}
		if time.Since(reported) >= statsEvery {
			reported = time.Now()
			w.view.reportServers(w.service.Edges(), reported, true, all...)
		}
		w.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-look.C: // first, so that commands do not make it ask more often than this
			select {
			case <-w.wake:
				fetched = time.Time{}
			default:
			}
		}
	}
}

// show shows a page what has changed for it. What cannot be published now is published later.
func (v *view) show(p *page) {
	features := v.features
	if !v.tooMany {
		features = append(slices.Clip(features), "ALL_EVENTS")
	}
	if v.truth != nil || v.tooMany {
		_ = p.update(v.truth, features, time.Now())
	}
}

// fetch asks the edges for all sockets, unless there are too many.
func (w *watch) fetch(ctx context.Context) {
	w.mu.Lock()
	before := w.view.truth
	w.mu.Unlock()
	names, total := make(map[string]bool), 0
	for _, e := range w.service.Edges() {
		total += e.Sockets
		for name, sockets := range e.Namespaces {
			names[name] = names[name] || sockets > 0
		}
	}
	for key := range before { // an edge announces its largest namespaces alone, and others may become these
		names[key.namespace] = true
	}
	found := make(picture)
	for name, isUsed := range names {
		if ns, err := namespaceOf(w.service, name); err == nil && isUsed && total < maxSockets {
			w.fetchOne(ctx, ns, found, before)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if ctx.Err() != nil {
		return // another run may have begun
	}
	if w.view.truth, w.view.tooMany = found, total >= maxSockets; w.view.tooMany {
		w.view.truth = nil
	}
}

// fetchOne adds the sockets of a namespace to found. Those at edges that live and do not answer stay as they were before.
func (w *watch) fetchOne(ctx context.Context, ns *backend.Namespace, found, before picture) {
	all, err := ns.Fetch(ctx)
	for _, snapshot := range all {
		key := socketKey{ns.Name(), snapshot.ID}
		is := newState(ns.Name(), &snapshot)
		if was := before[key]; was != nil && was.equals(is) {
			is = was
		}
		found[key] = is
	}
	if err == nil || ctx.Err() != nil {
		return
	}
	w.stats.unanswered.Inc()
	w.complaints.Log(slog.LevelWarn, "not all edges answered what the Admin UI shows", ns.Name(), err.Error(), "namespace", ns.Name(), "error", err)
	var silent *backend.SilentEdges
	isPart := errors.As(err, &silent)
	for key, was := range before {
		edge, _, _ := subjects.SplitSocketID(key.id)
		if key.namespace == ns.Name() && found[key] == nil && (!isPart || slices.Contains(silent.Edges, edge)) {
			found[key] = was
		}
	}
}

// server is an edge as the pages show it.
type server struct {
	last       backend.Edge
	namespaces []string // their order never changes, and none is removed: pages merge the lists by position
}

// reportServers sends pages what each edge has announced. To all pages, it sends what has happened since the last time, too.
// An edge that has gone has nothing left; pages show it as unhealthy then.
func (v *view) reportServers(edges []backend.Edge, now time.Time, toAll bool, pages ...*page) {
	report := func(s *server, is backend.Edge) {
		stats := s.report(is, now)
		if toAll {
			s.last = is
		} else {
			stats["aggregatedEvents"] = []any{}
		}
		for _, p := range pages {
			_ = p.socket.Emit("server_stats", stats) // the next one follows
		}
	}
	living := make(map[string]bool)
	for _, e := range edges {
		living[e.ID] = true
		if v.servers[e.ID] == nil {
			v.servers[e.ID] = &server{last: e, namespaces: []string{Namespace}}
		}
		report(v.servers[e.ID], e)
	}
	for id, s := range v.servers {
		if !living[id] {
			report(s, backend.Edge{ID: id, Address: s.last.Address})
			if toAll {
				delete(v.servers, id)
			}
		}
	}
}

// report is what the Admin UI calls ServerStats.
func (s *server) report(e backend.Edge, now time.Time) map[string]any {
	for _, name := range slices.Sorted(maps.Keys(e.Namespaces)) {
		if !slices.Contains(s.namespaces, name) && len(s.namespaces) < maxNamespaces {
			s.namespaces = append(s.namespaces, name)
		}
	}
	namespaces, events := []any{}, []any{}
	for _, name := range s.namespaces {
		namespaces = append(namespaces, map[string]any{"name": name, "socketsCount": e.Namespaces[name]})
	}
	for len(namespaces)%namespaceSlots != 0 { // pages add up the entries with the same name
		namespaces = append(namespaces, map[string]any{"name": Namespace, "socketsCount": 0})
	}
	count := func(kind string, is, was uint64) {
		if is > was {
			events = append(events, map[string]any{"type": kind, "timestamp": now.Truncate(time.Second).UnixMilli(), "count": is - was})
		}
	}
	count("rawConnection", e.Opened, s.last.Opened)
	count("rawDisconnection", e.Ended, s.last.Ended)
	count("bytesIn", e.BytesIn, s.last.BytesIn)
	count("bytesOut", e.BytesOut, s.last.BytesOut)
	stats := map[string]any{
		"serverId": e.ID, "hostname": cmp.Or(strings.TrimPrefix(e.Address, "http://"), "-"),
		"clientsCount": e.Clients, "pollingClientsCount": e.Polling, "namespaces": namespaces, "aggregatedEvents": events,
	}
	if !e.Started.IsZero() {
		stats["uptime"] = max(0, now.Sub(e.Started).Seconds())
	}
	return stats
}
