package config

import (
	"crypto/x509"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"partyline/internal/origin"
	"partyline/internal/redact"
	"partyline/subjects"
	"partyline/wire/msg"
)

// check returns a value in its normal form. It calls bad with what is wrong with it, and what to do.
type check func(value any, bad func(problem string)) (normal any)

// texts is the check of a text.
func texts(f func(string) (normal, problem string)) check {
	return func(value any, bad func(string)) any {
		s := value.(string)
		normal, problem := f(s)
		if mayBeURL(s) {
			problem = redact.Text(problem, s) // as others quote it
		}
		if problem != "" {
			bad(problem)
		}
		return normal
	}
}

// items is the check of each item of a list.
func items(f func(string) (normal, problem string)) check {
	return func(value any, bad func(string)) any {
		list := value.([]string)
		for i, item := range list {
			list[i] = texts(f)(item, bad).(string)
		}
		return list
	}
}

// The largest values: sums and products of them do not overflow, and no use needs more.
const (
	mostNumber = min(1<<40, math.MaxInt) // a tebibyte
	mostTime   = 10 * 365 * 24 * time.Hour
)

// atLeast is the check of a number or a time that must not be smaller than least, nor larger than mostNumber or
// mostTime.
func atLeast[T int | time.Duration](least T, problem string) check {
	most := any(mostTime)
	if _, isNumber := any(least).(int); isNumber {
		most = mostNumber
	}
	return between(least, most.(T), problem)
}

// between is the check of a number or a time that must not be smaller than least, nor larger than most.
func between[T int | time.Duration](least, most T, problem string) check {
	return func(value any, bad func(string)) any {
		switch v := value.(T); {
		case v < least:
			bad(fmt.Sprintf("%v is %s", v, problem))
		case v > most:
			bad(fmt.Sprintf("%v is too much; write at most %v", v, most))
		}
		return value
	}
}

// noneOr is the check of a time that is 0, or as f wants it.
func noneOr(f check) check {
	return func(value any, bad func(string)) any {
		if value == time.Duration(0) {
			return value
		}
		return f(value, bad)
	}
}

func oneOf(allowed ...string) func(string) (normal, problem string) {
	return func(s string) (string, string) {
		if !slices.Contains(allowed, s) {
			return s, quote(s) + " is not one of " + strings.Join(allowed, ", ") + didYouMean(s, allowed)
		}
		return s, ""
	}
}

func logLevel(s string) (normal, problem string) {
	return oneOf("debug", "info", "warn", "error")(strings.ToLower(s))
}

// hostName matches names of hosts, and nothing: labels that neither begin nor end with a hyphen (RFC 1123, section
// 2.1; with the underscores that containers have).
var hostName = regexp.MustCompile(`^(\w([\w-]*\w)?(\.\w([\w-]*\w)?)*\.?)?$`)

func listenAddress(s string) (normal, problem string) {
	host, port, err := net.SplitHostPort(s)
	n, portErr := strconv.ParseUint(port, 10, 16)
	_, hostErr := netip.ParseAddr(host)
	switch {
	case err != nil:
		problem = "is not an address to listen on; write host:port, such as 127.0.0.1:3000, or :3000 for all addresses"
	case portErr != nil || strconv.FormatUint(n, 10) != port:
		problem = "has no good port; write a number from 0 (a free one) to 65535"
	case hostErr != nil && !hostName.MatchString(host):
		problem = "has no good host; write an address of this machine, or nothing for all of them"
	default:
		return s, ""
	}
	return s, quote(s) + " " + problem
}

// optional is the check of a text that may be empty.
func optional(f func(string) (normal, problem string)) func(string) (normal, problem string) {
	return func(s string) (string, string) {
		if s == "" {
			return s, ""
		}
		return f(s)
	}
}

// bearerToken is the check of a token that travels in a header. Its problem does not repeat the token.
func bearerToken(s string) (normal, problem string) {
	if strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c > '~' }) {
		problem = "has a blank, a line feed or a letter that is not ASCII; write letters, digits and -._~+/="
	}
	return s, problem
}

// namedHost matches a name of a host, and a port that does not count.
var namedHost = regexp.MustCompile(`^([A-Za-z0-9._-]+)(:[0-9]+)?$`)

// pagesHost is the check of a name under which the operator's pages are served.
func pagesHost(s string) (normal, problem string) {
	match := namedHost.FindStringSubmatch(s)
	if match == nil {
		return s, quote(s) + " is no name of a host; write one such as edge-1 or edge-1.example (IP addresses need no entry)"
	}
	return match[1], ""
}

// plainPath leaves out what would stand escaped in a URL's path, or mean something to the router.
var plainPath = regexp.MustCompile(`^(/[\p{L}\p{Nd}\-._~!$&'()+,;=:@]+)+/$`)

// maxPath is the length of the longest path, in bytes: a request must have place for more.
const maxPath = 1024

func clientPath(s string) (normal, problem string) {
	normal = strings.TrimSuffix(s, "/") + "/"
	switch {
	case s == "":
		problem = "is empty; write one such as /socket.io/"
	case !strings.HasPrefix(s, "/"):
		problem = quote(s) + " does not begin with a slash; write " + quote("/"+s)
	case normal == "/":
		problem = `"/" is no path for clients alone; write one such as /socket.io/`
	case !plainPath.MatchString(normal) || path.Clean(normal)+"/" != normal:
		problem = quote(normal) + " is no plain path; write one such as /socket.io/, of letters, digits and -._~ with single slashes between them"
	case len(normal) > maxPath:
		problem = fmt.Sprintf("is longer than %d bytes", maxPath)
	}
	return normal, problem
}

func addresses(s string) (normal, problem string) {
	if _, ok := addressRange(s); !ok {
		problem = quote(s) + " is neither an address nor a range; write 10.0.0.7 or 10.0.0.0/8"
	}
	return s, problem
}

var (
	subjectPrefix = subjectsBelow(normalPrefix, "; write tokens of letters and digits with dots between them, such as sio or prod.sio")
	replyPrefix   = subjectsBelow(subjects.NormalReplies, "; write the inbox prefixes of services, such as _INBOX.> or _INBOX.chat.>")
)

func normalPrefix(s string) (string, error) {
	_, err := subjects.NewPrefix(s)
	return s, err
}

// subjectsBelow is the check of a beginning of subjects.
func subjectsBelow(parse func(string) (string, error), remedy string) func(string) (normal, problem string) {
	return func(s string) (string, string) {
		if mayBeURL(s) {
			return s, quote(s) + " is no beginning of subjects" + remedy
		}
		normal, err := parse(s)
		if err != nil {
			return normal, err.Error() + remedy
		}
		return normal, ""
	}
}

// readableFile is the check of a key that names a file, or nothing.
func readableFile(path string) (normal, problem string) {
	_, err := os.ReadFile(path)
	switch {
	case path == "" || err == nil:
	case isSecretItself(path):
		problem = "looks like a secret itself; write it to a file that only this user can read, and name the file here"
	default:
		problem = "the file cannot be read: " + unreadable(path, err)
	}
	return path, problem
}

// isSecretItself reports whether a key that names a file seems to have what should be in the file: a PEM block, an
// nkey's seed, or a token such as a JWT. A fault must not repeat it.
func isSecretItself(value string) bool {
	return strings.Contains(value, "-----BEGIN") || len(value) >= 50 && !strings.ContainsAny(value, "/\\")
}

func authorities(path string) (normal, problem string) {
	if data, err := os.ReadFile(path); err == nil && !x509.NewCertPool().AppendCertsFromPEM(data) {
		return path, quote(path) + " holds no certificate in PEM form"
	}
	return readableFile(path)
}

func folder(path string) (normal, problem string) {
	info, err := os.Stat(path)
	switch {
	case err == nil && !info.IsDir():
		problem = quote(path) + " is a file; name a folder"
	case err != nil && mayBeURL(path) && strings.Contains(path, ":"):
		problem = quote(path) + " is a URL; name a folder"
	}
	return path, problem
}

// edgeURL is the check of an address where other edges reach this one, or nothing.
func edgeURL(s string) (normal, problem string) {
	hostPort, err := msg.EdgeHostPort(s)
	host, _, _ := net.SplitHostPort(hostPort)
	address, _ := netip.ParseAddr(host) // the host may be a name
	switch {
	case s == "":
		return s, ""
	case err != nil || !isHost(host, strings.Contains(host, ":")):
		return s, quote(s) + " is not where other edges could reach this one; write http://host:port, such as http://10.0.0.7:3000"
	case address.IsUnspecified():
		return s, quote(s) + " is no address that others could ask; write this machine's own"
	}
	return "http://" + hostPort, ""
}

func corsOrigin(s string) (normal, problem string) {
	normal, err := origin.Parse(s)
	if err != nil {
		problem = quote(s) + " " + err.Error()
	}
	return normal, problem
}

func cookieName(s string) (normal, problem string) {
	if cookie := (http.Cookie{Name: s}); s != "" && cookie.Valid() != nil {
		problem = quote(s) + " cannot name a cookie; use letters, digits, - and _"
	}
	return s, problem
}
