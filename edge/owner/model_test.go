package owner

import (
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"partyline/internal/throttle"
)

// The model: edges with their real Tables, instances that follow docs/subjects.md, clients, and NATS between them.
// Every step is drawn from a seed, so that a failure can be repeated.
//
// Each edge and instance has one connection to NATS, with a queue in each direction. NATS delivers in order, and late.
// It reports 503 where there is no subscriber, unless a tap hides that. A cut connection loses the ends of both
// queues. A connection can also stay open without delivering anything (a black hole). A process can be frozen, and
// continue later as if nothing had happened.
type model struct {
	t         *testing.T
	random    *rand.Rand
	now       time.Time
	edges     []*modelEdge
	instances []*modelInstance
	kind      int  // the kinds of faults
	tap       bool // hides 503
	sessions  bool // sockets share sessions
	open      bool // two of three sockets are admitted without an owner, and then assigned
	calm      bool // no more faults: messages take at most a tenth of a second
	started   int  // instances so far
	step      int
	trace     []string
	ghosts    []modelWord // under way when their connection ended; they come late
}

// The kinds of a model.
const (
	anything = iota
	lossless // no message is lost: then an instance owns exactly what the edge says that it owns
	orderly  // only edges freeze, and instances leave: then no event is lost
	modelKinds
)

// modelNode is a node with a connection to NATS.
type modelNode struct {
	frozen    bool
	online    bool        // it has noticed no fault of its connection
	blackHole bool        // what it sends, and what is sent to it, is lost
	toNATS    []modelWord // in order
	fromNATS  []modelWord
}

// modelWord is a message.
type modelWord struct {
	at      time.Time // when it was sent
	to      string    // an instance's name, "edge n", "all instances", "all edges", "all services"
	kind    string
	from    string // the sender's name
	group   string
	edge    int
	socket  *modelSocket
	number  uint64
	event   int
	inquiry Request
}

func newModel(t *testing.T, seed uint64, sessions, open bool) *model {
	m := &model{t: t, sessions: sessions, open: open, random: rand.New(rand.NewPCG(seed, 1)), now: time.Unix(1_800_000_000, 0)}
	m.tap, m.kind = m.random.IntN(2) == 0, m.random.IntN(modelKinds)
	for n := range 1 + m.random.IntN(3) {
		e := &modelEdge{m: m, n: n, modelNode: modelNode{online: true}, ticked: m.now, beat: m.now, due: m.now}
		e.table = New(Settings{
			Wire: e, Log: throttle.New(slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: slog.LevelError}))),
			Wake: func() { e.due = m.now }, Now: func() time.Time { return m.now }, Random: m.random.IntN,
		}, &e.failed)
		e.table.Clock.Tick(m.now)
		m.edges = append(m.edges, e)
	}
	for range 1 + m.random.IntN(3) {
		m.start(m.random.IntN(8) == 0)
	}
	return m
}

// modelID is the id of a socket.
var modelID = regexp.MustCompile(`edge\d+\.\d+`)

func (m *model) note(format string, args ...any) {
	if len(m.trace) > 20000 {
		m.trace = m.trace[10000:]
	}
	m.trace = append(m.trace, m.now.Format("04:05.000 ")+fmt.Sprintf(format, args...))
}

func (m *model) fatal(format string, args ...any) {
	m.t.Helper()
	what := fmt.Sprintf(format, args...)
	for _, i := range m.instances {
		what += fmt.Sprintf("\n%s: alive %v leaving %v hangs %v slow %v narrow %v online %v waiting %d", i.name, i.alive, i.leaving, i.hangs, i.slow, i.narrow, i.online, len(i.lane))
	}
	id := modelID.FindString(what)
	lines := slices.DeleteFunc(m.trace, func(line string) bool { // without those of other sockets
		other := modelID.FindString(line)
		return id != "" && other != "" && other != id
	})
	m.t.Fatalf("step %d: %s\n%s", m.step, what, strings.Join(lines[max(0, len(lines)-150):], "\n"))
}

// start begins an instance.
func (m *model) start(narrow bool) {
	m.started++
	i := &modelInstance{
		m: m, group: "chat", alive: true, modelNode: modelNode{online: true}, confirmed: m.now, beat: m.now,
		owned: map[*modelSocket]uint64{}, known: map[*modelSocket]uint64{}, decided: map[*modelSocket]bool{},
		heard: map[int]time.Time{}, mourned: map[int]bool{}, slow: m.random.IntN(4) == 0,
	}
	if narrow {
		i.group, i.narrow = "a", true
	}
	i.name = fmt.Sprintf("%s-%d", i.group, m.started)
	m.instances = append(m.instances, i)
	for n := range m.edges {
		i.heard[n] = m.now // they answer its hello first
	}
	m.note("%s starts, slow %v", i.name, i.slow)
	i.say("hello")
}

func (m *model) client() {
	e := m.edges[m.random.IntN(len(m.edges))]
	if e.frozen {
		return
	}
	switch n := len(e.sockets); {
	case n < 3 || n < 8 && m.random.IntN(50) == 0:
		s := &modelSocket{edge: e, id: fmt.Sprintf("edge%d.%d", e.n, m.step), session: m.step}
		if m.step%2 == 0 && m.sessions && n > 0 {
			s.session = e.sockets[n-1].session
		}
		if s.isLive = m.open && m.step%3 > 0; s.isLive {
			s.owner = e.table.Assign(s, 0)
		} else {
			s.owner = e.table.Begin(s)
		}
		if s.owner == nil {
			m.note("%s has no owner", s.id)
			return // all services get its events, past the table
		}
		e.sockets = append(e.sockets, s)
		e.Do(func() { e.table.Ask(s.owner) })
	default:
		s := e.sockets[m.random.IntN(n)]
		switch {
		case m.random.IntN(200) == 0:
			m.note("%s ends", s.id)
			s.gone = true
			e.sockets = slices.DeleteFunc(e.sockets, func(other *modelSocket) bool { return other == s })
			e.table.End(s.owner, nil, nil)
		case m.sessions && m.step%50 == 0:
			e.table.Upgraded(s.owner)
		case s.isLive:
			s.sent++
			e.emitted++
			if err := e.table.Event(s.owner, fmt.Append(nil, s.sent), nil, nil, nil); err != nil {
				e.refused++
			}
		}
	}
}

// account checks that every event is published, held, or counted as failed, and that what is held is charged.
func (m *model) account() {
	for _, e := range m.edges {
		held := 0
		seen := map[*Socket]bool{}
		count := func(s *Socket) {
			if !seen[s] {
				seen[s] = true
				want := s.bytes
				for _, event := range s.held {
					if !event.end {
						held++
						want += heldCost
					}
				}
				if got := s.Client.(*modelSocket).charged; got != want {
					m.fatal("socket %s was charged %d bytes, want %d", s.Client.ID(), got, want)
				}
			}
		}
		for _, s := range e.sockets {
			count(s.owner)
		}
		for _, s := range e.table.ended {
			count(s)
		}
		for _, s := range e.leftovers() {
			count(s)
		}
		if sum := e.published + e.refused + int(e.failed.Value()) + held; sum != e.emitted {
			m.fatal("edge %d: %d events, of which %d published, %d failed at once, %d later, %d are held", e.n, e.emitted, e.published, e.refused, e.failed.Value(), held)
		}
	}
}

// leftovers are sockets whose end the worker has not processed yet.
func (e *modelEdge) leftovers() (list []*Socket) {
	for _, r := range e.table.all {
		list = append(list, r.socket)
	}
	for _, i := range e.table.instances.all {
		list = append(list, i.sockets...)
	}
	return list
}

// pass lets time pass.
func (m *model) pass(d time.Duration) {
	m.now = m.now.Add(d)
	m.deliver()
	for _, e := range m.edges {
		e.run()
	}
	for _, i := range m.instances {
		i.run()
	}
}

func (m *model) chaos(steps int) {
	m.calm = false
	for range steps {
		m.step++
		switch m.random.IntN(10) {
		case 0, 1, 2, 3, 4:
			m.client()
		case 5:
			if m.random.IntN(20) == 0 {
				m.fault()
			}
		case 6:
			m.pass(time.Duration(m.random.IntN(200)) * time.Millisecond)
		default:
			m.pass(time.Duration(m.random.IntN(20)) * time.Millisecond)
		}
	}
	m.account()
}

// settle ends all faults. After five seconds it checks that every socket has an owner.
func (m *model) settle() {
	m.calm = true
	for _, e := range m.edges {
		e.frozen = false
		m.healEdge(e)
	}
	for _, i := range m.instances {
		i.frozen = false
		m.healInstance(i)
	}
	if !slices.ContainsFunc(m.instances, func(i *modelInstance) bool { return i.alive && !i.leaving && !i.narrow && !i.hangs }) {
		m.start(false)
	}
	bound := 5 * time.Second
	if slices.ContainsFunc(m.instances, func(i *modelInstance) bool { return i.hangs }) {
		bound = 20 * time.Second // an instance that hangs may be asked first, and again after 2, 4 and 8 seconds
	}
	for until := m.now.Add(bound); m.now.Before(until); m.pass(10 * time.Millisecond) {
		m.step++
		if slices.ContainsFunc(m.instances, func(i *modelInstance) bool { return i.leaving }) {
			until = m.now.Add(bound) // lost messages delay it for a bounded time
		}
		if until.Sub(m.now) > 500*time.Millisecond && m.random.IntN(3) == 0 {
			m.client()
		}
	}
	m.account()
	byName := map[string]*modelInstance{}
	for _, i := range m.instances {
		byName[i.name] = i
	}
	for _, e := range m.edges {
		for _, s := range e.sockets {
			if r := s.owner.request; r != nil && (m.now.Sub(r.since) < time.Second || bound > 5*time.Second && m.now.Sub(r.since) < bound-5*time.Second) {
				continue // it is new
			}
			owner := s.owner.instance
			var number uint64 // as the owner knows it; an answer to an earlier request may have counted
			if owner != nil && byName[owner.name] != nil {
				number = byName[owner.name].owned[s]
			}
			switch {
			case s.isLive && s.decided == "" && s.owner.request == nil && !s.owner.holding && owner == nil: // none was left to be the first
				continue
			case s.owner.request != nil:
				m.fatal("%s has no owner: it asks %+v since %s of %+v", s.id, owner, m.now.Sub(s.owner.request.since), e.table.instances.all)
			case m.kind == orderly && s.handled < s.sent:
				m.fatal("%s: of %d events %d were handled", s.id, s.sent, s.handled)
			case number == 0 || number < s.owner.accepted || number > s.owner.number || s.owner.holding:
				m.fatal("%s: the edge says that %+v owns it with number %d to %d, not %d, holding %v", s.id, owner, s.owner.accepted, s.owner.number, number, s.owner.holding)
			}
			for _, i := range m.instances {
				if _, owns := i.owned[s]; owns && i.name != owner.name && m.kind != anything {
					m.fatal("%s: %s owns it, and %s, too", s.id, owner.name, i.name)
				}
			}
		}
	}
}

// play runs one seed.
func play(t *testing.T, seed uint64, sessions, open bool, rounds, steps int) {
	t.Helper()
	m := newModel(t, seed, sessions, open)
	defer func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	}()
	for range rounds {
		m.chaos(steps)
		m.settle()
	}
}

// The invariants, whatever happens to edges, instances and the network. No event is handled twice or out of order.
// Each is published to the owner that the edge decided for, held, or counted. Five seconds after the last fault every
// socket has an owner.
func TestModel(t *testing.T) {
	seeds := 1000 // two million steps
	switch {
	case raceEnabled:
		seeds = 10
	case testing.Short():
		seeds = 100
	}
	for seed := range uint64(seeds) {
		play(t, seed, seed%2 == 1, seed%4 > 1, 5, 500)
	}
}

// Seeds that have failed.
func TestModelSeeds(t *testing.T) {
	for _, seed := range []uint64{300, 588, 671, 909, 989, 3337, 12114, 14142, 15348} {
		for n := range 4 {
			t.Run(fmt.Sprint(seed, n), func(t *testing.T) { play(t, seed, n&1 > 0, n&2 > 0, 5, 500) })
		}
	}
}
