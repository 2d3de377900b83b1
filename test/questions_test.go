package test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
)

// asked is an ask under way, with the answers so far.
type asked struct {
	t       *testing.T
	ear     *ear
	expect  map[string]int    // by edge
	answers map[string]string // by socket: the ack, or "! " and the error
}

// askMany sends an event that wants acks to a room or to all.
func (s *stage) askMany(subject, body string, headers ...string) *asked {
	s.t.Helper()
	inbox := nats.NewInbox()
	a := &asked{s.t, s.hear(inbox), map[string]int{}, map[string]string{}}
	s.PublishReply(subject, inbox, body, headers...)
	return a
}

// take reads messages until the given numbers of edges and sockets have answered.
func (a *asked) take(edges, sockets int) *asked {
	a.t.Helper()
	for len(a.expect) < edges || len(a.answers) < sockets {
		m := a.ear.Next()
		id, expect := m.Header.Get("Sio-Socket"), m.Header.Get("Sio-Expect")
		switch {
		case id != "" && expect == "":
			if _, twice := a.answers[id]; twice {
				a.t.Fatalf("%s answered twice: %q %v", id, m.Data, m.Header)
			}
			owner, _, _ := strings.Cut(id, ".")
			if _, told := a.expect[owner]; !told {
				a.t.Fatalf("an answer of %s arrived before its edge's Sio-Expect", id)
			}
			a.answers[id] = string(m.Data)
			if why := m.Header.Get("Sio-Error"); why != "" {
				a.answers[id] = "! " + why
			}
		case id == "" && expect != "":
			var body []struct {
				Edge    string
				Sockets int
			}
			if err := json.Unmarshal(m.Data, &body); err != nil || len(body) != 1 || strconv.Itoa(body[0].Sockets) != expect {
				a.t.Fatalf("the Sio-Expect answer is %q %v", m.Data, m.Header)
			}
			if _, twice := a.expect[body[0].Edge]; twice {
				a.t.Fatalf("edge %s answered twice", body[0].Edge)
			}
			a.expect[body[0].Edge] = body[0].Sockets
		default:
			a.t.Fatalf("an answer of an unknown form: %q %v", m.Data, m.Header)
		}
	}
	return a
}

// is compares all answers, given as pairs of a socket's id and its answer.
func (a *asked) is(pairs ...string) {
	a.t.Helper()
	want := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		want[pairs[i]] = pairs[i+1]
	}
	total := 0
	for _, n := range a.expect {
		total += n
	}
	if !maps.Equal(a.answers, want) || total != len(want) {
		a.t.Fatalf("%d answers were announced, these came: %v, want %v", total, a.answers, want)
	}
	if n, _, _ := a.ear.Subscription.Pending(); n > 0 {
		a.t.Fatalf("more came: %v", a.ear.Next())
	}
}

// isAsked waits until a socket's next frame is an event that wants an ack, and returns the ack id.
func (s *stage) isAsked(so *socket, body string) (id string) {
	s.t.Helper()
	return s.isAskedAs(so, "42"+so.Head, body)
}

func (s *stage) isAskedAs(so *socket, head, body string) (id string) {
	s.t.Helper()
	got := so.Next()
	rest, isHead := strings.CutPrefix(got, head)
	id, isBody := strings.CutSuffix(rest, body)
	if _, err := strconv.Atoi(id); err != nil || !isHead || !isBody {
		s.t.Fatalf("%s got %s, want %s<id>%s", so.ID, got, head, body)
	}
	return id
}

// request sends a request and returns the subscription for its answers.
func (s *stage) request(subject, body string, headers ...string) *ear {
	s.t.Helper()
	inbox := nats.NewInbox()
	e := s.hear(inbox)
	s.PublishReply(subject, inbox, body, headers...)
	return e
}

// is waits for the single answer of a plain request: a body, or "! " and the error. It returns the header.
func (e *ear) is(want string) nats.Header {
	e.T.Helper()
	m := e.Next()
	got := string(m.Data)
	if why := m.Header.Get("Sio-Error"); why != "" {
		got = "! " + why
	}
	if got != want {
		e.T.Fatalf("the answer is %q %v, want %q", m.Data, m.Header, want)
	}
	return m.Header
}

// told holds what edges answered to fetch, data or rooms, their parts put together.
type told struct {
	sockets map[string]int // by edge: the number that it announces
	rest    []json.RawMessage
	parts   map[string]int // by edge
}

// tell sends a question and reads the whole answers of the given number of edges.
func (s *stage) tell(edges int, subject, body string, headers ...string) told {
	s.t.Helper()
	ear := s.request(subject, body, headers...)
	got := told{map[string]int{}, nil, map[string]int{}}
	for finished := 0; finished < edges; {
		m := ear.Next()
		var list []json.RawMessage
		var first struct {
			Edge    string
			Sockets int
		}
		if err := json.Unmarshal(m.Data, &list); err != nil || len(list) == 0 || json.Unmarshal(list[0], &first) != nil {
			s.t.Fatalf("%s was answered %.200q %v", subject, m.Data, m.Header)
		}
		part, many := m.Header["Sio-Part"]
		got.parts[first.Edge]++
		number, last := fmt.Sprint(got.parts[first.Edge]), true
		if many {
			_, last = strings.CutSuffix(part[0], " last")
			if want := number + strings.Repeat(" last", btoi(last)); part[0] != want {
				s.t.Fatalf("part %s is called %q", number, part[0])
			}
			if len(m.Data) > 262144 && len(list) > 2 {
				s.t.Fatalf("part %s has %d bytes", number, len(m.Data))
			}
		}
		if n, before := got.sockets[first.Edge]; before && (n != first.Sockets || !many) {
			s.t.Fatalf("part %s of %s announces %d, an earlier one %d", number, subject, first.Sockets, n)
		}
		got.sockets[first.Edge] = first.Sockets
		got.rest = append(got.rest, list[1:]...)
		if last {
			finished++
		}
	}
	if n, _, _ := ear.Subscription.Pending(); n > 0 {
		s.t.Fatalf("more came: %v", ear.Next())
	}
	return got
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// fetched is one socket in the answer to fetch. The handshake has a test of its own.
type fetched struct {
	ID, Namespace, User string
	Rooms               []string
	Data, Handshake     json.RawMessage
	Incomplete          bool
}

// sockets reads the objects of a fetch, by id.
func (g told) socketsOf(t *testing.T) map[string]fetched {
	t.Helper()
	list := map[string]fetched{}
	for _, raw := range g.rest {
		var f fetched
		if err := json.Unmarshal(raw, &f); err != nil {
			t.Fatal(err)
		}
		slices.Sort(f.Rooms)
		list[f.ID] = f
	}
	if len(list) != len(g.rest) {
		t.Fatalf("%d objects of %d sockets", len(g.rest), len(list))
	}
	total := 0
	for _, n := range g.sockets {
		total += n
	}
	if total != len(list) {
		t.Fatalf("the edges announce %d sockets, but list %d", total, len(list))
	}
	return list
}

// ids are the sockets in the answer to fetch, sorted.
func (g told) ids(t *testing.T) []string {
	t.Helper()
	return slices.Sorted(maps.Keys(g.socketsOf(t)))
}

func idsOf(sockets ...*socket) (ids []string) {
	for _, so := range sockets {
		ids = append(ids, so.ID)
	}
	slices.Sort(ids)
	return ids
}
