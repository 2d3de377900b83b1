package edge

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"partyline/bus"
	"partyline/internal/natsconn"
	"partyline/internal/throttle"
	"partyline/rule"
	"partyline/subjects"
)

// nowhere is a NATS server that cannot be reached, in memory, so that the bubble's time passes.
type nowhere struct{}

func (nowhere) InProcessConn() (net.Conn, error) { return nil, net.ErrClosed }

// complaining runs a test in a bubble, with an edge that gets its messages from the test. lines returns how many lines
// of its log contain a text.
func complaining(t *testing.T, test func(t *testing.T, e *Edge, lines func(string) int)) {
	synctest.Test(t, func(t *testing.T) {
		var written bytes.Buffer
		b, err := bus.Connect(natsconn.Config{URL: "nats://nowhere"}, slog.New(slog.DiscardHandler), bus.Options{InProcess: nowhere{}})
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close(t.Context())
		prefix, _ := subjects.NewPrefix("sio")
		e := New(Settings{
			ID: "k3f9a0zz", Prefix: prefix, Namespaces: map[string]rule.Namespace{"/chat": openRoom}, Limits: Limits{RoomsPerSocket: 1000},
			MaxPayload: func() int { return 1 << 20 }, Bus: b, Log: slog.New(slog.NewTextHandler(&written, nil)),
		})
		test(t, e, func(text string) int {
			n := 0
			for line := range strings.Lines(written.String()) {
				if strings.Contains(line, text) {
					n++
				}
			}
			return n
		})
	})
}

func TestABadPublishIsLoggedOnceAMinuteASubjectAndReason(t *testing.T) {
	complaining(t, func(t *testing.T, e *Edge, lines func(string) int) {
		bad := []*bus.Message{
			{Subject: "sio.chat.join.all", Data: []byte(`{}`)},
			{Subject: "sio.chat.leave.room.vip", Data: []byte(`["vip"`)},
			{Subject: "sio.chat.emit.socket.nobody", Data: []byte(`["x"]`)},
			{Subject: "sio.chat.ack.k3f9a0zz.AAAAAAAAAAAAAAAAAAAA.connect", Data: []byte(`[]`)},
			{Subject: "sio.chat.disconnect.room.vip", Reply: "sio.chat.emit.all", Data: []byte(`{}`)}, // no answer
		}
		const seconds = 150 // two and a half minutes: lines at the beginning, after one minute, after two
		for range seconds {
			for _, m := range bad {
				e.handle(m)
				e.flush()
			}
			time.Sleep(time.Second)
			synctest.Wait()
		}
		for _, m := range bad {
			subject := m.Subject
			if strings.Contains(subject, ".ack.") { // one per socket would be too many
				subject = "sio.chat.on.connect"
			}
			reasons := 1
			if m.Reply != "" {
				reasons = 2
			}
			if n := lines("subject=" + subject + " "); n != 3*reasons {
				t.Errorf("%d lines about %s in %d seconds, want %d", n, subject, seconds, 3*reasons)
			}
		}
		if got, want := e.stats.dropped[dropBadBody].Value(), uint64(3*seconds); got != want {
			t.Errorf("%d bad bodies are counted, want each of %d", got, want)
		}
		if n := lines(""); n != 3*(len(bad)+1) {
			t.Errorf("the log has %d lines, want %d", n, 3*(len(bad)+1))
		}
	})
}

// A publisher that invents subjects neither fills the log nor hides other faults.
func TestComplaintsAboutSubjectsWithoutEndAreBounded(t *testing.T) {
	complaining(t, func(t *testing.T, e *Edge, lines func(string) int) {
		for i := range 10 * throttle.MaxLines {
			e.handle(&bus.Message{Subject: fmt.Sprintf("sio.chat.join.room.%d", i), Data: []byte(`{}`)})
		}
		if n := lines("level=WARN"); n != throttle.MaxLines {
			t.Errorf("%d lines, want %d", n, throttle.MaxLines)
		}
		e.complaints.about("sio.chat.join.room.0", "something else", errors.New("bad"))
		if n := lines("something else"); n != 1 {
			t.Errorf("%d lines about something else, want 1", n)
		}
		time.Sleep(throttle.Every)
		e.handle(&bus.Message{Subject: "sio.chat.join.room.new", Data: []byte(`{}`)})
		if n := lines(fmt.Sprintf("subject=sio.chat.join.room.new error=\"body is not a JSON array\" suppressed=%d\n", 9*throttle.MaxLines)); n != 1 {
			t.Errorf("after a minute there are %d lines about a new subject, want 1 that names how many were left out", n)
		}
	})
}

// A publisher that corrects one fault and makes another sees that in the log, too, within the same minute.
func TestEachReasonIsLogged(t *testing.T) {
	bodies := []string{
		"hi", `"hi"`, `['m','hi']`, `["m","hi"`, ``, `[]`, `["connect"]`, "[\"\xff\"]", `["m" "hi"]`, `["\ud800"]`,
	}
	complaining(t, func(t *testing.T, e *Edge, lines func(string) int) {
		for range 3 {
			for i, body := range bodies {
				m := &bus.Message{Subject: "sio.chat.emit.room.a", Data: []byte(body)}
				_, _, err := e.fanout.content(m, true)
				e.complaints.drop(m, dropBadBody, err)
				if n := lines("subject=sio.chat.emit.room.a "); n < i+1 {
					t.Errorf("after %d different bodies the log has %d lines; there is none for %q", i+1, n, body)
				}
			}
			time.Sleep(10 * time.Second)
		}
		if n := lines(""); n != len(bodies) {
			t.Errorf("the log has %d lines about %d different faults", n, len(bodies))
		}
	})
}

// A client may disconnect before NATS reports that no service can admit it. That is not a late answer.
func TestNoServiceForWhoHasGoneIsNoComplaint(t *testing.T) {
	complaining(t, func(t *testing.T, e *Edge, lines func(string) int) {
		noResponders := bus.Header{"Status": {"503"}}
		e.handle(&bus.Message{Subject: "sio.chat.ack.k3f9a0zz.AAAAAAAAAAAAAAAAAAAA.connect", Header: noResponders})
		if n, late := e.stats.noResponders.Value(), e.stats.dropped[dropLateAnswer].Value(); n != 1 || late != 0 {
			t.Errorf("%d publishes without a subscriber and %d late answers are counted, want 1 and 0", n, late)
		}
		if n := lines(""); n != 0 {
			t.Errorf("the log has %d lines", n)
		}
	})
}
