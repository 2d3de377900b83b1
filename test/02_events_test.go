package test

import (
	"strings"
	"testing"

	"partyline/rule"
)

func TestEventIsPassedOnByteForByte(t *testing.T) {
	s := begin(t, usual())
	a := s.Enter("a", "/chat")
	events := s.hear("sio.chat.on.message")
	for _, body := range []string{
		`["message"]`, `["message","hello"]`, ` [ "message" , {"b":1.0,"a":1e2, "a":null} ] `, `["m\u0065ssage","\u00e9\/é 한국 🎈"]`,
		`["message",[[[]]],{},12345678901234567890,"\ud83c\udf88"]`, `["message",{"_placeholder":true,"num":0}]`,
	} {
		a.Emit("", body)
		if m := events.Gets("sio.chat.on.message", a.Address(), body); m.Header != nil {
			t.Errorf("%s came with the headers %v", body, m.Header)
		}
	}
}

func TestEventNamesInSubjects(t *testing.T) {
	s := begin(t, usual())
	a := s.Enter("a", "/chat")
	events := s.hear("sio.chat.on.>")
	for body, tail := range map[string]string{
		`["order.123"]`:         "order.123",
		`["with space"]`:        "with%20space",
		`["한국 메시지"]`:            "한국%20메시지",
		`["🎈"]`:                 "🎈",
		`["*"]`:                 "%2A",
		`["a.>"]`:               "a.%3E",
		`["100%"]`:              "100%25",
		`["all"]`:               "%61ll",
		`["room.vip"]`:          "%72oom.vip",
		`["socket.x"]`:          "%73ocket.x",
		`["allow"]`:             "allow",
		`["Room.vip"]`:          "Room.vip",
		`["x.all"]`:             "x.all",
		`[""]`:                  "%",
		`["."]`:                 "%2E",
		`[".a..b."]`:            "%2Ea.%2Eb%2E",
		`["\n\u0000\u007f"]`:    "%0A%00%7F",
		`["\u0061\u002eb"]`:     "a.b",
		`["\ud83c\udf88"]`:      "🎈",
		`[5]`:                   "5",
		`[-1.50e3]`:             "-1.50e3",
		`["connection"]`:        "connection",
		`["$SYS.x"]`:            "$SYS.x",
		`["join"]`:              "join",
		`["a b.c","connect"]`:   "a%20b.c",
		`["1.2.3.4.5.6.7.8.9"]`: "1.2.3.4.5.6.7.8.9",
	} {
		a.Emit("", body)
		events.Gets("sio.chat.on."+tail, a.Address(), body)
	}
}

func TestNamespacesInSubjects(t *testing.T) {
	s := begin(t, rules{"*": {Connect: rule.ConnectOpen}})
	events := s.hear("sio.*.on.hi")
	for name, token := range map[string]string{
		"/": "_", "/chat": "chat", "/a.b": "a%2Eb", "/$x": "%24x", "/_": "%5F", "/a/b": "a/b", "/한국 방": "한국%20방", "/a*": "a%2A",
	} {
		c, head := s.Dial(name), name+","
		if name == "/" {
			head = ""
		}
		id := c.Connect(name, "")
		c.Send("42" + head + `["hi"]`)
		events.Gets("sio."+token+".on.hi", "sio."+token+".emit.socket."+id, `["hi"]`)
		s.Publish("sio."+token+".emit.all", `["all"]`)
		c.Expect("42" + head + `["all"]`)
	}
}

func TestWildcardsHearDottedEvents(t *testing.T) {
	s := begin(t, usual())
	a := s.Enter("a", "/chat")
	one, deep := s.hear("sio.chat.on.order.*"), s.hear("sio.*.on.order.>")
	a.Emit("", `["order.123"]`)
	a.Emit("", `["order.123.paid"]`)
	a.Emit("", `["orders.1"]`)
	a.Emit("", `["order.*"]`)
	one.Gets("sio.chat.on.order.123", a.Address(), `["order.123"]`)
	one.Gets("sio.chat.on.order.%2A", a.Address(), `["order.*"]`)
	deep.Gets("sio.chat.on.order.123", a.Address(), `["order.123"]`)
	deep.Gets("sio.chat.on.order.123.paid", a.Address(), `["order.123.paid"]`)
	deep.Gets("sio.chat.on.order.%2A", a.Address(), `["order.*"]`)
}

// An event named like a target is an event for services. It reaches no client.
func TestEventNamedLikeATargetReachesNoClient(t *testing.T) {
	s := begin(t, usual())
	a, b := s.Enter("a", "/chat"), s.Enter("b", "/chat")
	s.join(b, `["vip"]`)
	events := s.hear("sio.chat.on.>")
	for _, name := range []string{"all", "room.vip", "socket." + b.ID} {
		a.Emit("", `["`+name+`"]`)
		events.Next()
	}
	s.onlyMarker(a, b)
}

func TestReplyReachesTheSender(t *testing.T) {
	s := begin(t, usual())
	a, b := s.Enter("a", "/chat"), s.Enter("b", "/chat")
	events := s.hear("sio.chat.on.message")
	a.Emit("", `["message"]`)
	if err := events.Next().Respond([]byte(`["only you"]`)); err != nil {
		t.Fatal(err)
	}
	a.Gets(`["only you"]`)
	s.onlyMarker(a, b)
}

func TestEventsWithoutSubscriberAreCounted(t *testing.T) {
	s := begin(t, usual())
	a := s.Enter("a", "/chat")
	s.Counts("no_responders_total", "", 1) // the notice that a has connected
	a.Emit("", `["message"]`)
	a.Emit("1", `["message"]`)
	s.Counts("no_responders_total", "", 3)
	s.onlyMarker(a)
	s.hear("sio.chat.on.message")
	a.Emit("", `["message"]`)
	s.Counts("events_in_total", "", 3)
	s.onlyMarker(a)
	s.Counts("no_responders_total", "", 3)
}

// A client cannot publish the life events of a socket.
func TestReservedNamesEndTheSession(t *testing.T) {
	s := begin(t, usual())
	events := s.hear("sio.chat.on.>")
	for _, body := range []string{
		`["connect",{"sid":"x"}]`, `["disconnect"]`, `["d\u0069sconnect"]`, `["connect_error"]`, `["disconnecting"]`, `["newListener"]`,
		`["removeListener"]`, `[]`, `[null]`, `{}`, `["x"`, `["\ud800"]`, `["` + strings.Repeat("x", 513) + `"]`,
		`["` + strings.Repeat("x.", 16) + `x"]`,
	} {
		a := s.Enter("a", "/chat")
		if m := events.Next(); m.Subject != "sio.chat.on.connect" {
			t.Fatalf("on.connect was expected, %s %s came", m.Subject, m.Data)
		}
		a.Emit("", body)
		a.ExpectEnd()
		events.Gets("sio.chat.on.disconnect", a.Address(), `["disconnect",{"reason":"forced close","rooms":[]}]`)
	}
}
