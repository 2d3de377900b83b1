package test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"partyline/engine/enginetest"
	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
	"partyline/rule"
)

// durable are namespaces from whose broken connections clients come back.
func durable() rules {
	return rules{
		"/chat": {
			Connect: rule.ConnectOpen, Rooms: []string{"*"}, Recovery: rule.Recovery{For: time.Minute},
			Relay: []rule.Relay{{Event: "say", To: rule.ToRooms}},
		},
		"/other": {Connect: rule.ConnectOpen, Recovery: rule.Recovery{For: time.Minute}},
	}
}

// withLog starts NATS with JetStream, and a first edge.
func withLog(t *testing.T) *stage {
	server := natsdtest.Start(t, `jetstream { store_dir: "`+t.TempDir()+`" }`)
	return beginAt(t, server, durable())
}

// admitted is a socket with what its client must show to come back.
type admitted struct {
	*enginetest.Client
	id, pid, offset string
}

// connect connects a client to a namespace with recovery. back is what it shows; nil for a new one.
func connect(t *testing.T, c *enginetest.Client, namespace string, back *admitted, missed ...string) *admitted {
	t.Helper()
	auth := ""
	if back != nil {
		auth = fmt.Sprintf(`{"pid":%q,"offset":%q}`, back.pid, back.offset)
		if back.offset == "" {
			auth = fmt.Sprintf(`{"pid":%q}`, back.pid)
		}
	}
	c.Send("40" + namespace + "," + auth)
	a := &admitted{Client: c}
	if back != nil {
		a.offset = back.offset
	}
	for _, want := range missed {
		a.receives(t, namespace, want)
	}
	got := connected(t, c, namespace)
	a.id, a.pid = got.id, got.pid
	return a
}

// connected expects a CONNECT.
func connected(t *testing.T, c *enginetest.Client, namespace string) *admitted {
	t.Helper()
	text := c.Next()
	var answer struct{ SID, PID string }
	if err := json.Unmarshal([]byte(strings.TrimPrefix(text, "40"+namespace+",")), &answer); err != nil || answer.SID == "" {
		t.Fatalf("instead of CONNECT came %s", text)
	}
	return &admitted{Client: c, id: answer.SID, pid: answer.PID}
}

// receives expects an event, behind which an offset stands.
func (a *admitted) receives(t *testing.T, namespace, want string) {
	t.Helper()
	text := a.Next()
	i := strings.LastIndex(text, `,"`)
	if i < 0 || text[:i]+"]" != "42"+namespace+","+want {
		t.Fatalf("got %s, want %s with an offset", text, want)
	}
	a.offset = strings.TrimSuffix(text[i+2:], `"]`)
}

func (a *admitted) join(room string) {
	a.Send(`42/chat,1["join","` + room + `"]`)
	a.Expect(`43/chat,1[{"ok":true}]`)
}

func TestAClientComesBack(t *testing.T) {
	s := withLog(t)
	peer := s.Peer
	other := edgetest.Start(t, edgetest.Options{NATS: s.NATS.ClientURL(), Namespaces: durable()}).Ready()
	for name, n := range map[string]*edgetest.Node{"at its edge": s.Node, "elsewhere": other} {
		t.Run(name, func(t *testing.T) {
			a := connect(t, s.Node.Dial("ann"), "/chat", nil)
			a.join("news")
			peer.Publish("sio.chat.emit.room.news", `["n",1]`)
			a.receives(t, "/chat", `["n",1]`)
			a.Hangup()
			peer.Publish("sio.chat.emit.room.news", `["n",2]`)
			peer.Publish("sio.chat.emit.all", `["n",3]`)
			peer.Publish("sio.chat.emit.socket."+a.id, `["n",4]`)
			peer.Publish("sio.chat.emit.room.others", `["n",5]`)
			peer.Publish("sio.chat.emit.all", `["n",6]`, "Sio-Except: news")
			peer.Publish("sio.chat.emit.all", `["n",7]`, "Sio-Rooms: news", "Sio-Rooms: "+a.id)
			peer.Publish("sio.chat.emit.all", `["n",8]`, "Sio-Volatile: true")
			peer.Flush()
			b := connect(t, n.Dial("ann"), "/chat", a, `["n",2]`, `["n",3]`, `["n",4]`, `["n",7]`)
			if b.id != a.id || b.pid != a.pid {
				t.Errorf("came back as %s with %s, was %s with %s", b.id, b.pid, a.id, a.pid)
			}
			peer.Publish("sio.chat.emit.socket."+b.id, `["n",9]`)
			peer.Publish("sio.chat.emit.room.news", `["n",10]`)
			b.receives(t, "/chat", `["n",9]`)
			b.receives(t, "/chat", `["n",10]`)
			answer := peer.Ask("sio.chat.rooms.socket."+b.id, "[]")
			if !strings.Contains(string(answer.Data), `"news"`) {
				t.Errorf("the rooms are %s", answer.Data)
			}
			// And once more, with nothing missed.
			b.Hangup()
			c := connect(t, s.Node.Dial("ann"), "/chat", b)
			if c.id != a.id {
				t.Errorf("came back the second time as %s", c.id)
			}
			peer.Ask("sio.chat.disconnect.socket."+c.id, "[]")
			c.Expect("41/chat,")
			d := connect(t, s.Node.Dial("ann"), "/chat", c)
			if d.id == a.id {
				t.Error("a socket that a service has ended came back")
			}
		})
	}
}

// The edge of a client dies without a word: its connection to NATS ends, and its client comes to another one.
func TestTheEdgeDies(t *testing.T) {
	s := withLog(t)
	peer := s.Peer
	cable := s.NATS.Cable()
	dying := edgetest.Start(t, edgetest.Options{InProcess: cable, Namespaces: durable()}).Ready()
	a := connect(t, dying.Dial("ann"), "/chat", nil)
	peer.Ask("sio.chat.join.socket."+a.id, `["vip"]`)
	peer.Ask("sio.chat.data.socket."+a.id, `[{"n":1}]`)
	cable.Cut()
	peer.Publish("sio.chat.emit.room.vip", `["n",1]`)
	peer.Flush()
	b := connect(t, s.Node.Dial("ann"), "/chat", a, `["n",1]`)
	if b.id != a.id {
		t.Errorf("came back as %s, was %s", b.id, a.id)
	}
	answer := peer.Ask("sio.chat.data.socket."+b.id, "[]")
	if !strings.Contains(string(answer.Data), `{"n":1}`) {
		t.Errorf("its data is %s", answer.Data)
	}
}

// A client leaves an edge, and comes to another one while the first is without NATS. Commands still reach the first:
// it must not answer.
func TestAnotherEdgeAnswers(t *testing.T) {
	s := withLog(t)
	peer := s.Peer
	cable := s.NATS.Cable()
	first := edgetest.Start(t, edgetest.Options{InProcess: cable, Namespaces: durable()}).Ready()
	ended := peer.Hear("sio.chat.on.disconnect")
	peer.Flush()
	a := connect(t, first.Dial("ann"), "/chat", nil)
	a.Hangup()
	ended.Next()
	cable.Cut()
	b := connect(t, s.Node.Dial("ann"), "/chat", a)
	cable.Mend()
	first.Ready()
	for range 10 {
		for _, verb := range []string{"join", "leave"} {
			answer := peer.Ask("sio.chat."+verb+".socket."+b.id, `["vip"]`)
			if want := `[{"edge":"` + s.Node.ID + `","sockets":1}]`; string(answer.Data) != want {
				t.Fatalf("%s: %v %s, want %s", verb, answer.Header, answer.Data, want)
			}
		}
	}
	b.Hangup()
	ended.Next()
	c := connect(t, first.Dial("ann"), "/chat", b)
	if answer := peer.Ask("sio.chat.disconnect.socket."+c.id, "[]"); answer.Header.Get("Sio-Error") != "" {
		t.Errorf("its first edge does not answer for it again: %v %s", answer.Header, answer.Data)
	}
	if answer := peer.Ask("sio.chat.join.socket."+c.id, `["vip"]`); answer.Header.Get("Sio-Error") != "unknown socket" {
		t.Errorf("a command about a socket that has ended: %v %s", answer.Header, answer.Data)
	}
}

// The edge that ends a socket answers the command, wherever the socket began, and however soon another edge that gets the
// command, too, reads in the record that it has ended.
func TestTheEdgeThatEndsASocketAnswers(t *testing.T) {
	s := withLog(t)
	other := edgetest.Start(t, edgetest.Options{NATS: s.NATS.ClientURL(), Namespaces: durable()}).Ready()
	ended := s.Peer.Hear("sio.chat.on.disconnect")
	s.Peer.Flush()
	leave := func(a *admitted) {
		a.Hangup()
		ended.Next()
	}
	for range 10 {
		a := connect(t, other.Dial("ann"), "/chat", nil)
		leave(a)
		b := connect(t, s.Node.Dial("ann"), "/chat", a)
		if answer := s.Peer.Ask("sio.chat.disconnect.socket."+b.id, "[]"); answer.Header.Get("Sio-Error") != "" {
			t.Fatalf("a socket that began at another edge: %v", answer.Header)
		}
		ended.Next()
		a = connect(t, other.Dial("ann"), "/chat", nil)
		leave(a)
		b = connect(t, s.Node.Dial("ann"), "/chat", a)
		leave(b)
		c := connect(t, other.Dial("ann"), "/chat", b)
		if answer := s.Peer.Ask("sio.chat.disconnect.socket."+c.id, "[]"); answer.Header.Get("Sio-Error") != "" {
			t.Fatalf("a socket that was at another edge: %v", answer.Header)
		}
		ended.Next()
	}
}

// A client leaves while its claim is under way, and comes back elsewhere: the other edge asks for a socket that never
// was one.
func TestAClientIsGoneBeforeItIsBack(t *testing.T) {
	s := withLog(t)
	other := edgetest.Start(t, edgetest.Options{NATS: s.NATS.ClientURL(), Namespaces: durable()}).Ready()
	a := connect(t, s.Node.Dial("ann"), "/chat", nil)
	a.Hangup()
	for range 100 {
		for _, n := range []*edgetest.Node{other, s.Node} {
			hasty := n.Dial("ann")
			hasty.Send(fmt.Sprintf(`40/chat,{"pid":%q}`, a.pid))
			hasty.Hangup()
		}
	}
	for _, n := range []*edgetest.Node{other, s.Node} {
		connect(t, n.Dial("ann"), "/chat", nil)
	}
}

// A client whose edge was without NATS for a moment misses nothing, and need not come back.
func TestNATSIsAwayForAMoment(t *testing.T) {
	s := withLog(t)
	peer := s.Peer
	cable := s.NATS.Cable()
	n := edgetest.Start(t, edgetest.Options{InProcess: cable, Namespaces: durable()}).Ready()
	a := connect(t, n.Dial("ann"), "/chat", nil)
	a.join("news")
	for round := range 3 {
		peer.Publish("sio.chat.emit.room.news", fmt.Sprintf(`["before",%d]`, round))
		a.receives(t, "/chat", fmt.Sprintf(`["before",%d]`, round))
		cable.Cut()
		for i := range 1500 {
			peer.Publish("sio.chat.emit.room.news", fmt.Sprintf(`["n",%d]`, i))
		}
		peer.Flush()
		cable.Mend()
		for i := range 500 {
			peer.Publish("sio.chat.emit.room.news", fmt.Sprintf(`["n",%d]`, 1500+i))
		}
		for i := range 2000 {
			a.receives(t, "/chat", fmt.Sprintf(`["n",%d]`, i))
		}
	}
}

// A pid opens one socket in one namespace, for one client at a time.
func TestAPidThatOpensNothing(t *testing.T) {
	s := withLog(t)
	peer := s.Peer
	a := connect(t, s.Node.Dial("ann"), "/chat", nil)
	peer.Publish("sio.chat.emit.all", `["n",1]`)
	a.receives(t, "/chat", `["n",1]`)
	elsewhere := connect(t, s.Node.Dial("eve"), "/other", a)
	if elsewhere.id == a.id {
		t.Error("it opens the socket in another namespace")
	}
	for _, pid := range []string{"x", a.pid[:len(a.pid)-1] + "x", strings.ToUpper(a.pid), a.pid + "x", a.id} {
		b := connect(t, s.Node.Dial("eve"), "/chat", &admitted{pid: pid, offset: a.offset})
		if b.id == a.id || b.pid == a.pid || b.pid == pid {
			t.Errorf("%q opens the socket", pid)
		}
		b.Hangup()
	}
	b := connect(t, s.Node.Dial("ann"), "/chat", a)
	if b.id != a.id {
		t.Error("the owner of the pid does not come back")
	}
	a.ExpectEnd() // it was half-open
	b.Send("41/chat,")
	edgetest.Eventually(t, "the socket is gone", func() bool {
		return string(peer.Ask("sio.chat.fetch.all", "[]").Data) == `[{"edge":"`+s.Node.ID+`","sockets":0}]`
	})
	if c := connect(t, s.Node.Dial("ann"), "/chat", b); c.id == a.id {
		t.Error("a client that has left comes back")
	}
}

// Events that the log does not repeat do not take the offset back or poison it.
func TestOffsets(t *testing.T) {
	s := withLog(t)
	peer := s.Peer
	a := connect(t, s.Node.Dial("ann"), "/chat", nil)
	peer.Publish("sio.chat.emit.all", `["n",1]`)
	a.receives(t, "/chat", `["n",1]`)
	peer.Publish("sio.chat.emit.all", `["volatile",1]`, "Sio-Volatile: true")
	a.Expect(`42/chat,["volatile",1]`)
	peer.Publish("sio.chat.emit.all", `["volatile","text"]`, "Sio-Volatile: true")
	a.receives(t, "/chat", `["volatile","text"]`)
	peer.Publish("sio.chat.broadcast.all", `["live",{}]`)
	a.Expect(`42/chat,["live",{}]`)
	peer.Publish("sio.chat.broadcast.all", `["live","text"]`)
	a.receives(t, "/chat", `["live","text"]`)
	// Headers of the log that a publisher makes up mean nothing.
	peer.Publish("sio.chat.emit.all", `["forged"]`, "Nats-Sequence: 999999", "Nats-Stream: SIO_LOG")
	a.receives(t, "/chat", `["forged"]`)
	peer.Publish("sio.chat.log.all", `["forged"]`, "Nats-Sequence: 999999")
	a.Hangup()
	peer.Publish("sio.chat.emit.all", `["n",2]`)
	peer.Flush()
	if b := connect(t, s.Node.Dial("ann"), "/chat", a, `["n",2]`); b.id != a.id {
		t.Error("it did not come back")
	}
}

// What a publisher sends first comes first, although events pass the log and commands do not.
func TestCommandsComeBehindEvents(t *testing.T) {
	s := withLog(t)
	peer := s.Peer
	a := connect(t, s.Node.Dial("ann"), "/chat", nil)
	a.join("news")
	for range 50 {
		peer.Publish("sio.chat.emit.room.news", `["last"]`)
		peer.Publish("sio.chat.leave.socket."+a.id, `["news"]`)
		peer.Publish("sio.chat.join.socket."+a.id, `["news"]`)
		a.receives(t, "/chat", `["last"]`)
	}
	for range 50 {
		peer.Publish("sio.chat.grant.socket."+a.id, `[{"rooms":["team"]}]`)
		peer.Flush()
		s.Ask("sio.chat.join.socket."+a.id, `["news"]`) // behind the grant
		peer.Publish("sio.chat.emit.room.team", `["team"]`)
		peer.Publish("sio.chat.grant.socket."+a.id, `[{"rooms":[]}]`)
		a.receives(t, "/chat", `["team"]`)
	}
	peer.Publish("sio.chat.emit.room.news", `["bye"]`)
	peer.Publish("sio.chat.disconnect.socket."+a.id, `[]`)
	a.receives(t, "/chat", `["bye"]`)
	a.Expect("41/chat,")
}

// The sender of a relayed event does not get it, also not from the log.
func TestARelayLeavesOutItsSender(t *testing.T) {
	s := withLog(t)
	a, b := connect(t, s.Node.Dial("ann"), "/chat", nil), connect(t, s.Node.Dial("bob"), "/chat", nil)
	a.join("news")
	b.join("news")
	a.Send(`42/chat,["say","hello"]`)
	b.receives(t, "/chat", `["say","hello"]`)
	a.Hangup()
	b.Send(`42/chat,["say","are you there"]`)
	a = connect(t, s.Node.Dial("ann"), "/chat", a, `["say","are you there"]`)
	a.Send(`42/chat,["say","yes"]`)
	b.receives(t, "/chat", `["say","yes"]`)
}
