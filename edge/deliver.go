package edge

import (
	"strconv"
	"sync/atomic"

	"partyline/bus"
	"partyline/edge/owner"
	"partyline/edge/registry"
	"partyline/engine"
	"partyline/subjects"
	"partyline/wire/eio"
	"partyline/wire/msg"
	"partyline/wire/sio"
)

// deliveries hands frames to sockets. It is owned by the NATS reader, so that frames keep their order.
type deliveries struct {
	out        bus.Outbox
	writes     *engine.Fanout // to sessions, until flush
	limits     *atomic.Pointer[Limits]
	stats      *stats
	complaints *complaints
	name       []byte // scratch for event names
}

// deliver hands a frame to a socket, or keeps it until the socket's CONNECT is out, or until it has the past of a
// room. It returns what became of the frame: Queued also while it waits.
func (d *deliveries) deliver(s *socket, f *eio.Frame) engine.Sent {
	p := s.Edge.past
	return d.pass(s, f, p != nil && len(p.waiting) > 0)
}

// pass is deliver. With isBehind the frame waits behind the past of a room; else it is its turn.
func (d *deliveries) pass(s *socket, f *eio.Frame, isBehind bool) engine.Sent {
	if !isBehind && s.Life() >= registry.Live {
		return d.send(s, f)
	}
	c := s.Edge.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if life := s.Life(); life == registry.Gone || life == registry.Live && !isBehind { // since just now
		return d.send(s, f)
	}
	if c.waiting+c.session.Waiting()+f.Size() > d.limits.Load().QueueBytes {
		if !c.closed {
			c.closed = true
			d.out.Do(func() { c.session.Close(engine.QueueOverflow) })
		}
		return engine.Overflow
	}
	if p := s.Edge.past; isBehind {
		p.waiting = append(p.waiting, waiting{frame: f})
		p.bytes += f.Size()
	} else {
		d.stats.deliveries.Add(f.Messages())
		s.Edge.waiting = append(s.Edge.waiting, f)
		s.Edge.waitingBytes += f.Size()
	}
	c.waiting += f.Size()
	c.session.Charge(f.Size())
	return engine.Queued
}

// send hands a frame to the session of a socket whose CONNECT is out.
func (d *deliveries) send(s *socket, f *eio.Frame) engine.Sent {
	if s.Life() == registry.Gone {
		return engine.Gone
	}
	d.stats.deliveries.Add(f.Messages())
	sent := d.writes.Send(s.Edge.conn.session, f)
	if sent == engine.Dropped {
		d.stats.volatileDropped.Inc()
	}
	return sent
}

// encode is the frame of a message in a dialect. One that cannot be sent at all is dropped like any other publish that
// cannot be right, and nil: larger than a session's whole queue, it could reach no client, however idle, and would
// close every session that it is for.
func (d *deliveries) encode(p *packet, to dialect) *eio.Frame {
	if p.failed[to] {
		return nil
	}
	frame, err := p.encoded(to, d.limits.Load().QueueBytes)
	if err != nil {
		if p.failed == ([dialects]bool{}) { // a message counts once
			d.complaints.drop(p.from, dropBadBody, err)
		}
		p.failed[to] = true
		return nil
	}
	if p.sent != nil {
		p.sent.Inc()
		p.sent = nil
	}
	return frame
}

// ack hands the ack of a service to a socket.
func (d *deliveries) ack(m *bus.Message, sub *subjects.Subject, s *socket) {
	text, attachments, err := d.content(m, false)
	if err != nil {
		d.complaints.drop(m, dropBadBody, err)
		return
	}
	n, _ := subjects.AckNumber(sub.Ack) // checked by Parse
	p := packet{
		kind: sio.Ack, namespace: s.Namespace.Name, hasID: true, id: n, body: text, attachments: attachments,
		options: options(m.Header), from: m, sent: &d.stats.acksOut,
	}
	if frame := d.encode(&p, s.Edge.conn.dialect); frame != nil {
		d.deliver(s, frame)
	}
}

// content takes the body of an event or of an ack apart.
func (d *deliveries) content(m *bus.Message, event bool) (text []byte, attachments [][]byte, err error) {
	d.name, text, attachments, err = msg.Content(d.name, m.Header, m.Data, event)
	return text, attachments, err
}

// options reads the headers that say how an event is sent.
func options(h bus.Header) eio.Options {
	if h == nil {
		return eio.Options{}
	}
	return eio.Options{
		Volatile:      msg.IsVolatile(h),
		NoCompression: h.Has(msg.HeaderCompress) && !msg.IsYes(h.Get(msg.HeaderCompress)),
	}
}

// targets finds the sockets that a message is for.
type targets struct {
	*registry.Registry[client]
	owners *owner.Table
}

// one returns the socket with an id if it is in a namespace, named as in subjects. Who may write to one namespace must
// not reach another through a socket's id: why is the reason to drop the message then.
func (t targets) one(id, namespace string) (s *socket, why int) {
	switch s = t.Find(id); {
	case s == nil:
		return nil, dropUnknownSocket
	case s.Namespace.Token != namespace:
		return nil, dropWrongNamespace
	}
	return s, notDropped
}

// of returns the sockets that a command is about; found is false for a single socket that is not there.
func (t targets) of(m *bus.Message, sub *subjects.Subject) (sockets []*socket, found bool) {
	if sub.Target == subjects.TargetSocket {
		s, _ := t.one(sub.Socket, sub.Namespace)
		return []*socket{s}, s != nil
	}
	return t.many(m, sub, m.Header[msg.HeaderExcept]), true
}

// many returns the sockets that a message to a room or to all is for, without those that names in except stand for.
// The list must not be changed.
func (t targets) many(m *bus.Message, sub *subjects.Subject, except []string) []*socket {
	list := t.Select(sub, m.Header[msg.HeaderRooms], except)
	if !m.Header.Has(msg.HeaderOwnedBy) {
		return list
	}
	instance := m.Header.Get(msg.HeaderOwnedBy)
	var owned []*socket
	for _, s := range list {
		if o := s.Edge.owner; o != nil && t.owners.Owns(instance, o) {
			owned = append(owned, s)
		}
	}
	return owned
}

// checkpointReturned notes that what the clients of a namespace published before a checkpoint has been handled. In a
// logged namespace that is so once the log gives it out: the core copy is faster than events are.
func (t targets) checkpointReturned(m *bus.Message, sub *subjects.Subject) {
	number, err := strconv.ParseUint(asString(m.Data), 10, 64)
	if n := t.Namespace(sub.Namespace); n != nil && err == nil && n.IsLogged == (sub.Verb == subjects.VerbLog) {
		n.Window.Return(number)
	}
}
