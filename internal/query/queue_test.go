package query

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"partyline/subjects"
	"partyline/wire/msg"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// members are sockets that are all members of their namespace.
type members []View

func (m members) Len() int { return len(m) }

func (m members) Handshake(int) []byte { return []byte(`{"auth":{}}`) }

func (m members) Look(_ bool, note func(int, View)) {
	for i, v := range m {
		note(i, v)
	}
}

// many returns a number of sockets that are not members any more.
type many int

func (n many) Len() int                       { return int(n) }
func (n many) Handshake(int) []byte           { return nil }
func (n many) Look(bool, func(p int, _ View)) {}

// outbox collects answers. What is put into it counts as published at once, unless blocked is set.
type outbox struct {
	parts   []string
	bodies  [][]byte
	errs    []error
	blocked []func() // callbacks of published
	blocks  bool
}

func (o *outbox) published(fn func()) {
	if o.blocks {
		o.blocked = append(o.blocked, fn)
		return
	}
	fn()
}

func (o *outbox) query(verb string, sockets Sockets) *Query {
	return &Query{
		Verb: verb, Sockets: sockets,
		Answer: func(part string, body []byte) { o.parts, o.bodies = append(o.parts, part), append(o.bodies, body) },
		Fail:   func(err error) { o.errs = append(o.errs, err) },
	}
}

func (o *outbox) queue() *Queue {
	return NewQueue("e", func() int { return 1 << 20 }, o.published)
}

// crowd makes sockets with so many bytes of data.
func crowd(n, bytes int) members {
	m := make(members, n)
	for i := range m {
		m[i] = View{ID: fmt.Sprint("e.", i), Namespace: "/chat", Data: []byte(`{"x":"` + strings.Repeat("x", bytes) + `"}`), Rooms: []string{"a", fmt.Sprint("r", i%3)}}
	}
	return m
}

func TestQueriesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &outbox{blocks: true}
		q := o.queue()
		large := o.query(subjects.VerbFetch, crowd(20, 60<<10)) // waits for the outbox
		if err := q.Add(large); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if err := q.Add(o.query(subjects.VerbFetch, many(maxSockets))); !errors.Is(err, ErrTooMany) {
			t.Errorf("a query on top of others is queued: %v", err)
		}
		if err := q.Add(o.query(subjects.VerbRooms, many(1))); err != nil {
			t.Errorf("a small query is not queued: %v", err)
		}
		o.blocks = false
		for _, fn := range o.blocked {
			fn()
		}
		synctest.Wait()
		if len(q.lines) != 0 || q.sockets.Used() != 0 {
			t.Errorf("queries of %d namespaces and %d sockets wait", len(q.lines), q.sockets.Used())
		}
		if err := q.Add(o.query(subjects.VerbFetch, many(2*maxSockets))); err != nil {
			t.Errorf("alone, a query may be of any size: %v", err)
		}
		q.Close()
	})
}

// A namespace with long answers, and many of them, delays another one by a part of an answer, and takes no place from
// it.
func TestNamespacesTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &outbox{blocks: true}
		q := o.queue()
		greedy := func(sockets Sockets) *Query {
			query := o.query(subjects.VerbFetch, sockets)
			query.Namespace = "greedy"
			return query
		}
		if err := q.Add(greedy(crowd(100, 60<<10))); err != nil {
			t.Fatal(err)
		}
		for q.Add(greedy(many(1))) == nil {
		}
		synctest.Wait() // for the outbox
		answered := -1
		other := &Query{
			Namespace: "other", Verb: subjects.VerbRooms, Sockets: crowd(10, 1), Answer: func(string, []byte) { answered = len(o.bodies) },
		}
		if err := q.Add(other); err != nil {
			t.Fatalf("another namespace cannot ask: %v", err)
		}
		synctest.Wait() // for its turn
		before := len(o.bodies)
		o.blocks = false
		for _, fn := range o.blocked {
			fn()
		}
		synctest.Wait()
		if answered < 0 || answered > before+1 || len(o.bodies) < 1000 {
			t.Errorf("it was answered after %d of %d messages, and asked after %d", answered, len(o.bodies), before)
		}
		q.Close()
	})
}

// Answers that wait to be published are bounded by the budget, and a new answer waits for the earlier ones.
func TestBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &outbox{blocks: true}
		q := o.queue()
		for range 2 {
			if err := q.Add(o.query(subjects.VerbData, crowd(100, 60<<10))); err != nil {
				t.Fatal(err)
			}
		}
		rounds := 0
		for written := 0; ; rounds++ {
			synctest.Wait()
			size := 0
			for _, body := range o.bodies[written:] {
				size += len(body)
			}
			if size > budget+msg.MaxPartBytes {
				t.Fatalf("%d bytes wait", size)
			}
			written = len(o.bodies)
			if len(o.blocked) == 0 {
				break
			}
			fn := o.blocked[0]
			o.blocked = o.blocked[1:]
			fn()
		}
		if rounds < 10 {
			t.Errorf("12 MB took %d rounds", rounds)
		}
		q.Close()
	})
}

// Close ends an answer that waits for the outbox.
func TestCloseWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &outbox{blocks: true}
		q := o.queue()
		if err := q.Add(o.query(subjects.VerbFetch, crowd(100, 60<<10))); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		q.Close()
		if len(o.bodies) > 5 {
			t.Errorf("%d messages were written", len(o.bodies))
		}
	})
}

// The parts of an answer together are complete, and each is a message that NATS accepts.
func TestParts(t *testing.T) {
	for _, verb := range []string{subjects.VerbFetch, subjects.VerbData, subjects.VerbRooms} {
		for _, sockets := range []int{0, 1, 100} {
			o := &outbox{}
			q := o.queue()
			if err := q.Add(o.query(verb, crowd(sockets, 10<<10))); err != nil {
				t.Fatal(err)
			}
			q.running.Wait()
			var elements []json.RawMessage
			for i, body := range o.bodies {
				a, err := msg.ParseAnswer(body)
				if err != nil {
					t.Fatal(err)
				}
				if a.Edge != "e" || a.Sockets != sockets || len(body) > msg.MaxPartBytes || msg.IsLastPart(o.parts[i]) != (i == len(o.bodies)-1) {
					t.Errorf("%s: part %q of %d bytes has %+v", verb, o.parts[i], len(body), a)
				}
				elements = append(elements, a.Rest...)
			}
			want := sockets
			if verb == subjects.VerbRooms {
				want = 1
				if counts := fmt.Sprintf(`{"a":%d,"r0":34,"r1":33,"r2":33}`, sockets); sockets == 100 && string(elements[0]) != counts {
					t.Errorf("rooms: %s", elements[0])
				}
			}
			if len(elements) != want {
				t.Errorf("%s of %d sockets has %d elements", verb, sockets, len(elements))
			}
		}
	}
}

func TestGone(t *testing.T) {
	o := &outbox{}
	q := o.queue()
	for _, verb := range []string{subjects.VerbFetch, subjects.VerbRooms} {
		query := o.query(verb, many(1))
		query.Single = true
		if err := q.Add(query); err != nil {
			t.Fatal(err)
		}
		q.running.Wait()
	}
	if len(o.errs) != 2 || o.errs[0] != ErrGone || o.errs[1] != ErrGone || len(o.bodies) != 0 {
		t.Errorf("answered %v and %d messages", o.errs, len(o.bodies))
	}
}
