package test

import "testing"

// The reply subject names the sender, who is left out.
func TestBroadcastLeavesOutItsSender(t *testing.T) {
	s := begin(t, usual())
	a, b := s.enter("a", "/chat"), s.enter("b", "/chat")
	s.join(a, `["vip"]`)
	s.join(b, `["vip"]`)
	for _, subject := range []string{"sio.chat.broadcast.all", "sio.chat.broadcast.room.vip"} {
		for _, reply := range []string{a.address(), a.ack("7"), a.ack("connect")} {
			s.publishReply(subject, reply, `["news"]`)
			b.gets(`["news"]`)
			s.onlyMarker(a, b)
		}
	}
}

// A service broadcasts on behalf of a sender with nothing but the message that it got.
func TestBroadcastWithTheReplyOfAnEvent(t *testing.T) {
	s := begin(t, usual())
	a, b := s.enter("a", "/chat"), s.enter("b", "/chat")
	events := s.hear("sio.chat.on.message")
	for _, id := range []string{"", "3"} {
		a.send(id, `["message","hi"]`)
		m := events.next()
		s.publishReply("sio.chat.broadcast.all", m.Reply, string(m.Data))
		b.gets(`["message","hi"]`)
		s.onlyMarker(a, b)
	}
}

func TestBroadcastThatNamesNobodyLeavesNobodyOut(t *testing.T) {
	s := begin(t, usual())
	a := s.enter("a", "/chat")
	other := also(a.Client, "/")
	s.join(a, `["vip"]`)
	for _, reply := range []string{
		"", "_INBOX.x", "sio", "sio.chat.emit.all", "sio.chat.emit.room.vip", "sio.chat.emit.socket." + s.ID + ".aaaaaaaaaaaaaaaaaaaa",
		"other.chat.emit.socket." + a.id, "sio._.emit.socket." + a.id, "sio.chat.emit.socket." + other.id, other.address(), "$JS.x",
	} {
		for _, subject := range []string{"sio.chat.broadcast.all", "sio.chat.broadcast.room.vip"} {
			s.publishReply(subject, reply, `["news","`+reply+`"]`)
			a.gets(`["news","` + reply + `"]`)
		}
	}
	s.onlyMarker(a, other)
}
