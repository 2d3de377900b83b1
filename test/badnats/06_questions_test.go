package badnats

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"partyline/internal/edgetest"
)

// An ask that no client can decode reaches no client. The requester gets the reason.
func TestAsksOfBadEvents(t *testing.T) {
	s := begin(t)
	for _, c := range badEvents {
		for _, target := range []string{"all", "room.both", "socket." + s.pair.Ann.ID} {
			answer := s.Ask("sio.chat.ask."+target, c.body, c.headers...)
			if got := answer.Header.Get("Sio-Error"); !strings.HasPrefix(got, "bad event: ") || len(answer.Header) != 1 ||
				len(answer.Data) > 0 {
				t.Errorf("%s to %s: answered %q %v", c.name, target, answer.Data, answer.Header)
			}
		}
		s.pair.Fine()
	}
	if n := s.Figure("asks_total", "") + s.Figure("asks_awaited", ""); n != 0 {
		t.Errorf("%d asks were put", n)
	}
}

func TestAsksWithBadTimeouts(t *testing.T) {
	s := begin(t)
	for _, value := range []string{"-5", "600001", "99999999999999999999", "5s", "1e3", "1.5", "0x10", "false",
		"\x00"} {
		for _, target := range []string{"all", "room.both", "socket." + s.pair.Ann.ID} {
			answer := s.Ask("sio.chat.ask."+target, `["x"]`, "Sio-Timeout: "+value)
			if got := answer.Header.Get("Sio-Error"); !strings.HasPrefix(got, "Sio-Timeout must be") {
				t.Errorf("%q to %s: answered %q %v", value, target, answer.Data, answer.Header)
			}
		}
		s.pair.Fine()
	}
}

// Bodies that are invalid for fetch, data and rooms.
func TestBadQuestions(t *testing.T) {
	s := begin(t)
	deep := strings.Repeat(`{"x":`, 20_000) + "1" + strings.Repeat("}", 20_000)
	for _, target := range []string{"all", "room.both", "socket." + s.pair.Ann.ID} {
		for _, verb := range []string{"fetch", "rooms", "data"} {
			bodies := []string{`x`, `{}`, `null`, `7`, `"x"`, `[{}`, "\xff", "[\"\xff\"]", `[]]`, `[{},{}]`, `[1,2]`, "[" + deep + "]"}
			if verb != "data" { // which may be set to any value
				bodies = append(bodies, `[1]`, `[null]`, `["both"]`, `[[]]`)
			}
			for _, body := range bodies {
				s.refused("sio.chat."+verb+"."+target, body, "")
			}
		}
		s.refused("sio.chat.data."+target, `[{"x":"`+strings.Repeat("x", 65_536)+`"}]`,
			"data of 65544 bytes; the limit is 65536")
	}
	answer := s.Ask("sio.chat.data.socket."+s.pair.Ann.ID, "")
	if want := fmt.Sprintf(`[{"edge":"%s","sockets":1},{"id":"%s","data":{}}]`, s.ID,
		s.pair.Ann.ID); string(answer.Data) != want {
		t.Errorf("the data is %s", answer.Data)
	}
	s.pair.Fine()
}

// A socket exists only in its own namespace, for every verb.
func TestQuestionsAcrossNamespaces(t *testing.T) {
	s := begin(t)
	never := s.ID + "." + strings.Repeat("A", 20)
	for _, subject := range []string{"sio.other.%s.socket." + s.pair.Ann.ID, "sio._.%s.socket." + s.pair.Ann.ID,
		"sio.CHAT.%s.socket." + s.pair.Ann.ID, "sio.chat.%s.socket." + never} {
		for verb, bodies := range map[string][]string{"ask": {`["x"]`}, "fetch": {``}, "rooms": {``},
			"data": {``, `[{"stolen":1}]`}} {
			for _, body := range bodies {
				s.refused(fmt.Sprintf(subject, verb), body, "unknown socket")
			}
		}
	}
	// Nor by a header.
	eve := s.Dial("eve")
	id := eve.Connect("/other", "")
	for _, verb := range []string{"ask", "fetch", "rooms"} {
		body := ""
		if verb == "ask" {
			body = `["x"]`
		}
		answer := s.Ask("sio.other."+verb+".all", body, "Sio-Rooms: "+s.pair.Ann.ID, "Sio-Rooms: both")
		if !strings.HasPrefix(string(answer.Data), fmt.Sprintf(`[{"edge":"%s","sockets":0}`, s.ID)) {
			t.Errorf("%s: %s", verb, answer.Data)
		}
	}
	s.pair.Fine()
	if eve.Pending() > 0 {
		t.Errorf("%s got %s", id, eve.Next())
	}
}

// A client that acks what it was not asked answers no request, whatever ids it guesses.
func TestAcksOfAStranger(t *testing.T) {
	s := begin(t)
	eve := s.Dial("eve")
	eve.Connect("/other", "")
	inbox := s.Hear(s.NC.NewInbox())
	s.Send(edgetest.Message("sio.chat.ask.socket."+s.pair.Ann.ID, inbox.Subject, `["who?"]`))
	got := s.pair.Ann.Next()
	id := strings.TrimSuffix(strings.TrimPrefix(got, `42/chat,`), `["who?"]`)
	for i := range 1000 {
		eve.Send(fmt.Sprintf(`43/other,%d["eve"]`, i))
	}
	s.pair.Bob.Send(`43/chat,` + id + `["bob"]`)
	s.Counts("acks_in_total", "", 1001)
	s.pair.Fine()
	s.pair.Ann.Send(`43/chat,` + id + `["ann"]`)
	s.pair.Ann.Send(`43/chat,` + id + `["ann again"]`)
	m, err := inbox.NextMsg(edgetest.Patience)
	if err != nil || string(m.Data) != `["ann"]` {
		t.Fatalf("%v %v", m, err)
	}
	s.pair.Fine()
	if n, _, err := inbox.Pending(); n > 0 || err != nil {
		t.Errorf("%d answers more, %v", n, err)
	}
}

// There are no answers on subjects of the contract or of systems. A request without a reply subject is ignored.
func TestQuestionsThatGetNoAnswer(t *testing.T) {
	s := begin(t)
	heard := s.Hear(">")
	replies := []string{"sio.chat.emit.all", "sio.chat.ack." + s.pair.Ann.ID + ".1", "sio.chat.on.message", "sio.$edge.x",
		"$SYS.REQ.SERVER.PING", "$x"}
	questions := map[string][]string{"ask": {`["x"]`, `[]`}, "fetch": {``, `[1]`}, "rooms": {``, `[1]`},
		"data": {``, `[1]`}}
	withheld := 0
	for _, reply := range replies {
		for verb, bodies := range questions {
			for _, body := range bodies {
				for _, target := range []string{"all", "room.both", "socket." + s.pair.Ann.ID} {
					s.Send(edgetest.Message("sio.chat."+verb+"."+target, reply, body))
					withheld++
				}
			}
		}
		s.Counts("answers_withheld_total", "", withheld)
		s.pair.Fine()
	}
	for verb, bodies := range questions {
		s.drops(edgetest.Message("sio.chat."+verb+".room.unheard", "", bodies[0]), "no reply subject", 1)
	}
	end := s.NC.NewInbox()
	s.Publish(end, "")
	for m := (*nats.Msg)(nil); m == nil || m.Subject != end; {
		m = heard.Next()
		announcement := strings.HasPrefix(m.Subject, "sio.$edge."+s.ID+".")
		if strings.Contains(string(m.Data), `"edge"`) && !announcement || m.Header.Get("Sio-Error") != "" {
			t.Errorf("on %s came %q %v", m.Subject, m.Data, m.Header)
		}
	}
}
