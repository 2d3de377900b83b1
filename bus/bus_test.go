package bus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"partyline/internal/natsconn"
	"partyline/internal/natsd/natsdtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// connect starts a bus and the goroutine that reads from it. heard gets every message.
func connect(t *testing.T, url string, heard func(*Message), options ...Options) *Bus {
	t.Helper()
	b, err := Connect(natsconn.Config{URL: url, Prefix: "sio"}, slog.New(slog.DiscardHandler), append(options, Options{})[0])
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	if heard != nil {
		running.Go(func() { b.Run(ctx, func(m *Message) bool { heard(m); return true }, func() {}) })
	}
	t.Cleanup(func() {
		closing, stop := context.WithTimeout(context.Background(), 5*time.Second)
		defer stop()
		b.Close(closing)
		cancel()
		running.Wait()
	})
	return b
}

func client(t *testing.T, url string) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(url, nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	closed := make(chan struct{})
	nc.SetClosedHandler(func(*nats.Conn) { close(closed) })
	t.Cleanup(func() { nc.Close(); <-closed })
	return nc
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(40 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it did not come true that %s", what)
		}
	}
}

func wait(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(40 * time.Second):
		t.Fatalf("it did not come true that %s", what)
	}
}

// inPlace waits until the server has the wanted subscriptions.
func inPlace(t *testing.T, b *Bus) {
	t.Helper()
	done := make(chan struct{})
	b.AfterSubscribed(func() { close(done) })
	wait(t, "the subscriptions hold", done)
}

func TestWhatIsHeldIsHeard(t *testing.T) {
	server := natsdtest.Start(t)
	heard := make(chan string, 100)
	b := connect(t, server.ClientURL(), func(m *Message) { heard <- m.Subject + " " + string(m.Data) })
	nc := client(t, server.ClientURL())
	for i := range 50 {
		subject := fmt.Sprintf("a.%d", i)
		b.Subscribe(subject)
		inPlace(t, b)
		if err := nc.Publish(subject, []byte("x")); err != nil {
			t.Fatal(err)
		}
		if got, want := <-heard, subject+" x"; got != want {
			t.Fatalf("heard %q, want %q", got, want)
		}
	}
}

func TestOneOrderAcrossSubscriptions(t *testing.T) {
	server := natsdtest.Start(t)
	const rooms, messages = 200, 5000
	done := make(chan struct{})
	next := 0
	b := connect(t, server.ClientURL(), func(m *Message) {
		if want := fmt.Sprint(next); string(m.Data) != want {
			t.Errorf("heard %s, want %s", m.Data, want)
		}
		if next++; next == messages {
			close(done)
		}
	})
	for i := range rooms {
		b.Subscribe(fmt.Sprintf("room.%d", i))
	}
	inPlace(t, b)
	nc := client(t, server.ClientURL())
	for i := range messages {
		if err := nc.Publish(fmt.Sprintf("room.%d", i*7%rooms), fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	wait(t, "all messages arrive", done)
}

func TestSubscriptionsLinger(t *testing.T) {
	server := natsdtest.Start(t)
	heard := make(chan string, 10)
	b := connect(t, server.ClientURL(), func(m *Message) { heard <- m.Subject }, Options{Linger: 300 * time.Millisecond})
	nc := client(t, server.ClientURL())
	b.Subscribe("a")
	b.Subscribe("a")
	b.Unsubscribe("a")
	inPlace(t, b)
	b.Unsubscribe("a")
	b.Unsubscribe("a") // one too many is harmless
	if err := nc.Publish("a", nil); err != nil {
		t.Fatal(err)
	}
	if got := <-heard; got != "a" {
		t.Fatalf("heard %q", got)
	}
	b.Subscribe("a") // within the linger
	b.Subscribe("later")
	b.Unsubscribe("later")
	eventually(t, "a subscription that was left later goes", func() bool { return b.subscriptions.Count() == 1 })
	if err := nc.Publish("a", nil); err != nil {
		t.Fatal(err)
	}
	if got := <-heard; got != "a" { // it was used again, and so it stayed
		t.Fatalf("heard %q", got)
	}
	b.Unsubscribe("a")
	eventually(t, "the subscription goes", func() bool { return b.subscriptions.Count() == 0 })
}

func TestNATSGoneAndBack(t *testing.T) {
	server := natsdtest.Start(t)
	heard := make(chan string, 10)
	b := connect(t, server.ClientURL(), func(m *Message) { heard <- string(m.Data) })
	eventually(t, "the bus is ready", func() bool { return len(b.Ready()) == 0 })
	b.Subscribe("before")
	inPlace(t, b)
	server.Stop()
	eventually(t, "the bus notices", func() bool { return !b.Connected() })
	if err := b.Publish([]byte("a"), nil, nil, nil); !errors.Is(err, ErrOffline) {
		t.Errorf("publishing while NATS is away: %v", err)
	}
	if why := b.Ready(); !slices.Contains(why, "not connected to NATS") {
		t.Errorf("ready: %v", why)
	}
	b.Subscribe("meanwhile")
	offline, online := make(chan struct{}), make(chan struct{})
	b.AfterSubscribedOrOffline(func() { close(offline) })
	b.AfterSubscribed(func() { close(online) })
	b.Later(Letter{Subject: "notices", Body: []byte("lost")})
	b.Later(Letter{Subject: "notices", Body: []byte("kept"), Keep: true})
	wait(t, "who does not insist on NATS is called", offline)
	select {
	case <-online:
		t.Fatal("called while NATS is away")
	default:
	}
	b.Subscribe("notices")
	server.Restart()
	wait(t, "the subscriptions hold again", online)
	nc := client(t, server.ClientURL())
	for _, subject := range []string{"before", "meanwhile"} {
		if err := nc.Publish(subject, []byte(subject)); err != nil {
			t.Fatal(err)
		}
	}
	got := []string{<-heard, <-heard, <-heard}
	slices.Sort(got)
	if want := []string{"before", "kept", "meanwhile"}; !slices.Equal(got, want) {
		t.Errorf("heard %v, want %v", got, want)
	}
	eventually(t, "the bus is ready again", func() bool { return len(b.Ready()) == 0 })
}

func TestNATSNotThereAtStart(t *testing.T) {
	server := natsdtest.Start(t)
	url := server.ClientURL()
	server.Stop()
	b := connect(t, url, func(*Message) {})
	b.Subscribe("a")
	if why := b.Ready(); len(why) == 0 {
		t.Error("ready without NATS")
	}
	if err := b.Publish([]byte("a"), nil, nil, nil); !errors.Is(err, ErrOffline) {
		t.Errorf("publish: %v", err)
	}
	server.Restart()
	eventually(t, "the bus is ready", func() bool { return len(b.Ready()) == 0 })
}

func TestOverflowIsCountedAndTold(t *testing.T) {
	server := natsdtest.Start(t)
	b := connect(t, server.ClientURL(), nil, Options{Channel: 10})
	b.Subscribe("a")
	inPlace(t, b)
	nc := client(t, server.ClientURL())
	for range 100 {
		if err := nc.Publish("a", nil); err != nil {
			t.Fatal(err)
		}
	}
	// One namespace may have half of what may wait.
	eventually(t, "95 messages are dropped", func() bool { return b.Dropped() == 95 })
	eventually(t, "the bus says so", func() bool { return strings.Contains(strings.Join(b.Ready(), " "), "dropped") })
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { b.Run(ctx, func(*Message) bool { return true }, func() {}) })
	eventually(t, "the bus is ready again", func() bool { return len(b.Ready()) == 0 })
	cancel()
	running.Wait()
}

// The round trip is known after the first connection. It is measured again even if nothing else must be flushed.
func TestRoundTrip(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	b := connect(t, natsdtest.Start(t).ClientURL(), nil)
	eventually(t, "it is known", func() bool { return b.stats.roundTrip.Value() > 0 })
	eventually(t, "the bus is ready", func() bool { return len(b.Ready()) == 0 })
	b.stats.roundTrip.Set(0)
	eventually(t, "it has been measured again", func() bool { return b.stats.roundTrip.Value() > 0 })
}

func TestTooLong(t *testing.T) {
	server := natsdtest.Start(t)
	b := connect(t, server.ClientURL(), func(*Message) {})
	inPlace(t, b)
	subject, reply := bytes.Repeat([]byte("s"), 2000), bytes.Repeat([]byte("r"), 1001)
	if err := b.Publish(subject, reply, nil, nil); !errors.Is(err, ErrSubjectTooLong) {
		t.Errorf("subjects of 3,001 bytes: %v", err)
	}
	if err := b.Publish(subject, reply, Header{}, nil); !errors.Is(err, ErrSubjectTooLong) {
		t.Errorf("subjects of 3,001 bytes: %v", err)
	}
	if err := b.Publish(subject, reply[:1000], nil, nil); err != nil {
		t.Errorf("subjects of 3,000 bytes: %v", err)
	}
	if err := b.Publish([]byte("a"), nil, nil, make([]byte, b.MaxPayload()+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a message over the limit: %v", err)
	}
	inPlace(t, b) // the connection is still open
}

func TestNoResponders(t *testing.T) {
	server := natsdtest.Start(t)
	heard := make(chan bool, 1)
	b := connect(t, server.ClientURL(), func(m *Message) { heard <- m.NoResponders() })
	b.Subscribe("answers.*")
	inPlace(t, b)
	if err := b.Publish([]byte("nobody"), []byte("answers.1"), nil, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if !<-heard {
		t.Error("the server's 503 was not recognised")
	}
}

// The error of a URL that does not parse repeats the URL, but not its password.
func TestConnectHidesCredentials(t *testing.T) {
	b, err := Connect(natsconn.Config{URL: "nats://bob:%zzPASSW0RD@127.0.0.1:4"}, slog.New(slog.DiscardHandler), Options{})
	if err == nil {
		b.Close(t.Context())
		t.Fatal("it connects")
	}
	if strings.Contains(err.Error(), "PASSW0RD") || !strings.Contains(err.Error(), "bob:hidden@127.0.0.1:4") {
		t.Errorf("the error is %v", err)
	}
}

// However slowly messages are handled, the bus still reads from NATS. Otherwise NATS would count the edge as dead.
func TestSlowHandlerDoesNotHoldUpNATS(t *testing.T) {
	const total = 5000
	var handled atomic.Int64
	var hurry atomic.Bool
	next := 0
	server := natsdtest.Start(t)
	b := connect(t, server.ClientURL(), func(m *Message) {
		if n, err := strconv.Atoi(strings.TrimLeft(string(m.Data), " ")); err != nil || n != next {
			t.Errorf("%q came, want %d", m.Data, next)
		}
		next++
		if !hurry.Load() {
			time.Sleep(time.Millisecond)
		}
		handled.Add(1)
	})
	b.Subscribe("a")
	inPlace(t, b)
	nc := client(t, server.ClientURL())
	for n := range total {
		if err := nc.Publish("a", fmt.Appendf(nil, "%200d", n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := b.nc.FlushTimeout(time.Minute); err != nil {
		t.Error(err)
	}
	if n := handled.Load(); n == total {
		t.Errorf("the bus read from NATS only after all %d messages were handled", n)
	}
	hurry.Store(true)
	eventually(t, "all are handled", func() bool { return handled.Load() == total })
	if n := b.Dropped(); n != 0 {
		t.Errorf("%d messages were dropped", n)
	}
}
