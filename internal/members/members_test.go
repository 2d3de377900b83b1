package members

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"partyline/rule"
	"partyline/wire/msg"
)

func rules(change ...func(*rule.Presence)) *rule.Rules {
	p := rule.DefaultPresence("*")
	for _, c := range change {
		c(&p)
	}
	return rule.NewBook(map[string]rule.Namespace{"/a": {Presence: p}}).Find("/a")
}

// picture is what a client knows of a room, by id or user.
type picture map[string]msg.Present

// key is what a client takes for one member.
func key(m msg.Present) string {
	if m.ID == "" {
		return "@" + m.User
	}
	return m.ID
}

func (p picture) take(t *testing.T, news msg.Presence) {
	t.Helper()
	if news.Members != nil || news.Count != nil {
		clear(p)
	}
	for _, m := range slices.Concat(news.Members, news.Joined) {
		p[key(m)] = m
	}
	for _, m := range news.Left {
		if _, in := p[key(m)]; !in || m.Reason == "" {
			t.Fatalf("%+v leaves, and was not there, or says not why", m)
		}
		delete(p, key(m))
	}
}

// world is edges with sockets, and what a reader at one of them knows.
type world struct {
	t       *testing.T
	random  *rand.Rand
	rules   *rule.Rules
	owns    map[string]*Own
	sockets map[string]map[string]Socket // what is, by edge and id
	touched map[string]Changes           // since the last message, by edge
	wires   map[string][]msg.RoomMembers // on their way to the reader, by edge
	reader  *Room
	picture picture
	asking  map[string]bool // edges that have not answered
	stale   bool
	isKind  bool // nothing is lost, so one look at all edges is enough

	wasAsked bool // edges have been asked and have answered
}

var a = Place{"chat", "a"}

func (w *world) flush(edge string) {
	w.owns[edge].Compare(w.touched[edge], func(id string) Socket { return w.sockets[edge][id] })
	clear(w.touched[edge])
	w.owns[edge].Take(3, func(Place, *rule.Rules) {}, func(p Place, m msg.RoomMembers) {
		if len(m.Joined)+len(m.Left) > 3 {
			w.t.Fatalf("a message has %d sockets", len(m.Joined)+len(m.Left))
		}
		if p == a {
			w.wires[edge] = append(w.wires[edge], m)
		}
	})
}

func (w *world) receive(edge string) {
	for _, m := range w.wires[edge] {
		w.stale = !w.reader.Apply(&m) || w.stale
	}
	w.wires[edge] = nil
}

// touch notes that a socket changes, and is in some rooms then.
func (w *world) touch(edge, id string, next []Place) {
	w.touched[edge].Add(id, Change{Reason: "ping timeout", Rules: w.rules, Places: slices.Concat(w.sockets[edge][id].Places, next)})
}

// step does something.
func (w *world) step() {
	edges := slices.Sorted(maps.Keys(w.owns))
	edge := edges[w.random.IntN(len(edges))]
	id := fmt.Sprint("socket", w.random.IntN(6)) // may be at two edges, while its client moves
	switch w.random.IntN(12) {
	case 0, 1, 2:
		s := Socket{Present: msg.Shown(id, []string{"", "ann", "bob"}[w.random.IntN(3)], nil), Rules: w.rules, Places: []Place{a, {"chat", "b"}}[:w.random.IntN(3)]}
		w.touch(edge, id, s.Places)
		w.sockets[edge][id] = s
	case 3, 4:
		w.touch(edge, id, nil)
		delete(w.sockets[edge], id)
	case 5, 6, 7:
		w.flush(edge)
	case 8:
		w.receive(edge)
	case 9:
		if !w.isKind { // messages are lost
			w.wires[edge] = nil
		}
	case 10:
		if (w.stale || w.isKind) && len(w.asking) == 0 {
			w.stale, w.wasAsked = false, true
			w.reader.Ask()
			w.asking = map[string]bool{edges[0]: true, edges[1]: true, edges[2]: true}
		}
	case 11:
		if w.asking[edge] {
			w.answer(edge, edges)
		}
	}
	if news, is := w.reader.News(); is {
		w.picture.take(w.t, news)
	}
}

// answer has an edge answer: what it has published before has come, and so will what it publishes later.
func (w *world) answer(edge string, edges []string) {
	delete(w.asking, edge)
	var there []msg.Present
	for _, s := range w.sockets[edge] {
		if slices.Contains(s.Places, a) {
			there = append(there, s.Present)
		}
	}
	half := len(there) / 2
	w.reader.Answer(edge, there[:half], false)
	w.reader.Answer(edge, there[half:], true)
	w.reader.Answered(edges, false)
}

// settle delivers everything, and compares.
func (w *world) settle() {
	edges := slices.Sorted(maps.Keys(w.owns))
	for _, edge := range edges {
		if w.random.IntN(4) == 0 { // as after a reconnect
			w.wires[edge] = nil
			for _, id := range w.owns[edge].Restart() {
				w.touched[edge].Add(id, Change{Reason: ReasonGone})
			}
		}
		if w.isKind && w.asking[edge] && w.random.IntN(2) == 0 {
			w.answer(edge, edges) // before what it publishes
		}
		w.flush(edge)
		w.receive(edge)
	}
	if !w.isKind || w.stale || !w.wasAsked {
		w.reader.Ask()
		w.asking = map[string]bool{edges[0]: true, edges[1]: true, edges[2]: true}
	}
	for edge := range w.asking {
		w.answer(edge, edges)
	}
	w.stale, w.wasAsked = false, true
	if news, is := w.reader.News(); is {
		w.picture.take(w.t, news)
	}
	want := picture{}
	for _, edge := range edges {
		for _, s := range w.sockets[edge] {
			if slices.Contains(s.Places, a) {
				shown := s.Present
				if w.rules.Presence.By == rule.ByUser && shown.User != "" {
					shown.ID = ""
				}
				want[key(shown)] = shown
			}
		}
	}
	if n := len(want); n > w.rules.Presence.Max || w.reader.count > 0 {
		if w.reader.count != n || len(w.picture) > 0 {
			w.t.Fatalf("clients have %d of %d members, and the number %d", len(w.picture), n, w.reader.count)
		}
		return
	}
	list := picture{}
	list.take(w.t, w.reader.List())
	same := func(got picture) bool {
		return maps.EqualFunc(got, want, func(x, y msg.Present) bool { return x.Equal(y) || w.rules.Presence.By == rule.BySocket && x.ID == y.ID })
	}
	if !same(w.picture) || !same(list) {
		w.t.Fatalf("clients have\n\t%v, the list is\n\t%v, want\n\t%v", w.picture, list, want)
	}
}

// Whatever happens and gets lost, after a look at all edges clients have what is.
func TestPicturesAreRight(t *testing.T) {
	worlds := 100
	if testing.Short() {
		worlds = 20
	}
	for seed := range worlds {
		random := rand.New(rand.NewPCG(uint64(seed), 17))
		w := &world{t: t, random: random, owns: map[string]*Own{}, sockets: map[string]map[string]Socket{}, touched: map[string]Changes{}, wires: map[string][]msg.RoomMembers{}, picture: picture{}}
		w.rules = rules(func(p *rule.Presence) {
			p.By, p.Max = []string{rule.BySocket, rule.ByUser}[random.IntN(2)], []int{3, 1000}[random.IntN(2)]
		})
		w.reader, w.isKind = New(w.rules), seed%2 == 0
		for i := range 3 {
			edge := fmt.Sprint("edge", i)
			w.owns[edge], w.sockets[edge], w.touched[edge] = NewOwn(edge), map[string]Socket{}, Changes{}
		}
		for range 30 {
			for range random.IntN(60) {
				w.step()
			}
			w.settle()
		}
	}
}

// Without a loss no edge need be asked a second time.
func TestMessagesInOrderAreEnough(t *testing.T) {
	o, r, seen := NewOwn("e"), New(rules()), picture{}
	place := []Place{a}
	for i := range 1000 {
		id := fmt.Sprint(i % 7)
		is := Socket{Present: msg.Shown(id, "", nil), Rules: r.rules, Places: place}
		if i%3 == 0 {
			is = Socket{}
		}
		change := Changes{}
		change.Add(id, Change{Reason: "ping timeout", Rules: r.rules})
		o.Compare(change, func(string) Socket { return is })
		o.Take(100, func(Place, *rule.Rules) {}, func(_ Place, m msg.RoomMembers) {
			parsed, err := msg.ParseMembers(m.Body())
			if err != nil || !r.Apply(&parsed) {
				t.Fatalf("step %d: %v, %+v", i, err, m)
			}
		})
		if news, is := r.News(); is {
			seen.take(t, news)
		}
	}
	if r.Apply(&msg.RoomMembers{Edge: "e", N: 5000}) || r.Apply(&msg.RoomMembers{Edge: "new", N: 2}) || !r.Apply(&msg.RoomMembers{Edge: "new", N: 1}) {
		t.Error("a gap is not noticed, or one is where none is")
	}
}

// n begins again with the first socket. What was otherwise for a moment is published once more.
func TestBetweenTwoMessages(t *testing.T) {
	o, got := NewOwn("e"), []string{}
	take := func() {
		o.Take(100, func(Place, *rule.Rules) {}, func(_ Place, m msg.RoomMembers) { got = append(got, string(m.Body())) })
	}
	compare := func(is Socket, places ...Place) {
		change := Changes{}
		change.Add("x", Change{Rules: rules(), Places: places, IsData: places == nil})
		o.Compare(change, func(string) Socket { return is })
		take()
	}
	there := Socket{Present: msg.Shown("x", "ann", []byte(`{}`)), Rules: rules(), Places: []Place{a}}
	compare(there, a)
	compare(there)    // nothing has changed
	compare(there, a) // it has left and come again
	there.Places = nil
	compare(there, a)
	compare(there, a) // it has come and left again
	there.Places = []Place{a}
	compare(there, a)
	there.Rules = rules(func(p *rule.Presence) { p.Data = true })
	compare(there) // its data may have been otherwise
	want := []string{
		`["members",{"edge":"e","n":1,"joined":[{"id":"x","user":"ann"}],"left":[]}]`,
		`["members",{"edge":"e","n":2,"joined":[{"id":"x","user":"ann"}],"left":[]}]`,
		`["members",{"edge":"e","n":3,"joined":[],"left":[{"id":"x","user":"ann","reason":"leave"}]}]`,
		`["members",{"edge":"e","n":1,"joined":[],"left":[{"id":"x","reason":"leave"}]}]`,
		`["members",{"edge":"e","n":1,"joined":[{"id":"x","user":"ann"}],"left":[]}]`,
		`["members",{"edge":"e","n":2,"joined":[{"id":"x","user":"ann"}],"left":[]}]`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("published\n%q, want\n%q", got, want)
	}
}
