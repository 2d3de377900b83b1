package edge

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

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

	at         int // the next element to write
	head, tail string
	part       []byte
	number     int // parts sent
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
	e.out.Do(func() { // behind what owners are told
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
		e.out.AfterSubscribedOrOffline(e.answerInquiries)
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
	e.out.AfterSubscribedOrOffline(e.answerInquiries)
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
		q.begin(e.answerBody(n), n)
	}
	largest := e.bus.MaxPayload() - messageMargin
	limit := min(msg.MaxPartBytes, largest)
	for ; q.at < max(len(q.views), len(q.names)); q.at++ {
		element := e.element(q, largest-len(q.head)-len(q.tail))
		if len(q.part) > len(q.head) {
			if len(q.part)+1+len(element)+len(q.tail) > limit {
				return cost + len(q.part), e.sendPart(q, false) // the element is made anew in the next round
			}
			q.part = append(q.part, ',')
		}
		q.part = append(q.part, element...)
	}
	return cost + len(q.part), e.sendPart(q, true)
}

// begin says what all parts of the answer begin and end with. first is the array of the first element.
func (q *inquiry) begin(first []byte, n int) {
	q.head, q.tail = string(first[:len(first)-1]), "]"
	switch {
	case q.verb == subjects.VerbRooms:
		q.head, q.tail = q.head+",{", "}]"
		q.names = slices.Sorted(maps.Keys(q.counts))
	case n > 0:
		q.head += ","
	}
	q.part = []byte(q.head)
}

// sendPart publishes what has been written, and returns last.
func (e *Edge) sendPart(q *inquiry, last bool) bool {
	q.number++
	var header bus.Header
	if !last || q.number > 1 {
		header = bus.Header{msg.HeaderPart: {msg.Part(q.number, last)}}
	}
	e.answer(&q.asked, header, append(q.part, q.tail...))
	q.part = nil // the bus has it
	if !last {
		q.part = []byte(q.head)
	}
	return last
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
		v.rooms = make([]string, len(s.rooms))
		for i, m := range s.rooms {
			v.rooms[i] = m.room.name
		}
	}
	q.views = append(q.views, v)
}

// element is the next element of an answer: the object of a socket, which has at most so many bytes, or a room's member.
func (e *Edge) element(q *inquiry, largest int) []byte {
	switch q.verb {
	case subjects.VerbRooms:
		token := q.names[q.at]
		name, _ := subjects.Room(token) // our own token
		return strconv.AppendInt(append(msg.AppendString(nil, name), ':'), int64(q.counts[token]), 10)
	case subjects.VerbData:
		v := &q.views[q.at]
		return append(appendData(msg.AppendString([]byte(`{"id":`), v.socket.id), v.data), '}')
	}
	v := &q.views[q.at]
	object := appendFetched(nil, v, v.rooms, v.socket.conn.handshake(nil, v.socket), false)
	// A client can make both as large as NATS cannot take; nobody should lose the answer for that.
	if len(object) > largest {
		object = appendFetched(object[:0], v, v.rooms, []byte("{}"), true)
	}
	if len(object) > largest {
		object = appendFetched(object[:0], v, nil, []byte("{}"), true)
	}
	return object
}

// appendFetched appends what fetch tells of a socket.
func appendFetched(dst []byte, v *view, rooms []string, handshake []byte, incomplete bool) []byte {
	dst = msg.AppendString(append(dst, `{"id":`...), v.socket.id)
	dst = msg.AppendString(append(dst, `,"namespace":`...), v.socket.ns.name)
	dst = append(dst, `,"rooms":[`...)
	for i, token := range rooms {
		if i > 0 {
			dst = append(dst, ',')
		}
		name, _ := subjects.Room(token) // our own token
		dst = msg.AppendString(dst, name)
	}
	dst = append(dst, ']')
	if v.user != "" {
		dst = msg.AppendString(append(dst, `,"user":`...), v.user)
	}
	dst = append(append(appendData(dst, v.data), `,"handshake":`...), handshake...)
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

// answerBody is the answer that tells for how many sockets something holds.
func (e *Edge) answerBody(sockets int) []byte {
	return fmt.Appendf(nil, `[{"edge":"%s","sockets":%d}]`, e.id, sockets)
}

// answerable says whether there is somebody to answer to. A question that has nobody is dropped and counted.
func (e *Edge) answerable(m *bus.Message) bool {
	if m.Reply == "" {
		e.drop(m, dropNoReply, errNobodyAsks)
		return false
	}
	return !e.withheld(m)
}
