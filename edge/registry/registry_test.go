package registry

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"partyline/subjects"
)

// hall is a registry whose effects are applied as an outbox would.
type hall struct {
	*Registry[int]
	subscribed map[string]int
	changed    []*Socket[int]
}

func newHall(t *testing.T, roomsPerSocket int) *hall {
	t.Helper()
	prefix, err := subjects.NewPrefix("sio")
	if err != nil {
		t.Fatal(err)
	}
	h := &hall{subscribed: make(map[string]int)}
	charged := make(map[*Socket[int]]int)
	t.Cleanup(func() { wantCharged(t, charged) })
	h.Registry = New(prefix, roomsPerSocket, func(f Effects[int]) {
		for _, s := range f.Subscribe {
			h.subscribed[s]++
		}
		for _, s := range f.Unsubscribe {
			if h.subscribed[s]--; h.subscribed[s] == 0 {
				delete(h.subscribed, s)
			}
		}
		if f.Changed != nil {
			h.changed = append(h.changed, f.Changed)
		}
	}, func(s *Socket[int], bytes int) { charged[s] += bytes })
	return h
}

// wantCharged compares what sockets were charged with what they have.
func wantCharged(t *testing.T, charged map[*Socket[int]]int) {
	t.Helper()
	for s, got := range charged {
		want := 0
		if s.Life() != Gone {
			want = SocketCost + nameCost*len(s.Namespace.Token) + len(s.User()) + len(s.data)
			for _, room := range s.Rooms() {
				want += s.roomCost(room.Name)
			}
		}
		if got != want {
			t.Errorf("socket %s was charged %d bytes in all, want %d", s.ID, got, want)
		}
	}
}

// enter makes a socket of /chat.
func (h *hall) enter(id string) *Socket[int] {
	s := &Socket[int]{ID: id}
	h.Enter(s, "/chat", "chat", false, []string{"lobby"})
	return s
}

// admitted makes a member of rooms.
func (h *hall) admitted(t *testing.T, id string, rooms ...string) *Socket[int] {
	t.Helper()
	s := h.enter(id)
	if _, err := h.Admit(s, Admission{Rooms: rooms}); err != nil {
		t.Fatal(err)
	}
	return s
}

// wants compares what is subscribed.
func (h *hall) wants(t *testing.T, want ...string) {
	t.Helper()
	var got []string
	for s, n := range h.subscribed {
		if got = append(got, s); n != 1 {
			t.Errorf("%s is subscribed %d times", s, n)
		}
	}
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("subscribed %q, want %q", got, want)
	}
}

// Every pair of lives: exactly the transitions of the drawing are possible.
func TestLives(t *testing.T) {
	to := map[Life]func(*hall, *Socket[int]) bool{
		Deciding:    func(h *hall, s *Socket[int]) bool { return h.Decide(s) },
		Subscribing: func(h *hall, s *Socket[int]) bool { _, err := h.Admit(s, Admission{}); return err == nil },
		Live:        func(h *hall, s *Socket[int]) bool { return h.GoLive(s) },
		Gone:        func(h *hall, s *Socket[int]) bool { return h.Remove(s).Ended != nil },
	}
	ways := map[Life][]Life{
		Connecting: {}, Deciding: {Deciding}, Subscribing: {Deciding, Subscribing}, Live: {Subscribing, Live}, Gone: {Gone},
	}
	arrows := map[Life][]Life{
		Connecting: {Deciding, Subscribing, Gone}, Deciding: {Subscribing, Gone}, Subscribing: {Live, Gone}, Live: {Gone}, Gone: {},
	}
	for from := Connecting; from <= Gone; from++ {
		for into := Deciding; into <= Gone; into++ {
			h := newHall(t, 0)
			s := h.enter("a")
			for _, step := range ways[from] {
				if !to[step](h, s) {
					t.Fatalf("no way to %d", from)
				}
			}
			want := slices.Contains(arrows[from], into)
			if got := to[into](h, s); got != want || want && s.Life() != into || !want && s.Life() != from {
				t.Errorf("from %d to %d: %v, now %d; want %v", from, into, got, s.Life(), want)
			}
			isMember := s.Life() == Subscribing || s.Life() == Live
			if s.Life().IsMember() != isMember || h.Sockets() != map[bool]int{true: 1}[isMember] {
				t.Errorf("in life %d: member %v, %d sockets", s.Life(), s.Life().IsMember(), h.Sockets())
			}
			if found := h.Find("a") != nil; found != (s.Life() != Gone) {
				t.Errorf("in life %d it is found: %v", s.Life(), found)
			}
		}
	}
}

// A subject is subscribed with the first socket that needs it, and unsubscribed with the last.
func TestEffects(t *testing.T) {
	h := newHall(t, 0)
	a := h.enter("a")
	expected := []string{"sio.chat.*.all", "sio.chat.*.room.lobby"}
	h.wants(t, expected...)
	b := h.admitted(t, "b", "lobby", "x")
	h.subscribed["sio.chat.*.room.lobby"]-- // the namespace's own, and the room's
	h.wants(t, append(expected, "sio.chat.*.room.x")...)
	h.subscribed["sio.chat.*.room.lobby"]++
	if f, err := h.Join(a, []string{"x", "y"}); err != nil || f.Changed != nil || !slices.Equal(f.Subscribe, []string{"sio.chat.*.room.y"}) {
		t.Errorf("a join before the admission: %+v, %v", f, err)
	}
	if f := h.Leave(b, []string{"x", "nowhere"}); f.Changed != b || len(f.Unsubscribe) > 0 {
		t.Errorf("a leave: %+v", f)
	}
	if f := h.Leave(b, []string{"x"}); f.Changed != nil {
		t.Errorf("a leave of a room that it is not in: %+v", f)
	}
	if f, ok := h.SetData(a, []byte("{}")); ok || f.Changed != nil {
		t.Errorf("data before the admission: %+v", f)
	}
	if f, ok := h.SetData(b, []byte("{}")); !ok || f.Changed != b {
		t.Errorf("data: %+v", f)
	}
	if v, ok := h.View(b); !ok || v.Rev != 2 || string(v.Data) != "{}" || !slices.Equal(v.Rooms, []string{"lobby"}) {
		t.Errorf("the view is %+v, %v", v, ok)
	}
	f := h.Remove(a)
	if f.Ended == nil || f.Ended.Was != Connecting || !slices.Equal(f.Ended.Rooms, []string{"x", "y"}) {
		t.Errorf("ended: %+v", f.Ended)
	}
	if h.Remove(b); len(h.subscribed) > 0 || h.Rooms() != 0 || len(h.namespaces) > 0 || len(h.sockets) > 0 {
		t.Errorf("left behind: %v, %d rooms", h.subscribed, h.Rooms())
	}
	if len(h.changed) != 2 {
		t.Errorf("%d changes were notified", len(h.changed))
	}
}

// A namespace whose events are logged gets what the log gives out and broadcasts, in two subscriptions each.
func TestLoggedEffects(t *testing.T) {
	h := newHall(t, 0)
	s := &Socket[int]{ID: "a"}
	f := h.Enter(s, "/chat", "chat", true, []string{"my lobby"})
	own := []string{"sio.chat.log.all", "sio.chat.broadcast.all", "sio.chat.log.room.my%20lobby", "sio.chat.broadcast.room.my%20lobby"}
	room := []string{"sio.chat.log.room.x", "sio.chat.broadcast.room.x"}
	if !slices.Equal(f.Subscribe, own) || !s.Namespace.IsLogged {
		t.Errorf("the first socket subscribes %q", f.Subscribe)
	}
	if f, err := h.Admit(s, Admission{Rooms: []string{"x"}}); err != nil || !slices.Equal(f.Subscribe, room) {
		t.Errorf("the admission subscribes %q, %v", f.Subscribe, err)
	}
	if f := h.Leave(s, []string{"x"}); !slices.Equal(f.Unsubscribe, room) {
		t.Errorf("the leave unsubscribes %q", f.Unsubscribe)
	}
	if f := h.Remove(s); !slices.Equal(f.Unsubscribe, own) || len(h.subscribed) > 0 {
		t.Errorf("the end unsubscribes %q, left behind: %v", f.Unsubscribe, h.subscribed)
	}
}

// Either all joins succeed, within the limit, or none.
func TestTooManyRooms(t *testing.T) {
	h := newHall(t, 2)
	s := h.enter("a")
	before := len(h.subscribed)
	if _, err := h.Admit(s, Admission{Rooms: []string{"a", "b", "c"}}); !errors.Is(err, ErrTooManyRooms) || s.Life() != Connecting {
		t.Errorf("admitted to three rooms: %v, %d", err, s.Life())
	}
	if _, err := h.Admit(s, Admission{Rooms: []string{"a", "b"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Join(s, []string{"a", "c"}); !errors.Is(err, ErrTooManyRooms) || s.IsIn("c") {
		t.Errorf("a third room: %v", err)
	}
	if _, err := h.Join(s, []string{"b", "a"}); err != nil {
		t.Errorf("rooms that it is in: %v", err)
	}
	if h.Remove(s); len(h.subscribed) != 0 || before != 2 {
		t.Errorf("left behind: %v", h.subscribed)
	}
	if _, err := h.Join(s, []string{"a"}); !errors.Is(err, ErrGone) {
		t.Errorf("a join of a socket that has gone: %v", err)
	}
}

// Members and rooms stay correct under any sequence of operations, compared with a model of maps.
func TestMembership(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	h := newHall(t, 0)
	model := map[*Socket[int]]map[string]bool{}
	var all []*Socket[int]
	room := func() string { return fmt.Sprint("r", random.IntN(5)) }
	for i := range 20_000 {
		switch n := random.IntN(20); {
		case n < 4 && len(all) < 40:
			s := h.admitted(t, fmt.Sprint(i))
			all, model[s] = append(all, s), map[string]bool{}
		case n < 5 && len(all) > 0:
			s := all[random.IntN(len(all))]
			all = slices.DeleteFunc(all, func(other *Socket[int]) bool { return other == s })
			delete(model, s)
			h.Remove(s)
		case n < 12 && len(all) > 0:
			s, name := all[random.IntN(len(all))], room()
			model[s][name] = true
			_, _ = h.Join(s, []string{name})
		case len(all) > 0:
			s, name := all[random.IntN(len(all))], room()
			delete(model[s], name)
			h.Leave(s, []string{name})
		}
		name := room()
		got := h.Select(&subjects.Subject{Namespace: "chat", Target: subjects.TargetRoom, Room: name}, nil, nil)
		n := 0
		for s, rooms := range model {
			if rooms[name] {
				if n++; !slices.Contains(got, s) || !s.IsIn(name) {
					t.Fatalf("step %d: a member of %s is missing", i, name)
				}
			}
		}
		if n != len(got) {
			t.Fatalf("step %d: %d members of %s, want %d", i, len(got), name, n)
		}
	}
}

// A union has each socket once, without the excluded ones, and without sockets of other namespaces.
func TestSelect(t *testing.T) {
	h := newHall(t, 0)
	const id = "k3f9a0zz.AAAAAAAAAAAAAAAAAAAA"
	a, b, c := h.admitted(t, id, "x"), h.admitted(t, "b", "x", "y"), h.admitted(t, "c", "y")
	h.enter("waiting")
	other := &Socket[int]{ID: "k3f9a0zz.BBBBBBBBBBBBBBBBBBBB"}
	h.Enter(other, "/other", "other", false, nil)
	all := &subjects.Subject{Namespace: "chat", Target: subjects.TargetAll}
	for i, test := range []struct {
		sub           *subjects.Subject
		rooms, except []string
		want          []*Socket[int]
	}{
		{all, nil, nil, []*Socket[int]{a, b, c}},
		{all, []string{"x", "y"}, nil, []*Socket[int]{a, b, c}},
		{all, []string{"y", id, other.ID}, nil, []*Socket[int]{b, c, a}},
		{all, nil, []string{"x"}, []*Socket[int]{c}},
		{all, []string{"x", "y"}, []string{id, "nowhere"}, []*Socket[int]{b, c}},
		{&subjects.Subject{Namespace: "chat", Target: subjects.TargetRoom, Room: "x"}, []string{"y"}, []string{"y"}, []*Socket[int]{a}},
		{&subjects.Subject{Namespace: "nowhere", Target: subjects.TargetAll}, nil, nil, nil},
	} {
		if got := h.Select(test.sub, test.rooms, test.except); !slices.Equal(got, test.want) {
			t.Errorf("case %d: %d sockets, want %d", i, len(got), len(test.want))
		}
	}
}

// queue is an outbox that keeps order: an entry after a subscription finds it active.
type queue struct {
	mu      sync.Mutex
	entries []func()
}

func (q *queue) put(fn func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.entries = append(q.entries, fn)
}

func (q *queue) run() {
	q.mu.Lock()
	entries := q.entries
	q.entries = nil
	q.mu.Unlock()
	for _, fn := range entries {
		fn()
	}
}

// The first and the second member of a room enter at the same time. Neither is answered before the room's subscription
// is active, although only one of them caused it.
func TestNoAnswerBeforeTheSubscription(t *testing.T) {
	var out queue
	active := map[string]bool{} // owned by the goroutine that empties the queue
	prefix, _ := subjects.NewPrefix("sio")
	r := New(prefix, 0, func(f Effects[int]) {
		for _, s := range f.Subscribe {
			out.put(func() { active[s] = true })
		}
		for _, s := range f.Unsubscribe {
			out.put(func() { delete(active, s) })
		}
	}, func(*Socket[int], int) {})
	rounds := 100_000
	if testing.Short() {
		rounds = 10_000
	}
	members := [2]*Socket[int]{{ID: "a"}, {ID: "b"}}
	for _, s := range members {
		r.Enter(s, "/chat", "chat", false, nil)
		if _, err := r.Admit(s, Admission{}); err != nil {
			t.Fatal(err)
		}
	}
	room := []string{"x"}
	var early, answered atomic.Int64
	for range rounds {
		var joining sync.WaitGroup
		for _, s := range members {
			joining.Go(func() {
				_, _ = r.Join(s, room)
				out.put(func() {
					if answered.Add(1); !active["sio.chat.*.room.x"] {
						early.Add(1)
					}
				})
			})
		}
		joining.Wait()
		out.run()
		for _, s := range members {
			r.Leave(s, room)
		}
	}
	out.run()
	if early.Load() > 0 || answered.Load() != int64(2*rounds) || len(active) != 1 {
		t.Errorf("%d of %d answers came early; active: %v", early.Load(), answered.Load(), active)
	}
}

// A client has come back to its edge before its old socket is removed: both have the same id.
func TestTheNewerSocketOfAnIDStays(t *testing.T) {
	prefix, _ := subjects.NewPrefix("sio")
	r := New(prefix, 0, func(Effects[int]) {}, func(*Socket[int], int) {})
	older, newer := &Socket[int]{ID: "aaaaaaaa.AAAAAAAAAAAAAAAAAAAA"}, &Socket[int]{ID: "aaaaaaaa.AAAAAAAAAAAAAAAAAAAA"}
	r.Enter(older, "/chat", "chat", true, nil)
	r.Enter(newer, "/chat", "chat", true, nil)
	if r.Remove(older); r.Find(newer.ID) != newer {
		t.Error("the socket is not found by its id")
	}
	if r.Remove(newer); r.Find(newer.ID) != nil {
		t.Error("a socket that is gone is found")
	}
}
