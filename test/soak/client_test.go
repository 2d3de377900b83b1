package soak

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// What clients do, on average. Each waits between half of these times and one and a half.
const (
	sayEvery  = 4 * time.Second  // a message to one of its rooms
	echoEvery = 5 * time.Second  // an event that a service acks
	moveEvery = 8 * time.Second  // it leaves a room and enters another
	stays     = 20 * time.Second // connected
	away      = time.Second      // until it comes back

	roomCount = 10 // of a namespace
	roomsEach = 2
)

// filler makes a message as long as usual ones.
const filler = "a message of about a hundred bytes, as people send them in a chat"

func vary(mean time.Duration) time.Duration { return mean/2 + rand.N(mean) }

// client comes and goes, each time as a new session, which talks in its rooms.
type client struct {
	s         *stage
	number    int
	namespace string
	visits    int
}

// live visits edges until the run is over.
func (c *client) live() {
	for {
		if v, err := c.enter(); err == nil {
			v.stay()
		}
		again := time.NewTimer(vary(away))
		select {
		case <-c.s.over:
			again.Stop()
			return
		case <-again.C:
		}
	}
}

// visit is the connection of a session.
type visit struct {
	*session
	s     *stage
	conn  *websocket.Conn
	write sync.Mutex    // held to write
	gone  chan struct{} // closed when the connection has ended
}

// enter connects to any edge, and to the namespace.
func (c *client) enter() (*visit, error) {
	edge := c.s.edges[rand.IntN(len(c.s.edges))]
	c.visits++
	v := &visit{s: c.s, gone: make(chan struct{}), session: &session{
		name: fmt.Sprintf("c%d.%d", c.number, c.visits), namespace: c.namespace, edge: edge,
		in: make(map[string]*membership), sent: make(map[string]int), calls: make(map[int]*call),
	}}
	err := v.connect()
	l := c.s.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err == nil:
		l.sum.sessions++
		l.sessions[v.name] = v.session
		c.s.visits[v] = true
		c.s.running.Go(v.read)
	case edge.suffers(time.Now()):
		l.sum.refusedInFaults++
	default:
		l.sum.refused++
		l.wrong("%s cannot connect to %s: %v", v.name, edge.name, err)
	}
	return v, err
}

func (v *visit) connect() (err error) {
	dialer := websocket.Dialer{HandshakeTimeout: slack}
	if v.conn, _, err = dialer.Dial("ws://"+v.edge.address+"/socket.io/?EIO=4&transport=websocket", nil); err != nil {
		return err
	}
	_ = v.conn.SetReadDeadline(time.Now().Add(slack))
	if _, _, err = v.conn.ReadMessage(); err == nil { // the handshake
		err = v.conn.WriteMessage(websocket.TextMessage, []byte("40"+v.namespace+","))
	}
	var data []byte
	if err == nil {
		_, data, err = v.conn.ReadMessage()
	}
	if err == nil && !strings.HasPrefix(string(data), "40"+v.namespace+",") {
		err = fmt.Errorf("it received %s", data)
	}
	if err != nil {
		_ = v.conn.Close()
	}
	_ = v.conn.SetReadDeadline(time.Time{})
	return err
}

// stay talks until it is time to go.
func (v *visit) stay() {
	for _, n := range rand.Perm(roomCount)[:roomsEach] {
		v.join(n)
	}
	say, echo, move, leave := time.NewTimer(vary(sayEvery)), time.NewTimer(vary(echoEvery)), time.NewTimer(vary(moveEvery)), time.NewTimer(vary(stays))
	quiet := v.s.quiet
	for {
		select {
		case <-v.gone:
			return
		case <-v.s.over:
			v.part()
			return
		case <-quiet:
			quiet = nil
			for _, t := range []*time.Timer{say, echo, move, leave} {
				t.Stop()
			}
		case <-leave.C:
			if rand.IntN(3) == 0 {
				v.drop()
			} else {
				v.part()
			}
			return
		case <-say.C:
			v.say()
			say.Reset(vary(sayEvery))
		case <-echo.C:
			v.ask(`"echo",`+strconv.Itoa(rand.IntN(1e6)), nil)
			echo.Reset(vary(echoEvery))
		case <-move.C:
			v.move()
			move.Reset(vary(moveEvery))
		}
	}
}

// say emits a message to one of its rooms.
func (v *visit) say() {
	v.send(func() string {
		for name, m := range v.in {
			if !m.from.IsZero() && m.to.IsZero() {
				return fmt.Sprintf(`42%s,["say",%q,%q,%d,%q]`, v.namespace, name, v.name, v.s.ledger.send(v.session, name), filler)
			}
		}
		return ""
	})
}

// ask emits an event. acked, if not nil, is called with its ack and the ledger's mu.
func (v *visit) ask(event string, acked func(ack string)) {
	v.send(func() string {
		v.asked++
		v.calls[v.asked] = &call{time.Now(), acked}
		return fmt.Sprintf(`42%s,%d[%s]`, v.namespace, v.asked, event)
	})
}

func (v *visit) join(n int) {
	name := "r" + strconv.Itoa(n)
	l := v.s.ledger
	l.mu.Lock()
	if v.in[name] != nil {
		l.mu.Unlock()
		return
	}
	m := l.join(v.session, name)
	l.mu.Unlock()
	v.ask(`"join","`+name+`"`, func(ack string) {
		if ack == `[{"ok":true}]` {
			m.from = time.Now()
			return
		}
		m.to = time.Now()
		delete(v.in, name)
		v.refused("join", ack)
	})
}

// refused counts an ack that is an error. The ledger's mu must be held.
func (v *visit) refused(what, ack string) {
	if v.excuses(time.Now()) {
		v.s.ledger.sum.refusedInFaults++
		return
	}
	v.s.ledger.sum.refused++
	v.s.ledger.wrong("%s on %s: the ack of %s is %s", v.name, v.edge.name, what, ack)
}

// move leaves a room and enters another.
func (v *visit) move() {
	l := v.s.ledger
	l.mu.Lock()
	left := ""
	for name, m := range v.in {
		if !m.from.IsZero() && m.to.IsZero() {
			m.to, left = time.Now(), name
			l.sum.moves++
			break
		}
	}
	l.mu.Unlock()
	if left == "" {
		return
	}
	v.ask(`"leave","`+left+`"`, func(ack string) {
		if delete(v.in, left); ack != `[{"ok":true}]` {
			v.refused("leave", ack)
		}
	})
	v.join(rand.IntN(roomCount))
}

// send writes the packet that make returns, unless that is empty. make is called with the ledger's mu, so packets go out
// in the order in which the ledger has them. The reader notices errors.
func (v *visit) send(make func() string) {
	v.write.Lock()
	defer v.write.Unlock()
	v.s.ledger.mu.Lock()
	packet := make()
	v.s.ledger.mu.Unlock()
	if packet != "" {
		_ = v.conn.SetWriteDeadline(time.Now().Add(slack))
		_ = v.conn.WriteMessage(websocket.TextMessage, []byte(packet))
	}
}

// answer writes a packet that the ledger does not have.
func (v *visit) answer(packet string) { v.send(func() string { return packet }) }

// part disconnects as the official client does, behind everything that it sent. Acks that it waits for come first.
func (v *visit) part() {
	for end := time.Now().Add(about); time.Now().Before(end); {
		v.s.ledger.mu.Lock()
		waits := len(v.calls)
		v.s.ledger.mu.Unlock()
		if waits == 0 {
			break
		}
		if v.isGone(20 * time.Millisecond) {
			return
		}
	}
	v.finish(false)
	v.answer("41" + v.namespace + ",")
	v.answer("1")
	if !v.isGone(about) {
		_ = v.conn.Close()
		<-v.gone
	}
}

// isGone waits for the end of the connection for some time.
func (v *visit) isGone(wait time.Duration) bool {
	late := time.NewTimer(wait)
	defer late.Stop()
	select {
	case <-v.gone:
		return true
	case <-late.C:
		return false
	}
}

// drop closes the connection without a farewell, so that the edge gets an RST.
func (v *visit) drop() {
	v.finish(true)
	if tcp, ok := v.conn.UnderlyingConn().(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = v.conn.Close()
	<-v.gone
}

// finish notes the session's end. It returns false if it has ended before.
func (v *visit) finish(isBroken bool) bool {
	l := v.s.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	if !v.end.IsZero() {
		return false
	}
	v.end, v.isBroken = time.Now(), isBroken
	for _, m := range v.in {
		if m.to.IsZero() {
			m.to = v.end
		}
	}
	return true
}

// read notes what arrives until the connection ends.
func (v *visit) read() {
	defer close(v.gone)
	err := v.readAll()
	isSurprise := v.finish(true)
	_ = v.conn.Close()
	l := v.s.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(v.s.visits, v)
	switch {
	case !isSurprise:
	case v.edge.suffers(time.Now()):
		l.sum.endedInFaults++
	default:
		l.sum.ended++
		l.wrong("%s ended the connection of %s: %v", v.edge.name, v.name, err)
	}
}

func (v *visit) readAll() error {
	for {
		_, data, err := v.conn.ReadMessage()
		if err != nil {
			return err
		}
		text := string(data)
		event, isEvent := strings.CutPrefix(text, "42"+v.namespace+",")
		ack, isAck := strings.CutPrefix(text, "43"+v.namespace+",")
		switch {
		case text == "2":
			v.answer("3")
		case text == "1", text == "6":
		case strings.HasPrefix(text, "41"+v.namespace):
			return errors.New("the server disconnected the socket")
		case isEvent:
			err = v.hear(event)
		case isAck:
			err = v.acked(ack)
		default:
			err = fmt.Errorf("it received %s", text)
		}
		if err != nil {
			return err
		}
	}
}

// hear notes a message of a room. Other events are those about members.
func (v *visit) hear(event string) error {
	if !strings.HasPrefix(event, `["say",`) {
		return nil
	}
	var name, room, who string
	var n int
	if err := json.Unmarshal([]byte(event), &[]any{&name, &room, &who, &n}); err != nil {
		return fmt.Errorf("it received %s: %w", event, err)
	}
	v.s.ledger.receive(v.session, room, who, n)
	return nil
}

func (v *visit) acked(ack string) error {
	bracket := strings.IndexByte(ack, '[')
	id, err := strconv.Atoi(ack[:max(bracket, 0)])
	if err != nil {
		return fmt.Errorf("it received the ack %s", ack)
	}
	l := v.s.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	c := v.calls[id]
	if c == nil {
		l.sum.acksDoubled++
		l.wrong("%s received an ack for event %d twice, or late: %s", v.name, id, ack)
		return nil
	}
	l.sum.acks++
	if delete(v.calls, id); c.acked != nil {
		c.acked(ack[bracket:])
	}
	return nil
}
