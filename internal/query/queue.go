// Package query answers what services ask about the sockets of an edge: fetch, rooms, and a data that gets
// (docs/subjects.md, Queries). The answers may be as long as the edge has sockets, so they are written by
// goroutines that never have more than a budget of bytes waiting to be published.
package query

import (
	"context"
	"errors"
	"sync"
	"time"

	"partyline/internal/share"
	"partyline/internal/turn"
	"partyline/subjects"
	"partyline/wire/msg"
)

const (
	// maxSockets bounds the sockets that the queries under way are about, and namespaces share it. querySockets is
	// what a query itself counts for.
	maxSockets   = 1 << 20
	querySockets = 16
	// budget is how many bytes of answers wait to be published before the goroutine waits, too.
	budget = 1 << 20
	// messageMargin is how much of a NATS message the headers of an answer take at most, in bytes.
	messageMargin = 1 << 10
	// A namespace whose questions have taken longWork without a pause rests after each of them for restTimes as long
	// as it took: a program that asks in a loop must not take a processor from clients.
	longWork  = 100 * time.Millisecond
	restTimes = 3
)

// Errors of queries, as services read them.
var (
	// ErrTooMany is returned by Add when queries about more sockets wait than the namespace may have.
	ErrTooMany = errors.New("too many questions under way")
	// ErrGone answers a query about one socket that is not a member of its namespace, or no longer.
	ErrGone = errors.New("unknown socket")
)

// Query is one question of a service.
type Query struct {
	Namespace string                         // of the target
	Verb      string                         // subjects.VerbFetch, VerbData or VerbRooms
	Single    bool                           // the target is one socket
	IsLogged  bool                           // the namespace has a log; told with VerbRooms
	Sockets   Sockets                        // of the target
	Answer    func(part string, body []byte) // puts one message of the answer into the outbox; part is the value of Sio-Part, "" for none
	Fail      func(error)                    // answers with an error instead
}

// Sockets are the sockets of a query as the edge knows them. Its methods are called by the queue's goroutine.
type Sockets interface {
	// Len is how many sockets there are.
	Len() int
	// Look calls note for each socket that is a member of its namespace now, with its place and state. Without rooms,
	// View.Rooms is not needed. It holds no lock for longer than a few thousand sockets take.
	Look(rooms bool, note func(place int, v View))
	// Handshake is the handshake of the socket at a place, a JSON object.
	Handshake(place int) []byte
}

// View is a socket as it was when it was looked at.
type View struct {
	ID, Namespace string
	Rooms         []string // names in subjects
	User          string
	Data          []byte // JSON; nil for nothing
}

// Queue holds the queries that wait. Those of one namespace are answered one after the other, by a goroutine that
// lives while there are any. Namespaces take turns: a long answer in one does not keep another waiting.
type Queue struct {
	edge       string
	maxPayload func() int
	published  func(fn func()) // calls fn once what was put into the outbox before has been published

	mu      sync.Mutex
	lines   map[string][]*Query // guarded by mu; by namespace; the first is being answered
	sockets *share.Table        // what queries count for, by namespace
	closing context.Context     // done: nothing more can be published
	close   func()
	running sync.WaitGroup

	turn    chan struct{} // capacity 1: the goroutine that has received from it writes; the others come in order
	waiting int           // owned by that goroutine: bytes since the outbox was last known to be empty
}

// NewQueue makes the queue of an edge. maxPayload is the largest message that NATS takes now, in bytes. published
// calls back once what was put into the outbox before has been published or dropped; it must not block.
func NewQueue(edge string, maxPayload func() int, published func(fn func())) *Queue {
	q := &Queue{
		edge: edge, maxPayload: maxPayload, published: published, lines: make(map[string][]*Query), sockets: share.New(maxSockets),
		turn: make(chan struct{}, 1),
	}
	q.closing, q.close = context.WithCancel(context.Background())
	q.turn <- struct{}{}
	return q
}

// Add queues a query. It never blocks. The error is ErrTooMany; a query that waits alone in its namespace may be of
// any size.
func (q *Queue) Add(query *Query) error {
	ns, weight := query.Namespace, query.Sockets.Len()+querySockets
	q.mu.Lock()
	defer q.mu.Unlock()
	isFirst := len(q.lines[ns]) == 0
	if isFirst {
		q.sockets.Add(ns, weight)
		q.running.Go(func() { q.run(ns) })
	} else if !q.sockets.Take(ns, weight, 0) {
		return ErrTooMany
	}
	q.lines[ns] = append(q.lines[ns], query)
	return nil
}

// Close waits until the goroutines have ended. Queries that were not answered are dropped, and Add must not be called
// any more.
func (q *Queue) Close() {
	q.close()
	q.running.Wait()
}

// run answers the queries of a namespace until there is none.
func (q *Queue) run(ns string) {
	<-q.turn
	defer func() { q.turn <- struct{}{} }()
	w := &writer{queue: q}
	for query := q.next(ns, nil); query != nil && !w.isClosed(); query = q.next(ns, query) {
		began := time.Now()
		if query.Verb == subjects.VerbRooms {
			countRooms(query, w)
		} else {
			listSockets(query, w)
		}
		w.rest(time.Since(began) - w.gaveWay)
		w.gaveWay = 0
	}
}

// next removes the query of a namespace that was answered, if any, and returns the one behind it, or nil.
func (q *Queue) next(ns string, answered *Query) *Query {
	q.mu.Lock()
	defer q.mu.Unlock()
	line := q.lines[ns]
	if answered != nil {
		q.sockets.Add(ns, -answered.Sockets.Len()-querySockets)
		line[0] = nil
		line = line[1:]
	}
	if q.lines[ns] = line; len(line) == 0 {
		delete(q.lines, ns)
		return nil
	}
	return line[0]
}

// writer writes the messages of an answer and waits while too much of them is not published. It is owned by the
// goroutine of a namespace, whose turn it is.
type writer struct {
	queue   *Queue
	worked  time.Duration
	gaveWay time.Duration // in the answer that is written

	query *Query
	parts *msg.Parts
}

// begin begins the answer to a query about so many sockets.
func (w *writer) begin(query *Query, sockets int) {
	w.query = query
	isRooms := query.Verb == subjects.VerbRooms
	answer := msg.Answer{Edge: w.queue.edge, Sockets: sockets, Logged: isRooms && query.IsLogged}
	w.parts = msg.NewParts(answer, isRooms, min(msg.MaxPartBytes, w.largest()))
}

// largest is how many bytes a message can have.
func (w *writer) largest() int { return w.queue.maxPayload() - messageMargin }

// add writes an element, into the next message if this one is full.
func (w *writer) add(element []byte) {
	w.gaveWay += turn.Answers.GiveWay(w.queue.closing, time.Duration(len(element))*turn.Byte)
	if !w.parts.Add(element) {
		w.publish(false)
		w.parts.Add(element)
	}
}

// publish puts the message into the outbox, and waits if too much is there.
func (w *writer) publish(last bool) {
	body, part := w.parts.Finish(last)
	w.query.Answer(part, body)
	w.wait(len(body))
	w.giveTurn(0)
}

// rest gives the turn to others after an answer that took some time.
func (w *writer) rest(work time.Duration) {
	if w.worked += work; w.worked < longWork {
		work = 0
	}
	w.giveTurn(restTimes * work)
}

// giveTurn lets other namespaces write, if they wait, for some time at least.
func (w *writer) giveTurn(d time.Duration) {
	w.queue.turn <- struct{}{}
	if d > 0 {
		select {
		case <-w.queue.closing.Done():
		case <-time.After(d):
		}
	}
	<-w.queue.turn
}

func (w *writer) isClosed() bool { return w.queue.closing.Err() != nil }

// wait waits if too much is in the outbox. The turn stays: others would have to wait, too.
func (w *writer) wait(added int) {
	if w.queue.waiting += added; w.queue.waiting < budget {
		return
	}
	w.queue.waiting = 0
	published := make(chan struct{})
	w.queue.published(func() { close(published) })
	select {
	case <-published:
	case <-w.queue.closing.Done():
	}
}
