package edge

import (
	"encoding/json"
	"errors"
	"slices"

	"partyline/bus"
	"partyline/edge/query"
	"partyline/subjects"
	"partyline/wire/msg"
)

// lookChunk is how many sockets and rooms are looked at while Edge.mu is held.
const lookChunk = 4096

// errNoReply is logged of a query or ask without a reply subject.
var errNoReply = errors.New("a question without a reply subject: no subscriber would receive the answer")

// handleQuery acts on fetch, data and rooms.
func (e *Edge) handleQuery(m *bus.Message, sub *subjects.Subject) {
	var object json.RawMessage
	var err error
	if sub.Verb == subjects.VerbData {
		object, err = msg.Data(m.Data)
	} else {
		err = msg.Question(m.Data)
	}
	if err != nil {
		e.drop(m, dropBadBody, err)
		e.answerError(m, err.Error())
		return
	}
	if object == nil && !e.answerable(m) {
		return
	}
	e.stats.commanded.Inc()
	sockets, found := e.subjectsOf(m, sub)
	if !found {
		e.drop(m, dropUnknownSocket, nil)
		e.answerError(m, errGone.Error())
		return
	}
	single := sub.Target == subjects.TargetSocket
	if object == nil {
		e.query(m, sub.Verb, single, sockets)
		return
	}
	n := e.setAll(sockets, object)
	if single && n == 0 {
		e.answerError(m, errGone.Error())
		return
	}
	asked := *m
	e.out.Do(func() { // behind the notices to owners
		answer := e.answerBody(n)
		if single {
			answer = e.changeAnswer(single, sockets)
		}
		e.answer(&asked, nil, answer)
	})
}

// query queues a query.
func (e *Edge) query(m *bus.Message, verb string, single bool, sockets []*socket) {
	asked := &bus.Message{Subject: m.Subject, Reply: m.Reply}
	fail := func(err error) { e.answerError(asked, err.Error()) }
	err := e.queries.Add(&query.Query{
		Verb: verb, Single: single, Sockets: queried{e, sockets}, Fail: fail,
		Answer: func(part string, body []byte) {
			var header bus.Header
			if part != "" {
				header = bus.Header{msg.HeaderPart: {part}}
			}
			e.answer(asked, header, body)
		},
	})
	if err != nil {
		fail(err)
	}
}

// queried are the sockets of a query.
type queried struct {
	edge *Edge
	list []*socket // static
}

func (q queried) Len() int { return len(q.list) }

func (q queried) Handshake(place int) []byte {
	s := q.list[place]
	return s.conn.handshake(s)
}

func (q queried) Look(rooms bool, note func(int, query.View)) {
	for i := 0; i < len(q.list); {
		q.edge.mu.Lock()
		for work := lookChunk; i < len(q.list) && work > 0; i++ {
			s := q.list[i]
			work -= 1 + len(s.rooms)
			if s.index < 0 {
				continue
			}
			v := query.View{ID: s.id, Namespace: s.ns.name, User: s.user, Data: s.data}
			if rooms {
				v.Rooms = s.roomTokens()
			}
			note(i, v)
		}
		q.edge.mu.Unlock()
	}
}

// setAll sets the data of sockets and returns of how many.
func (e *Edge) setAll(sockets []*socket, object []byte) (n int) {
	for chunk := range slices.Chunk(sockets, lookChunk) {
		e.mu.Lock()
		for _, s := range chunk {
			if e.setData(s, object) {
				n++
			}
		}
		e.mu.Unlock()
	}
	return n
}

// setData replaces what services keep with a socket: the only place where that changes after the admission. It returns false for
// a socket that is not admitted yet, or has gone. mu must be held.
func (e *Edge) setData(s *socket, object []byte) bool {
	if s.index < 0 {
		return false
	}
	s.data = object
	e.changed(s)
	return true
}

// answerBody is the answer to a command that took effect for a number of sockets.
func (e *Edge) answerBody(sockets int) []byte {
	return msg.Answer{Edge: e.id, Sockets: sockets}.Body()
}

// answerable reports whether a query or ask has a reply subject that may be answered. If not, it is dropped and counted.
func (e *Edge) answerable(m *bus.Message) bool {
	if m.Reply == "" {
		e.drop(m, dropNoReply, errNoReply)
		return false
	}
	return !e.withheld(m)
}
