package edge

import (
	"slices"
	"strconv"
	"testing"

	"partyline/bus"
	"partyline/edge/registry"
	"partyline/internal/flow"
	"partyline/internal/query"
	"partyline/rule"
	"partyline/subjects"
	"partyline/wire/sio"
)

// A query whose answer has no rooms keeps no rooms of its sockets.
func TestAQueryKeepsNoRoomsThatItDoesNotNeed(t *testing.T) {
	prefix, err := subjects.NewPrefix("sio")
	if err != nil {
		t.Fatal(err)
	}
	reg := registry.New(prefix, 0, func(registry.Effects[client]) {}, func(*socket, int) {})
	s := &socket{ID: "k3f9a0zz.Q2hhdHR5LXNvY2tldC0x"}
	reg.Enter(s, "/chat", "chat", false, nil)
	if _, err := reg.Admit(s, registry.Admission{Rooms: []string{"a", "b"}}); err != nil {
		t.Fatal(err)
	}
	for rooms, want := range map[bool][]string{true: {"a", "b"}, false: nil} {
		seen := 0
		queried{targets{reg, nil}, []*socket{s}}.Look(rooms, func(_ int, v query.View) {
			if seen++; !slices.Equal(v.Rooms, want) || v.ID != s.ID {
				t.Errorf("with rooms %v: %+v", rooms, v)
			}
		})
		if seen != 1 {
			t.Errorf("%d sockets were seen", seen)
		}
	}
}

// Where events take the way through the log, only a checkpoint that took it shows that earlier ones are handled. Its
// core copy is faster.
func TestACheckpointComesFromTheLog(t *testing.T) {
	prefix, err := subjects.NewPrefix("sio")
	if err != nil {
		t.Fatal(err)
	}
	for logged, counts := range map[bool]string{true: subjects.VerbLog, false: subjects.VerbEmit} {
		reg := registry.New(prefix, 0, func(registry.Effects[client]) {}, func(*socket, int) {})
		s := &socket{ID: "k3f9a0zz.Q2hhdHR5LXNvY2tldC0x"}
		reg.Enter(s, "/chat", "chat", logged, nil)
		window, away := s.Namespace.Window, uint64(0)
		for {
			checkpoint, entered := window.Enter(flow.Size/8, false)
			if away = max(away, checkpoint); !entered {
				break
			}
		}
		for _, verb := range []string{subjects.VerbEmit, subjects.VerbLog} {
			m := &bus.Message{Data: strconv.AppendUint(nil, away, 10)}
			targets{reg, nil}.checkpointReturned(m, &subjects.Subject{Namespace: "chat", Verb: verb})
			if _, entered := window.Enter(0, false); entered != (verb == counts || !logged) {
				t.Errorf("logged %v: after a checkpoint on %s there is room: %v", logged, verb, entered)
			}
		}
	}
}

// An event for one room costs its namespace what that room's members cost, however many are in other rooms of the sender.
func TestAnEventCostsItsReceivers(t *testing.T) {
	prefix, err := subjects.NewPrefix("sio")
	if err != nil {
		t.Fatal(err)
	}
	reg := registry.New(prefix, 0, func(registry.Effects[client]) {}, func(*socket, int) {})
	rules := rule.NewBook(map[string]rule.Namespace{"/chat": {UserRoom: "user:"}}).Find("/chat")
	var s *socket
	for i, rooms := range [][]string{{"lobby"}, {"lobby"}, {"lobby", "match"}, {"lobby", "match", "user:ann"}, nil} {
		other := &socket{ID: "k3f9a0zz.Q2hhdHR5LXNvY2tldC0" + strconv.Itoa(i)}
		other.Edge.rules = rules
		reg.Enter(other, "/chat", "chat", false, nil)
		if _, err := reg.Admit(other, registry.Admission{Rooms: rooms}); err != nil {
			t.Fatal(err)
		}
		if len(rooms) == 3 {
			s = other
		}
	}
	for _, c := range []struct {
		to, data string
		want     int
	}{
		{rule.ToRoom, `["move","match"]`, 2}, {rule.ToRoom, `["move","lobby"]`, 4}, {rule.ToRoom, `["move","user:ann"]`, 1},
		{rule.ToRoom, `["move","elsewhere"]`, 0}, {rule.ToRoom, `["move"]`, 0}, {rule.ToRoom, `["move",""]`, 0},
		{rule.ToRooms, `["move","match"]`, 6}, {rule.ToAll, `["move"]`, 5}, {rule.ToSocket, `["move"]`, 1},
	} {
		u := upward{scratch: &scratch{}, socket: s, packet: sio.Packet{Data: []byte(c.data)}, rule: &rule.Relay{To: c.to}}
		if got := u.receivers(); got != c.want {
			t.Errorf("%s to %v costs %d receivers, want %d", c.data, c.to, got, c.want)
		}
	}
}
