package cluster_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"partyline/engine"
	"partyline/internal/edgetest"
)

// Every edge gives a client the same answer as the edge that has its session.
func TestAnyEdgeServesEverySession(t *testing.T) {
	s := begin(t, 3, func(o *edgetest.Options) {
		o.Engine = engine.DefaultConfig()
		o.Engine.MaxPayload = 100_000
		o.Origins = []string{"https://app.example"}
	})
	a, b, c := s.nodes[0], s.nodes[1], s.nodes[2]
	sid := s.open(a)
	s.gets(b, "POST", sid, `42["message","up"]`, 200, "ok")
	s.gets(c, "POST", sid, `42["everyone","again"]`, 200, "ok")
	other := s.open(b)
	s.gets(a, "POST", other, `42["everyone","`+strings.Repeat("x", 5000)+`"]`, 200, "ok")

	// One response through another edge, and the same without: headers, CORS and compression are those of the
	// session's edge.
	const origin, gzip = "Origin: https://app.example", "Accept-Encoding: gzip"
	through := s.ask(c, "GET", sid, "", origin, gzip)
	s.gets(a, "POST", other, `42["everyone","`+strings.Repeat("x", 5000)+`"]`, 200, "ok")
	direct := s.ask(a, "GET", sid, "", origin, gzip)
	through.header.Del("Date")
	direct.header.Del("Date")
	if !maps.EqualFunc(through.header, direct.header,
		func(a, b []string) bool { return fmt.Sprint(a) == fmt.Sprint(b) }) || through.body != direct.body {
		t.Errorf("through another edge %v, %d bytes; without %v, %d bytes", through.header, len(through.body), direct.header,
			len(direct.body))
	}
	if direct.header.Get("Content-Encoding") != "gzip" || direct.header.Get("Access-Control-Allow-Origin") == "" {
		t.Errorf("the answer has the headers %v", direct.header)
	}
	for _, n := range s.nodes {
		if got := s.ask(n, "POST", sid, strings.Repeat("x", 100_001)); got.status != http.StatusRequestEntityTooLarge {
			t.Errorf("too large a payload was answered %d %q", got.status, got.body)
		}
		s.gets(n, "GET", sid, "", 403, `{"code":4,"message":"Forbidden"}`, "Origin: https://evil.example",
			"Host: chat.example")
		s.gets(n, "PUT", sid, "", 500, "")
	}
	ws := s.upgrade(b, sid)
	large := strings.Repeat("y", 90_000)
	s.gets(c, "POST", other, `42["everyone","`+large+`"]`, 200, "ok")
	ws.gets(`42["everyone","` + large + `"]`)
	ws.send(`42["everyone","` + large + `z"]`)
	s.ask(a, "GET", other, "") // what it had not read
	edgetest.Eventually(t, "the connection is counted", func() bool {
		return b.Figure("spliced", "") == 1 && b.Figure("spliced_total", "") == 1 && b.Figure("forwarded_total", "") > 3
	})
	_ = ws.Close()
	edgetest.Eventually(t, "the session has ended", func() bool {
		return b.Figure("spliced", "") == 0 && b.Forward.Active() == 0 && a.Engine.Sessions() == 0
	})
}

// The session's edge checks an Origin against the host that the client's browser asked for.
func TestTheOwnerChecksTheOrigin(t *testing.T) {
	for _, trusted := range []bool{false, true} {
		s := begin(t, 2, trustThisMachine(trusted))
		a, b := s.nodes[0], s.nodes[1]
		sid := s.open(a)
		post := func(status int, want string, headers ...string) {
			t.Helper()
			s.gets(b, "POST", sid, "42[1]", status, want, headers...)
		}
		const forbidden = `{"code":4,"message":"Forbidden"}`
		post(200, "ok", "Host: chat.example", "Origin: http://chat.example")
		post(403, forbidden, "Host: chat.example", "Origin: http://evil.example")
		proxied := []string{"Host: edges", "Origin: http://chat.example", "X-Forwarded-Host: chat.example",
			"X-Forwarded-For: 203.0.113.7"}
		if trusted {
			post(200, "ok", proxied...)
		} else {
			post(403, forbidden, proxied...)
		}
	}
}

// A poll that the client aborts is aborted at the other edge, too.
func TestAnAbortedPollIsAbortedAtItsEdge(t *testing.T) {
	s := begin(t, 2)
	a, b := s.nodes[0], s.nodes[1]
	sid := s.open(a)
	ctx, cancel := context.WithCancel(t.Context())
	done := s.pollUntilAborted(ctx, b, sid)
	edgetest.Eventually(t, "the poll waits at its edge", func() bool {
		stacks := make([]byte, 4<<20)
		return b.Forward.Active() == 1 && bytes.Contains(stacks[:runtime.Stack(stacks, true)], []byte("servePoll"))
	})
	cancel()
	<-done
	edgetest.Eventually(t, "the session has ended", func() bool {
		return a.Engine.Sessions() == 0 && b.Forward.Active() == 0
	})
	if n := b.Figure("forward_failed_total", ""); n != 0 {
		t.Errorf("%d failures were counted: the edge has done nothing wrong", n)
	}
}

// So is a POST that the client aborts in the middle.
func TestAnAbortedPostIsAbortedAtItsEdge(t *testing.T) {
	s := begin(t, 2)
	a, b := s.nodes[0], s.nodes[1]
	sid := s.open(a)
	conn, err := net.Dial("tcp", strings.TrimPrefix(b.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n42[", polling(sid))
	edgetest.Eventually(t, "it is on its way", func() bool { return b.Figure("forwarded_total", "") == 1 })
	_ = conn.Close()
	edgetest.Eventually(t, "the session has ended", func() bool { return a.Engine.Sessions() == 0 })
	if n := b.Figure("forward_failed_total", ""); n != 0 {
		t.Errorf("%d failures were counted: the edge has done nothing wrong", n)
	}
}

// The session's edge may be unknown, gone, unreachable, or replaced by another one: the client reads that its session
// is unknown, exactly as from the reference server, and begins a new one.
func TestUnknownSessions(t *testing.T) {
	s := begin(t, 2)
	a, b := s.nodes[0], s.nodes[1]
	leaver := edgetest.Start(t, s.o).Ready()
	s.knows(a, leaver.ID)
	left := s.open(leaver)
	leaver.Stop()
	edgetest.Eventually(t, "it is known to have left", func() bool { return len(a.Cluster.Members()) == 2 })
	s.announce("dead0000", "http://"+closedAddress(t))
	s.announce("earlier0", b.URL) // an edge that was restarted: the one that is there now has another id
	s.announce("itself00", a.URL)
	s.announce("nowhere0", "")
	const own = ".AAAAAAAAAAAAAAAAAAAA"
	for _, sid := range []string{
		"unknown", "unknown0" + own, a.ID + own, b.ID + own, left, "dead0000" + own, "earlier0" + own, "itself00" + own,
		"nowhere0" + own,
	} {
		for _, method := range []string{"GET", "POST", "PUT"} {
			s.gets(a, method, sid, "", 400, unknown)
		}
		if _, got := s.dial(a, sid); got.status != 400 || got.body != "Session ID unknown" ||
			got.header.Get("Content-Type") != "text/html" {
			t.Errorf("an upgrade of %s was answered %d %q %v", sid, got.status, got.body, got.header)
		}
	}
	if n := a.Figure("forward_failed_total", ""); n != 4 {
		t.Errorf("%d failures were counted, want those of the dead edge", n)
	}
	if n := b.Figure("forwarded_total", ""); n != 0 {
		t.Errorf("%d requests were forwarded twice", n)
	}
	for _, n := range s.nodes {
		for _, line := range n.Logged() {
			if strings.Contains(line, own) {
				t.Errorf("the log has a session's id: %s", line)
			}
		}
	}
}

// A request that claims to be forwarded must prove it. A client's own headers have no effect.
func TestForgedHeaders(t *testing.T) {
	s := begin(t, 2)
	a, b := s.nodes[0], s.nodes[1]
	connects := s.Hear("sio._.on.connect")
	// A handshake belongs to no session: these headers are removed from it.
	begun := s.ask(a, "GET", "", "", "Partyline-Forwarded: at=1&by=x&for=6.6.6.6&host=x&proto=https",
		"Partyline-Signature: 00")
	sid, _, _ := strings.Cut(strings.TrimPrefix(begun.body, `0{"sid":"`), `"`)
	s.gets(a, "POST", sid, "40", 200, "ok")
	notice, err := connects.NextMsg(edgetest.Patience)
	if err != nil || strings.Contains(strings.ToLower(string(notice.Data)), "partyline") ||
		strings.Contains(string(notice.Data), "6.6.6.6") {
		t.Errorf("the notice: %v, %s", err, notice.Data)
	}
	refused := 0
	for _, headers := range [][]string{
		{"Partyline-Forwarded: at=1&by=x&for=6.6.6.6&host=x&proto=https"},
		{"Partyline-Signature: 00"},
		{"partyline-forwarded: x", "partyline-signature: x"},
	} {
		for _, n := range s.nodes {
			s.gets(n, "POST", sid, "42[1]", 400, `{"code":3,"message":"Bad request"}`, headers...)
		}
		refused++
		if a.Figure("forwarded_refused_total", "") != refused || b.Figure("forwarded_refused_total", "") != refused ||
			b.Figure("forwarded_total", "") != 0 {
			t.Errorf("refused %d and %d, forwarded %d", a.Figure("forwarded_refused_total", ""),
				b.Figure("forwarded_refused_total", ""), b.Figure("forwarded_total", ""))
		}
	}
	s.gets(b, "POST", sid, "42[1]", 200, "ok")
}

// Nothing is forwarded to an edge with another secret.
func TestEdgesWithAnotherSecret(t *testing.T) {
	s := begin(t, 1)
	a := s.nodes[0]
	o := s.o
	o.Secret = "another"
	stranger := edgetest.Start(t, o).Ready()
	sid := s.open(stranger)
	edgetest.Eventually(t, "it was heard", func() bool { return a.Figure("announcements_ignored_total", "") > 0 })
	s.gets(a, "GET", sid, "", 400, unknown)
	// If the first one has its address, it refuses what that forwards.
	s.announce(stranger.ID, stranger.URL)
	s.gets(a, "GET", sid, "", 400, `{"code":3,"message":"Bad request"}`)
	if _, got := s.dial(a, sid); got.status != 400 || got.body != "Bad request" {
		t.Errorf("an upgrade was answered %d %q", got.status, got.body)
	}
	if n := stranger.Figure("forwarded_refused_total", ""); n != 2 {
		t.Errorf("it refused %d requests, want 2", n)
	}
}

// Without a secret, forwarded requests are accepted from the addresses of trusted proxies only.
func TestWithoutASecret(t *testing.T) {
	for _, trusted := range []bool{false, true} {
		s := begin(t, 2, func(o *edgetest.Options) {
			o.Secret = ""
			trustThisMachine(trusted)(o)
		})
		a, b := s.nodes[0], s.nodes[1]
		sid := s.open(a)
		if trusted {
			s.gets(b, "POST", sid, "42[1]", 200, "ok")
			s.upgrade(b, sid)
			continue
		}
		s.gets(b, "POST", sid, "42[1]", 400, `{"code":3,"message":"Bad request"}`)
		if n := a.Figure("forwarded_refused_total", ""); n != 1 {
			t.Errorf("%d requests were refused", n)
		}
	}
}
