package permits

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"partyline/internal/throttle"
)

func TestCovers(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"sio.*.on.>", "sio.chat.on.$ready", true},
		{"sio.*.on.>", "sio.chat.on", false},
		{"sio.*.on.>", "sio.chat.own.x", false},
		{"sio.*.*.all", "sio.*.join.all", true},
		{"sio.*.*.all", "sio.*.join.room.>", false},
		{"sio.*.*.room.>", "sio.*.join.room.>", true},
		{"sio.*.*.room.*", "sio.*.join.room.>", false},
		{"sio.chat.*.all", "sio.*.join.all", false},
		{"sio.a", "sio.a.b", false},
		{"sio.a.b", "sio.a", false},
		{">", "x", true},
		{"x", "x", true},
	} {
		if got := covers(c.a, c.b); got != c.want {
			t.Errorf("%s covers %s: %v", c.a, c.b, got)
		}
	}
}

// What the server says, as nats.go passes it on.
func TestViolations(t *testing.T) {
	for text, want := range map[string]Right{
		`Permissions Violation for Publish to "sio._.on.x"`:                           {true, "sio._.on.x"},
		`Permissions Violation for Publish to "sio._.on.a\"b"`:                        {true, `sio._.on.a"b`},
		`Permissions Violation for Subscription to "sio.*.join.all" using queue "q"`:  {false, "sio.*.join.all"},
		`Permissions Violation for Subscription to "sio.*.join.all" (sid "7")`:        {false, "sio.*.join.all"},
		`Permissions Violation for Subscription to "sio.x.*.room.y", too many tokens`: {false, "sio.x.*.room.y"},
		`Permissions Violation for something else`:                                    {},
	} {
		if got := violationOf(errors.New("nats: permissions violation: " + text)); got != want {
			t.Errorf("%s: %+v, want %+v", text, got, want)
		}
	}
	if got := violationOf(errors.New("x")); got != (Right{}) {
		t.Errorf("%+v", got)
	}
}

// server is NATS as a Table sees it.
type server struct {
	*Table
	log     bytes.Buffer
	forbids map[Right]bool
	wakes   int
}

func newServer(forbids ...Right) *server {
	s := &server{forbids: make(map[Right]bool)}
	for _, r := range forbids {
		s.forbids[r] = true
	}
	log := slog.New(slog.NewTextHandler(&s.log, nil))
	s.Table = New(Settings{
		Log: log, Complaints: throttle.New(log), Wake: func() { s.wakes++ },
		Renew: func(subject string) { s.try(Right{Subject: subject}) }, Lacks: func(string) bool { return false },
	})
	return s
}

// try uses a right.
func (s *server) try(r Right) {
	if !s.forbids[r] {
		return
	}
	what := "Subscription"
	if r.Publish {
		what = "Publish"
	}
	err := fmt.Errorf("nats: Permissions Violation for %s to %q", what, r.Subject)
	s.Refuse(err, err.Error())
}

func (s *server) requirePublish(subject string) {
	r := Right{true, subject}
	s.Expect(r, Required, func() { s.try(r) })
}

// work does what the worker of a bus does, as long as there is something to do.
func (s *server) work() {
	for s.wakes = 1; s.wakes > 0; {
		s.wakes = 0
		if s.Due(time.Now()) {
			s.Ask()
			s.Conclude(true)
		}
	}
	s.Report(time.Now())
}

// What the edge needs makes it unready while NATS refuses it. It is tried again, and the log has one line for each
// change.
func TestARequiredRight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		on, joins := Right{true, "sio.chat.on.$ready"}, Right{false, "sio.*.join.all"}
		s := newServer(on, joins)
		s.Name([]string{"sio.*.on.>"}, []string{"sio.*.join.all"})
		s.requirePublish(on.Subject)
		s.Expect(joins, Required, nil)
		if why := s.Ready(); len(why) != 1 || !strings.Contains(why[0], "has not been asked yet") {
			t.Errorf("before NATS was asked: %q", why)
		}
		s.try(joins) // by its subscription
		s.work()
		if why := s.Ready(); len(why) != 1 || !strings.HasSuffix(why[0], "publish [sio.*.on.>], subscribe [sio.*.join.all]") {
			t.Errorf("refused: %q", why)
		}
		time.Sleep(gather)
		if s.work(); strings.Count(s.log.String(), "level=ERROR") != 1 || !strings.Contains(s.log.String(), "refused=2") {
			t.Errorf("the log has\n%s", s.log.String())
		}
		clear(s.forbids)
		if s.work(); len(s.Ready()) == 0 {
			t.Error("it was asked again at once")
		}
		time.Sleep(askEvery)
		if s.work(); len(s.Ready()) > 0 {
			t.Errorf("permitted: %q", s.Ready())
		}
		if !strings.Contains(s.log.String(), "permits all that this edge needs again") {
			t.Errorf("the log has\n%s", s.log.String())
		}
		s.Reset()
		if why := s.Ready(); len(why) != 1 {
			t.Errorf("on a new connection: %q", why)
		}
	})
}

// What others chose is logged, and does not make the edge unready. Nor does what it can do without.
func TestRightsThatAreNotRequired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		room, inbox := Right{false, "sio.chat.*.room.x"}, Right{false, "_INBOX.k.>"}
		s := newServer(room, inbox, Right{true, "sio.chat.on.y"})
		s.Name(nil, nil)
		s.Expect(inbox, Optional, nil)
		for r := range s.forbids {
			s.try(r)
		}
		s.work()
		if why := s.Ready(); len(why) > 0 {
			t.Errorf("not ready: %q", why)
		}
		if text := s.log.String(); strings.Count(text, "level=ERROR") != 2 || !strings.Contains(text, room.Subject) {
			t.Errorf("the log has\n%s", text)
		}
		time.Sleep(gather)
		if s.work(); strings.Count(s.log.String(), "level=WARN") != 1 {
			t.Errorf("the log has\n%s", s.log.String())
		}
		clear(s.forbids)
		time.Sleep(askEvery)
		if s.work(); len(s.grants) != 1 {
			t.Errorf("%d rights are remembered", len(s.grants))
		}
	})
}
