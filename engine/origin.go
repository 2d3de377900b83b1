package engine

import (
	"context"
	"log/slog"
	"maps"
	"net/http"

	"partyline/internal/origin"
)

// Peer is the sender of a request, behind trusted proxies.
type Peer = origin.Peer

type peerKey struct{}

// WithPeer returns r with the client that another edge, which has passed the request on, has seen. It replaces
// everything in the request itself about its sender.
func WithPeer(r *http.Request, p Peer) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), peerKey{}, p))
}

// Peer returns the sender of a request: that of WithPeer, or the one that the request itself and trusted proxies show.
func (s *Server) Peer(r *http.Request) Peer {
	if p, passedOn := r.Context().Value(peerKey{}).(Peer); passedOn {
		return p
	}
	return s.set().TrustedProxies.Peer(r)
}

// FromTrustedProxy reports whether the connection of a request comes from one of the trusted proxies' addresses.
func (s *Server) FromTrustedProxy(r *http.Request) bool { return s.set().TrustedProxies.Sent(r) }

// WriteCORS adds the headers of cross-origin requests to a response, also to one that is not Engine.IO's.
func (s *Server) WriteCORS(w http.ResponseWriter, r *http.Request) {
	maps.Copy(w.Header(), s.set().origins.Headers(origin.Of(r)))
}

// maxLoggedOrigin is how many bytes of a refused origin are logged.
const maxLoggedOrigin = 200

// logRefused logs a request of a page that may not connect, once a minute for each origin.
func (s *Server) logRefused(r *http.Request, p Peer) {
	text := origin.Of(r)
	text = text[:min(len(text), maxLoggedOrigin)]
	proxy := ""
	if !s.FromTrustedProxy(r) && origin.IsForwarded(r.Header) {
		proxy = origin.RemoteIP(r.RemoteAddr)
	}
	line, args := origin.Remedy(text, p, proxy)
	s.complaints.Log(slog.LevelWarn, line, text, "", args...)
}
