package faults

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// How the official client reconnects: it waits for a second, then longer after each failure, plus or minus up to half
// of that (reconnectionDelay, reconnectionDelayMax, randomizationFactor).
const (
	reconnectionDelay    = time.Second
	reconnectionDelayMax = 5 * time.Second
	randomizationFactor  = 0.5
)

func backoff(failures int) time.Duration {
	d := float64(min(reconnectionDelay<<min(failures, 10), reconnectionDelayMax))
	d *= 1 + randomizationFactor*(2*rand.Float64()-1)
	return min(time.Duration(d), reconnectionDelayMax)
}

// client emits numbered messages to its room, and records what it receives there. It reconnects by itself. What it
// emits while it is disconnected waits, as in the official client.
type client struct {
	crowd                *crowd
	name, room, ns, head string // head is "/ns,"

	mu       sync.Mutex
	conn     *websocket.Conn        // guarded by mu; nil while it is away
	session  int                    // guarded by mu: the number of connections so far
	ids      []string               // guarded by mu: of its sockets; the last is the current one, if conn is not nil
	made     int                    // guarded by mu: messages, also those that wait
	sent     []time.Time            // guarded by mu: when each was sent
	heard    map[string]map[int]int // guarded by mu: how often, by sender and number
	newest   map[string]int         // guarded by mu: the highest number, by sender and session of the sender
	latest   map[string]int         // guarded by mu: the highest number, by sender
	answers  map[int]chan string    // guarded by mu: acks that are waited for
	asked    int                    // guarded by mu
	reorders int                    // guarded by mu
	lost     []error                // guarded by mu: why connections ended
	failures int                    // guarded by mu: of attempts to come back
	left     time.Time              // guarded by mu: when its last connection ended
	away     []time.Duration        // guarded by mu
}

// live stays connected until the crowd disperses.
func (c *client) live() {
	failures := 0
	for {
		in, err := c.visit()
		select {
		case <-c.crowd.over:
			return
		default:
		}
		c.mu.Lock()
		if in {
			failures = 0
			c.lost = append(c.lost, err)
			c.left = time.Now()
		} else {
			failures++
			c.failures++
		}
		c.mu.Unlock()
		again := time.NewTimer(backoff(failures))
		select {
		case <-c.crowd.over:
			again.Stop()
			return
		case <-again.C:
		}
	}
}

// visit is one connection. It returns whether the client entered its room, and why the connection ended.
func (c *client) visit() (in bool, err error) {
	conn, _, err := websocket.DefaultDialer.Dial("ws://"+c.crowd.address+"/socket.io/?EIO=4&transport=websocket", nil)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	if !c.crowd.hold(conn) {
		return false, errors.New("it is over")
	}
	defer c.crowd.drop(conn)
	id, err := c.enter(conn)
	if err != nil {
		return false, err
	}
	c.mu.Lock()
	c.conn = conn
	c.session++
	c.ids = append(c.ids, id)
	if !c.left.IsZero() {
		c.away = append(c.away, time.Since(c.left))
	}
	c.flush()
	c.mu.Unlock()
	err = c.read(conn)
	c.mu.Lock()
	c.conn = nil
	c.mu.Unlock()
	return true, err
}

// enter connects to the namespace and enters the room. Where services admit, they do that.
func (c *client) enter(conn *websocket.Conn) (id string, err error) {
	frames := []string{`40` + c.head + `{"room":"` + c.room + `"}`}
	if c.ns == "/relay" {
		frames = append(frames, `42`+c.head+`0["join","`+c.room+`"]`)
	}
	if _, _, err := conn.ReadMessage(); err != nil { // the handshake
		return "", err
	}
	for i, frame := range frames {
		if err := conn.WriteMessage(websocket.TextMessage, []byte(frame)); err != nil {
			return "", err
		}
		answer, err := c.answer(conn)
		if err != nil {
			return "", err
		}
		var hello struct{ SID string }
		connected, ok := strings.CutPrefix(answer, `40`+c.head)
		switch {
		case i == 0 && ok && json.Unmarshal([]byte(connected), &hello) == nil:
			id = hello.SID
		case i == 1 && answer == `43`+c.head+`0[{"ok":true}]`:
		default:
			return "", fmt.Errorf("%s was answered with %s", frame, answer)
		}
	}
	return id, nil
}

// answer returns the next frame that is not from the room. Messages of the room may arrive before the answer to the
// join.
func (c *client) answer(conn *websocket.Conn) (string, error) {
	for {
		_, data, err := conn.ReadMessage()
		event, isEvent := strings.CutPrefix(string(data), "42"+c.head)
		if err == nil && isEvent {
			err = c.hear(event)
		}
		if err != nil || !isEvent {
			return string(data), err
		}
	}
}

// read records what arrives until the connection ends.
func (c *client) read(conn *websocket.Conn) error {
	for {
		_, data, err := conn.ReadMessage()
		if err != nil {
			return err
		}
		text := string(data)
		event, isEvent := strings.CutPrefix(text, "42"+c.head)
		ack, isAck := strings.CutPrefix(text, "43"+c.head)
		switch {
		case text == "2":
			c.write("3")
		case isEvent:
			if err := c.hear(event); err != nil {
				return err
			}
		case isAck:
			var n int
			_, _ = fmt.Sscanf(ack, "%d", &n)
			c.mu.Lock()
			if answer := c.answers[n]; answer != nil {
				answer <- ack[strings.IndexByte(ack, '['):]
				delete(c.answers, n)
			}
			c.mu.Unlock()
		default:
			return fmt.Errorf("it received %s", text)
		}
	}
}

// hear records a message of the room.
func (c *client) hear(event string) error {
	var name, room, who string
	var session, n int
	if err := json.Unmarshal([]byte(event), &[]any{&name, &room, &who, &session, &n}); err != nil {
		return fmt.Errorf("it received %s: %w", event, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.heard[who] == nil {
		c.heard[who] = make(map[int]int)
	}
	c.heard[who][n]++
	connection := fmt.Sprint(who, " ", session)
	if newest, known := c.newest[connection]; known && n < newest {
		c.reorders++
	}
	c.newest[connection] = max(n, c.newest[connection])
	if latest, known := c.latest[who]; !known || n > latest {
		c.latest[who] = n
	}
	return nil
}

func (c *client) write(frame string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != nil {
		_ = c.conn.WriteMessage(websocket.TextMessage, []byte(frame)) // the reader reports the error
	}
}

// ask emits an event and returns a channel for its ack.
func (c *client) ask(event string) <-chan string {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked++
	answer := make(chan string, 1)
	c.answers[c.asked] = answer
	if c.conn != nil {
		_ = c.conn.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, "42%s%d%s", c.head, c.asked, event))
	}
	return answer
}

// talk emits messages until the crowd is quiet.
func (c *client) talk(every time.Duration) {
	first := time.NewTimer(time.Duration(rand.Int64N(int64(every)))) // not all clients at once
	defer first.Stop()
	select {
	case <-c.crowd.quiet:
		return
	case <-first.C:
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		c.mu.Lock()
		c.made++
		c.flush()
		c.mu.Unlock()
		select {
		case <-c.crowd.quiet:
			return
		case <-ticker.C:
		}
	}
}

// flush sends the queued messages. mu must be held.
func (c *client) flush() {
	for c.conn != nil && len(c.sent) < c.made {
		frame := fmt.Appendf(nil, `42%s["say",%q,%q,%d,%d]`, c.head, c.room, c.name, c.session, len(c.sent))
		c.sent = append(c.sent, time.Now()) // also if it fails: then the connection ends, and this message is lost
		if c.conn.WriteMessage(websocket.TextMessage, frame) != nil {
			return
		}
	}
}
