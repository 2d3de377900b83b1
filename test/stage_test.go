// Package test specifies the product's behavior, seen from outside: bare Socket.IO clients on one side, plain NATS
// clients on the other. Between them are real edges and a real NATS server. Read the files as a specification of
// docs/subjects.md.
package test

import (
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"partyline/engine/enginetest"
	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
	"partyline/rule"
)

func TestMain(m *testing.M) {
	edgetest.SideBySide(8)
	goleak.VerifyTestMain(m)
}

// rules are the namespaces of an edge, by name or pattern.
type rules map[string]rule.Namespace

// Most tests need one namespace in which a service admits sockets, and one that every client may enter.
func usual() rules {
	return rules{"/": {Connect: rule.ConnectOpen}, "/chat": {Connect: rule.ConnectOpen}, "/door": {Connect: rule.ConnectService}}
}

// with returns the rules with one more namespace.
func (r rules) with(name string, ns rule.Namespace) rules {
	r = maps.Clone(r)
	r[name] = ns
	return r
}

// stage is one edge and a NATS client. The client is the service and every other publisher.
type stage struct {
	*edgetest.Stage
	t *testing.T
}

type socket = edgetest.Socket

func begin(t *testing.T, namespaces rules, change ...func(*edgetest.Options)) *stage {
	t.Helper()
	return &stage{edgetest.Begin(t, namespaces, change...), t}
}

func beginAt(t *testing.T, server *natsdtest.Server, namespaces rules, change ...func(*edgetest.Options)) *stage {
	t.Helper()
	return &stage{edgetest.BeginAt(t, server, namespaces, change...), t}
}

// dialWith opens a session whose request has the given headers.
func (s *stage) dialWith(name string, header http.Header) *enginetest.Client {
	s.t.Helper()
	return enginetest.Dial(s.t, s.Talk, name, s.URL, header)
}

// change requests a join, leave or disconnect, and checks the number of sockets in the answer.
func (s *stage) change(subject, body string, sockets int, headers ...string) {
	s.t.Helper()
	answer := s.Ask(subject, body, headers...)
	if want := fmt.Sprintf(`[{"edge":"%s","sockets":%d}]`, s.ID, sockets); string(answer.Data) != want || answer.Header != nil {
		s.t.Fatalf("%s %s was answered %q %v, want %q", subject, body, answer.Data, answer.Header, want)
	}
}

// join adds a socket to rooms.
func (s *stage) join(so *socket, rooms string) {
	s.t.Helper()
	s.change("sio."+so.Token+".join.socket."+so.ID, rooms, 1)
}

// fails sends a request and expects an error that contains reason.
func (s *stage) fails(subject, body, reason string) {
	s.t.Helper()
	answer := s.Ask(subject, body)
	if got := answer.Header.Get("Sio-Error"); !strings.Contains(got, reason) || got == "" || len(answer.Data) > 0 {
		s.t.Fatalf("%s %s was answered %q %v, want the error %q", subject, body, answer.Data, answer.Header, reason)
	}
}

// onlyMarker checks that nothing that the service published before reached these sockets.
func (s *stage) onlyMarker(sockets ...*socket) {
	s.t.Helper()
	for _, so := range sockets {
		s.Publish(so.Address(), `["marker"]`)
		so.Gets(`["marker"]`)
	}
}

// ear is a subscription of the service.
type ear struct{ *edgetest.Ear }

// hear subscribes, and returns once the subscription is active.
func (s *stage) hear(subject string) *ear {
	s.t.Helper()
	return &ear{s.Hear(subject)}
}

func hearOn(t testing.TB, nc *nats.Conn, subject string) *ear {
	t.Helper()
	return &ear{edgetest.Hear(t, nc, subject)}
}

// serve answers every connect request of a namespace in the same way, until the test ends.
func (s *stage) serve(token, body string, headers ...string) {
	s.t.Helper()
	s.Answer("sio."+token+".on.connect", body, headers...)
}

// receivedSoFar is the number of messages that an edge received, once NATS has reported each connect without a
// service.
func receivedSoFar(t *testing.T, n *edgetest.Node) int {
	t.Helper()
	edgetest.Eventually(t, "NATS has answered all connects", func() bool {
		return n.Figure("no_responders_total", "") >= n.Edge.Sockets()
	})
	return n.Heard()
}
