package soak

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"partyline/internal/edgetest"
)

// What clients do, on average. Each waits between half of these times and one and a half.
const (
	sayEvery  = 4 * time.Second  // a message to one of its rooms
	echoEvery = 5 * time.Second  // an event that a service acks
	moveEvery = 8 * time.Second  // it leaves a room and enters another
	stays     = 20 * time.Second // connected
	away      = time.Second      // until it comes back

	recoverable = 20 * time.Second // less than edges allow, and than slack

	roomCount = 10 // of a namespace
	roomsEach = 2
)

// filler makes a message as long as usual ones.
const filler = "a message of about a hundred bytes, as people send them in a chat"

func vary(mean time.Duration) time.Duration { return mean/2 + rand.N(mean) }

// kept is the namespace with tokens and recovery. A session that broke off goes on with the next connection.
const kept = "/kept"

var namespaces = []string{"/relay", "/team", "/owned", kept}

// errForgotten says that an edge did not recover a session.
var errForgotten = errors.New("the session is not recovered")

// client comes and goes, each time as a new session, which talks in its rooms.
type client struct {
	s         *stage
	number    int
	namespace string
	visits    int
	broken    *session // can be recovered
}

// live visits edges until the run is over.
func (c *client) live() {
	for {
		if v, err := c.enter(); err == nil {
			v.stay()
			if c.broken = nil; v.isBroken && c.namespace == kept {
				c.broken = v.session
			}
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

// enter connects to any edge, and to the namespace.
func (c *client) enter() (*visit, error) {
	edge := c.s.edges[rand.IntN(len(c.s.edges))]
	c.visits++
	if c.broken != nil && time.Since(c.broken.end) > recoverable {
		c.broken = nil
	}
	began := time.Now()
	v := &visit{s: c.s, gone: make(chan struct{}), session: c.broken}
	if c.broken != nil {
		edge = v.edge
	} else {
		v.session = &session{
			name: fmt.Sprintf("c%d.%d", c.number, c.visits), namespace: c.namespace, edge: edge,
			in: make(map[string]*membership), sent: make(map[string]int), calls: make(map[int]*call),
		}
	}
	err := v.connect(c.number/len(namespaces)%2 == 0)
	l := c.s.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case errors.Is(err, errForgotten) && edge.stalledIn(v.end, time.Now()):
		c.broken = nil
	case errors.Is(err, errForgotten):
		l.sum.forgotten++
		l.wrong("%s, which broke off at %v, comes back to %s: %v", v.name, clock(v.end), edge.name, err)
		c.broken = nil
	case err == nil:
		if c.broken == nil {
			l.sum.sessions++
			l.sessions[v.name] = v.session
		} else {
			l.sum.recovered++
			v.goOn()
		}
		c.s.visits[v] = true
		c.s.running.Go(v.read)
	case edge.suffered(began, time.Now()):
		l.sum.refusedInFaults++
	default:
		l.sum.refused++
		l.wrong("%s cannot connect to %s: %v", v.name, edge.name, err)
	}
	return v, err
}

// enterNamespace connects the socket, or the one that the session had.
func (v *visit) enterNamespace() error {
	auth := ""
	if v.namespace == kept {
		all := map[string]string{"token": v.s.key.Sign(edgetest.Subject("ann", 10*time.Minute, nil), nil)}
		if v.pid != "" {
			all["pid"], all["offset"] = v.pid, v.offset
		}
		text, _ := json.Marshal(all)
		auth = string(text)
	}
	if err := v.conn.WriteMessage(websocket.TextMessage, []byte("40"+v.namespace+","+auth)); err != nil {
		return err
	}
	for {
		_, data, err := v.conn.ReadMessage()
		if err != nil {
			return err
		}
		var connect struct{ SID, PID string }
		answer, isConnect := strings.CutPrefix(string(data), "40"+v.namespace+",")
		missed, isEvent := strings.CutPrefix(string(data), "42"+v.namespace+",")
		switch {
		case isEvent && v.id != "": // as from the reference server, it comes first
			if err := v.hear(missed); err != nil {
				return err
			}
		case !isConnect || json.Unmarshal([]byte(answer), &connect) != nil:
			return fmt.Errorf("it received %s", data)
		case v.id == "":
			v.id, v.pid = connect.SID, connect.PID
			return nil
		case v.id != connect.SID:
			return errForgotten
		default:
			return nil
		}
	}
}
