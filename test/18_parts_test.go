package test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"partyline/internal/edgetest"
	"partyline/rule"
)

// A namespace that does not fit into one message: the parts come in order, each object is whole, and none is missing.
func TestAnswersInParts(t *testing.T) {
	s := begin(t, usual())
	const n = 12
	var all []*socket
	for i := range n {
		so := s.Enter(fmt.Sprint("c", i), "/chat")
		all = append(all, so)
		s.change("sio.chat.data.socket."+so.ID, fmt.Sprintf(`[{"i":%d,"x":"%s"}]`, i, strings.Repeat("x", 60_000)), 1)
	}
	root := s.Enter("root", "/")
	for _, verb := range []string{"fetch", "data"} {
		got := s.tell(1, "sio.chat."+verb+".all", "")
		if got.parts[s.ID] != 3 { // four objects of 60 KB fit into one
			t.Errorf("%s was answered in %d parts", verb, got.parts[s.ID])
		}
		list := got.socketsOf(t)
		for i, so := range all {
			var data struct{ I int }
			if err := json.Unmarshal(list[so.ID].Data, &data); err != nil || data.I != i || list[so.ID].Incomplete {
				t.Errorf("%s: socket %d has %.50s", verb, i, list[so.ID].Data)
			}
		}
		if got := s.tell(1, "sio.chat."+verb+".socket."+all[0].ID, ""); got.parts[s.ID] != 1 {
			t.Errorf("%s of one socket was answered in %d parts", verb, got.parts[s.ID])
		}
	}
	// Rooms: one object may continue in the next part.
	want := map[string]int{}
	for i := range 3 {
		var rooms []string
		for j := range 900 {
			room := fmt.Sprintf("%d.%d.%s", i, j, strings.Repeat("r", 300))
			rooms, want[room] = append(rooms, room), 1
		}
		body, _ := json.Marshal(append(rooms, "common"))
		s.join(all[i], string(body))
	}
	want["common"] = 3
	got := s.tell(1, "sio.chat.rooms.all", "")
	is := map[string]int{}
	for _, raw := range got.rest {
		var part map[string]int
		if err := json.Unmarshal(raw, &part); err != nil {
			t.Fatal(err)
		}
		for room, count := range part {
			if _, twice := is[room]; twice {
				t.Fatalf("room %.20s is listed twice", room)
			}
			is[room] = count
		}
	}
	if got.parts[s.ID] < 3 || !maps.Equal(is, want) {
		t.Errorf("%d parts with %d of %d rooms", got.parts[s.ID], len(is), len(want))
	}
	s.onlyMarker(append(all, root)...)
}

// What a client can make larger than a NATS message is left out, and the answer still comes.
func TestFetchOfASocketThatDoesNotFit(t *testing.T) {
	s := begin(t, usual().with("/free", rule.Namespace{Connect: rule.ConnectOpen, Rooms: []string{"*"}}))
	so := &socket{Client: s.Dial("big"), Head: "/free,", Token: "free"}
	so.ID = so.Connect("/free", `{"x":"`+strings.Repeat("x", 990_000)+`"}`)
	s.change("sio.free.data.socket."+so.ID, `[{"x":"`+strings.Repeat("x", 60_000)+`"}]`, 1)
	small := s.Enter("small", "/free")
	list := s.tell(1, "sio.free.fetch.all", "").socketsOf(t)
	if f := list[so.ID]; !f.Incomplete || string(f.Handshake) != "{}" || len(f.Data) < 60_000 {
		t.Errorf("the large one is listed as %.200s with %d bytes of data", f.Handshake, len(f.Data))
	}
	if f := list[small.ID]; f.Incomplete || len(f.Handshake) < 100 {
		t.Errorf("the small one is listed as %+v", f)
	}
	rooms := make([]string, 1000)
	for i := range rooms {
		rooms[i] = fmt.Sprint(i) + strings.Repeat("\x01", 500) // six bytes each in JSON
	}
	for some := range slices.Chunk(rooms, 250) { // one message with all would be too large for NATS
		body, _ := json.Marshal(some)
		s.join(so, string(body))
	}
	list = s.tell(1, "sio.free.fetch.all", "").socketsOf(t)
	if f := list[so.ID]; !f.Incomplete || len(f.Rooms) > 0 || string(f.Handshake) != "{}" || len(f.Data) < 60_000 {
		t.Errorf("the large one is listed as %.200s, in %d rooms", f.Handshake, len(f.Rooms))
	}
	if got := s.tell(1, "sio.free.rooms.all", ""); got.sockets[s.ID] != 2 || got.parts[s.ID] < 10 {
		t.Errorf("rooms: %v in %v parts", got.sockets, got.parts)
	}
}

// Many questions at once are all answered, in order.
func TestManyQuestionsAtOnce(t *testing.T) {
	s := begin(t, usual())
	a := s.Enter("a", "/chat")
	inbox := nats.NewInbox()
	ear := s.hear(inbox)
	const n = 2000
	for i := range n {
		s.PublishReply("sio.chat.data.socket."+a.ID, inbox, fmt.Sprintf(`[{"i":%d}]`, i))
		s.PublishReply("sio.chat.data.all", inbox, "")
	}
	sets, gets, last := 0, 0, -1
	for sets+gets < 2*n {
		m := ear.Next()
		if string(m.Data) == fmt.Sprintf(`[{"edge":"%s","sockets":1}]`, s.ID) {
			sets++
			continue
		}
		gets++
		var answer []struct{ Data struct{ I int } }
		if err := json.Unmarshal(m.Data, &answer); err != nil || len(answer) != 2 || answer[1].Data.I < last || answer[1].Data.I < gets-1 {
			t.Fatalf("answer %d is %q %v", gets, m.Data, m.Header)
		}
		last = answer[1].Data.I
	}
	edgetest.Eventually(t, "the edge is done", func() bool { return s.Figure("nats_answers_dropped_total", "") == 0 })
}
