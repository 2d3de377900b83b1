package edge

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"partyline/bus"
	"partyline/edge/owner"
	"partyline/internal/buffers"
	"partyline/internal/liveness"
	"partyline/subjects"
	"partyline/wire/msg"
)

// maxAnnouncement is how long the body of an instance's announcement may be, in bytes: it has a few names or patterns.
const maxAnnouncement = 16 << 10

// ownerWire is how Edge.owners and services speak to each other.
type ownerWire struct{ *Edge }

func (w ownerWire) Connected() bool { return w.set.Bus.Connected() }

func (w ownerWire) Do(fn func()) { w.out.Do(fn) }

func (w ownerWire) AfterSubscribed(fn func()) { w.out.AfterSubscribedOrOffline(fn) }

func (w ownerWire) Event(s *owner.Socket, to string, event, reply []byte, header map[string][]string, body []byte) error {
	subject := w.prefix.AppendOwn(make([]byte, 0, 128), s.Client.(ownedSocket).socket.Namespace.Token, to, asString(event))
	return w.up.Publish(subject, reply, header, body)
}

func (w ownerWire) Ask(o *owner.Socket, q owner.Request) (rev uint64, err error) {
	s := o.Client.(ownedSocket).socket
	subject := w.prefix.AppendOwn(nil, s.Namespace.Token, q.To, msg.EventConnect)
	header := bus.Header{msg.HeaderTimeout: {strconv.FormatInt(s.Edge.rules.ConnectTimeout.Milliseconds(), 10)}}
	if q.To != "" {
		header[msg.HeaderAssignment] = []string{strconv.FormatUint(q.Number, 10)}
	}
	w.reg.Decide(s)
	var handover *msg.State
	if q.Handover {
		state := w.state(s)
		state.From, rev, handover = q.From, state.Rev, &state
		if edge, _, _ := subjects.SplitSocketID(s.ID); edge != w.set.ID {
			state.Edge = w.set.ID
		}
		state.Recovered = s.Edge.recovered != nil && !s.Edge.recovered.isOwned.Load()
		state.Decides = state.Recovered && s.Edge.rules.Recovery.AskAgain && q.From != ""
	}
	err = w.publishConnect(subject, w.prefix.AppendConnectReply(nil, s.Namespace.Token, s.ID), header, s, handover)
	if errors.Is(err, bus.ErrTooLarge) {
		if q.Handover {
			w.complaints.about(s.Namespace.Name, "a connect request with a handover could not be published", err)
		} else {
			s.Edge.conn.reject(s, refusalWords[refusedHandshake], nil, refusedHandshake)
		}
		return rev, nil
	}
	return rev, err
}

func (w ownerWire) State(o *owner.Socket, to string, known uint64) uint64 {
	s := o.Client.(ownedSocket).socket
	state := w.state(s)
	if state.Rev != known && to != "" {
		state.ID, state.Transport = s.ID, s.Edge.conn.session.Transport()
		// Without a connection the instance may miss it; then it misses its beats as well, and others take over.
		_ = w.Event(o, to, []byte(msg.EventConnect), nil, nil, state.Body())
	}
	return state.Rev
}

func (w ownerWire) Ping(group, instance string) {
	subject := w.prefix.InstanceAnnouncement(group, instance, subjects.WordPing)
	// If it cannot be sent, this edge does not receive the instance's beats either.
	_ = w.up.Publish([]byte(subject), []byte(w.prefix.Pong(w.set.ID, instance)), nil, []byte("[]"))
}

func (w ownerWire) Ended(o *owner.Socket, to string, header map[string][]string, body []byte) {
	s := o.Client.(ownedSocket).socket
	w.answers.tellOwner(s.Namespace.Token, to, msg.EventDisconnect, string(w.answers.address(nil, s)), header, body, true)
}

func (w ownerWire) Changed(o *owner.Socket, to string, number uint64) {
	s := o.Client.(ownedSocket).socket
	w.answers.ownerChanged(s.Namespace.Token, s.ID, to, number)
}

func (w ownerWire) Marker(to, namespace string) {
	token, _ := subjects.AppendNamespace(nil, namespace) // of a socket
	w.answers.tellOwner(string(token), to, msg.EventDisconnecting, "", nil, msg.EdgeNotice{Edge: w.set.ID}.Body(msg.EventDisconnecting), false)
}

func (w ownerWire) Died(instance string) { w.out.Do(func() { w.pauses.forgetInstance(instance) }) }

func (w ownerWire) Undecided(o *owner.Socket, why owner.Reason, refuse bool) {
	switch s := o.Client.(ownedSocket).socket; {
	case refuse && why != owner.Again:
		s.Edge.conn.reject(s, refusalWords[refusedNoService], nil, refusedNoService)
	case why == owner.NoService:
		w.complaints.unanswered(s.Namespace.Name, refusedNoService)
	case why == owner.Silence:
		w.complaints.unanswered(s.Namespace.Name, refusedTimeout)
	}
}

// publishConnect publishes a connect request or notice.
func (w ownerWire) publishConnect(subject, reply []byte, header bus.Header, s *socket, handover *msg.State) error {
	// The rest fits into 1 KiB, except for a handover and a recovered state.
	lent := buffers.Room(len(s.Edge.auth) + len(s.Edge.conn.request) + 1<<10)
	body := appendHandshake(append((*lent)[:0], msg.ConnectHead...), s)
	if r := s.Edge.recovered; r == nil || handover != nil {
		body = msg.Connect(body, handover)
	} else {
		had := r.withRecord(s, s.Edge.shown(), false)
		body = msg.ConnectRecovered(body, msg.Recovered{Rooms: had.Rooms, User: had.User, Data: had.Data})
	}
	defer buffers.PutGrown(lent, body)
	return w.up.Publish(subject, reply, header, body)
}

// findOwner notes who gets the events of a socket that is being admitted. Of one that the edge itself admits that may be
// an instance that is asked behind CONNECT. The connection's mu is held.
func (e *Edge) findOwner(s *socket, d *decision, out owner.Outcome) {
	switch c := &s.Edge; {
	case c.owner != nil:
		c.group, c.repeated = d.group, out.Repeated
		c.noticed = out.Verdict == owner.Owned && !out.Open
		if out.Verdict == owner.Admitted {
			c.owner = nil
		}
	case !c.rules.AsksService():
		number := uint64(0)
		if c.recovered != nil {
			number = c.recovered.Record.Assignment
		}
		c.owner = e.owners.Assign(ownedSocket{s}, number)
	}
}

// notice publishes the connect notice of a socket about which all services are told, and none is asked.
func (e *Edge) notice(s *socket) {
	subject := e.prefix.AppendOn(nil, s.Namespace.Token, msg.EventConnect)
	var header bus.Header
	if g := s.Edge.granted.Load(); g != nil && g.issuer != "" {
		header = bus.Header{msg.HeaderUser: {g.User}}
	}
	if err := (ownerWire{e}).publishConnect(subject, e.answers.address(nil, s), header, s, nil); err != nil {
		e.complaints.about(string(subject), "a connect notice could not be published", err)
	}
}

// state is what is known of a socket.
func (w ownerWire) state(s *socket) msg.State {
	v, isMember := w.reg.View(s)
	if r := s.Edge.recovered; r != nil && !isMember {
		had := r.withRecord(s, s.Edge.shown(), false)
		return msg.State{Rooms: had.Rooms, User: had.User, Data: had.Data}
	}
	return msg.State{Rev: v.Rev, Rooms: subjects.RoomNames(v.Rooms), User: v.User, Data: v.Data}
}

// changed notifies the owner of a socket, if it has one, that its rooms or data have changed. rooms is as for
// touch. The registry's lock may be held.
func (e *Edge) changed(s *socket, rooms []string) {
	if k := s.Edge.ticket; k != nil {
		k.Changed(s.RoomNames())
	}
	if s.Edge.owner != nil {
		e.owners.Changed(s.Edge.owner)
	}
	e.touch(s, "", rooms)
}

// handleInstance takes an announcement of an instance.
func (w ownerWire) handleInstance(m *bus.Message, sub *subjects.Subject) {
	if !w.owners.Hears(sub.Group, sub.Instance, sub.Word) {
		return
	}
	var a msg.InstanceAnnouncement
	if len(m.Data) <= maxAnnouncement {
		a, _ = msg.ParseInstanceAnnouncement(m.Data) // of a bad one only the subject counts
	}
	a.Group, a.Instance = sub.Group, sub.Instance
	switch sub.Word {
	case subjects.WordHello, subjects.WordBeat:
		w.owners.Hello(a, sub.Word == subjects.WordHello)
	case subjects.WordLeaving:
		asked := *m
		w.owners.Leaving(a, func(sockets int, markers []string) {
			w.answers.send(&asked, nil, msg.HandedOver{Edge: w.set.ID, Sockets: sockets, Markers: markers}.Body())
		})
	case subjects.WordLeft, subjects.WordBye:
		w.owners.Left(a, sub.Word == subjects.WordBye)
		w.out.Do(func() { w.pauses.forgetInstance(a.Instance) })
	}
}

// handleNotOwner takes an instance's word that it got an event of a socket that it does not own, and reports whether
// it was one.
func (w ownerWire) handleNotOwner(m *bus.Message, sub *subjects.Subject, s *socket) bool {
	from := m.Header.Get(msg.HeaderFrom)
	if m.Header.Get(msg.HeaderError) != msg.ErrorNotOwner || from == "" { // without it, a service refuses with that text
		return false
	}
	if s != nil && (s.Namespace.Token != sub.Namespace || s.Edge.owner == nil) {
		return true
	}
	w.stats.eventsFailed.Inc()
	if s != nil { // else it has ended meanwhile
		w.owners.NotOwner(s.Edge.owner, from, msg.Assignment(m.Header.Get(msg.HeaderAssignment)))
	}
	return true
}

// Missed says that services may have taken this edge for dead, and with it the sockets that they owned. told says that
// another edge said so; else this edge may have noticed by itself just before. It never waits.
func (e *Edge) Missed(told bool) { e.owners.Missed(told) }

// Attend watches over the instances that own sockets, and over the sockets that wait to be admitted, until ctx ends.
func (e *Edge) Attend(ctx context.Context) {
	ticker := time.NewTicker(owner.TickEvery)
	defer ticker.Stop()
	repeat := time.NewTimer(0)
	defer repeat.Stop()
	var listener liveness.Listener
	began := e.set.Bus.BeganAt()
	e.owners.Clock.Tick(time.Now())
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.wake:
			repeat.Reset(e.owners.Wait())
			continue
		case <-repeat.C:
			for _, o := range e.owners.Due() {
				timeIsUp(o.Client.(ownedSocket).socket)
			}
			repeat.Reset(e.owners.Wait())
			continue
		case <-ticker.C:
		}
		now, before := time.Now(), began
		began = e.set.Bus.BeganAt()
		isNew := !began.Equal(before) // perhaps so soon that the one before seems not to have ended
		if isNew {
			e.owners.Reconnected(began)
		}
		e.owners.Tick(listener.WasDeaf(e.set.Bus.Connected(), now, msg.BeatEvery) || isNew)
		e.pauses.expire(now)
	}
}

// ownedSocket is a socket as package owner sees it.
type ownedSocket struct{ socket *socket }

func (o ownedSocket) ID() string                    { return o.socket.ID }
func (o ownedSocket) Namespace() string             { return o.socket.Namespace.Name }
func (o ownedSocket) ConnectTimeout() time.Duration { return o.socket.Edge.rules.ConnectTimeout }
func (o ownedSocket) Charge(n int)                  { o.socket.Edge.conn.session.Charge(n) }
func (o ownedSocket) Refuses() bool                 { return o.socket.Edge.rules.Refuses() }
func (o ownedSocket) Siblings() []*owner.Socket     { return owned(o.socket.Edge.conn, o.socket) }

// tokenHeader is the value of a header that must be one token, "" if it is none.
func tokenHeader(h bus.Header, name string) string {
	if value := h.Get(name); subjects.IsToken(value) {
		return strings.Clone(value)
	}
	return ""
}
