package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"partyline/internal/edgetest"
)

// person is a client of a namespace. It comes back by itself, with its last offset if there is recovery, and remembers
// what it heard.
type person struct {
	head string        // "/chat_room,"
	next func() string // where it connects

	mu          sync.Mutex
	conn        *websocket.Conn // guarded by mu; nil while it is away
	over        bool            // guarded by mu
	pid, offset string          // guarded by mu
	ids         []string        // guarded by mu: of its connections
	heard       []string        // guarded by mu: the second elements of events
	left        time.Time       // guarded by mu: when the last connection ended
	away        [][2]time.Time  // guarded by mu: from the end of a connection to the next CONNECT
	asked       int             // guarded by mu
	waits       map[string]bool // guarded by mu: questions of this connection without an ack
	unanswered  int             // guarded by mu: those of earlier connections
	answered    int             // guarded by mu
}

// enter connects a client, which stays until the test ends, and waits until it is there.
func enter(t *testing.T, namespace string, next func() string) *person {
	t.Helper()
	p := &person{head: namespace + ",", next: next}
	var ended sync.WaitGroup
	ended.Go(p.live)
	t.Cleanup(func() {
		p.mu.Lock()
		p.over = true
		if p.conn != nil {
			_ = p.conn.Close()
		}
		p.mu.Unlock()
		ended.Wait()
	})
	edgetest.Eventually(t, namespace+" has a client", p.isIn)
	return p
}

func (p *person) isIn() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.conn != nil
}

// live connects again and again.
func (p *person) live() {
	for {
		conn, _, err := websocket.DefaultDialer.Dial("ws://"+p.next()+"/socket.io/?EIO=4&transport=websocket", nil)
		if err == nil {
			p.visit(conn)
			_ = conn.Close()
		}
		p.mu.Lock()
		over := p.over
		p.mu.Unlock()
		if over {
			return
		}
		<-time.After(100 * time.Millisecond) // the official client waits longer
	}
}

// visit is one connection.
func (p *person) visit(conn *websocket.Conn) {
	auth := map[string]string{}
	p.mu.Lock()
	if p.offset != "" {
		auth["pid"], auth["offset"] = p.pid, p.offset
	}
	p.mu.Unlock()
	hello, _ := json.Marshal(auth)
	if conn.WriteMessage(websocket.TextMessage, []byte("40"+p.head+string(hello))) != nil {
		return
	}
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second)) // until the CONNECT: an edge may have no log yet
	for {
		_, frame, err := conn.ReadMessage()
		p.mu.Lock()
		if err != nil || p.over {
			if p.conn != nil {
				p.conn, p.left = nil, time.Now()
				p.unanswered += len(p.waits)
			}
			p.mu.Unlock()
			return
		}
		switch text := string(frame); {
		case text == "2":
			_ = conn.WriteMessage(websocket.TextMessage, []byte("3"))
		case strings.HasPrefix(text, "40"+p.head):
			p.connect(conn, text[len("40"+p.head):])
		case strings.HasPrefix(text, "42"+p.head):
			p.hear(text[len("42"+p.head):])
		case strings.HasPrefix(text, "43"+p.head):
			id, _, _ := strings.Cut(text[len("43"+p.head):], "[")
			delete(p.waits, id)
			p.answered++
		}
		p.mu.Unlock()
	}
}

// connect handles the CONNECT. mu must be held.
func (p *person) connect(conn *websocket.Conn, text string) {
	var hello struct{ SID, PID string }
	_ = json.Unmarshal([]byte(text), &hello)
	_ = conn.SetReadDeadline(time.Time{})
	if !p.left.IsZero() {
		p.away = append(p.away, [2]time.Time{p.left, time.Now()})
	}
	p.conn, p.pid, p.waits = conn, hello.PID, make(map[string]bool)
	p.ids = append(p.ids, hello.SID)
}

// hear handles an event. mu must be held.
func (p *person) hear(text string) {
	var all []string
	if err := json.Unmarshal([]byte(text), &all); err != nil || len(all) < 2 {
		p.heard = append(p.heard, "wrong: "+text)
		return
	}
	p.heard = append(p.heard, all[1])
	if len(all) > 2 {
		p.offset = all[2]
	}
}

// emit sends an event.
func (p *person) emit(body string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn != nil {
		_ = p.conn.WriteMessage(websocket.TextMessage, []byte("42"+p.head+body)) // its reader reports the error
	}
}

// ask emits an event that wants an ack.
func (p *person) ask() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn == nil {
		return
	}
	p.asked++
	id := fmt.Sprint(p.asked)
	p.waits[id] = true
	_ = p.conn.WriteMessage(websocket.TextMessage, []byte("42"+p.head+id+`["ask"]`)) // its reader reports the error
}

// has reports whether it heard something.
func (p *person) has(what string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Contains(p.heard, what)
}

// numbers returns what it heard of a publisher of numbers, and where it was away.
func (p *person) numbers(publisher string) (all []int, away [][2]time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, what := range p.heard {
		var n int
		if _, err := fmt.Sscanf(what, publisher+" %d", &n); err == nil {
			all = append(all, n)
		}
	}
	return all, slices.Clone(p.away)
}
