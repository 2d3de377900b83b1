// Package readers measures what clients that never read cost those that do. It connects a crowd in one room of a real
// edge, which is a separate process, with and without such clients.
package readers

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/nats-io/nats.go"

	"partyline/internal/edgetest"
)

// The measurement. The default is for two busy cores. The whole measurement:
// go test ./test/readers -v -readers.crowd 1000 -readers.mute 50 -readers.rate 200 -readers.lasts 10s
var (
	crowd = flag.Int("readers.crowd", 300, "clients in the room")
	mute  = flag.Int("readers.mute", 15, "of them never read")
	rate  = flag.Int("readers.rate", 150, "messages a second to the room")
	lasts = flag.Duration("readers.lasts", 8*time.Second, "how long each measurement lasts")
	bound = flag.Float64("readers.bound", 0, "how many times as late the slowest hundredth may be with clients that never read; 0: only tell")
)

const (
	patience = time.Minute
	size     = 128  // bytes of a message to the room, without its time
	segment  = 1460 // bytes in a packet of Ethernet
)

func TestMain(m *testing.M) { edgetest.LongMain(m, nil) }

// Clients that never read cost only their own queues. Their sessions end with a reason, and the others in the room
// miss no message. Delays are printed; they are asserted on an idle machine only: -readers.bound 2.
func TestClientsThatNeverReadCostOthersNothing(t *testing.T) {
	e := startEdge(t)
	if *bound == 0 {
		t.Logf("READERS: %s with %d of %d clients that never read", e.measure(t, *mute), *mute, *crowd)
		return
	}
	var told []string
	for range 3 { // a busy machine can spoil one comparison
		without := e.measure(t, 0)
		with := e.measure(t, *mute)
		told = append(told, fmt.Sprintf("%s without, %s with %d clients that never read", without, with, *mute))
		t.Logf("READERS: %d clients, %d messages/s of %d bytes: %s", *crowd, *rate, size, told[len(told)-1])
		if float64(with.p99) <= *bound*float64(without.p99) {
			return
		}
	}
	t.Errorf("others noticed clients that never read: %s", strings.Join(told, "; "))
}

// delays are the delays of messages.
type delays struct{ p50, p99, longest time.Duration }

func (d delays) String() string {
	return fmt.Sprintf("p50 %v, p99 %v, longest %v", d.p50.Round(10*time.Microsecond), d.p99.Round(10*time.Microsecond),
		d.longest.Round(10*time.Microsecond))
}

// edge is an edge with NATS inside, in a separate process.
type edge struct {
	url, admin string
	nc         *nats.Conn
	overflows  atomic.Int64 // disconnect notices with that reason
}

// settings are those of the edge. Its queues are as small as can be configured, so that they fill up during the
// measurement.
const settings = `
namespaces: {"/hall": {connect: open, auto_join: ["hall"]}}
limits: {queue_bytes: 65536}
`

func startEdge(t *testing.T) *edge {
	t.Helper()
	folder := t.TempDir()
	config := filepath.Join(folder, "partyline.yaml")
	err := os.WriteFile(config, []byte(settings), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-o", folder, "partyline/cmd/embedded")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	command := exec.Command(filepath.Join(folder, "embedded"), "--config", config,
		"--listen=127.0.0.1:0", "--admin.listen=127.0.0.1:0", "--embedded.listen=127.0.0.1:0")
	out, err := command.StderrPipe()
	if err == nil {
		err = command.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	listening, read := make(chan struct{ Address, Admin, NATS string }, 1), make(chan struct{})
	go func() {
		defer close(read)
		for s := bufio.NewScanner(out); s.Scan(); {
			var line struct{ Msg, Address, Admin, NATS string }
			if json.Unmarshal(s.Bytes(), &line) == nil && line.Msg == "listening" {
				listening <- struct{ Address, Admin, NATS string }{line.Address, line.Admin, line.NATS}
			}
		}
	}()
	t.Cleanup(func() {
		_ = command.Process.Kill()
		<-read
		_ = command.Wait()
		http.DefaultClient.CloseIdleConnections()
	})
	select {
	case at := <-listening:
		e := &edge{url: "ws://" + at.Address + "/socket.io/?EIO=4&transport=websocket", admin: "http://" + at.Admin}
		e.nc = edgetest.Connect(t, at.NATS)
		e.hearOverflows(t)
		return e
	case <-read:
		t.Fatal("the edge does not run")
	case <-time.After(patience):
		t.Fatal("the edge does not listen")
	}
	return nil
}

// hearOverflows counts the sessions that ended because their clients did not read.
func (e *edge) hearOverflows(t *testing.T) {
	t.Helper()
	_, err := e.nc.Subscribe("sio.hall.on.disconnect", func(m *nats.Msg) {
		if strings.Contains(string(m.Data), `"reason":"queue overflow"`) {
			e.overflows.Add(1)
		}
	})
	if err != nil || e.nc.Flush() != nil {
		t.Fatal(err)
	}
}

// measure fills the room and sends to it, at least until the sessions of all clients that never read have ended. It
// returns the delays.
func (e *edge) measure(t *testing.T, mutes int) delays {
	t.Helper()
	var conns []*websocket.Conn
	defer func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}()
	for i := range *crowd {
		conns = append(conns, e.join(t, i < mutes))
	}
	var reading sync.WaitGroup
	late := make([][]time.Duration, *crowd-mutes)
	for i, c := range conns[mutes:] {
		reading.Go(func() { late[i] = readAll(c) })
	}
	before := e.overflows.Load()
	sent := e.send(t, func() bool { return e.overflows.Load()-before >= int64(mutes) })
	reading.Wait()
	for i, one := range late {
		if len(one) != sent {
			t.Fatalf("reader %d of %d got %d messages of %d", i, len(late), len(one), sent)
		}
	}
	if got := e.overflows.Load() - before; got != int64(mutes) {
		t.Errorf("%d clients were closed for not reading, want %d", got, mutes)
	}
	if got, want := e.closed(t, "queue overflow"), int(e.overflows.Load()); got != want {
		t.Errorf("the edge counts %d clients that did not read, and told of %d", got, want)
	}
	all := slices.Concat(late...)
	slices.Sort(all)
	return delays{all[len(all)/2], all[len(all)*99/100], all[len(all)-1]}
}

// send sends messages to the room for a time and until done. It returns their number.
func (e *edge) send(t *testing.T, done func() bool) (sent int) {
	t.Helper()
	publish := func(body []byte) {
		t.Helper()
		if err := e.nc.Publish("sio.hall.emit.room.hall", body); err != nil {
			t.Fatal(err)
		}
	}
	pad := strings.Repeat("x", size)
	ticker := time.NewTicker(time.Second / time.Duration(*rate))
	defer ticker.Stop()
	began := time.Now()
	for ; time.Since(began) < *lasts || !done(); <-ticker.C {
		if time.Since(began) > *lasts+patience {
			t.Fatal("clients that never read are not closed")
		}
		publish(fmt.Appendf(nil, `["now",%d,"%s"]`, time.Now().UnixNano(), pad))
		sent++
	}
	if achieved := float64(sent) / time.Since(began).Seconds(); achieved < 0.9*float64(*rate) {
		t.Logf("READERS: this machine sent no more than %.0f messages/s", achieved)
	}
	publish([]byte(`["end"]`))
	return sent
}

// join connects a client to the room. A mute one gets small kernel buffers, as for a client behind a real network: on
// the loopback, with packets of 64 kB, they would be megabytes on both sides.
func (e *edge) join(t *testing.T, isMute bool) *websocket.Conn {
	t.Helper()
	line := net.Dialer{}
	if isMute {
		line.Control = func(_, _ string, c syscall.RawConn) (err error) {
			told := c.Control(func(fd uintptr) {
				if err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4<<10); err == nil {
					err = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_MAXSEG, segment)
				}
			})
			return errors.Join(err, told)
		}
	}
	dialer := websocket.Dialer{NetDial: line.Dial}
	c, _, err := dialer.Dial(e.url, nil)
	if err == nil {
		_, _, err = c.ReadMessage()
	}
	if err == nil {
		err = c.WriteMessage(websocket.TextMessage, []byte("40/hall,"))
	}
	if err == nil {
		_, _, err = c.ReadMessage()
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// readAll reads until the end, and returns the delay of each message.
func readAll(c *websocket.Conn) (late []time.Duration) {
	for {
		_, data, err := c.ReadMessage()
		if err != nil || strings.HasPrefix(string(data), `42/hall,["end"`) {
			return late
		}
		rest, isOne := strings.CutPrefix(string(data), `42/hall,["now",`)
		if !isOne {
			_ = c.WriteMessage(websocket.TextMessage, []byte("3")) // a ping
			continue
		}
		stamp, _, _ := strings.Cut(rest, ",")
		if at, err := strconv.ParseInt(stamp, 10, 64); err == nil {
			late = append(late, time.Since(time.Unix(0, at)))
		}
	}
}

// closed returns how many sessions the edge has ended for a reason, from its metrics.
func (e *edge) closed(t *testing.T, reason string) int {
	t.Helper()
	response, err := http.Get(e.admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	page, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(page)) {
		if value, ok := strings.CutPrefix(line, fmt.Sprintf("partyline_sessions_ended_total{reason=%q} ", reason)); ok {
			n, err := strconv.Atoi(strings.TrimSpace(value))
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("the edge counts no sessions that ended with %q", reason)
	return 0
}
