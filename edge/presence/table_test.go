package presence

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"partyline/internal/members"
	"partyline/rule"
	"partyline/subjects"
	"partyline/wire/msg"
)

// crowd is an edge whose sockets are all in one room, and a NATS that returns what is published.
type crowd struct {
	rules     *rule.Rules
	table     *Table
	published [][]byte
	delivered []string
	lost      uint64
}

var place = members.Place{Namespace: "chat", Room: "a"}

func (c *crowd) Exclusive(fn func()) bool { fn(); return true }
func (c *crowd) Look(id string) members.Socket {
	return members.Socket{Present: members.Shown(c.rules, id, "ann", nil), Rules: c.rules, Places: []members.Place{place}}
}
func (c *crowd) Publish(_ string, body []byte) {
	c.published = append(c.published, body)
	_ = c.table.Handle(place, body)
}
func (c *crowd) Read(members.Place, string) {}
func (c *crowd) Subscribe(string)           {}
func (c *crowd) Unsubscribe(string)         {}
func (c *crowd) Deliver(_ members.Place, body []byte) {
	c.delivered = append(c.delivered, string(body))
}
func (c *crowd) Connected() bool { return true }
func (c *crowd) Losses() uint64  { return 1 + c.lost }
func (c *crowd) Edges() []string { return []string{"edgeedge"} }
func (c *crowd) MaxPayload() int { return 1 << 20 }

// 10,000 sockets that enter a room within a second cost at most 110 messages, each far smaller than NATS takes, and its
// clients at most one event a look.
func TestACrowdEntersARoom(t *testing.T) {
	prefix, _ := subjects.NewPrefix("sio")
	c := &crowd{rules: rule.NewBook(map[string]rule.Namespace{"/chat": {Presence: rule.DefaultPresence("*")}}).Find("/chat")}
	c.table = New("edgeedge", prefix, c)
	now := time.Now()
	for look := range 10 {
		for i := range 1000 {
			c.table.Touch(fmt.Sprintf("edgeedge.%05d---------------", look*1000+i), members.Change{}, false)
		}
		now = now.Add(every)
		c.table.look(now)
	}
	now = now.Add(every)
	c.table.look(now)
	sockets := 0
	for i, body := range c.published {
		m, err := msg.ParseMembers(body)
		if err != nil || m.N != uint64(i+1) || len(m.Joined) > maxListed || len(body) > 64<<10 {
			t.Fatalf("message %d has number %d, %d sockets and %d bytes: %v", i, m.N, len(m.Joined), len(body), err)
		}
		sockets += len(m.Joined)
	}
	if sockets != 10_000 || len(c.published) > 110 {
		t.Errorf("%d messages have %d sockets", len(c.published), sockets)
	}
	if want := `["partyline:presence",{"room":"a","count":10000}]`; len(c.delivered) > 11 || c.delivered[len(c.delivered)-1] != want {
		t.Errorf("clients get %d events, the last one %s", len(c.delivered), c.delivered[len(c.delivered)-1])
	}
}

// What was published before a loss is published again, also of rooms into which a socket came and from which it went just
// then.
func TestLossWhileRoomsChange(t *testing.T) {
	prefix, _ := subjects.NewPrefix("sio")
	c := &crowd{rules: rule.NewBook(map[string]rule.Namespace{"/chat": {Presence: rule.DefaultPresence("*")}}).Find("/chat")}
	c.table = New("edgeedge", prefix, c)
	const id = "edgeedge.00000---------------"
	now := time.Now()
	c.table.Touch(id, members.Change{Rules: c.rules, Places: []members.Place{place}}, false)
	c.table.look(now)
	c.table.Touch(id, members.Change{Rules: c.rules, Places: []members.Place{{Namespace: "chat", Room: "b"}}}, false)
	c.lost, now = 1, now.Add(restartEvery)
	c.table.look(now)
	var got []string
	for _, body := range c.published {
		got = append(got, string(body))
	}
	slices.Sort(got)
	joined := `["members",{"edge":"edgeedge","n":1,"joined":[{"id":"` + id + `","user":"ann"}],"left":[]}]`
	if want := []string{`["members",{"edge":"edgeedge","n":1,"joined":[],"left":[{"id":"` + id + `","reason":"leave"}]}]`, joined, joined}; !slices.Equal(got, want) {
		t.Errorf("published\n%q, want\n%q", got, want)
	}
}

// spread is an edge with each socket in a room of its own, and a NATS that answers at once.
type spread struct {
	crowd
}

func (s *spread) Look(id string) members.Socket {
	found := s.crowd.Look(id)
	found.Places = []members.Place{{Namespace: "chat", Room: id[9:14]}}
	return found
}

func (s *spread) Publish(_ string, body []byte) {
	m, _ := msg.ParseMembers(body)
	_ = s.table.Handle(members.Place{Namespace: "chat", Room: m.Joined[0].ID[9:14]}, body)
}

func (s *spread) Deliver(members.Place, []byte) {}
func (s *spread) Read(_ members.Place, reply string) {
	s.table.Answered(reply, "", []byte(`[{"edge":"edgeedge","sockets":0}]`))
}

// BenchmarkLook is one look, of ten in a second, at 100,000 rooms of which one has changed.
func BenchmarkLook(b *testing.B) {
	const rooms = 100_000
	prefix, _ := subjects.NewPrefix("sio")
	s := &spread{crowd{rules: rule.NewBook(map[string]rule.Namespace{"/chat": {Presence: rule.DefaultPresence("*")}}).Find("/chat")}}
	s.table = New("edgeedge", prefix, s)
	now := time.Now()
	id := func(i int) string { return fmt.Sprintf("edgeedge.%05d---------------", i) }
	for i := range rooms {
		s.table.Touch(id(i), members.Change{}, false)
	}
	for s.table.look(now); len(s.table.readings) > 0; s.table.look(now) {
	}
	for i := 0; b.Loop(); i++ {
		s.table.Touch(id(i%rooms), members.Change{}, false)
		s.table.look(now)
	}
}
