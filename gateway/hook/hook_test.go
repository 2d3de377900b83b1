package hook

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newTestCaller makes a caller for a handler.
func newTestCaller(t *testing.T, h Hook, handler http.HandlerFunc) *caller {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	h.URLs = append(h.URLs, server.URL)
	if h.Timeout == 0 {
		h.Timeout = 5 * time.Second
	}
	h.Concurrency = max(h.Concurrency, 1)
	c := newCaller(h, &stats{})
	t.Cleanup(c.transport.CloseIdleConnections)
	return c
}

func (c *caller) say(t *testing.T, d delivery) (*answer, error) {
	t.Helper()
	return c.deliver(t.Context(), &cloudEvent{ID: "id", Data: eventData{}}, d)
}

func isResult(t *testing.T, err error, want result) {
	t.Helper()
	var f *failure
	if !errors.As(err, &f) || f.result != want {
		t.Errorf("it ended with %v, want %s", err, want)
	}
}

// Retry-After is honoured, also by other events, and gives up at once what may not wait so long.
func TestRetryAfter(t *testing.T) {
	var first, second atomic.Int64 // when they came
	c := newTestCaller(t, Hook{}, func(w http.ResponseWriter, r *http.Request) {
		if first.CompareAndSwap(0, time.Now().UnixNano()) {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		second.CompareAndSwap(0, time.Now().UnixNano())
	})
	_, err := c.say(t, delivery{patience: time.Minute})
	isResult(t, err, busy) // it wants an ack, so it is not repeated
	_, err = c.say(t, delivery{patience: 100 * time.Millisecond, repeats: true})
	isResult(t, err, busy)
	if second.Load() != 0 {
		t.Fatal("a request came while the endpoint wanted none")
	}
	if _, err := c.say(t, delivery{patience: time.Minute, repeats: true}); err != nil {
		t.Fatal(err)
	}
	if waited := time.Duration(second.Load() - first.Load()); waited < time.Second {
		t.Errorf("the next request came after %s", waited)
	}
}

func TestRetryAfterHeader(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, "-1": 0, "x": 0, "99999999": mostRetryAfter, "99999999999999999999": mostRetryAfter,
		"Thu, 01 Jan 2026 00:00:09 GMT": 9 * time.Second, "Thu, 01 Jan 2020 00:00:09 GMT": 0,
	} {
		if got := retryAfterOf(http.Header{"Retry-After": {text}}, now); got != want {
			t.Errorf("Retry-After: %q is %s, want %s", text, got, want)
		}
	}
}

// An answer without an end is cut off, and so is one that dawdles.
func TestEndlessAnswers(t *testing.T) {
	c := newTestCaller(t, Hook{Timeout: time.Second}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		for r.Context().Err() == nil {
			if _, err := io.WriteString(w, strings.Repeat(" ", 4096)); err != nil {
				return
			}
		}
	})
	_, err := c.say(t, delivery{patience: time.Minute})
	isResult(t, err, badAnswer)
	slow := newTestCaller(t, Hook{Timeout: 300 * time.Millisecond}, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, " ")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	_, err = slow.say(t, delivery{patience: time.Minute})
	isResult(t, err, timedOut)
}

// What was not sent may go to another URL, even if it must not be repeated. If none is there, that is all.
func TestUnreachable(t *testing.T) {
	gone := httptest.NewServer(nil)
	gone.Close()
	var got atomic.Int64
	c := newTestCaller(t, Hook{URLs: []string{gone.URL, gone.URL + "/2"}}, func(http.ResponseWriter, *http.Request) { got.Add(1) })
	for range 10 {
		if _, err := c.say(t, delivery{patience: time.Minute}); err != nil {
			t.Error(err)
		}
	}
	if n := got.Load(); n != 10 {
		t.Errorf("%d requests came", n)
	}
	c.pool = newPool([]string{gone.URL, gone.URL + "/2"})
	before := c.stats.requests[unreachable].Value()
	_, err := c.say(t, delivery{patience: time.Minute})
	isResult(t, err, unreachable)
	if tries := c.stats.requests[unreachable].Value() - before; tries != 2 {
		t.Errorf("%d tries for two URLs", tries)
	}
	began := time.Now()
	_, err = c.say(t, delivery{patience: 2 * time.Second, repeats: true})
	isResult(t, err, unreachable)
	if took := time.Since(began); took < time.Second {
		t.Errorf("it gave up after %s", took)
	}
}

// No more requests are under way than the hook allows.
func TestConcurrency(t *testing.T) {
	var now, most atomic.Int64
	three := make(chan struct{})
	full := sync.OnceFunc(func() { close(three) })
	c := newTestCaller(t, Hook{Concurrency: 3}, func(http.ResponseWriter, *http.Request) {
		for n := now.Add(1); ; {
			if m := most.Load(); n <= m || most.CompareAndSwap(m, n) {
				break
			}
		}
		if now.Load() == 3 {
			full()
		}
		<-three
		now.Add(-1)
	})
	var running sync.WaitGroup
	for range 50 {
		running.Go(func() {
			if _, err := c.say(t, delivery{patience: time.Minute}); err != nil {
				t.Error(err)
			}
		})
	}
	running.Wait()
	if m := most.Load(); m != 3 {
		t.Errorf("%d requests were under way at once", m)
	}
}

// A gateway that closes does not wait for an endpoint.
func TestStopped(t *testing.T) {
	came := make(chan struct{})
	c := newTestCaller(t, Hook{}, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // else the server does not notice the end
		close(came)
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-came; cancel() }()
	_, err := c.deliver(ctx, &cloudEvent{ID: "id"}, delivery{patience: time.Minute, repeats: true})
	isResult(t, err, stopped)
}

// Neither a proxy of the environment nor a cookie is used, and addresses are checked after DNS.
func TestAddressesOfRequests(t *testing.T) {
	c := newTestCaller(t, Hook{DenyPrivate: true}, func(http.ResponseWriter, *http.Request) { t.Error("a request came") })
	if c.transport.Proxy != nil {
		t.Error("it uses a proxy")
	}
	_, port, _ := strings.Cut(strings.TrimPrefix(c.pool.urls[0].url, "http://"), ":")
	c.pool = newPool([]string{c.pool.urls[0].url, "http://localhost:" + port, "http://[::ffff:127.0.0.1]:" + port})
	_, err := c.say(t, delivery{patience: time.Minute})
	isResult(t, err, unreachable)
	if !strings.Contains(err.Error(), "refused: it is private") {
		t.Error(err)
	}
}

func TestDeniedAddresses(t *testing.T) {
	for address, want := range map[string]string{ // "always", "private" or "" for never
		"169.254.169.254": "always", "169.254.0.1": "always", "fe80::1": "always", "fe80::1%eth0": "always", "::ffff:169.254.169.254": "always",
		"fd00:ec2::254": "always", "100.100.100.200": "always", "168.63.129.16": "always", "192.0.0.192": "always", "fd20:ce::254": "always",
		"224.0.0.1": "always", "ff02::1": "always", "0.0.0.0": "always", "::": "always",
		"64:ff9b::a9fe:a9fe": "always", "2002:a9fe:a9fe::1": "always", "::a9fe:a9fe": "always", "::ffff:0:a9fe:a9fe": "always", "64:ff9b:1::a9fe:a9fe": "always",
		"127.0.0.1": "private", "::1": "private", "10.0.0.1": "private", "172.16.0.1": "private", "192.168.1.1": "private", "fd12::1": "private",
		"100.64.0.1": "private", "0.1.2.3": "private", "198.18.0.1": "private", "240.0.0.1": "private", "255.255.255.255": "private",
		"::ffff:10.0.0.1": "private", "64:ff9b::a00:1": "private", "2002:a00:1::1": "private", "fec0::1": "private", "64:ff9b:1::101:101": "private",
		"1.1.1.1": "", "2606:4700::1111": "", "64:ff9b::101:101": "", "172.32.0.1": "", "100.128.0.1": "",
	} {
		a := netip.MustParseAddr(address)
		if got := denied(a, false) != ""; got != (want == "always") {
			t.Errorf("%s is denied %t", address, got)
		}
		if got := denied(a, true) != ""; got != (want != "") {
			t.Errorf("with deny_private %s is denied %t", address, got)
		}
	}
}

// An endpoint that switches protocols has no answer, and holds no request.
func TestSwitchedProtocols(t *testing.T) {
	over := make(chan struct{})
	c := newTestCaller(t, Hook{Timeout: time.Second}, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n")
		_, _ = conn.Read(make([]byte, 1))
		<-over
	})
	done := make(chan error, 1)
	go func() { _, err := c.say(t, delivery{patience: time.Minute}); done <- err }()
	select {
	case err := <-done:
		isResult(t, err, badAnswer)
	case <-time.After(5 * time.Second):
		t.Error("the request does not end")
	}
	close(over)
}

// A connect does not wait for a slot for longer than it may. An event does, and is tried all the same.
func TestPatienceWithoutASlot(t *testing.T) {
	came, over := make(chan struct{}), make(chan struct{})
	var requests atomic.Int64
	c := newTestCaller(t, Hook{Concurrency: 1}, func(w http.ResponseWriter, _ *http.Request) {
		switch requests.Add(1) {
		case 1:
			close(came)
			<-over
		case 2:
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	var events sync.WaitGroup
	say := func(patience time.Duration) {
		events.Go(func() {
			if _, err := c.say(t, delivery{patience: patience, repeats: true}); err != nil {
				t.Error(err)
			}
		})
	}
	say(time.Minute)
	<-came
	say(700 * time.Millisecond)
	began := time.Now()
	_, err := c.say(t, delivery{patience: time.Second, repeats: true, isConnect: true})
	isResult(t, err, busy)
	if waited := time.Since(began); waited < 900*time.Millisecond {
		t.Errorf("it gave up after %s", waited)
	}
	close(over)
	events.Wait()
	if n := requests.Load(); n != 3 {
		t.Errorf("%d requests came", n)
	}
}
