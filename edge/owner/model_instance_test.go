package owner

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"partyline/wire/msg"
)

type modelInstance struct {
	modelNode
	m           *model
	group, name string
	alive       bool
	leaving     bool
	hangs       bool // it does not answer connect requests
	slow        bool // it sends Sio-Pending first
	narrow      bool // it announces more namespaces than it serves
	owned       map[*modelSocket]uint64
	known       map[*modelSocket]uint64 // the last assignment number that it received
	decided     map[*modelSocket]bool   // the memory of answers
	pending     []modelWord             // requests that it decides about slowly
	lane        []modelWord             // messages that wait for a slow handler
	busy        time.Time               // until when the handler is busy
	confirmed   time.Time               // when it sent the last beat that reached NATS
	lost        time.Time               // when it lost its connection; zero: it is connected
	beat        time.Time
	heard       map[int]time.Time // edges
	mourned     map[int]bool
	markers     map[int]int // edges whose end markers have arrived
	answers     map[int]int // numbers of end markers that edges announced; -1: no answer yet
	leftSince   time.Time
}

const (
	modelFence        = 3 * time.Second
	modelFenceOffline = 750 * time.Millisecond
)

// The instance's side: what docs/subjects.md requires of it.

func (i *modelInstance) send(w modelWord) {
	w.from, w.group, w.at = i.name, i.group, i.m.now
	if i.online {
		i.toNATS = append(i.toNATS, w)
	}
}

func (i *modelInstance) say(word string) { i.send(modelWord{to: "all edges", kind: word}) }

func (i *modelInstance) reply(w modelWord, kind string, number uint64) {
	i.send(modelWord{to: fmt.Sprint("edge ", w.edge), kind: kind, socket: w.socket, number: number})
}

func (i *modelInstance) isFenced() bool {
	return i.m.now.Sub(i.confirmed) >= modelFence || !i.lost.IsZero() && i.m.now.Sub(i.lost) >= modelFenceOffline
}

// fence releases everything and takes a new name.
func (i *modelInstance) fence() {
	if !i.isFenced() || len(i.owned) == 0 {
		return
	}
	i.m.note("%s is fenced", i.name)
	clear(i.owned)
	if i.leaving {
		return
	}
	i.say("bye")
	i.m.started++
	i.name = fmt.Sprintf("%s-%d", i.group, i.m.started)
	i.pending = nil
	i.say("hello")
}

func (i *modelInstance) take(w modelWord) {
	i.fence()
	if w.to != i.name && w.to != "all instances" {
		return // it has another name now
	}
	switch w.kind {
	case "connect", "event", "ended", "changed":
		i.lane = append(i.lane, w)
		if w.kind == "connect" {
			i.heard[w.edge] = i.m.now // a sign of life of its edge
		}
	case "edge beat", "edge hello":
		i.heard[w.edge] = i.m.now
		if w.kind == "edge hello" && !i.leaving {
			i.say("beat")
		}
		if i.mourned[w.edge] {
			delete(i.mourned, w.edge)
			i.reply(w, "owns nothing", 0)
		}
	case "ping":
		if !i.isFenced() {
			i.reply(w, "pong", 0)
		}
	case "marker":
		i.markers[w.edge]++
	case "leaving answer":
		i.answers[w.edge] = int(w.number)
	}
}

// handle processes what waited for the handlers.
func (i *modelInstance) handle(w modelWord) {
	switch w.kind {
	case "edge died":
		maps.DeleteFunc(i.owned, func(s *modelSocket, _ uint64) bool { return s.edge.n == w.edge })
	case "connect":
		if w.to == i.name {
			i.connect(w)
		}
	case "event":
		if number, owns := i.owned[w.socket]; !owns || i.isFenced() {
			if i.m.kind == orderly {
				i.m.fatal("event %d of %s comes to %s, which does not own it", w.event, w.socket.id, i.name)
			}
			i.reply(w, "not owner", max(number, i.known[w.socket]))
			return
		}
		if i.m.kind == orderly && w.event != w.socket.handled+1 {
			i.m.fatal("%s gets event %d of %s, after %d", i.name, w.event, w.socket.id, w.socket.handled)
		}
		if w.event <= w.socket.handled {
			i.m.fatal("%s handles event %d of %s, after %d", i.name, w.event, w.socket.id, w.socket.handled)
		}
		i.m.note("%s handles event %d of %s", i.name, w.event, w.socket.id)
		w.socket.handled = w.event
	case "ended":
		delete(i.owned, w.socket)
		delete(i.decided, w.socket)
	case "changed":
		if i.owned[w.socket] <= w.number {
			delete(i.owned, w.socket)
		}
	}
}

func (i *modelInstance) connect(w modelWord) {
	switch number, owns := i.owned[w.socket]; {
	case i.hangs && w.inquiry.From == "" && w.event == 0: // its middleware hangs
	case i.narrow:
		i.reply(w, "not mine", w.number)
	case i.leaving || i.isFenced():
		i.reply(w, "again", w.number)
	case owns && w.number < number:
	case i.slow && !i.decided[w.socket] && w.inquiry.From == "":
		i.reply(w, "pending", w.number)
		i.pending = slices.DeleteFunc(i.pending, func(p modelWord) bool { return p.socket == w.socket })
		i.pending = append(i.pending, w)
	default:
		i.decide(w)
	}
}

func (i *modelInstance) decide(w modelWord) {
	if i.leaving || i.isFenced() {
		i.reply(w, "again", w.number)
		return
	}
	i.owned[w.socket] = max(w.number, i.owned[w.socket])
	i.known[w.socket], i.decided[w.socket] = i.owned[w.socket], true
	i.reply(w, "admission", w.number)
}

// leave begins the leave.
func (i *modelInstance) leave() {
	i.m.note("%s leaves", i.name)
	i.leaving, i.leftSince = true, i.m.now
	i.markers, i.answers = map[int]int{}, map[int]int{}
	for n := range i.heard {
		i.answers[n] = -1
	}
	i.say("leaving")
}

// run does the work that the instance's goroutines have done up to now.
func (i *modelInstance) run() {
	m := i.m
	if i.frozen || !i.alive {
		return
	}
	i.fence()
	if m.now.Sub(i.beat) >= msg.BeatEvery {
		i.beat = m.now
		i.say("beat")
	}
	for n := range i.lane {
		if w := &i.lane[n]; w.kind == "connect" && m.now.Sub(w.at) > time.Second && w.event == 0 && !i.hangs {
			w.event = 1 // so that it is sent once
			i.reply(*w, "pending", w.number)
		}
	}
	for len(i.lane) > 0 && (m.calm || !m.now.Before(i.busy)) {
		w := i.lane[0]
		i.lane = i.lane[1:]
		i.handle(w)
		if m.random.IntN(20) == 0 && !m.calm {
			i.busy = m.now.Add(time.Duration(m.random.IntN(2500)) * time.Millisecond)
		}
	}
	for n, at := range i.heard {
		if m.now.Sub(at) > msg.DeadAfter {
			delete(i.heard, n)
			for s := range i.owned {
				i.mourned[n] = i.mourned[n] || s.edge.n == n
			}
			i.lane = append(i.lane, modelWord{kind: "edge died", edge: n}) // behind its events
		}
	}
	if len(i.pending) > 0 && (m.calm || m.random.IntN(10) == 0) {
		w := i.pending[0]
		i.pending = i.pending[1:]
		i.decide(w)
	}
	if !i.leaving {
		return
	}
	done := len(i.lane) == 0
	for n, want := range i.answers {
		if _, lives := i.heard[n]; lives && (want < 0 || i.markers[n] < want) {
			done = false
		}
	}
	if done || m.kind != orderly && m.now.Sub(i.leftSince) > 5*time.Second {
		clear(i.owned)
		i.say("left")
		i.say("bye")
		i.alive = false
		m.note("%s has left", i.name)
	}
}
