// Package engine speaks Engine.IO v4 with clients, over HTTP long-polling and WebSocket, and knows nothing of what the
// messages mean.
//
// The path of a message up: a WebSocket frame or a part of a POST → eio.Parse → Session.packet → Receiver.Message, all on
// the goroutine that reads from the client. The path down: Round.Send puts a Frame, encoded once for all its receivers,
// into each session's queue, and Round.Flush writes what is queued, on the goroutine of whoever delivers. What is said to
// one session alone (Session.Send), and what a client does not take at once, is left to a writer that lives only while
// there is something to write; a waiting poll takes all of it.
package engine

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"partyline/wire/eio"
)

// DefaultQueueBytes is how much may wait for one session before it is closed.
const DefaultQueueBytes = 4 << 20

// DefaultQueuePackets is how many packets may. The bytes are the bound that counts as a rule; this one is for tiny packets, of
// which each costs its place in the queue.
const DefaultQueuePackets = 64 << 10

// Opening is the request with which a session began. It is valid only during the call of Handler.
type Opening struct {
	Header  http.Header // as the client sent it
	Host    string      // the host that the client asked for, behind trusted proxies
	Query   url.Values
	URL     string // path and query as in the request line
	Address string // the client's IP address, behind trusted proxies
	Secure  bool   // over TLS, behind trusted proxies
	Time    time.Time
}

// Handler makes the receiver of a new session. It must not use the session itself: its methods wait until Handler has
// returned.
type Handler func(s *Session, o *Opening) Receiver

// Settings is what a Server needs besides the operator's Config.
type Settings struct {
	Config
	EdgeID         string         // first part of every session id
	Origins        []string       // origins beside our own that may connect, and patterns of them; see ParseOrigin
	Credentials    bool           // whether those may send cookies
	Cookie         string         // name of a cookie that carries the session id, "" for none
	TrustedProxies []netip.Prefix // whose X-Forwarded-… and Forwarded headers are believed
	MaxSessions    int            // 0: no limit
	MaxPerAddress  int            // sessions of one client address; 0: no limit
	MaxHandshakes  int            // sessions that may begin each second; 0: no limit
	QueueBytes     int            // bytes that may wait for one session; 0: DefaultQueueBytes
	QueuePackets   int            // packets that may; 0: DefaultQueuePackets
	Handler        Handler
	Log            *slog.Logger
}

// Server is an http.Handler for all requests of Engine.IO below one path.
type Server struct {
	cfg                      Config
	set                      Settings
	origins                  *origins
	log                      *slog.Logger
	upgrades                 *websocket.Upgrader
	queueBytes, queuePackets int
	maxPayload               atomic.Int64
	running                  sync.WaitGroup // every goroutine that a session starts

	mu         sync.Mutex
	sessions   map[string]*Session  // guarded by mu: those that began
	conns      map[*wsConn]struct{} // guarded by mu: every WebSocket that is not closed yet
	reserved   int                  // guarded by mu: sessions that began or are about to
	addresses  map[string]int       // guarded by mu: reserved sessions a client address, only when limited
	leaving    bool                 // guarded by mu: no new sessions
	handshakes bucket               // guarded by mu: how many may begin now, only when limited
	owed       owed                 // guarded by mu: sessions that are closed and may get one more poll

	census census
	stats  stats
}

// NewServer makes a Server. Leave, all of Closers, and Abort, in this order, end it.
func NewServer(set Settings) *Server {
	s := &Server{
		cfg: set.Config, set: set, log: set.Log, queueBytes: set.QueueBytes, queuePackets: set.QueuePackets,
		origins:  newOrigins(set.Origins, set.Credentials, set.Log),
		sessions: make(map[string]*Session), conns: make(map[*wsConn]struct{}), addresses: make(map[string]int),
	}
	if s.queueBytes == 0 {
		s.queueBytes = DefaultQueueBytes
	}
	if s.queuePackets == 0 {
		s.queuePackets = DefaultQueuePackets
	}
	s.maxPayload.Store(int64(set.MaxPayload))
	s.upgrades = s.upgrader()
	return s
}

// SetMaxPayload changes the largest packet, in bytes, for sessions that begin from now on.
func (s *Server) SetMaxPayload(n int) { s.maxPayload.Store(int64(n)) }

// MaxPayload is the largest packet in bytes that new sessions may send.
func (s *Server) MaxPayload() int { return int(s.maxPayload.Load()) }

// Sessions is the number of sessions now.
func (s *Server) Sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sessions)
}

// ServeHTTP answers one request of a client as the reference server does (engine.io, server.ts: verify, handleRequest,
// handleUpgrade).
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	isUpgrade := s.isUpgrade(r)
	q := parseQuery(r.URL.RawQuery)
	peer := s.Peer(r)
	allowed := s.origins.check(originOf(r), peer)
	if !allowed {
		s.origins.refused(originOf(r), peer, !s.FromTrustedProxy(r) && saysForwarded(r.Header), remoteIP(r.RemoteAddr))
	}
	s.WriteCORS(w, r)
	if allowed && r.Method == http.MethodOptions && s.origins.configured {
		s.origins.preflight(w, r)
		return
	}
	transport := last(q, "transport")
	if !slices.Contains(s.cfg.Transports, transport) {
		s.refuse(w, eio.UnknownTransport, isUpgrade)
		return
	}
	if !allowed {
		s.refuse(w, eio.Forbidden, isUpgrade)
		return
	}
	if sid := last(q, "sid"); sid != "" {
		s.serveSession(w, r, sid, transport, isUpgrade, last(q, "EIO"))
		return
	}
	switch {
	case r.Method != http.MethodGet:
		s.refuse(w, eio.BadHandshakeMethod, isUpgrade)
	case transport == "websocket" && !isUpgrade, transport == "polling" && isUpgrade:
		s.refuse(w, eio.BadRequest, isUpgrade)
	case last(q, "EIO") != "4":
		s.refuse(w, eio.UnsupportedProtocol, isUpgrade)
	default:
		s.handshake(w, r, q, peer, isUpgrade)
	}
}

// WriteCORS adds the headers of cross-origin requests to an answer; also for what is served beside Engine.IO.
func (s *Server) WriteCORS(w http.ResponseWriter, r *http.Request) {
	for name, values := range s.origins.headers(originOf(r)) {
		w.Header()[name] = values
	}
}

// serveSession passes a request on to the session that it names.
func (s *Server) serveSession(w http.ResponseWriter, r *http.Request, sid, transport string, isUpgrade bool, version string) {
	s.mu.Lock()
	session := s.sessions[sid]
	s.mu.Unlock()
	if session != nil && session.expire() {
		session = nil
	}
	isPoll := !isUpgrade && r.Method == http.MethodGet && transport == "polling" && version == "4"
	switch {
	case session == nil:
		s.serveUnknown(w, r, sid, isPoll)
	case !isUpgrade && (transport == "websocket" || session.usesWebSocket()), version != "4",
		isUpgrade && transport != "websocket":
		s.refuse(w, eio.BadRequest, isUpgrade)
	case isUpgrade:
		if !s.begun() {
			s.refuse(w, eio.BadRequest, isUpgrade)
			return
		}
		defer s.running.Done()
		conn, err := s.accept(w, r, w.Header(), session.maxPayload, false)
		if err == nil {
			s.running.Go(func() { session.takeOver(conn) })
		}
	case r.Method == http.MethodGet:
		session.servePoll(w, r)
	case r.Method == http.MethodPost:
		session.servePost(w, r)
	default:
		w.WriteHeader(http.StatusInternalServerError) // so says the reference
	}
}

// handshake opens a session.
func (s *Server) handshake(w http.ResponseWriter, r *http.Request, q url.Values, peer Peer, isUpgrade bool) {
	if err := s.reserve(peer.Address); err != nil {
		s.turnAway(w, err)
		return
	}
	began := false
	defer func() {
		if !began {
			s.release(peer.Address)
		}
		s.running.Done()
	}()
	session := &Session{
		id: s.set.EdgeID + "." + randomPart(), server: s, address: peer.Address, maxPayload: s.MaxPayload(),
	}
	if s.set.Cookie != "" && !isUpgrade { // it is for whoever spreads a session's requests; the reference does the same
		w.Header().Add("Set-Cookie", (&http.Cookie{
			Name: s.set.Cookie, Value: session.id, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode,
		}).String())
	}
	if isUpgrade {
		conn, err := s.accept(w, r, w.Header(), session.maxPayload, true)
		if err != nil {
			return
		}
		session.conn = conn
	}
	began = true
	s.begin(session, &Opening{
		Header: s.withoutSessionID(r.Header), Host: peer.Host, Query: q, URL: r.RequestURI, Address: peer.Address, Secure: peer.Secure(), Time: time.Now(),
	})
	if conn := session.conn; conn != nil {
		s.stats.opened[1].Inc()
		// The request's goroutine ends here: net/http lets go of what it holds for it.
		s.running.Go(func() { session.readLoop(conn) })
		return
	}
	s.stats.opened[0].Inc()
	session.servePoll(w, r)
}

// withoutSessionID is the header without the cookie that may carry the id of the browser's other session: an id opens
// the session to whoever reads it, so it stays in the engine.
func (s *Server) withoutSessionID(h http.Header) http.Header {
	if s.set.Cookie == "" || h.Get("Cookie") == "" {
		return h
	}
	h = h.Clone()
	var kept []string
	for _, line := range h["Cookie"] {
		for _, pair := range strings.Split(line, ";") {
			if name, _, _ := strings.Cut(pair, "="); strings.TrimSpace(name) != s.set.Cookie {
				kept = append(kept, strings.TrimSpace(pair))
			}
		}
	}
	if h.Del("Cookie"); len(kept) > 0 {
		h.Set("Cookie", strings.Join(kept, "; "))
	}
	return h
}

// begin makes a session live: it has a receiver, heartbeats start, it can be reached, the client is told its id. All of
// it happens under the session's lock, so that whoever has the session already, a timer of the receiver for instance,
// waits until it is whole.
func (s *Server) begin(session *Session, o *Opening) {
	h := eio.Handshake{
		SID: session.id, Upgrades: []string{}, PingInterval: s.cfg.PingInterval, PingTimeout: s.cfg.PingTimeout,
		MaxPayload: session.maxPayload,
	}
	if session.conn == nil && slices.Contains(s.cfg.Transports, "websocket") {
		h.Upgrades = []string{"websocket"}
	}
	session.mu.Lock()
	session.receiver = s.set.Handler(session, o)
	// The client counts from the answer, which is not sent yet.
	session.due = time.Now().Add(s.cfg.PingInterval)
	session.timer = time.AfterFunc(s.cfg.PingInterval, session.heartbeat)
	s.mu.Lock()
	s.sessions[session.id] = session
	leaving := s.leaving
	s.mu.Unlock()
	session.greet(newPacket(string(eio.AppendOpen(nil, h)))) // last: the client has it at once
	session.mu.Unlock()
	if leaving { // it began to leave since the session was reserved
		session.Close(ServerShutdown)
	}
}

// begun counts a request that may start goroutines, so that Abort waits for it, unless the server is leaving. The caller
// must call running.Done.
func (s *Server) begun() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.leaving {
		s.running.Add(1)
	}
	return !s.leaving
}

// remove forgets a session. It may be called with Session.mu held, never the other way round.
func (s *Server) remove(session *Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sessions[session.id] == session {
		delete(s.sessions, session.id)
		s.releaseLocked(session.address)
	}
}

// ended counts and logs the end of a session.
func (s *Server) ended(session *Session, reason Reason) {
	s.stats.ended[reason].Inc()
	level := slog.LevelDebug
	if reason == QueueOverflow { // the one end that an operator may want to look into and that nothing else tells of
		level = slog.LevelInfo
	}
	s.log.Log(context.Background(), level, "session ended", "reason", reason.String(), "address", session.address)
}

// isUpgrade tells whether a request asks for a WebSocket. A server without WebSockets takes an upgrade for a plain request,
// as Node does.
func (s *Server) isUpgrade(r *http.Request) bool {
	return websocket.IsWebSocketUpgrade(r) && slices.Contains(s.cfg.Transports, "websocket")
}

// Refuse answers a request that somebody in front of the server has looked at, as the server answers bad ones, and counts
// it with them.
func (s *Server) Refuse(w http.ResponseWriter, r *http.Request, why eio.Refusal) {
	s.WriteCORS(w, r)
	s.refuse(w, why, s.isUpgrade(r))
}

// refuse answers a request that breaks the rules: JSON for plain HTTP, and for an upgrade a plain 400 with the message
// (engine.io, server.ts: abortRequest, abortUpgrade).
func (s *Server) refuse(w http.ResponseWriter, why eio.Refusal, isUpgrade bool) {
	s.stats.refused[why].Inc()
	if isUpgrade {
		clear(w.Header()) // CORS has no say in it
		w.Header().Set("Connection", "close")
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Content-Length", fmt.Sprint(len(why.Message())))
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(why.Message()))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(why.Status())
	_, _ = w.Write(eio.AppendRefusal(nil, why))
}

func (s *Server) all() []*Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.sessions))
}

// last is the value that counts when a query names a key twice, as in the reference.
func last(q url.Values, key string) string {
	if v := q[key]; len(v) > 0 {
		return v[len(v)-1]
	}
	return ""
}

// randomPart is the part of an id that cannot be guessed: 20 base64url characters, 120 random bits.
func randomPart() string {
	var b [15]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return base64.RawURLEncoding.EncodeToString(b[:])
}
