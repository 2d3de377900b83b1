package test

import (
	"strings"
	"testing"

	"partyline/rule"
)

// relayed is a namespace whose clients need no service.
func relayed(relay ...rule.Relay) rules {
	return rules{
		"/chat": {Connect: rule.ConnectOpen, Rooms: []string{"lobby-*", "vip"}, Relay: relay},
		"/":     {Connect: rule.ConnectOpen},
	}
}

// lap sends a marker through the namespace. All rule sets that call it relay "lap" to all, its sender included.
var lap = rule.Relay{Event: "lap", To: rule.ToAll, Self: true}

// onlyLap checks that nothing that a client sent before reached these sockets.
func onlyLap(from *socket, sockets ...*socket) {
	from.Emit("", `["lap"]`)
	for _, so := range sockets {
		so.Gets(`["lap"]`)
	}
}

func TestClientsJoinAndLeaveByThemselves(t *testing.T) {
	s := begin(t, relayed())
	a := s.Enter("a", "/chat")
	everything := s.hear("sio.chat.on.>")
	a.Emit("0", `["join","lobby-1"]`)
	a.Expect(`43/chat,0[{"ok":true}]`)
	s.Publish("sio.chat.emit.room.lobby-1", `["in"]`)
	a.Gets(`["in"]`)
	a.Emit("", `["join","v\u0069p"]`) // without an ack
	a.Emit("5", `["leave","lobby-1"]`)
	a.Expect(`43/chat,5[{"ok":true}]`)
	s.Publish("sio.chat.emit.room.lobby-1", `["out"]`)
	s.Publish("sio.chat.emit.room.vip", `["in"]`)
	a.Gets(`["in"]`)
	a.Emit("6", `["leave","vip","more","arguments"]`)
	a.Expect(`43/chat,6[{"ok":true}]`)
	a.Emit("7", `["leave","vip"]`) // it is not a member any more, which is no error
	a.Expect(`43/chat,7[{"ok":true}]`)
	s.onlyMarker(a)
	a.Emit("", `["marker"]`)
	everything.Gets("sio.chat.on.marker", a.Address(), `["marker"]`)
}

func TestClientsJoinNoOtherRooms(t *testing.T) {
	s := begin(t, relayed().with("/any", rule.Namespace{Connect: rule.ConnectOpen, Rooms: []string{"*"}}))
	a := s.Enter("a", "/chat")
	s.join(a, `["secret"]`)
	for _, args := range []string{`,"secret"`, `,"lobby"`, `,"VIP"`, `,"vip2"`, `,""`, ``, `,1`, `,null`, `,["vip"]`, `,"\ud800"`} {
		for _, verb := range []string{"join", "leave"} {
			a.Emit("1", `["`+verb+`"`+args+`]`)
			if got := a.Next(); !strings.HasPrefix(got, `43/chat,1[{"error":"`) {
				t.Errorf("%s%s was answered %q", verb, args, got)
			}
		}
	}
	s.Publish("sio.chat.emit.room.secret", `["still in"]`)
	a.Gets(`["still in"]`)
	b := s.Enter("b", "/any")
	for _, room := range []string{b.ID, "abcdefgh.AAAAAAAAAAAAAAAAAAAA", strings.Repeat("x", 513), strings.Repeat("x.", 16) + "x"} {
		b.Emit("1", `["join","`+room+`"]`)
		if got := b.Next(); !strings.HasPrefix(got, `43/any,1[{"error":"`) {
			t.Errorf("join %q was answered %q", room, got)
		}
	}
	s.Counts("rooms", "", 1)
}

// If clients may join no room, join and leave are ordinary events.
func TestJoinIsAnEventWithoutRules(t *testing.T) {
	s := begin(t, usual())
	a := s.Enter("a", "/chat")
	events := s.hear("sio.chat.on.join")
	a.Emit("1", `["join","vip"]`)
	events.Gets("sio.chat.on.join", a.Ack("1"), `["join","vip"]`)
}

func TestAutoJoin(t *testing.T) {
	s := begin(t, rules{
		"/chat": {Connect: rule.ConnectOpen, AutoJoin: []string{"hall", "한국 방"}},
		"/door": {AutoJoin: []string{"hall", "vip"}},
	})
	s.serve("door", `[{"rooms":["vip","own"]}]`)
	notices := s.hear("sio.*.on.disconnect")
	a, b := s.Enter("a", "/chat"), s.Enter("b", "/door")
	for _, room := range []string{"hall", "한국%20방"} {
		s.Publish("sio.chat.emit.room."+room, `["in"]`)
		a.Gets(`["in"]`)
	}
	for _, room := range []string{"hall", "vip", "own"} {
		s.Publish("sio.door.emit.room."+room, `["in"]`)
		b.Gets(`["in"]`)
	}
	s.onlyMarker(a, b)
	a.Send("41/chat,")
	notices.Gets("sio.chat.on.disconnect", a.Address(), left("client namespace disconnect", "hall", "한국 방"))
	b.Send("41/door,")
	notices.Gets("sio.door.on.disconnect", b.Address(), left("client namespace disconnect", "hall", "vip", "own"))
}

func TestRelayToAll(t *testing.T) {
	for _, self := range []bool{false, true} {
		s := begin(t, relayed(rule.Relay{Event: "news", To: rule.ToAll, Self: self}, lap))
		a, b, other := s.Enter("a", "/chat"), s.Enter("b", "/chat"), s.Enter("other", "/")
		events := s.hear("sio.chat.on.news")
		for _, id := range []string{"", "4"} {
			a.Emit(id, `["news" , 1.0 ] `)
			b.Gets(`["news" , 1.0 ] `)
			if self {
				a.Gets(`["news" , 1.0 ] `)
			}
			onlyLap(a, a, b)
			m := events.Next() // services get it, and may ack it
			if id != "" {
				_ = m.Respond([]byte(`["got it"]`))
				a.Expect(`43/chat,4["got it"]`)
			}
		}
		s.onlyMarker(other)
	}
}

// Several rooms are a union: a socket in two of them gets the event once.
func TestRelayToTheSendersRooms(t *testing.T) {
	for _, self := range []bool{false, true} {
		s := begin(t, relayed(rule.Relay{Event: "message", To: rule.ToRooms, Self: self}, lap))
		a, b, c, d := s.crowd()
		tell := func(from *socket, who ...*socket) {
			t.Helper()
			from.Emit("", `["message","hi"]`)
			if self && len(who) > 0 {
				who = append(who, from)
			}
			for _, so := range who {
				so.Gets(`["message","hi"]`)
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
	s := begin(t, relayed(rule.Relay{Event: "message", To: rule.ToRoomsOrAll}, lap))
	a, b, c, d := s.crowd()
	d.Emit("", `["message","to all"]`)
	for _, so := range []*socket{a, b, c} {
		so.Gets(`["message","to all"]`)
	}
	a.Emit("", `["message","to x"]`)
	b.Gets(`["message","to x"]`)
	onlyLap(a, a, b, c, d)
}

// The first argument names a room, which the sender must be in.
func TestRelayToARoom(t *testing.T) {
	for _, self := range []bool{false, true} {
		s := begin(t, relayed(rule.Relay{Event: "say", To: rule.ToRoom, Self: self}, lap))
		a, b, c, d := s.crowd()
		s.join(b, `["order.1 *"]`)
		s.join(c, `["order.1 *"]`)
		b.Emit("", `["say","x","hi"]`)
		a.Gets(`["say","x","hi"]`)
		if self {
			b.Gets(`["say","x","hi"]`)
		}
		c.Emit("", `["say","order.1 *"]`)
		b.Gets(`["say","order.1 *"]`)
		if self {
			c.Gets(`["say","order.1 *"]`)
		}
		for _, args := range []string{`,"y"`, `,"nobody"`, ``, `,1`, `,"` + c.ID + `"`, `,["x"]`} {
			a.Emit("", `["say"`+args+`]`)
		}
		onlyLap(a, a, b, c, d)
	}
}

func TestRelayToASocket(t *testing.T) {
	for _, self := range []bool{false, true} {
		s := begin(t, relayed(rule.Relay{Event: "direct*", To: rule.ToSocket, Self: self}, lap))
		a, b := s.Enter("a", "/chat"), s.Enter("b", "/chat")
		other := s.Enter("other", "/")
		a.Emit("9", `["direct-message","`+b.ID+`","psst"]`)
		b.Gets(`["direct-message","` + b.ID + `","psst"]`)
		a.Emit("", `["direct","`+a.ID+`"]`)
		if self {
			a.Gets(`["direct","` + a.ID + `"]`)
		}
		for _, args := range []string{`,"` + other.ID + `"`, `,"` + s.ID + `.aaaaaaaaaaaaaaaaaaaa"`, `,"` + b.ID + `.x"`, `,"x"`, ``, `,1`, `,"*"`} {
			a.Emit("", `["direct"`+args+`]`)
		}
		onlyLap(a, a, b)
		s.onlyMarker(other)
	}
}

func TestFirstMatchingRuleApplies(t *testing.T) {
	s := begin(t, relayed(
		rule.Relay{Event: "to.socket", To: rule.ToSocket}, lap, rule.Relay{Event: "to.*", To: rule.ToAll},
		rule.Relay{Event: "to.all*", To: rule.ToAll, Self: true},
	))
	a, b := s.Enter("a", "/chat"), s.Enter("b", "/chat")
	a.Emit("", `["to.socket","nobody"]`)
	a.Emit("", `["to.all"]`)
	b.Gets(`["to.all"]`)
	a.Emit("", `["other"]`)
	onlyLap(a, a, b)
}

// A rule only publishes on the public subjects, which every client of NATS may watch.
func TestRelaysArePublicPublishes(t *testing.T) {
	s := begin(t, relayed(rule.Relay{Event: "message", To: rule.ToRooms}, rule.Relay{Event: "news", To: rule.ToAll, Self: true}))
	a := s.Enter("a", "/chat")
	watch := s.hear("sio.chat.>")
	a.Emit("1", `["news"]`)
	watch.Gets("sio.chat.on.news", a.Ack("1"), `["news"]`)
	watch.Gets("sio.chat.emit.all", "", `["news"]`)
	a.Gets(`["news"]`)
	s.join(a, `["x"]`)
	watch.Next()
	a.Emit("", `["message"]`)
	watch.Gets("sio.chat.on.message", a.Address(), `["message"]`)
	watch.Gets("sio.chat.broadcast.room.x", a.Address(), `["message"]`)
	s.join(a, `["y z"]`)
	watch.Next()
	a.Emit("", `["message"]`)
	watch.Gets("sio.chat.on.message", a.Address(), `["message"]`)
	m := watch.Gets("sio.chat.broadcast.all", a.Address(), `["message"]`)
	if got := strings.Join(m.Header["Sio-Rooms"], ","); got != "x,y%20z" {
		t.Errorf("Sio-Rooms is %q", got)
	}
}
