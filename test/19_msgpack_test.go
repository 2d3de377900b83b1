package test

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"

	"partyline/engine"
	"partyline/internal/edgetest"
	"partyline/rule"
	"partyline/wire/msgpack"
	"partyline/wire/sio"
)

// packed is what a client of socket.io-msgpack-parser sends for a text and attachments of a JSON client.
func packed(t *testing.T, text string, attachments ...string) []byte {
	t.Helper()
	p, err := sio.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var list [][]byte
	for _, a := range attachments {
		list = append(list, []byte(a))
	}
	message, err := msgpack.Append(nil, p, list, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	return message
}

// unpacked is the text that a JSON client would have received, followed by its attachments.
func unpacked(t *testing.T, message string) string {
	t.Helper()
	p, attachments, err := msgpack.Parse(nil, []byte(message), 1<<30)
	if err != nil {
		t.Fatalf("%.100q is no packet: %v", message, err)
	}
	text := string(append(sio.AppendHead(nil, p.Type, p.Attachments, string(p.Namespace), p.HasID, p.ID), p.Data...))
	for _, a := range attachments {
		text += "|" + string(a)
	}
	return text
}

// packer is a socket whose client speaks msgpack.
type packer struct {
	*socket
	t *testing.T
}

func (s *stage) enterPacked(name, namespace string) *packer {
	s.t.Helper()
	return packAlso(s.t, &packer{&socket{Client: s.Dial(name)}, s.t}, namespace)
}

// packAlso connects a session to another namespace.
func packAlso(t *testing.T, on *packer, namespace string) *packer {
	t.Helper()
	so := &packer{&socket{Client: on.Client, Head: namespace + ",", Token: namespace[1:]}, t}
	if namespace == "/" {
		so.Head, so.Token = "", "_"
	}
	so.says("0" + so.Head)
	got := so.next()
	id, ok := strings.CutPrefix(got, "0"+so.Head+`{"sid":"`)
	if !ok {
		t.Fatalf("%q came instead of a CONNECT", got)
	}
	so.ID = strings.TrimSuffix(id, `"}`)
	return so
}

// says sends a packet, given in the form of JSON clients.
func (p *packer) says(text string, attachments ...string) {
	p.t.Helper()
	p.SendBinary(packed(p.t, text, attachments...))
}

func (p *packer) next() string {
	p.t.Helper()
	frame := p.Next()
	message, binary := strings.CutPrefix(frame, "b")
	if !binary {
		p.t.Fatalf("the text %q came to a client that speaks msgpack", frame)
	}
	return unpacked(p.t, message)
}

func (p *packer) hears(want string) {
	p.t.Helper()
	if got := p.next(); got != want {
		p.t.Fatalf("%.200q came, want %.200q", got, want)
	}
}

func TestMsgpackAndJSONInOneRoom(t *testing.T) {
	s := begin(t, rules{"/chat": {Connect: rule.ConnectOpen, Rooms: []string{"*"}, Relay: []rule.Relay{{Event: "message", To: rule.ToRooms}}}})
	a, b := s.Enter("a", "/chat"), s.enterPacked("b", "/chat")
	c := s.enterPacked("c", "/chat")
	a.Emit("1", `["join","x"]`)
	a.Expect(`43/chat,1[{"ok":true}]`)
	for _, so := range []*packer{b, c} {
		so.says(`2/chat,1["join","x"]`)
		so.hears(`3/chat,1[{"ok":true}]`)
	}
	events := s.hear("sio.chat.on.message")
	b.says(`2/chat,["message",{"_placeholder":true,"num":0},{"a":[1.5,null]}]`, "xyz")
	body := `["message",{"_placeholder":true,"num":0},{"a":[1.5,null]}]`
	if m := events.Gets("sio.chat.on.message", b.Address(), body+"xyz"); m.Header.Get("Sio-Attachments") != "3" {
		t.Errorf("the headers are %v", m.Header)
	}
	a.Expect("451-/chat," + body)
	a.Expect("bxyz")
	c.hears("51-/chat," + body + "|xyz")
	a.Emit("", `["message","hello"]`)
	b.hears(`2/chat,["message","hello"]`)
	c.hears(`2/chat,["message","hello"]`)
	s.Publish("sio.chat.emit.room.x", ` ["num\u0062er", 1.0]`)
	a.Gets(`["num\u0062er", 1.0]`) // byte for byte
	b.hears(`2/chat,["number",1]`)
	c.hears(`2/chat,["number",1]`)
	b.says(`2/chat,2["leave","x"]`)
	b.hears(`3/chat,2[{"ok":true}]`)
	s.Publish("sio.chat.emit.room.x", `["last"]`)
	c.hears(`2/chat,["last"]`)
	s.Publish(b.Address(), `["marker"]`)
	b.hears(`2/chat,["marker"]`)
}

func TestMsgpackAcks(t *testing.T) {
	s := begin(t, usual())
	a := s.enterPacked("a", "/chat")
	events := s.hear("sio.chat.on.question")
	a.says(`2/chat,9007199254740991["question"]`)
	m := events.Gets("sio.chat.on.question", a.Ack("9007199254740991"), `["question"]`)
	if err := m.RespondMsg(edgetest.Message("", "", `[1,{"_placeholder":true,"num":0}]abc`, "Sio-Attachments: 3")); err != nil {
		t.Fatal(err)
	}
	a.hears(`61-/chat,9007199254740991[1,{"_placeholder":true,"num":0}]|abc`)

	b := s.Enter("b", "/chat")
	questions := s.askMany("sio.chat.ask.all", `["ask",{"_placeholder":true,"num":0}]xy`, "Sio-Attachments: 2")
	b.Expect(`451-/chat,1["ask",{"_placeholder":true,"num":0}]`)
	b.Expect("bxy")
	a.hears(`51-/chat,1["ask",{"_placeholder":true,"num":0}]|xy`)
	b.Send(`43/chat,1["b"]`)
	a.says(`3/chat,1[{"_placeholder":true,"num":0}]`, "a")
	answers := questions.take(1, 2).answers
	if answers[a.ID] != `[{"_placeholder":true,"num":0}]a` || answers[b.ID] != `["b"]` {
		t.Errorf("the answers are %q", answers)
	}
}

func TestMsgpackAdmission(t *testing.T) {
	s := begin(t, usual())
	life := s.hear("sio.door.on.*")
	a := s.enterPacked("a", "/")
	a.says(`0/door,{"token":"x"}`)
	m := life.Next()
	if auth := handshake(t, m)["auth"].(map[string]any); auth["token"] != "x" {
		t.Errorf("the handshake has the auth %v", auth)
	}
	if err := m.RespondMsg(edgetest.Message("", "", `[{"code":402}]`, "Sio-Error: please pay")); err != nil {
		t.Fatal(err)
	}
	a.hears(`4/door,{"message":"please pay","data":{"code":402}}`)
	a.says(`0/nowhere,`)
	a.hears(`4/nowhere,{"message":"Invalid namespace"}`)
	a.says(`0/door,`)
	m = life.Next()
	id := handshake(t, m)["sid"].(string)
	s.Publish("sio.door.emit.socket."+id, `["early"]`) // waits for its CONNECT
	if err := m.Respond([]byte(`[{"rooms":["x"]}]`)); err != nil {
		t.Fatal(err)
	}
	s.Publish("sio.door.emit.all", `["later"]`, "Sio-Rooms: x")
	a.hears(`0/door,{"sid":"` + id + `"}`)
	a.hears(`2/door,["early"]`)
	a.hears(`2/door,["later"]`)
	s.change("sio.door.disconnect.socket."+id, "", 1)
	a.hears(`1/door,`)
	life.Gets("sio.door.on.disconnect", "sio.door.emit.socket."+id, left("server namespace disconnect", "x"))
	root := s.hear("sio._.on.disconnect")
	a.says("1")
	root.Gets("sio._.on.disconnect", a.Address(), left("client namespace disconnect"))
}

func TestMsgpackOverPolling(t *testing.T) {
	s := begin(t, usual())
	client := s.poll()
	events := s.hear("sio.chat.on.x")
	say := func(text string, attachments ...string) string {
		return "b" + base64.StdEncoding.EncodeToString(packed(t, text, attachments...))
	}
	hear := func(header http.Header) (packets []string, encoding string) {
		h, body := client.fetch(header)
		for packet := range strings.SplitSeq(body, "\x1e") {
			data, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(packet, "b"))
			if err != nil || packet[0] != 'b' {
				t.Fatalf("a poll brought %q", packet)
			}
			packets = append(packets, unpacked(t, string(data)))
		}
		return packets, h.Get("Content-Encoding")
	}
	client.post(say("0/chat,"))
	got, _ := hear(nil)
	id := strings.TrimSuffix(strings.TrimPrefix(got[0], `0/chat,{"sid":"`), `"}`)
	client.post(say(`2/chat,["x",1]`) + "\x1e" + say(`2/chat,["x",{"_placeholder":true,"num":0}]`, "abc"))
	events.Gets("sio.chat.on.x", "sio.chat.emit.socket."+id, `["x",1]`)
	events.Gets("sio.chat.on.x", "sio.chat.emit.socket."+id, `["x",{"_placeholder":true,"num":0}]abc`)
	s.Publish("sio.chat.emit.all", `["a"]`)
	s.Publish("sio.chat.emit.all", `["b",{"_placeholder":true,"num":0}]xyz`, "Sio-Attachments: 3")
	s.Counts("events_out_total", "", 2)
	s.Publish("sio.chat.emit.all", `["position"]`, "Sio-Volatile: yes")
	s.Counts("volatile_dropped_total", "", 1)
	if got, _ := hear(nil); len(got) != 2 || got[0] != `2/chat,["a"]` || got[1] != `51-/chat,["b",{"_placeholder":true,"num":0}]|xyz` {
		t.Errorf("a poll brought %q", got)
	}
	large := `["news","` + strings.Repeat("x", 2000) + `"]`
	s.Publish("sio.chat.emit.all", large, "Sio-Compress: false")
	if got, encoding := hear(http.Header{"Accept-Encoding": {"gzip"}}); len(got) != 1 || got[0] != "2/chat,"+large || encoding != "" {
		t.Errorf("a poll brought %q, encoded as %q", got, encoding)
	}
}

func TestMsgpackLimits(t *testing.T) {
	config := engine.DefaultConfig()
	config.MaxPayload = 10_000
	s := begin(t, usual(), func(o *edgetest.Options) { o.Engine, o.QueueBytes = config, 50_000 })
	a, b := s.Enter("a", "/chat"), s.enterPacked("b", "/chat")
	events := s.hear("sio.chat.on.file")
	body := `["file",{"_placeholder":true,"num":0}]`
	b.says("2/chat,"+body, strings.Repeat("x", 9_900))
	if m := events.Next(); len(m.Data) != 9_900+len(body) {
		t.Errorf("%d bytes came", len(m.Data))
	}
	// A text of 36,000 bytes for JSON clients is larger than a queue in msgpack, where each number takes nine bytes.
	numbers := `["n"` + strings.Repeat(",0.5", 9_000) + `]`
	s.Publish("sio.chat.emit.all", numbers)
	a.Gets(numbers)
	s.Counts("dropped_total", "bad body", 1)
	// The same for one attachment that is referenced many times.
	often := `["n"` + strings.Repeat(`,{"_placeholder":true,"num":0}`, 100) + `]`
	s.Publish("sio.chat.emit.all", often+strings.Repeat("x", 1_000), "Sio-Attachments: 1000")
	a.Expect("451-/chat," + often)
	a.Next()
	s.Counts("dropped_total", "bad body", 2)
	s.Publish("sio.chat.emit.all", `["n","`+strings.Repeat("x", 50_000)+`"]`) // too large in both
	s.Counts("dropped_total", "bad body", 3)
	s.Publish(b.Address(), `["marker"]`)
	b.hears(`2/chat,["marker"]`)
	s.onlyMarker(a)
	if answer := s.Ask("sio.chat.ask.all", numbers); !strings.HasPrefix(answer.Header.Get("Sio-Error"), "bad event") {
		t.Errorf("an ask that one client could not receive was answered %q %v", answer.Data, answer.Header)
	}
	// As JSON it would be larger than max_payload, which NATS would refuse.
	notices := s.hear("sio.chat.on.disconnect")
	b.says(`2/chat,["file"` + strings.Repeat(",null", 3_000) + `]`)
	b.ExpectEnd()
	notices.Gets("sio.chat.on.disconnect", b.Address(), left("forced close"))
	s.onlyMarker(a)
}

func TestMsgpackQueueOverflow(t *testing.T) {
	s := begin(t, usual(), func(o *edgetest.Options) { o.QueueBytes = 100_000 })
	a := s.Enter("a", "/chat")
	client := s.poll() // it does not poll
	client.post("b" + base64.StdEncoding.EncodeToString(packed(t, "0/chat,")))
	_, id, _ := strings.Cut(client.get(), "b")
	connect, err := base64.StdEncoding.DecodeString(id)
	if err != nil {
		t.Fatal(err)
	}
	notices := s.hear("sio.chat.on.disconnect")
	body := `["news","` + strings.Repeat("x", 40_000) + `"]`
	for range 3 {
		s.Publish("sio.chat.emit.all", body)
		a.Gets(body)
	}
	id = strings.TrimSuffix(strings.TrimPrefix(unpacked(t, string(connect)), `0/chat,{"sid":"`), `"}`)
	notices.Gets("sio.chat.on.disconnect", "sio.chat.emit.socket."+id, left("queue overflow"))
}

// A session uses one dialect, which its first message determines.
func TestDialectsDoNotMix(t *testing.T) {
	s := begin(t, usual())
	notices := s.hear("sio.chat.on.disconnect")
	a := s.enterPacked("a", "/chat")
	a.Send(`42/chat,["x"]`)
	a.ExpectEnd()
	notices.Gets("sio.chat.on.disconnect", a.Address(), left("forced close"))
	b := s.Enter("b", "/chat")
	b.SendBinary(packed(t, `2/chat,["x"]`))
	b.ExpectEnd()
	notices.Gets("sio.chat.on.disconnect", b.Address(), left("forced close"))
	c := s.Dial("c")
	c.SendBinary([]byte("neither"))
	c.ExpectEnd()
}
