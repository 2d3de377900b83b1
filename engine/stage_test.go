package engine

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"

	"partyline/wire/eio"
)

// stage is a Server behind an HTTP server on connections in memory, for tests in a synctest bubble, where time stands
// still until everything waits.
type stage struct {
	t        *testing.T
	server   *Server
	http     *http.Server
	client   *http.Client
	listener *pipeListener

	mu       sync.Mutex
	sessions []*recorder // guarded by mu
}

// recorder is a Receiver that records its calls.
type recorder struct {
	session  *Session
	mu       sync.Mutex
	got      []string // guarded by mu
	ends     []Reason // guarded by mu
	beats    []bool   // guarded by mu
	upgrades []string // guarded by mu: the transports
	onData   func(data []byte, binary bool)
}

func (r *recorder) Message(data []byte, binary bool) {
	prefix := ""
	if binary {
		prefix = "b:"
	}
	r.mu.Lock()
	r.got = append(r.got, prefix+string(data))
	r.mu.Unlock()
	if r.onData != nil {
		r.onData(data, binary)
	}
}

func (r *recorder) Upgraded() {
	r.mu.Lock()
	r.upgrades = append(r.upgrades, r.session.Transport())
	r.mu.Unlock()
}

func (r *recorder) Beat(wasRead bool) {
	r.mu.Lock()
	r.beats = append(r.beats, wasRead)
	r.mu.Unlock()
}

func (r *recorder) Closed(reason Reason) {
	r.mu.Lock()
	r.ends = append(r.ends, reason)
	r.mu.Unlock()
}

// messages returns what was received, once all goroutines wait.
func (r *recorder) messages() []string {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.got...)
}

func (r *recorder) expectEnd(t *testing.T, want ...Reason) {
	t.Helper()
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.ends) != len(want) || len(want) > 0 && r.ends[0] != want[0] {
		t.Fatalf("the session ended with %v, want %v", r.ends, want)
	}
}

// play runs a test in a bubble, in parallel with others. change may alter the settings.
func play(t *testing.T, change func(*Settings), test func(t *testing.T, s *stage)) {
	t.Helper()
	t.Parallel()
	playAlone(t, change, test)
}

// playAlone is play without other tests beside it.
func playAlone(t *testing.T, change func(*Settings), test func(t *testing.T, s *stage)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &stage{t: t, listener: &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}}
		set := Settings{Config: DefaultConfig(), EdgeID: "edgeedge", Log: slog.New(slog.DiscardHandler)}
		set.Handler = func(session *Session, _ *Opening) Receiver {
			r := &recorder{session: session}
			s.mu.Lock()
			s.sessions = append(s.sessions, r)
			s.mu.Unlock()
			return r
		}
		if change != nil {
			change(&set)
		}
		s.server = NewServer(set)
		s.http = &http.Server{Handler: s.server}
		transport := &http.Transport{DialContext: s.listener.dial, DisableCompression: true}
		s.client = &http.Client{Transport: transport}
		done := make(chan struct{})
		go func() { _ = s.http.Serve(s.listener); close(done) }()
		defer func() {
			s.server.Leave()
			s.closeAll()
			s.server.Abort()
			_ = s.http.Close()
			transport.CloseIdleConnections()
			<-done
			time.Sleep(time.Second) // net/http lingers for half of that on a connection that it closed
		}()
		test(t, s)
	})
}

// closeAll closes all sessions.
func (s *stage) closeAll() {
	for _, end := range s.server.Closers(ServerShutdown) {
		end()
	}
}

// last returns the receiver of the newest session.
func (s *stage) last() *recorder {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions[len(s.sessions)-1]
}

// request makes a request of the polling transport.
func (s *stage) request(method, query, body string, header ...string) (status int, answer string, h http.Header) {
	s.t.Helper()
	r, err := http.NewRequest(method, "http://edge/socket.io/?"+query, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	response, err := s.client.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return response.StatusCode, string(text), response.Header
}

// poll opens a polling session and returns the query of its further requests.
func (s *stage) poll() string {
	s.t.Helper()
	status, body, _ := s.request("GET", "EIO=4&transport=polling", "")
	if status != 200 || !strings.HasPrefix(body, `0{"sid":"`) {
		s.t.Fatalf("handshake: %d %s", status, body)
	}
	return "EIO=4&transport=polling&sid=" + s.last().session.ID()
}

// dial opens a WebSocket.
func (s *stage) dial(query string) *websocket.Conn {
	s.t.Helper()
	d := websocket.Dialer{NetDialContext: s.listener.dial}
	ws, _, err := d.Dial("ws://edge/socket.io/?"+query, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return ws
}

// dialSilently opens a WebSocket whose client reads and answers nothing, not even a close frame.
func (s *stage) dialSilently(query string) net.Conn {
	s.t.Helper()
	conn, err := s.listener.dial(context.Background(), "", "")
	if err != nil {
		s.t.Fatal(err)
	}
	_, err = io.WriteString(conn, "GET /socket.io/?"+query+" HTTP/1.1\r\nHost: edge\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	if err != nil {
		s.t.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, conn) }()
	synctest.Wait()
	return conn
}

// open opens a WebSocket session and reads its open packet.
func (s *stage) open() *websocket.Conn {
	s.t.Helper()
	ws := s.dial("EIO=4&transport=websocket")
	if got := s.read(ws); !strings.HasPrefix(got, `0{"sid":"`) {
		s.t.Fatalf("got %q instead of an open packet", got)
	}
	return ws
}

func (s *stage) read(ws *websocket.Conn) string {
	s.t.Helper()
	kind, data, err := ws.ReadMessage()
	if err != nil {
		s.t.Fatal(err)
	}
	if kind == websocket.BinaryMessage {
		return "b:" + string(data)
	}
	return string(data)
}

func (s *stage) write(ws *websocket.Conn, text string) {
	s.t.Helper()
	if err := ws.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		s.t.Fatal(err)
	}
}

// expectClose reads until the connection ends, and wants a close frame with a code.
func (s *stage) expectClose(ws *websocket.Conn, code int) {
	s.t.Helper()
	for {
		_, data, err := ws.ReadMessage()
		if err == nil {
			s.t.Logf("before the close: %.100q", data)
			continue
		}
		if !websocket.IsCloseError(err, code) {
			s.t.Fatalf("the connection ended with %v, want close code %d", err, code)
		}
		return
	}
}

func message(text string) *eio.Frame { return eio.NewMessage([]byte(text), nil, nil, eio.Options{}) }

// pipeListener accepts connections in memory.
type pipeListener struct {
	conns  chan net.Conn
	wrap   func(net.Conn) net.Conn // of what is accepted; nil: none
	closed chan struct{}
	once   sync.Once
}

func (l *pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	if l.wrap != nil {
		server = l.wrap(server)
	}
	select {
	case l.conns <- server:
		return client, nil
	case <-l.closed:
	case <-ctx.Done():
	}
	return nil, net.ErrClosed
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error { l.once.Do(func() { close(l.closed) }); return nil }
func (l *pipeListener) Addr() net.Addr {
	return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
