package test

import (
	"encoding/json"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
	"partyline/rule"
)

// handshake is the second element of a connect request.
func handshake(t *testing.T, m *nats.Msg) map[string]any {
	t.Helper()
	var body []json.RawMessage
	if err := json.Unmarshal(m.Data, &body); err != nil || len(body) != 2 || string(body[0]) != `"connect"` {
		t.Fatalf("the connect request is %q", m.Data)
	}
	var h map[string]any
	if err := json.Unmarshal(body[1], &h); err != nil {
		t.Fatal(err)
	}
	return h
}

func TestConnectIsARequestWithTheHandshake(t *testing.T) {
	s := begin(t, usual())
	requests := s.hear("sio.door.on.connect")
	c := s.dialWith("a", http.Header{
		"X-Two": {"1", "2"}, "Cookie": {"a=b"}, "User-Agent": {"Bare/1"}, "Origin": {s.URL},
	})
	before := time.Now().UnixMilli()
	c.Send(`40/door,{"token" : "t\u00e9"}`)
	m := requests.Next()
	h := handshake(t, m)
	id, _ := h["sid"].(string)
	if want := "sio.door.ack." + id + ".connect"; m.Reply != want || !strings.HasPrefix(id, s.ID+".") {
		t.Errorf("the reply address is %q, want %q", m.Reply, want)
	}
	if names := slices.Sorted(maps.Keys(h)); !slices.Equal(names, []string{
		"address", "auth", "headers", "issued", "query", "secure", "session", "sid", "time", "transport", "url", "xdomain",
	}) {
		t.Errorf("the handshake has the members %q", names)
	}
	if !strings.Contains(string(m.Data), `"auth":{"token" : "t\u00e9"}`) {
		t.Errorf("auth is not passed on byte for byte: %s", m.Data)
	}
	headers, _ := h["headers"].(map[string]any)
	for name, want := range map[string]string{
		"host": strings.TrimPrefix(s.URL, "http://"), "x-two": "1, 2", "cookie": "a=b", "user-agent": "Bare/1", "origin": s.URL,
	} {
		if headers[name] != want {
			t.Errorf("header %s is %v, want %q", name, headers[name], want)
		}
	}
	query, _ := h["query"].(map[string]any)
	if len(query) != 2 || query["EIO"] != "4" || query["transport"] != "websocket" {
		t.Errorf("query is %v", query)
	}
	if h["address"] != "127.0.0.1" || h["secure"] != false || h["xdomain"] != true ||
		h["url"] != "/socket.io/?EIO=4&transport=websocket" {
		t.Errorf("the handshake is %v", h)
	}
	issued, _ := h["issued"].(float64)
	if int64(issued) < before || int64(issued) > time.Now().UnixMilli() {
		t.Errorf("issued is %v", h["issued"])
	}
	date := `^(Mon|Tue|Wed|Thu|Fri|Sat|Sun) \w{3} \d\d \d{4} \d\d:\d\d:\d\d GMT\+0000 \(Coordinated Universal Time\)$`
	if text, _ := h["time"].(string); !regexp.MustCompile(date).MatchString(text) {
		t.Errorf("time is %q", text)
	}
	var open struct{ SID string }
	if err := json.Unmarshal([]byte(c.Open), &open); err != nil || open.SID == "" || strings.Contains(string(m.Data), open.SID) {
		t.Errorf("the session's id %q is a secret, and stands in %s (%v)", open.SID, m.Data, err)
	}
}

func TestConnectWithoutAuth(t *testing.T) {
	s := begin(t, usual())
	requests := s.hear("sio.door.on.connect")
	s.Dial("a").Send("40/door,")
	h := handshake(t, requests.Next())
	if auth, ok := h["auth"].(map[string]any); !ok || len(auth) > 0 || h["xdomain"] != false {
		t.Errorf("the handshake is %v", h)
	}
}

func TestServiceAdmitsToRoomsWithAUser(t *testing.T) {
	s := begin(t, usual())
	s.serve("door", `[ {"rooms":["vip","a.b","한국 방"],"user":"ann é","data":{"x":1},"more":null} ]`)
	events := s.hear("sio.door.on.hi")
	a := s.Enter("a", "/door")
	for _, room := range []string{"vip", "a.b", "한국%20방"} {
		s.Publish("sio.door.emit.room."+room, `["to","`+room+`"]`)
		a.Gets(`["to","` + room + `"]`)
	}
	a.Emit("", `["hi"]`)
	if user := events.Gets("sio.door.on.hi", a.Address(), `["hi"]`).Header["Sio-User"]; !slices.Equal(user, []string{"ann é"}) {
		t.Errorf("Sio-User is %q", user)
	}
}

func TestServiceAdmitsWithNothing(t *testing.T) {
	for _, answer := range []string{"[]", "[{}]", ` [ { "rooms" : null, "user" : null, "data" : null } ] `} {
		t.Run(answer, func(t *testing.T) {
			s := begin(t, usual())
			s.serve("door", answer)
			events := s.hear("sio.door.on.hi")
			a := s.Enter("a", "/door")
			a.Emit("", `["hi"]`)
			if m := events.Next(); m.Header != nil {
				t.Errorf("an event of a socket without a user has the headers %v", m.Header)
			}
		})
	}
}

func TestServiceRefuses(t *testing.T) {
	for _, c := range []struct{ name, message, body, want string }{
		{"with data", "who are you?", `[{"code" : 7}]`, `{"message":"who are you?","data":{"code" : 7}}`},
		{"without data", "not \"today\"", "", `{"message":"not \"today\""}`},
		{"with an empty array", "no", "[]", `{"message":"no"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := begin(t, usual())
			s.serve("door", c.body, "Sio-Error: "+c.message)
			client := s.Dial("a")
			client.Send("40/door,")
			client.Expect("44/door," + c.want)
			client.Send("40/chat,") // the session stays open
			if got := client.Next(); !strings.HasPrefix(got, `40/chat,{"sid":`) {
				t.Errorf("after the refusal came %q", got)
			}
			s.Counts("connects_refused_total", "refused by service", 1)
		})
	}
}

// With `unavailable: refuse` a client is refused if no service decides. 22_waiting_test.go covers the default.
func TestNoServiceRefuses(t *testing.T) {
	s := begin(t, rules{"/door": {Unavailable: rule.UnavailableRefuse}})
	a := s.Dial("a")
	a.Send("40/door,")
	a.Expect(`44/door,{"message":"no service"}`)
	s.Counts("connects_refused_total", "no service", 1)
}

func TestSilentServiceRefuses(t *testing.T) {
	s := begin(t, rules{"/door": {ConnectTimeout: 50 * time.Millisecond, Unavailable: rule.UnavailableRefuse}})
	requests := s.hear("sio.door.on.connect")
	a := s.Dial("a")
	a.Send("40/door,")
	a.Expect(`44/door,{"message":"service timeout"}`)
	if err := requests.Next().Respond([]byte(`[]`)); err != nil { // too late
		t.Fatal(err)
	}
	s.Counts("dropped_total", "answer to a connect that is over", 1)
	s.serve("door", `[{"user":"ann"}]`)
	a.Connect("/door", "") // the client may try again
}

func TestInvalidAnswerRefuses(t *testing.T) {
	long := strings.Repeat("x", 513)
	for _, answer := range []string{
		"", "yes", "[1]", "[{},{}]", `[{"rooms":"vip"}]`, `[{"rooms":[1]}]`, `[{"user":1}]`, `[{"user":" a"}]`,
		`[{"user":"a\nSio-Error: x"}]`, `[{"rooms":{}}]`, `[{"rooms":["` + long + `"]}]`,
		`[{"rooms":["abcdefgh.aaaaaaaaaaaaaaaaaaaa"]}]`, `[{"rooms":["\ud800"]}]`, "[\"\xff\"]",
	} {
		t.Run(answer[:min(len(answer), 40)], func(t *testing.T) {
			s := begin(t, usual())
			s.serve("door", answer)
			a := s.Dial("a")
			a.Send("40/door,")
			a.Expect(`44/door,{"message":"invalid answer"}`)
			s.Counts("connects_refused_total", "invalid answer", 1)
			s.Counts("rooms", "", 0)
		})
	}
}

// A stream that records events answers each of them with a PubAck, and so the connect request. A PubAck is no
// decision.
func TestStreamIsNoService(t *testing.T) {
	server := natsdtest.Start(t, `jetstream { store_dir: "`+t.TempDir()+`" }`)
	s := beginAt(t, server, usual())
	js, err := s.NC.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.AddStream(&nats.StreamConfig{Name: "tap", Subjects: []string{"sio.*.on.>"}}); err != nil {
		t.Fatal(err)
	}
	requests := s.hear("sio.door.on.connect")
	a := s.Dial("a")
	a.Send("40/door,")
	request := requests.Next()
	s.Counts("dropped_total", "bad body", 1) // the PubAck has come
	if err := request.Respond([]byte(`[]`)); err != nil {
		t.Fatal(err)
	}
	if got := a.Next(); !strings.HasPrefix(got, `40/door,{"sid":`) {
		t.Fatalf("a got %q", got)
	}
	events := s.hear("sio.door.on.question")
	a.Send(`42/door,1["question"]`)
	event := events.Next()
	s.Counts("dropped_total", "bad body", 2)
	if err := event.Respond([]byte(`["answer"]`)); err != nil {
		t.Fatal(err)
	}
	a.Expect(`43/door,1["answer"]`)
}

func TestHandshakeTooLarge(t *testing.T) {
	s := beginAt(t, natsdtest.Start(t, "max_payload: 4096"), usual())
	s.serve("door", "[]")
	a := s.Dial("a")
	a.Send(`40/door,{"token":"` + strings.Repeat("x", 4096) + `"}`)
	a.Expect(`44/door,{"message":"handshake too large"}`)
	a.Connect("/door", `{"token":"x"}`)
}

func TestSecondAnswerIsIgnored(t *testing.T) {
	s := begin(t, usual())
	requests := s.hear("sio.door.on.connect")
	c := s.Dial("a")
	c.Send("40/door,")
	m := requests.Next()
	id := handshake(t, m)["sid"].(string)
	for _, answer := range []*nats.Msg{
		edgetest.Message("", "", `[{"rooms":["first"]}]`), edgetest.Message("", "", `[{"rooms":["second"]}]`), edgetest.Message("", "", "", "Sio-Error: no"), edgetest.Message("", "", "yes"),
	} {
		if err := m.RespondMsg(answer); err != nil {
			t.Fatal(err)
		}
	}
	a := &socket{Client: c, ID: id, Head: "/door,", Token: "door"}
	a.Expect(`40/door,{"sid":"` + id + `"}`)
	s.Counts("dropped_total", "answer to a connect that is over", 3)
	s.Publish("sio.door.emit.room.second", `["no"]`)
	s.Publish("sio.door.emit.room.first", `["yes"]`)
	a.Gets(`["yes"]`)
}

// greets admits every client and publishes right after the answer: to a subject and, if one follows, to a room for
// Sio-Rooms.
func (s *stage) greets(admission string, greetings []string) {
	s.t.Helper()
	s.Handle("sio.door.on.connect", func(m *nats.Msg) {
		_ = m.Respond([]byte(admission))
		id := strings.TrimSuffix(strings.TrimPrefix(m.Reply, "sio.door.ack."), ".connect")
		for i, greeting := range greetings {
			subject, room, only := strings.Cut(strings.ReplaceAll(greeting, "ID", id), " ")
			welcome := edgetest.Message("sio.door."+subject, "", `["welcome",`+string(rune('1'+i))+`]`)
			if only {
				welcome.Header = nats.Header{"Sio-Rooms": {room}}
			}
			_ = s.NC.PublishMsg(welcome)
		}
	})
}

// What a service publishes to a client after it has admitted it arrives right after CONNECT, in order.
func TestGreetingFollowsConnect(t *testing.T) {
	for _, c := range []struct {
		name     string
		subjects []string
	}{
		{"to the socket", []string{"emit.socket.ID", "emit.socket.ID", "emit.socket.ID"}},
		{"to all", []string{"emit.all", "emit.socket.ID", "emit.all"}},
		{"to its rooms by way of all", []string{"emit.all vip", "emit.socket.ID", "emit.all b.c", "emit.all auto"}},
		{"to automatic rooms", []string{"emit.room.auto", "emit.socket.ID", "emit.room.auto"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := begin(t, rules{"/door": {AutoJoin: []string{"auto"}}})
			s.greets(`[{"rooms":["vip","b.c"]}]`, c.subjects)
			for _, name := range []string{"first", "second"} { // the first one causes the subscriptions
				s.greeted(name, len(c.subjects))
			}
		})
	}
}

// A room without members at this edge is subscribed only when the answer arrives. What is published to it right after
// the answer may be lost. Three ways reach the new member all the same: its own address, all with Sio-Rooms, and the
// room once NATS confirms the edge's subscription.
func TestGreetingToANewRoom(t *testing.T) {
	t.Run("by way of the socket and of all", func(t *testing.T) {
		s := begin(t, rules{"/door": {}})
		s.greets(`[{"rooms":["vip","b.c"]}]`, []string{"emit.all vip", "emit.socket.ID", "emit.all b.c", "broadcast.all vip"})
		s.greeted("first", 4)
		s.greeted("second", 4)
	})
	t.Run("to the room, once a join is answered", func(t *testing.T) {
		s := begin(t, rules{"/door": {}})
		s.Handle("sio.door.on.connect", func(m *nats.Msg) {
			_ = m.Respond([]byte("[]"))
			id := strings.TrimSuffix(strings.TrimPrefix(m.Reply, "sio.door.ack."), ".connect")
			for i, room := range []string{"vip", "b.c"} {
				if _, err := s.NC.Request("sio.door.join.socket."+id, []byte(`["`+room+`"]`), edgetest.Patience); err != nil {
					t.Error(err)
				}
				s.Publish("sio.door.emit.room."+room, `["welcome",`+string(rune('1'+i))+`]`)
			}
		})
		s.greeted("first", 2)
		s.greeted("second", 2)
	})
}

// greeted connects a client and waits for its greetings.
func (s *stage) greeted(name string, greetings int) {
	s.t.Helper()
	a := s.Enter(name, "/door")
	for i := range greetings {
		a.Gets(`["welcome",` + string(rune('1'+i)) + `]`)
	}
	a.Send("41/door,")
	s.Counts("sockets", "", 0)
}

func TestOpenNamespaceGivesNotice(t *testing.T) {
	s := begin(t, usual())
	notices := s.hear("sio.chat.on.connect")
	a := s.Dial("a")
	id := a.Connect("/chat", `{"token":"x"}`)
	m := notices.Next()
	if h := handshake(t, m); m.Reply != "sio.chat.emit.socket."+id || h["sid"] != id {
		t.Errorf("the notice is %s, reply %q", m.Data, m.Reply)
	}
	if err := m.Respond([]byte(`["welcome"]`)); err != nil {
		t.Fatal(err)
	}
	a.Expect(`42/chat,["welcome"]`)
}

func TestNamespacesByPattern(t *testing.T) {
	s := begin(t, rules{
		"/room-*":    {Connect: rule.ConnectOpen, AutoJoin: []string{"short"}},
		"/room-vip*": {Connect: rule.ConnectOpen, AutoJoin: []string{"long"}},
		"/room-vip":  {Connect: rule.ConnectOpen, AutoJoin: []string{"exact"}},
	})
	for name, room := range map[string]string{"/room-": "short", "/room-a/b": "short", "/room-vips": "long", "/room-vip": "exact"} {
		a := s.Enter(name, name)
		s.Publish("sio."+a.Token+".emit.room."+room, `["in"]`)
		a.Gets(`["in"]`)
	}
}

func TestUndeclaredNamespaceIsInvalid(t *testing.T) {
	s := begin(t, usual())
	requests := s.hear("sio.>")
	a := s.Dial("a")
	for _, name := range []string{"/nowhere", "/chat2", "/chat/", "/Chat"} {
		a.Send("40" + name + ",")
		a.Expect("44" + name + `,{"message":"Invalid namespace"}`)
	}
	a.Connect("/chat", "")
	if m := requests.Next(); m.Subject != "sio.chat.on.connect" {
		t.Errorf("services were asked on %s", m.Subject)
	}
	s.Counts("connects_refused_total", "Invalid namespace", 4)
}

func TestSeveralNamespacesOnOneSession(t *testing.T) {
	s := begin(t, usual())
	root := s.Enter("a", "/")
	chat := edgetest.Enter(root.Client, "/chat", "")
	if root.ID == chat.ID {
		t.Fatalf("two sockets have the id %s", root.ID)
	}
	s.Publish("sio._.emit.all", `["to root"]`)
	root.Gets(`["to root"]`)
	s.Publish("sio.chat.emit.all", `["to chat"]`)
	chat.Gets(`["to chat"]`)
	root.Send("41")
	s.Counts("sockets", "", 1)
	s.Publish("sio._.emit.all", `["to root"]`)
	s.onlyMarker(chat)
}
