// Package accept reads what an HTTP client accepts.
package accept

import (
	"net/http"
	"strconv"
	"strings"
)

// Gzip reports whether a response may be compressed with gzip (RFC 9110, section 12.5.3): Accept-Encoding has gzip or
// * with a weight that is not zero. The weight of gzip counts more than that of *.
func Gzip(h http.Header) bool {
	wildcard := false
	for _, header := range h.Values("Accept-Encoding") {
		for part := range strings.SplitSeq(header, ",") {
			coding, parameters, _ := strings.Cut(part, ";")
			weight, found := strings.CutPrefix(strings.ToLower(strings.TrimSpace(parameters)), "q=")
			q, err := strconv.ParseFloat(weight, 64)
			wanted := !found || err == nil && q > 0
			switch strings.ToLower(strings.TrimSpace(coding)) {
			case "gzip", "x-gzip":
				return wanted
			case "*":
				wildcard = wanted
			}
		}
	}
	return wildcard
}
