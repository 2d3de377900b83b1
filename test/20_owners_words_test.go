package test

import (
	"strings"
	"testing"
)

// An instance that gets an event of a socket that it has released reports it. The event counts as failed. The next
// ones wait until the socket has an owner again: the same instance, or another one.
func TestAnInstanceIsNotTheOwner(t *testing.T) {
	t.Parallel()
	s := begin(t, usual())
	a := startInstance(t, s.NC, "chat-a")
	so := s.own(a, "ann", `[]`)
	so.Emit("", `["lost"]`)
	a.gets(so, "lost", `["lost"]`)
	a.notOwner(so, "")
	m := a.request()
	if m.Header.Get("Sio-Assignment") != "2" || !strings.Contains(string(m.Data), `"handover":{"from":"chat-a","rev":0,`) {
		t.Fatalf("%v %s", m.Header, m.Data)
	}
	so.Emit("", `["held"]`)
	s.Counts("events_held_total", "", 1)
	s.Counts("events_failed_total", "", 1)
	a.admits(m, `[]`)
	a.gets(so, "held", `["held"]`)

	b := startInstance(t, s.NC, "chat-b")
	a.notOwner(so, "2")
	a.decides(a.request(), "", "Sio-Error: again") // it leaves, or must not own anything
	so.Emit("", `["next"]`)
	if request := b.accepts(`[]`); request.Handover == nil || request.Assignment != "4" {
		t.Errorf("the request is %+v", request)
	}
	b.gets(so, "next", `["next"]`)
}

// A report about an assignment that has ended changes nothing.
func TestALateWordEndsNoNewerAssignment(t *testing.T) {
	s := begin(t, usual())
	a := startInstance(t, s.NC, "chat-a")
	so := s.own(a, "ann", `[]`)
	a.notOwner(so, "1")
	old := a.request()
	a.admits(old, `[]`)
	for i := range 3 {
		a.notOwner(so, "1") // of an earlier assignment
		a.admits(old, `[]`)
		s.Counts("events_failed_total", "", i+2)
		so.Emit("", `["n"]`)
		a.gets(so, "n", `["n"]`)
	}
	s.Counts("takeovers_total", "", 1)
}

// An instance that answers after another one has decided is not the owner. It is notified, with the number of its
// assignment, once when the other one decides and once for its answer.
func TestALateAnswerIsNoAdmission(t *testing.T) {
	t.Parallel()
	s := begin(t, usual())
	a := startInstance(t, s.NC, "chat-a")
	so := s.own(a, "ann", `[]`)
	b := startInstance(t, s.NC, "chat-b")
	a.notOwner(so, "")
	late := a.request()
	request := b.request() // a is silent
	b.admits(request, `[]`)
	a.gets(so, "disconnect", `["disconnect",{"reason":"owner changed","rooms":[],"assignment":2}]`)
	a.admits(late, `[]`)
	a.gets(so, "disconnect", `["disconnect",{"reason":"owner changed","rooms":[],"assignment":2}]`)
	so.Emit("", `["n"]`)
	b.gets(so, "n", `["n"]`)
	if n := request.Header.Get("Sio-Assignment"); n != "3" {
		t.Errorf("it is assignment %s", n)
	}
}

// Of the instances that were asked, the first that decides is the owner, also if another one was asked after it.
func TestTheFirstDecisionCounts(t *testing.T) {
	t.Parallel()
	s := begin(t, usual())
	a := startInstance(t, s.NC, "chat-a")
	so := s.own(a, "ann", `[]`)
	b := startInstance(t, s.NC, "chat-b")
	a.notOwner(so, "")
	first := a.request()
	second := b.request() // a is silent
	a.admits(first, `[]`)
	b.gets(so, "disconnect", `["disconnect",{"reason":"owner changed","rooms":[],"assignment":3}]`)
	b.admits(second, `[]`)
	b.gets(so, "disconnect", `["disconnect",{"reason":"owner changed","rooms":[],"assignment":3}]`)
	so.Emit("", `["n"]`)
	a.gets(so, "n", `["n"]`)
}

// An instance that counted an edge as dead, and then receives from it, reports it. The edge assigns its sockets again.
func TestAnInstanceOwnsNothingOfAnEdge(t *testing.T) {
	s := begin(t, usual())
	a := startInstance(t, s.NC, "chat-a")
	so := s.own(a, "ann", `[]`)
	s.Publish("sio.$edge."+s.ID+".pong.chat-a", "[]", "Sio-Error: not owner")
	if request := a.accepts(`[]`); request.Handover == nil || request.Assignment != "2" {
		t.Errorf("the request is %+v", request)
	}
	so.Emit("", `["n"]`)
	a.gets(so, "n", `["n"]`)
}

// A service may refuse with any text.
func TestARefusalMayReadLikeAWordOfOwners(t *testing.T) {
	s := begin(t, usual())
	requests := s.hear("sio.door.on.connect")
	c := s.Dial("ann")
	c.Send("40/door,")
	s.Publish(requests.Next().Reply, "", "Sio-Error: not owner")
	c.Expect(`44/door,{"message":"not owner"}`)
}
