package engine

import (
	"net/http"
	"slices"
	"strconv"

	"github.com/gorilla/websocket"

	"partyline/wire/eio"
)

// isUpgrade reports whether a request asks for a WebSocket. A server without WebSockets takes an upgrade for a plain
// request, as Node does.
func (s *Server) isUpgrade(r *http.Request) bool {
	return websocket.IsWebSocketUpgrade(r) && slices.Contains(s.set().Transports, transportNames[kindWebSocket])
}

// Refuse answers a request that was rejected in front of the server, as the server answers bad ones, and counts it
// with them.
func (s *Server) Refuse(w http.ResponseWriter, r *http.Request, why eio.Refusal) {
	s.WriteCORS(w, r)
	s.refuse(w, why, s.isUpgrade(r))
}

// refuse answers a request that breaks the rules: JSON for plain HTTP, and for an upgrade a plain 400 with the message
// (engine.io, server.ts: abortRequest, abortUpgrade).
func (s *Server) refuse(w http.ResponseWriter, why eio.Refusal, isUpgrade bool) {
	s.stats.refused[why].Inc()
	if isUpgrade {
		refuseUpgrade(w, why.Message())
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(why.Status())
	_, _ = w.Write(eio.AppendRefusal(nil, why))
}

// refuseUpgrade answers an upgrade with 400. CORS does not apply to it.
func refuseUpgrade(w http.ResponseWriter, message string) {
	clear(w.Header())
	w.Header().Set("Connection", "close")
	w.Header().Set("Content-Type", "text/html")
	w.Header().Set("Content-Length", strconv.Itoa(len(message)))
	w.WriteHeader(http.StatusBadRequest)
	_, _ = w.Write([]byte(message))
}
