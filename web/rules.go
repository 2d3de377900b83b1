package web

import (
	"encoding/json"
	"net/http"

	"partyline/rule"
)

// rules is what the page gets to know of a namespace: what its clients find out by trying.
type rules struct {
	Connect  string    `json:"connect"`
	Rooms    []string  `json:"rooms"`
	AutoJoin []string  `json:"auto_join"`
	Relay    []relay   `json:"relay"`
	Recovery float64   `json:"recovery"` // seconds; 0: there is none
	Rewind   []rewind  `json:"rewind"`
	Presence *presence `json:"presence,omitempty"`
}

type relay struct {
	Event string `json:"event"`
	To    string `json:"to"`
	Self  bool   `json:"self"`
}

type rewind struct {
	Room     string `json:"room"`
	Messages int    `json:"messages"`
}

type presence struct {
	Rooms []string `json:"rooms"`
	Event string   `json:"event"`
}

// serveRules responds with the rules of the namespace that the query names, or null if it is not declared. It lists no namespaces: a reader gets those
// that it knows.
func (p *page) serveRules(w http.ResponseWriter, r *http.Request) {
	if !allowRead(w, r) {
		return
	}
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Type", "application/json")
	declared := p.Rules(r.URL.Query().Get("namespace"))
	if declared == nil {
		_, _ = w.Write([]byte("null")) // a browser would complain of a 404
		return
	}
	out := rules{
		Connect: declared.Connect, Rooms: append([]string{}, declared.Rooms...), AutoJoin: append([]string{}, declared.AutoJoin...),
		Relay: []relay{}, Rewind: []rewind{}, Recovery: declared.Recovery.For.Seconds(),
	}
	if declared.AsksService() {
		out.Connect = rule.ConnectService
	}
	for _, each := range declared.Relay {
		out.Relay = append(out.Relay, relay(each))
	}
	for _, each := range declared.Rewind {
		out.Rewind = append(out.Rewind, rewind{each.Room, each.Messages})
	}
	if declared.Presence.IsOn() {
		out.Presence = &presence{declared.Presence.Rooms, declared.Presence.Event}
	}
	_ = json.NewEncoder(w).Encode(out) // an error is the client's: it has gone
}
