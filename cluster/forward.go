package cluster

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"partyline/engine"
	"partyline/internal/tally"
	"partyline/internal/throttle"
	"partyline/subjects"
	"partyline/wire/eio"
)

const (
	// dialTimeout is how long the way to another edge may take: a machine that is gone costs this once a request, until it
	// is known to be gone.
	dialTimeout = 2 * time.Second
	// idleConns is how many connections to one edge are kept for the next request, and idleTimeout for how long: less than
	// edges keep theirs, so that none ends under a request.
	idleConns   = 512
	idleTimeout = 30 * time.Second
)

// ForwarderSettings is what a Forwarder needs.
type ForwarderSettings struct {
	ID      string         // this edge's
	Secret  string         // shared by all edges; "": what comes from the engine's trusted proxies may be passed on
	Config  engine.Config  // the limits of time that the engine keeps, too
	Engine  *engine.Server // for all that is this edge's own
	Cluster *Cluster       // where the others are
	Path    string         // where clients connect, on every edge
	Log     *slog.Logger
}

// Forwarder stands in front of an edge's engine. A request of a session that lives on another edge, as the session's id
// says, is passed on to that one: a WebSocket is spliced through, everything else is one request there. All other requests
// are the engine's, also those of sessions that nobody has, which it answers as the reference server does.
type Forwarder struct {
	set        ForwarderSettings
	proof      proof
	patience   time.Duration // how long a client may keep an edge waiting before it is given up, as in the engine
	transport  *http.Transport
	proxy      *httputil.ReverseProxy
	running    sync.WaitGroup // upgrades under way, and the goroutines of spliced connections
	complaints *throttle.Logger

	mu      sync.Mutex
	held    map[*held]struct{} // guarded by mu: what other edges hold for clients of this one
	leaving bool               // guarded by mu: nothing more is spliced
	aborted bool               // guarded by mu: what is held from now on ends at once
	stats   struct {
		forwarded, failed, refused, spliced tally.Counter
		splicedNow                          tally.Gauge
	}
}

// held is a poll, an upgrade or a spliced connection that goes on until somebody ends it.
type held struct{ end func() }

// passing is a request on its way to another edge. It travels in the context.
type passing struct {
	w              http.ResponseWriter
	r              *http.Request // as the client has sent it
	sid            string
	edge, hostPort string // where it goes
	body           *watchedBody
}

type passingKey struct{}

// NewForwarder makes a Forwarder. Leave, all of Closers, and Abort, in this order, end it.
func NewForwarder(set ForwarderSettings) *Forwarder {
	f := &Forwarder{
		set: set, proof: proof(set.Secret), patience: set.Config.PingInterval + set.Config.PingTimeout,
		held: make(map[*held]struct{}), complaints: throttle.New(set.Log),
	}
	f.transport = &http.Transport{
		DialContext:           (&net.Dialer{Timeout: dialTimeout}).DialContext,
		DisableCompression:    true, // the answer is the client's, as it is
		MaxIdleConnsPerHost:   idleConns,
		IdleConnTimeout:       idleTimeout,
		ResponseHeaderTimeout: f.patience,
	}
	f.proxy = &httputil.ReverseProxy{
		Rewrite:        f.rewrite,
		Transport:      f.transport,
		BufferPool:     &bodyBuffers{},
		ModifyResponse: f.answered,
		ErrorHandler:   f.notPassed,
		ErrorLog:       slog.NewLogLogger(set.Log.Handler(), slog.LevelDebug),
	}
	return f
}

// ServeHTTP answers a request of Engine.IO, or has another edge answer it.
func (f *Forwarder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	sid, edge := sessionOf(r.URL.RawQuery)
	if claimed(r.Header) {
		f.serveForwarded(w, r, sid)
		return
	}
	if edge == "" || edge == f.set.ID {
		f.set.Engine.ServeHTTP(w, r)
		return
	}
	to := &passing{w: w, r: r, sid: sid, edge: edge, hostPort: f.set.Cluster.hostPort(edge)}
	switch {
	case to.hostPort == "":
		f.set.Engine.ServeHTTP(w, r) // it says that it knows no such session
	case !asksForWebSocket(r.Header):
		f.pass(to)
	case r.Method != http.MethodGet || r.ContentLength != 0:
		f.set.Engine.Refuse(w, r, eio.BadRequest)
	default:
		f.splice(to)
	}
}

// serveForwarded answers a request that another edge has passed on, or that says so. It is never passed on again,
// whatever it is: edges that are wrong about each other's addresses would send it round in circles.
func (f *Forwarder) serveForwarded(w http.ResponseWriter, r *http.Request, sid string) {
	if sid == "" { // edges pass on what belongs to a session, and nothing else
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
		f.warn("refused a request that says another edge has passed it on", "", err, "from", r.RemoteAddr)
		f.set.Engine.Refuse(w, r, eio.BadRequest)
		return
	}
	strip(r.Header)
	f.set.Engine.ServeHTTP(w, engine.WithPeer(r, client))
}

// pass has another edge answer a request. What that edge says goes to the client as it is.
func (f *Forwarder) pass(to *passing) {
	f.stats.forwarded.Inc()
	client := http.NewResponseController(to.w)
	if to.r.ContentLength != 0 { // as long as the engine gives it
		_ = client.SetReadDeadline(time.Now().Add(f.patience))
	}
	ctx, cancel := context.WithCancel(context.WithValue(to.r.Context(), passingKey{}, to))
	defer cancel()
	if to.r.Method == http.MethodGet { // it may wait at the other edge, longer than this one wants to
		defer f.release(f.hold(cancel))
	}
	to.body = &watchedBody{ReadCloser: to.r.Body}
	out := to.r.WithContext(ctx)
	out.Body = to.body
	f.proxy.ServeHTTP(to.w, out)
	_ = client.Flush()
	_ = client.SetWriteDeadline(time.Time{}) // net/http would keep that of answered for the connection's next requests
}

// answered gives the client time to take an answer, which may have been long in coming.
func (f *Forwarder) answered(answer *http.Response) error {
	to := answer.Request.Context().Value(passingKey{}).(*passing)
	_ = http.NewResponseController(to.w).SetWriteDeadline(time.Now().Add(f.patience))
	return nil
}

// rewrite addresses a request to another edge.
func (f *Forwarder) rewrite(p *httputil.ProxyRequest) {
	to := p.In.Context().Value(passingKey{}).(*passing)
	p.Out.URL.Scheme, p.Out.URL.Host, p.Out.URL.RawQuery = "http", to.hostPort, p.In.URL.RawQuery
	p.Out.Header.Del("Connection") // nothing is upgraded on this way
	p.Out.Header.Del("Upgrade")
	f.proof.give(p.Out, to.sid, f.set.ID, f.set.Engine.Peer(to.r), time.Now())
	if p.Out.Body == nil {
		// A GET without a body net/http would send again over another connection if the first breaks. The other edge may
		// have seen it: two polls at a time end a session, and what the first one brought would be lost.
		p.Out.Body = emptyBody{}
	}
}

// notPassed answers a request that another edge did not answer: so the client begins anew.
func (f *Forwarder) notPassed(w http.ResponseWriter, out *http.Request, err error) {
	to := out.Context().Value(passingKey{}).(*passing)
	if to.r.Context().Err() != nil || to.body.broken.Load() {
		return // it is the client who has gone, or does not go on
	}
	f.failed(to, err)
	f.set.Engine.ServeHTTP(w, to.r)
}

// failed counts and logs that another edge could not be asked.
func (f *Forwarder) failed(to *passing, err error) {
	f.stats.failed.Inc()
	f.warn("another edge did not answer for its session", to.edge, err, "other", to.edge, "at", to.hostPort)
}

// warn logs why something failed, at most once a minute for what it is about and the error. what must be a constant.
func (f *Forwarder) warn(what, about string, err error, args ...any) {
	f.complaints.Log(slog.LevelWarn, what, about, err.Error(), append(args, "error", err)...)
}

// sessionOf finds the id of a session in a query, and the edge that gave it; "" where there is none that an edge could have
// given. It allocates nothing: every request passes here.
func sessionOf(query string) (sid, edge string) {
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		if value, found := strings.CutPrefix(pair, "sid="); found {
			sid = value // of two, the last counts, as in the engine
		}
	}
	// Sessions and sockets have ids of the same form, and no escapes in it.
	if edge, _, ok := subjects.SplitSocketID(sid); ok {
		return sid, edge
	}
	return "", ""
}

// asksForWebSocket tells whether a request wants to become a WebSocket (RFC 6455, section 4.2.1).
func asksForWebSocket(h http.Header) bool {
	return hasToken(h["Connection"], "upgrade") && hasToken(h["Upgrade"], "websocket")
}

func hasToken(lines []string, token string) bool {
	for _, line := range lines {
		for part := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(part), token) {
				return true
			}
		}
	}
	return false
}

// watchedBody knows whether a client failed to send all of its request.
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

// emptyBody is a body that net/http must read to know that it is empty.
type emptyBody struct{}

func (emptyBody) Read([]byte) (int, error) { return 0, io.EOF }
func (emptyBody) Close() error             { return nil }

// bodyBuffers lends what answers are copied with.
type bodyBuffers struct{ pool sync.Pool }

func (b *bodyBuffers) Get() []byte {
	if buffer, ok := b.pool.Get().(*[]byte); ok {
		return *buffer
	}
	return make([]byte, 32<<10)
}

func (b *bodyBuffers) Put(buffer []byte) { b.pool.Put(&buffer) }
