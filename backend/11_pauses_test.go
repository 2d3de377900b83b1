package backend_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/backend"
	"partyline/engine"
	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
	"partyline/rule"
)

// The input of a public report: 30 chunks of 64 KiB at once, and a handler that takes 20 ms for each.
func TestABurstIsAnswered(t *testing.T) {
	t.Parallel()
	for name, options := range map[string][]backend.NamespaceOption{"stateless": nil, "owned": {backend.Owned()}} {
		t.Run(name, func(t *testing.T) {
			s := begin(t)
			io := s.service("files")
			files := io.Of("/files", options...)
			files.OnConnection(func(*backend.Socket) {})
			files.On("chunk", func(data []byte, i int) (int, int) {
				time.Sleep(20 * time.Millisecond)
				return len(data), i
			})
			s.start(io)
			ann := s.enter("ann", "/files")
			chunk := make([]byte, 64<<10)
			for i := range 30 {
				ann.Send(fmt.Sprintf(`451-/files,%d["chunk",{"_placeholder":true,"num":0},%d]`, i, i))
				ann.SendBinary(chunk)
			}
			for i := range 30 {
				ann.acked(fmt.Sprint(i), fmt.Sprintf("[65536,%d]", i))
			}
		})
	}
}

// quickPings makes pings frequent, to check that clients are pinged while they are not read.
func quickPings(o *edgetest.Options) {
	o.Engine = engine.DefaultConfig()
	o.Engine.PingInterval, o.Engine.PingTimeout = time.Second, time.Minute
}

// A handler that asks the client whose events are held gets its answer: acks overtake held events.
func TestAskingAClientThatFloods(t *testing.T) {
	t.Parallel()
	s := begin(t, quickPings)
	io := s.service("slow", backend.WithLimits(backend.Limits{SocketEvents: 20}))
	slow := io.Of("/slow", backend.Owned())
	answers := make(chan string, 100)
	slow.On("n", func(ctx context.Context, so *backend.Socket, n int) error {
		if n%100 > 0 {
			return nil
		}
		answer, err := so.EmitWithAck(ctx, "check", n)
		if err != nil {
			answers <- err.Error()
			return err
		}
		var text string
		err = answer.Decode(&text)
		answers <- text
		return err
	})
	s.start(io)
	ann := s.enter("ann", "/slow")
	const events = 700
	for n := range events {
		ann.emit("", fmt.Sprintf(`["n",%d]`, n))
	}
	for n := 0; n < events; n += 100 {
		got := ann.Next()
		id, ok := strings.CutSuffix(strings.TrimPrefix(got, "42/slow,"), fmt.Sprintf(`["check",%d]`, n))
		if !ok {
			t.Fatalf("got %q", got)
		}
		ann.Send("43/slow," + id + `["fine"]`)
		if answer := <-answers; answer != "fine" {
			t.Fatalf("the answer to %d is %q", n, answer)
		}
	}
	if io.Stats().Pauses == 0 {
		t.Error("nothing was paused")
	}
}

// An ack behind more events than can be held does not arrive. The ask's own timeout ends the wait, and nothing is
// lost.
func TestAskingAClientThatIsNotRead(t *testing.T) {
	t.Parallel()
	s := begin(t, quickPings)
	io := s.service("slow")
	slow := io.Of("/slow", backend.Owned())
	began, proceed, answer := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	var handled atomic.Int32
	slow.On("first", func(ctx context.Context, so *backend.Socket) {
		close(began)
		<-proceed
		_, err := so.Timeout(200*time.Millisecond).EmitWithAck(ctx, "check")
		answer <- err
	})
	slow.On("n", func(n int32) {
		if !handled.CompareAndSwap(n, n+1) {
			t.Errorf("event %d came as number %d", n, handled.Load())
		}
	})
	s.start(io)
	ann := s.enter("ann", "/slow")
	ann.emit("", `["first"]`)
	<-began
	nc := s.connection()
	if m, err := nc.Request("sio.slow.pause.socket."+ann.id, []byte(`["test-1"]`), patience); err != nil || len(m.Header) > 0 {
		t.Fatal(m, err)
	}
	const events = 2000
	for n := range events {
		ann.emit("", fmt.Sprintf(`["n",%d]`, n))
	}
	eventually(t, "the client is not read", func() bool { return figure(s, "sessions_not_read") == 1 })
	close(proceed)
	got := ann.Next()
	ann.Send("43/slow," + strings.TrimSuffix(strings.TrimPrefix(got, "42/slow,"), `["check"]`) + `[]`)
	if err := <-answer; !errors.Is(err, backend.NoAnswer) {
		t.Errorf("the answer is %v", err)
	}
	_ = nc.Publish("sio.slow.resume.socket."+ann.id, []byte(`["test-1"]`))
	eventually(t, "all is handled", func() bool { return handled.Load() == events })
}

// Several instances of a service pause the same socket. Each of its events arrives once, at one of them.
func TestSeveralInstancesPauseASocket(t *testing.T) {
	t.Parallel()
	s := begin(t, quickPings)
	const events = 3000
	var handled [events]atomic.Int32
	var all atomic.Int32
	var services []*backend.Service
	for range 2 {
		io := s.service("slow", backend.WithLimits(backend.Limits{SocketEvents: 40}))
		io.Of("/slow").On("n", func(n int) {
			handled[n].Add(1)
			all.Add(1)
			time.Sleep(200 * time.Microsecond)
		})
		services = append(services, s.start(io))
	}
	ann := s.enter("ann", "/slow")
	go func() {
		for n := range events {
			ann.emit("", fmt.Sprintf(`["n",%d]`, n))
		}
	}()
	eventually(t, "all is handled", func() bool { return all.Load() >= events })
	for n := range handled {
		if got := handled[n].Load(); got != 1 {
			t.Fatalf("event %d was handled %d times", n, got)
		}
	}
	for _, io := range services {
		eventually(t, "nothing is paused", func() bool { return io.Stats().Paused == 0 })
		if got := io.Stats(); got.Pauses == 0 || got.Overflows > 0 {
			t.Errorf("counted %+v", got)
		}
	}
	eventually(t, "the session is not paused", func() bool { return figure(s, "sessions_paused") == 0 })
}

// An edge without pauses goes on sending. Above twice the bound the client's transport is closed.
func TestAnEdgeThatDoesNotPause(t *testing.T) {
	t.Parallel()
	s := begin(t)
	io := s.service("slow", backend.WithLimits(backend.Limits{SocketEvents: 10}))
	slow := io.Of("/slow", backend.EventsOnly())
	release := make(chan struct{})
	slow.On("n", func() { <-release })
	s.start(io)
	defer close(release)
	nc := s.connection()
	const id = "edgeedge.aaaaaaaaaaaaaaaaaaaa"
	words, err := nc.SubscribeSync("sio.slow.*.socket." + id)
	if err != nil {
		t.Fatal(err)
	}
	for range 30 {
		_ = nc.PublishRequest("sio.slow.on.n", "sio.slow.emit.socket."+id, []byte(`["n"]`))
	}
	for _, want := range []string{"pause", "disconnect"} {
		for {
			m, err := words.NextMsg(patience)
			if err != nil {
				t.Fatalf("no %s: %v", want, err)
			}
			verb := strings.Split(m.Subject, ".")[2]
			if verb == "pause" && string(m.Data) != fmt.Sprintf("[%q]", io.Instance()) || verb == "disconnect" && string(m.Data) != `["close"]` {
				t.Errorf("%s %s", m.Subject, m.Data)
			}
			if verb == want {
				break
			}
		}
	}
	eventually(t, "it is counted", func() bool { return io.Stats().Overflows == 1 })
}

// A service that may not publish pauses logs that, and its clients reconnect after a burst.
func TestAPauseThatNATSRefuses(t *testing.T) {
	t.Parallel()
	server := natsdtest.Start(t, `authorization { users: [
		{user: edge, password: edge}
		{user: svc, password: svc, permissions: {publish: {deny: ["sio.*.pause.>", "sio.*.resume.>"]}}}
	] }`)
	url := func(user string) string {
		return strings.Replace(server.ClientURL(), "nats://", "nats://"+user+":"+user+"@", 1)
	}
	s := &stage{t: t, nats: server, Node: edgetest.Start(t, edgetest.Options{
		NATS: url("edge"), Namespaces: map[string]rule.Namespace{"*": {Connect: rule.ConnectService, ConnectTimeout: 5 * time.Second}},
	}).Ready()}
	log := &logText{}
	io := serviceOn(t, connection(t, url("svc"), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})), s.Talk, "slow",
		backend.WithLimits(backend.Limits{SocketEvents: 10}), backend.Logger(log.logger()))
	slow := io.Of("/slow")
	release := make(chan struct{})
	slow.On("n", func() { <-release })
	ends := make(chan string, 1)
	slow.OnDisconnect(func(_ *backend.Socket, reason string) { ends <- reason })
	s.start(io)
	ann := s.enter("ann", "/slow")
	for range 100 {
		ann.emit("", `["n"]`)
	}
	ann.ExpectEnd()
	close(release)
	if got := <-ends; got != "forced server close" {
		t.Errorf("the end was %s", got)
	}
	eventually(t, "it is logged", func() bool { return log.has("NATS does not permit this service to pause sockets") })
}
