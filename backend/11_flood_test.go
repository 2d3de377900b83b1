package backend_test

import (
	"bytes"
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

	"partyline/backend"
)

// flooder is a client that sends as fast as it can, answers pings, and records the intervals between them.
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
		if string(data) == "2" { // the pong queues behind the events, and reading goes on, as in a browser
			f.pings.Add(1)
			pongs.Go(func() { _ = f.send("3") })
		}
	}
}

func (f *flooder) end() {
	_ = f.ws.Close()
	<-f.done
}

// inUse returns the memory in use by this process: edge, service, client and NATS.
func inUse() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapInuse)
}

// floodFor is how long the flood lasts. PARTYLINE_FLOOD=2m asks for a long one.
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

// A client that sends as fast as it can to a slow handler is slowed down. It stays connected, nothing is lost or out
// of order, and memory does not grow.
func TestAFlood(t *testing.T) {
	t.Parallel()
	if os.Getenv("PARTYLINE_FLOOD_ALONE") != "" {
		flood(t)
		return
	}
	// Other tests' memory would be counted, too.
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
	// Not owned: on a busy machine an owner may lose contact, and release the socket.
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
		// On a busy machine, pongs wait longer behind the flood, and pings wait for pongs.
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
		t.Errorf("%d bytes are in use at the end, and %d after a quarter of the time", late, before)
	}
	if stats.Pauses == 0 || stats.Overflows > 0 {
		t.Errorf("counted %+v", stats)
	}
	if pings < wantPings {
		t.Errorf("%d pings came in %v", pings, 5*floodFor(t))
	}
}
