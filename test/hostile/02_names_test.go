package hostile

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"partyline/subjects"
)

// allowed are names that clients may choose, as JSON, and their form in a subject as an event and as a room ("" for
// the same form).
var allowed = []struct{ json, event, room string }{
	{`"order.123"`, "order.123", ""},
	{`".."`, "%2E%2E", ""},
	{`".x."`, "%2Ex%2E", ""},
	{`"a b\tc\n"`, "a%20b%09c%0A", ""},
	{`"*"`, "%2A", ""},
	{`">"`, "%3E", ""},
	{`"a.>"`, "a.%3E", ""},
	{`"a.*.b"`, "a.%2A.b", ""},
	{`"%"`, "%25", ""},
	{`"%2A"`, "%252A", ""},
	{`"안녕 세상"`, "안녕%20세상", ""},
	{`"😀"`, "😀", ""},
	{`"\ud83d\ude00"`, "😀", ""},
	{`""`, "%", ""},
	{`"\u0000"`, "%00", ""},
	{`"$SYS.REQ"`, "$SYS.REQ", ""},
	{`"_INBOX.x"`, "_INBOX.x", ""},
	{`"all"`, "%61ll", "all"},
	{`"\u0061ll"`, "%61ll", "all"},
	{`"room.vip"`, "%72oom.vip", "room.vip"},
	{`"room"`, "%72oom", "room"},
	{`"allx"`, "allx", ""},
	{`"__proto__"`, "__proto__", ""},
	{`"toString"`, "toString", ""},
	{`"\"quoted\\"`, `"quoted\`, ""},
	{`"\u202e\u200b"`, "\u202e\u200b", ""},
	{`"` + strings.Repeat("é", 256) + `"`, strings.Repeat("é", 256), ""},
	{`"` + strings.Repeat("x.", 15) + `x"`, strings.Repeat("x.", 15) + "x", ""},
}

// Services receive an event under the name that the client chose. No name reaches another receiver: a client cannot
// produce the subjects that have a meaning for edges.
func TestAllowedEventNames(t *testing.T) {
	s := begin(t)
	so, bystander := s.enter("namer"), s.enter("bystander")
	everything := s.Hear("sio.chat.on.>")
	said := len(s.Logged())
	send := func(name, tail string) {
		t.Helper()
		body := `[` + name + `,1]`
		so.Send("42/chat," + body)
		for {
			m := everything.Next()
			if m.Subject == pairSubject {
				continue
			}
			if m.Subject != subject+tail || string(m.Data) != body || !strings.HasSuffix(m.Reply, so.ID) {
				t.Errorf("event %s came on %q, reply %q, as %q", name, m.Subject, m.Reply, m.Data)
			}
			return
		}
	}
	for _, c := range allowed {
		send(c.json, c.event)
	}
	for _, number := range []string{"7", "-1", "1.5", "1e400", "-0.0E+1"} {
		send(number, number)
	}
	id := bystander.ID
	send(`"socket.`+id+`"`, "%73ocket."+id)
	send(`"emit.socket.`+id+`"`, "emit.socket."+id)
	send(`"`+id+`"`, id)
	s.alive("names of others", bystander)
	s.alive("allowed names", so)
	s.quiet("allowed names", said)
	so.Hangup()
	bystander.Hangup()
}

// The same names for rooms.
func TestAllowedRoomNames(t *testing.T) {
	s := begin(t)
	so := s.enter("namer")
	said := len(s.Logged())
	for _, c := range allowed {
		room := c.room
		if room == "" {
			room = c.event
		}
		so.Send(`42/chat,1["join",` + c.json + `]`)
		so.Expect(`43/chat,1[{"ok":true}]`)
		s.Publish("sio.chat.emit.room."+room, `["in"]`)
		so.Expect(`42/chat,["in"]`)
		so.Send(`42/chat,2["leave",` + c.json + `]`)
		so.Expect(`43/chat,2[{"ok":true}]`)
		s.alive("the room "+c.json, so)
	}
	s.quiet("allowed names", said)
	so.Hangup()
}

// Bad room names are answered with an error, and end no session.
func TestBadRoomNames(t *testing.T) {
	s := begin(t)
	so := s.enter("namer")
	said := len(s.Logged())
	for argument, want := range map[string]string{
		``:                                       "must be the room's name",
		`,1`:                                     "must be the room's name",
		`,null`:                                  "must be the room's name",
		`,["x"]`:                                 "must be the room's name",
		`,{}`:                                    "must be the room's name",
		`,"\ud800"`:                              "must be the room's name",
		`,"` + so.ID + `"`:                       "form of a socket id",
		`,"` + strings.Repeat("x", 10_000) + `"`: "longer than 512 bytes",
		`,"` + strings.Repeat("x.", 250) + `x"`:  "16 tokens",
	} {
		for _, verb := range []string{"join", "leave"} {
			so.Send(`42/chat,1["` + verb + `"` + argument + `]`)
			var answer []struct{ Error string }
			got := so.Next()
			if err := json.Unmarshal([]byte(strings.TrimPrefix(got, "43/chat,1")), &answer); err != nil || len(answer) != 1 || !strings.Contains(answer[0].Error, want) {
				t.Errorf("%s %.40s was answered %q, want an error with %q", verb, argument, got, want)
			}
		}
	}
	s.alive("bad rooms", so)
	s.quiet("bad rooms", said)
	so.Hangup()
}

func TestBadNames(t *testing.T) {
	s := begin(t)
	event := func(name, says string) crime {
		return text("an event "+fmt.Sprintf("%.40s", name), "42/chat,"+name, forced, says)
	}
	long := strings.Repeat("x", 10_000)
	s.punished([]crime{
		event(`[]`, "not an event name"),
		event(`[null,"x"]`, "not an event name"),
		event(`[true]`, "not an event name"),
		event(`[["x"]]`, "not an event name"),
		event(`[{"toString":"x"}]`, "not an event name"),
		event(`["\ud800"]`, "half a surrogate pair"),
		event(`["\udc00\ud800x"]`, "half a surrogate pair"),
		event(`["x\ud83d"]`, "half a surrogate pair"),
		event(`["connect"]`, "reserved"),
		event(`["disconnect",{"reason":"a lie"}]`, "reserved"),
		event(`["\u0063onnect"]`, "reserved"),
		event(`["\u0064\u0069sconnect"]`, "reserved"),
		event(`["connect\u005ferror"]`, "reserved"),
		event(`["newListener"]`, "reserved"),
		event(`["remove\u004cistener"]`, "reserved"),
		event(`["disconnecting"]`, "reserved"),
		event(`["`+long+`"]`, "longer than 512 bytes"),
		event(`["`+strings.Repeat(`\u0078`, 513)+`"]`, "longer than 512 bytes"),
		event(`["`+strings.Repeat(`안`, 171)+`"]`, "longer than 512 bytes"),
		event(`[`+strings.Repeat("1", 10_000)+`]`, "longer than 512 bytes"),
		event(`["`+strings.Repeat("x.", 249)+`x"]`, "16 tokens"),
		event(`["`+strings.Repeat("x.", 16)+`x"]`, "16 tokens"),
		text("a namespace of 10 KB", "40/"+long+",", forced, "longer than 512 bytes"),
		text("an event for a namespace of 10 KB", "42/"+long+`,["x"]`, outOfTurn, "out of turn"),
		text("half a character in a namespace", "40/\xed\xa0\x80,", transport, "not UTF-8"),
	})
}

// Names of namespaces that match a pattern of the configuration.
func TestNamespaceNames(t *testing.T) {
	s := begin(t)
	so := s.enter("namer")
	said := len(s.Logged())
	for _, name := range []string{"a.b.c", "*", ">", "a b", "%", "한국", "😀", "..", "x/y/../z", "?a=1&b=2", "$SYS", "\x7f", "\u202e", strings.Repeat(".", 400)} {
		namespace := "/extra-" + name
		token, err := subjects.AppendNamespace(nil, namespace)
		if err != nil {
			t.Fatal(err)
		}
		notices := s.Hear("sio." + string(token) + ".on.*")
		id := so.Connect(namespace, "")
		if m := notices.Next(); !strings.HasSuffix(m.Reply, id) {
			t.Errorf("%q connected as %s", namespace, m.Reply)
		}
		so.Send("41" + namespace + ",")
		notices.Next()
		_ = notices.Unsubscribe()
	}
	s.alive("namespaces", so)
	s.quiet("namespaces", said)
	for _, name := range []string{"/none", "/chat2", "/chat/", "/Chat", "//chat", "/%63hat", "/chat\x00", "/all", "/$edge"} {
		so.Send("40" + name + ",")
		so.Expect("44" + name + `,{"message":"Invalid namespace"}`)
	}
	so.Send("40") // namespace "/", which is not declared here
	so.Expect(`44{"message":"Invalid namespace"}`)
	s.quiet("unknown namespaces", said)
	so.Hangup()
}
