package hostile

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"partyline/internal/edgetest"
)

// text makes a crime from one text packet.
func text(name, packet, reason, says string) crime {
	return crime{name, func(so *socket) { so.Send(packet) }, reason, says}
}

// Why sessions end, in the reference's words.
const (
	forced    = "forced close"        // Socket.IO cannot decode it
	outOfTurn = "forced server close" // not allowed in this state
	parse     = "parse error"         // unknown to Engine.IO
	transport = "transport error"     // violates the transport's rules
)

func deep(levels int) string { return strings.Repeat("[", levels) + strings.Repeat("]", levels) }

func TestMalformedPackets(t *testing.T) {
	s := begin(t)
	s.Hear("sio.door.on.connect") // else a late line of the log could say that no service decides
	digits := func(n int) string { return strings.Repeat("9", n) }
	s.punished([]crime{
		text("no packet", "", parse, "eio: packet is empty"),
		text("unknown type of Engine.IO", "9", parse, "eio: packet"),
		text("no type of Engine.IO at all", "hello", parse, "eio: packet"),
		text("base64 that is none", "b!!!!", parse, "not base64"),
		text("a client's ping", "2", transport, "ping from the client"),
		text("not UTF-8", "42/chat,[\"x\",\"\xff\xfe\"]", transport, "not UTF-8"),
		text("half a character", "42/chat,[\"\xe2\x82", transport, "not UTF-8"),
		text("empty Socket.IO packet", "4", forced, "unknown packet type"),
		text("unknown type of Socket.IO", "47", forced, "unknown packet type"),
		text("no type of Socket.IO", "4x", forced, "unknown packet type"),
		text("cut off", `42/chat,["x"`, forced, "not valid JSON"),
		text("no JSON", `42/chat,x`, forced, "not valid JSON"),
		text("two values", `42/chat,["x"]["y"]`, forced, "not valid JSON"),
		text("a comma too many", `42/chat,["x",]`, forced, "not valid JSON"),
		text("a zero byte", "42/chat,[\"x\",\"\x00\"]", forced, "not valid JSON"),
		text("an object", `42/chat,{"x":1}`, forced, "not a JSON array"),
		text("a string", `42/chat,"x"`, forced, "not a JSON array"),
		text("null", `42/chat,null`, forced, "not a JSON array"),
		text("nested 10,001 deep", `42/chat,["x",`+deep(10_000)+`]`, forced, "not valid JSON"),
		text("nested 400,000 deep", `42/chat,["x",`+deep(400_000)+`]`, forced, "not valid JSON"),
		text("nested and never closed", `42/chat,["x",`+strings.Repeat(`{"a":`, 100_000), forced, "not valid JSON"),
		text("ack that is an object", `43/chat,1{}`, forced, "not a JSON array"),
		text("ack that is no JSON", `43/chat,1[`, forced, "not valid JSON"),
		text("ack id above 2^53-1", `42/chat,9007199254740992["x"]`, forced, "ack id out of range"),
		text("ack id of 400 digits", `42/chat,`+digits(400)+`["x"]`, forced, "ack id out of range"),
		text("ack id of 100,000 digits", `42/chat,`+digits(100_000)+`["x"]`, forced, "ack id out of range"),
		text("ack id of 100,000 zeros", `42/chat,`+strings.Repeat("0", 100_000)+`["x"]`, forced, "ack id out of range"),
		text("ack with an id of 400 digits", `43/chat,`+digits(400)+`[]`, forced, "ack id out of range"),
		text("negative ack id", `42/chat,-1["x"]`, forced, "not valid JSON"),
		text("DISCONNECT with data", `41/chat,["x"]`, forced, "invalid payload"),
		text("auth that is an array", `40/extra-1,[1]`, forced, "not a JSON object"),
		text("auth that is no JSON", `40/extra-1,{`, forced, "not valid JSON"),
		text("auth nested 10,001 deep", `40/extra-1,{"a":`+deep(10_001)+`}`, forced, "not valid JSON"),
		text("CONNECT_ERROR", `44/chat,{"message":"x"}`, outOfTurn, "out of turn"),
		text("second CONNECT", `40/chat,`, outOfTurn, "out of turn"),
		text("event for a namespace not joined", `42/extra-1,["x"]`, outOfTurn, "out of turn"),
		text("event for a namespace that is not there", `42/nowhere,["x"]`, outOfTurn, "out of turn"),
		text("ack for a namespace not joined", `43/extra-1,1[]`, outOfTurn, "out of turn"),
		text("DISCONNECT from a namespace not joined", `41/extra-1,`, outOfTurn, "out of turn"),
		text("event for /, not joined", `42["x"]`, outOfTurn, "out of turn"),
		{"CONNECT twice at once", func(so *socket) { so.Send("40/extra-1,"); so.Send("40/extra-1,") }, outOfTurn, "out of turn"},
		{"CONNECT that waits 102 times", func(so *socket) {
			for range 102 {
				so.Send("40/door,")
			}
		}, outOfTurn, "out of turn"},
		{"event while being admitted", func(so *socket) { so.Send("40/door,"); so.Send(`42/door,["x"]`) }, outOfTurn, "out of turn"},
	})
}

// What is unusual but allowed ends no session.
func TestOddPackets(t *testing.T) {
	s := begin(t)
	so := s.enter("odd")
	events := s.Hear(subject + "odd")
	said := len(s.Logged())
	for _, body := range []string{
		`["odd",` + deep(9_999) + `]`, // 10,000 levels, including its own
		" [ \"odd\" ]\n",
		`["odd","` + "\xc2\x80" + `\u0000\ud800"]`, // half a surrogate pair in an argument is left to the receiver
		`["odd",1e400,-0,1.0E-2]`,
		`["odd",{"__proto__":1,"a":1,"a":2}]`,
		`["odd","` + strings.Repeat("x", 900_000) + `"]`,
	} {
		so.Send("42/chat," + body)
		if m := events.Next(); string(m.Data) != body {
			t.Errorf("the service received %.100q, want %.100q", m.Data, body)
		}
	}
	for _, packet := range []string{
		"42/chat,",        // neither name nor arguments
		"43/chat,1[]",     // an unexpected ack
		"43/chat,[]",      // the same without a number
		"43/chat,",        // the same without anything
		"3", "3junk", "6", // Engine.IO: unexpected pongs, and a noop
		"5", "0{}", "1bye", // and packets without a meaning on a WebSocket
	} {
		so.Send(packet)
	}
	s.alive("odd packets", so)
	s.quiet("odd packets", said)
	so.Send("40/nowhere?x=1,")
	so.Send("40/nowhere")
	for range 2 {
		if got := so.Next(); !strings.HasSuffix(got, `{"message":"Invalid namespace"}`) {
			t.Errorf("an unknown namespace was answered %q", got)
		}
	}
	s.alive("an unknown namespace", so)
	if got := s.Figure("connects_refused_total", "Invalid namespace"); got != 2 {
		t.Errorf("%d refused connects are counted, want 2", got)
	}
	so.Hangup()
}

// Packets that are random mutations of good ones.
func TestMutatedPackets(t *testing.T) {
	s := begin(t)
	random := rand.New(rand.NewPCG(1, 2))
	good := []string{
		`42/chat,["x",{"a":[1,true,null,"ü"]}]`, `42/chat,12["x"]`, `43/chat,12["ok"]`, `40/extra-1,{"token":"x"}`, `41/extra-1,`,
		`42/chat,["join","room"]`, `42/chat,1["leave","room"]`, `451-/chat,["x",{"_placeholder":true,"num":0}]`, `461-/chat,3[]`, "bAAAA", "3", "6",
	}
	sessions, packets := 150, 0
	for i := range sessions {
		so := s.enter(fmt.Sprint("mutant ", i))
		for range 20 {
			packet := mutated(random, []byte(good[random.IntN(len(good))]))
			if random.IntN(8) == 0 {
				so.SendBinary(packet)
			} else {
				so.Send(string(packet))
			}
			packets++
		}
		so.Hangup()
	}
	ends := s.ended(forced) + s.ended(outOfTurn) + s.ended(parse) + s.ended(transport)
	edgetest.Eventually(s.t, "all have ended", func() bool { return s.Engine.Sessions() == 2 })
	t.Logf("%d packets ended %d of %d sessions", packets, ends, sessions)
	if lines := len(s.Logged()); lines > sessions+10 {
		t.Errorf("%d lines in the log for %d sessions", lines, sessions)
	}
}

// mutated changes a few bytes.
func mutated(random *rand.Rand, packet []byte) []byte {
	for range random.IntN(3) {
		at := random.IntN(len(packet) + 1)
		switch piece := []byte{byte(random.IntN(256))}; random.IntN(4) {
		case 0:
			packet = append(packet[:at:at], append(piece, packet[at:]...)...)
		case 1:
			packet = packet[:at]
		case 2:
			packet = append(packet[:at:at], packet...)
		default:
			if at < len(packet) {
				packet[at] = "0123456789-/,[]{}\"\\u_\x00\xff"[random.IntN(22)]
			}
		}
	}
	return packet
}

// An event that cannot be passed on because NATS is away ends no session. It gets no ack, and is counted.
func TestEventsWithoutNATS(t *testing.T) {
	s := begin(t)
	so := s.enter("unlucky")
	s.pair.check() // the pair needs NATS, too
	s.NATS.Stop()
	edgetest.Eventually(s.t, "the edge has noticed", func() bool { return !s.Bus.Connected() })
	before := s.Figure("events_failed_total", "")
	for i := range 100 {
		so.Send(fmt.Sprintf(`42/chat,%d["question",%d]`, i, i))
	}
	edgetest.Eventually(s.t, "the events are counted", func() bool { return s.Figure("events_failed_total", "")-before == 100 })
	so.Send(`42/chat,["message","lost"]`) // and its relay, which does not count as a second event
	so.Send("40/extra-1,")
	if got := so.Next(); !strings.HasPrefix(got, `40/extra-1,{"sid"`) {
		t.Errorf("an open namespace answered %q", got)
	}
	so.Send("40/door,")
	if got := so.Next(); got != `44/door,{"message":"no service"}` {
		t.Errorf("a namespace with a service answered %q", got)
	}
	if got := s.Figure("events_failed_total", "") - before; got != 101 {
		t.Errorf("%d events are counted, want 101", got)
	}
	s.NATS.Restart()
	s.Ready()
	edgetest.Eventually(s.t, "the service is back", s.NC.IsConnected)
	events := s.Hear(subject + "question")
	so.Send(`42/chat,7["question"]`)
	if err := events.Next().Respond([]byte(`["answer"]`)); err != nil {
		t.Fatal(err)
	}
	if got := so.Next(); got != `43/chat,7["answer"]` {
		t.Errorf("got %q", got)
	}
	so.Hangup()
}
