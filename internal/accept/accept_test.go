package accept

import (
	"net/http"
	"testing"
)

func TestGzip(t *testing.T) {
	for header, want := range map[string]bool{
		"gzip, deflate, br, zstd": true, "GZIP": true, "x-gzip": true, "*": true, "gzip;q=0.5": true,
		"br, gzip; q=1.0": true,
		"":                false, "identity": false, "gzip;q=0": false, "gzip; q=0.0": false, "gzip;q=0, *": false,
		"*, gzip;q=0": false,
		"*;q=0":       false,
		"br":          false, "gzip;q=x": false,
	} {
		if got := Gzip(http.Header{"Accept-Encoding": {header}}); got != want {
			t.Errorf("Accept-Encoding %q: %t", header, got)
		}
	}
	if Gzip(nil) || !Gzip(http.Header{"Accept-Encoding": {"br", "gzip"}}) {
		t.Error("a header of no line, or of two")
	}
}
