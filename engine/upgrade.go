package engine

import (
	"cmp"
	"time"

	"partyline/wire/eio"
)

// upgrade is a WebSocket that wants to take a polling session over.
type upgrade struct {
	conn    *wsConn
	timeout *time.Timer // guarded by Session.mu
	probed  bool        // guarded by Session.mu: the client may end the upgrade, or has its answer soon
	probe   *time.Timer // guarded by Session.mu: releases the poll; nil before the probe is answered
}

// stop ends the timers. Needs Session.mu.
func (u *upgrade) stop() {
	u.timeout.Stop()
	if u.probe != nil {
		u.probe.Stop()
	}
}

// hangUp closes a WebSocket that does not become a session's transport, if there is one. It may wait for a moment.
func (c *wsConn) hangUp() { c.hangUpWith(closeFrame) }

func (c *wsConn) hangUpWith(last *Frame) {
	if c == nil {
		return
	}
	_ = c.Conn.SetWriteDeadline(time.Now().Add(lastWrite))
	_, _ = c.Conn.Write(last.ws)
	c.close()
}

// takeOver runs the upgrade on a new WebSocket (Engine.IO protocol, "Upgrade"): the client probes, the waiting poll is
// released, the client says upgrade, and the WebSocket is the session's transport from then on. It is the goroutine that
// reads the WebSocket, during and after the upgrade.
func (s *Session) takeOver(conn *wsConn) {
	u := &upgrade{conn: conn}
	s.mu.Lock()
	if s.state == closed || s.upgrade != nil || s.conn != nil {
		s.mu.Unlock()
		conn.hangUp()
		return
	}
	conn.ws.SetCloseHandler(func(int, string) error { return nil }) // answered below: a second close frame would be an error
	conn.ws.SetPingHandler(func(data string) error { return conn.reply(controlFrame(wsPong, data)) })
	s.upgrade = u
	_ = conn.Conn.SetWriteDeadline(time.Now().Add(s.server.cfg.UpgradeTimeout))
	u.timeout = time.AfterFunc(s.server.cfg.UpgradeTimeout, func() { s.abandonUpgrade(u) })
	s.mu.Unlock()
	for {
		buf, binary, err := conn.read()
		if err != nil {
			s.abandonUpgradeWith(u, cmp.Or(conn.answer(err), closeFrame))
			return
		}
		p, err := eio.Parse(*buf)
		isProbe := err == nil && !binary && p.Type == eio.Ping && string(p.Data) == "probe"
		isUpgrade := err == nil && !binary && p.Type == eio.Upgrade
		putBuffer(buf)
		switch {
		case isProbe:
			s.answerProbe(u)
		case isUpgrade && s.switchTo(u):
			s.server.stats.upgrades.Inc()
			s.readLoop(conn)
			return
		default:
			s.abandonUpgrade(u)
			return
		}
	}
}

func (s *Session) abandonUpgrade(u *upgrade) { s.abandonUpgradeWith(u, closeFrame) }

func (s *Session) abandonUpgradeWith(u *upgrade, last *Frame) {
	s.mu.Lock()
	mine := s.upgrade == u
	if mine {
		s.upgrade = nil
		u.stop()
	}
	s.mu.Unlock()
	if mine {
		u.conn.hangUpWith(last)
	}
}

// releaseLater gives a poll that has just come its whole time. The packet that ends the upgrade may have been sent before
// it. Session.mu must be held.
func (u *upgrade) releaseLater() {
	if u.probe != nil {
		u.probe.Reset(probeEvery)
	}
}

// reply writes a frame during the upgrade, when only the reader writes to the connection. It waits for the client, so
// answers do not pile up. The deadline that takeOver sets, or the end of the upgrade, ends the wait.
func (c *wsConn) reply(f *Frame) error {
	_, err := c.Conn.Write(f.ws)
	return err
}

func (s *Session) answerProbe(u *upgrade) {
	s.mu.Lock()
	u.probed = true // before the answer: the client may poll as soon as it has it
	s.mu.Unlock()
	// The lock is not held: a client that probes without reading must not hold up whoever sends to the session.
	_ = u.conn.reply(probeFrame)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.upgrade != u {
		return
	}
	if u.probe == nil {
		u.probe = time.AfterFunc(probeEvery, func() { s.releaseForUpgrade(u) })
	}
}

// releaseForUpgrade lets a waiting poll return, again and again, so that the client can pause polling.
func (s *Session) releaseForUpgrade(u *upgrade) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.upgrade != u {
		return
	}
	if s.poll != nil && len(s.queue) == 0 {
		s.poll.released = true
		s.poll.wake()
	}
	u.probe.Reset(probeEvery)
}

// switchTo makes the WebSocket the transport. It says no when the session has ended meanwhile.
func (s *Session) switchTo(u *upgrade) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.upgrade != u || s.state == closed {
		return false
	}
	u.stop()
	s.upgrade = nil
	s.conn = u.conn
	_ = s.conn.Conn.SetWriteDeadline(time.Time{})
	if s.poll != nil {
		s.poll.replaced = true
		s.poll.wake()
		s.poll = nil
	}
	if s.state == closing { // closed by the server while it was polling, and nobody fetched the rest
		s.push(closeFrame)
		s.retire()
	} else if s.pinged {
		// The reference forgets a ping that was under way over the old transport.
		s.pinged = false
		s.timer.Reset(s.server.cfg.PingInterval)
	}
	s.flush()
	return true
}
