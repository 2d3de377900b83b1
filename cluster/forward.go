package cluster

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/http/httputil"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http/httpguts"

	"partyline/engine"
	"partyline/internal/listen"
	"partyline/internal/tally"
	"partyline/internal/throttle"
	"partyline/subjects"
	"partyline/wire/eio"
)

const (
	// dialTimeout bounds the connect to another edge. A dead machine costs this once a request until its death is
	// known.
	dialTimeout = 2 * time.Second
	// idleConns is how many idle connections to one edge are kept.
	idleConns = 512
	// idleTimeout is how long they are kept: for less than edges keep theirs, so that none ends under a request.
	idleTimeout = 10 * time.Second
)

// ForwarderSettings is what a Forwarder needs.
type ForwarderSettings struct {
	ID          string          // of this edge
	Secret      string          // shared by all edges; "": the engine's trusted proxies may forward requests
	Config      engine.Config   // the engine's timeouts, which the Forwarder keeps, too
	Engine      *engine.Server  // serves the sessions of this edge
	Cluster     *Cluster        // has the addresses of the other edges
	Connections *listen.Limiter // counts the connections to other edges, and learns where theirs come from
	Log         *slog.Logger
}

// Forwarder stands in front of an edge's engine. It forwards a request for a session of another edge, which the
// session's id names: a WebSocket is spliced, everything else is one request. All other requests go to the engine,
// also those for unknown sessions, which it answers as the reference server does.
type Forwarder struct {
	set        ForwarderSettings
	proof      proof
	patience   time.Duration // how long a client may keep an edge waiting, as in the engine
	requests   *httputil.ReverseProxy
	upgrades   *httputil.ReverseProxy
	transport  *http.Transport // of requests
	running    sync.WaitGroup  // upgrades in progress, and the goroutines of spliced connections
	complaints *throttle.Logger

	mu      sync.Mutex
	active  map[*closer]struct{} // guarded by mu: what goes through this edge to others
	leaving bool                 // guarded by mu: nothing more is spliced
	aborted bool                 // guarded by mu: whatever becomes active is closed at once
	stats   struct {
		forwarded, failed, refused, spliced tally.Counter
		splicedNow                          tally.Gauge
	}
}

// closer ends a poll, an upgrade or a spliced connection.
type closer struct{ end func() }

// forwarding is a request on its way to another edge. It travels in the request's context.
type forwarding struct {
	w              http.ResponseWriter
	r              *http.Request // as the client sent it
	sid            string
	edge, hostPort string       // where it goes
	body           *watchedBody // of r
	upgrade        bool         // it asks for a WebSocket
	owner          net.Conn     // of an upgrade: the connection to the other edge
}

type forwardingKey struct{}

// forwardingOf returns what a context carries. Every request of the Forwarder's proxies has one.
func forwardingOf(ctx context.Context) *forwarding { return ctx.Value(forwardingKey{}).(*forwarding) }

// NewForwarder makes a Forwarder. Leave, all of Closers, and Abort, in this order, end it.
func NewForwarder(set ForwarderSettings) *Forwarder {
	f := &Forwarder{
		set: set, proof: proof(set.Secret), patience: set.Config.PingInterval + set.Config.PingTimeout,
		active: make(map[*closer]struct{}), complaints: throttle.New(set.Log),
	}
	dialer := &net.Dialer{Timeout: dialTimeout, Control: f.set.Cluster.mayDial}
	f.transport = &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return set.Connections.Dial(ctx, dialer, network, address)
		},
		DisableCompression:    true, // the response goes to the client unchanged
		MaxIdleConnsPerHost:   idleConns,
		IdleConnTimeout:       idleTimeout,
		ResponseHeaderTimeout: f.patience,
	}
	ofUpgrades := f.transport.Clone()
	ofUpgrades.DisableKeepAlives = true // an upgrade takes its connection away, and a kept one may just be closing
	ofUpgrades.ResponseHeaderTimeout = set.Config.UpgradeTimeout
	f.requests, f.upgrades = f.newProxy(f.transport), f.newProxy(ofUpgrades)
	return f
}

func (f *Forwarder) newProxy(transport *http.Transport) *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite:        f.rewrite,
		Transport:      transport,
		BufferPool:     &bodyBuffers{},
		ModifyResponse: f.handleResponse,
		ErrorHandler:   f.handleFailure,
		ErrorLog:       slog.NewLogLogger(f.set.Log.Handler(), slog.LevelDebug),
	}
}

// ServeHTTP answers a request of Engine.IO, or forwards it.
func (f *Forwarder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	sid, edge := sessionOf(r.URL.RawQuery)
	if isForwarded(r.Header) {
		f.serveForwarded(w, r, sid)
		return
	}
	if edge == "" || edge == f.set.ID {
		f.set.Engine.ServeHTTP(w, r)
		return
	}
	to := &forwarding{
		w: w, r: r, sid: sid, edge: edge, hostPort: f.set.Cluster.hostPort(edge), upgrade: asksForWebSocket(r.Header),
	}
	switch {
	case to.hostPort == "":
		f.set.Engine.ServeHTTP(w, r) // it answers that the session is unknown
	case !to.upgrade:
		f.forward(to)
	case r.Method != http.MethodGet || r.ContentLength != 0:
		f.set.Engine.Refuse(w, r, eio.BadRequest)
	case !f.beginUpgrade():
		f.set.Engine.Refuse(w, r, eio.BadRequest) // the client stays with polling, through another edge
	default:
		defer f.running.Done()
		f.forward(to)
	}
}

// serveForwarded answers a request that another edge has forwarded, or that claims so. It never forwards it again:
// edges that are wrong about each other's addresses would send it round in circles.
func (f *Forwarder) serveForwarded(w http.ResponseWriter, r *http.Request, sid string) {
	if sid == "" { // edges forward only what belongs to a session
		strip(r.Header)
		f.set.Engine.ServeHTTP(w, r)
		return
	}
	client, err := f.proof.check(r, sid, time.Now())
	if err == nil && f.proof == "" && !f.set.Engine.FromTrustedProxy(r) {
		err = errUntrusted
	}
	if err != nil {
		f.stats.refused.Inc()
		f.warn("refused a request that claims to be forwarded by another edge", "", err, "from", r.RemoteAddr)
		f.set.Engine.Refuse(w, r, eio.BadRequest)
		return
	}
	f.set.Connections.Trust(r.RemoteAddr)
	strip(r.Header)
	f.set.Engine.ServeHTTP(w, engine.WithPeer(r, client))
}

// forward sends a request to another edge, and the response to the client, unchanged. If that is an agreement to an
// upgrade, splice connects the client with the other edge.
func (f *Forwarder) forward(to *forwarding) {
	f.stats.forwarded.Inc()
	ctx, cancel := context.WithCancel(context.WithValue(to.r.Context(), forwardingKey{}, to))
	defer cancel()
	if to.r.Method == http.MethodGet { // a poll may wait at the other edge for longer than a drain may take
		defer f.remove(f.add(cancel, false))
	}
	if to.upgrade {
		trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) { to.owner = info.Conn }}
		f.upgrades.ServeHTTP(to.w, to.r.WithContext(httptrace.WithClientTrace(ctx, trace)))
		return
	}
	client := http.NewResponseController(to.w)
	if to.r.ContentLength != 0 { // for as long as the engine allows
		_ = client.SetReadDeadline(time.Now().Add(f.patience))
	}
	to.body = &watchedBody{ReadCloser: to.r.Body}
	out := to.r.WithContext(ctx)
	out.Body = to.body
	f.requests.ServeHTTP(to.w, out)
	_ = client.Flush()
	_ = client.SetWriteDeadline(time.Time{}) // net/http would keep it for the connection's next requests
}

// rewrite addresses a request to another edge.
func (f *Forwarder) rewrite(p *httputil.ProxyRequest) {
	to := forwardingOf(p.In.Context())
	p.Out.URL.Scheme, p.Out.URL.Host, p.Out.URL.RawQuery = "http", to.hostPort, p.In.URL.RawQuery
	if !to.upgrade {
		p.Out.Header.Del("Connection")
		p.Out.Header.Del("Upgrade")
	}
	f.proof.give(p.Out, to.sid, f.set.ID, f.set.Engine.Peer(to.r), time.Now())
	if p.Out.Body == nil {
		// net/http would repeat a GET without a body over another connection if the first breaks. The other edge may
		// have seen it: two polls at a time end a session, and the messages for the first one would be lost.
		p.Out.Body = emptyBody{http.NoBody}
	}
}

// handleResponse prepares a response of another edge for the client. errSpliced is returned for one that is not to be
// copied.
func (f *Forwarder) handleResponse(response *http.Response) error {
	to := forwardingOf(response.Request.Context())
	if to.upgrade {
		if response.StatusCode == http.StatusSwitchingProtocols {
			f.splice(to, response)
			return errSpliced
		}
	}
	if to.upgrade || response.Close { // the client's connection ends where it would end at the other edge
		response.Header.Set("Connection", "close")
	}
	// The response may have been long in coming. From now on the client has the usual time to read it.
	_ = http.NewResponseController(to.w).SetWriteDeadline(time.Now().Add(f.patience))
	return nil
}

// handleFailure has the engine answer that the session is unknown when another edge does not respond. Then the client
// begins a new session.
func (f *Forwarder) handleFailure(w http.ResponseWriter, out *http.Request, err error) {
	to := forwardingOf(out.Context())
	if errors.Is(err, errSpliced) || to.r.Context().Err() != nil || to.body != nil && to.body.broken.Load() {
		return // the client has its WebSocket, has gone, or has stopped sending
	}
	f.stats.failed.Inc()
	f.warn("another edge did not answer for its session", to.edge, err, "other", to.edge, "at", to.hostPort)
	f.set.Engine.ServeHTTP(w, to.r)
}

// warn logs a failure, at most once a minute for each about and error. what must be a constant.
func (f *Forwarder) warn(what, about string, err error, args ...any) {
	f.complaints.Log(slog.LevelWarn, what, about, err.Error(), append(args, "error", err)...)
}

// sessionOf returns the session's id in a query, and the edge that gave it; "" if no edge can have given it. It must
// not allocate: every request passes here.
func sessionOf(query string) (sid, edge string) {
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		if value, found := strings.CutPrefix(pair, "sid="); found {
			sid = value // the last one counts, as in the engine
		}
	}
	// Sessions and sockets have ids of the same form, and no escapes in it.
	if edge, _, ok := subjects.SplitSocketID(sid); ok {
		return sid, edge
	}
	return "", ""
}

// asksForWebSocket reports whether a request asks for a WebSocket (RFC 6455, section 4.2.1).
func asksForWebSocket(h http.Header) bool {
	return httpguts.HeaderValuesContainsToken(h["Connection"], "upgrade") &&
		httpguts.HeaderValuesContainsToken(h["Upgrade"], "websocket")
}

// watchedBody notes whether the client failed to send all of its request.
type watchedBody struct {
	io.ReadCloser
	broken atomic.Bool
}

func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		b.broken.Store(true)
	}
	return n, err
}

// emptyBody is an empty body that net/http must read to know that.
type emptyBody struct{ io.ReadCloser }

// bodyBuffers pools the buffers with which responses are copied.
type bodyBuffers struct{ pool sync.Pool }

func (b *bodyBuffers) Get() []byte {
	if buffer, ok := b.pool.Get().(*[]byte); ok {
		return *buffer
	}
	return make([]byte, 32<<10)
}

func (b *bodyBuffers) Put(buffer []byte) { b.pool.Put(&buffer) }
