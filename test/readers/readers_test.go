// Package readers measures what clients that never read cost those that do: a crowd in one room of a real edge, in a process of
// its own, with and without some of them.
package readers

import (
	"bufio"
	"encoding/json"
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
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"
)

// The measurement. The default is for two cores that have other things to do; the whole:
// go test ./test/readers -v -readers.crowd 1000 -readers.mute 50 -readers.rate 200 -readers.lasts 10s
var (
	crowd = flag.Int("readers.crowd", 300, "clients in the room")
	mute  = flag.Int("readers.mute", 15, "of them never read")
	rate  = flag.Int("readers.rate", 150, "messages a second to the room")
	lasts = flag.Duration("readers.lasts", 8*time.Second, "how long each measurement lasts")
)

const (
	patience = time.Minute
	size     = 4096 // bytes of a message: what a client does not read fills its queue within the measurement
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Clients that never read cost their own queue. They are closed with a reason, and the others in the room notice nothing: the
// slowest hundredth of what they get is at most twice as late as without them.
func TestClientsThatNeverReadCostOthersNothing(t *testing.T) {
	e := startEdge(t)
	var told []string
	for range 3 { // a busy machine can spoil one comparison
		without := e.measure(t, 0)
		with := e.measure(t, *mute)
		told = append(told, fmt.Sprintf("p99 %v without, %v with %d clients that never read", without, with, *mute))
		t.Logf("READERS: %d clients, %d messages/s of %d bytes: %s", *crowd, *rate, size, told[len(told)-1])
		if with <= 2*without {
			e.overflowed(t)
			return
		}
	}
	t.Errorf("others noticed clients that never read: %s", strings.Join(told, "; "))
}

// edge is an edge with NATS inside, in a process of its own.
type edge struct {
	url, admin string
	nc         *nats.Conn
	mutes      int // that were in the room altogether
}

func startEdge(t *testing.T) *edge {
	t.Helper()
	folder := t.TempDir()
	config := filepath.Join(folder, "partyline.yaml")
	err := os.WriteFile(config, []byte("namespaces: {\"/hall\": {connect: open, auto_join: [\"hall\"]}}\nlimits: {queue_bytes: 65536}\n"), 0o600)
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
		closed := make(chan struct{})
		if e.nc, err = nats.Connect(at.NATS, nats.ClosedHandler(func(*nats.Conn) { close(closed) })); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { e.nc.Close(); <-closed })
		return e
	case <-read:
		t.Fatal("the edge does not run")
	case <-time.After(patience):
		t.Fatal("the edge does not listen")
	}
	return nil
}

// measure fills the room, sends to it for a while, and returns how late the slowest hundredth came.
func (e *edge) measure(t *testing.T, mutes int) time.Duration {
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
	e.mutes += mutes
	var reading sync.WaitGroup
	late := make([][]time.Duration, len(conns))
	for i, c := range conns[mutes:] {
		reading.Go(func() { late[i] = readAll(c) })
	}
	pad := strings.Repeat("x", size)
	ticker := time.NewTicker(time.Second / time.Duration(*rate))
	defer ticker.Stop()
	for end := time.Now().Add(*lasts); time.Now().Before(end); <-ticker.C {
		body := fmt.Appendf(nil, `["now",%d,"%s"]`, time.Now().UnixNano(), pad)
		if err := e.nc.Publish("sio.hall.emit.room.hall", body); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.nc.Publish("sio.hall.emit.room.hall", []byte(`["end"]`)); err != nil {
		t.Fatal(err)
	}
	reading.Wait()
	all := slices.Concat(late...)
	if len(all) == 0 {
		t.Fatal("nothing arrived")
	}
	slices.Sort(all)
	return all[len(all)*99/100]
}

// join connects a client to the room. One that is mute has little room for what it does not read.
func (e *edge) join(t *testing.T, isMute bool) *websocket.Conn {
	t.Helper()
	dialer := websocket.Dialer{NetDial: func(network, address string) (net.Conn, error) {
		conn, err := net.Dial(network, address)
		if err == nil && isMute {
			_ = conn.(*net.TCPConn).SetReadBuffer(4 << 10)
		}
		return conn, err
	}}
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

// readAll reads until the end, and returns how late each message was.
func readAll(c *websocket.Conn) (late []time.Duration) {
	for {
		_, data, err := c.ReadMessage()
		if err != nil || strings.HasPrefix(string(data), `42/hall,["end"`) {
			return late
		}
		rest, isOne := strings.CutPrefix(string(data), `42/hall,["now",`)
		if !isOne {
			continue // a ping: the measurement is over before it has to be answered
		}
		stamp, _, _ := strings.Cut(rest, ",")
		if at, err := strconv.ParseInt(stamp, 10, 64); err == nil {
			late = append(late, time.Since(time.Unix(0, at)))
		}
	}
}

// overflowed sees to it that clients that never read were closed for it, where the measurement lasts long enough for that.
func (e *edge) overflowed(t *testing.T) {
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
		if strings.Contains(line, `reason="queue overflow"`) && strings.HasPrefix(line, "partyline_sessions_ended_total") {
			t.Logf("READERS: of %d clients that never read were closed: %s", e.mutes, strings.TrimSpace(line))
		}
	}
}
