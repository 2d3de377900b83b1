package test

import (
	"fmt"
	"strings"
	"testing"

	"partyline/internal/edgetest"
	"partyline/rule"
)

const (
	one = `["file",{"_placeholder":true,"num":0}]`
	two = `["file",{"a":{"_placeholder":true,"num":1},"b":[{"num":0,"_placeholder":true}]}]`
)

func TestAttachmentsUp(t *testing.T) {
	s := begin(t, usual())
	a := s.Enter("a", "/chat")
	events := s.hear("sio.chat.on.file")
	expect := func(reply, body, lengths string) {
		t.Helper()
		m := events.Gets("sio.chat.on.file", reply, body)
		if got := m.Header["Sio-Attachments"]; len(m.Header) != 1 || len(got) != 1 || got[0] != lengths {
			t.Errorf("the headers are %v, want the lengths %q", m.Header, lengths)
		}
	}
	a.Send("451-/chat," + one)
	a.SendBinary([]byte("\x00\xff[]"))
	expect(a.Address(), one+"\x00\xff[]", "4")
	a.Send("452-/chat,8" + two)
	a.SendBinary([]byte("abc"))
	a.SendBinary(nil)
	expect(a.Ack("8"), two+"abc", "3,0")
	a.Send("451-/chat,[\"file\"]") // announced, but not referenced
	a.SendBinary([]byte("x"))
	expect(a.Address(), `["file"]x`, "1")
}

func TestAttachmentsDown(t *testing.T) {
	s := begin(t, usual())
	a, b := s.Enter("a", "/chat"), s.Enter("b", "/chat")
	s.Publish("sio.chat.emit.all", one+"\x00\xff[]", "Sio-Attachments: 4")
	for _, so := range []*socket{a, b} {
		so.Expect("451-/chat," + one)
		so.Expect("b\x00\xff[]")
	}
	s.Publish(a.Address(), two+"abc", "Sio-Attachments: 3,0")
	a.Expect("452-/chat," + two)
	a.Expect("babc")
	a.Expect("b")
	ten := `["file"` + strings.Repeat(`,{"_placeholder":true,"num":9}`, 2) + `]`
	s.Publish(a.Address(), ten+"0123456789", "Sio-Attachments: 1,1,1,1,1,1,1,1,1,1")
	a.Expect("4510-/chat," + ten)
	for i := range 10 {
		a.Expect(fmt.Sprint("b", i))
	}
	s.Publish(a.Address(), one) // a placeholder without attachments is data like any other
	a.Gets(one)
}

func TestBinaryAcks(t *testing.T) {
	s := begin(t, usual())
	a := s.Enter("a", "/chat")
	events := s.hear("sio.chat.on.question")
	a.Emit("7", `["question"]`)
	answer := `[{"_placeholder":true,"num":0}]`
	if err := events.Next().RespondMsg(edgetest.Message("", "", answer+"abc", "Sio-Attachments: 3")); err != nil {
		t.Fatal(err)
	}
	a.Expect("461-/chat,7" + answer)
	a.Expect("babc")
}

func TestBinaryGoesUpAndDownUnchanged(t *testing.T) {
	s := begin(t, rules{"/chat": {Connect: rule.ConnectOpen, Relay: []rule.Relay{{Event: "file", To: rule.ToAll, Self: true}}}})
	a := s.Enter("a", "/chat")
	client := s.poll()
	client.enter("/chat")
	a.Send("452-/chat," + two)
	a.SendBinary([]byte("abc"))
	a.SendBinary([]byte("\x00\xff"))
	a.Expect("452-/chat," + two)
	a.Expect("babc")
	a.Expect("b\x00\xff")
	if got, want := client.get(), "452-/chat,"+two+"\x1ebYWJj\x1ebAP8="; got != want {
		t.Errorf("polling brought %q, want %q", got, want)
	}
}

func TestBadAttachmentsAreDropped(t *testing.T) {
	s := begin(t, usual())
	a := s.Enter("a", "/chat")
	bad := 0
	for _, c := range []struct{ lengths, body string }{
		{"5000", one + "abc"}, {"-1", one + "abc"}, {"3,", one + "abc"}, {",3", one + "abc"}, {"3;0", one + "abc"}, {"03", one + "abc"},
		{"3, 0", one + "abc"}, {"x", one + "abc"}, {"2", one + "abc"}, {"4", one + "abc"}, {"99999999999999999999", one + "abc"},
		{"1,1,1,1,1,1,1,1,1,1,1", one + "01234567890"}, {"3", "abc"}, {"3", two + "abc"},
		{"3", `["file",{"_placeholder":true,"num":1}]abc`}, {"3", `["file",{"_placeholder":true,"num":-1}]abc`},
		{"3", `["file",{"_placeholder":true}]abc`}, {"3", `["file",{"_placeholder":true,"num":"0"}]abc`}, {"3", `["connect"]abc`}, {"3", `{}abc`},
	} {
		bad++
		s.Publish("sio.chat.emit.all", c.body, "Sio-Attachments: "+c.lengths)
	}
	s.Publish(a.Ack("1"), `[{"_placeholder":true,"num":3}]abc`, "Sio-Attachments: 3")
	s.onlyMarker(a)
	s.Counts("dropped_total", "bad body", bad+1)
}

func TestBadAttachmentsOfAClientEndItsSession(t *testing.T) {
	s := begin(t, usual())
	events := s.hear("sio.chat.on.*")
	for name, send := range map[string]func(a *socket){
		"bytes that nobody announced": func(a *socket) { a.SendBinary([]byte("x")) },
		"text where bytes are due":    func(a *socket) { a.Send("451-/chat," + one); a.Emit("", `["file"]`) },
		"eleven":                      func(a *socket) { a.Send("4511-/chat," + one) },
		"none":                        func(a *socket) { a.Send("450-/chat," + one) },
		"a placeholder out of range":  func(a *socket) { a.Send("451-/chat," + two); a.SendBinary([]byte("x")) },
		"a reserved name":             func(a *socket) { a.Send(`451-/chat,["connect"]`); a.SendBinary([]byte("x")) },
	} {
		a := s.Enter(name, "/chat")
		events.Next()
		send(a)
		a.ExpectEnd()
		events.Gets("sio.chat.on.disconnect", a.Address(), left("forced close"))
	}
}

// A message and its attachments are one unit: nothing is sent between them, even with other senders at the same time.
func TestNothingComesBetweenAttachments(t *testing.T) {
	s := begin(t, usual())
	a := s.Enter("a", "/chat")
	other := edgetest.Connect(t, s.NATS.ClientURL())
	const rounds = 300
	sent := make(chan error, 1)
	go func() {
		var err error
		for range rounds {
			err = other.Publish(a.Address(), []byte(`["between"]`))
		}
		sent <- err
	}()
	for range rounds {
		s.Publish(a.Address(), two+"abcd", "Sio-Attachments: 3,1")
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	for range 2 * rounds {
		switch got := a.Next(); got {
		case `42/chat,["between"]`:
		case "452-/chat," + two:
			a.Expect("babc")
			a.Expect("bd")
		default:
			t.Fatalf("%q came", got)
		}
	}
}
