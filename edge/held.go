package edge

import (
	"partyline/bus"
	"partyline/edge/registry"
	"partyline/wire/sio"
	"slices"
)

// holdPacket keeps a packet of a live socket, if the session is paused, and reports whether it did. sc has the names
// of an event. It is called on the session's reader.
func (c *connection) holdPacket(s *socket, p sio.Packet, attachments [][]byte, sc *scratch) bool {
	h := c.hold.Load()
	if h == nil {
		return false
	}
	held := heldPacket{socket: s, packet: p}
	held.packet.Namespace, held.packet.Data = nil, nil
	if p.Type == sio.Event || p.Type == sio.BinaryEvent {
		if !c.edge.set.Bus.Connected() && !s.Edge.rules.IsRoomChange(sc.name, s.Edge.grant()) {
			c.edge.stats.event(bus.ErrOffline) // as if it were not held: events of an outage are dropped, however long it is
			return true
		}
		held.name, held.event = string(sc.name), string(sc.event)
		if held.body, held.header = pack(p.Data, attachments); held.header == nil {
			held.body = slices.Clone(p.Data)
		}
		held.packet.Data = held.body[:len(p.Data)]
	}
	return h.keep(held)
}

// holdConnect keeps a CONNECT, if it must stay behind the DISCONNECT of the same namespace, and reports whether it
// did. Every other CONNECT takes effect at once: order with events is by namespace.
func (c *connection) holdConnect(p sio.Packet) bool {
	h := c.hold.Load()
	if h == nil {
		return false
	}
	h.mu.Lock()
	isLeaving := slices.ContainsFunc(h.packets, func(held heldPacket) bool {
		return held.packet.Type == sio.Disconnect && held.socket.Namespace.Name == string(p.Namespace)
	})
	h.mu.Unlock()
	if !isLeaving {
		return false
	}
	p.Namespace, p.Data = slices.Clone(p.Namespace), slices.Clone(p.Data)
	return h.keep(heldPacket{packet: p, body: p.Data})
}

// act does what a packet asks for that was held. It returns false if that is not possible yet. The hold's lock is
// held.
func (c *connection) act(held *heldPacket) bool {
	s, p := held.socket, held.packet
	switch {
	case s == nil:
		c.connect(p) // unlike the reader, the worker does not pace clients: the pause did
		return true
	case s.Life() == registry.Gone:
		if held.event != "" {
			c.edge.stats.eventsFailed.Inc()
		}
		return true
	case p.Type == sio.Disconnect:
		c.edge.end(s, socketEndWords[endClient], endClient, false)
		return true
	}
	sc := scratches.Get().(*scratch)
	defer scratches.Put(sc)
	sc.name, sc.event = append(sc.name[:0], held.name...), append(sc.event[:0], held.event...)
	u := upward{
		scratch: sc, Edge: c.edge, conn: c, socket: s, packet: p,
		rule: s.Edge.rules.RelayOf(sc.name), header: held.header, body: held.body,
	}
	if u.isRoomChange() {
		u.joinOrLeave()
		return true
	}
	return u.publish() == nil
}

// queueConnect keeps a CONNECT that waits for the decision about an earlier one, unless the session has ended.
// isOutOfTurn: it has no place. mu must be held.
func (c *connection) queueConnect(p sio.Packet) (waits, isOutOfTurn bool) {
	earlier := c.socket(p.Namespace)
	isUndecided := earlier != nil && earlier.Life() < registry.Subscribing || slices.Contains(c.arriving, string(p.Namespace))
	if c.closed || !isUndecided || len(c.again) >= maxAgain {
		return false, earlier != nil || isUndecided
	}
	c.again = append(c.again, sio.Packet{Type: p.Type, Namespace: slices.Clone(p.Namespace), Data: slices.Clone(p.Data)})
	c.session.Charge(againCost(p))
	return true, false
}

// await has the later CONNECTs of an arrival's namespace wait for it. It returns false if it has no place, or must
// wait itself. The arrival owns its bytes then.
func (c *connection) await(a *arrival) bool {
	a.Namespace, a.Data, a.auth = slices.Clone(a.Namespace), slices.Clone(a.Data), slices.Clone(a.auth)
	c.mu.Lock()
	isClosed := c.closed
	waits, isOutOfTurn := c.queueConnect(a.Packet)
	begins := !isClosed && !waits && !isOutOfTurn
	if begins {
		c.arriving = append(c.arriving, string(a.Namespace))
	}
	c.mu.Unlock()
	if isOutOfTurn && !isClosed {
		c.outOfTurn(a.Packet)
	}
	if begins {
		c.idle.Pause()
	}
	return begins
}

// arrived ends await. mu must be held.
func (c *admission) arrived(namespace string) {
	c.arriving = slices.DeleteFunc(c.arriving, func(one string) bool { return one == namespace })
}

// maxAgain is how many CONNECTs of a session wait for the decisions about earlier ones.
const maxAgain = 100

// againCost is the memory of a CONNECT that waits.
func againCost(p sio.Packet) int { return 256 + len(p.Namespace) + len(p.Data) }

// connectAgain acts on the CONNECTs that waited for the decision about the socket of a namespace. If it was admitted,
// they are out of turn. It never waits.
func connectAgain(c *connection, namespace string) {
	var due []sio.Packet
	c.mu.Lock()
	c.again = slices.DeleteFunc(c.again, func(p sio.Packet) bool {
		isDue := string(p.Namespace) == namespace
		if isDue {
			due = append(due, p)
		}
		return isDue
	})
	c.mu.Unlock()
	if len(due) == 0 {
		return
	}
	c.edge.out.Do(func() {
		for _, p := range due {
			c.session.Charge(-againCost(p))
			c.connect(p)
		}
	})
}
