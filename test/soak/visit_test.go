package soak

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// visit is the connection of a session.
type visit struct {
	*session
	s     *stage
	conn  *websocket.Conn
	write sync.Mutex    // held to write
	gone  chan struct{} // closed when the connection has ended
}

// connect opens a session and connects to the namespace. With polling, the session moves to a WebSocket at once, as
// those of official clients do.
func (v *visit) connect(polling bool) (err error) {
	address, steps := v.edge.address+"/socket.io/?EIO=4&transport=websocket", [][2]string{{"", "0"}}
	if polling {
		sid, err := v.handshake()
		if err != nil {
			return err
		}
		address, steps = address+"&sid="+sid, [][2]string{{"2probe", "3probe"}, {"5", ""}}
	}
	dialer := websocket.Dialer{HandshakeTimeout: slack}
	if v.conn, _, err = dialer.Dial("ws://"+address, nil); err != nil {
		return err
	}
	_ = v.conn.SetReadDeadline(time.Now().Add(slack))
	for _, step := range steps {
		if err := v.exchange(step[0], step[1]); err != nil {
			_ = v.conn.Close()
			return err
		}
	}
	if err := v.enterNamespace(); err != nil {
		_ = v.conn.Close()
		return err
	}
	return v.conn.SetReadDeadline(time.Time{})
}

// polls is for handshakes. It keeps no connection that would count as one of the edge's.
var polls = http.Client{Timeout: slack, Transport: &http.Transport{DisableKeepAlives: true}}

// handshake opens a session with polling.
func (v *visit) handshake() (sid string, err error) {
	response, err := polls.Get("http://" + v.edge.address + "/socket.io/?EIO=4&transport=polling")
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	var opened struct{ SID string }
	if text, ok := strings.CutPrefix(string(body), "0"); err != nil || !ok || json.Unmarshal([]byte(text), &opened) != nil {
		return "", fmt.Errorf("the handshake was answered with %s: %s (%v)", response.Status, body, err)
	}
	return opened.SID, nil
}

// exchange writes a packet, and waits for one with a prefix. Empty: neither.
func (v *visit) exchange(packet, prefix string) error {
	if packet != "" {
		if err := v.conn.WriteMessage(websocket.TextMessage, []byte(packet)); err != nil {
			return err
		}
	}
	if prefix == "" {
		return nil
	}
	_, data, err := v.conn.ReadMessage()
	if err == nil && !strings.HasPrefix(string(data), prefix) {
		err = fmt.Errorf("it received %s", data)
	}
	return err
}

// stay talks until it is time to go.
func (v *visit) stay() {
	for _, n := range rand.Perm(roomCount)[:roomsEach] {
		if len(v.breaks) == 0 {
			v.join(n)
		}
	}
	say, echo, move, end := time.NewTimer(vary(sayEvery)), time.NewTimer(vary(echoEvery)), time.NewTimer(vary(moveEvery)), time.NewTimer(vary(stays))
	quiet := v.s.quiet
	for {
		select {
		case <-v.gone:
			return
		case <-v.s.over:
			v.leave()
			return
		case <-quiet:
			quiet = nil
			for _, t := range []*time.Timer{say, echo, move, end} {
				t.Stop()
			}
		case <-end.C:
			if rand.IntN(3) == 0 {
				v.drop()
			} else {
				v.leave()
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
		v.calls[v.asked] = &call{at: time.Now(), acked: acked}
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
	if now := time.Now(); v.excuses(now) || v.edge.suffered(now.Add(-slack), now) {
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

// leave disconnects as the official client does, behind everything that it sent. Acks that it waits for come first.
func (v *visit) leave() {
	for end := time.Now().Add(underWay); time.Now().Before(end); {
		v.s.ledger.mu.Lock()
		waits := slices.ContainsFunc(slices.Collect(maps.Values(v.calls)), func(c *call) bool { return !c.isJudged })
		v.s.ledger.mu.Unlock()
		if !waits {
			break
		}
		if v.isGone(20 * time.Millisecond) {
			return
		}
	}
	v.finish(false)
	v.answer("41" + v.namespace + ",")
	_ = v.conn.WriteControl(websocket.CloseMessage, nil, time.Now().Add(underWay))
	if !v.isGone(underWay) {
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
	case v.edge.suffered(time.Now().Add(-lateBy), time.Now()):
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
		case text == "6":
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
	var name, room, who, text string
	var n int
	if err := json.Unmarshal([]byte(event), &[]any{&name, &room, &who, &n, &text, &v.offset}); err != nil {
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
	if l.sum.acks++; c.isJudged {
		l.sum.acksLostInFaults--
	}
	if delete(v.calls, id); c.acked != nil {
		c.acked(ack[bracket:])
	}
	return nil
}
