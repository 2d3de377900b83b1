package adminui

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"partyline/backend"
)

const (
	// maxAtOnce bounds what a page gets at once, in bytes. More follows in half a second: an edge closes a session for which
	// too much waits.
	maxAtOnce = 512 << 10
	// maxFirst bounds the first list of sockets, in bytes: it is one message.
	maxFirst = 256 << 10
)

// picture is the sockets of all namespaces.
type picture map[socketKey]*state

type socketKey struct{ namespace, id string }

// state is a socket as pages show it. It does not change.
type state struct {
	text   json.RawMessage // all of it
	rooms  []string        // sorted
	issued time.Time       // when the client asked for it
	update map[string]any  // what may change beside the rooms
}

// hiddenHeaders are those of a handshake that open something. Auth is not shown at all.
var hiddenHeaders = []string{"authorization", "cookie", "proxy-authorization"}

// newState returns a socket in the form of the Admin UI's SerializedSocket.
func newState(namespace string, s *backend.Snapshot) *state {
	h := &s.Handshake
	for _, name := range hiddenHeaders {
		delete(h.Headers, name)
	}
	if h.Headers == nil {
		h.Headers = map[string]string{} // the page lists them
	}
	if h.Query == nil {
		h.Query = map[string]string{}
	}
	slices.Sort(s.Rooms)
	is := &state{rooms: append([]string{}, s.Rooms...), issued: time.UnixMilli(h.Issued)}
	is.update = map[string]any{"id": s.ID, "nsp": namespace, "transport": h.Transport, "data": s.Data}
	all := map[string]any{"clientId": cmp.Or(h.Session, s.ID), "rooms": is.rooms, "handshake": map[string]any{
		"address": h.Address, "headers": h.Headers, "query": h.Query, "issued": h.Issued, "secure": h.Secure, "time": h.Time, "url": h.URL,
		"xdomain": h.XDomain,
	}}
	maps.Copy(all, is.update)
	is.text, _ = json.Marshal(all) // of strings, numbers and valid JSON
	return is
}

func (s *state) equals(other *state) bool { return bytes.Equal(s.text, other.text) }

// page is a page of the Admin UI that is open, and what it shows. Its watch's mu guards it.
type page struct {
	socket   *backend.Socket
	features []string // that it has been sent; nil: none yet
	shown    picture
}

// update sends the page what it does not show yet, as much as may be sent at once. The error is that of Emit; what has not
// been sent is sent by a later call.
func (p *page) update(truth picture, features []string, now time.Time) error {
	if !slices.Equal(p.features, features) {
		if err := p.begin(truth, features); err != nil {
			return err
		}
	}
	for key, was := range p.shown {
		if truth[key] != nil {
			continue
		}
		if err := p.gone(key, was, now); err != nil {
			return err
		}
		delete(p.shown, key)
	}
	rest := maxAtOnce
	for key, is := range truth {
		was := p.shown[key]
		if was == is {
			continue
		}
		if rest -= len(is.text); rest < 0 {
			return nil
		}
		if err := p.change(key, was, is, now); err != nil {
			return err
		}
		p.shown[key] = is
	}
	return nil
}

// begin sends the page its features, and the first sockets. It forgets what it has shown before.
func (p *page) begin(truth picture, features []string) error {
	if err := p.socket.Emit("config", map[string]any{"supportedFeatures": features}); err != nil {
		return err
	}
	shown, first, rest := make(picture), []json.RawMessage{}, maxFirst
	for key, is := range truth {
		if rest -= len(is.text); rest < 0 {
			break
		}
		shown[key], first = is, append(first, is.text)
	}
	if err := p.socket.Emit("all_sockets", first); err != nil {
		return err
	}
	p.shown, p.features = shown, features
	return nil
}

// change shows how a socket is; was is how it is shown, nil if it is not.
func (p *page) change(key socketKey, was, is *state, now time.Time) error {
	if was != nil && !was.issued.Equal(is.issued) { // its client has come back
		if err := p.gone(key, was, now); err != nil {
			return err
		}
		was = nil
	}
	if was == nil {
		return p.socket.Emit("socket_connected", is.text, is.issued)
	}
	return cmp.Or(p.move(key, was.rooms, is.rooms, now), p.socket.Emit("socket_updated", is.update))
}

// move shows that a socket has left rooms, and joined others.
func (p *page) move(key socketKey, was, is []string, now time.Time) (err error) {
	for _, room := range was {
		if !slices.Contains(is, room) {
			err = cmp.Or(err, p.socket.Emit("room_left", key.namespace, room, key.id, now))
		}
	}
	for _, room := range is {
		if !slices.Contains(was, room) {
			err = cmp.Or(err, p.socket.Emit("room_joined", key.namespace, room, key.id, now))
		}
	}
	return err
}

// gone shows that a socket is no longer there. Pages get no reason: edges were asked, and a dead one has none.
func (p *page) gone(key socketKey, was *state, now time.Time) error {
	return cmp.Or(p.move(key, was.rooms, nil, now), p.socket.Emit("socket_disconnected", key.namespace, key.id, "gone", now))
}
