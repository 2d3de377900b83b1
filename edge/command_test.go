package edge

import (
	"slices"
	"testing"

	"partyline/edge/query"
	"partyline/edge/registry"
	"partyline/subjects"
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
