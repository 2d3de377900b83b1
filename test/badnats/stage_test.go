// Package badnats sends edges bad messages over NATS. A request must be answered with Sio-Error. A publish must be
// counted, and logged at most once a minute for each subject and reason. No client may notice.
package badnats

import (
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"partyline/internal/edgetest"
	"partyline/rule"
)

func TestMain(m *testing.M) { edgetest.LongMain(m, nil) }

// Why the edge drops a message: values of its metric's label.
const (
	badBody        = "bad body"
	unknownSocket  = "unknown socket"
	wrongNamespace = "wrong namespace"
	unknownVerb    = "unknown verb"
	lateAnswer     = "answer to a connect that is over"
)

// stage is an edge with a healthy pair, both in the room "both" of /chat.
type stage struct {
	*edgetest.Stage
	t    *testing.T
	pair *edgetest.Pair
}

func begin(t *testing.T, change ...func(*edgetest.Options)) *stage {
	t.Helper()
	s := edgetest.Begin(t, map[string]rule.Namespace{
		"/chat": {Connect: rule.ConnectOpen, AutoJoin: []string{"both"},
			Relay: []rule.Relay{{Event: "say", To: rule.ToRooms, Self: true}}},
		"/other": {Connect: rule.ConnectOpen},
		"/door":  {Connect: rule.ConnectService},
	}, change...)
	return &stage{s, t, edgetest.NewPair(t, s.Node, "/chat")}
}

func (s *stage) ask(m *nats.Msg) *nats.Msg {
	s.t.Helper()
	answer, err := s.NC.RequestMsg(m, edgetest.Patience)
	if err != nil {
		s.t.Fatalf("%s: %v", m.Subject, err)
	}
	return answer
}

// logged returns how many log lines are about a subject.
func (s *stage) logged(subject string) int {
	n := 0
	for _, line := range s.Logged() {
		if strings.Contains(line, " subject="+subject+" ") {
			n++
		}
	}
	return n
}

// drops publishes a message several times. Each must be counted under a reason, and the pair must still work. The log
// must have a line about it if it is the first of its subject, and at most one more if there were lines of other
// reasons before.
func (s *stage) drops(m *nats.Msg, reason string, lines int) {
	s.t.Helper()
	const times = 3
	before, logged := s.Figure("dropped_total", reason), s.logged(m.Subject)
	for range times {
		s.Send(m)
	}
	s.Counts("dropped_total", reason, before+times)
	if n := s.logged(m.Subject); n != lines && (logged == 0 || n > logged+1) {
		s.t.Errorf("after %d messages the log has %d lines about %s, want %d, or one more than the %d before", times, n,
			m.Subject, lines, logged)
	}
	s.pair.Fine()
}
