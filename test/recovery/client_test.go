package recovery

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"partyline/test/recovery/judge"
)

// habit is how a client leaves, and when.
type habit struct {
	name    string
	polling bool
	stay    time.Duration // how long it stays connected, more or less; 0: until something else ends the connection
	away    time.Duration
	leave   func(*visit) // ends the visit, or makes it deaf
}

var (
	staysOnSocket = habit{name: "stays"}
	staysPolling  = habit{name: "stays, polling", polling: true}
)

// restless are clients that come and go.
var restless = []habit{
	{name: "closes", stay: 3 * time.Second, away: 2 * time.Second, leave: func(v *visit) { v.via.end() }},
	{name: "resets", stay: time.Second, leave: func(v *visit) { v.via.reset() }},
	{name: "returns before it has gone", stay: 1500 * time.Millisecond, leave: (*visit).goDeaf},
	{name: "is mute until the ping time-out", stay: 2 * time.Second, away: 3500 * time.Millisecond, leave: (*visit).goDeaf},
	{name: "closes, polling", polling: true, stay: 3 * time.Second, away: 2 * time.Second, leave: func(v *visit) { v.via.end() }},
	{name: "is cut in a POST", polling: true, stay: 1500 * time.Millisecond, leave: func(v *visit) { v.via.reset() }},
	{name: "returns before it has gone, polling", polling: true, stay: 2 * time.Second, leave: (*visit).goDeaf},
}

// client is a raw client of /chat. It keeps a pid and an offset as the official client does, and comes back by itself.
type client struct {
	s     *stage
	habit habit
	auth  auth

	mu       sync.Mutex
	pid      string           // guarded by mu
	offset   string           // guarded by mu
	sessions []*judge.Session // guarded by mu
	old      []*visit         // guarded by mu: deaf visits
	in       bool             // guarded by mu: it is connected
	left     time.Time        // guarded by mu: when the last visit ended
	away     []time.Duration  // guarded by mu: from the end of a visit to the next CONNECT
	refused  []string         // guarded by mu: how sessions ended that were not recovered
	history  []string         // guarded by mu: its visits
	probe    int              // guarded by mu: the newest that was received
	comeBack int              // guarded by mu: recoveries
	wrong    []string         // guarded by mu: what must not happen
	failed   map[string]int   // guarded by mu: attempts that failed, by error
}

// visit is one connection of a client.
type visit struct {
	c     *client
	via   transport
	edge  string // its address
	heart *time.Timer
	quiet time.Duration // after how long without a ping the connection counts as dead

	isIn, isOut chan struct{} // closed with the CONNECT, and when it is deaf
	ended       chan struct{} // closed when the connection has ended
	err         error         // why; read after ended

	// guarded by c.mu:
	deaf      bool // what arrives is discarded: it does not reach the client any more
	connected bool
	early     []judge.Got // events in front of the CONNECT
	strays    []string    // offsets of what came while it was deaf
	session   *judge.Session
	before    int // index in session.Got of what came first over a later connection; -1: none has come
}

// live stays in /chat until the test ends.
func (c *client) live() {
	for {
		err := c.visit()
		pause := 100*time.Millisecond + rand.N(300*time.Millisecond)
		if err == nil {
			pause = c.habit.away + rand.N(50*time.Millisecond)
		}
		c.mu.Lock()
		c.in = false
		if err != nil {
			c.failed[err.Error()]++
		}
		c.mu.Unlock()
		select {
		case <-c.s.over:
			return
		case <-time.After(pause):
		}
	}
}

// visit connects once. It returns nil if the client left by itself.
func (c *client) visit() error {
	edge := c.s.at[rand.IntN(len(c.s.at))]
	dial := dialSocket
	if c.habit.polling {
		dial = dialPolling
	}
	via, o, err := dial(edge)
	if err != nil {
		return errors.New("no session")
	}
	v := &visit{c: c, via: via, edge: edge, quiet: o.silence(), isIn: make(chan struct{}), isOut: make(chan struct{}), ended: make(chan struct{}), before: -1}
	v.heart = time.AfterFunc(v.quiet, v.goDeaf)
	c.s.running.Go(func() {
		v.err = v.read()
		v.heart.Stop()
		via.end()
		close(v.ended)
	})
	c.s.running.Go(func() { // nothing outlives the test
		select {
		case <-v.ended:
		case <-c.s.over:
			via.end()
		}
	})
	if err := via.send("40/chat," + c.hello()); err != nil {
		via.end()
	}
	err = v.await()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left = time.Now()
	c.note("it left %s behind %s: %v", edge, c.offset, err)
	return err
}

// note adds to the client's history. c.mu must be held.
func (c *client) note(format string, args ...any) {
	c.history = append(c.history, time.Now().Format("05.000 ")+c.auth.Name+": "+fmt.Sprintf(format, args...))
}

// await returns when the visit is over: nil if by the client's habit.
func (v *visit) await() error {
	const patience = 20 * time.Second
	never := make(chan time.Time)
	stay, late := (<-chan time.Time)(never), time.After(patience)
	isIn, calm := v.isIn, v.c.s.calm
	for {
		select {
		case <-isIn:
			isIn, late = nil, nil
			if v.c.habit.stay > 0 && calm != nil {
				stay = time.After(v.c.habit.stay/2 + rand.N(v.c.habit.stay))
			}
		case <-calm:
			calm, stay = nil, never
		case <-stay:
			v.c.habit.leave(v)
			v.goDeaf()
			return nil
		case <-late:
			v.goDeaf()
			v.via.end()
			return errors.New("no CONNECT in time")
		case <-v.isOut:
			return errors.New("no ping in time")
		case <-v.ended:
			v.goDeaf()
			return v.err
		}
	}
}

// goDeaf discards what arrives from now on.
func (v *visit) goDeaf() {
	v.c.mu.Lock()
	defer v.c.mu.Unlock()
	if v.deaf {
		return
	}
	v.deaf, v.c.in = true, false
	v.heart.Stop()
	v.c.old = append(v.c.old, v)
	close(v.isOut)
}

// hello is the auth of the CONNECT.
func (c *client) hello() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := map[string]any{"name": c.auth.Name, "rooms": c.auth.Rooms}
	if c.pid != "" {
		all["pid"] = c.pid
		if c.offset != "" {
			all["offset"] = c.offset
		}
	}
	text, _ := json.Marshal(all)
	return string(text)
}

// read handles what arrives until the connection ends.
func (v *visit) read() error {
	attachments, event := 0, ""
	for {
		packet, isBinary, err := v.via.next()
		switch {
		case err != nil:
			return errors.New("the connection ended")
		case isBinary:
			if attachments--; attachments == 0 {
				v.hear(event)
			}
		case packet == "2":
			v.ping()
		case packet == "6":
		case packet == "1":
			return errors.New("the session was closed")
		case strings.HasPrefix(packet, "40/chat,"):
			v.connect(packet[len("40/chat,"):])
		case strings.HasPrefix(packet, "42/chat,"):
			v.hear(packet[len("42/chat,"):])
		case strings.HasPrefix(packet, "451-/chat,"):
			attachments, event = 1, packet[len("451-/chat,"):]
		default:
			v.c.amiss("it received %.200s", packet)
			return errors.New("a wrong packet")
		}
	}
}

func (v *visit) ping() {
	v.c.mu.Lock()
	deaf := v.deaf
	if !deaf {
		v.heart.Reset(v.quiet)
	}
	v.c.mu.Unlock()
	if !deaf {
		_ = v.via.send("3")
	}
}

func (c *client) amiss(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wrong = append(c.wrong, fmt.Sprintf(format, args...))
}

// connect handles the CONNECT: the session goes on, or another begins.
func (v *visit) connect(text string) {
	var hello struct{ SID, PID string }
	c := v.c
	if err := json.Unmarshal([]byte(text), &hello); err != nil {
		c.amiss("a CONNECT with %s", text)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if v.deaf {
		return
	}
	if v.connected {
		c.wrong = append(c.wrong, "it received a second CONNECT")
		return
	}
	if !c.left.IsZero() {
		c.away = append(c.away, time.Since(c.left))
	}
	last := len(c.sessions) - 1
	switch recovered := hello.PID != "" && hello.PID == c.pid; {
	case !recovered:
		if last >= 0 {
			c.sessions[last].Ended = true
			c.refused = append(c.refused, fmt.Sprintf("%s %s was away for %v and not recovered at %s", c.auth.Name, c.sessions[last].ID,
				time.Since(c.left).Round(time.Millisecond), v.edge))
			if len(v.early) > 0 {
				c.wrong = append(c.wrong, fmt.Sprintf("%d events in front of a CONNECT that recovers nothing", len(v.early)))
			}
		}
		c.sessions = append(c.sessions, &judge.Session{Client: c.auth.Name + " (" + c.habit.name + ")", ID: hello.SID, SureFrom: judge.Never})
		last++
	case hello.SID != c.sessions[last].ID:
		c.wrong = append(c.wrong, fmt.Sprintf("it recovered as %s, and was %s", hello.SID, c.sessions[last].ID))
	default:
		c.comeBack++
	}
	v.session, v.connected, c.pid, c.in = c.sessions[last], true, hello.PID, true
	c.note("%s has it as %s, behind %s, with %d missed events", v.edge, hello.SID, c.offset, len(v.early))
	for _, g := range v.early {
		c.take(v.session, g)
	}
	for _, old := range c.old {
		if old.session == v.session && old.before < 0 {
			old.before = len(v.session.Got)
		}
	}
	close(v.isIn)
}

// hear records an event.
func (v *visit) hear(event string) {
	c := v.c
	id, last, ok := parse([]byte(event))
	c.mu.Lock()
	defer c.mu.Unlock()
	g := judge.Got{ID: id, Offset: last, Live: strings.HasPrefix(id, "b")}
	switch {
	case !ok:
		c.wrong = append(c.wrong, "it received "+event)
	case v.deaf:
		v.strays = append(v.strays, last)
	case !v.connected:
		v.early = append(v.early, g)
	default:
		c.take(v.session, g)
	}
}

// take records an event of a session. c.mu must be held.
func (c *client) take(session *judge.Session, g judge.Got) {
	if g.Offset != "" {
		c.offset = g.Offset
	} else if g.Live { // its last argument is no string, so it needs no offset
		return
	}
	session.Got = append(session.Got, g)
	c.probe = max(c.probe, probeOf(g.ID))
}

// isConnected reports whether the client is connected now, and hasCome whether it ever was.
func (c *client) isConnected() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.in
}

func (c *client) hasCome() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.sessions) > 0
}

// has reports whether the client received a probe, or a later one.
func (c *client) has(probe int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.probe >= probe
}

// recorded returns copies of the client's sessions, with the strays of old visits.
func (c *client) recorded() (all []*judge.Session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, one := range c.sessions {
		session := *one
		for _, v := range c.old {
			if v.session == one && v.before >= 0 {
				for _, offset := range v.strays {
					session.Strays = append(session.Strays, judge.Stray{Offset: offset, Before: v.before})
				}
			}
		}
		all = append(all, &session)
	}
	return all
}
