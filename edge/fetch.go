package edge

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"

	"partyline/bus"
	"partyline/subjects"
	"partyline/wire/msg"
)

// Bounds of fetch, data and rooms, which are answered one after the other.
const (
	// maxInquired bounds the sockets that inquiries under way are about; inquiryWeight is what an inquiry costs besides.
	maxInquired   = 1 << 20
	inquiryWeight = 16
	// lookChunk is how many sockets and rooms are looked at while Edge.mu is held.
	lookChunk = 4096
	// roundBytes is how much is answered in one round of the worker, which has more to do; a socket that is looked at
	// costs as much as socketBytes.
	roundBytes  = 1 << 20
	socketBytes = 100
	// messageMargin is what the headers of an answer take of a NATS message, at the most.
	messageMargin = 1 << 10
)

// errTooManyInquiries is the answer to a fetch, data or rooms when too many wait.
var errTooManyInquiries = errors.New("too many questions under way")

// inquiry is a fetch, a rooms, or a data that gets, under way. It is owned by the worker.
type inquiry struct {
	asked   bus.Message // static; without header and body
	verb    string      // static
	single  bool        // the target is one socket; static
	sockets []*socket   // of the target; static

	looked bool
	views  []view         // for fetch and data
	counts map[string]int // for rooms: members by name in subjects
	names  []string       // for rooms: the keys of counts

	at    int // the next element to write
	parts *msg.Parts
}

// view is a socket as it was when it was looked at.
type view struct {
	socket *socket
	rooms  []string // names in subjects
	user   string
	data   []byte
}

// handleInquiry acts on fetch, data and rooms.
func (e *Edge) handleInquiry(m *bus.Message, sub *subjects.Subject) {
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
		e.inquire(&inquiry{asked: bus.Message{Subject: m.Subject, Reply: m.Reply}, verb: sub.Verb, single: single, sockets: sockets})
		return
	}
	n := e.setAll(sockets, object)
	if single && n == 0 {
		e.answerError(m, errGone.Error())
		return
	}
	asked := *m
	e.later(func() { // behind what owners are told
		answer := e.answerBody(n)
		if single {
			answer = e.changeAnswer(single, sockets)
		}
		e.answer(&asked, nil, answer)
	})
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

// setData replaces what services keep with a socket: the one place where that changes after the admission. It says no for
// a socket that is not admitted yet, or has gone. Needs mu.
func (e *Edge) setData(s *socket, object []byte) bool {
	if s.index < 0 {
		return false
	}
	s.data = object
	e.changed(s)
	return true
}

// inquire lets the worker answer an inquiry when its turn comes.
func (e *Edge) inquire(q *inquiry) {
	weight := len(q.sockets) + inquiryWeight
	e.mu.Lock()
	if len(e.inquiries) > 0 && e.inquired+weight > maxInquired {
		e.mu.Unlock()
		e.answerError(&q.asked, errTooManyInquiries.Error())
		return
	}
	first := len(e.inquiries) == 0
	e.inquiries = append(e.inquiries, q)
	e.inquired += weight
	e.mu.Unlock()
	if first {
		e.later(e.answerInquiries)
	}
}

// answerInquiries answers what was asked, as much as fits into one round of the worker.
func (e *Edge) answerInquiries() {
	for left := roundBytes; left > 0; {
		e.mu.Lock()
		q := e.inquiries[0] // only this function takes one away, and it ends with the last
		e.mu.Unlock()
		cost, done := e.advance(q)
		left -= cost
		if !done {
			continue
		}
		e.mu.Lock()
		e.inquired -= len(q.sockets) + inquiryWeight
		e.inquiries[0] = nil
		e.inquiries = e.inquiries[1:]
		last := len(e.inquiries) == 0
		if last {
			e.inquiries = nil
		}
		e.mu.Unlock()
		if last {
			return
		}
	}
	e.later(e.answerInquiries)
}

// advance brings an inquiry on by one message at the most. It returns what that cost, in bytes, and whether it was the last.
func (e *Edge) advance(q *inquiry) (cost int, done bool) {
	if !q.looked {
		q.looked = true
		cost = inquiryWeight*socketBytes + len(q.sockets)*socketBytes
		n := e.look(q)
		if q.single && n == 0 { // it went meanwhile, or is not admitted
			e.answerError(&q.asked, errGone.Error())
			return cost, true
		}
		q.names = slices.Sorted(maps.Keys(q.counts))
		q.parts = msg.NewParts(msg.Answer{Edge: e.id, Sockets: n}, q.verb == subjects.VerbRooms, min(msg.MaxPartBytes, e.largestAnswer()))
	}
	for ; q.at < max(len(q.views), len(q.names)); q.at++ {
		if !q.parts.Add(e.element(q, q.parts.Room(e.largestAnswer()))) {
			return cost + e.sendPart(q, false), false // the element is made again in the next round
		}
	}
	return cost + e.sendPart(q, true), true
}

// largestAnswer is the most bytes that the body of an answer may have.
func (e *Edge) largestAnswer() int { return e.bus.MaxPayload() - messageMargin }

// sendPart publishes what has been written, and returns its size.
func (e *Edge) sendPart(q *inquiry, last bool) int {
	body, part := q.parts.Finish(last)
	var header bus.Header
	if part != "" {
		header = bus.Header{msg.HeaderPart: {part}}
	}
	e.answer(&q.asked, header, body)
	return len(body)
}

// look takes down how the sockets are now, and returns how many are there.
func (e *Edge) look(q *inquiry) (n int) {
	if q.verb == subjects.VerbRooms {
		q.counts = make(map[string]int)
	} else {
		q.views = make([]view, 0, len(q.sockets))
	}
	for i := 0; i < len(q.sockets); {
		e.mu.Lock()
		for work := lookChunk; i < len(q.sockets) && work > 0; i++ {
			s := q.sockets[i]
			work -= 1 + len(s.rooms)
			if s.index < 0 {
				continue
			}
			n++
			q.note(s)
		}
		e.mu.Unlock()
	}
	return n
}

// note takes down one socket. Needs Edge.mu.
func (q *inquiry) note(s *socket) {
	if q.verb == subjects.VerbRooms {
		for _, m := range s.rooms {
			q.counts[m.room.name]++
		}
		return
	}
	v := view{socket: s, user: s.user, data: s.data}
	if q.verb == subjects.VerbFetch {
		v.rooms = s.roomTokens()
	}
	q.views = append(q.views, v)
}

// element is the next element of an answer: the object of a socket, which has at most so many bytes, or a room's member.
func (e *Edge) element(q *inquiry, largest int) []byte {
	if q.verb == subjects.VerbRooms {
		token := q.names[q.at]
		name, _ := subjects.Room(token) // our own token
		return msg.RoomElement(name, q.counts[token])
	}
	v := &q.views[q.at]
	f := msg.FetchedSocket{ID: v.socket.id, Namespace: v.socket.ns.name, User: v.user, Data: v.data}
	if q.verb == subjects.VerbData {
		return f.DataElement()
	}
	f.Rooms, f.Handshake = roomNames(v.rooms), v.socket.conn.handshake(v.socket)
	return f.Element(largest)
}

// answerBody is the answer that tells for how many sockets something holds.
func (e *Edge) answerBody(sockets int) []byte {
	return msg.Answer{Edge: e.id, Sockets: sockets}.Body()
}

// answerable says whether there is somebody to answer to. A question that has nobody is dropped and counted.
func (e *Edge) answerable(m *bus.Message) bool {
	if m.Reply == "" {
		e.drop(m, dropNoReply, errNobodyAsks)
		return false
	}
	return !e.withheld(m)
}
