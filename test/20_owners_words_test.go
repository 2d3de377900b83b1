package test

import (
	"strings"
	"testing"
)

// An instance that gets an event of a socket that it has let go of says so. The event is counted as failed, the next ones wait
// until somebody owns the socket: the same instance, if it wants, or another one.
func TestAnInstanceIsNotTheOwner(t *testing.T) {
	t.Parallel()
	s := begin(t, usual())
	a := startInstance(t, s.NC, "chat-a")
	so := s.own(a, "ann", `[]`)
	so.Emit("", `["lost"]`)
	a.gets(so, "lost", `["lost"]`)
	a.notOwner(so, "")
	m := a.owned.Next()
	if m.Subject != "sio.door.own.chat-a.connect" || !strings.Contains(string(m.Data), `"takeover":{"from":"chat-a","claim":2,"rev":0,`) {
		t.Fatalf("%s %s", m.Subject, m.Data)
	}
	so.Emit("", `["held"]`)
	s.Counts("events_held_total", "", 1)
	s.Counts("events_failed_total", "", 1)
	a.answer(m, `[]`, "Sio-Group: chat", "Sio-Owner: chat-a", "Sio-Claim: 2")
	a.gets(so, "held", `["held"]`)

	b := startInstance(t, s.NC, "chat-b")
	a.notOwner(so, "2")
	m = a.owned.Next()
	a.answer(m, "", "Sio-Error: again") // it leaves, or may not own anything
	_ = a.takes.Subscription.Unsubscribe()
	so.Emit("", `["next"]`)
	if request := b.claim(b.takes, `[]`); request.Takeover == nil || request.Takeover.Claim != 4 {
		t.Errorf("the request is %+v", request.Takeover)
	}
	b.gets(so, "next", `["next"]`)
}

// What is said of a claim that has ended already changes nothing.
func TestALateWordEndsNoNewerClaim(t *testing.T) {
	s := begin(t, usual())
	a := startInstance(t, s.NC, "chat-a")
	so := s.own(a, "ann", `[]`)
	a.notOwner(so, "1")
	old := a.owned.Next()
	a.answer(old, `[]`, "Sio-Group: chat", "Sio-Owner: chat-a", "Sio-Claim: 2")
	for i := range 3 {
		a.notOwner(so, "1") // of before
		a.answer(old, `[]`, "Sio-Group: chat", "Sio-Owner: chat-a", "Sio-Claim: 2")
		s.Counts("events_failed_total", "", i+2)
		so.Emit("", `["n"]`)
		a.gets(so, "n", `["n"]`)
	}
	s.Counts("takeovers_total", "", 1)
}

// An owner that is asked whether it has a socket still, and answers when others have been asked, is not the owner: it is told so,
// by the number of the claim.
func TestALateAnswerIsNoClaim(t *testing.T) {
	t.Parallel()
	s := begin(t, usual())
	a := startInstance(t, s.NC, "chat-a")
	so := s.own(a, "ann", `[]`)
	a.notOwner(so, "")
	late := a.owned.Next()
	for m := a.owned.Next(); m.Subject != "sio.door.own.chat-a.disconnect"; m = a.owned.Next() { // it is asked some times more
		if strings.Contains(string(m.Data), `"claim":3`) {
			t.Fatalf("%s %s", m.Subject, m.Data)
		}
	}
	request := a.takes.Next()
	a.answer(late, `[]`, "Sio-Group: chat", "Sio-Owner: chat-a", "Sio-Claim: 2")
	a.gets(so, "disconnect", `["disconnect",{"reason":"not yours","rooms":[],"claim":2}]`)
	a.answer(request, `[]`, "Sio-Group: chat", "Sio-Owner: chat-a", "Sio-Claim: 3")
	so.Emit("", `["n"]`)
	a.gets(so, "n", `["n"]`)
}

// An instance that took an edge for dead, and hears it again, says so: the edge has its sockets claimed anew.
func TestAnInstanceOwnsNothingOfAnEdge(t *testing.T) {
	s := begin(t, usual())
	a := startInstance(t, s.NC, "chat-a")
	so := s.own(a, "ann", `[]`)
	s.Publish("sio.$edge."+s.ID+".pong.chat-a", "[]", "Sio-Error: not owner")
	if request := a.claim(a.owned, `[]`); request.Takeover == nil || request.Takeover.Claim != 2 {
		t.Errorf("the request is %+v", request.Takeover)
	}
	so.Emit("", `["n"]`)
	a.gets(so, "n", `["n"]`)
}

// A service may refuse with whatever text it likes.
func TestARefusalMayReadLikeAWordOfOwners(t *testing.T) {
	s := begin(t, usual())
	requests := s.hear("sio.door.on.connect")
	c := s.Dial("ann")
	c.Send("40/door,")
	s.Publish(requests.Next().Reply, "", "Sio-Error: not owner")
	c.Expect(`44/door,{"message":"not owner"}`)
}
