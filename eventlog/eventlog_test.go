package eventlog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"partyline/internal/natsd/natsdtest"
	"partyline/subjects"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds each wait.
const patience = 60 * time.Second

// withJetStream is the configuration of a server with JetStream.
func withJetStream(t testing.TB) string {
	return fmt.Sprintf("jetstream { store_dir: %q }", t.TempDir())
}

func client(t testing.TB, url string) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(url, nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond), nats.ReconnectBufSize(-1))
	if err != nil {
		t.Fatal(err)
	}
	closed := make(chan struct{})
	nc.SetClosedHandler(func(*nats.Conn) { close(closed) })
	t.Cleanup(func() { nc.Close(); <-closed })
	return nc
}

// admin is a client of JetStream's API.
func admin(t testing.TB, nc *nats.Conn) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func settings(t testing.TB, nc *nats.Conn, captured ...string) Settings {
	t.Helper()
	prefix, err := subjects.NewPrefix("sio")
	if err != nil {
		t.Fatal(err)
	}
	if captured == nil {
		captured = []string{"sio.chat.emit.>"}
	}
	return Settings{
		Conn: nc, Prefix: prefix, Storage: StorageFile, Replicas: 1, MaxBytes: 64 << 20, MaxAge: 5 * time.Minute,
		Subjects: captured, Log: slog.New(slog.DiscardHandler),
	}
}

// start runs a log until the test ends.
func start(t testing.TB, set Settings) *Log {
	t.Helper()
	l := New(set)
	run(t, l)
	return l
}

func run(t testing.TB, l *Log) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { l.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
}

// ready runs a log and waits until it can be used.
func ready(t testing.TB, set Settings) *Log {
	t.Helper()
	l := start(t, set)
	eventually(t, "the log is ready", func() bool { return l.Ready() == nil })
	return l
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it did not come true that %s", what)
		}
	}
}

func await[T any](t testing.TB, from <-chan T) (got T) {
	t.Helper()
	select {
	case got = <-from:
	case <-time.After(patience):
		t.Fatal("nothing came")
	}
	return got
}

// whyNot waits until the log says why it cannot be used, in these words.
func whyNot(t *testing.T, l *Log, words ...string) {
	t.Helper()
	text := ""
	eventually(t, fmt.Sprintf("the reason has %q", words), func() bool {
		text = strings.Join(l.Ready(), "\n")
		return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(text, w) })
	})
	t.Log(text)
}

func TestStreamsAreMade(t *testing.T) {
	s := natsdtest.Start(t, withJetStream(t))
	nc := client(t, s.ClientURL())
	l := New(settings(t, nc))
	epochs := make(chan string, 10)
	l.OnEpoch(func(epoch string) { epochs <- epoch })
	if l.Epoch() != "" || l.Ready() == nil {
		t.Error("the log is ready before it was looked at")
	}
	run(t, l)
	if first := await(t, epochs); len(first) != 5 || first != l.Epoch() {
		t.Errorf("epoch %q, now %q", first, l.Epoch())
	}
	if why := l.Ready(); why != nil {
		t.Error(why)
	}
	// A second edge finds nothing to change.
	other := ready(t, settings(t, client(t, s.ClientURL())))
	if other.Epoch() != l.Epoch() {
		t.Errorf("epochs %q and %q", l.Epoch(), other.Epoch())
	}
	// What is published comes back with its sequence; forged headers stand before those of the server.
	back, err := nc.SubscribeSync("sio.*.log.>")
	if err != nil {
		t.Fatal(err)
	}
	m := &nats.Msg{Subject: "sio.chat.emit.room.a.b", Data: []byte(`["x"]`), Header: nats.Header{headerSequence: {"77"}, headerStream: {"X"}}}
	if err := nc.PublishMsg(m); err != nil {
		t.Fatal(err)
	}
	got, err := back.NextMsg(patience)
	if err != nil {
		t.Fatal(err)
	}
	if got.Subject != "sio.chat.log.room.a.b" || last(got.Header, headerSequence) != "1" || last(got.Header, headerStream) != "SIO_LOG" {
		t.Errorf("%s %v", got.Subject, got.Header)
	}
	eventually(t, "the size is known", func() bool { l.Doubt(); return l.stats.bytes.Value() > 0 && l.stats.messages.Value() == 1 })
}

func TestStreamIsMadeAgain(t *testing.T) {
	t.Parallel()
	s := natsdtest.Start(t, withJetStream(t))
	nc := client(t, s.ClientURL())
	l := New(settings(t, nc))
	epochs := make(chan string, 10)
	l.OnEpoch(func(epoch string) { epochs <- epoch })
	run(t, l)
	first := await(t, epochs)
	if err := admin(t, nc).DeleteStream(context.Background(), "SIO_LOG"); err != nil {
		t.Fatal(err)
	}
	l.Doubt()
	second := await(t, epochs)
	if second == first || second != l.Epoch() {
		t.Errorf("epoch %q, before %q", second, first)
	}
	// A scan of a log that is not there any more finds that out itself.
	if err := admin(t, nc).DeleteStream(context.Background(), "SIO_LOG"); err != nil {
		t.Fatal(err)
	}
	if got := scan(t, l, 0, 5); !errors.Is(got.err, ErrBehind) {
		t.Error(got.err)
	}
	if third := await(t, epochs); third == second || third != l.Epoch() {
		t.Errorf("epoch %q, before %q", third, second)
	}
}

// An edge that sees sequences again says so; the others learn of the new epoch at their next look.
func TestWentBack(t *testing.T) {
	s := natsdtest.Start(t, withJetStream(t))
	l, other := ready(t, settings(t, client(t, s.ClientURL()))), ready(t, settings(t, client(t, s.ClientURL())))
	before := l.Epoch()
	l.WentBack()
	eventually(t, "there is a new epoch", func() bool { return l.Epoch() != before })
	after := l.Epoch()
	other.WentBack() // has not looked yet
	eventually(t, "the other has it, too", func() bool { return other.Epoch() == after })
	if late := ready(t, settings(t, client(t, s.ClientURL()))); late.Epoch() != after {
		t.Errorf("epoch %q, want %q", late.Epoch(), after)
	}
}

func TestSubjectsAndLimitsGrow(t *testing.T) {
	s := natsdtest.Start(t, withJetStream(t))
	nc := client(t, s.ClientURL())
	ready(t, settings(t, nc))
	more := settings(t, nc, "sio.game.emit.>", "sio.chat.emit.>")
	more.MaxAge, more.MaxBytes = time.Hour, 128<<20
	ready(t, more)
	less := settings(t, nc)
	less.MaxAge, less.MaxBytes = time.Minute, 1<<20
	ready(t, less)
	config := func() jetstream.StreamConfig {
		stream, err := admin(t, nc).Stream(context.Background(), "SIO_LOG")
		if err != nil {
			t.Fatal(err)
		}
		return stream.CachedInfo().Config
	}
	if c := config(); c.MaxAge != time.Hour || c.MaxBytes != 128<<20 || !slices.Equal(c.Subjects, []string{"sio.chat.emit.>", "sio.game.emit.>"}) {
		t.Errorf("%+v", c)
	}
	ready(t, settings(t, nc, "sio.chat.emit.>", "sio.*.emit.>")) // a pattern of namespaces
	if c := config(); !slices.Equal(c.Subjects, []string{"sio.*.emit.>"}) {
		t.Errorf("%+v", c)
	}
	ready(t, settings(t, nc))
	if c := config(); !slices.Equal(c.Subjects, []string{"sio.*.emit.>"}) {
		t.Errorf("%+v", c)
	}
}

func TestCovers(t *testing.T) {
	for _, c := range []struct {
		wide, narrow string
		want         bool
	}{
		{"a.>", "a.b", true}, {"a.>", "a", false}, {"a.>", "a.>", true}, {"a.*", "a.>", false}, {"a.*", "a.*", true},
		{"a.b", "a.*", false}, {"a.*.c.>", "a.b.c.>", true}, {"a.*.c.>", "a.b.d.>", false}, {"a.b", "a.b.c", false}, {">", "a.b", true},
	} {
		if got := covers(c.wide, c.narrow); got != c.want {
			t.Errorf("covers(%q, %q) = %v", c.wide, c.narrow, got)
		}
	}
}

func TestWrongSettings(t *testing.T) {
	s := natsdtest.Start(t, withJetStream(t))
	nc := client(t, s.ClientURL())
	js := admin(t, nc)
	for name, c := range map[string]struct {
		change func(*jetstream.StreamConfig)
		words  []string
	}{
		"retention":  {func(c *jetstream.StreamConfig) { c.Retention = jetstream.WorkQueuePolicy }, []string{"retention is WorkQueue, must be Limits"}},
		"storage":    {func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage }, []string{"storage is Memory, must be File"}},
		"discard":    {func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardNew }, []string{"discard is DiscardNew"}},
		"republish":  {func(c *jetstream.StreamConfig) { c.RePublish = nil }, []string{`republish is none, must be "sio.*.emit.>" to "sio.{{wildcard(1)}}.log.>"`}},
		"per room":   {func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 100 }, []string{"max_msgs_per_subject is 100, must be -1"}},
		"direct get": {func(c *jetstream.StreamConfig) { c.AllowDirect = false }, []string{"allow_direct is false, must be true"}},
	} {
		t.Run(name, func(t *testing.T) {
			l := New(settings(t, nc))
			bad := l.logConfig()
			c.change(&bad)
			if _, err := js.CreateStream(context.Background(), bad); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = js.DeleteStream(context.Background(), bad.Name) }()
			run(t, l)
			whyNot(t, l, append(c.words, "stream SIO_LOG", "nats stream edit")...)
		})
	}
}

func TestRecordsWithoutTTL(t *testing.T) {
	t.Parallel()
	s := natsdtest.Start(t, withJetStream(t))
	nc := client(t, s.ClientURL())
	l := New(settings(t, nc))
	bad := l.recordsConfig()
	bad.AllowMsgTTL = false
	if _, err := admin(t, nc).CreateStream(context.Background(), bad); err != nil {
		t.Fatal(err)
	}
	run(t, l)
	whyNot(t, l, "stream SIO_SESSIONS", "allow_msg_ttl is false, must be true")
	if err := admin(t, nc).DeleteStream(context.Background(), bad.Name); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the correction is found", func() bool { return l.Ready() == nil })
}

func TestOverlap(t *testing.T) {
	s := natsdtest.Start(t, withJetStream(t))
	nc := client(t, s.ClientURL())
	config := jetstream.StreamConfig{Name: "EVERYTHING", Subjects: []string{"sio.*.emit.>"}}
	if _, err := admin(t, nc).CreateStream(context.Background(), config); err != nil {
		t.Fatal(err)
	}
	l := start(t, settings(t, nc))
	whyNot(t, l, "stream SIO_LOG cannot be made: stream EVERYTHING captures the same subjects (sio.chat.emit.>)", "as a source instead")
}

func TestNoJetStream(t *testing.T) {
	s := natsdtest.Start(t)
	whyNot(t, start(t, settings(t, client(t, s.ClientURL()))), "NATS has no JetStream", "jetstream {}")
}

func TestAccountWithoutJetStream(t *testing.T) {
	s := natsdtest.Start(t, withJetStream(t), `accounts { A { users: [{user: a, password: a}], jetstream: enabled }, B { users: [{user: b, password: b}] } }`)
	url := strings.Replace(s.ClientURL(), "//", "//b:b@", 1)
	whyNot(t, start(t, settings(t, client(t, url))), "JetStream, which recovery and rewind need")
}

func TestNoRoom(t *testing.T) {
	s := natsdtest.Start(t, fmt.Sprintf("jetstream { store_dir: %q, max_file_store: 1MB }", t.TempDir()))
	whyNot(t, start(t, settings(t, client(t, s.ClientURL()))), "no room for stream SIO_LOG", "recovery.max_bytes")
}

func TestReplicasWithoutCluster(t *testing.T) {
	s := natsdtest.Start(t, withJetStream(t))
	set := settings(t, client(t, s.ClientURL()))
	set.Replicas = 3
	whyNot(t, start(t, set), "cannot have 3 replicas", "recovery.replicas")
}

func TestNoPermission(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it waits until a request is overdue")
	}
	s := natsdtest.Start(t, withJetStream(t), `authorization { users: [ {user: a, password: b, permissions: {publish: "sio.>", subscribe: ">"}} ] }`)
	url := strings.Replace(s.ClientURL(), "//", "//a:b@", 1)
	l := start(t, settings(t, client(t, url)))
	whyNot(t, l, "$JS.API.>")
}

// An outage says nothing about the streams, so it does not make an edge unready.
func TestOutage(t *testing.T) {
	t.Parallel()
	s := natsdtest.Start(t, withJetStream(t))
	nc := client(t, s.ClientURL())
	l := ready(t, settings(t, nc))
	epoch := l.Epoch()
	s.Stop()
	l.Doubt()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := l.Record(ctx, "x"); !errors.Is(err, ErrAway) {
		t.Error(err)
	}
	if why := l.Ready(); why != nil {
		t.Error(why)
	}
	s.Restart()
	write(t, l, Write{Key: "k", Holder: "e", Claim: "1", Body: []byte("x")}, nil)
	l.Doubt()
	if why := l.Ready(); why != nil || l.Epoch() != epoch {
		t.Errorf("%v, epoch %q, before %q", why, l.Epoch(), epoch)
	}
}
