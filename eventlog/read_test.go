package eventlog

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"partyline/internal/natsd/natsdtest"
)

// scanned is what a scan brought.
type scanned struct {
	seqs    []uint64
	entries []*Entry
	first   uint64
	err     error
}

// scanLater begins a scan.
func scanLater(l *Log, from, to uint64) <-chan scanned {
	done := make(chan scanned, 1)
	var got scanned
	l.Read(Scan{From: from, To: to,
		Each: func(e *Entry) { got.seqs, got.entries = append(got.seqs, e.Seq), append(got.entries, e) },
		Done: func(first uint64, err error) {
			got.first, got.err = first, err
			done <- got
		},
	})
	return done
}

func scan(t testing.TB, l *Log, from, to uint64) scanned {
	t.Helper()
	return await(t, scanLater(l, from, to))
}

// check fails unless a scan brought from+1 to to, with nothing missing.
func check(t testing.TB, got scanned, from, to uint64) {
	t.Helper()
	if got.err != nil || got.first > from+1 || len(got.seqs) != int(to-from) {
		t.Fatalf("%d entries of %d to %d, first %d, error %v", len(got.seqs), from+1, to, got.first, got.err)
	}
	for i, seq := range got.seqs {
		if seq != from+1+uint64(i) {
			t.Fatalf("entry %d has sequence %d", i, seq)
		}
	}
}

// fill publishes n events, and waits until they are stored. It returns the last sequence.
func fill(t testing.TB, nc *nats.Conn, n int) (seq uint64) {
	t.Helper()
	for i := range n - 1 {
		if err := nc.Publish(fmt.Sprintf("sio.chat.emit.room.r%d", i%50), fmt.Appendf(nil, `["e",%d]`, i)); err != nil {
			t.Fatal(err)
		}
	}
	ack, err := admin(t, nc).Publish(context.Background(), "sio.chat.emit.all", []byte(`["last"]`))
	if err != nil {
		t.Fatal(err)
	}
	return ack.Sequence
}

func TestRead(t *testing.T) {
	s := natsdtest.Start(t, withJetStream(t))
	nc := client(t, s.ClientURL())
	l := ready(t, settings(t, nc))
	fill(t, nc, 3500)
	for _, r := range [][2]uint64{{0, 3500}, {0, 1}, {3499, 3500}, {10, 1010}, {10, 1011}, {999, 3000}, {5, 5}, {9, 5}} {
		to := max(r[0], r[1])
		check(t, scan(t, l, r[0], r[1]), r[0], to)
	}
	got := scan(t, l, 2, 3).entries[0]
	if got.Subject != "sio.chat.emit.room.r2" || string(got.Data) != `["e",2]` || got.Time.IsZero() {
		t.Errorf("%+v", got)
	}
	var waiting []<-chan scanned
	for i := range uint64(100) { // together
		waiting = append(waiting, scanLater(l, i*30, 3500-i))
	}
	for i, w := range waiting {
		check(t, await(t, w), uint64(i)*30, 3500-uint64(i))
	}
}

// A scan waits for a message that is not stored yet, as on a replica that lags.
func TestReadWaits(t *testing.T) {
	t.Parallel()
	s := natsdtest.Start(t, withJetStream(t))
	nc := client(t, s.ClientURL())
	l := ready(t, settings(t, nc))
	waiting := scanLater(l, 0, 20) // the log is empty
	fill(t, nc, 10)
	fill(t, nc, 10)
	check(t, await(t, waiting), 0, 20)
	if got := scan(t, l, 19, 25); !errors.Is(got.err, ErrBehind) || len(got.seqs) != 1 {
		t.Errorf("%+v", got)
	}
}

func TestReadWhatIsMissing(t *testing.T) {
	s := natsdtest.Start(t, withJetStream(t))
	nc := client(t, s.ClientURL())
	l := ready(t, settings(t, nc))
	fill(t, nc, 100)
	stream, err := admin(t, nc).Stream(t.Context(), "SIO_LOG")
	if err != nil {
		t.Fatal(err)
	}
	purge := func(until uint64) {
		t.Helper()
		if err := stream.Purge(t.Context(), jetstream.WithPurgeSequence(until)); err != nil {
			t.Fatal(err)
		}
	}
	purge(41)
	if got := scan(t, l, 10, 60); got.err != nil || got.first != 41 || len(got.seqs) != 20 || got.seqs[0] != 41 {
		t.Errorf("%+v", got)
	}
	old, young := scanLater(l, 10, 60), scanLater(l, 50, 60) // together: only one lacks something
	if got := await(t, old); got.err != nil || got.first != 41 {
		t.Errorf("%+v", got)
	}
	check(t, await(t, young), 50, 60)
	if got := scan(t, l, 10, 20); got.err != nil || got.first != 41 || len(got.seqs) != 0 {
		t.Errorf("%+v", got)
	}
	check(t, scan(t, l, 40, 60), 40, 60)
}

// What a publisher writes into headers must neither end a page nor change a sequence.
func TestReadForgedHeaders(t *testing.T) {
	s := natsdtest.Start(t, withJetStream(t))
	nc := client(t, s.ClientURL())
	l := ready(t, settings(t, nc))
	fill(t, nc, 2)
	forged := []nats.Header{
		{headerSequence: {"9"}, headerStream: {"X"}, headerSubject: {"sio.x"}, headerTime: {"?"}},
		{headerStatus: {"204"}}, {headerStatus: {"503"}}, {headerStatus: {"404"}},
	}
	for _, h := range forged {
		if err := nc.PublishMsg(&nats.Msg{Subject: "sio.chat.emit.all", Header: h}); err != nil {
			t.Fatal(err)
		}
	}
	raw(t, s, "NATS/1.0 204 EOB\r\n\r\n", "NATS/1.0 503\r\n\r\n", "NATS/1.0\r\nno colon\r\n\r\n", "NATS/1.0\r\n\r\n", "nonsense")
	to := fill(t, nc, 2)
	if to != 13 {
		t.Fatalf("%d messages", to)
	}
	got := scan(t, l, 0, to)
	if got.err != nil || got.first > 1 {
		t.Errorf("first %d, error %v", got.first, got.err)
	}
	lost := 0
	for i, e := range got.entries {
		if want := uint64(i + lost + 1); e.Seq != want {
			lost += int(e.Seq - want)
		}
		if e.Time.IsZero() || !strings.HasPrefix(e.Subject, "sio.chat.emit.") {
			t.Errorf("%+v", e)
		}
	}
	if lost > 2 {
		t.Errorf("lost %d: %v", lost, got.seqs)
	}
	t.Log(got.seqs)
}

// raw publishes messages with bad headers.
func raw(t *testing.T, s *natsdtest.Server, headers ...string) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.ClientURL(), "nats://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	text := `CONNECT {"headers":true,"verbose":false}` + "\r\n"
	for _, h := range headers {
		text += fmt.Sprintf("HPUB sio.chat.emit.all %d %d\r\n%s[]\r\n", len(h), len(h)+2, h)
	}
	if _, err := conn.Write([]byte(text + "PING\r\n")); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		if lines.Text() == "PONG" {
			return
		}
	}
	t.Fatal("no PONG")
}

func TestReadAtTheEnd(t *testing.T) {
	s := natsdtest.Start(t, withJetStream(t))
	nc := client(t, s.ClientURL())
	l := New(settings(t, nc))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { l.Run(ctx); close(ended) }()
	eventually(t, "the log is ready", func() bool { return l.Ready() == nil })
	waiting := scanLater(l, 0, 5)
	cancel()
	await(t, ended)
	if got := await(t, waiting); !errors.Is(got.err, ErrEnded) {
		t.Error(got.err)
	}
	if got := scan(t, l, 0, 5); !errors.Is(got.err, ErrEnded) {
		t.Error(got.err)
	}
	write(t, l, Write{Key: "k", Holder: "e", Claim: "1"}, ErrEnded)
}

func BenchmarkRead(b *testing.B) {
	s := natsdtest.Start(b, withJetStream(b))
	nc := client(b, s.ClientURL())
	l := ready(b, settings(b, nc))
	const n = 50_000
	to := fill(b, nc, n)
	b.ReportAllocs()
	for b.Loop() {
		done := make(chan error, 1)
		l.Read(Scan{To: to, Each: func(*Entry) {}, Done: func(_ uint64, err error) { done <- err }})
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*n/b.Elapsed().Seconds(), "messages/s")
}
