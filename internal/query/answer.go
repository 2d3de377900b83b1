package query

import (
	"maps"
	"slices"

	"partyline/subjects"
	"partyline/wire/msg"
)

// countRooms answers with the number of members of each room.
func countRooms(query *Query, w *writer) {
	members, sockets := make(map[string]int), 0
	query.Sockets.Look(true, func(_ int, v View) {
		sockets++
		for _, token := range v.Rooms {
			members[token]++
		}
	})
	if query.Single && sockets == 0 {
		query.Fail(ErrGone)
		return
	}
	w.begin(query, sockets)
	for _, token := range slices.Sorted(maps.Keys(members)) {
		if w.isClosed() {
			return
		}
		name, _ := subjects.Room(token) // the edge's own token
		w.add(msg.RoomElement(name, members[token]))
	}
	w.publish(true)
}

// listSockets answers with an object for each socket.
func listSockets(query *Query, w *writer) {
	type placed struct {
		place int
		View
	}
	isFetch := query.Verb == subjects.VerbFetch
	views := make([]placed, 0, query.Sockets.Len())
	query.Sockets.Look(isFetch, func(place int, v View) { views = append(views, placed{place, v}) })
	if query.Single && len(views) == 0 {
		query.Fail(ErrGone)
		return
	}
	w.begin(query, len(views))
	for i := range views {
		if w.isClosed() {
			return
		}
		v := &views[i]
		socket := msg.FetchedSocket{ID: v.ID, Namespace: v.Namespace, User: v.User, Data: v.Data}
		if !isFetch {
			w.add(socket.DataElement())
			continue
		}
		socket.Handshake = query.Sockets.Handshake(v.place)
		for _, token := range v.Rooms {
			name, _ := subjects.Room(token) // the edge's own token
			socket.Rooms = append(socket.Rooms, name)
		}
		w.add(socket.Element(w.parts.Room(w.largest())))
	}
	w.publish(true)
}
