package query

import (
	"maps"
	"slices"
	"strconv"

	"partyline/subjects"
	"partyline/wire/msg"
)

// answer answers one query.
func (q *Queue) answer(query *Query, w *writer) {
	if query.Verb == subjects.VerbRooms {
		q.countRooms(query, w)
	} else {
		q.listSockets(query, w)
	}
}

// countRooms answers with the number of members of each room.
func (q *Queue) countRooms(query *Query, w *writer) {
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
	w.begin(query, openAnswer(q.edge, sockets)+",{", "}]")
	for _, token := range slices.Sorted(maps.Keys(members)) {
		if w.closed {
			return
		}
		name, _ := subjects.Room(token) // the edge's own token
		w.add(strconv.AppendInt(append(msg.AppendString(nil, name), ':'), int64(members[token]), 10))
	}
	w.publish(true)
}

// listSockets answers with an object for each socket.
func (q *Queue) listSockets(query *Query, w *writer) {
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
	head := openAnswer(q.edge, len(views))
	if len(views) > 0 {
		head += ","
	}
	w.begin(query, head, "]")
	for i := range views {
		if w.closed {
			return
		}
		if v := &views[i]; isFetch {
			w.add(fetched(&v.View, query.Sockets.Handshake(v.place), w.largest()))
		} else {
			w.add(append(appendData(msg.AppendString([]byte(`{"id":`), v.ID), v.Data), '}'))
		}
	}
	w.publish(true)
}

// openAnswer is an answer without its end: the array with the element that counts the sockets.
func openAnswer(edge string, sockets int) string {
	return `[{"edge":"` + edge + `","sockets":` + strconv.Itoa(sockets) + "}"
}

// fetched is the object of a socket in the answer to a fetch, of at most largest bytes: a client can make its handshake and rooms
// larger than NATS takes, and the others must not be lost for that.
func fetched(v *View, handshake []byte, largest int) []byte {
	object := appendFetched(nil, v, v.Rooms, handshake, false)
	if len(object) > largest {
		object = appendFetched(object[:0], v, v.Rooms, []byte("{}"), true)
	}
	if len(object) > largest {
		object = appendFetched(object[:0], v, nil, []byte("{}"), true)
	}
	return object
}

// appendFetched appends the object of a socket. incomplete marks one from which something was left out.
func appendFetched(dst []byte, v *View, rooms []string, handshake []byte, incomplete bool) []byte {
	dst = msg.AppendString(append(dst, `{"id":`...), v.ID)
	dst = msg.AppendString(append(dst, `,"namespace":`...), v.Namespace)
	dst = append(dst, `,"rooms":[`...)
	for i, token := range rooms {
		if i > 0 {
			dst = append(dst, ',')
		}
		name, _ := subjects.Room(token) // the edge's own token
		dst = msg.AppendString(dst, name)
	}
	dst = append(dst, ']')
	if v.User != "" {
		dst = msg.AppendString(append(dst, `,"user":`...), v.User)
	}
	dst = append(append(appendData(dst, v.Data), `,"handshake":`...), handshake...)
	if incomplete {
		dst = append(dst, `,"incomplete":true`...)
	}
	return append(dst, '}')
}

// appendData appends the member data.
func appendData(dst, data []byte) []byte {
	if data == nil {
		data = []byte("{}")
	}
	return append(append(dst, `,"data":`...), data...)
}
