package edge

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"partyline/bus"
	"partyline/edge/registry"
	"partyline/engine"
	"partyline/internal/share"
	"partyline/internal/tally"
	"partyline/subjects"
	"partyline/wire/msg"
	"partyline/wire/sio"
)

// maxAsked bounds the acks that are waited for, all asks together: one costs a pointer with its socket and one in the
// list of its question, so the whole table stays below 10 MB. An edge with more sockets cannot be asked in one go.
// Answers that wait to be published count, too: if NATS is slow, the acks of one crowd must not push out those of
// another. Namespaces share it: each may have half of what the others leave.
const maxAsked = 1 << 18

// askChunk is how many sockets the bus's worker answers for before it does other things: those answers then find room
// among what waits to be published.
const askChunk = 1000

// Errors of asks, as services read them.
var (
	errTooManyAsks = errors.New("too many asks under way")
	errNoAnswer    = errors.New("no answer")
)

// asks delivers events whose acks go to who asked. handle is called by the NATS reader alone, ack by readers of
// clients.
type asks struct {
	*commands
	deliveries *deliveries
	up         bus.Publisher // for readers of clients
	waiting    func() int    // answers that wait to be published
	last       uint64        // owned by the NATS reader: the ack id of the latest ask

	awaited                         *share.Table // by namespace, as in subjects
	asked, refused, passed, expired tally.Counter
}

// handle delivers an event whose acks go to the reply subject.
func (a *asks) handle(m *bus.Message, sub *subjects.Subject) {
	if !a.mayAnswer(m) {
		return
	}
	timeout, err := msg.AskTimeout(m.Header.Get(msg.HeaderTimeout))
	if err != nil {
		a.reject(m, dropBadBody, err)
		return
	}
	text, attachments, err := a.deliveries.content(m, true)
	if err != nil {
		a.refuseEvent(m, err)
		return
	}
	sockets, found := a.targets.of(m, sub)
	switch {
	case !found:
		a.rejectUnknown(m, sub.Socket)
		return
	case !a.awaited.Take(sub.Namespace, len(sockets), a.waiting()):
		a.refused.Inc()
		a.fail(m, errTooManyAsks)
		return
	}
	a.last++
	q := &question{id: a.last, reply: m.Reply, many: sub.Target != subjects.TargetSocket, sockets: sockets, left: len(sockets)}
	p := packet{kind: sio.Event, hasID: true, id: q.id, body: text, attachments: attachments, options: options(m.Header)}
	if len(sockets) > 0 {
		p.namespace = sockets[0].Namespace.Name
		if err := p.encodeFor(sockets, a.deliveries.limits.Load().QueueBytes); err != nil {
			a.awaited.Add(sub.Namespace, -len(sockets))
			a.refuseEvent(m, err)
			return
		}
	}
	a.asked.Inc()
	if q.many { // before the first ack, which is published the same way
		header := bus.Header{msg.HeaderExpect: {strconv.Itoa(len(sockets))}}
		a.out.Later(bus.Letter{Subject: q.reply, Header: header, Body: a.body(len(sockets))})
	}
	a.deliver(q, &p, timeout)
}

// refuseEvent answers an ask whose event may not go to clients.
func (a *asks) refuseEvent(m *bus.Message, err error) {
	a.complaints.drop(m, dropBadBody, err)
	a.fail(m, fmt.Errorf("bad event: %w", err))
}

// deliver asks the sockets of a question, for which the packet has been encoded.
func (a *asks) deliver(q *question, p *packet, timeout time.Duration) {
	if len(q.sockets) == 0 {
		return
	}
	a.stats.eventsOut.Inc()
	for _, s := range q.sockets {
		c := s.Edge.conn
		c.mu.Lock()
		gone := s.Life() == registry.Gone
		if !gone { // else its end would not find the question
			s.Edge.asked = append(s.Edge.asked, q)
		}
		c.mu.Unlock()
		switch {
		case gone:
			a.answered(q)
			a.answerFor(q, s, errUnknownSocket)
		case a.deliveries.deliver(s, p.frames[c.dialect]) == engine.Dropped && a.remove(s, q.id) != nil: // volatile: the client never gets it
			a.answerFor(q, s, errNoAnswer)
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.left > 0 && timeout > 0 {
		q.timer = time.AfterFunc(timeout, func() { a.out.Do(func() { a.expire(q, 0) }) })
	}
}

// remove removes a question from the list of a socket that was asked it. It returns nil if the socket does not owe it
// an answer, or has been answered for.
func (a *asks) remove(s *socket, id uint64) *question {
	c := s.Edge.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	asked := s.Edge.asked
	// Questions are asked in the order of their ids. There may be many, and ids may be made up.
	i, found := slices.BinarySearchFunc(asked, id, func(q *question, id uint64) int { return cmp.Compare(q.id, id) })
	if !found {
		return nil
	}
	q := asked[i]
	if s.Edge.asked = slices.Delete(asked, i, i+1); len(s.Edge.asked) == 0 {
		s.Edge.asked = nil
	}
	a.answered(q)
	return q
}

// answered counts a socket that has been answered for.
func (a *asks) answered(q *question) {
	a.awaited.Add(q.sockets[0].Namespace.Token, -1)
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.left--; q.left == 0 && q.timer != nil {
		q.timer.Stop()
	}
}

// ack passes on an ack of a client. One that no ask waits for is ignored, as by the reference.
func (a *asks) ack(s *socket, p sio.Packet, attachments [][]byte) {
	if !p.HasID {
		return
	}
	q := a.remove(s, p.ID)
	if q == nil {
		return
	}
	body, header := pack(p.Data, attachments)
	if body == nil && header == nil {
		body = []byte("[]")
	}
	a.passed.Inc()
	if q.many { // not published from here, though this goroutine may wait: the ack must not overtake Sio-Expect
		a.out.Later(bus.Letter{Subject: q.reply, Header: withHeader(header, msg.HeaderSocket, s.ID), Body: slices.Clone(body)})
		return
	}
	// In order with the events of the socket, which this goroutine publishes, too.
	if err := a.up.Publish([]byte(q.reply), nil, header, body); err != nil && !errors.Is(err, bus.ErrOffline) {
		a.complaints.about(s.Namespace.Token, "an ack of a client could not be published", err)
	}
}

// answerFor answers for a socket that does not.
func (a *asks) answerFor(q *question, s *socket, why error) {
	header := bus.Header{msg.HeaderError: {why.Error()}}
	if q.many {
		header[msg.HeaderSocket] = []string{s.ID}
	}
	a.out.Later(bus.Letter{Subject: q.reply, Header: header})
}

// expire answers for the sockets that have not, from a place in the list on. It runs on the worker, a chunk at a time.
func (a *asks) expire(q *question, from int) {
	to := min(from+askChunk, len(q.sockets))
	for _, s := range q.sockets[from:to] {
		if a.remove(s, q.id) != nil {
			a.expired.Inc()
			a.answerFor(q, s, errNoAnswer)
		}
	}
	if to < len(q.sockets) {
		a.out.Do(func() { a.expire(q, to) })
	}
}

// abandon answers what a socket that has gone was asked and did not answer. It runs on the worker, a chunk at a time.
func (a *asks) abandon(s *socket) {
	c := s.Edge.conn
	c.mu.Lock()
	n := min(askChunk, len(s.Edge.asked))
	questions := s.Edge.asked[:n]
	s.Edge.asked = s.Edge.asked[n:] // nothing else answers for these
	c.mu.Unlock()
	for _, q := range questions {
		a.answered(q)
		a.answerFor(q, s, errUnknownSocket)
	}
	if n == askChunk {
		a.out.Do(func() { a.abandon(s) })
	}
}

// metrics adds what is counted to a set.
func (a *asks) metrics(set *tally.Set) {
	set.Counter(&a.asked, "asks_total", "Asks over NATS that were put to the sockets here.")
	set.Counter(&a.refused, "asks_refused_total", "Asks refused because their namespace waited for as many acks as it may.")
	set.Func(tally.KindGauge, "asks_awaited", "Acks of clients that asks wait for.", func() float64 { return float64(a.awaited.Used()) })
	set.Counter(&a.passed, "asks_acks_total", "Acks of clients that were passed on to who asked.")
	set.Counter(&a.expired, "asks_expired_total", "Acks of clients that did not come in time.")
}
