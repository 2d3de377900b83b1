package hostile

import (
	"fmt"
	"runtime"
	"testing"

	"partyline/engine"
	"partyline/internal/edgetest"
)

const one = `["file",{"_placeholder":true,"num":0}]`

// withBinary makes a crime from a text packet and its attachments.
func withBinary(name, packet, says string, attachments ...string) crime {
	return crime{name, func(so *socket) {
		so.Send(packet)
		for _, a := range attachments {
			so.SendBinary([]byte(a))
		}
	}, forced, says}
}

func TestBadAttachments(t *testing.T) {
	s := begin(t, func(o *edgetest.Options) {
		o.Engine = engine.DefaultConfig()
		o.Engine.MaxPayload = 10_000
	})
	half := string(make([]byte, 5_000))
	s.punished([]crime{
		withBinary("eleven attachments", `4511-/chat,`+one, "number of attachments"),
		withBinary("no attachment", `450-/chat,`+one, "number of attachments"),
		withBinary("a negative number of them", `45-1-/chat,`+one, "number of attachments"),
		withBinary("an immense number of them", `4599999999999999999999-/chat,`+one, "number of attachments"),
		withBinary("no number of them", `45/chat,`+one, "number of attachments"),
		withBinary("a number that is none", `451e0-/chat,`+one, "number of attachments"),
		withBinary("no dash", `451/chat,`+one, "number of attachments"),
		{"binary without a header", func(so *socket) { so.SendBinary([]byte("x")) }, forced, "without a packet that announces it"},
		withBinary("one attachment too many", `451-/chat,`+one, "without a packet that announces it", "x", "y"),
		{"text where an attachment is due", func(so *socket) { so.Send(`451-/chat,` + one); so.Send(`42/chat,["x"]`) }, forced, "attachments are due"},
		{"a header behind a header", func(so *socket) { so.Send(`451-/chat,` + one); so.Send(`451-/chat,` + one) }, forced, "attachments are due"},
		withBinary("together past the limit", `453-/chat,["file"]`, "larger than max_payload", half, half, "x"),
		withBinary("a placeholder out of range", `451-/chat,["file",{"_placeholder":true,"num":1}]`, "placeholder", "x"),
		withBinary("a placeholder below it", `451-/chat,["file",{"_placeholder":true,"num":-1}]`, "placeholder", "x"),
		withBinary("a placeholder between", `451-/chat,["file",{"_placeholder":true,"num":0.5}]`, "placeholder", "x"),
		withBinary("a placeholder without a number", `451-/chat,["file",{"_placeholder":true}]`, "placeholder", "x"),
		withBinary("a placeholder with a text", `451-/chat,["file",{"_placeholder":true,"num":"0"}]`, "placeholder", "x"),
		withBinary("a placeholder written in escapes", `451-/chat,["file",{"\u005fplaceholder":true,"nu\u006d":1}]`, "placeholder", "x"),
		withBinary("a reserved name", `451-/chat,["conn\u0065ct"]`, "reserved"),
		withBinary("no JSON", `451-/chat,[`, "not valid JSON"),
		withBinary("a binary ack that is no array", `461-/chat,1{}`, "not a JSON array"),
		{"a namespace not joined", func(so *socket) { so.Send(`451-/extra-1,` + one); so.SendBinary(nil) }, outOfTurn, "out of turn"},
	})
}

// Attachments that never arrive cost no more memory than the part that was sent, and only while the session lasts.
func TestAttachmentsThatNeverCome(t *testing.T) {
	s := begin(t)
	const sessions, size = 40, 500_000
	all := make([]*socket, sessions)
	for i := range all {
		all[i] = s.enter(fmt.Sprint("waiting ", i))
	}
	said, before := len(s.Logged()), heap()
	for _, so := range all {
		so.Send("452-/chat," + one)
		so.SendBinary(make([]byte, size))
		s.alive("an attachment is due", so)
	}
	s.quiet("attachments that are due", said)
	if grown := heap() - before; grown > sessions*size*3/2 {
		t.Errorf("%d sessions with half an event of %d bytes hold %d", sessions, size, grown)
	}
	for i, so := range all {
		if i%2 == 0 {
			so.Hangup()
			continue
		}
		so.SendBinary(nil) // it arrives after all, and is empty
		s.alive("the event is complete", so)
		so.Hangup()
	}
	edgetest.Eventually(s.t, "only the pair is left", func() bool { return s.Engine.Sessions() == 2 })
	edgetest.Eventually(s.t, "the memory is back", func() bool { return heap()-before < sessions*size/10 })
}

// heap returns the number of bytes in use after a collection.
func heap() int {
	runtime.GC()
	runtime.GC() // frees what pools kept after the first
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}
