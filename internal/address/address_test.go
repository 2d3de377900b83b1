package address

import (
	"net/netip"
	"testing"
)

func TestKey(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"192.0.2.1", "192.0.2.1", true},
		{"192.0.2.1", "::ffff:192.0.2.1", true},
		{"192.0.2.1", "192.0.2.2", false},
		{"2001:db8::1", "2001:db8::ffff:0:0:1", true},
		{"2001:db8::1", "2001:db8:0:1::1", false},
		{"fe80::1%eth0", "fe80::2", true},
	} {
		if same := Key(netip.MustParseAddr(c.a)) == Key(netip.MustParseAddr(c.b)); same != c.same {
			t.Errorf("%s and %s are one client: %t, want %t", c.a, c.b, same, c.same)
		}
	}
	if Key(netip.Addr{}) != (netip.Prefix{}) {
		t.Error("an invalid address has a network")
	}
}
