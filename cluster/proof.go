package cluster

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"time"

	"partyline/engine"
	"partyline/wire/msg"
)

// The headers of a request that one edge forwards to another. The first edge removes those of a client.
const (
	// headerForwarded is the client's address and request, as the first edge has them, behind trusted proxies:
	// at=<milliseconds since 1970>&by=<edge>&for=<address>&host=<host>&proto=<http or https>&port=<port or nothing>
	// &scheme=<proto if the edge knows it, or nothing>, each value escaped as in a query. Edges of older versions
	// send neither port nor scheme.
	headerForwarded = "Partyline-Forwarded"
	// headerSignature is the hexadecimal HMAC-SHA256, with the edges' secret, of "forward", the method, the path and
	// query of the request line, the sid and the value of headerForwarded, with line feeds between them.
	headerSignature = "Partyline-Signature"
)

// Errors about requests that claim to come from another edge.
var (
	errUnsigned  = errors.New("its signature is missing or wrong (edges.secret must be the same on every edge)")
	errUntrusted = errors.New("it comes from an address that is not in trusted_proxies, and there is no edges.secret")
	errMalformed = errors.New("it does not name the client for whom it was forwarded")
)

// proof is the secret that edges share, with which they sign forwarded requests; "" signs nothing.
type proof string

// give sets the headers of a forwarded request: from which edge, for which client, and when.
func (secret proof) give(out *http.Request, sid, edge string, client engine.Peer, now time.Time) {
	proto := "http"
	if client.Secure() {
		proto = "https"
	}
	said := url.Values{
		"at": {strconv.FormatInt(now.UnixMilli(), 10)}, "by": {edge}, "for": {client.Address}, "host": {client.Host},
		"proto": {proto}, "port": {client.Port}, "scheme": {client.Scheme},
	}.Encode()
	out.Header.Set(headerForwarded, said)
	out.Header.Del(headerSignature)
	if secret != "" {
		out.Header.Set(headerSignature, msg.Sign(string(secret), signed(out.Method, out.URL.RequestURI(), sid, said)...))
	}
}

// check returns the client of a forwarded request. With a secret the request must be signed, and differ from now by
// at most msg.MaxClockSkew. Without one the caller must check that it comes from an address of an edge.
func (secret proof) check(r *http.Request, sid string, now time.Time) (engine.Peer, error) {
	said := r.Header.Get(headerForwarded)
	if secret != "" && !msg.IsSigned(r.Header.Get(headerSignature), string(secret),
		signed(r.Method, r.RequestURI, sid, said)...) {
		return engine.Peer{}, errUnsigned
	}
	values, err := url.ParseQuery(said)
	if err != nil {
		return engine.Peer{}, errMalformed
	}
	client := engine.Peer{Address: values.Get("for"), Host: values.Get("host"), Port: values.Get("port"),
		Scheme: values.Get("scheme")}
	if client.Scheme == "" && values.Get("proto") == "https" { // an edge of an older version
		client.Scheme = "https"
	}
	at, err := strconv.ParseInt(values.Get("at"), 10, 64)
	if _, bad := netip.ParseAddr(client.Address); err != nil || bad != nil {
		return engine.Peer{}, errMalformed
	}
	if err := msg.CheckAge(at, now); secret != "" && err != nil {
		return engine.Peer{}, fmt.Errorf("it was forwarded %w", err)
	}
	return client, nil
}

// signed returns what is signed: all that decides what the other edge does.
func signed(method, uri, sid, said string) []string {
	return []string{"forward", method, uri, sid, said}
}

// isForwarded reports whether a request claims that another edge has forwarded it.
func isForwarded(h http.Header) bool { return h[headerForwarded] != nil || h[headerSignature] != nil }

// strip removes these headers, so that no service sees those that a client has sent.
func strip(h http.Header) {
	delete(h, headerForwarded)
	delete(h, headerSignature)
}
