package deploy

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/nats-io/nats.go"

	"partyline/internal/edgetest"
)

const (
	clients  = 200
	interval = 50 * time.Millisecond // 20 events a second from each
	// ackTimeout is how long a client waits for an ack, as an application would with socket.timeout(…).emit.
	ackTimeout = 6 * time.Second
)

// client is one that emits ["n",0], ["n",1], … and waits for the ack of each.
type client struct {
	name string
	conn *websocket.Conn
	stop chan struct{} // closed to end the emitting
	done chan struct{} // closed when the reader has ended

	mu      sync.Mutex
	sent    int               // guarded by mu
	healed  int               // guarded by mu: of earlier events none counts as lost
	waiting map[int]time.Time // guarded by mu: acks that have not come
	acked   int               // guarded by mu: the newest event that was acked
	late    int               // guarded by mu: acks that came after their timeout
	lost    error             // guarded by mu: why the connection ended early
	leaving bool              // guarded by mu: it ends on purpose
}

// join connects a client to /work.
func join(t *testing.T, address, name string) *client {
	t.Helper()
	conn, _, err := websocket.DefaultDialer.Dial("ws://"+address+"/socket.io/?EIO=4&transport=websocket", nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &client{name: name, conn: conn, stop: make(chan struct{}), done: make(chan struct{}), waiting: make(map[int]time.Time)}
	if _, _, err = conn.ReadMessage(); err == nil {
		err = conn.WriteMessage(websocket.TextMessage, []byte(`40/work,{"client":"`+name+`"}`))
	}
	var answer []byte
	if err == nil {
		_, answer, err = conn.ReadMessage()
	}
	if err != nil || !bytes.HasPrefix(answer, []byte(`40/work,`)) {
		t.Fatalf("%s: %s, %v", name, answer, err)
	}
	return c
}

// run emits and reads until stop is closed and finish is called.
func (c *client) run(running *sync.WaitGroup) {
	running.Go(c.read)
	running.Go(func() {
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for n := 0; ; n++ {
			select {
			case <-c.stop:
				return
			case <-c.done:
				return
			case <-ticker.C:
			}
			c.mu.Lock()
			c.sent = n + 1
			c.waiting[n] = time.Now()
			err := c.conn.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, `42/work,%d["n",%d]`, n, n))
			c.mu.Unlock()
			if err != nil {
				return // the reader reports the error
			}
		}
	})
}

func (c *client) read() {
	defer close(c.done)
	for {
		_, data, err := c.conn.ReadMessage()
		text := string(data)
		switch {
		case err != nil:
			c.broken(err)
			return
		case text == "2":
			c.mu.Lock()
			_ = c.conn.WriteMessage(websocket.TextMessage, []byte("3"))
			c.mu.Unlock()
		case strings.HasPrefix(text, "43/work,"):
			head, _, _ := strings.Cut(text[len("43/work,"):], "[")
			n, _ := strconv.Atoi(head)
			c.mu.Lock()
			if at, waits := c.waiting[n]; !waits {
				c.lost = fmt.Errorf("ack %d came twice", n)
			} else if time.Since(at) > ackTimeout {
				c.late++
			}
			delete(c.waiting, n)
			c.acked = max(c.acked, n)
			c.mu.Unlock()
		default:
			c.broken(fmt.Errorf("it received %s", text))
		}
	}
}

func (c *client) broken(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.leaving && c.lost == nil {
		c.lost = err
	}
}

// unanswered returns how many acks have not arrived.
func (c *client) unanswered() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.waiting)
}

// crowd is all clients, spread over the edges.
type crowd struct {
	t       *testing.T
	all     []*client
	running sync.WaitGroup
	once    sync.Once
	told    bool // a wrong order was logged
}

func gather(t *testing.T, edges []string, size int) *crowd {
	t.Helper()
	c := &crowd{t: t}
	for i := range size {
		c.all = append(c.all, join(t, edges[i%len(edges)], fmt.Sprint(i)))
	}
	for _, one := range c.all {
		one.run(&c.running)
	}
	t.Cleanup(c.disperse)
	return c
}

// unanswered returns how many acks have not arrived.
func (c *crowd) unanswered() (sum int) {
	for _, one := range c.all {
		sum += one.unanswered()
	}
	return sum
}

// served waits until each client has an ack of an event that it sends from now on.
func (c *crowd) served(what string) {
	c.t.Helper()
	for _, one := range c.all {
		one.mu.Lock()
		now := one.sent
		one.mu.Unlock()
		edgetest.Eventually(c.t, what, func() bool {
			one.mu.Lock()
			defer one.mu.Unlock()
			return one.acked >= now
		})
	}
}

// quiet ends the emitting and waits until each ack has arrived or has timed out: none is due any more.
func (c *crowd) quiet() {
	c.t.Helper()
	for _, one := range c.all {
		close(one.stop)
	}
	last, since := -1, time.Now()
	for last != 0 && time.Since(since) < ackTimeout {
		time.Sleep(10 * time.Millisecond)
		waiting := c.unanswered()
		if waiting != last {
			last, since = waiting, time.Now()
		}
	}
}

// disperse ends all clients.
func (c *crowd) disperse() {
	c.once.Do(func() {
		for _, one := range c.all {
			one.mu.Lock()
			one.leaving = true
			one.mu.Unlock()
			_ = one.conn.Close()
		}
		c.running.Wait()
	})
}

// journal is what the instances handled, by client.
type journal struct {
	mu      sync.Mutex
	entries map[string][]entry // guarded by mu
	read    int64              // guarded by mu: messages noted

	nc  *nats.Conn
	sub *nats.Subscription
}

// catchUp waits until everything that NATS has sent is noted. An instance notes an event before it acks it, so that
// covers all acked events. On a busy machine the test may read the notes after the acks.
func (j *journal) catchUp(t *testing.T) {
	t.Helper()
	if err := j.nc.FlushTimeout(edgetest.Patience); err != nil { // after all of the journal
		t.Fatal(err)
	}
	for end := time.Now().Add(5 * ackTimeout); ; time.Sleep(10 * time.Millisecond) {
		waiting, _, err := j.sub.Pending()
		if err != nil {
			t.Fatal(err)
		}
		delivered, err := j.sub.Delivered()
		if err != nil {
			t.Fatal(err)
		}
		j.mu.Lock()
		read := j.read
		j.mu.Unlock()
		if waiting == 0 && read == delivered {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the journal has noted %d messages, and %d wait", read, waiting)
		}
	}
}

// entry is one event, with the time of its handling by this machine's clock.
type entry struct {
	at       int64
	n        int
	instance string
}

// listen begins a journal, with a tap on all subjects, so that NATS never reports "no responders".
func listen(t *testing.T, nc *nats.Conn) *journal {
	t.Helper()
	j := note(t, nc)
	if _, err := nc.Subscribe(">", func(*nats.Msg) {}); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return j
}

// note begins a journal.
func note(t *testing.T, nc *nats.Conn) *journal {
	t.Helper()
	j := &journal{entries: make(map[string][]entry)}
	sub, err := nc.Subscribe("journal", func(m *nats.Msg) {
		var e entry
		var client string
		if _, err := fmt.Sscan(string(m.Data), &e.at, &client, &e.n, &e.instance); err != nil {
			t.Errorf("the journal has %s: %v", m.Data, err)
		}
		j.mu.Lock()
		j.entries[client] = append(j.entries[client], e)
		j.read++
		j.mu.Unlock()
	})
	if err == nil {
		_ = sub.SetPendingLimits(-1, -1)
		err = nc.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	j.nc, j.sub = nc, sub
	return j
}
