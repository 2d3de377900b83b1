package backend

import (
	"bytes"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/wire/msg"
)

// Bounds of what an instance remembers of its decisions. An edge asks again when an answer was lost or is slow.
const (
	// askedFor is how long an edge asks if its request does not say it: the default of connect_timeout.
	askedFor          = 20 * time.Second
	rememberedLonger  = 5 * time.Second
	mostDecisions     = 100_000
	mostDecisionBytes = 64 << 20
	decisionOverhead  = 256 // bytes that one costs beside its answer
	// neverMade is when a decision is forgotten whose middleware does not return.
	neverMade = 10 * time.Minute
)

// decision is what this instance has decided, or is deciding, about the connect request of a socket. A repeated
// request gets the same answer, and no middleware runs again.
type decision struct {
	key  string        // the socket's id, and of one that has come back also when; static
	id   string        // of the socket; static
	keep time.Duration // how long it is remembered once it is made; static

	latest *nats.Msg   // guarded by decisions.mu: a further request that came before it was made; nil: none
	made   bool        // guarded by decisions.mu
	header nats.Header // of the answer; nil for none; static once made
	body   []byte      // of the answer; static once made
	rooms  []string    // into which the answer puts the socket; set before it is made, static then
	socket *Socket     // that was admitted, until told, or as long as this instance owns it; nil for one that was refused

	told  bool      // guarded by decisions.mu: the answer was published, and the connection handlers run or have run
	until time.Time // guarded by decisions.mu: when it is forgotten
	gone  bool      // guarded by decisions.mu: forgotten
}

func (d *decision) size() int { return len(d.body) + decisionOverhead }

// decisions are those that are remembered.
type decisions struct {
	mu    sync.Mutex
	byKey map[string]*decision // guarded by mu; by decision.key
	made  []*decision          // guarded by mu: oldest first; some may be gone
	bytes int                  // guarded by mu: size of made
}

// begin finds the decision with a key, or begins one.
func (ds *decisions) begin(key, id string, keep time.Duration, now time.Time) (d *decision, first bool) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	if d = ds.byKey[key]; d != nil {
		return d, false
	}
	d = &decision{key: key, id: id, keep: keep, until: now.Add(neverMade)}
	ds.byKey[key] = d
	return d, true
}

// recoveredMember is in each connect request for a socket whose client has come back.
var recoveredMember = []byte(`"recovered":`)

// decisionKey returns the key of the decision that a connect request asks for. A client that comes back asks again for
// the same socket, and the former decision does not count.
func decisionKey(m *nats.Msg, id string) string {
	if !bytes.Contains(m.Data, recoveredMember) {
		return id
	}
	c, err := parseConnect(m.Data)
	if err != nil || !c.isRecovered() {
		return id
	}
	return recoveredKey(id, c.Issued)
}

func recoveredKey(id string, issued int64) string { return id + " " + strconv.FormatInt(issued, 36) }

// repeat notes a further request, which a decision is to answer when it is made. It reports whether it is, and whether
// its answer was published.
func (ds *decisions) repeat(d *decision, m *nats.Msg) (made, told bool) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	if !d.made {
		d.latest = m
	}
	return d.made, d.told
}

// make records what the decision is. If there are too many, it forgets the oldest.
func (ds *decisions) make(d *decision, so *Socket, header nats.Header, body []byte, now time.Time) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	d.made, d.socket, d.header, d.body, d.until = true, so, header, body, now.Add(d.keep)
	if d.gone { // it was forgotten while the middleware ran
		return
	}
	ds.made = append(ds.made, d)
	ds.bytes += d.size()
	for len(ds.made) > mostDecisions || ds.bytes > mostDecisionBytes {
		ds.remove(ds.made[0])
		ds.made[0] = nil
		ds.made = ds.made[1:]
	}
}

// remove forgets a decision. mu must be held.
func (ds *decisions) remove(d *decision) {
	if d.gone {
		return
	}
	d.gone = true
	if ds.byKey[d.key] == d {
		delete(ds.byKey, d.key)
	}
	if d.made {
		ds.bytes -= d.size()
	}
	if d.socket != nil && !d.told {
		d.socket.own.end()
	}
}

// asked returns the request that a decision is to answer, whether its answer was published, and the socket. When that
// is published for the first time, the request is the latest, because only its assignment counts for sure. m is the
// first.
func (ds *decisions) asked(d *decision, m *nats.Msg) (request *nats.Msg, told bool, so *Socket) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	if d.latest != nil {
		m, d.latest = d.latest, nil
	}
	return m, d.told, d.socket
}

// tell records that an answer was published, and reports whether it was the first.
func (ds *decisions) tell(d *decision) (first bool) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	first = !d.told
	d.told = true
	if d.socket != nil && d.socket.own == nil {
		d.socket = nil // only its answer is needed from now on
	}
	return first
}

// drop forgets a decision that does not count. A further request for the socket begins a new one.
func (ds *decisions) drop(d *decision) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	ds.remove(d)
}

// ended forgets the decision about a socket that has gone.
func (ds *decisions) ended(so *Socket) {
	key := so.id
	if so.recovered {
		key = recoveredKey(so.id, so.handshake.Issued)
	}
	ds.mu.Lock()
	defer ds.mu.Unlock()
	if d := ds.byKey[key]; d != nil && d.told {
		ds.remove(d)
	}
}

// forget removes old decisions.
func (ds *decisions) forget(now time.Time) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	for _, d := range ds.byKey {
		if now.After(d.until) {
			ds.remove(d)
		}
	}
	ds.made = slices.DeleteFunc(ds.made, func(d *decision) bool { return d.gone })
	if len(ds.byKey) == 0 {
		ds.byKey, ds.made = make(map[string]*decision), nil // a crowd has come; its memory goes
	}
}

// keepFor is how long the decision about a connect request is remembered.
func keepFor(m *nats.Msg) time.Duration {
	asked := askedFor
	if ms, err := strconv.ParseInt(m.Header.Get(msg.HeaderTimeout), 10, 32); err == nil && ms > 0 {
		asked = time.Duration(ms) * time.Millisecond
	}
	return asked + rememberedLonger
}

// handleConnect puts the first request of a socket into its lane, or answers a repeated one. It must not block.
func (a *admissions) handleConnect(ns *Namespace, m *nats.Msg, from sender) {
	if !ns.rules.admits() || ns.rules.owned && !from.connect { // about an owned socket its owner is asked
		return
	}
	key, size := laneKey{ns.token, from.socket}, len(m.Data)+len(m.Subject)+len(m.Reply)
	if !from.connect { // the notice of a namespace that is open at the edge
		a.lanes.event(key, size, func() { a.admit(ns, m, from, &decision{id: from.socket}) })
		return
	}
	d, first := a.decisions.begin(decisionKey(m, from.socket), from.socket, keepFor(m), time.Now())
	if first {
		done := func() {}
		if ns.rules.owned {
			done = a.sayPending(m)
		}
		a.lanes.request(key, size, func() {
			a.admit(ns, m, from, d)
			done()
		}, func() {
			a.decisions.drop(d)
			done()
		})
		return
	}
	switch made, told := a.decisions.repeat(d, m); {
	case !made:
		a.answer(m, nats.Header{msg.HeaderPending: {a.presence.name()}})
	case told:
		a.tell(ns, m, from, d)
	default: // there was no connection when it was made, or it is being published now
		a.lanes.always(key, func() { a.tell(ns, m, from, d) })
	}
}

// tell publishes the answer of a decision. After the first time it runs the connection handlers; it is called in the
// socket's lane until then.
func (a *admissions) tell(ns *Namespace, m *nats.Msg, from sender, d *decision) {
	m, told, so := a.decisions.asked(d, m)
	counts, err := a.publishAnswer(ns, m, d, so, told)
	switch {
	case !counts && told: // the socket was given up meanwhile: the decision is not true any more
		a.decisions.drop(d)
		a.handleConnect(ns, m, from)
	case !counts:
		a.decisions.drop(d)
		a.answer(m, nats.Header{msg.HeaderError: {msg.ErrorAgain}})
	case err == nil && a.decisions.tell(d) && so != nil:
		a.calls.connected(so)
	}
}

// publishAnswer publishes the answer of a decision. An owned socket becomes this instance's own with the first answer,
// and must still be its own with further ones; counts is false if it cannot be, or is not.
func (a *admissions) publishAnswer(ns *Namespace, m *nats.Msg, d *decision, so *Socket, told bool) (counts bool, err error) {
	if so == nil || so.own == nil {
		return true, a.respond(ns, m, d)
	}
	// Close and mayFence wait until this answer is published, and come behind it.
	a.presence.assigning.RLock()
	defer a.presence.assigning.RUnlock()
	if told && (a.owners.find(so.id) != so || a.fence.isCutOff()) || !told && !a.mayOwn() {
		return false, nil
	}
	so.own.accept(assignment(m))
	if !told {
		a.owners.add(so, a.presence.name(), so.own.state())
	}
	if err = a.respond(ns, m, d); err != nil && !told {
		a.owners.remove(so)
	}
	return true, err
}

// respond publishes the answer of a decision. The edge confirms the rooms of an admission.
func (a *admissions) respond(ns *Namespace, m *nats.Msg, d *decision) error {
	answer := &nats.Msg{Subject: m.Reply, Header: a.answerHeader(m, d.header), Data: d.body}
	edge := a.owners.holder(d.id)
	c, err := a.unconfirmed.begin(ns.token, d.rooms, edge, false)
	if c != nil {
		answer.Reply = c.reply
	}
	if err == nil {
		if err = a.publish(answer); err != nil {
			a.unconfirmed.finish(c, nil)
		}
	}
	if err != nil {
		a.report(ns, "connect", d.id, err)
	}
	return err
}

// answer answers a request with what is no decision. If the answer is lost, the edge repeats the request.
func (a *admissions) answer(m *nats.Msg, header nats.Header) {
	if err := a.reply(m.Reply, a.answerHeader(m, header), nil); err != nil {
		a.complaints.Warn("an edge's connect request could not be answered", "", err)
	}
}
