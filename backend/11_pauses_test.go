package backend_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/nats-io/nats.go"

	"partyline/backend"
	"partyline/edge"
	"partyline/engine"
	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
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

// quickPings shows whether clients are pinged while they are not read.
func quickPings(o *edgetest.Options) {
	o.Engine = engine.DefaultConfig()
	o.Engine.PingInterval, o.Engine.PingTimeout = time.Second, time.Minute
}

// flooder is a client that sends as fast as it can, and answers pings, of which it notes the pauses between them.
type flooder struct {
	ws      *websocket.Conn
	writing sync.Mutex
	done    chan struct{}
	pings   atomic.Int64
	ended   atomic.Bool
}

func newFlooder(t *testing.T, s *stage, namespace string) *flooder {
	t.Helper()
	url := "ws" + strings.TrimPrefix(s.URL, "http") + "/socket.io/?EIO=4&transport=websocket"
	ws, _, err := websocket.DefaultDialer.Dial(url, nil)
	if err != nil {
		t.Fatal(err)
	}
	f := &flooder{ws: ws, done: make(chan struct{})}
	t.Cleanup(f.end)
	f.send("40" + namespace + ",")
	for {
		_, data, err := ws.ReadMessage()
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(string(data), "40"+namespace) {
			break
		}
	}
	go f.read()
	return f
}

func (f *flooder) send(text string) error {
	f.writing.Lock()
	defer f.writing.Unlock()
	return f.ws.WriteMessage(websocket.TextMessage, []byte(text))
}

func (f *flooder) read() {
	defer close(f.done)
	var pongs sync.WaitGroup
	defer pongs.Wait()
	for {
		_, data, err := f.ws.ReadMessage()
		if err != nil {
			f.ended.Store(true)
			return
		}
		if string(data) == "2" { // the pong waits behind what is sent, and reading goes on, as in a browser
			f.pings.Add(1)
			pongs.Go(func() { _ = f.send("3") })
		}
	}
}

func (f *flooder) end() {
	_ = f.ws.Close()
	<-f.done
}

// inUse is the memory of this process that is in use: edge, service, client and NATS.
func inUse() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapInuse)
}

// floodFor is how long the flood lasts; PARTYLINE_FLOOD=2m asks for a long one.
func floodFor(t *testing.T) time.Duration {
	t.Helper()
	if text := os.Getenv("PARTYLINE_FLOOD"); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil {
			t.Fatalf("PARTYLINE_FLOOD: %v", err)
		}
		return d
	}
	if testing.Short() {
		return 3 * time.Second
	}
	return 8 * time.Second
}

// A client that sends as fast as it can to a slow handler is slowed down: it stays connected, nothing is lost or out of
// order, and memory does not grow.
func TestAFlood(t *testing.T) {
	t.Parallel()
	if os.Getenv("PARTYLINE_FLOOD_ALONE") != "" {
		flood(t)
		return
	}
	// The memory of other tests would be counted, too.
	alone := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestAFlood$", "-test.v", fmt.Sprintf("-test.short=%v", testing.Short()))
	alone.Env = append(os.Environ(), "PARTYLINE_FLOOD_ALONE=1")
	out, err := alone.CombinedOutput()
	if t.Logf("%s", out); err != nil || !bytes.Contains(out, []byte("--- PASS: TestAFlood")) {
		t.Fatal(err)
	}
}

func flood(t *testing.T) {
	s := begin(t, quickPings)
	io := s.service("slow")
	// Not owned: on a busy machine an owner could fear that it was taken for dead, and give the socket up.
	slow := io.Of("/slow")
	slow.OnConnection(func(*backend.Socket) {})
	var next, wrong atomic.Int64
	var hurry atomic.Bool
	slow.On("n", func(n int64, _ string) {
		if next.Add(1)-1 != n {
			wrong.Add(1)
		}
		if !hurry.Load() {
			time.Sleep(5 * time.Millisecond)
		}
	})
	ends := make(chan string, 10)
	slow.OnDisconnect(func(_ *backend.Socket, reason string) { ends <- reason })
	s.start(io)
	f := newFlooder(t, s, "/slow")
	sent := int64(0)
	last := strings.Repeat("x", 100)
	began := time.Now()
	wantPings := int64(floodFor(t)/time.Second) / 2
	var stop *time.Timer
	stop = time.AfterFunc(time.Hour, func() {
		// On a busy machine, pongs wait for longer behind the flood, and pings for pongs.
		if f.pings.Load() < wantPings && time.Since(began) < 5*floodFor(t) {
			stop.Reset(100 * time.Millisecond)
			return
		}
		hurry.Store(true)
	})
	stop.Reset(floodFor(t))
	defer stop.Stop()
	early := make(chan int, 1)
	measure := time.AfterFunc(floodFor(t)/4, func() { early <- inUse() })
	defer measure.Stop()
	for !hurry.Load() {
		if err := f.send(fmt.Sprintf(`42/slow,["n",%d,%q]`, sent, last)); err != nil {
			t.Fatalf("the connection ended after %v: %v", time.Since(began), err)
		}
		sent++
	}
	pings, late, slowly := f.pings.Load(), inUse(), next.Load()
	for end := time.Now().Add(2 * time.Minute); next.Load() < sent && !f.ended.Load() && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	if f.ended.Load() || len(ends) > 0 || wrong.Load() > 0 || next.Load() != sent {
		t.Fatalf("of %d events %d were handled, %d out of order; ended: %v", sent, next.Load(), wrong.Load(), f.ended.Load())
	}
	stats := io.Stats()
	before := <-early
	t.Logf("%d events in %v, of which %d at full speed; %d pauses, %d pings; %d bytes in use after a quarter of the time, %d at the end",
		sent, time.Since(began), sent-slowly, stats.Pauses, pings, before, late)
	if late > before+16<<20 {
		t.Errorf("%d bytes are in use at the end, and %d were after a quarter of the time", late, before)
	}
	if stats.Pauses == 0 || stats.Overflows > 0 {
		t.Errorf("counted %+v", stats)
	}
	if pings < wantPings {
		t.Errorf("%d pings came in %v", pings, 5*floodFor(t))
	}
}

// A handler that asks the client whose events wait gets its answer: acks overtake what is held.
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

// An ack behind more events than are held does not come; the ask's own time-out ends the wait, and nothing is lost.
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

// Several copies of a service pause the same socket. Each of its events comes once, to one of them.
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

// An edge that does not know how to pause goes on sending: past twice the bound the client's transport is closed.
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

// A service that may not publish pauses says so in its log, and its clients come back after a burst.
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
		NATS: url("edge"), Namespaces: map[string]edge.Namespace{"*": {Connect: edge.ConnectService, ConnectTimeout: 5 * time.Second}},
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
