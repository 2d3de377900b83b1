package engine

import (
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestHandshakesPerSecond begins as many sessions at once as a second allows, and then one at a time, on both
// transports.
func TestHandshakesPerSecond(t *testing.T) {
	const rate = 10
	play(t, func(set *Settings) { set.HandshakesPerSecond = rate }, func(t *testing.T, s *stage) {
		waits := map[string]bool{}
		late := func(header ...string) {
			t.Helper()
			transport := "polling"
			if len(header) > 0 {
				transport = "websocket"
			}
			status, text, h := s.request("GET", "EIO=4&transport="+transport, "", header...)
			wait := h.Get("Retry-After")
			seconds, err := strconv.Atoi(wait)
			if status != 503 || !strings.Contains(text, "too many sessions at a time") || err != nil || seconds < 1 || seconds > 5 {
				t.Errorf("one more over %s: %d %q, Retry-After %q", transport, status, text, wait)
			}
			waits[wait] = true
		}
		for range rate {
			s.poll()
		}
		for range 100 {
			late()
			late("Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
		}
		if len(waits) < 3 {
			t.Errorf("all clients are asked to wait for the same time: %v", waits)
		}
		time.Sleep(time.Second / rate)
		s.open()
		late()
		time.Sleep(time.Hour)
		for range rate { // a long pause allows no more than one second
			s.poll()
		}
		late()
		if n := s.server.stats.denied[deniedTooFast].Value(); n != 202 {
			t.Errorf("%d were counted", n)
		}
		if n := s.server.stats.denied[deniedSessions].Value(); n != 0 {
			t.Errorf("%d were counted as over another limit", n)
		}
	})
}

// TestHandshakesPerSecondPerAddress lets each client begin a few sessions a second, whatever others do. Its refused
// attempts cost the others nothing.
func TestHandshakesPerSecondPerAddress(t *testing.T) {
	set := Settings{Rates: Rates{HandshakesPerSecond: 100, HandshakesPerSecondPerAddress: 3}}
	a, now := newAdmission(&set.Rates), time.Now()
	expect := func(ip string, want error) {
		t.Helper()
		if err := a.reserve(clientOf(ip), &set, now); err != want {
			t.Errorf("%s: %v, want %v", ip, err, want)
		}
	}
	for range 3 {
		expect("203.0.113.1", nil)
		expect("2001:db8::1", nil)
	}
	for range 1000 {
		expect("203.0.113.1", deniedAddressTooFast)
		expect("::ffff:203.0.113.1", deniedAddressTooFast)
		expect("2001:db8::ffff:1:2:3", deniedAddressTooFast) // in the same /64
	}
	expect("203.0.113.2", nil)
	expect("2001:db8:0:1::1", nil)
	now = now.Add(time.Second / 3)
	expect("203.0.113.1", nil)
	expect("203.0.113.1", deniedAddressTooFast)
	now = now.Add(time.Hour)
	for range 3 {
		expect("203.0.113.1", nil)
	}
	expect("203.0.113.1", deniedAddressTooFast)
}

// Clients that come once are forgotten after a second or two, and are not remembered without limit.
func TestManyAddresses(t *testing.T) {
	set := Settings{Rates: Rates{HandshakesPerSecondPerAddress: 1}}
	a, now := newAdmission(&set.Rates), time.Now()
	ip := netip.MustParseAddr("10.0.0.0")
	next := func() error { ip = ip.Next(); return a.reserve(clientOf(ip.String()), &set, now) }
	for i := range maxRecent {
		if err := next(); err != nil {
			t.Fatalf("client %d: %v", i, err)
		}
	}
	if err := next(); err != deniedAddressTooFast {
		t.Errorf("one more than can be remembered: %v", err)
	}
	now = now.Add(time.Second)
	if err := next(); err != nil {
		t.Errorf("a second later: %v", err)
	}
	if n := len(a.recent.clients); n != 1 {
		t.Errorf("%d clients are remembered", n)
	}
}

// Sessions of an address are those of its /64, if it is of IPv6.
func TestSessionsPerAddress(t *testing.T) {
	set := Settings{MaxPerAddress: 2}
	a := newAdmission(&set.Rates)
	for _, c := range []struct {
		ip   string
		want error
	}{
		{"2001:db8::1", nil}, {"2001:db8::2:1", nil}, {"2001:db8::3", deniedOfAddress}, {"2001:db8:0:1::1", nil},
		{"203.0.113.1", nil}, {"::ffff:203.0.113.1", nil}, {"203.0.113.1", deniedOfAddress}, {"203.0.113.2", nil},
	} {
		if err := a.reserve(clientOf(c.ip), &set, time.Now()); err != c.want {
			t.Errorf("%s: %v, want %v", c.ip, err, c.want)
		}
	}
	a.release(clientOf("2001:db8::ffff"), &set)
	if err := a.reserve(clientOf("2001:db8::4"), &set, time.Now()); err != nil {
		t.Errorf("after one has ended: %v", err)
	}
}
