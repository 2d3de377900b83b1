package faults

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"

	"partyline/backend"
	"partyline/internal/edgetest"
)

// service is the instances that own the sockets of /owned, and what they know together.
type service struct {
	mu    sync.Mutex
	holds map[string]int      // guarded by mu: how many instances own a socket
	ended map[string][]string // guarded by mu: the reasons of each socket's ends
	taken int                 // guarded by mu: how often a socket was taken over
}

// serve runs instances until the test ends.
func serve(t *testing.T, instances int, urls string) *service {
	t.Helper()
	s := &service{holds: make(map[string]int), ended: make(map[string][]string)}
	for range instances {
		nc := edgetest.Connect(t, urls)
		io, err := backend.New(nc, "talk", backend.Logger(slog.New(slog.DiscardHandler)))
		if err != nil {
			t.Fatal(err)
		}
		s.handle(io.Of("/owned", backend.Owned()))
		edgetest.Serve(t, io)
	}
	return s
}

func (s *service) handle(ns *backend.Namespace) {
	ns.Use(func(so *backend.Socket) error {
		var auth struct{ Room string }
		if err := so.Handshake().DecodeAuth(&auth); err != nil {
			return err
		}
		return so.Join(context.Background(), auth.Room)
	})
	ns.OnConnection(func(so *backend.Socket) {
		_, taken := so.TakenOver()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.holds[so.ID()]++
		if taken {
			s.taken++
		}
	})
	ns.OnDisconnect(func(so *backend.Socket, reason string) {
		s.release(so.ID())
		s.mu.Lock()
		defer s.mu.Unlock()
		s.ended[so.ID()] = append(s.ended[so.ID()], reason)
	})
	ns.OnHandover(func(so *backend.Socket, _ string) { s.release(so.ID()) })
	ns.On("say", func(room, who string, session, n int) {
		// Without a connection it fails, and the message counts as lost.
		_ = ns.To(room).Emit("say", room, who, session, n)
	})
}

func (s *service) release(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.holds[id]--; s.holds[id] == 0 {
		delete(s.holds, id)
	}
}

// amiss describes how the instances' sockets differ from the existing ones.
func (s *service) amiss(there []string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range there {
		if s.holds[id] != 1 {
			return fmt.Sprintf("%d instances have the socket %s", s.holds[id], id)
		}
	}
	if len(s.holds) != len(there) {
		return fmt.Sprintf("the instances have %d sockets of %d", len(s.holds), len(there))
	}
	return ""
}

// ends returns the reasons that were received for the end of a socket.
func (s *service) ends(id string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended[id]
}
