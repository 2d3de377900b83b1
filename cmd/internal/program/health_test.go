package program

import "testing"

func TestHealthURL(t *testing.T) {
	for in, want := range map[string]string{
		"127.0.0.1:1": "http://127.0.0.1:1/healthz", ":1": "http://127.0.0.1:1/healthz",
		"0.0.0.0:1": "http://127.0.0.1:1/healthz",
		"[::]:1":    "http://[::1]:1/healthz", "[::1]:1": "http://[::1]:1/healthz",
		"localhost:1": "http://localhost:1/healthz",
		"10.0.0.1:1":  "http://10.0.0.1:1/healthz",
	} {
		if got, err := healthURL(in); err != nil || got != want {
			t.Errorf("healthURL(%q) = %q, %v, want %q", in, got, err, want)
		}
	}
}
