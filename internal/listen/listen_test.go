package listen

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"
)

const patience = 30 * time.Second

// newLimiter makes a Limiter whose log is a text.
func newLimiter(set Settings) (*Limiter, *strings.Builder) {
	log := &strings.Builder{}
	set.Log = slog.New(slog.NewTextHandler(log, nil))
	return New(set), log
}

// serve runs an HTTP server behind a Limiter until the test ends, and returns its address.
func serve(t *testing.T, l *Limiter) string {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{ConnState: l.Track, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "hello")
	})}
	done := make(chan struct{})
	go func() { _ = server.Serve(l.Listen(inner)); close(done) }()
	t.Cleanup(func() { _ = server.Close(); <-done })
	return inner.Addr().String()
}

// dial opens a connection until the test ends.
func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// isServed reports whether a request on a connection is answered.
func isServed(c net.Conn) bool {
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	n, _ := c.Read(make([]byte, 1<<10))
	return n > 0
}

// expectOpen waits until a number of connections count.
func expectOpen(t *testing.T, l *Limiter, want int) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		l.mu.Lock()
		open := l.table.open
		l.mu.Unlock()
		if open == want {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d connections count, want %d", open, want)
		}
	}
}

func TestConnectionsOfAnAddress(t *testing.T) {
	l, log := newLimiter(Settings{PerAddress: 2})
	address := serve(t, l)
	first, second := dial(t, address), dial(t, address)
	if !isServed(first) || !isServed(second) {
		t.Fatal("two connections are not served")
	}
	for range 3 {
		if isServed(dial(t, address)) {
			t.Error("a third connection is served")
		}
	}
	if n := l.stats.refused[perAddress].Value(); n != 3 {
		t.Errorf("%d connections were refused, want 3", n)
	}
	if lines := strings.Count(log.String(), "\n"); lines != 1 || !strings.Contains(log.String(), "limit=address") {
		t.Errorf("the log is %s", log)
	}
	if l.Ready() != nil {
		t.Errorf("one client makes the process unready: %q", l.Ready())
	}
	_ = first.Close()
	expectOpen(t, l, 1)
	if !isServed(dial(t, address)) {
		t.Error("a connection is not served after another one has ended")
	}
}

// Connections of proxies and of other edges count against the process only.
func TestTrustedConnections(t *testing.T) {
	for name, trust := range map[string]func(*Settings) func(*Limiter){
		"proxy": func(set *Settings) func(*Limiter) {
			set.Proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
			return func(*Limiter) {}
		},
		"edge": func(*Settings) func(*Limiter) { return func(l *Limiter) { l.Trust("127.0.0.1:4711") } },
	} {
		t.Run(name, func(t *testing.T) {
			set := Settings{PerAddress: 1, Connections: 3}
			later := trust(&set)
			l, _ := newLimiter(set)
			later(l)
			address := serve(t, l)
			for range 3 {
				if !isServed(dial(t, address)) {
					t.Error("a connection is not served")
				}
			}
			expectOpen(t, l, 3)
			if isServed(dial(t, address)) {
				t.Error("a fourth connection is served")
			}
			if len(l.Ready()) != 1 {
				t.Error("the process is ready")
			}
		})
	}
}

// Connections without a request give way to new ones, and those with one do not.
func TestWaitingConnectionsGiveWay(t *testing.T) {
	now := time.Now()
	tb := table{max: 4, addresses: map[netip.Prefix]int{}}
	admit := func() (*conn, *conn) {
		c := &conn{from: netip.MustParseAddr("192.0.2.1")}
		why, evicted := tb.admit(c, now)
		if why == perProcess {
			return nil, evicted
		}
		return c, evicted
	}
	var all []*conn
	for range 4 {
		c, evicted := admit()
		if c == nil || evicted != nil {
			t.Fatal("connections that came at once close each other")
		}
		all = append(all, c)
	}
	if c, _ := admit(); c != nil || !tb.isFull(now) {
		t.Error("there is a fifth place")
	}
	now = now.Add(settleTime)
	tb.track(all[0], http.StateActive, now)
	if c, evicted := admit(); c == nil || evicted != all[1] || !evicted.isRemoved {
		t.Errorf("the connection that has waited longest did not give way")
	}
	tb.track(all[0], http.StateIdle, now)
	for _, c := range all[2:] {
		tb.track(c, http.StateHijacked, now)
	}
	now = now.Add(settleTime)
	if c, evicted := admit(); c == nil || evicted == all[2] || evicted == all[3] || tb.open != 4 {
		t.Errorf("a WebSocket gave way")
	}
	now = now.Add(recoverTime)
	if tb.isFull(now) {
		t.Error("it is full although connections wait")
	}
}

func TestDialledConnectionsCount(t *testing.T) {
	l, _ := newLimiter(Settings{Connections: 2})
	address := serve(t, l)
	c, err := l.Dial(t.Context(), &net.Dialer{}, "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	expectOpen(t, l, 2) // both ends
	if _, err := l.Dial(t.Context(), &net.Dialer{}, "tcp", address); !errors.Is(err, ErrFull) {
		t.Errorf("a third one: %v", err)
	}
	_ = c.Close()
	_ = c.Close() // counts once
	expectOpen(t, l, 0)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Dial(ended, &net.Dialer{}, "tcp", address); err == nil {
		t.Error("it was dialled")
	}
	expectOpen(t, l, 0)
}

func TestSpare(t *testing.T) {
	for descriptors, want := range map[int]int{64: 32, 1024: 64, 4096: 256, 1 << 20: 1024} {
		if got := spare(descriptors); got != want {
			t.Errorf("of %d descriptors %d are spare, want %d", descriptors, got, want)
		}
	}
}
