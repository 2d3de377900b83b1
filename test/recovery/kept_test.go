package recovery

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"partyline/internal/edgetest"
)

// Rooms and data that a service changed, and got an answer for, are there after the edge was killed at once. So are
// the events that came meanwhile, of the rooms at their time.
func TestWhatWasAnsweredIsKept(t *testing.T) {
	needRecovery(t)
	t.Parallel()
	s := begin(t, false, slowHeart...)
	for round := range 3 * *rounds {
		h := s.enter(0, "/chat", fmt.Sprint("ann", round), "", "", "first", "second")
		s.say("socket."+h.SID, "hello", round)
		h.hears(fmt.Sprint("hello/", round))
		s.request("join", h.SID, `["third","fourth"]`)
		s.say("room.third", "before", round)
		s.request("leave", h.SID, `["first"]`)
		s.request("data", h.SID, fmt.Sprintf(`[{"round":%d}]`, round))
		_ = s.edges[0].Kill(syscall.SIGKILL)
		var want []string
		for n, target := range []string{"room.first", "room.second", "room.third", "all", "room.other", "socket." + h.SID} {
			id := s.say(target, fmt.Sprint("away", round), n)
			if target != "room.first" && target != "room.other" {
				want = append(want, id)
			}
		}
		offset := h.offset // of hello: before/… may or may not have been read
		back := s.enter(1+round%2, "/chat", "somebody else", h.PID, offset)
		if back.SID != h.SID || back.PID != h.PID {
			t.Fatalf("round %d: it came back as %s %s, and was %s %s", round, back.SID, back.PID, h.SID, h.PID)
		}
		want = append([]string{fmt.Sprint("before/", round)}, want...)
		if !slices.Equal(back.got, want) {
			t.Errorf("round %d: it was sent %v in front of the CONNECT, want %v", round, back.got, want)
		}
		back.got = nil
		s.described(back, fmt.Sprint("ann", round), fmt.Sprintf(`{"round":%d}`, round), "fourth", "second", "third")
		s.say("room.first", "after", round)
		s.say("room.fourth", "after", round)
		if got := back.hears(s.say("all", "last", round)); !slices.Equal(got, []string{fmt.Sprint("after/", round), fmt.Sprint("last/", round)}) {
			t.Errorf("round %d: then it received %v", round, got)
		}
		back.via.end()
		s.edges[0].Restart(t)
	}
}

// described checks what services see of a socket.
func (s *stage) described(h *hand, user, data string, rooms ...string) {
	s.t.Helper()
	var one struct {
		User  string
		Rooms []string
		Data  json.RawMessage
	}
	answer := s.request("fetch", h.SID, "")
	if len(answer) != 2 || json.Unmarshal(answer[1], &one) != nil {
		s.t.Fatalf("it is described as %s", answer)
	}
	slices.Sort(one.Rooms)
	if one.User != user || !slices.Equal(one.Rooms, rooms) || string(one.Data) != data {
		s.t.Errorf("it is described as %s, want user %s, rooms %v and data %s", answer[1], user, rooms, data)
	}
}

// A socket that a service or its client ended is not recovered, also if its edge was killed at once.
func TestEndedSocketsStayAway(t *testing.T) {
	onlyInFull(t)
	needRecovery(t)
	t.Parallel()
	s := begin(t, false, slowHeart...)
	for name, end := range map[string]func(h *hand){
		"a service disconnects it":          func(h *hand) { s.request("disconnect", h.SID, `[]`) },
		"a service disconnects its session": func(h *hand) { s.request("disconnect", h.SID, `[true]`) },
		"its client leaves": func(h *hand) {
			gone := edgetest.Hear(t, s.nc, "sio.chat.on.disconnect")
			_ = h.via.send("41/chat,")
			for !strings.HasSuffix(gone.Next().Reply, h.SID) {
			}
			_ = gone.Unsubscribe()
		},
	} {
		for _, kill := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", and the edge is killed: ", kill), func(t *testing.T) {
				h := s.enter(0, "/chat", "ann", "", "", "first")
				s.say("socket."+h.SID, "hello", 1)
				h.hears("hello/1")
				end(h)
				if kill {
					_ = s.edges[0].Kill(syscall.SIGKILL)
				}
				s.say("room.first", "away", 1)
				back := s.enter(1, "/chat", "ann", h.PID, h.offset, "first")
				if back.SID == h.SID || back.PID == h.PID || len(back.got) > 0 {
					t.Errorf("it was %s, came back as %s, and was sent %v", h.SID, back.SID, back.got)
				}
				if kill {
					s.edges[0].Restart(t)
				}
			})
		}
	}
}

func needRecovery(t *testing.T) {
	t.Helper()
	if *plain {
		t.Skip("without recovery")
	}
}
