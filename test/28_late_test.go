package test

import (
	"encoding/json"
	"fmt"
	"testing"
)

// unrepeated has event 1 of a room stored in a way that an edge does not take it: a later sequence seems to have come
// before, as when the log gets another leader.
func (s *stage) unrepeated(room string) {
	s.t.Helper()
	var ack struct{ Seq uint64 }
	_ = json.Unmarshal(s.Ask("sio.chat.emit.room.nobody", `["now"]`).Data, &ack)
	s.Publish("sio.chat.log.all", `["later"]`, "Sio-Rooms: nobody", "Nats-Stream: SIO_LOG", fmt.Sprintf("Nats-Sequence: %d", ack.Seq+6))
	s.Publish("sio.chat.emit.room."+room, `["n",1]`)
	for range 10 {
		s.Publish("sio.chat.emit.room.nobody", `["x"]`)
	}
	s.stored()
}

// What no leader of the log repeated comes late to those who were in the room, once. A room's past, if it has one, and
// what came before one entered it, come by nothing else.
func TestLateEventsAndRewind(t *testing.T) {
	for room, past := range map[string][]int{"news": {0, 1}, "other": nil} {
		t.Run(room, func(t *testing.T) {
			s := beginRewound(t)
			ann, bob := s.Enter("ann", "/chat"), s.Enter("bob", "/chat")
			joins(t, ann, room)
			s.say("sio.chat.emit.room."+room, 0, 0)
			gets(t, ann.Client, "/chat,", 0)
			s.unrepeated(room)
			joins(t, bob, room)
			gets(t, bob.Client, "/chat,", past...)
			s.Publish("$JS.EVENT.ADVISORY.STREAM.LEADER_ELECTED.SIO_LOG", `{}`)
			gets(t, ann.Client, "/chat,", 1)
			s.say("sio.chat.emit.room."+room, 2, 2)
			gets(t, ann.Client, "/chat,", 2)
			gets(t, bob.Client, "/chat,", 2)
		})
	}
}
