package handshakes

import (
	"net/netip"
	"testing"
	"time"
)

// TestPerSecondPerAddress lets each client begin a few sessions a second, whatever others do. Its refused
// attempts cost the others nothing.
func TestPerSecondPerAddress(t *testing.T) {
	a, now := New(Limits{PerSecond: 100, PerSecondPerAddress: 3}), time.Now()
	expect := func(ip string, want error) {
		t.Helper()
		if err := a.Reserve(ip, now); err != want {
			t.Errorf("%s: %v, want %v", ip, err, want)
		}
	}
	for range 3 {
		expect("203.0.113.1", nil)
		expect("2001:db8::1", nil)
	}
	for range 1000 {
		expect("203.0.113.1", ErrAddressTooFast)
		expect("::ffff:203.0.113.1", ErrAddressTooFast)
		expect("2001:db8::ffff:1:2:3", ErrAddressTooFast) // in the same /64
	}
	expect("203.0.113.2", nil)
	expect("2001:db8:0:1::1", nil)
	now = now.Add(time.Second / 3)
	expect("203.0.113.1", nil)
	expect("203.0.113.1", ErrAddressTooFast)
	now = now.Add(time.Hour)
	for range 3 {
		expect("203.0.113.1", nil)
	}
	expect("203.0.113.1", ErrAddressTooFast)
}

// Clients that come once are forgotten after a second or two, and are not remembered without limit.
func TestManyAddresses(t *testing.T) {
	a, now := New(Limits{PerSecondPerAddress: 1}), time.Now()
	ip := netip.MustParseAddr("10.0.0.0")
	next := func() error { ip = ip.Next(); return a.Reserve(ip.String(), now) }
	for i := range maxRecent {
		if err := next(); err != nil {
			t.Fatalf("client %d: %v", i, err)
		}
	}
	if err := next(); err != ErrAddressTooFast {
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
	a := New(Limits{PerAddress: 2})
	for _, c := range []struct {
		ip   string
		want error
	}{
		{"2001:db8::1", nil}, {"2001:db8::2:1", nil}, {"2001:db8::3", ErrOfAddress}, {"2001:db8:0:1::1", nil},
		{"203.0.113.1", nil}, {"::ffff:203.0.113.1", nil}, {"203.0.113.1", ErrOfAddress}, {"203.0.113.2", nil},
	} {
		if err := a.Reserve(c.ip, time.Now()); err != c.want {
			t.Errorf("%s: %v, want %v", c.ip, err, c.want)
		}
	}
	a.Release("2001:db8::ffff")
	if err := a.Reserve("2001:db8::4", time.Now()); err != nil {
		t.Errorf("after one has ended: %v", err)
	}
}

// All sessions count together, and so does how fast they begin.
func TestOfAll(t *testing.T) {
	a, now := New(Limits{Sessions: 3, PerSecond: 2}), time.Now()
	for i, want := range []error{nil, nil, ErrTooFast} {
		if err := a.Reserve("203.0.113.1", now); err != want {
			t.Errorf("session %d: %v, want %v", i, err, want)
		}
	}
	now = now.Add(time.Second)
	for i, want := range []error{nil, ErrSessions} {
		if err := a.Reserve("203.0.113.2", now); err != want {
			t.Errorf("a second later, session %d: %v, want %v", i, err, want)
		}
	}
	a.Release("203.0.113.1")
	if err := a.Reserve("203.0.113.3", now); err != nil { // what was refused did not count
		t.Errorf("after one has ended: %v", err)
	}
	a.Leaving = true
	if err := a.Reserve("203.0.113.4", now); err != ErrLeaving {
		t.Errorf("while the server is leaving: %v", err)
	}
}
