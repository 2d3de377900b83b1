package test

import (
	"testing"

	"partyline/internal/edgetest"
)

// The reply subject names the sender, which is left out.
func TestBroadcastLeavesOutItsSender(t *testing.T) {
	s := begin(t, usual())
	a, b := s.Enter("a", "/chat"), s.Enter("b", "/chat")
	s.join(a, `["vip"]`)
	s.join(b, `["vip"]`)
	for _, subject := range []string{"sio.chat.broadcast.all", "sio.chat.broadcast.room.vip"} {
		for _, reply := range []string{a.Address(), a.Ack("7"), a.Ack("connect")} {
			s.PublishReply(subject, reply, `["news"]`)
			b.Gets(`["news"]`)
			s.onlyMarker(a, b)
		}
	}
}

// A service can broadcast on behalf of a sender with only the message that it received.
func TestBroadcastWithTheReplyOfAnEvent(t *testing.T) {
	s := begin(t, usual())
	a, b := s.Enter("a", "/chat"), s.Enter("b", "/chat")
	events := s.hear("sio.chat.on.message")
	for _, id := range []string{"", "3"} {
		a.Emit(id, `["message","hi"]`)
		m := events.Next()
		s.PublishReply("sio.chat.broadcast.all", m.Reply, string(m.Data))
		b.Gets(`["message","hi"]`)
		s.onlyMarker(a, b)
	}
}

func TestBroadcastWithoutSenderReachesAll(t *testing.T) {
	s := begin(t, usual())
	a := s.Enter("a", "/chat")
	other := edgetest.Enter(a.Client, "/", "")
	s.join(a, `["vip"]`)
	for _, reply := range []string{
		"", "_INBOX.x", "sio", "sio.chat.emit.all", "sio.chat.emit.room.vip", "sio.chat.emit.socket." + s.ID + ".aaaaaaaaaaaaaaaaaaaa",
		"other.chat.emit.socket." + a.ID, "sio._.emit.socket." + a.ID, "sio.chat.emit.socket." + other.ID, other.Address(), "$JS.x",
	} {
		for _, subject := range []string{"sio.chat.broadcast.all", "sio.chat.broadcast.room.vip"} {
			s.PublishReply(subject, reply, `["news","`+reply+`"]`)
			a.Gets(`["news","` + reply + `"]`)
		}
	}
	s.onlyMarker(a, other)
}
