package hostile

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"partyline/internal/edgetest"
)

// crowd is good clients that chat in groups, each with every other one of its group.
type crowd struct {
	t   *testing.T
	all []*talker
	mu  sync.Mutex
	// guarded by mu: how long messages took, and what went wrong, since the chat began
	took   []time.Duration
	faults []string
}

// talker is a good client.
type talker struct {
	crowd  *crowd
	ws     *websocket.Conn
	number int
	room   string
	group  []*talker
	said   int           // owned by chat
	write  sync.Mutex    // held while a frame is written
	read   chan struct{} // closed when reading ends
	parted chan struct{} // closed before the session is to end

	heard map[int]int // guarded by crowd.mu: the latest number of each of the others
}

// How good clients talk: each ten times in four seconds.
const sayEvery = 400 * time.Millisecond

// meet connects 50 good clients: ten pairs and three rooms of ten. url is the edge's.
func meet(t *testing.T, url string) *crowd {
	t.Helper()
	c := &crowd{t: t}
	for i := range 50 {
		room := fmt.Sprint("pair-", i/2)
		if i >= 20 {
			room = fmt.Sprint("room-", i/10)
		}
		c.all = append(c.all, c.enter(url, i, room))
	}
	for _, a := range c.all {
		for _, b := range c.all {
			if a != b && a.room == b.room {
				a.group = append(a.group, b)
			}
		}
		go a.listen()
	}
	t.Cleanup(c.part)
	return c
}

// enter connects a client to a room.
func (c *crowd) enter(url string, number int, room string) *talker {
	c.t.Helper()
	a := &talker{crowd: c, number: number, room: room, heard: map[int]int{}, read: make(chan struct{}), parted: make(chan struct{})}
	ws, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(url, "http")+"/socket.io/?EIO=4&transport=websocket", nil)
	if err != nil {
		c.t.Fatal(err)
	}
	a.ws = ws
	a.send("40/chat,")
	if err := hears(ws, `40/chat,{"sid"`, ""); err != nil {
		c.t.Fatal(err)
	}
	a.send(`42/chat,0["join","` + room + `"]`)
	if err := hears(ws, `43/chat,0`, `[{"ok":true}]`); err != nil {
		c.t.Fatal(err)
	}
	_ = ws.SetReadDeadline(time.Time{})
	return a
}

func (a *talker) send(text string) {
	a.write.Lock()
	defer a.write.Unlock()
	_ = a.ws.WriteMessage(websocket.TextMessage, []byte(text)) // the reader sees a connection that ends
}

// listen reads until the session ends.
func (a *talker) listen() {
	defer close(a.read)
	for {
		_, data, err := a.ws.ReadMessage()
		now := time.Now()
		switch {
		case err != nil:
			select {
			case <-a.parted:
			default:
				a.crowd.fault("client %d was cut off: %v", a.number, err)
			}
			return
		case string(data) == "2":
			a.send("3")
		default:
			a.hear(string(data), now)
		}
	}
}

// hear notes a message: who said it, its number, and when.
func (a *talker) hear(text string, now time.Time) {
	rest, ok := strings.CutPrefix(text, `42/chat,["message",`)
	parts := strings.Split(strings.TrimSuffix(rest, "]"), ",")
	if !ok || len(parts) != 3 {
		a.crowd.fault("client %d got %.100q", a.number, text)
		return
	}
	from, _ := strconv.Atoi(parts[0])
	number, _ := strconv.Atoi(parts[1])
	at, _ := strconv.ParseInt(parts[2], 10, 64)
	c := a.crowd
	c.mu.Lock()
	defer c.mu.Unlock()
	if want := a.heard[from] + 1; number != want {
		c.faults = append(c.faults, fmt.Sprintf("client %d got message %d of client %d, want %d", a.number, number, from, want))
	}
	a.heard[from] = number
	c.took = append(c.took, now.Sub(time.Unix(0, at)))
}

func (c *crowd) fault(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults = append(c.faults, fmt.Sprintf(format, args...))
}

// latency is how long messages took.
type latency struct {
	messages       int
	p50, p99, most time.Duration
}

func (l latency) String() string {
	return fmt.Sprintf("%d messages of good clients, p50 %s, p99 %s, at most %s", l.messages, l.p50.Round(10*time.Microsecond),
		l.p99.Round(10*time.Microsecond), l.most.Round(10*time.Microsecond))
}

// chat makes all talk for some time, and waits until everything has arrived.
func (c *crowd) chat(d time.Duration) latency {
	c.t.Helper()
	c.mu.Lock()
	c.took = nil
	c.mu.Unlock()
	step := sayEvery / time.Duration(len(c.all))
	pace := time.NewTicker(step)
	defer pace.Stop()
	for i := range int(d / step) {
		<-pace.C
		a := c.all[i%len(c.all)]
		a.said++
		a.send(fmt.Sprintf(`42/chat,["message",%d,%d,%d]`, a.number, a.said, time.Now().UnixNano()))
	}
	edgetest.Eventually(c.t, "everything that good clients say arrives", func() bool { return c.isComplete() })
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, fault := range c.faults {
		if i < 10 {
			c.t.Error(fault)
		}
	}
	slices.Sort(c.took)
	n := len(c.took)
	return latency{n, c.took[n/2], c.took[n*99/100], c.took[n-1]}
}

// isComplete reports whether everything has arrived, or something has gone wrong.
func (c *crowd) isComplete() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range c.all {
		for _, b := range a.group {
			if b.heard[a.number] != a.said && len(c.faults) == 0 {
				return false
			}
		}
	}
	return true
}

// part ends all sessions.
func (c *crowd) part() {
	for _, a := range c.all {
		select {
		case <-a.parted:
		default:
			close(a.parted)
		}
		_ = a.ws.Close()
		<-a.read
	}
}
