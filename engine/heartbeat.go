package engine

import "time"

const (
	// leastShare makes the least time for a pong where timers were late: 1/leastShare of the ping time-out.
	leastShare = 20
	// timerDelay is how late a timer may be on any machine.
	timerDelay = 10 * time.Millisecond
)

// heartbeat is the state of a session's pings. Session.mu guards it.
type heartbeat struct {
	timer     *time.Timer // the next beat, or the end of closeTimeout
	due       time.Time   // when the next ping, or the time-out of its pong, is due; the timer may be late
	pinged    bool        // the pong is not here yet
	prolonged bool        // the wait for the pong was prolonged once, because of another packet
	attended  bool        // the client could receive the last ping at once: over a WebSocket, or a poll that waited
	excused   bool        // the wait for the pong was prolonged once, because the timer was late
	lenient   bool        // reading was stopped since the last ping, so any packet counts as the pong
}

// after sets the time of the next beat.
func (h *heartbeat) after(from time.Time, d time.Duration) {
	h.due = from.Add(d)
	h.timer.Reset(time.Until(h.due))
}

// received is called for each packet of the client.
func (h *heartbeat) received(isPong bool, c *Config) {
	switch {
	case h.pinged && h.lenient, isPong && !h.lenient:
		h.pinged = false
		h.after(time.Now(), c.PingInterval)
	case h.pinged && !h.prolonged:
		// A client that sends is alive, though its pong may wait behind a long upload (reference: socket.ts onPacket).
		h.prolonged = true
		h.after(time.Now(), c.PingTimeout)
	}
}

// leastWait is the least time that a client has for a pong where this process was stopped.
func (c *Config) leastWait() time.Duration { return c.PingTimeout / leastShare }

// excusable reports whether a timer was so late that this process was stopped, or had no processor. Then the pong of a
// client that could receive the ping may be here, unread.
func (h *heartbeat) excusable(late time.Duration, c *Config) bool {
	return h.attended && !h.excused && late > max(c.leastWait(), timerDelay)
}

// isOverdue reports whether a client that polls has missed the time-out. A request may come before the timer on a busy
// machine. A client whose ping was not sent in time has given up by then, too.
func (h *heartbeat) isOverdue(c *Config) bool {
	late := time.Since(h.due)
	if !h.pinged {
		late -= c.PingTimeout
	}
	return late >= 0 && !(h.pinged && h.excusable(late, c))
}

// beat is the timer's function. It pings, or ends the session of a client that did not answer.
func (s *Session) beat() {
	s.mu.Lock()
	h, c, now := &s.heartbeat, &s.server.set().Config, time.Now()
	late := now.Sub(h.due)
	unread := s.gate.Load() != nil // the pong may be here
	expired, pings, wasRead := false, false, !unread && !h.lenient
	switch {
	case s.state != open:
	case late < 0: // a packet came while this goroutine started
		h.timer.Reset(-late)
	case !h.pinged || unread:
		pings = true
		s.ping(now, late, unread)
	case h.excusable(late, c):
		h.excused = true
		h.after(now, c.leastWait())
	default:
		expired = true
	}
	s.mu.Unlock()
	switch {
	case expired:
		s.fail(PingTimeout)
	case pings:
		s.receiver.Beat(wasRead)
	}
}

// ping sends a ping and sets the time-out of its pong, or the time of the next ping if the session is not read. mu
// must be held.
func (s *Session) ping(now time.Time, late time.Duration, unread bool) {
	h, c := &s.heartbeat, &s.server.set().Config
	polls := s.transport.kind() == kindPolling
	h.pinged, h.prolonged, h.excused, h.lenient = true, false, false, unread
	h.attended = !polls || s.transport.writable()
	// One is enough for a client that does not read.
	if last := len(s.queue.frames) - 1; last < 0 || s.queue.frames[last] != pingFrame {
		s.enqueue(pingFrame)
	}
	wait := c.PingTimeout
	switch {
	case unread:
		wait = c.PingInterval
	case polls && !h.excusable(late, c) && late < wait:
		wait -= late // a client that polls sees the end to the millisecond, so delays of timers must not add up
	}
	h.after(now, wait)
}
