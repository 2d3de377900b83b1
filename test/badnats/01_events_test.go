package badnats

import (
	"fmt"
	"strings"
	"testing"

	"partyline/internal/edgetest"
)

// badEvents are events that no client can decode, by name.
var badEvents = []struct {
	name, body string
	headers    []string
}{
	{"empty", ``, nil},
	{"no JSON", `hello`, nil},
	{"half of an array", `["x"`, nil},
	{"two values", `["x"]["y"]`, nil},
	{"an object", `{"stream":"EVENTS","seq":1}`, nil},
	{"a string", `"x"`, nil},
	{"a number", `7`, nil},
	{"null", `null`, nil},
	{"no name", `[]`, nil},
	{"null as a name", `[null]`, nil},
	{"true as a name", `[true]`, nil},
	{"an array as a name", `[["x"]]`, nil},
	{"an object as a name", `[{}]`, nil},
	{"connect", `["connect"]`, nil},
	{"connect, escaped", `["\u0063onnect"]`, nil},
	{"connect_error", `["connect_error",{}]`, nil},
	{"disconnect", `["disconnect"]`, nil},
	{"disconnecting", `["disconnecting"]`, nil},
	{"newListener", `["newListener"]`, nil},
	{"removeListener", `["removeListener"]`, nil},
	{"invalid UTF-8", "[\"x\",\"\xff\"]", nil},
	{"invalid UTF-8 in the name", "[\"\xc3\x28\"]", nil},
	{"half of a surrogate pair", `["\ud800"]`, nil},
	{"very deep", `["x",` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + `]`, nil},
	{"11 attachments", `["x"]` + "abcdefghijk", []string{"Sio-Attachments: 1,1,1,1,1,1,1,1,1,1,1"}},
	{"a placeholder without its attachment", `["x",{"_placeholder":true,"num":1}]` + "abc",
		[]string{"Sio-Attachments: 3"}},
	{"a negative placeholder", `["x",{"_placeholder":true,"num":-1}]` + "abc", []string{"Sio-Attachments: 3"}},
	{"a placeholder that is no number", `["x",{"_placeholder":true,"num":"0"}]` + "abc", []string{"Sio-Attachments: 3"}},
	{"half a placeholder", `["x",{"_placeholder":true,"num":0.5}]` + "abc", []string{"Sio-Attachments: 3"}},
	{"lengths past the body", `["x",{"_placeholder":true,"num":0}]` + "abc", []string{"Sio-Attachments: 300"}},
	{"lengths that leave no text", `["x"]`, []string{"Sio-Attachments: 5"}},
	{"lengths that cut the text", `["x"]`, []string{"Sio-Attachments: 2"}},
	{"lengths that leave too much", `["x",{"_placeholder":true,"num":0}]` + "abc", []string{"Sio-Attachments: 2"}},
	{"a length that overflows", `["x",{"_placeholder":true,"num":0}]` + "abc",
		[]string{"Sio-Attachments: 18446744073709551619"}},
	{"a length with a sign", `["x",{"_placeholder":true,"num":0}]` + "abc", []string{"Sio-Attachments: +3"}},
	{"a length with a zero in front", `["x",{"_placeholder":true,"num":0}]` + "abc", []string{"Sio-Attachments: 03"}},
	{"a length in words", `["x",{"_placeholder":true,"num":0}]` + "abc", []string{"Sio-Attachments: three"}},
	{"a comma too much", `["x",{"_placeholder":true,"num":0}]` + "abc", []string{"Sio-Attachments: 3,"}},
	{"a space", `["x",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]` + "abcde",
		[]string{"Sio-Attachments: 3, 2"}},
	{"lengths in two headers", `["x",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]` + "abcde",
		[]string{"Sio-Attachments: 3", "Sio-Attachments: 2"}},
}

// The official client ends its connection on most of these, so one of them to a room would disconnect the room.
func TestBadEvents(t *testing.T) {
	s := begin(t)
	for i, c := range badEvents {
		// Each has its own subject, and so its own log line. All reach ann.
		room := fmt.Sprintf("bad-%d", i)
		if answer := s.Ask("sio.chat.join.socket."+s.pair.Ann.ID, `["`+room+`"]`); answer.Header != nil {
			t.Fatal(answer.Header)
		}
		for _, verb := range []string{"emit", "broadcast"} {
			s.drops(edgetest.Message("sio.chat."+verb+".room."+room, "", c.body, c.headers...), badBody, 1)
		}
		if answer := s.Ask("sio.chat.leave.socket."+s.pair.Ann.ID, `["`+room+`"]`); answer.Header != nil {
			t.Fatal(answer.Header)
		}
	}
	for i, c := range badEvents {
		const lines = 1
		for _, subject := range []string{"sio.chat.emit.all", "sio.chat.broadcast.all",
			"sio.chat.emit.socket." + s.pair.Ann.ID, "sio.chat.emit.room.both"} {
			s.drops(edgetest.Message(subject, "", c.body, c.headers...), badBody, lines)
		}
		if t.Failed() {
			t.Fatalf("%s (%d)", c.name, i)
		}
	}
}

// A request to an event's subject gets no answer, whether the event is good or bad: another program could give one.
func TestBadEventsHaveNoAnswer(t *testing.T) {
	s := begin(t)
	inbox := s.Hear(s.NC.NewInbox())
	for _, body := range []string{`[]`, `["connect"]`} {
		s.drops(edgetest.Message("sio.chat.emit.room.both", inbox.Subject, body), badBody, 1)
	}
	// Earlier requests would have been answered before this one.
	answer := s.Ask("sio.chat.leave.socket."+s.pair.Ann.ID, `["none"]`)
	if n, _, err := inbox.Pending(); err != nil || n > 0 || answer.Header != nil {
		t.Errorf("%d answers, %v %v", n, answer.Header, err)
	}
}

// Without announced attachments, what looks like a placeholder is ordinary data, also to the clients' decoder.
func TestPlaceholderAsPlainData(t *testing.T) {
	s := begin(t)
	s.Publish("sio.chat.emit.room.both", `["x",{"_placeholder":true,"num":0}]`)
	s.pair.Ann.Expect(`42/chat,["x",{"_placeholder":true,"num":0}]`)
	s.pair.Bob.Expect(`42/chat,["x",{"_placeholder":true,"num":0}]`)
	s.pair.Fine()
}

// Each reason has its own log line within the minute, so that a second mistake is visible, too.
func TestEachReasonHasItsLine(t *testing.T) {
	s := begin(t)
	const subject = "sio.chat.emit.room.both"
	for i, body := range []string{`hi`, `"hi"`, `['m','hi']`, `["m"`, `[]`, `["connect"]`, "[\"\xff\"]"} {
		s.drops(edgetest.Message(subject, "", body), badBody, 1)
		if n := s.logged(subject); n != i+1 {
			t.Errorf("after %d different faults the log has %d lines; the last body was %s", i+1, n, body)
		}
	}
}
