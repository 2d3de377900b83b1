package test

import (
	"fmt"
	"strings"
	"testing"

	"partyline/engine/enginetest"
	"partyline/internal/edgetest"
)

// An event of the past has the offset of the join, so that a client that comes back later gets nothing twice.
func TestThePastAndRecovery(t *testing.T) {
	s := beginRewound(t)
	s.say("sio.safe.emit.room.news", 1, 8)
	a := connect(t, s.Dial("ann"), "/safe", nil)
	s.say("sio.safe.emit.socket."+a.id, 20, 21)
	a.receives(t, "/safe", `["n",20]`)
	a.receives(t, "/safe", `["n",21]`)
	before := a.offset
	a.Send(`42/safe,["join","news"]`)
	for n := 4; n <= 8; n++ {
		a.receives(t, "/safe", fmt.Sprintf(`["n",%d]`, n))
		if a.offset <= before {
			t.Errorf("the offset %s of an event of the past is not behind %s", a.offset, before)
		}
	}
	s.say("sio.safe.emit.room.news", 9, 9)
	a.receives(t, "/safe", `["n",9]`)
	for range 2 { // what it has missed, and no past
		a.Hangup()
		s.say("sio.safe.emit.room.news", 10, 11)
		b := connect(t, s.Dial("ann"), "/safe", a, `["n",10]`, `["n",11]`)
		if b.id != a.id {
			t.Fatal("did not come back")
		}
		s.say("sio.safe.emit.room.news", 12, 12)
		b.receives(t, "/safe", `["n",12]`)
		a = b
	}
	a.Send(`42/safe,["join","two"]`) // and a room that it enters now has one
	s.say("sio.safe.emit.all", 13, 13, "Sio-Rooms: two", "Sio-Rooms: news")
	a.receives(t, "/safe", `["n",13]`)
	s.say("sio.safe.emit.room.two", 14, 14)
	a.receives(t, "/safe", `["n",14]`)
}

// The past of the first rooms comes behind CONNECT, once.
func TestThePastOfTheFirstRooms(t *testing.T) {
	s := beginRewound(t)
	s.say("sio.home.emit.room.hall", 1, 7)
	a := connect(t, s.Dial("ann"), "/home", nil)
	for n := 3; n <= 7; n++ {
		a.receives(t, "/home", fmt.Sprintf(`["n",%d]`, n))
	}
	a.Hangup()
	s.say("sio.home.emit.room.hall", 8, 8)
	b := connect(t, s.Dial("ann"), "/home", a, `["n",8]`)
	if b.id != a.id {
		t.Error("did not come back")
	}
	s.Ask("sio.home.join.all", `["two"]`, "Sio-Rewind: 1")
	s.say("sio.home.emit.room.two", 20, 20)
	b.receives(t, "/home", `["n",20]`)
	c := connect(t, s.Dial("bob"), "/home", nil)
	for n := 4; n <= 8; n++ {
		c.receives(t, "/home", fmt.Sprintf(`["n",%d]`, n))
	}
	s.say("sio.home.emit.room.two", 21, 21)
	s.Ask("sio.home.join.all", `["two"]`, "Sio-Rewind: 1")
	c.receives(t, "/home", `["n",21]`)
	b.receives(t, "/home", `["n",21]`)
	s.say("sio.home.emit.room.two", 22, 22)
	c.receives(t, "/home", `["n",22]`)
	b.receives(t, "/home", `["n",22]`)
}

// A client comes back before it has read any of the past: it gets none of it twice, and nothing that came later is
// missing.
func TestAClientLeavesWithoutThePast(t *testing.T) {
	s := beginRewound(t)
	s.say("sio.safe.emit.room.news", 1, 8)
	a := connect(t, s.Dial("ann"), "/safe", nil)
	s.Ask("sio.safe.join.socket."+a.id, `["news"]`)
	a.Hangup()
	s.say("sio.safe.emit.room.news", 9, 10)
	connect(t, s.Dial("ann"), "/safe", a, `["n",9]`, `["n",10]`)
}

func TestThePastInEveryForm(t *testing.T) {
	s := beginRewound(t)
	s.Publish("sio.chat.emit.room.news", `["b",{"_placeholder":true,"num":0}]`+"xyz", "Sio-Attachments: 3")
	s.Publish("sio.chat.emit.room.news", `["broken"`)
	s.say("sio.chat.emit.room.news", 1, 1)
	ann := s.Enter("ann", "/chat")
	ann.Emit("", `["join","news"]`)
	ann.Expect(`451-/chat,["b",{"_placeholder":true,"num":0}]`)
	ann.Expect("bxyz")
	ann.Gets(`["n",1]`)
	bob := s.enterPacked("bob", "/chat")
	bob.says(`2/chat,["join","news"]`)
	bob.hears(`51-/chat,["b",{"_placeholder":true,"num":0}]|xyz`)
	bob.hears(`2/chat,["n",1]`)
	p := s.poll()
	p.enter("/chat")
	p.post(`42/chat,["join","news"]`)
	got := ""
	for !strings.Contains(got, `["n",1]`) {
		got += p.get()
	}
	if want := `451-/chat,["b",{"_placeholder":true,"num":0}]` + "\x1e" + "beHl6" + "\x1e" + `42/chat,["n",1]`; got != want {
		t.Errorf("polls brought %q, want %q", got, want)
	}
}

// While NATS is away, a client joins a room. It gets the room's past once NATS is back, and all that came meanwhile.
func TestThePastAfterAnOutage(t *testing.T) {
	s := beginRewound(t)
	cable := s.NATS.Cable()
	other := edgetest.Start(t, edgetest.Options{InProcess: cable, Namespaces: rewound()}).Ready()
	ann, bob := other.Enter("ann", "/chat"), other.Enter("bob", "/chat")
	joins(t, bob, "news")
	for n := 1; n <= 8; n++ {
		s.say("sio.chat.emit.room.news", n, n)
		gets(t, bob.Client, "/chat,", n)
	}
	cable.Cut()
	edgetest.Eventually(t, "the edge has lost NATS", func() bool { return !other.Bus.Connected() })
	ann.Emit("", `["join","news"]`)
	s.say("sio.chat.emit.room.news", 9, 10)
	cable.Mend()
	gets(t, ann.Client, "/chat,", 6, 7, 8, 9, 10)
	gets(t, bob.Client, "/chat,", 9, 10)
	s.say("sio.chat.emit.room.news", 11, 11)
	gets(t, ann.Client, "/chat,", 11)
	gets(t, bob.Client, "/chat,", 11)
}

// A past that is too large for a client's queue is shortened, and the client stays.
func TestThePastFitsIntoTheQueue(t *testing.T) {
	s := beginRewound(t, func(o *edgetest.Options) { o.QueueBytes = 64 << 10 })
	for i := range 5 {
		s.Publish("sio.chat.emit.room.news", fmt.Sprintf(`["n",%d,%q]`, i, strings.Repeat("x", 3<<10)))
	}
	s.stored()
	ann := s.Enter("ann", "/chat")
	ann.Emit("", `["join","news"]`)
	for _, n := range []int{3, 4} {
		if got := ann.Next(); !strings.HasPrefix(got, fmt.Sprintf(`42/chat,["n",%d,`, n)) {
			t.Fatalf("%.40s, want %d", got, n)
		}
	}
}

// Who leaves a room again gets no more of it, in whatever moment.
func TestJoinsAndLeaves(t *testing.T) {
	s := beginRewound(t)
	s.say("sio.chat.emit.room.news", 1, 3)
	ann := s.Enter("ann", "/chat")
	for range 200 {
		ann.Emit("", `["join","news"]`)
		ann.Emit("", `["leave","news"]`)
		ann.Emit("", `["join","two"]`)
		ann.Emit("", `["leave","two"]`)
	}
	last := joins(t, ann, "news")
	s.say("sio.chat.emit.room.news", 4, 4)
	s.say("sio.chat.emit.room.two", 5, 5)
	s.Publish("sio.chat.emit.room.news", `["end"]`)
	last = append(last, waitFor(t, ann.Client, `42/chat,["end"]`)...)
	text := strings.Join(last, " ")
	t.Logf("%d events came", len(last))
	if !strings.HasSuffix(text, `42/chat,["n",1] 42/chat,["n",2] 42/chat,["n",3] 42/chat,["n",4]`) {
		t.Errorf("got %s", text)
	}
}

// waitFor returns what came before an event.
func waitFor(t *testing.T, c *enginetest.Client, want string) (before []string) {
	t.Helper()
	for {
		text := c.Next()
		if text == want {
			return before
		}
		before = append(before, text)
	}
}
