// Package engine implements Engine.IO v4 for clients, over HTTP long-polling and WebSocket. It does not interpret the
// messages.
//
// A Session has a queue, a heartbeat and a transport. It has two kinds of transport, polling and wsConn; only they
// deal with requests and WebSockets, and a session may change once from the first to the second.
//
// The path of a message up: a WebSocket frame or a part of a POST → eio.Parse → Session.packet → Receiver.Message, all
// on the goroutine that reads from the client.
//
// The path down: Fanout.Send puts a Frame, encoded once for all its receivers, into each session's queue, and
// Fanout.Flush writes what is queued, on the same goroutine. Frames for one session alone (Session.Send), and what a
// client does not take at once, are written by a goroutine that ends when nothing is queued. A waiting poll takes all
// that is queued.
package engine

import (
	"cmp"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"partyline/internal/handshakes"
	"partyline/internal/ids"
	"partyline/internal/origin"
	"partyline/internal/pace"
	"partyline/internal/rates"
	"partyline/internal/request"
	"partyline/internal/throttle"
	"partyline/internal/turn"
	"partyline/wire/eio"
)

// DefaultQueueBytes is how many bytes may wait for one session before it is closed.
const DefaultQueueBytes = 4 << 20

// DefaultQueuePackets is how many packets may wait for one session. It is for tiny packets, of which each costs its
// place in the queue. For all others DefaultQueueBytes is the bound.
const DefaultQueuePackets = 64 << 10

// Config is what an operator chooses for Engine.IO sessions.
type Config struct {
	PingInterval   time.Duration `koanf:"ping_interval"`   // from one heartbeat to the next; > 0
	PingTimeout    time.Duration `koanf:"ping_timeout"`    // how long a client may take to answer one; > 0
	UpgradeTimeout time.Duration `koanf:"upgrade_timeout"` // how long an upgrade may take; > 0
	MaxPayload     int           `koanf:"max_payload"`     // bytes of one packet (WebSocket) or one POST body (polling); >= 1024
	Transports     []string      `koanf:"transports"`      // "polling", "websocket"; at least one
}

// DefaultConfig returns the configuration of the reference server.
func DefaultConfig() Config {
	return Config{
		PingInterval:   25 * time.Second,
		PingTimeout:    20 * time.Second,
		UpgradeTimeout: 10 * time.Second,
		MaxPayload:     1_000_000,
		Transports:     []string{"polling", "websocket"},
	}
}

// Opening is the request with which a session began. It is valid only during the call of Handler.
type Opening struct {
	Peer
	Header http.Header // as the client sent it
	Query  url.Values
	URL    string // path and query as in the request line
	Time   time.Time
	Kept   int // set by Handler: the bytes that the receiver keeps of it, as for Session.Charge
}

// Handler makes the receiver of a new session. It must not call methods of the session, which block until Handler has
// returned.
type Handler func(s *Session, o *Opening) Receiver

// Settings is what a Server needs, with the operator's Config.
type Settings struct {
	Config
	Rates
	EdgeID         string         // first part of every session id
	Origins        []string       // other origins that may connect, and patterns of them; see origin.Parse
	Credentials    bool           // whether those may send cookies
	Cookie         string         // name of a cookie that carries the session id, "" for none
	TrustedProxies origin.Proxies // whose X-Forwarded-… and Forwarded headers count
	MaxSessions    int            // 0: no limit
	MaxPerAddress  int            // sessions of one client address; 0: no limit
	QueueBytes     int            // bytes that may wait for one session; 0: DefaultQueueBytes
	QueuePackets   int            // packets that may wait for one session; 0: DefaultQueuePackets
	SessionBytes   int            // memory that one session may cost, its queue included; 0: DefaultSessionBytes
	Refuse         func() error   // why no session may begin now, or nil; must not block
	Handler        Handler
	Log            *slog.Logger
}

// Server is an http.Handler for all requests of Engine.IO below one path.
type Server struct {
	current    atomic.Pointer[settings]
	turns      *turn.Turns // static
	drain      *pace.Drain // static: reads connections whose sessions have ended
	complaints *throttle.Logger
	maxPayload atomic.Int64
	full       atomic.Bool    // the process has too little memory for new sessions
	running    sync.WaitGroup // every goroutine that a session starts

	mu         sync.Mutex
	sessions   map[string]*Session  // guarded by mu: by session id
	conns      map[*wsConn]struct{} // guarded by mu: every WebSocket that is not closed yet
	handshakes *handshakes.Table    // guarded by mu
	owed       pollsOwed            // guarded by mu

	totals totals
	stats  stats
}

// settings are Settings and what follows from them. They are static: others take their place.
type settings struct {
	Settings
	events, bytes rates.Rate // of each session
	origins       *origin.Policy
}

// NewServer makes a Server. To end it, call Leave, all of Closers, and Abort, in this order.
func NewServer(set Settings) *Server {
	s := &Server{
		complaints: throttle.New(set.Log), turns: turn.New(), drain: pace.NewDrain(16 << 20),
		sessions: make(map[string]*Session), conns: make(map[*wsConn]struct{}), handshakes: handshakes.New(handshakes.Limits{}),
	}
	s.maxPayload.Store(int64(set.MaxPayload))
	s.Reconfigure(set)
	return s
}

// Reconfigure replaces the settings, of which only Rates, Origins, Credentials and the limits behind TrustedProxies may
// differ. It closes no session: what a session has already is measured by a new limit when it wants more.
func (s *Server) Reconfigure(set Settings) {
	set.QueueBytes = cmp.Or(set.QueueBytes, DefaultQueueBytes)
	set.QueuePackets = cmp.Or(set.QueuePackets, DefaultQueuePackets)
	set.SessionBytes = cmp.Or(set.SessionBytes, max(DefaultSessionBytes, 2*set.QueueBytes))
	defaults := DefaultRates()
	set.EventsPerSecond = cmp.Or(set.EventsPerSecond, defaults.EventsPerSecond)
	set.EventsBurst = cmp.Or(set.EventsBurst, defaults.EventsBurst)
	set.BytesPerSecond = cmp.Or(set.BytesPerSecond, defaults.BytesPerSecond)
	s.current.Store(&settings{
		Settings: set, origins: origin.NewPolicy(set.Origins, set.Credentials),
		events: rates.Rate{Name: "limits.events_per_second", PerSecond: set.EventsPerSecond, Burst: set.EventsBurst},
		bytes:  rates.Rate{Name: "limits.bytes_per_second", PerSecond: set.BytesPerSecond, Burst: max(set.BytesPerSecond, set.MaxPayload)},
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handshakes.SetLimits(handshakes.Limits{
		Sessions: set.MaxSessions, PerAddress: set.MaxPerAddress,
		PerSecond: set.HandshakesPerSecond, PerSecondPerAddress: set.HandshakesPerSecondPerAddress,
	})
}

// set returns the settings as they are now.
func (s *Server) set() *settings { return s.current.Load() }

// SetMaxPayload changes the largest packet, in bytes, for sessions that begin from now on.
func (s *Server) SetMaxPayload(n int) { s.maxPayload.Store(int64(n)) }

// MaxPayload returns the largest packet that new sessions may send, in bytes.
func (s *Server) MaxPayload() int { return int(s.maxPayload.Load()) }

// Sessions returns the number of sessions.
func (s *Server) Sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sessions)
}

// ServeHTTP answers one request of a client as the reference server does (engine.io, server.ts: verify, handleRequest,
// handleUpgrade).
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	isUpgrade := s.isUpgrade(r)
	q := request.ParseQuery(r.URL.RawQuery)
	peer := s.Peer(r)
	if request.Last(q, "sid") == "" {
		turn.Requests.GiveWay(r.Context(), turn.Newcomer)
	}
	origins := s.set().origins
	allowed := origins.Allows(origin.Of(r), peer)
	if !allowed {
		s.logRefused(r, peer)
	}
	s.WriteCORS(w, r)
	if allowed && origins.Preflight(w, r) {
		return
	}
	transport := request.Last(q, "transport")
	switch {
	case !slices.Contains(s.set().Transports, transport):
		s.refuse(w, eio.UnknownTransport, isUpgrade)
	case !allowed:
		s.refuse(w, eio.Forbidden, isUpgrade)
	case request.Last(q, "sid") != "":
		s.serveSession(w, r, q, isUpgrade)
	case r.Method != http.MethodGet:
		s.refuse(w, eio.BadHandshakeMethod, isUpgrade)
	case isUpgrade != (transport == transportNames[kindWebSocket]):
		s.refuse(w, eio.BadRequest, isUpgrade)
	case request.Last(q, "EIO") != "4":
		s.refuse(w, eio.UnsupportedProtocol, isUpgrade)
	default:
		s.handshake(w, r, q, peer, isUpgrade)
	}
}

// serveSession passes a request on to the session that it names. A session with a WebSocket takes no requests.
func (s *Server) serveSession(w http.ResponseWriter, r *http.Request, q url.Values, isUpgrade bool) {
	sid, isV4 := request.Last(q, "sid"), request.Last(q, "EIO") == "4"
	isPolling := request.Last(q, "transport") == transportNames[kindPolling]
	s.mu.Lock()
	session := s.sessions[sid]
	s.mu.Unlock()
	var p *polling
	if session != nil {
		p, _ = session.currentTransport().(*polling)
	}
	switch {
	case session == nil, p != nil && p.expire():
		s.serveUnknown(w, r, sid, isPolling && isV4 && !isUpgrade && r.Method == http.MethodGet)
	case isUpgrade == isPolling, !isV4, p == nil && !isUpgrade:
		s.refuse(w, eio.BadRequest, isUpgrade)
	case isUpgrade:
		s.upgrade(w, r, session, p)
	case r.Method == http.MethodGet:
		p.servePoll(w, r)
	case r.Method == http.MethodPost:
		p.servePost(w, r)
	default:
		w.WriteHeader(http.StatusInternalServerError) // as the reference does
	}
}

// upgrade turns a request into a WebSocket that takes over a session. If the session has one already, so that p is
// nil, the new one is accepted and closed, as the reference does.
func (s *Server) upgrade(w http.ResponseWriter, r *http.Request, session *Session, p *polling) {
	if !s.begun() {
		s.refuse(w, eio.BadRequest, true)
		return
	}
	defer s.running.Done()
	if p == nil {
		p = &polling{session: session}
	}
	if conn := s.accept(w, r, session); conn != nil {
		s.running.Go(func() { p.takeOver(conn) })
	}
}

// handshake begins a session, if there is space for it.
func (s *Server) handshake(w http.ResponseWriter, r *http.Request, q url.Values, peer Peer, isUpgrade bool) {
	if err := s.reserve(peer.Address); err != nil {
		s.turnAway(w, err)
		return
	}
	defer s.running.Done()
	session := &Session{
		id: ids.New(s.set().EdgeID), server: s, address: peer.Address, maxPayload: s.MaxPayload(),
	}
	// For a proxy that spreads a session's requests. The reference does the same, but for Secure, which it cannot
	// know.
	if s.set().Cookie != "" && !isUpgrade {
		w.Header().Add("Set-Cookie", (&http.Cookie{
			Name: s.set().Cookie, Value: session.id, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode,
			Secure: peer.Secure(),
		}).String())
	}
	// The id of the browser's other session lets its holder read and write that, so it stays in the engine.
	header := request.WithoutCookie(r.Header, s.set().Cookie)
	opening := &Opening{Peer: peer, Header: header, Query: q, URL: r.RequestURI, Time: time.Now()}
	if !isUpgrade {
		p := &polling{session: session}
		s.begin(session, p, opening)
		p.servePoll(w, r)
		return
	}
	conn := s.accept(w, r, session)
	if conn == nil {
		s.remove(session)
		return
	}
	// The answer to the request and the open packet are one write, and wake the client once.
	session.queue.push(conn.takeHeld())
	s.begin(session, conn, opening)
	// The request's goroutine ends here, and net/http releases what it holds for the request.
	s.running.Go(conn.readLoop)
}

// begin makes a session live: it gets a receiver, heartbeats start, it can be reached, and the client gets its id. All
// of it happens under the session's lock, so that others that have the session already, a timer of the receiver for
// instance, wait until it is complete.
func (s *Server) begin(session *Session, t transport, o *Opening) {
	h := eio.Handshake{
		SID: session.id, PingInterval: s.set().PingInterval, PingTimeout: s.set().PingTimeout, MaxPayload: session.maxPayload,
	}
	if t.kind() == kindPolling && slices.Contains(s.set().Transports, transportNames[kindWebSocket]) {
		h.Upgrades = []string{transportNames[kindWebSocket]}
	}
	session.mu.Lock()
	session.transport = t
	session.receiver = s.set().Handler(session, o)
	session.queue.kept = o.Kept
	// The client counts from the answer, which is not sent yet.
	session.heartbeat.due = time.Now().Add(s.set().PingInterval)
	session.heartbeat.timer = time.AfterFunc(s.set().PingInterval, session.beat)
	s.mu.Lock()
	s.sessions[session.id] = session
	leaving := s.handshakes.Leaving
	s.mu.Unlock()
	session.queue.push(eio.NewPacket(string(eio.AppendOpen(nil, h))))
	session.writeNow() // last: the client has it at once
	session.mu.Unlock()
	s.stats.opened[t.kind()].Inc()
	if leaving { // it began to leave since the session was reserved
		session.Close(ServerShutdown)
	}
}

// remove removes a session, which may not have begun, and releases its place. It must be called once for each session.
// It may be called with Session.mu held, never the other way round.
func (s *Server) remove(session *Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, session.id)
	s.handshakes.Release(session.address)
}

// ended counts and logs the end of a session.
func (s *Server) ended(session *Session, reason Reason) {
	s.stats.ended[reason].Inc()
	if reason != QueueOverflow {
		s.set().Log.Debug("session ended", "reason", reason.String(), "address", session.address)
		return
	}
	// The only end that an operator may want to look into and that has no other log line.
	session.mu.Lock()
	exceeded := limitKeys[session.queue.exceeded]
	session.mu.Unlock()
	s.set().Log.Info("session ended", "reason", reason.String(), "limit", exceeded, "address", session.address)
}

func (s *Server) all() []*Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.sessions))
}

// Closers returns, in no order, a function for each open session that closes it (Session.Close).
func (s *Server) Closers(reason Reason) (closers []func()) {
	for _, session := range s.all() {
		if session.currentState() == open {
			closers = append(closers, func() { session.Close(reason) })
		}
	}
	return closers
}

// Abort ends all sessions, gives those that wait for their clients after a Close one more second (lastWrite), and
// waits for every goroutine of the server. Leave must have been called.
func (s *Server) Abort() {
	for _, session := range s.all() {
		session.fail(ServerShutdown)
	}
	s.mu.Lock()
	for conn := range s.conns {
		if !conn.deadlineFixed.Swap(true) {
			_ = conn.Conn.SetDeadline(time.Now().Add(lastWrite))
		}
	}
	s.mu.Unlock()
	s.running.Wait()
}
