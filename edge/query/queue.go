// Package query answers what services ask about the sockets of an edge: fetch, rooms, and a data that gets
// (docs/subjects.md, Queries). The answers may be as long as the edge has sockets, so one goroutine writes them, one query
// after the other, and never has more than a budget of bytes waiting to be published.
package query

import (
	"errors"
	"sync"

	"partyline/subjects"
	"partyline/wire/msg"
)

const (
	// maxSockets bounds the sockets that the queries under way are about. querySockets is what a query itself counts for.
	maxSockets   = 1 << 20
	querySockets = 16
	// budget is how many bytes of answers wait to be published before the goroutine waits, too.
	budget = 1 << 20
	// messageMargin is how much of a NATS message the headers of an answer take at most, in bytes.
	messageMargin = 1 << 10
)

// Errors of queries, as services read them.
var (
	// ErrTooMany is returned by Add when queries about more than a million sockets wait.
	ErrTooMany = errors.New("too many questions under way")
	// ErrGone answers a query about one socket that is not a member of its namespace, or no longer.
	ErrGone = errors.New("unknown socket")
)

// Query is one question of a service.
type Query struct {
	Verb    string                         // subjects.VerbFetch, VerbData or VerbRooms
	Single  bool                           // the target is one socket
	Sockets Sockets                        // of the target
	Answer  func(part string, body []byte) // puts one message of the answer into the outbox; part is the value of Sio-Part, "" for none
	Fail    func(error)                    // answers with an error instead
}

// Sockets are the sockets of a query as the edge knows them. Its methods are called by the queue's goroutine.
type Sockets interface {
	// Len is how many sockets there are.
	Len() int
	// Look calls note for each socket that is a member of its namespace now, with its place and state. Without rooms, View.Rooms
	// is not needed. It holds no lock for longer than a few thousand sockets take.
	Look(rooms bool, note func(place int, v View))
	// Handshake is the handshake of the socket at a place, a JSON object.
	Handshake(place int) []byte
}

// View is a socket as it was when it was looked at.
type View struct {
	ID, Namespace string
	Rooms         []string // names in subjects
	User          string
	Data          []byte // a JSON object; nil for nothing
}

// Queue holds the queries that wait. Its goroutine lives while there are any.
type Queue struct {
	edge       string
	maxPayload func() int
	published  func(fn func()) // calls fn once what was put into the outbox before has been published

	mu      sync.Mutex
	queries []*Query // guarded by mu; the first is being answered
	sockets int      // guarded by mu: what queries count for
	closing chan struct{}
	running sync.WaitGroup
}

// NewQueue makes the queue of an edge. maxPayload is the largest message that NATS takes now, in bytes. published calls back once
// what was put into the outbox before has been published or dropped; it must not block.
func NewQueue(edge string, maxPayload func() int, published func(fn func())) *Queue {
	return &Queue{edge: edge, maxPayload: maxPayload, published: published, closing: make(chan struct{})}
}

// Add queues a query. It never blocks. The error is ErrTooMany; a query that waits alone may be of any size.
func (q *Queue) Add(query *Query) error {
	weight := query.Sockets.Len() + querySockets
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.queries) > 0 && q.sockets+weight > maxSockets {
		return ErrTooMany
	}
	q.queries = append(q.queries, query)
	q.sockets += weight
	if len(q.queries) == 1 {
		q.running.Go(q.run)
	}
	return nil
}

// Close waits until the goroutine has ended. Queries that were not answered are dropped, and Add must not be called any more.
func (q *Queue) Close() {
	close(q.closing)
	q.running.Wait()
}

// run answers queries until there is none.
func (q *Queue) run() {
	w := &writer{queue: q}
	for query := q.next(nil); query != nil && !w.closed; query = q.next(query) {
		q.answer(query, w)
	}
}

// next removes the query that was answered, if any, and returns the one behind it, or nil.
func (q *Queue) next(answered *Query) *Query {
	q.mu.Lock()
	defer q.mu.Unlock()
	if answered != nil {
		q.sockets -= answered.Sockets.Len() + querySockets
		q.queries[0] = nil
		q.queries = q.queries[1:]
	}
	if len(q.queries) == 0 {
		q.queries = nil
		return nil
	}
	return q.queries[0]
}

// writer writes the messages of an answer and waits while too much of them is not published. It is owned by the queue's goroutine.
type writer struct {
	queue   *Queue
	waiting int  // bytes since the outbox was last known to be empty
	closed  bool // the queue is closing: nothing more can be published

	query *Query
	parts *msg.Parts
}

// begin begins the answer to a query about so many sockets.
func (w *writer) begin(query *Query, sockets int) {
	w.query = query
	answer := msg.Answer{Edge: w.queue.edge, Sockets: sockets}
	w.parts = msg.NewParts(answer, query.Verb == subjects.VerbRooms, min(msg.MaxPartBytes, w.largest()))
}

// largest is how many bytes a message can have.
func (w *writer) largest() int { return w.queue.maxPayload() - messageMargin }

// add writes an element, into the next message if this one is full.
func (w *writer) add(element []byte) {
	if !w.parts.Add(element) {
		w.publish(false)
		w.parts.Add(element)
	}
}

// publish puts the message into the outbox, and waits if too much is there.
func (w *writer) publish(last bool) {
	body, part := w.parts.Finish(last)
	w.query.Answer(part, body)
	if w.waiting += len(body); w.waiting < budget {
		return
	}
	w.waiting = 0
	published := make(chan struct{})
	w.queue.published(func() { close(published) })
	select {
	case <-published:
	case <-w.queue.closing:
		w.closed = true
	}
}
