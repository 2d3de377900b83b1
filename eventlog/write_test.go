package eventlog

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"partyline/internal/natsd/natsdtest"
)

type written struct {
	seq uint64
	err error
}

func writeLater(l *Log, w Write) <-chan written {
	done := make(chan written, 1)
	w.Done = func(seq uint64, err error) { done <- written{seq, err} }
	l.Write(w)
	return done
}

// write stores a record and checks the error.
func write(t testing.TB, l *Log, w Write, want error) uint64 {
	t.Helper()
	got := await(t, writeLater(l, w))
	if !errors.Is(got.err, want) || want == nil && got.seq == 0 {
		t.Fatalf("write %s: sequence %d, error %v, want %v", w.Body, got.seq, got.err, want)
	}
	return got.seq
}

func record(t testing.TB, l *Log, key string) Record {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r, err := l.Record(ctx, key)
	if err != nil && !errors.Is(err, ErrNoRecord) {
		t.Fatal(err)
	}
	return r
}

func of(holder, claim, body string, expected uint64) Write {
	return Write{Key: "k", Holder: holder, Claim: claim, Body: []byte(body), Expected: expected}
}

func TestWrite(t *testing.T) {
	s := natsdtest.Start(t, withJetStream(t))
	l := ready(t, settings(t, client(t, s.ClientURL())))
	if _, err := l.Record(t.Context(), "k"); !errors.Is(err, ErrNoRecord) {
		t.Fatal(err)
	}
	first := write(t, l, of("a", "1", "one", 0), nil)
	second := write(t, l, of("a", "1", "two", first), nil)
	if r := record(t, l, "k"); r.Holder != "a" || string(r.Body) != "two" || r.Seq != second || time.Since(r.Time) > time.Hour {
		t.Errorf("%+v", r)
	}
	third := write(t, l, of("b", "2", "claimed", second), nil)
	write(t, l, of("a", "1", "three", second), ErrClaimed)
	write(t, l, of("c", "3", "claimed, too", second), ErrClaimed)
	write(t, l, of("b", "4", "claimed", second), ErrClaimed) // the same edge and body
	if r := record(t, l, "k"); r.Holder != "b" || string(r.Body) != "claimed" || r.Seq != third {
		t.Errorf("%+v", r)
	}
}

// One of many claims wins.
func TestClaims(t *testing.T) {
	s := natsdtest.Start(t, withJetStream(t))
	a, b := ready(t, settings(t, client(t, s.ClientURL()))), ready(t, settings(t, client(t, s.ClientURL())))
	seq := write(t, a, of("x", "0", "x", 0), nil)
	var waiting []<-chan written
	for i := range 40 {
		waiting = append(waiting, writeLater([]*Log{a, b}[i%2], of("e", fmt.Sprint(i+1), "claimed", seq)))
	}
	won := 0
	for _, w := range waiting {
		switch got := await(t, w); {
		case got.err == nil:
			won++
		case !errors.Is(got.err, ErrClaimed):
			t.Error(got.err)
		}
	}
	if won != 1 {
		t.Errorf("%d claims won", won)
	}
}

// A write whose PubAck was lost, and which was given up, is in the way of the next one of the same socket only in
// appearance.
func TestWriteAfterLostPubAck(t *testing.T) {
	s := natsdtest.Start(t, withJetStream(t))
	l := ready(t, settings(t, client(t, s.ClientURL())))
	first := write(t, l, of("a", "1", "one", 0), nil)
	second := write(t, l, of("a", "1", "two", first), nil)
	if again := write(t, l, of("a", "1", "two", first), nil); again != second {
		t.Errorf("the same write has sequence %d, before %d", again, second)
	}
	if third := write(t, l, of("a", "1", "three", first), nil); third <= second {
		t.Errorf("sequences %d, %d", second, third)
	}
	if r := record(t, l, "k"); string(r.Body) != "three" {
		t.Errorf("%+v", r)
	}
}

// A record that is gone with its stream, or by age, is stored again.
func TestWriteAfterLostStream(t *testing.T) {
	s := natsdtest.Start(t, withJetStream(t))
	nc := client(t, s.ClientURL())
	l := ready(t, settings(t, nc))
	write(t, l, of("a", "1", "one", 0), nil)
	seq := write(t, l, Write{Key: "other", Holder: "a", Claim: "1", Body: []byte("x")}, nil)
	if err := admin(t, nc).DeleteStream(t.Context(), "SIO_SESSIONS"); err != nil {
		t.Fatal(err)
	}
	write(t, l, of("a", "1", "two", seq), nil) // finds out that there is no stream, and waits until it was made
	if r := record(t, l, "k"); string(r.Body) != "two" {
		t.Errorf("%+v", r)
	}
}

// A tombstone that expires leaves nothing behind, least of all the record of an earlier holder.
func TestTTL(t *testing.T) {
	t.Parallel()
	s := natsdtest.Start(t, withJetStream(t))
	l := ready(t, settings(t, client(t, s.ClientURL())))
	first := write(t, l, of("a", "1", "one", 0), nil)
	ended := of("b", "2", "ended", first)
	ended.TTL = time.Second
	write(t, l, ended, nil)
	if r := record(t, l, "k"); string(r.Body) != "ended" {
		t.Errorf("%+v", r)
	}
	eventually(t, "the record has expired", func() bool { return record(t, l, "k").Seq == 0 })
	write(t, l, of("c", "3", "anew", 0), nil)
}

func TestWriteTooLarge(t *testing.T) {
	s := natsdtest.Start(t, withJetStream(t), "max_payload: 1024")
	l := ready(t, settings(t, client(t, s.ClientURL())))
	got := await(t, writeLater(l, of("a", "1", strings.Repeat("x", 2000), 0)))
	if got.err == nil || !strings.Contains(got.err.Error(), "a record of 2000 bytes") {
		t.Error(got.err)
	}
}

// More writes than the window has room for are stored, too.
func TestManyWrites(t *testing.T) {
	s := natsdtest.Start(t, withJetStream(t))
	l := ready(t, settings(t, client(t, s.ClientURL())))
	writeMany(t, l, 2*window+100, 0)
	if got := l.stats.written.Value(); got != 2*window+100 {
		t.Errorf("%d written", got)
	}
}

// writeMany stores n records with keys from first on.
func writeMany(t testing.TB, l *Log, n, first int) {
	t.Helper()
	var waiting sync.WaitGroup
	waiting.Add(n)
	for i := range n {
		w := Write{Key: fmt.Sprintf("key-%d", first+i), Holder: "e", Claim: "1", Body: make([]byte, 300)}
		w.Done = func(_ uint64, err error) {
			if errors.Is(err, ErrAway) { // the machine is busy
				l.Write(w)
				return
			}
			if err != nil {
				t.Error(err)
			}
			waiting.Done()
		}
		l.Write(w)
	}
	waiting.Wait()
}

func TestWriteAway(t *testing.T) {
	t.Parallel()
	s := natsdtest.Start(t, withJetStream(t))
	nc := client(t, s.ClientURL())
	l := ready(t, settings(t, nc))
	s.Stop()
	write(t, l, of("a", "1", "one", 0), ErrAway)
	late := writeLater(l, of("a", "1", "two", 0)) // waits for the server
	s.Restart()
	if got := await(t, late); got.err != nil {
		t.Error(got.err)
	}
}

func TestBeat(t *testing.T) {
	s := natsdtest.Start(t, withJetStream(t))
	l := ready(t, settings(t, client(t, s.ClientURL())))
	if _, err := l.LastBeat(t.Context(), "e"); !errors.Is(err, ErrNoRecord) {
		t.Error(err)
	}
	l.Beat("e")
	l.Beat("f")
	eventually(t, "the beat is found", func() bool {
		at, err := l.LastBeat(t.Context(), "e")
		return err == nil && time.Since(at) < time.Hour
	})
}

func BenchmarkWrite(b *testing.B) {
	s := natsdtest.Start(b, withJetStream(b))
	l := ready(b, settings(b, client(b, s.ClientURL())))
	b.ReportAllocs()
	const n = 10_000
	for i := 0; b.Loop(); i++ {
		writeMany(b, l, n, i*n)
	}
	b.ReportMetric(float64(b.N)*n/b.Elapsed().Seconds(), "writes/s")
}

func BenchmarkRecord(b *testing.B) {
	s := natsdtest.Start(b, withJetStream(b))
	l := ready(b, settings(b, client(b, s.ClientURL())))
	write(b, l, of("a", "1", "one", 0), nil)
	for b.Loop() {
		record(b, l, "k")
	}
}
