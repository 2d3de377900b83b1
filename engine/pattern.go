package engine

import (
	"errors"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// noOrigin is the Origin of a page that has none: of a file, or in a sandboxed frame.
const noOrigin = "null"

// ParseOrigin checks an entry of Settings.Origins and returns its normal form: an origin as clients send it, in lower
// case, without the scheme's default port, an internationalised name as xn--…; or a pattern of origins. In a pattern,
// * in a host matches one or more characters of one label, and * as the port matches any port. The error is a phrase
// for people, and the entry goes in front of it.
func ParseOrigin(entry string) (string, error) {
	if entry == "*" {
		return entry, nil
	}
	o, ok := parseOrigin(entry)
	if !ok {
		return "", errors.New("is not an origin; write scheme://host or scheme://host:port as clients send it, such as " +
			"https://app.example, a pattern such as https://*.app.example, or * for any")
	}
	if !o.isPattern() {
		return o.String(), nil
	}
	labels := strings.Split(o.host, ".")
	starred := len(labels) - 1
	for starred >= 0 && !strings.Contains(labels[starred], "*") {
		starred--
	}
	fixed := len(labels) - 1 - starred // labels at the end without a *
	switch {
	case !o.ofWeb() || starred < 0:
	case fixed == 0:
		return "", errors.New("is a pattern whose last part could be anybody's; write the end of the host without a *, " +
			"such as https://*.app.example, or * for any origin")
	case fixed == 1 && labels[starred] != "*":
		return "", errors.New("is a pattern that also matches hosts of others; write " + o.scheme + "://*." + strings.TrimLeft(labels[starred], "*") +
			"." + labels[len(labels)-1])
	case fixed == 1 && !slices.Contains(privateDomains, labels[len(labels)-1]):
		return "", errors.New("is a pattern that matches anybody's domain; write at least two parts without a * at the end, " +
			"such as https://*.app.example, or * for any origin")
	}
	return o.String(), nil
}

// privateDomains are ends of names that cannot be registered (RFC 6761 and what is common).
var privateDomains = []string{"localhost", "local", "internal", "test", "example", "lan", "home"}

// origin is a parsed Origin: scheme://host:port.
type origin struct {
	scheme string // in lower case; noOrigin for the Origin of that name
	host   string // in lower case, ASCII; "" for file://
	port   string // "" for the scheme's default
}

// String returns the origin as clients send it.
func (o origin) String() string {
	if o.scheme == noOrigin {
		return noOrigin
	}
	if o.port == "" {
		return o.scheme + "://" + o.host
	}
	return o.scheme + "://" + o.host + ":" + o.port
}

// ofWeb reports whether the origin names a host of the network.
func (o origin) ofWeb() bool { return schemeOf(o.scheme) != "" }

func (o origin) isPattern() bool { return strings.Contains(o.host, "*") || o.port == "*" }

// matches reports whether the pattern o matches another origin.
func (o origin) matches(other origin) bool {
	if o.scheme != other.scheme || o.port != "*" && o.port != other.port {
		return false
	}
	labels, patterns := strings.Split(other.host, "."), strings.Split(o.host, ".")
	return slices.EqualFunc(patterns, labels, func(pattern, label string) bool {
		ok, err := path.Match(pattern, label) // of a host's characters only * is special
		return ok && err == nil && label != ""
	})
}

// parseOrigin parses an origin or a pattern of origins. A slash behind it is ignored, since some native clients send
// one.
func parseOrigin(s string) (origin, bool) {
	if strings.EqualFold(s, noOrigin) {
		return origin{scheme: noOrigin}, true
	}
	scheme, rest, found := strings.Cut(s, "://")
	if !found || !isScheme(scheme) {
		return origin{}, false
	}
	o := origin{scheme: strings.ToLower(scheme)}
	var ok bool
	if o.host, o.port, ok = splitHost(strings.TrimSuffix(rest, "/")); !ok {
		return origin{}, false
	}
	if o.host == "" && (o.ofWeb() || o.port != "") {
		return origin{}, false
	}
	if o.port == defaultPort(o.scheme) {
		o.port = ""
	}
	return o, true
}

func isScheme(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("+-.", c)
	})
}

// defaultPort returns the port that URLs of a scheme omit.
func defaultPort(scheme string) string {
	switch schemeOf(scheme) {
	case "http":
		return "80"
	case "https":
		return "443"
	}
	return ""
}

// splitHost splits host:port and normalises both. port is "" if there is none.
func splitHost(s string) (host, port string, ok bool) {
	host = s
	if end := strings.LastIndexByte(s, ']'); strings.HasPrefix(s, "[") && end > 0 {
		ip, err := netip.ParseAddr(s[1:end])
		if err != nil || !ip.Is6() {
			return "", "", false
		}
		host, port = "["+ip.String()+"]", s[end+1:]
		if port, ok = strings.CutPrefix(port, ":"); !ok && port != "" {
			return "", "", false
		}
	} else {
		if colon := strings.LastIndexByte(s, ':'); colon >= 0 {
			host, port = s[:colon], s[colon+1:]
		}
		if host, ok = normalHost(host); !ok {
			return "", "", false
		}
	}
	if port == "" || port == "*" {
		return host, port, true
	}
	port, ok = normalPort(port)
	return host, port, ok
}

// normalPort returns a port without leading zeros.
func normalPort(s string) (string, bool) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return "", false
	}
	return strconv.FormatUint(n, 10), true
}

// toASCII converts an internationalised name as browsers do.
var toASCII = idna.New(idna.MapForLookup(), idna.Transitional(false), idna.StrictDomainName(false), idna.CheckHyphens(false))

// normalHost returns a name in lower case, and as xn--… if it is an internationalised one.
func normalHost(s string) (string, bool) {
	if strings.IndexFunc(s, func(c rune) bool { return c >= utf8.RuneSelf }) >= 0 {
		var err error
		if s, err = toASCII.ToASCII(s); err != nil {
			return "", false
		}
	}
	s = strings.ToLower(s)
	bad := strings.ContainsFunc(s, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < '0' || c > '9') && !strings.ContainsRune("-._*", c)
	})
	return s, !bad
}
