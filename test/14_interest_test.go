package test

import (
	"testing"
	"time"

	"partyline/edge/edgetest"
	"partyline/internal/natsd/natsdtest"
)

// beside starts one more edge at the same NATS server.
func (s *stage) beside(namespaces rules, change ...func(*edgetest.Options)) *edgetest.Node {
	s.t.Helper()
	o := edgetest.Options{NATS: s.nats.ClientURL(), Namespaces: namespaces}
	for _, c := range change {
		c(&o)
	}
	return edgetest.Start(s.t, o).Ready()
}

// Emits to a room go only to the edges that have a member.
func TestOnlyEdgesWithMembersHearARoom(t *testing.T) {
	s := begin(t, usual())
	other := s.beside(usual())
	a, b := s.enter("a", "/chat"), enterOn(other, "b", "/chat")
	s.join(a, `["x"]`)
	before := received(other)
	const rounds = 100
	for range rounds {
		s.publish("sio.chat.emit.room.x", `["x"]`)
		s.publish("sio.chat.broadcast.room.x", `["x"]`)
		s.publish(a.address(), `["x"]`)
		s.publish(a.ack("1"), `["x"]`)
	}
	for range 4 * rounds {
		a.Next()
	}
	s.onlyMarker(b)
	if after := received(other); after != before+1 {
		t.Errorf("the edge without a member had %d messages, want the marker alone", after-before)
	}
}

// An edge without a socket in a namespace hears nothing that is for all of it.
func TestOnlyEdgesWithSocketsHearANamespace(t *testing.T) {
	s := begin(t, usual())
	other := s.beside(usual())
	a, b := s.enter("a", "/chat"), enterOn(other, "b", "/")
	before := received(other)
	for range 100 {
		s.publish("sio.chat.emit.all", `["x"]`)
		a.gets(`["x"]`)
	}
	s.onlyMarker(b)
	if after := received(other); after != before+1 {
		t.Errorf("the edge without a socket had %d messages, want the marker alone", after-before)
	}
}

func subscriptions(s *stage) int { return figure(s.Bus.Metrics(), "nats_subscriptions", "") }

func TestRoomLingersBehindItsLastMember(t *testing.T) {
	s := begin(t, usual(), func(o *edgetest.Options) { o.Linger = time.Hour })
	a := s.enter("a", "/chat")
	before := subscriptions(s)
	for range 3 {
		s.join(a, `["x"]`)
		s.publish("sio.chat.emit.room.x", `["in"]`)
		a.gets(`["in"]`)
		s.change("sio.chat.leave.socket."+a.id, `["x"]`, 1)
		heard := received(s.Node)
		s.publish("sio.chat.emit.room.x", `["out"]`)
		s.onlyMarker(a)
		if got := received(s.Node) - heard; got != 2 {
			t.Errorf("behind the last member %d messages came, want the room's and the marker", got)
		}
		if got := subscriptions(s); got != before+1 {
			t.Errorf("there are %d subscriptions, want %d", got, before+1)
		}
	}
}

func TestLingerEnds(t *testing.T) {
	s := begin(t, usual(), func(o *edgetest.Options) { o.Linger = 20 * time.Millisecond })
	before := subscriptions(s)
	a := s.enter("a", "/chat")
	for range 3 {
		s.join(a, `["x","y"]`)
		s.publish("sio.chat.emit.room.y", `["in"]`)
		a.gets(`["in"]`)
		s.change("sio.chat.leave.socket."+a.id, `["x","y"]`, 1)
		edgetest.Eventually(t, "the rooms' subscriptions are gone", func() bool { return subscriptions(s) == before+1 })
	}
	a.Hangup()
	edgetest.Eventually(t, "the namespace's subscription is gone", func() bool { return subscriptions(s) == before })
}

// The other edges of a room notice nothing when the last member of one leaves it.
func TestLeavingOneEdgeKeepsTheOthers(t *testing.T) {
	server := natsdtest.Start(t)
	s := beginAt(t, server, usual(), func(o *edgetest.Options) { o.Linger = time.Millisecond })
	other := s.beside(usual())
	a, b := s.enter("a", "/chat"), enterOn(other, "b", "/chat")
	s.join(a, `["x"]`)
	s.ask("sio.chat.join.socket."+b.id, `["x"]`)
	s.change("sio.chat.leave.socket."+a.id, `["x"]`, 1)
	s.publish("sio.chat.emit.room.x", `["x"]`)
	b.gets(`["x"]`)
	s.onlyMarker(a, b)
}
