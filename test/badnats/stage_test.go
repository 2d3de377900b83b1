// Package badnats sends edges what nobody should send them over NATS. A request is answered with Sio-Error, a publish is
// counted and logged at most once a minute a subject and reason, and nobody else notices anything.
package badnats

import (
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"partyline/edge"
	"partyline/internal/edgetest"
	"partyline/engine/enginetest"
	"partyline/internal/natsd/natsdtest"
	"partyline/internal/tally"
)

func TestMain(m *testing.M) {
	if flag.Parse(); testing.Short() {
		return // whole programs and outages are not for `make check`
	}
	goleak.VerifyTestMain(m)
}

const patience = 40 * time.Second

// Why the edge drops a message, as its metric has it.
const (
	badBody        = "bad body"
	unknownSocket  = "unknown socket"
	wrongNamespace = "wrong namespace"
	unknownVerb    = "unknown verb"
	lateAnswer     = "answer to a connect that is over"
)

// stage is an edge with ann and bob, who are healthy: their numbered messages all arrive, once and in order, and nothing
// else does. Both are in the room "both" of /chat.
type stage struct {
	*edgetest.Node
	t        *testing.T
	nc       *nats.Conn
	ann, bob *enginetest.Client
	annID    string
	said     int
}

func begin(t *testing.T, change ...func(*edgetest.Options)) *stage {
	t.Helper()
	server := natsdtest.Start(t)
	o := edgetest.Options{NATS: server.ClientURL(), Namespaces: map[string]edge.Namespace{
		"/chat":  {Connect: edge.ConnectOpen, AutoJoin: []string{"both"}, Relay: []edge.Relay{{Event: "say", To: edge.ToRooms, Self: true}}},
		"/other": {Connect: edge.ConnectOpen},
		"/door":  {Connect: edge.ConnectService},
	}}
	for _, c := range change {
		c(&o)
	}
	s := &stage{Node: edgetest.Start(t, o).Ready(), t: t}
	closed := make(chan struct{})
	nc, err := nats.Connect(server.ClientURL(), nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close(); <-closed })
	s.nc = nc
	s.ann, s.bob = s.Dial("ann"), s.Dial("bob")
	s.annID = s.ann.Connect("/chat", "")
	s.bob.Connect("/chat", "")
	return s
}

// fine lets one of the pair say the next number, which must be the next that both hear.
func (s *stage) fine() {
	s.t.Helper()
	speaker := s.ann
	if s.said%2 == 1 {
		speaker = s.bob
	}
	s.said++
	message := fmt.Sprintf(`42/chat,["say",%d]`, s.said)
	speaker.Send(message)
	s.ann.Expect(message)
	s.bob.Expect(message)
}

// message makes a NATS message; headers are "Name: value".
func message(subject, reply, body string, headers ...string) *nats.Msg {
	m := &nats.Msg{Subject: subject, Reply: reply, Data: []byte(body)}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if m.Header == nil {
			m.Header = nats.Header{}
		}
		m.Header[name] = append(m.Header[name], value)
	}
	return m
}

func (s *stage) publish(m *nats.Msg) {
	s.t.Helper()
	if err := s.nc.PublishMsg(m); err != nil {
		s.t.Fatal(err)
	}
}

func (s *stage) ask(m *nats.Msg) *nats.Msg {
	s.t.Helper()
	answer, err := s.nc.RequestMsg(m, patience)
	if err != nil {
		s.t.Fatalf("%s: %v", m.Subject, err)
	}
	return answer
}

func (s *stage) figure(name, label string) int {
	for _, set := range []*tally.Set{s.Edge.Metrics(), s.Bus.Metrics(), s.Engine.Metrics()} {
		for _, m := range set.Metrics() {
			if m.Name == name && m.Value() == label {
				return int(m.Read())
			}
		}
	}
	panic("no metric " + name + " " + label)
}

// counts waits until a metric has a value.
func (s *stage) counts(name, label string, want int) {
	s.t.Helper()
	edgetest.Eventually(s.t, fmt.Sprintf("%s %q is %d", name, label, want), func() bool { return s.figure(name, label) == want })
}

// logged is how many lines of the log are about a subject.
func (s *stage) logged(subject string) int {
	n := 0
	for _, line := range s.Logged() {
		if strings.Contains(line, " subject="+subject+" ") {
			n++
		}
	}
	return n
}

// drops publishes a message several times. Each is counted under a reason, and the pair is fine. The log has lines about it
// if it is the first about its subject, and at the most one more if there were some of other reasons before.
func (s *stage) drops(m *nats.Msg, reason string, lines int) {
	s.t.Helper()
	const times = 3
	before, logged := s.figure("dropped_total", reason), s.logged(m.Subject)
	for range times {
		s.publish(m)
	}
	s.counts("dropped_total", reason, before+times)
	if n := s.logged(m.Subject); n != lines && (logged == 0 || n > logged+1) {
		s.t.Errorf("after %d messages the log has %d lines about %s, want %d, or one more than the %d before", times, n, m.Subject, lines, logged)
	}
	s.fine()
}
