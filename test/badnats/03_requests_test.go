package badnats

import (
	"fmt"
	"strings"
	"testing"

	"partyline/internal/edgetest"
)

// A request that cannot be fulfilled is answered with the reason.
func TestBadRequests(t *testing.T) {
	s := begin(t)
	many := make([]string, 1001)
	for i := range many {
		many[i] = fmt.Sprintf(`"%d"`, i)
	}
	for _, target := range []string{"all", "room.both", "socket." + s.pair.Ann.ID} {
		for _, verb := range []string{"join", "leave"} {
			for _, c := range []struct{ body, reason string }{
				{``, "not valid JSON"},
				{`vip`, "not valid JSON"},
				{`["vip"`, "not valid JSON"},
				{`{"rooms":["vip"]}`, "not a JSON array"},
				{`null`, "not a JSON array"},
				{`"vip"`, "not a JSON array"},
				{`[]`, "it is empty"},
				{`[null]`, "element 0"},
				{`["vip",7]`, "element 1"},
				{`[["vip"]]`, "element 0"},
				{"[\"\xff\"]", "UTF-8"},
				{`["\ud800"]`, "surrogate"},
				{`["` + s.pair.Ann.ID + `"]`, "form of a socket id"},
				{`["vip","k3f9a0zz.AAAAAAAAAAAAAAAAAAA1"]`, "form of a socket id"},
				{`["` + strings.Repeat("x", 513) + `"]`, "longer than 512 bytes"},
				{`["x` + strings.Repeat(".x", 16) + `"]`, "more than 16 tokens"},
			} {
				s.refused("sio.chat."+verb+"."+target, c.body, c.reason)
			}
		}
		for _, body := range []string{`{}`, `true`, `[1]`, `[true,true]`, `["true"]`, `[null]`, `[[]]`, `x`, `[`, "\xff"} {
			s.refused("sio.chat.disconnect."+target, body, "")
		}
		if n := s.Figure("rooms", ""); n != 1 {
			t.Fatalf("%s: there are %d rooms", target, n)
		}
	}
	s.refused("sio.chat.join.socket."+s.pair.Ann.ID, "["+strings.Join(many, ",")+"]", "too many rooms")
	// The same without a reply subject: counted, logged once.
	for _, verb := range []string{"join", "leave", "disconnect"} {
		s.drops(edgetest.Message("sio.chat."+verb+".room.unheard", "", `{}`), badBody, 1)
	}
	if n := s.Figure("rooms", ""); n != 1 {
		t.Errorf("there are %d rooms", n)
	}
}

// The edge may publish where the requester may not. So it answers nowhere but below nats.reply_prefixes.
func TestReplySubjectsThatGetNoAnswer(t *testing.T) {
	s := begin(t)
	heard := s.Hear(">")
	replies := []string{
		"sio.chat.emit.all", "sio.chat.emit.room.both", "sio.chat.emit.socket." + s.pair.Ann.ID,
		"sio.chat.ack." + s.pair.Ann.ID + ".1",
		"sio.other.emit.all", "sio.chat.on.message", "sio.chat.join.all", "sio.chat.disconnect.all", "sio.$edge.x", "sio.x",
		"$SYS.REQ.SERVER.PING", "$JS.API.STREAM.DELETE.EVENTS", "$x",
		"sio2.c.emit.all", "siox.inbox", "orders.create", "_INBOX", "_INBOXES.x", "inbox.x",
	}
	for i, reply := range replies {
		room := fmt.Sprintf("asked-%d", i)
		s.Send(edgetest.Message("sio.chat.join.socket."+s.pair.Ann.ID, reply, `["`+room+`"]`))
		s.Send(edgetest.Message("sio.chat.join.room.both", reply, `{}`)) // the answer would be an error
		s.Counts("answers_withheld_total", "", 2*i+2)
		// The request was fulfilled nevertheless.
		s.Publish("sio.chat.emit.room."+room, `["in"]`)
		s.pair.Ann.Expect(`42/chat,["in"]`)
		s.pair.Fine()
	}
	// and this one is answered
	if answer := s.Ask("sio.chat.leave.socket."+s.pair.Ann.ID, `["none"]`); answer.Header != nil {
		t.Fatal(answer.Header)
	}
	for {
		m := heard.Next()
		for _, reply := range replies {
			if m.Subject == reply && (strings.Contains(string(m.Data), `"edge"`) || m.Header.Get("Sio-Error") != "") {
				t.Errorf("on %s came %q %v", m.Subject, m.Data, m.Header)
			}
		}
		if m.Subject == "sio.chat.leave.socket."+s.pair.Ann.ID {
			break
		}
	}
	for _, target := range []string{"socket." + s.pair.Ann.ID, "room.both"} {
		// that answers are withheld, and perhaps that a body is bad
		if n := s.logged("sio.chat.join." + target); n < 1 || n > 2 {
			t.Errorf("about sio.chat.join.%s the log has %d lines, want one a reason", target, n)
		}
	}
}

// Verbs are an open list: an edge ignores those that it does not know.
func TestUnknownVerbs(t *testing.T) {
	s := begin(t)
	for _, verb := range []string{"frobnicate", "EMIT", "emits", "ons", "$join", "%65mit"} {
		for _, target := range []string{"all", "room.both", "socket." + s.pair.Ann.ID} {
			s.drops(edgetest.Message("sio.chat."+verb+"."+target, "", `["x"]`), unknownVerb, 0)
		}
	}
	// The contract has no broadcast to one socket.
	s.drops(edgetest.Message("sio.chat.broadcast.socket."+s.pair.Ann.ID, "", `["x"]`), unknownVerb, 0)
	// There is no answer, and no wait for one: these reach no edge, or none that knows the socket.
	for _, subject := range []string{"sio.chat", "sio.chat.emit", "sio.chat.emit.everybody", "sio.chat.emit.room",
		"sio.chat.emit.socket." + s.ID, "sio.$edge.x", "sio..x"} {
		_ = s.NC.Publish(subject, []byte(`["x"]`))
	}
	s.pair.Fine()
}

// Tokens that encode no name match nothing and break nothing.
func TestSpellingsOfNoName(t *testing.T) {
	s := begin(t)
	dropped, unwanted := s.Figure("dropped_total", "bad subject"), s.Figure("unwanted_total", "")
	bad := []string{"%62oth", "both%20", "%2e", "%", "both.%", "%zz", strings.Repeat("x", 600),
		strings.TrimSuffix(strings.Repeat("x.", 20), ".")}
	for _, room := range bad {
		for _, verb := range []string{"join", "leave", "disconnect"} { // every edge receives these
			s.Publish("sio.chat."+verb+".room."+room, `["x"]`)
		}
	}
	for _, header := range []string{"%62oth", "\xff", "", strings.Repeat("x", 5000)} {
		s.Publish("sio.chat.emit.all", `["x"]`, "Sio-Rooms: "+header)
	}
	s.Counts("unwanted_total", "", unwanted+4)
	s.pair.Fine()
	t.Logf("%d bad subjects, %d without a receiver", s.Figure("dropped_total", "bad subject")-dropped,
		s.Figure("unwanted_total", "")-unwanted)
	if n := s.Figure("rooms", ""); n != 1 {
		t.Errorf("there are %d rooms", n)
	}
}
