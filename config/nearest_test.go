package config

import (
	"testing"

	"github.com/agext/levenshtein"
)

func TestNearest(t *testing.T) {
	names := []string{"listen", "admin.listen", "engine.ping_interval", "engine.ping_timeout", "nats.tls.ca", "print-config"}
	for in, want := range map[string]string{
		"listen": "listen", "lisen": "listen", "engine.ping_interval": "engine.ping_interval", "ping_interval": "engine.ping_interval",
		"PING-TIMEOUT": "engine.ping_timeout", "print_config": "print-config", "ca": "nats.tls.ca", "x": "", "": "", "something": "",
	} {
		if got := nearest(in, names); got != want {
			t.Errorf("nearest(%q) = %q, want %q", in, got, want)
		}
	}
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"", "ab", 2}, {"kitten", "sitting", 3}, {"flaw", "lawn", 2}} {
		if got := levenshtein.Distance(c.a, c.b, nil); got != c.want {
			t.Errorf("levenshtein(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
	}
}
