package edge

import (
	"errors"
	"slices"
	"strconv"
	"time"

	"partyline/bus"
	"partyline/engine"
	"partyline/subjects"
	"partyline/wire/msg"
	"partyline/wire/sio"
)

// maxAsked bounds the acks that are waited for, all asks together: one costs a pointer with its socket and one in the list
// of its question, so the whole table stays below 10 MB. An edge with more sockets cannot be asked in one go. Answers that
// wait to be published count, too: if NATS is slow, the acks of one crowd must not push out those of another.
const maxAsked = 1 << 18

// askChunk is how many sockets an ask sees to while Edge.mu is held.
const askChunk = 1000

// Errors of asks, as services read them.
var (
	errTooManyAsks = errors.New("too many asks under way")
	errNoAnswer    = errors.New("no answer")
)

// question is an ask whose acks are waited for. There is no table: each socket knows what it was asked, and whoever takes
// the question from the socket's list answers for it, so each is answered for once.
type question struct {
	id      uint64    // the ack id in the packet, the same for all sockets; static
	reply   string    // where the answers go; static
	many    bool      // to a room or to all: answers say which socket they are of; static
	sockets []*socket // who was asked; static

	left  int         // guarded by Edge.mu: sockets that have not been answered for
	timer *time.Timer // guarded by Edge.mu; nil until all have been asked
}

// handleAsk delivers an event whose acks go to the reply subject.
func (e *Edge) handleAsk(m *bus.Message, sub *subjects.Subject) {
	if !e.answerable(m) {
		return
	}
	timeout, err := msg.AskTimeout(m.Header.Get(msg.HeaderTimeout))
	if err != nil {
		e.drop(m, dropBadBody, err)
		e.answerError(m, err.Error())
		return
	}
	text, attachments, err := e.content(m, true)
	if err != nil {
		e.refuseEvent(m, err)
		return
	}
	sockets, found := e.subjectsOf(m, sub)
	switch {
	case !found:
		e.drop(m, dropUnknownSocket, nil)
		e.answerError(m, errGone.Error())
		return
	case len(sockets) > maxAsked-int(e.stats.acksAwaited.Value())-e.bus.Waiting(): // only this goroutine adds to the first
		e.stats.asksRefused.Inc()
		e.answerError(m, errTooManyAsks.Error())
		return
	}
	e.lastAsk++
	q := &question{id: e.lastAsk, reply: m.Reply, many: sub.Target != subjects.TargetSocket, sockets: sockets, left: len(sockets)}
	p := parcel{kind: sio.Event, hasID: true, id: q.id, body: text, attachments: attachments, options: options(m.Header)}
	if len(sockets) > 0 {
		p.namespace = sockets[0].ns.name
		if err := p.encodeFor(sockets, e.set.QueueBytes); err != nil {
			e.refuseEvent(m, err)
			return
		}
	}
	e.stats.asks.Inc()
	if q.many { // before the first ack, which takes the same way
		e.out.Later(bus.Letter{Subject: q.reply, Header: bus.Header{msg.HeaderExpect: {strconv.Itoa(len(sockets))}}, Body: e.answerBody(len(sockets))})
	}
	e.put(q, &p, timeout)
}

// refuseEvent answers an ask whose event may not go to clients.
func (e *Edge) refuseEvent(m *bus.Message, err error) {
	e.drop(m, dropBadBody, err)
	e.answerError(m, "bad event: "+err.Error())
}

// put puts a question to its sockets, for which the parcel has been encoded.
func (e *Edge) put(q *question, p *parcel, timeout time.Duration) {
	if len(q.sockets) == 0 {
		return
	}
	e.stats.eventsOut.Inc()
	e.stats.acksAwaited.Add(len(q.sockets))
	for chunk := range slices.Chunk(q.sockets, askChunk) {
		e.mu.Lock()
		for _, s := range chunk {
			s.asked = append(s.asked, q)
		}
		e.mu.Unlock()
		for _, s := range chunk {
			switch sent := e.deliver(s, p.forms[s.conn.dialect]); {
			case sent == engine.Dropped: // volatile: the client will never hear of it
				e.giveUp(s, q, errNoAnswer)
			case s.state.Load() == gone: // before it was asked; else vanish has taken the question from it
				e.giveUp(s, q, errGone)
			}
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if q.left > 0 {
		q.timer = time.AfterFunc(timeout, func() { e.out.Do(func() { e.expire(q, 0) }) })
	}
}

// take takes a question from a socket that was asked it. It says nil if the socket does not owe it an answer, or has
// been answered for. Needs mu.
func (e *Edge) take(s *socket, id uint64) *question {
	// Questions are put in the order of their ids. There may be many, and ids may be made up.
	i, found := slices.BinarySearchFunc(s.asked, id, func(q *question, id uint64) int {
		switch {
		case q.id < id:
			return -1
		case q.id > id:
			return 1
		}
		return 0
	})
	if !found {
		return nil
	}
	q := s.asked[i]
	if s.asked = slices.Delete(s.asked, i, i+1); len(s.asked) == 0 {
		s.asked = nil
	}
	e.settled(q)
	return q
}

// settled counts a socket that has been answered for. Needs mu.
func (e *Edge) settled(q *question) {
	e.stats.acksAwaited.Add(-1)
	if q.left--; q.left == 0 && q.timer != nil {
		q.timer.Stop()
	}
}

// clientAck takes an ack of a client. One that nobody waits for is ignored, as by the reference.
func (e *Edge) clientAck(s *socket, p sio.Packet, attachments [][]byte) {
	e.stats.acksIn.Inc()
	if !p.HasID {
		return
	}
	e.mu.Lock()
	q := e.take(s, p.ID)
	e.mu.Unlock()
	if q == nil {
		return
	}
	body, header := []byte("[]"), bus.Header{}
	switch {
	case len(attachments) > 0:
		body, header = pack(p.Data, attachments)
	case p.Data != nil:
		body = slices.Clone(p.Data)
	}
	if q.many {
		header[msg.HeaderSocket] = []string{s.id}
	}
	e.stats.acksPassed.Inc()
	// Not published from here, though this goroutine may wait: the ack must not overtake Sio-Expect.
	e.out.Later(bus.Letter{Subject: q.reply, Header: header, Body: body})
}

// fail answers for a socket that does not.
func (e *Edge) fail(q *question, s *socket, why error) {
	header := bus.Header{msg.HeaderError: {why.Error()}}
	if q.many {
		header[msg.HeaderSocket] = []string{s.id}
	}
	e.out.Later(bus.Letter{Subject: q.reply, Header: header})
}

// giveUp answers for a socket that will not, unless that has been done.
func (e *Edge) giveUp(s *socket, q *question, why error) {
	e.mu.Lock()
	waited := e.take(s, q.id) != nil
	e.mu.Unlock()
	if waited {
		e.fail(q, s, why)
	}
}

// expire answers for the sockets that have not, from a place in the list on. It runs on the worker, a chunk at a time, so
// that what it says of many sockets finds room among what waits to be published.
func (e *Edge) expire(q *question, from int) {
	to := min(from+askChunk, len(q.sockets))
	var late []*socket
	e.mu.Lock()
	for _, s := range q.sockets[from:to] {
		if e.take(s, q.id) != nil {
			late = append(late, s)
		}
	}
	e.mu.Unlock()
	e.stats.acksExpired.Add(len(late))
	for _, s := range late {
		e.fail(q, s, errNoAnswer)
	}
	if to < len(q.sockets) {
		e.out.Do(func() { e.expire(q, to) })
	}
}

// abandon answers what a socket that goes has not. Needs mu.
func (e *Edge) abandon(s *socket) {
	if len(s.asked) == 0 {
		return
	}
	questions := s.asked
	s.asked = nil // from now on nobody else answers for it
	e.out.Do(func() { e.failAll(s, questions) })
}

// failAll answers questions to a socket that has gone. It runs on the worker, as expire does.
func (e *Edge) failAll(s *socket, questions []*question) {
	n := min(askChunk, len(questions))
	e.mu.Lock()
	for _, q := range questions[:n] {
		e.settled(q)
	}
	e.mu.Unlock()
	for _, q := range questions[:n] {
		e.fail(q, s, errGone)
	}
	if n < len(questions) {
		e.out.Do(func() { e.failAll(s, questions[n:]) })
	}
}
