package owner

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// route delivers what NATS received to the subscribers.
func (m *model) route(w modelWord) {
	if n, isEdge := strings.CutPrefix(w.to, "edge "); isEdge {
		var e int
		fmt.Sscan(n, &e)
		m.edges[e].receive(w)
		return
	}
	if w.to == "all edges" {
		for _, e := range m.edges {
			e.receive(w)
		}
		return
	}
	found := false
	for _, i := range m.instances {
		if (w.to == i.name || w.to == "all instances") && i.subscribes() {
			found = true
			i.receive(w)
		}
	}
	if !found && (!m.tap || w.kind == "ping") && w.to != "all instances" && w.kind != "ended" && w.kind != "marker" && w.kind != "leaving answer" {
		w.from, w.kind = "NATS", "503 "+w.kind
		m.edges[w.edge].receive(w)
	}
}

func (i *modelInstance) subscribes() bool { return i.online && (i.alive || len(i.toNATS) > 0) }

func (n *modelNode) receive(w modelWord) {
	if n.online && !n.blackHole {
		n.fromNATS = append(n.fromNATS, w)
	}
}

// cut ends a connection; both directions lose their ends.
func (m *model) cut(n *modelNode) {
	if !n.blackHole {
		for _, w := range n.toNATS[:m.random.IntN(len(n.toNATS)+1)] {
			w.at = m.now.Add(time.Duration(m.random.IntN(3000)) * time.Millisecond)
			m.ghosts = append(m.ghosts, w)
		}
	}
	n.online, n.blackHole = false, false
	n.toNATS = nil
	n.fromNATS = n.fromNATS[:m.random.IntN(len(n.fromNATS)+1)]
}

// deliver moves messages: overdue ones always, others by chance.
func (m *model) deliver() {
	late := 200 * time.Millisecond
	if m.calm {
		late = 50 * time.Millisecond
	}
	move := func(n *modelNode, queue *[]modelWord, to func(modelWord)) {
		for len(*queue) > 0 && (m.now.Sub((*queue)[0].at) > late || m.random.IntN(3) > 0) {
			w := (*queue)[0]
			*queue = (*queue)[1:]
			to(w)
		}
		if len(*queue) == 0 {
			*queue = nil
		}
	}
	m.ghosts = slices.DeleteFunc(m.ghosts, func(w modelWord) bool {
		// Events on two paths have no order. All other messages tolerate that.
		if late := m.calm || !m.now.Before(w.at); !late || w.kind == "event" {
			return late
		}
		w.at = m.now
		m.route(w)
		return true
	})
	for _, e := range m.edges {
		move(&e.modelNode, &e.toNATS, func(w modelWord) {
			if !e.blackHole {
				w.at = m.now
				m.route(w)
			}
		})
	}
	for _, i := range m.instances {
		move(&i.modelNode, &i.toNATS, func(w modelWord) {
			if i.blackHole {
				return
			}
			if w.kind == "beat" || w.kind == "hello" {
				if i.confirmed.Before(w.at) {
					i.confirmed = w.at
				}
			}
			w.at = m.now
			m.route(w)
		})
	}
	for _, e := range m.edges {
		if !e.frozen {
			move(&e.modelNode, &e.fromNATS, e.take)
		}
	}
	for _, i := range m.instances {
		if !i.frozen && i.alive {
			move(&i.modelNode, &i.fromNATS, i.take)
		}
	}
	m.instances = slices.DeleteFunc(m.instances, func(i *modelInstance) bool { return !i.alive && len(i.toNATS) == 0 })
}

func (m *model) heal(n *modelNode) (healed bool) {
	if n.online && !n.blackHole {
		return false
	}
	if n.blackHole {
		m.cut(n) // it notices
	}
	n.online = true
	return true
}

func (m *model) healEdge(e *modelEdge) {
	if m.heal(&e.modelNode) {
		m.note("edge %d is back", e.n)
		e.isNew = true
		e.send(modelWord{to: "all instances", kind: "edge hello"})
		began := m.now
		e.Do(func() { e.table.Reconnected(began) })
	}
}

func (m *model) healInstance(i *modelInstance) {
	if i.alive && m.heal(&i.modelNode) {
		m.note("%s is back", i.name)
		i.fence() // it knows since when it was disconnected
		i.lost = time.Time{}
		i.fence()
		i.say("hello")
	}
}

func (m *model) fault() {
	e := m.edges[m.random.IntN(len(m.edges))]
	var i *modelInstance
	if len(m.instances) > 0 {
		i = m.instances[m.random.IntN(len(m.instances))]
	}
	what := m.random.IntN(16)
	if m.kind == lossless && (what == 3 || what == 4 || what == 10 || what == 11) ||
		m.kind == orderly && (what > 2 && what < 13 || what == 13) {
		return
	}
	switch {
	case what == 0 && !e.frozen:
		m.note("edge %d freezes", e.n)
		e.frozen = true
	case what <= 2 && e.frozen:
		m.note("edge %d thaws", e.n)
		e.frozen = false
	case what == 3:
		m.note("edge %d is cut", e.n)
		m.cut(&e.modelNode)
	case what == 4 && e.online:
		m.note("edge %d is in a black hole", e.n)
		e.blackHole = true
	case what <= 6:
		m.healEdge(e)
	case i == nil || what == 15:
		if len(m.instances) < 5 {
			m.start(m.random.IntN(8) == 0)
		}
	case what == 7 && !i.frozen:
		m.note("%s freezes", i.name)
		i.frozen = true
	case what <= 9:
		m.note("%s thaws", i.name)
		i.frozen = false
	case what == 10 && i.online:
		m.note("%s is cut", i.name)
		m.cut(&i.modelNode)
		i.lost = m.now
	case what == 11 && i.online:
		m.note("%s is in a black hole", i.name)
		i.blackHole = true
	case what == 12:
		i.hangs = m.random.IntN(3) == 0
	case what == 13 && m.random.IntN(3) == 0:
		m.note("%s crashes", i.name)
		i.alive, i.toNATS = false, nil
	case what == 14 && !i.leaving && i.alive && !i.frozen && i.online:
		i.leave()
	default:
		m.healInstance(i)
	}
}
