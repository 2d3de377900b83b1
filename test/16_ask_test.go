package test

import (
	"fmt"
	"strings"
	"testing"

	"partyline/internal/edgetest"
)

func TestAskOneSocket(t *testing.T) {
	s := begin(t, usual())
	a, b := s.Enter("a", "/chat"), s.Enter("b", "/chat")
	root := edgetest.Enter(a.Client, "/", "")
	for _, so := range []*socket{a, b, root} {
		for _, body := range []string{`[]`, `["yes",1.0, {"x":null}]`, `[null]`, `["disconnect"]`} {
			answer := s.request("sio."+so.Token+".ask.socket."+so.ID, `["ready?", 1]`)
			so.Acks(s.isAsked(so, `["ready?", 1]`), body)
			if h := answer.is(body); len(h) > 0 {
				t.Errorf("the answer has the headers %v", h)
			}
		}
	}
	// An ack without data acks with nothing, as in the reference.
	answer := s.request("sio.chat.ask.socket."+a.ID, `["ready?"]`)
	a.Acks(s.isAsked(a, `["ready?"]`), "")
	answer.is("[]")
	s.Counts("asks_total", "", 13)
	s.Counts("asks_acks_total", "", 13)
	s.Counts("asks_awaited", "", 0)
	s.onlyMarker(a, b, root)
}

func TestAskARoomAndAll(t *testing.T) {
	s := begin(t, usual())
	a, b, c := s.Enter("a", "/chat"), s.Enter("b", "/chat"), s.Enter("c", "/chat")
	s.join(a, `["vip"]`)
	s.join(b, `["vip"]`)
	q := s.askMany("sio.chat.ask.room.vip", `["ready?"]`).take(1, 0)
	ida, idb := s.isAsked(a, `["ready?"]`), s.isAsked(b, `["ready?"]`)
	if ida != idb {
		t.Errorf("the packets of one question have the ids %s and %s", ida, idb)
	}
	b.Acks(idb, `["b"]`) // the edge passes it on at once
	q.take(1, 1)
	a.Acks(ida, `[]`)
	q.take(1, 2).is(a.ID, `[]`, b.ID, `["b"]`)

	q = s.askMany("sio.chat.ask.all", `["all?"]`)
	for _, so := range []*socket{c, b, a} {
		so.Acks(s.isAsked(so, `["all?"]`), `["`+so.ID+`"]`)
	}
	q.take(1, 3).is(a.ID, `["`+a.ID+`"]`, b.ID, `["`+b.ID+`"]`, c.ID, `["`+c.ID+`"]`)

	q = s.askMany("sio.chat.ask.all", `["some?"]`, "Sio-Rooms: vip", "Sio-Rooms: "+c.ID, "Sio-Except: "+a.ID)
	b.Acks(s.isAsked(b, `["some?"]`), `[1]`)
	c.Acks(s.isAsked(c, `["some?"]`), `[2]`)
	q.take(1, 2).is(b.ID, `[1]`, c.ID, `[2]`)

	q = s.askMany("sio.chat.ask.room.vip", `["but a?"]`, "Sio-Except: "+a.ID)
	b.Acks(s.isAsked(b, `["but a?"]`), `[1]`)
	q.take(1, 1).is(b.ID, `[1]`)
	for _, subject := range []string{"sio.chat.ask.room.nobody", "sio.nowhere.ask.all"} {
		s.askMany(subject, `["anyone?"]`).take(1, 0).is()
	}
	s.onlyMarker(a, b, c)
}

func TestAskBinaryBothWays(t *testing.T) {
	s := begin(t, usual())
	a := s.Enter("a", "/chat")
	const two = `["file",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`
	for i, many := range []bool{false, true} {
		subject := "sio.chat.ask.socket." + a.ID
		if many {
			subject = "sio.chat.ask.all"
		}
		answer := s.request(subject, two+"abcde", "Sio-Attachments: 3,2")
		id := s.isAskedAs(a, "452-/chat,", two)
		a.Expect("babc")
		a.Expect("bde")
		a.Send("462-/chat," + id + `[{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}]`)
		a.SendBinary([]byte("xyz"))
		a.SendBinary([]byte("0"))
		if many {
			answer.is(fmt.Sprintf(`[{"edge":"%s","sockets":1}]`, s.ID))
		}
		h := answer.is(`[{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}]xyz0`)
		if h.Get("Sio-Attachments") != "3,1" || many != (h.Get("Sio-Socket") == a.ID) || len(h) != i+1 {
			t.Errorf("the answer has the headers %v", h)
		}
	}
}

// The frames of a question wait with the others until the client has its CONNECT.
func TestAskWhileAdmitting(t *testing.T) {
	s := begin(t, usual())
	asked := s.Hear("sio.door.on.connect")
	c := s.Dial("c")
	c.Send("40/door,")
	request := asked.Next()
	id := strings.TrimSuffix(strings.TrimPrefix(request.Reply, "sio.door.ack."), ".connect")
	answer := s.request("sio.door.ask.socket."+id, `["early?"]`)
	if err := request.Respond([]byte("[]")); err != nil {
		t.Fatal(err)
	}
	c.Expect(`40/door,{"sid":"` + id + `"}`)
	so := &socket{Client: c, ID: id, Head: "/door,", Token: "door"}
	so.Acks(s.isAsked(so, `["early?"]`), `["in"]`)
	answer.is(`["in"]`)
	// A socket that is refused counts as gone.
	c2 := s.Dial("c2")
	c2.Send("40/door,")
	request = asked.Next()
	id = strings.TrimSuffix(strings.TrimPrefix(request.Reply, "sio.door.ack."), ".connect")
	answer = s.request("sio.door.ask.socket."+id, `["early?"]`)
	if err := request.RespondMsg(edgetest.Message("", "", "", "Sio-Error: no")); err != nil {
		t.Fatal(err)
	}
	answer.is("! unknown socket")
}

func TestAskTimesOut(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	s := begin(t, usual())
	a, b := s.Enter("a", "/chat"), s.Enter("b", "/chat")
	answer := s.request("sio.chat.ask.socket."+a.ID, `["slow?"]`, "Sio-Timeout: 1")
	late := s.isAsked(a, `["slow?"]`)
	answer.is("! no answer")
	q := s.askMany("sio.chat.ask.all", `["slow?"]`, "Sio-Timeout: 1500")
	s.isAsked(a, `["slow?"]`)
	b.Acks(s.isAsked(b, `["slow?"]`), `[]`)
	q.take(1, 2).is(a.ID, "! no answer", b.ID, "[]")
	s.Counts("asks_expired_total", "", 2)
	s.Counts("asks_awaited", "", 0)
	a.Acks(late, `["too late"]`) // ignored
	answer = s.request("sio.chat.ask.socket."+a.ID, `["quick?"]`, "Sio-Timeout: 600000")
	a.Acks(s.isAsked(a, `["quick?"]`), `["yes"]`)
	answer.is(`["yes"]`)
	s.Counts("asks_acks_total", "", 2)
}

// An ask without a time-out waits until the socket has gone, and counts as long.
func TestAskWithoutATimeout(t *testing.T) {
	s := begin(t, usual())
	a, b := s.Enter("a", "/chat"), s.Enter("b", "/chat")
	answer := s.request("sio.chat.ask.socket."+a.ID, `["one"]`, "Sio-Timeout: 0")
	q := s.askMany("sio.chat.ask.all", `["all"]`, "Sio-Timeout: 0").take(1, 0)
	s.isAsked(b, `["all"]`)
	first := s.isAsked(a, `["one"]`)
	s.isAsked(a, `["all"]`)
	s.request("sio.chat.ask.socket."+b.ID, `["x"]`, "Sio-Timeout: 1").is("! no answer")
	s.Counts("asks_awaited", "", 3)
	a.Acks(first, `["yes"]`)
	answer.is(`["yes"]`)
	a.Hangup()
	b.Hangup()
	q.take(1, 2).is(a.ID, "! unknown socket", b.ID, "! unknown socket")
	s.Counts("asks_awaited", "", 0)
}

// A socket that disconnects is answered for at once, not at the timeout.
func TestAskOfASocketThatGoes(t *testing.T) {
	s := begin(t, usual())
	a, b, c := s.Enter("a", "/chat"), s.Enter("b", "/chat"), s.Enter("c", "/chat")
	answer := s.request("sio.chat.ask.socket."+a.ID, `["one"]`)
	q := s.askMany("sio.chat.ask.all", `["all"]`, "Sio-Timeout: 600000")
	s.isAsked(a, `["one"]`)
	for _, so := range []*socket{a, b} {
		s.isAsked(so, `["all"]`)
	}
	c.Acks(s.isAsked(c, `["all"]`), `["c"]`)
	a.Hangup()
	answer.is("! unknown socket")
	b.Send("41/chat,") // leaves the namespace, but keeps the session
	q.take(1, 3).is(a.ID, "! unknown socket", b.ID, "! unknown socket", c.ID, `["c"]`)
	s.Counts("asks_awaited", "", 0)
	s.request("sio.chat.ask.socket."+a.ID, `["again"]`).is("! unknown socket")
	s.onlyMarker(c)
}

func TestAskOfUnknownSockets(t *testing.T) {
	s := begin(t, usual())
	a := s.Enter("a", "/chat")
	s.fails("sio.chat.ask.socket."+s.ID+".aaaaaaaaaaaaaaaaaaaa", `["x"]`, "unknown socket")
	for _, token := range []string{"_", "door", "nowhere"} { // not its namespace
		s.fails("sio."+token+".ask.socket."+a.ID, `["x"]`, "unknown socket")
	}
	s.onlyMarker(a)
}

func TestBadAsks(t *testing.T) {
	s := begin(t, usual(), func(o *edgetest.Options) { o.QueueBytes = 100_000 })
	a := s.Enter("a", "/chat")
	for _, subject := range []string{"sio.chat.ask.all", "sio.chat.ask.room.nobody", "sio.nowhere.ask.all", "sio.chat.ask.socket." + a.ID} {
		for _, body := range []string{"", "x", "[]", `{}`, `[null]`, `["connect"]`, "[\"\xff\"]", `["\ud800"]`} {
			s.fails(subject, body, "bad event: ")
		}
		for _, value := range []string{"-1", "600001", "1.5", "1s", "soon", "99999999999999999999"} {
			answer := s.Ask(subject, `["x"]`, "Sio-Timeout: "+value)
			if got := answer.Header.Get("Sio-Error"); !strings.HasPrefix(got, "Sio-Timeout must be") || answer.Header.Get("Sio-Expect") != "" {
				t.Errorf("%s with the time-out %q was answered %q %v", subject, value, answer.Data, answer.Header)
			}
		}
		answer := s.Ask(subject, `["x"]`, "Sio-Attachments: 1,2,x")
		if !strings.HasPrefix(answer.Header.Get("Sio-Error"), "bad event: bad attachments") {
			t.Errorf("%s was answered %q %v", subject, answer.Data, answer.Header)
		}
	}
	s.fails("sio.chat.ask.all", `["`+strings.Repeat("x", 100_000)+`"]`, "bad event: a packet of")
	s.Counts("asks_total", "", 0)
	s.onlyMarker(a)
}

// A question that cannot be answered is ignored: it has no reply subject, or one that is not for answers.
func TestAsksWithoutAReplySubject(t *testing.T) {
	s := begin(t, usual())
	a := s.Enter("a", "/chat")
	targets := []string{"all", "room.x", "socket." + a.ID}
	for _, target := range targets {
		for _, verb := range []string{"ask", "fetch", "data", "rooms"} {
			body := ""
			if verb == "ask" {
				body = `["x"]`
			}
			s.Publish("sio.chat."+verb+"."+target, body)
			s.PublishReply("sio.chat."+verb+"."+target, "sio.chat.emit.all", body)
			s.PublishReply("sio.chat."+verb+"."+target, "$x", body)
		}
	}
	s.Counts("dropped_total", "no reply subject", 12)
	s.Counts("answers_withheld_total", "", 24)
	s.onlyMarker(a)
}

// An ack counts only from a socket that was asked, in its namespace, and once.
func TestAcksOfOthersDoNotCount(t *testing.T) {
	s := begin(t, usual())
	a, b := s.Enter("a", "/chat"), s.Enter("b", "/chat")
	aroot := edgetest.Enter(a.Client, "/", "")
	answer := s.request("sio.chat.ask.socket."+a.ID, `["x"]`)
	id := s.isAsked(a, `["x"]`)
	b.Acks(id, `["not asked"]`)
	aroot.Acks(id, `["another namespace"]`)
	for _, other := range []string{"0", "9999", "9007199254740991", ""} {
		a.Acks(other, `["another question"]`)
	}
	a.Send(`461-/chat,9999[{"_placeholder":true,"num":0}]`)
	a.SendBinary([]byte("abc"))
	said := s.hear("sio.chat.on.said")
	b.Emit("", `["said"]`)
	said.Next() // b's ack has been processed
	a.Acks(id, `["first"]`)
	a.Acks(id, `["second"]`)
	answer.is(`["first"]`)
	a.Emit("", `["said"]`)
	said.Next()
	if n, _, _ := answer.Subscription.Pending(); n > 0 {
		t.Errorf("a second answer came: %v", answer.Next())
	}
	s.Counts("asks_acks_total", "", 1)
}

// A volatile question that a busy client does not get is answered for it at once.
func TestVolatileAsk(t *testing.T) {
	s := begin(t, usual())
	id := s.poll().enter("/chat") // it has no poll open
	s.request("sio.chat.ask.socket."+id, `["x"]`, "Sio-Volatile: true", "Sio-Timeout: 600000").is("! no answer")
	q := s.askMany("sio.chat.ask.all", `["x"]`, "Sio-Volatile: true", "Sio-Timeout: 600000")
	q.take(1, 1).is(id, "! no answer")
	s.Counts("asks_awaited", "", 0)
}

func TestAsksReachAllEdges(t *testing.T) {
	s, edges := cluster(t, usual())
	so := s.arrive(edges, "/chat")
	s.join(so[0], `["x"]`)
	q := s.askMany("sio.chat.ask.all", `["all?"]`)
	for i, c := range so {
		c.Acks(s.isAsked(c, `["all?"]`), fmt.Sprint("[", i, "]"))
	}
	q.take(3, 3).is(so[0].ID, "[0]", so[1].ID, "[1]", so[2].ID, "[2]")
	q = s.askMany("sio.chat.ask.room.x", `["room?"]`)
	so[0].Acks(s.isAsked(so[0], `["room?"]`), `[]`)
	q.take(3, 1).is(so[0].ID, "[]")
	q = s.askMany("sio.chat.ask.all", `["some?"]`, "Sio-Rooms: x", "Sio-Rooms: "+so[2].ID)
	so[0].Acks(s.isAsked(so[0], `["some?"]`), `[]`)
	s.isAsked(so[2], `["some?"]`) // otherwise its edge may process the question after the disconnect
	so[2].Hangup()
	q.take(3, 2).is(so[0].ID, "[]", so[2].ID, "! unknown socket")
	s.askMany("sio.nowhere.ask.all", `["nobody?"]`).take(3, 0).is()
	answer := s.request("sio.chat.ask.socket."+so[1].ID, `["one?"]`)
	so[1].Acks(s.isAsked(so[1], `["one?"]`), `["one"]`)
	answer.is(`["one"]`)
	s.onlyMarker(so[0], so[1])
	for _, n := range edges {
		if got := n.Figure("asks_awaited", ""); got != 0 {
			t.Errorf("an edge waits for %d acks", got)
		}
	}
}

// One question to more sockets than one step of an ask covers. Some answer and the others do not.
func TestAskOfMany(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	s := begin(t, usual())
	const n = 300
	var all []*socket
	for i := range n {
		all = append(all, s.Enter(fmt.Sprint("c", i), "/chat"))
	}
	q := s.askMany("sio.chat.ask.all", `["x"]`, "Sio-Timeout: 5000")
	want := []string{}
	for i, so := range all {
		id := s.isAsked(so, `["x"]`)
		if i%3 == 0 {
			so.Acks(id, `[]`)
			want = append(want, so.ID, "[]")
		} else if i%3 == 1 {
			so.Hangup()
			want = append(want, so.ID, "! unknown socket")
		} else {
			want = append(want, so.ID, "! no answer")
		}
	}
	q.take(1, n).is(want...)
}
