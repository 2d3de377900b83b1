package eventlog

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/internal/natsd/natsdtest"
)

// lastOf asks for the last messages of a subject, and returns their bodies.
func lastOf(t testing.TB, l *Log, q Last) (bodies []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if q.Wants == nil {
		q.Wants = func(*Entry) bool { return true }
	}
	if q.MaxBytes == 0 {
		q.MaxBytes = 1 << 20
	}
	entries, err := l.Last(ctx, q)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		bodies = append(bodies, string(e.Data))
	}
	return bodies
}

func TestLast(t *testing.T) {
	s := natsdtest.Start(t, withJetStream(t))
	nc := client(t, s.ClientURL())
	l := ready(t, settings(t, nc))
	end := fill(t, nc, 3500) // rooms r0 to r49, and the last to all
	hour := time.Now().Add(-time.Hour)
	room := func(n ...int) (bodies []string) {
		for _, i := range n {
			bodies = append(bodies, fmt.Sprintf(`["e",%d]`, i))
		}
		return bodies
	}
	const r7 = "sio.chat.emit.room.r7"
	for name, c := range map[string]struct {
		Last
		want []string
	}{
		"the last three":          {Last{Subject: r7, Most: 3, Since: hour, To: end}, room(3357, 3407, 3457)},
		"up to a sequence":        {Last{Subject: r7, Most: 3, Since: hour, To: 108}, room(7, 57, 107)},
		"fewer than wanted":       {Last{Subject: r7, Most: 3, Since: hour, To: 58}, room(7, 57)},
		"bounded by bytes":        {Last{Subject: r7, Most: 10, MaxBytes: 25, Since: hour, To: end}, room(3407, 3457)},
		"one is too large":        {Last{Subject: r7, Most: 10, MaxBytes: 5, Since: hour, To: end}, nil},
		"none that is older":      {Last{Subject: r7, Most: 3, Since: time.Now().Add(time.Minute), To: end}, nil},
		"a room without messages": {Last{Subject: "sio.chat.emit.room.none", Most: 3, Since: hour, To: end}, nil},
		"chosen": {Last{Subject: r7, Most: 2, Since: hour, To: end, Wants: func(e *Entry) bool {
			return strings.HasSuffix(string(e.Data), "07]")
		}}, room(3307, 3407)},
	} {
		if got := lastOf(t, l, c.Last); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// Of a subject with more messages than a page, the last ones are found, and what was stored after the window began.
func TestLastOfManyPages(t *testing.T) {
	s := natsdtest.Start(t, withJetStream(t))
	nc := client(t, s.ClientURL())
	l := ready(t, settings(t, nc))
	for i := range 2*pageMessages + 10 {
		if err := nc.Publish("sio.chat.emit.room.busy", fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	end := fill(t, nc, 1)
	for _, most := range []int{1, 1000, 3000} {
		got := lastOf(t, l, Last{Subject: "sio.chat.emit.room.busy", Most: most, Since: time.Now().Add(-time.Hour), To: end})
		n := min(most, 2*pageMessages+10)
		if len(got) != n || got[n-1] != fmt.Sprint(2*pageMessages+9) {
			t.Errorf("%d messages of %d, the last is %v", len(got), n, got[max(0, len(got)-1):])
		}
	}
}

// A publisher's own Nats-… headers, and a status, change nothing.
func TestLastWithForgedHeaders(t *testing.T) {
	s := natsdtest.Start(t, withJetStream(t))
	nc := client(t, s.ClientURL())
	l := ready(t, settings(t, nc))
	for i := range 3 {
		m := &nats.Msg{Subject: "sio.chat.emit.room.a", Data: fmt.Append(nil, i), Header: nats.Header{
			headerStream: {l.Stream()}, headerSequence: {"900"}, headerPending: {"0"}, headerStatus: {statusEnd},
		}}
		if err := nc.PublishMsg(m); err != nil {
			t.Fatal(err)
		}
	}
	end := fill(t, nc, 1)
	got := lastOf(t, l, Last{Subject: "sio.chat.emit.room.a", Most: 5, Since: time.Now().Add(-time.Hour), To: end})
	if !slices.Equal(got, []string{"0", "1", "2"}) {
		t.Errorf("%q", got)
	}
}

// Messages whose headers cannot be read are left out, also at the end.
func TestLastWithUnreadableHeaders(t *testing.T) {
	s := natsdtest.Start(t, withJetStream(t))
	nc := client(t, s.ClientURL())
	l := ready(t, settings(t, nc))
	fill(t, nc, 2)
	raw(t, s, "NATS/1.0 204 EOB\r\n\r\n", "NATS/1.0\r\nno colon\r\n\r\n", "nonsense", "NATS/1.0\r\nno colon\r\n\r\n")
	ack, err := admin(t, nc).Publish(t.Context(), "sio.chat.emit.room.a", []byte("[]"))
	if err != nil {
		t.Fatal(err)
	}
	q := Last{Subject: "sio.chat.emit.all", Most: 10, Since: time.Now().Add(-time.Hour), To: ack.Sequence}
	if got := lastOf(t, l, q); len(got) < 2 || got[0] != `["last"]` || got[1] != "[]" {
		t.Errorf("%q", got)
	}
}

// What the leader has, Last finds, whichever replica answers.
func TestLastOfReplicasThatLag(t *testing.T) {
	t.Parallel()
	c := startCluster(t, threefold)
	for i := range 100 {
		body := fmt.Sprint("event ", i)
		q := Last{Subject: "sio.chat.emit.all", Most: 3, Since: time.Now().Add(-time.Hour), To: publish(t, c.conns[i%3], body)}
		for _, l := range c.logs {
			if got := lastOf(t, l, q); len(got) != min(i+1, 3) || got[len(got)-1] != body {
				t.Fatalf("%q, want %q at the end", got, body)
			}
		}
	}
}
