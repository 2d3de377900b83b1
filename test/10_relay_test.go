package test

import (
	"strings"
	"testing"

	"partyline/edge"
)

// relayed is a namespace in which clients do everything by themselves.
func relayed(relay ...edge.Relay) rules {
	return rules{
		"/chat": {Connect: edge.ConnectOpen, Rooms: []string{"lobby-*", "vip"}, Relay: relay},
		"/":     {Connect: edge.ConnectOpen},
	}
}

// lap sends a marker through the namespace: every rule set that calls it relays "lap" to all, its sender included.
var lap = edge.Relay{Event: "lap", To: edge.ToAll, Self: true}

// onlyLap shows that nothing of what a client sent before reached these sockets.
func onlyLap(from *socket, sockets ...*socket) {
	from.send("", `["lap"]`)
	for _, so := range sockets {
		so.gets(`["lap"]`)
	}
}

func TestClientsJoinAndLeaveByThemselves(t *testing.T) {
	s := begin(t, relayed())
	a := s.enter("a", "/chat")
	everything := s.hear("sio.chat.on.>")
	a.send("0", `["join","lobby-1"]`)
	a.Expect(`43/chat,0[{"ok":true}]`)
	s.publish("sio.chat.emit.room.lobby-1", `["in"]`)
	a.gets(`["in"]`)
	a.send("", `["join","v\u0069p"]`) // nobody waits for the answer
	a.send("5", `["leave","lobby-1"]`)
	a.Expect(`43/chat,5[{"ok":true}]`)
	s.publish("sio.chat.emit.room.lobby-1", `["out"]`)
	s.publish("sio.chat.emit.room.vip", `["in"]`)
	a.gets(`["in"]`)
	a.send("6", `["leave","vip","more","arguments"]`)
	a.Expect(`43/chat,6[{"ok":true}]`)
	a.send("7", `["leave","vip"]`) // not in it any more: that holds, too
	a.Expect(`43/chat,7[{"ok":true}]`)
	s.onlyMarker(a)
	a.send("", `["marker"]`)
	everything.gets("sio.chat.on.marker", a.address(), `["marker"]`)
}

func TestClientsJoinNoOtherRooms(t *testing.T) {
	s := begin(t, relayed().with("/any", edge.Namespace{Connect: edge.ConnectOpen, Rooms: []string{"*"}}))
	a := s.enter("a", "/chat")
	s.join(a, `["secret"]`)
	for _, args := range []string{`,"secret"`, `,"lobby"`, `,"VIP"`, `,"vip2"`, `,""`, ``, `,1`, `,null`, `,["vip"]`, `,"\ud800"`} {
		for _, verb := range []string{"join", "leave"} {
			a.send("1", `["`+verb+`"`+args+`]`)
			if got := a.Next(); !strings.HasPrefix(got, `43/chat,1[{"error":"`) {
				t.Errorf("%s%s was answered %q", verb, args, got)
			}
		}
	}
	s.publish("sio.chat.emit.room.secret", `["still in"]`)
	a.gets(`["still in"]`)
	b := s.enter("b", "/any")
	for _, room := range []string{b.id, "abcdefgh.AAAAAAAAAAAAAAAAAAAA", strings.Repeat("x", 513), strings.Repeat("x.", 16) + "x"} {
		b.send("1", `["join","`+room+`"]`)
		if got := b.Next(); !strings.HasPrefix(got, `43/any,1[{"error":"`) {
			t.Errorf("join %q was answered %q", room, got)
		}
	}
	s.counts("rooms", "", 1)
}

// Where no room may be joined by clients, join and leave are events like any other.
func TestJoinIsAnEventWithoutRules(t *testing.T) {
	s := begin(t, usual())
	a := s.enter("a", "/chat")
	events := s.hear("sio.chat.on.join")
	a.send("1", `["join","vip"]`)
	events.gets("sio.chat.on.join", a.ack("1"), `["join","vip"]`)
}

func TestAutoJoin(t *testing.T) {
	s := begin(t, rules{
		"/chat": {Connect: edge.ConnectOpen, AutoJoin: []string{"hall", "한국 방"}},
		"/door": {AutoJoin: []string{"hall", "vip"}},
	})
	s.serve("door", `[{"rooms":["vip","own"]}]`)
	notices := s.hear("sio.*.on.disconnect")
	a, b := s.enter("a", "/chat"), s.enter("b", "/door")
	for _, room := range []string{"hall", "한국%20방"} {
		s.publish("sio.chat.emit.room."+room, `["in"]`)
		a.gets(`["in"]`)
	}
	for _, room := range []string{"hall", "vip", "own"} {
		s.publish("sio.door.emit.room."+room, `["in"]`)
		b.gets(`["in"]`)
	}
	s.onlyMarker(a, b)
	a.Send("41/chat,")
	notices.gets("sio.chat.on.disconnect", a.address(), left("client namespace disconnect", "hall", "한국 방"))
	b.Send("41/door,")
	notices.gets("sio.door.on.disconnect", b.address(), left("client namespace disconnect", "hall", "vip", "own"))
}

func TestRelayToAll(t *testing.T) {
	for _, self := range []bool{false, true} {
		s := begin(t, relayed(edge.Relay{Event: "news", To: edge.ToAll, Self: self}, lap))
		a, b, other := s.enter("a", "/chat"), s.enter("b", "/chat"), s.enter("other", "/")
		events := s.hear("sio.chat.on.news")
		for _, id := range []string{"", "4"} {
			a.send(id, `["news" , 1.0 ] `)
			b.gets(`["news" , 1.0 ] `)
			if self {
				a.gets(`["news" , 1.0 ] `)
			}
			onlyLap(a, a, b)
			m := events.next() // services get it, and may ack it
			if id != "" {
				_ = m.Respond([]byte(`["got it"]`))
				a.Expect(`43/chat,4["got it"]`)
			}
		}
		s.onlyMarker(other)
	}
}

// Several rooms are a union: who is in two of them gets the event once.
func TestRelayToTheSendersRooms(t *testing.T) {
	for _, self := range []bool{false, true} {
		s := begin(t, relayed(edge.Relay{Event: "message", To: edge.ToRooms, Self: self}, lap))
		a, b, c, d := s.crowd()
		tell := func(from *socket, who ...*socket) {
			t.Helper()
			from.send("", `["message","hi"]`)
			if self && len(who) > 0 {
				who = append(who, from)
			}
			for _, so := range who {
				so.gets(`["message","hi"]`)
			}
			onlyLap(from, a, b, c, d)
		}
		tell(a, b)
		tell(b, a, c)
		tell(c, b)
		tell(d)
		s.join(a, `["y","한국 방"]`)
		tell(a, b, c)
		from := a
		from.Send(`451-/chat,["message",{"_placeholder":true,"num":0}]`)
		from.SendBinary([]byte("abc"))
		for _, so := range []*socket{b, c} {
			so.Expect(`451-/chat,["message",{"_placeholder":true,"num":0}]`)
			so.Expect("babc")
		}
	}
}

func TestRelayToRoomsOrAll(t *testing.T) {
	s := begin(t, relayed(edge.Relay{Event: "message", To: edge.ToRoomsOrAll}, lap))
	a, b, c, d := s.crowd()
	d.send("", `["message","to all"]`)
	for _, so := range []*socket{a, b, c} {
		so.gets(`["message","to all"]`)
	}
	a.send("", `["message","to x"]`)
	b.gets(`["message","to x"]`)
	onlyLap(a, a, b, c, d)
}

// The first argument names a room, which the sender must be in.
func TestRelayToARoom(t *testing.T) {
	for _, self := range []bool{false, true} {
		s := begin(t, relayed(edge.Relay{Event: "say", To: edge.ToRoom, Self: self}, lap))
		a, b, c, d := s.crowd()
		s.join(b, `["order.1 *"]`)
		s.join(c, `["order.1 *"]`)
		b.send("", `["say","x","hi"]`)
		a.gets(`["say","x","hi"]`)
		if self {
			b.gets(`["say","x","hi"]`)
		}
		c.send("", `["say","order.1 *"]`)
		b.gets(`["say","order.1 *"]`)
		if self {
			c.gets(`["say","order.1 *"]`)
		}
		for _, args := range []string{`,"y"`, `,"nobody"`, ``, `,1`, `,"` + c.id + `"`, `,["x"]`} {
			a.send("", `["say"`+args+`]`)
		}
		onlyLap(a, a, b, c, d)
	}
}

func TestRelayToASocket(t *testing.T) {
	for _, self := range []bool{false, true} {
		s := begin(t, relayed(edge.Relay{Event: "direct*", To: edge.ToSocket, Self: self}, lap))
		a, b := s.enter("a", "/chat"), s.enter("b", "/chat")
		other := s.enter("other", "/")
		a.send("9", `["direct-message","`+b.id+`","psst"]`)
		b.gets(`["direct-message","` + b.id + `","psst"]`)
		a.send("", `["direct","`+a.id+`"]`)
		if self {
			a.gets(`["direct","` + a.id + `"]`)
		}
		for _, args := range []string{`,"` + other.id + `"`, `,"` + s.ID + `.aaaaaaaaaaaaaaaaaaaa"`, `,"` + b.id + `.x"`, `,"x"`, ``, `,1`, `,"*"`} {
			a.send("", `["direct"`+args+`]`)
		}
		onlyLap(a, a, b)
		s.onlyMarker(other)
	}
}

func TestFirstMatchingRuleApplies(t *testing.T) {
	s := begin(t, relayed(
		edge.Relay{Event: "to.socket", To: edge.ToSocket}, lap, edge.Relay{Event: "to.*", To: edge.ToAll},
		edge.Relay{Event: "to.all*", To: edge.ToAll, Self: true},
	))
	a, b := s.enter("a", "/chat"), s.enter("b", "/chat")
	a.send("", `["to.socket","nobody"]`)
	a.send("", `["to.all"]`)
	b.gets(`["to.all"]`)
	a.send("", `["other"]`)
	onlyLap(a, a, b)
}

// A rule is nothing but a publish on the public subjects, which anyone may watch.
func TestRelaysArePublicPublishes(t *testing.T) {
	s := begin(t, relayed(edge.Relay{Event: "message", To: edge.ToRooms}, edge.Relay{Event: "news", To: edge.ToAll, Self: true}))
	a := s.enter("a", "/chat")
	watch := s.hear("sio.chat.>")
	a.send("1", `["news"]`)
	watch.gets("sio.chat.on.news", a.ack("1"), `["news"]`)
	watch.gets("sio.chat.emit.all", "", `["news"]`)
	a.gets(`["news"]`)
	s.join(a, `["x"]`)
	watch.next()
	a.send("", `["message"]`)
	watch.gets("sio.chat.on.message", a.address(), `["message"]`)
	watch.gets("sio.chat.broadcast.room.x", a.address(), `["message"]`)
	s.join(a, `["y z"]`)
	watch.next()
	a.send("", `["message"]`)
	watch.gets("sio.chat.on.message", a.address(), `["message"]`)
	m := watch.gets("sio.chat.broadcast.all", a.address(), `["message"]`)
	if got := strings.Join(m.Header["Sio-Rooms"], ","); got != "x,y%20z" {
		t.Errorf("Sio-Rooms is %q", got)
	}
}
