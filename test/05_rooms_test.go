package test

import (
	"fmt"
	"strings"
	"testing"

	"partyline/internal/edgetest"
)

func TestJoinAndLeaveOneSocket(t *testing.T) {
	s := begin(t, usual())
	a, b := s.Enter("a", "/chat"), s.Enter("b", "/chat")
	s.join(a, ` [ "vip" , "order.1", "v\u0069p" ] `)
	s.join(a, `["vip"]`) // again
	for _, room := range []string{"vip", "order.1"} {
		s.Publish("sio.chat.emit.room."+room, `["once"]`)
		a.Gets(`["once"]`)
	}
	s.change("sio.chat.leave.socket."+a.ID, `["vip","never was in it"]`, 1)
	s.Publish("sio.chat.emit.room.vip", `["no"]`)
	s.Publish("sio.chat.emit.room.order.1", `["yes"]`)
	a.Gets(`["yes"]`)
	s.onlyMarker(a, b)
}

func TestJoinAndLeaveByRoomAndAll(t *testing.T) {
	s := begin(t, usual())
	a, b, c := s.Enter("a", "/chat"), s.Enter("b", "/chat"), s.Enter("c", "/chat")
	other := s.Enter("other", "/")
	s.join(a, `["vip"]`)
	s.join(b, `["vip"]`)
	s.change("sio.chat.join.room.vip", `["gold"]`, 2)
	s.Publish("sio.chat.emit.room.gold", `["gold"]`)
	a.Gets(`["gold"]`)
	b.Gets(`["gold"]`)
	s.change("sio.chat.join.all", `["hall"]`, 3)
	s.Publish("sio.chat.emit.room.hall", `["hall"]`)
	for _, so := range []*socket{a, b, c} {
		so.Gets(`["hall"]`)
	}
	s.change("sio.chat.leave.room.vip", `["vip","gold"]`, 2)
	s.change("sio.chat.leave.room.vip", `["vip"]`, 0)
	s.change("sio.chat.leave.all", `["hall"]`, 3)
	s.change("sio.chat.join.room.nobody", `["x"]`, 0)
	s.change("sio.nowhere.join.all", `["x"]`, 0)
	for _, room := range []string{"vip", "gold", "hall", "x"} {
		s.Publish("sio.chat.emit.room."+room, `["no"]`)
	}
	s.onlyMarker(a, b, c, other)
	s.Counts("rooms", "", 0)
}

// The room's own subscription also matches these requests. It must not cause a second answer.
func TestEveryRequestIsAnsweredOnce(t *testing.T) {
	s := begin(t, usual())
	a, b := s.Enter("a", "/chat"), s.Enter("b", "/chat")
	s.join(a, `["vip"]`)
	s.join(b, `["vip"]`)
	answers := s.hear("_INBOX.answers")
	for _, subject := range []string{"join.room.vip", "join.all", "leave.room.vip", "leave.all"} {
		s.PublishReply("sio.chat."+subject, "_INBOX.answers", `["other"]`)
		s.PublishReply("sio.chat.leave.socket."+a.ID, "_INBOX.answers", `["marker"]`)
		answers.Gets("_INBOX.answers", "", fmt.Sprintf(`[{"edge":"%s","sockets":2}]`, s.ID))
		answers.Gets("_INBOX.answers", "", fmt.Sprintf(`[{"edge":"%s","sockets":1}]`, s.ID))
	}
}

// An answer means that the change is done: what the requester publishes next reaches the new member.
func TestJoinHoldsOnceAnswered(t *testing.T) {
	s := begin(t, usual())
	a := s.Enter("a", "/chat")
	for i := range 200 {
		room := fmt.Sprint("room", i)
		s.join(a, `["`+room+`"]`)
		s.Publish("sio.chat.emit.room."+room, `["`+room+`"]`)
		a.Gets(`["` + room + `"]`)
	}
}

func TestJoinWithoutReplyIsDone(t *testing.T) {
	s := begin(t, usual())
	a := s.Enter("a", "/chat")
	s.Publish("sio.chat.join.socket."+a.ID, `["vip"]`)
	s.change("sio.chat.leave.room.vip", `["vip"]`, 1)
	s.Publish("sio.chat.emit.room.vip", `["no"]`)
	s.onlyMarker(a)
}

func TestJoinAndLeaveWithoutSockets(t *testing.T) {
	s := begin(t, usual())
	for verb, body := range map[string]string{"join": `["vip"]`, "leave": `["vip"]`, "disconnect": ""} {
		s.fails("sio.chat."+verb+".socket."+s.ID+".aaaaaaaaaaaaaaaaaaaa", body, "unknown socket")
	}
}

func TestBadRoomsAreRefused(t *testing.T) {
	s := begin(t, usual())
	a := s.Enter("a", "/chat")
	long, tokens := strings.Repeat("x", 513), strings.Repeat("x.", 16)+"x"
	for body, reason := range map[string]string{
		"": "JSON", "vip": "JSON", `"vip"`: "array", `{}`: "array", `[]`: "empty", `[1]`: "not a string", `["a",null]`: "not a string",
		`["\ud800"]`: "surrogate", "[\"\xff\"]": "UTF-8", `["a","` + long + `"]`: "512", `["a","` + tokens + `"]`: "16 tokens",
		`["a","` + a.ID + `"]`:                       "form of a socket id",
		`["a","abcdefgh.AAAAAAAAAAAAAAAAAAAA"]`:      "form of a socket id",
		`["a","abcdefgh.\u0041AAAAAAAAAAAAAAAAAAA"]`: "form of a socket id",
	} {
		s.fails("sio.chat.join.socket."+a.ID, body, reason)
		s.fails("sio.chat.join.all", body, reason)
		s.fails("sio.chat.leave.socket."+a.ID, body, reason)
	}
	s.Counts("rooms", "", 0) // not even the valid ones among them
	s.onlyMarker(a)
}

// NATS does not check that the requester may publish to the reply subject. The edge would publish there in its own
// name.
func TestAnswersGoToNoSubjectOfTheContract(t *testing.T) {
	s := begin(t, usual())
	a, b := s.Enter("a", "/chat"), s.Enter("b", "/chat")
	internal := s.hear("$x.>")
	replies := []string{"sio.chat.emit.all", b.Address(), a.Ack("1"), "sio.x", "sio.$edge.x", "$x.y", "siox.inbox", "orders.create"}
	for _, reply := range replies {
		s.PublishReply("sio.chat.join.socket."+a.ID, reply, `["vip"]`)
		s.PublishReply("sio.chat.join.socket."+a.ID, reply, `bad`)
		s.PublishReply("sio.chat.leave.all", reply, `["x"]`)
	}
	s.Counts("answers_withheld_total", "", 3*len(replies))
	s.Publish("$x.marker", "")
	internal.Gets("$x.marker", "", "")
	s.Publish("sio.chat.emit.room.vip", `["joined all the same"]`)
	a.Gets(`["joined all the same"]`)
	s.onlyMarker(a, b)
	inbox := s.hear("_INBOX.other.x") // whose inbox it is, no edge can know
	s.PublishReply("sio.chat.join.socket."+a.ID, "_INBOX.other.x", `["vip"]`)
	inbox.Next()
}

func TestRoomsEndWithTheirLastMember(t *testing.T) {
	s := begin(t, usual())
	a, b := s.Enter("a", "/chat"), s.Enter("b", "/chat")
	s.join(a, `["x","y"]`)
	s.join(b, `["y"]`)
	s.Counts("rooms", "", 2)
	a.Hangup()
	s.Counts("rooms", "", 1)
	s.Publish("sio.chat.emit.room.x", `["no"]`)
	s.Publish("sio.chat.emit.room.y", `["yes"]`)
	b.Gets(`["yes"]`)
	b.Hangup()
	s.Counts("rooms", "", 0)
	s.Counts("sockets", "", 0)
	edgetest.Eventually(t, "no session is left", func() bool { return s.Engine.Sessions() == 0 })
}
