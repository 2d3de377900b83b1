package cluster_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"partyline/cluster"
	"partyline/engine"
	"partyline/internal/edgetest"
	"partyline/wire/msg"
)

// trustThisMachine makes an edge trust the X-Forwarded headers of the test.
func trustThisMachine(trust bool) func(*edgetest.Options) {
	return func(o *edgetest.Options) {
		if trust {
			o.Trusted = []string{"127.0.0.0/8"}
		}
	}
}

// closedAddress returns an address without a listener.
func closedAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// owner is a fake edge. It records what another one forwards.
type owner struct {
	sid      string
	listener net.Listener
	running  sync.WaitGroup

	mu    sync.Mutex
	heard []*http.Request // guarded by mu
	conns []net.Conn      // guarded by mu
}

// pretend starts an owner. It answers that many requests of each connection with "ok" and closes the connection at
// the next one. If answered is negative, it answers none and closes nothing.
func (s *stage) pretend(answered int) *owner {
	s.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	o := &owner{sid: "pretend0.AAAAAAAAAAAAAAAAAAAA", listener: l}
	o.running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			o.mu.Lock()
			o.conns = append(o.conns, conn)
			o.mu.Unlock()
			o.running.Go(func() { o.serve(conn, answered) })
		}
	})
	s.t.Cleanup(func() {
		_ = l.Close()
		o.mu.Lock()
		for _, conn := range o.conns {
			_ = conn.Close()
		}
		o.mu.Unlock()
		o.running.Wait()
	})
	s.announce("pretend0", "http://"+l.Addr().String())
	return o
}

func (o *owner) serve(conn net.Conn, answered int) {
	reader := bufio.NewReader(conn)
	for i := 0; ; i++ {
		r, err := http.ReadRequest(reader)
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		o.mu.Lock()
		o.heard = append(o.heard, r)
		o.mu.Unlock()
		switch {
		case answered < 0:
		case i == answered:
			_ = conn.Close()
			return
		default:
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		}
	}
}

func (o *owner) requests() []*http.Request {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]*http.Request{}, o.heard...)
}

// A request is forwarded as the client has sent it, except for what only the first edge knows.
func TestForwardedRequest(t *testing.T) {
	for _, trusted := range []bool{false, true} {
		s := begin(t, 1, trustThisMachine(trusted))
		o := s.pretend(100)
		headers := []string{
			"Host: chat.example", "Origin: https://app.example", "Cookie: a=1; b=2", "Accept-Encoding: br",
			"Idempotency-Key: 1",
			"X-Forwarded-For: 203.0.113.7", "X-Forwarded-Host: app.example", "X-Forwarded-Proto: https",
			"Forwarded: for=203.0.113.7",
			"Connection: close, X-Hop", "X-Hop: 1",
		}
		path := polling(o.sid) + "&t=a;b&u=%zz&v=%2f"
		if got := s.askPath(s.nodes[0], "POST", path, "2", headers...); got.status != 200 || got.body != "ok" {
			t.Fatalf("the answer: %+v", got)
		}
		heard := o.requests()
		if len(heard) != 1 {
			t.Fatalf("it received %d requests", len(heard))
		}
		r := heard[0]
		for name, want := range map[string]string{
			"Origin": "https://app.example", "Cookie": "a=1; b=2", "Accept-Encoding": "br", "X-Hop": "", "Idempotency-Key": "1",
			"X-Forwarded-For": "", "X-Forwarded-Host": "", "X-Forwarded-Proto": "", "Forwarded": "",
		} {
			if got := strings.Join(r.Header[name], ","); got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
		if r.Method != "POST" || r.Host != "chat.example" || r.RequestURI != path || r.ContentLength != 1 ||
			r.Header.Get("Partyline-Signature") == "" {
			t.Errorf("it received %s %s for %s, %v", r.Method, r.RequestURI, r.Host, r.Header)
		}
		said, _ := url.ParseQuery(r.Header.Get("Partyline-Forwarded"))
		want := "127.0.0.1 chat.example http " + s.nodes[0].ID
		if trusted {
			want = "203.0.113.7 app.example https " + s.nodes[0].ID
		}
		if got := fmt.Sprint(said.Get("for"), " ", said.Get("host"), " ", said.Get("proto"), " ",
			said.Get("by")); got != want {
			t.Errorf("it received %q, want %q", got, want)
		}
	}
}

// A poll that an edge may have seen is never sent to it again, not even if a kept connection is found closed.
func TestARequestIsForwardedOnce(t *testing.T) {
	s := begin(t, 1)
	n := s.nodes[0]
	o := s.pretend(1)
	for i, method := range []string{"GET", "POST", "GET", "POST"} {
		body := ""
		if method == "POST" {
			body = "2"
		}
		s.gets(n, method, o.sid, body, 200, "ok", "Idempotency-Key: 1")
		s.gets(n, method, o.sid, body, 400, unknown, "Idempotency-Key: 1") // over the same connection, which breaks
		if heard := len(o.requests()); heard != 2*(i+1) {
			t.Fatalf("after %d requests it received %d", 2*(i+1), heard)
		}
	}
	for _, r := range o.requests() {
		if r.Method == "GET" && (r.ContentLength != 0 || len(r.TransferEncoding) > 0) {
			t.Errorf("a poll has a body: %d, %v", r.ContentLength, r.TransferEncoding)
		}
	}
}

// An edge that accepts requests and does not answer costs the client that request, and other clients nothing.
func TestAnOwnerThatDoesNotAnswer(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	t.Parallel()
	s := begin(t, 2, func(o *edgetest.Options) {
		o.Engine = engine.DefaultConfig()
		o.Engine.PingInterval, o.Engine.PingTimeout, o.Engine.UpgradeTimeout = 300*time.Millisecond, 200*time.Millisecond,
			300*time.Millisecond
	})
	o := s.pretend(-1)
	s.gets(s.nodes[0], "GET", o.sid, "", 400, unknown)
	s.gets(s.nodes[0], "POST", o.sid, "2", 400, unknown)
	if _, got := s.dial(s.nodes[0], o.sid); got.status != 400 || got.body != "Session ID unknown" {
		t.Errorf("an upgrade was answered %d %q", got.status, got.body)
	}
	if n := s.nodes[0].Figure("forward_failed_total", ""); n != 3 {
		t.Errorf("%d failures were counted", n)
	}
}

// A silent edge may be alive, cut off from NATS: requests are still forwarded to it.
func TestRequestsAreForwardedToASilentEdge(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	t.Parallel()
	s := begin(t, 1)
	o := s.pretend(100)
	silent := func() bool {
		for _, m := range s.nodes[0].Cluster.Members() {
			if m.ID == "pretend0" {
				return m.Silent
			}
		}
		return false
	}
	began := time.Now()
	edgetest.Eventually(t, "it has announced itself for longer than a beat", func() bool {
		s.announce("pretend0", "http://"+o.listener.Addr().String())
		return time.Since(began) > 5*msg.BeatEvery/4
	})
	edgetest.Eventually(t, "it is held to be dead", silent)
	s.gets(s.nodes[0], "GET", o.sid, "", 200, "ok")
	if got := s.nodes[0].Cluster.Edges(); len(got) != 1 {
		t.Errorf("the edges that live: %v", got)
	}
}

// A draining edge ends, one by one, what it forwards, and splices no further WebSockets.
func TestDrainingEndsSplicedConnections(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	t.Parallel()
	s := begin(t, 2, func(o *edgetest.Options) { o.Drain = cluster.DrainConfig{Rate: 2, Timeout: time.Hour} })
	a, b := s.nodes[0], s.nodes[1]
	var sockets []webSocket
	for range 5 {
		sockets = append(sockets, s.upgrade(b, s.open(a)))
	}
	stays := s.open(a)
	waiting := s.pollUntilAborted(t.Context(), b, stays)
	edgetest.Eventually(t, "all go through the edge",
		func() bool { return b.Figure("spliced", "") == 5 && b.Forward.Active() == 6 })
	other, begun := s.open(a), time.Now()
	b.Drain.Drain()
	if _, got := s.dial(b, other); got.status != 400 || got.body != "Bad request" {
		t.Errorf("an upgrade was answered %d %q", got.status, got.body)
	}
	s.gets(b, "POST", other, "42[1]", 200, "ok")
	for _, ws := range sockets {
		ws.ended()
	}
	if err := <-waiting; err == nil || !strings.Contains(err.Error(), unknown) {
		t.Errorf("the poll that waited: %v", err)
	}
	if took := time.Since(begun); took < 2*time.Second {
		t.Errorf("six ends at 2 a second took %v", took)
	}
	edgetest.Eventually(t, "their sessions have ended, the other lives", func() bool {
		return b.Figure("spliced", "") == 0 && b.Forward.Active() == 0 && a.Engine.Sessions() == 1
	})
	s.gets(a, "POST", other, "42[1]", 200, "ok")
}

// The end of an edge ends its spliced connections and no others, and leaves no goroutine (TestMain checks that).
func TestAnEdgeThatEnds(t *testing.T) {
	s := begin(t, 2)
	a, b := s.nodes[0], s.nodes[1]
	through, own := s.upgrade(b, s.open(a)), s.upgrade(a, s.open(a))
	edgetest.Eventually(t, "it goes through the edge", func() bool { return b.Figure("spliced", "") == 1 })
	b.Stop()
	through.ended()
	edgetest.Eventually(t, "its session has ended", func() bool { return a.Engine.Sessions() == 1 })
	heard := a.Heard()
	own.send(`42["everyone","still here"]`)
	edgetest.Eventually(t, "the edge has it, before the next session comes", func() bool { return a.Heard() > heard })
	through = s.upgrade(a, s.open(a))
	own.send(`42["everyone","again"]`)
	through.gets(`42["everyone","again"]`)
}
