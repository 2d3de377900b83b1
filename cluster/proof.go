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

// The headers of a request that one edge passes on to another. A client's own never get past the first edge.
const (
	// headerForwarded says who the client is, as the first edge has seen it behind trusted proxies: at=<milliseconds since
	// 1970>&by=<edge>&for=<address>&host=<host>&proto=<http or https>&port=<port or nothing>&scheme=<proto if the edge knows
	// it, or nothing>, each value escaped as in a query. Edges of older versions know neither port nor scheme.
	headerForwarded = "Partyline-Forwarded"
	// headerSignature is the hexadecimal HMAC-SHA256, with the edges' secret, over "forward", the method, path and query as
	// in the request line, the sid and the value of headerForwarded, with line feeds between them.
	headerSignature = "Partyline-Signature"
)

// Errors about requests that claim to come from another edge.
var (
	errUnsigned  = errors.New("its signature is missing or wrong (edges.secret must be the same on every edge)")
	errUntrusted = errors.New("it comes from an address that is not in trusted_proxies, and there is no edges.secret")
	errMalformed = errors.New("it does not say for whom it is passed on")
)

// proof vouches for passed on requests with the secret that edges share; "" vouches for nothing.
type proof string

// give marks a request that is passed on: by whom, for whom, and when.
func (secret proof) give(out *http.Request, sid, edge string, client engine.Peer, now time.Time) {
	proto := "http"
	if client.Secure() {
		proto = "https"
	}
	said := url.Values{
		"at": {strconv.FormatInt(now.UnixMilli(), 10)}, "by": {edge}, "for": {client.Address}, "host": {client.Host}, "proto": {proto},
		"port": {client.Port}, "scheme": {client.Scheme},
	}.Encode()
	out.Header.Set(headerForwarded, said)
	out.Header.Del(headerSignature)
	if secret != "" {
		out.Header.Set(headerSignature, msg.Sign(string(secret), signed(out.Method, out.URL.RequestURI(), sid, said)...))
	}
}

// check reads who a request was passed on for. With a secret the request must be signed, and be no older, or newer, than
// msg.MaxClockSkew; without one whoever asks must know that it comes from where edges are.
func (secret proof) check(r *http.Request, sid string, now time.Time) (engine.Peer, error) {
	said := r.Header.Get(headerForwarded)
	if secret != "" && !msg.IsSigned(r.Header.Get(headerSignature), string(secret), signed(r.Method, r.RequestURI, sid, said)...) {
		return engine.Peer{}, errUnsigned
	}
	values, err := url.ParseQuery(said)
	if err != nil {
		return engine.Peer{}, errMalformed
	}
	client := engine.Peer{Address: values.Get("for"), Host: values.Get("host"), Port: values.Get("port"), Scheme: values.Get("scheme")}
	if client.Scheme == "" && values.Get("proto") == "https" { // an edge that does not say what it knows
		client.Scheme = "https"
	}
	at, err := strconv.ParseInt(values.Get("at"), 10, 64)
	if _, bad := netip.ParseAddr(client.Address); err != nil || bad != nil {
		return engine.Peer{}, errMalformed
	}
	if err := msg.CheckAge(at, now); secret != "" && err != nil {
		return engine.Peer{}, fmt.Errorf("it was passed on %w", err)
	}
	return client, nil
}

// signed is what a signature is made of: all that decides what the other edge does.
func signed(method, uri, sid, said string) []string {
	return []string{"forward", method, uri, sid, said}
}

// claimed tells whether a request says that another edge has passed it on.
func claimed(h http.Header) bool { return h[headerForwarded] != nil || h[headerSignature] != nil }

// strip takes these headers off, so that nobody behind sees a client's own.
func strip(h http.Header) {
	delete(h, headerForwarded)
	delete(h, headerSignature)
}
