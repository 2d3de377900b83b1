package edge

import (
	"errors"
	"math"
	"slices"
	"strings"

	"partyline/edge/registry"
	"partyline/engine"
	"partyline/internal/buffers"
	"partyline/internal/ids"
	"partyline/wire/eio"
	"partyline/wire/msg"
	"partyline/wire/msgpack"
	"partyline/wire/sio"
)

// Accept makes the receiver of a session. It is the engine's Handler.
func (e *Edge) Accept(session *engine.Session, o *engine.Opening) engine.Receiver {
	c := &connection{edge: e, session: session}
	c.request, c.shown = e.requestJSON(o, ids.Public(e.set.key, session.ID()))
	o.Kept = cap(c.request) + len(c.shown)
	c.idle.Start(e.set.ConnectTimeout, func() { session.Close(engine.ForcedServerClose) })
	return c
}

// requestJSON is the part of a handshake that the sockets of a session share, without the token in it, if there is
// one.
func (e *Edge) requestJSON(o *engine.Opening, session string) (request []byte, token string) {
	r := msg.Request{
		Session: session, Query: make(map[string]string, len(o.Query)), Headers: msg.RequestHeaders(o.Host, o.Header),
		Address: o.Address, URL: o.URL, Secure: o.Secure(), XDomain: o.Header.Get("Origin") != "",
	}
	for name, values := range o.Query {
		r.Query[name] = values[len(values)-1]
	}
	token = strings.Clone(e.set.Token.From.FromRequest(&r))
	return r.JSON(), token
}

// Beat ends the session if attachments are due and none has come since the last heartbeat.
func (c *connection) Beat(wasRead bool) {
	switch {
	case !wasRead:
		c.progress.CompareAndSwap(partOverdue, partArrived)
	case c.progress.CompareAndSwap(partOverdue, nothingDue):
		c.invalid(errOverdue)
	default:
		c.progress.CompareAndSwap(partArrived, partOverdue)
	}
}

// Upgraded notifies the owners of the session's sockets.
func (c *connection) Upgraded() {
	for _, o := range owned(c, nil) {
		c.edge.owners.Upgraded(o)
	}
}

// Closed ends all sockets of the session.
func (c *connection) Closed(reason engine.Reason) {
	c.idle.Stop()
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	end := func() {
		for _, s := range c.all() {
			c.edge.end(s, reason.String(), endSession, false)
		}
	}
	h := c.edge.pauses.stop(c)
	if h == nil {
		end()
		return
	}
	c.edge.out.Do(func() { // the client sent what is held before it went
		c.edge.pauses.publish(h, math.MaxInt, true)
		end()
	})
}

// Errors that end a session as the reference's decoder errors do ("forced close"); the log names them.
var (
	errPlainInside  = errors.New("text while binary attachments are due")
	errBinary       = errors.New("binary data without a packet that announces it")
	errEventTooBig  = errors.New("an event with its attachments is larger than max_payload")
	errOverdue      = errors.New("the attachments of a packet did not come in time")
	errTooManyJoins = errors.New("too many joins and leaves under way")
)

// Message takes one Engine.IO message: a packet, or an attachment of the one before.
func (c *connection) Message(data []byte, binary bool) {
	if c.dialect == unheard {
		c.dialect = speaksJSON
		if binary {
			c.dialect = speaksMsgpack
		}
	}
	switch {
	case c.dialect == speaksMsgpack:
		c.unpack(data, binary)
		return
	case binary:
		c.attachment(data)
		return
	case c.partial != nil:
		c.invalid(errPlainInside)
		return
	}
	p, err := sio.Parse(data)
	if err != nil {
		c.invalid(err)
		return
	}
	if p.Type != sio.BinaryEvent && p.Type != sio.BinaryAck {
		c.packet(p, nil)
		return
	}
	if err := msg.CheckPayload(p.Type, p.Data); err != nil {
		c.invalid(err)
		return
	}
	c.partial = &partial{packet: p, size: len(p.Data), cost: partialCost + len(p.Data) + len(p.Namespace)}
	c.partial.packet.Namespace, c.partial.packet.Data = slices.Clone(p.Namespace), slices.Clone(p.Data)
	c.session.Charge(c.partial.cost)
	c.progress.Store(partArrived)
}

// attachment takes one binary message.
func (c *connection) attachment(data []byte) {
	part := c.partial
	if part == nil {
		c.invalid(errBinary)
		return
	}
	if part.size += len(data); part.size > c.edge.set.MaxPayload() {
		c.invalid(errEventTooBig)
		return
	}
	part.got = append(part.got, slices.Clone(data))
	part.cost += len(data)
	c.session.Charge(len(data))
	if len(part.got) < part.packet.Attachments {
		c.progress.Store(partArrived)
		return
	}
	c.partial = nil
	c.progress.Store(nothingDue)
	c.session.Charge(-part.cost)
	if part.packet.Data != nil {
		if err := msg.CheckPlaceholders(part.packet.Data, len(part.got)); err != nil {
			c.invalid(err)
			return
		}
	}
	c.packet(part.packet, part.got)
}

// packet acts on a whole packet (reference: socket.io, client.ts ondecoded).
func (c *connection) packet(p sio.Packet, attachments [][]byte) {
	if p.Type == sio.Event || p.Type == sio.BinaryEvent {
		c.event(p, attachments)
		return
	}
	if err := msg.CheckPayload(p.Type, p.Data); err != nil {
		c.invalid(err)
		return
	}
	if p.Type == sio.Connect {
		if c.holdConnect(p) {
			return
		}
		if c.connect(p) {
			c.pace()
		}
		return
	}
	s := c.socket(p.Namespace)
	switch {
	case s == nil || s.Life() != registry.Live || p.Type == sio.ConnectError:
		c.outOfTurn(p)
	case p.Type == sio.Disconnect && c.holdPacket(s, p, nil, nil):
	case p.Type == sio.Disconnect:
		c.edge.end(s, socketEndWords[endClient], endClient, false)
	default:
		c.countPacket(s)
		c.edge.stats.acksIn.Inc()
		c.edge.asks.ack(s, p, attachments)
	}
}

// countPacket counts an event or ack against the rate of its namespace, if that has one. The rate is the session's in
// all namespaces of the same rules, so a client gains nothing by leaving and coming back.
func (c *connection) countPacket(s *socket) {
	if rate := s.Edge.rules.Rate; rate != nil {
		c.session.Count(rate, 1)
	}
}

// frame is a packet of the edge's own, or with what the edge has checked whole, as its client wants it.
func (c *connection) frame(p *packet) *eio.Frame {
	frame, err := p.encoded(c.dialect, math.MaxInt)
	if err != nil { // nothing that is valid JSON and has no attachments can come here
		c.edge.set.Log.Error("a packet of the edge's own could not be encoded", "error", err)
		return eio.NewBinaryMessage(nil, eio.Options{})
	}
	return frame
}

// errTextPacked ends a session of the msgpack parser, which ends on text in the reference, too.
var errTextPacked = errors.New("text from a client that began with msgpack")

// unpack takes one message of a client that speaks msgpack, and goes on as if a JSON client had sent it.
func (c *connection) unpack(message []byte, binary bool) {
	if !binary {
		c.invalid(errTextPacked)
		return
	}
	lent := buffers.Room(len(message))
	p, attachments, err := msgpack.Parse((*lent)[:0], message, c.edge.set.MaxPayload())
	defer buffers.PutGrown(lent, p.Data)
	if errors.Is(err, msgpack.ErrTooLarge) {
		err = errEventTooBig
	}
	if err == nil && len(attachments) > 0 { // the client may have written placeholders of its own
		err = msg.CheckPlaceholders(p.Data, len(attachments))
	}
	if err != nil {
		c.invalid(err)
		return
	}
	c.packet(p, attachments)
}
