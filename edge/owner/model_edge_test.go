package owner

import (
	"fmt"
	"time"

	"partyline/internal/tally"
	"partyline/wire/msg"
)

type modelEdge struct {
	modelNode
	m       *model
	n       int
	table   *Table
	isNew   bool // its connection has begun since the latest tick
	worker  []func()
	workAt  time.Time
	sockets []*modelSocket
	ticked  time.Time
	beat    time.Time
	due     time.Time
	failed  tally.Counter

	emitted, published, refused int // events
}

type modelSocket struct {
	edge    *modelEdge
	owner   *Socket
	id      string
	gone    bool
	session int
	isLive  bool   // it was admitted
	sent    int    // events emitted
	handled int    // the latest event that an instance handled
	number  uint64 // of the latest request
	asked   string // who got it
	decided string // the instance whose admission the edge accepted last
	asking  bool   // another instance has been asked since
	charged int    // bytes of memory
}

func (s *modelSocket) ID() string                    { return s.id }
func (s *modelSocket) Namespace() string             { return "/chat" }
func (s *modelSocket) ConnectTimeout() time.Duration { return time.Hour }
func (s *modelSocket) Refuses() bool                 { return false }

func (s *modelSocket) Charge(n int) { s.charged += n }

func (s *modelSocket) Siblings() (list []*Socket) {
	for _, other := range s.edge.sockets {
		if other != s && other.session == s.session {
			list = append(list, other.owner)
		}
	}
	return list
}

func (e *modelEdge) send(w modelWord) {
	w.edge, w.at = e.n, e.m.now
	if e.online {
		e.toNATS = append(e.toNATS, w)
	}
}

func (e *modelEdge) Connected() bool { return e.online }

func (e *modelEdge) Do(fn func()) {
	if len(e.worker) == 0 {
		e.workAt = e.m.now
	}
	e.worker = append(e.worker, fn)
}

func (e *modelEdge) AfterSubscribed(fn func()) { e.Do(fn) }

func (e *modelEdge) Event(s *Socket, to string, name, _ []byte, _ map[string][]string, _ []byte) error {
	so := s.Client.(*modelSocket)
	if to == "" && so.isLive && s.request == nil {
		so.asking, to = false, "all services"
	} else if to != so.decided || so.asking {
		e.m.fatal("event %s of %s goes to %q, and the edge has decided for %q (asking %v)", name, so.id, to, so.decided, so.asking)
	}
	if !e.online {
		return ErrOffline
	}
	var n int
	fmt.Sscan(string(name), &n)
	e.published++
	e.m.note("%s: event %d to %s", so.id, n, to)
	e.send(modelWord{to: to, kind: "event", socket: so, event: n})
	return nil
}

func (e *modelEdge) Ask(s *Socket, r Request) (uint64, error) {
	so := s.Client.(*modelSocket)
	if r.Handover {
		so.asking = true
	}
	e.m.note("%s: asks %q, number %d, handover %v from %q", so.id, r.To, r.Number, r.Handover, r.From)
	if r.To != "" && (r.Number < so.number || r.Number == so.number && r.To != so.asked) {
		e.m.fatal("%s: %q is asked with number %d, after %q with %d", so.id, r.To, r.Number, so.asked, so.number)
	}
	to := r.To
	if to != "" {
		so.asked, so.number = to, r.Number
	}
	if to == "" {
		to = "all services"
	}
	if !e.online {
		return 0, ErrOffline
	}
	e.send(modelWord{to: to, kind: "connect", socket: so, number: r.Number, inquiry: r})
	return 0, nil
}

func (e *modelEdge) State(s *Socket, to string, known uint64) uint64 {
	so := s.Client.(*modelSocket)
	if to != "" && known != 0 && (known != toldNothing || to != so.decided || so.asking) { // the revision is always 0
		e.m.fatal("%s: revision %d is told %q, and the edge has decided for %q (asking %v)", so.id, known, to, so.decided, so.asking)
	}
	return 0
}

func (e *modelEdge) Ping(group, instance string) {
	e.send(modelWord{to: instance, kind: "ping", group: group})
}

func (e *modelEdge) Ended(s *Socket, to string, _ map[string][]string, _ []byte) {
	e.send(modelWord{to: to, kind: "ended", socket: s.Client.(*modelSocket)})
}

func (e *modelEdge) Changed(s *Socket, to string, number uint64) {
	e.send(modelWord{to: to, kind: "changed", socket: s.Client.(*modelSocket), number: number})
}

func (e *modelEdge) Marker(to, _ string) { e.send(modelWord{to: to, kind: "marker"}) }

func (e *modelEdge) Died(instance string) { e.m.note("edge %d: %s has died", e.n, instance) }

func (e *modelEdge) Undecided(*Socket, Reason, bool) {}

// take makes the edge read a message.
func (e *modelEdge) take(w modelWord) {
	id := ""
	if w.socket != nil {
		id = w.socket.id
	}
	if w.kind != "beat" {
		e.m.note("edge %d gets %s of %s, number %d %s", e.n, w.kind, w.from, w.number, id)
	}
	about := msg.InstanceAnnouncement{Group: w.group, Instance: w.from, Owns: true, Namespaces: []string{"/chat"}}
	if w.group == "chat" {
		about.Namespaces = []string{"/ch*"} // less specific than that of group a, which does not serve it
	}
	switch w.kind {
	case "hello", "beat":
		e.table.Hello(about, w.kind == "hello")
	case "leaving":
		e.table.Leaving(about, func(_ int, markers []string) {
			e.send(modelWord{to: w.from, kind: "leaving answer", number: uint64(len(markers))})
		})
	case "left", "bye":
		e.table.Left(about, w.kind == "bye")
	case "pong":
		e.table.Pong(w.from, false)
	case "owns nothing":
		e.table.OwnsNothing(w.from)
	case "not owner":
		if s := w.socket; !s.gone {
			e.table.NotOwner(s.owner, w.from, w.number)
		}
	case "503 event", "503 changed":
		if !w.socket.gone {
			e.table.Doubt(w.socket.owner)
		}
	case "503 ping":
		e.table.Pong(w.to, true)
	case "503 connect":
		e.answer(w, Answer{Kind: NoResponders})
	case "admission":
		e.answer(w, Answer{Kind: Admission, Number: w.number, From: w.from})
	case "again":
		e.answer(w, Answer{Kind: AskAgain, Number: w.number, From: w.from})
	case "not mine":
		e.answer(w, Answer{Kind: NotMine, Number: w.number, From: w.from})
	case "pending":
		e.answer(w, Answer{Kind: Pending, Number: w.number, From: w.from})
	}
}

func (e *modelEdge) answer(w modelWord, a Answer) {
	s := w.socket
	if s.gone && e.table.Ended(s.id) == nil {
		if a.Kind == Admission {
			e.Changed(s.owner, a.From, a.Number)
		}
		return
	}
	switch e.table.Answer(s.owner, a).Verdict {
	case Owned, Taken, Assigned:
		e.table.Release(s.owner)
		s.isLive, s.decided, s.asking = true, w.from, false
	}
}

// run does the work that the edge's goroutines have done up to now.
func (e *modelEdge) run() {
	m := e.m
	if e.frozen {
		return
	}
	if len(e.worker) > 0 && (m.calm || m.random.IntN(2) == 0 || m.now.Sub(e.workAt) > 200*time.Millisecond) {
		e.workAt = m.now
		for range min(len(e.worker), 1+m.random.IntN(20)) {
			fn := e.worker[0]
			e.worker = e.worker[1:]
			fn()
		}
	}
	if since := m.now.Sub(e.ticked); since >= TickEvery {
		e.table.Tick(!e.online || e.isNew || since > msg.BeatEvery)
		e.isNew = false
		e.ticked = m.now
	}
	if !m.now.Before(e.due) {
		e.table.Due()
		e.due = m.now.Add(max(e.table.Wait(), time.Millisecond))
	}
	if m.now.Sub(e.beat) >= msg.BeatEvery {
		e.beat = m.now
		e.send(modelWord{to: "all instances", kind: "edge beat"})
	}
}
