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
	"partyline/subjects"
)

// nowhere is a NATS server that cannot be reached, in memory, so that time in a bubble passes.
type nowhere struct{}

func (nowhere) InProcessConn() (net.Conn, error) { return nil, net.ErrClosed }

// complaining runs a test in a bubble, with an edge that gets its messages from the test. lines is how many lines of its
// log have a text.
func complaining(t *testing.T, test func(t *testing.T, e *Edge, lines func(string) int)) {
	synctest.Test(t, func(t *testing.T) {
		var written bytes.Buffer
		b, err := bus.Connect(bus.Config{URL: "nats://nowhere"}, slog.New(slog.DiscardHandler), bus.InProcess(nowhere{}))
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close(t.Context())
		prefix, _ := subjects.NewPrefix("sio")
		e := New(Settings{
			ID: "k3f9a0zz", Prefix: prefix, Namespaces: map[string]Namespace{"/chat": openRoom}, Limits: DefaultLimits(),
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

func TestABadPublishIsLoggedOnceAMinuteASubject(t *testing.T) {
	complaining(t, func(t *testing.T, e *Edge, lines func(string) int) {
		bad := []*bus.Message{
			{Subject: "sio.chat.join.all", Data: []byte(`{}`)},
			{Subject: "sio.chat.leave.room.vip", Data: []byte(`["vip"`)},
			{Subject: "sio.chat.emit.socket.nobody", Data: []byte(`["x"]`)},
			{Subject: "sio.chat.ack.k3f9a0zz.AAAAAAAAAAAAAAAAAAAA.connect", Data: []byte(`[]`)},
			{Subject: "sio.chat.disconnect.room.vip", Reply: "sio.chat.emit.all", Data: []byte(`{}`)}, // and its answer is withheld
		}
		const seconds = 150 // two minutes and a half: lines at the beginning, after one minute, after two
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
			if strings.Contains(subject, ".ack.") { // one a socket would be too many
				subject = "sio.chat.on.connect"
			}
			if n := lines("subject=" + subject + " "); n != 3 {
				t.Errorf("%d lines about %s in %d seconds, want 3", n, subject, seconds)
			}
		}
		if got, want := e.stats.dropped[dropBadBody].Value(), uint64(3*seconds); got != want {
			t.Errorf("%d bad bodies are counted, want each of %d", got, want)
		}
		if n := lines(""); n != 3*len(bad) {
			t.Errorf("the log has %d lines, want %d", n, 3*len(bad))
		}
	})
}

// Whoever makes up subjects fills neither the log nor the memory: past a thousand of them the log is silent until the
// minute of the first is over.
func TestComplaintsAboutSubjectsWithoutEndAreBounded(t *testing.T) {
	complaining(t, func(t *testing.T, e *Edge, lines func(string) int) {
		for i := range 5 * maxComplaints {
			e.handle(&bus.Message{Subject: fmt.Sprintf("sio.chat.join.room.%d", i), Data: []byte(`{}`)})
			if i%100 == 0 {
				time.Sleep(time.Second)
			}
		}
		if n := lines("level=WARN"); n != maxComplaints || len(e.complaints.last) != maxComplaints {
			t.Errorf("%d lines and %d subjects in memory, want %d", n, len(e.complaints.last), maxComplaints)
		}
		time.Sleep(complainEvery)
		e.complaints.about("sio.chat.join.room.new", "something", errors.New("bad"))
		if n := lines("subject=sio.chat.join.room.new "); n != 1 || len(e.complaints.last) != 1 {
			t.Errorf("after a minute there are %d lines about a new subject and %d subjects in memory, want 1 and 1", n, len(e.complaints.last))
		}
	})
}

// A client may go while NATS is still to say that no service can admit it. That is nobody's late answer.
func TestNoServiceForWhoHasGoneIsNoComplaint(t *testing.T) {
	complaining(t, func(t *testing.T, e *Edge, lines func(string) int) {
		nobodyThere := bus.Header{"Status": {"503"}}
		e.handle(&bus.Message{Subject: "sio.chat.ack.k3f9a0zz.AAAAAAAAAAAAAAAAAAAA.connect", Header: nobodyThere})
		if n, late := e.stats.noResponders.Value(), e.stats.dropped[dropLateAnswer].Value(); n != 1 || late != 0 {
			t.Errorf("%d publishes without a subscriber and %d late answers are counted, want 1 and 0", n, late)
		}
		if n := lines(""); n != 0 {
			t.Errorf("the log has %d lines", n)
		}
	})
}
