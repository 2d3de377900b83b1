package engine

import (
	"cmp"
	"errors"
	"time"

	"partyline/internal/buffers"
	"partyline/wire/eio"
	"partyline/wire/ws"
)

// releaseEvery is how often a waiting poll is released while a WebSocket wants to take over (reference: 100 ms).
const releaseEvery = 100 * time.Millisecond

// upgrade is a WebSocket that wants to take over a polling session.
type upgrade struct {
	conn    *wsConn
	timeout *time.Timer // guarded by Session.mu
	release *time.Timer // guarded by Session.mu: releases the poll; nil before the probe, so the client may not upgrade
	frames  int         // owned by the reader goroutine: probes, pings and pongs of WebSocket
}

// maxUpgradeFrames is how many frames an upgrade may need. Two are enough. They are not counted against the session's
// rates, since the session may be slowed down because of what it posted.
const maxUpgradeFrames = 100

// count counts a frame, and returns an error if the upgrade must end.
func (u *upgrade) count() error {
	if u.frames++; u.frames > maxUpgradeFrames {
		return errors.New("too many frames during an upgrade")
	}
	return nil
}

// takeOver runs the upgrade on a new WebSocket (Engine.IO protocol, "Upgrade"): the client probes, the waiting poll is
// released, the client sends an upgrade packet, and the WebSocket is the session's transport from then on. takeOver
// runs on the WebSocket's reader goroutine, which it is during the upgrade and after it.
func (p *polling) takeOver(conn *wsConn) {
	last := closeFrame
	_ = conn.Conn.SetWriteDeadline(time.Now().Add(p.session.server.set().UpgradeTimeout))
	_ = conn.reply(conn.takeHeld()) // the answer to the request
	if u := p.beginUpgrade(conn); u != nil {
		last = p.readUpgrade(u)
		p.endUpgrade(u)
	}
	if last == nil {
		p.session.server.stats.upgrades.Inc()
		conn.handleControl()
		p.session.receiver.Upgraded()
		conn.readLoop()
		return
	}
	_ = conn.Conn.SetWriteDeadline(time.Now().Add(lastWrite))
	_ = conn.reply(last)
	conn.close()
}

// beginUpgrade returns nil if the session has ended, or another WebSocket was earlier.
func (p *polling) beginUpgrade(conn *wsConn) *upgrade {
	s := p.session
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == closed || p.upgrade != nil || !p.isCurrent() {
		return nil
	}
	u := &upgrade{conn: conn}
	p.upgrade = u
	conn.ws.SetPingHandler(func(data string) error {
		if err := u.count(); err != nil {
			return err
		}
		return conn.reply(eio.NewControl(ws.Pong, data))
	})
	conn.ws.SetPongHandler(func(data string) error { return u.count() })
	u.timeout = time.AfterFunc(s.server.set().UpgradeTimeout, func() { p.endUpgrade(u) })
	if g := s.gate.Load(); g != nil {
		g.wake() // a POST must not wait from now on
	}
	return u
}

// readUpgrade reads the WebSocket until it is the session's transport, and returns nil then. Otherwise it returns the
// last frame for the client.
func (p *polling) readUpgrade(u *upgrade) *eio.Frame {
	for {
		buf, binary, err := u.conn.read()
		if err == nil {
			err = u.count()
		}
		if err != nil {
			return cmp.Or(u.conn.answer(err), closeFrame)
		}
		packet, err := eio.Parse(*buf)
		isProbe := err == nil && !binary && packet.Type == eio.Ping && string(packet.Data) == "probe"
		isUpgrade := err == nil && !binary && packet.Type == eio.Upgrade
		buffers.Put(buf)
		switch {
		case isProbe:
			p.answerProbe(u)
		case isUpgrade && p.switchTo(u):
			return nil
		default:
			return closeFrame
		}
	}
}

// endUpgrade ends an upgrade, if it is under way, and lets takeOver close the WebSocket.
func (p *polling) endUpgrade(u *upgrade) {
	p.session.mu.Lock()
	defer p.session.mu.Unlock()
	if p.upgrade == u {
		p.cancelUpgrade()
	}
}

// cancelUpgrade is endUpgrade of any upgrade, for a caller that holds Session.mu.
func (p *polling) cancelUpgrade() {
	if u := p.upgrade; u != nil {
		p.stopUpgrade()
		u.conn.deadlineFixed.Store(true)
		_ = u.conn.Conn.SetDeadline(time.Now())
	}
}

// stopUpgrade ends the upgrade without a word to takeOver. Session.mu must be held.
func (p *polling) stopUpgrade() {
	p.upgrade.timeout.Stop()
	if p.upgrade.release != nil {
		p.upgrade.release.Stop()
	}
	p.upgrade = nil
}

// reply writes a frame during the upgrade, when only the reader goroutine writes to the connection. It waits for the
// client, so answers do not pile up. The deadline that takeOver sets, or the end of the upgrade, ends the wait.
func (c *wsConn) reply(f *eio.Frame) error {
	_, err := c.Conn.Write(f.WS())
	return err
}

func (p *polling) answerProbe(u *upgrade) {
	p.session.mu.Lock()
	if p.upgrade == u && u.release == nil { // before the answer: the client may poll as soon as it has it
		u.release = time.AfterFunc(releaseEvery, func() { p.releasePoll(u) })
	}
	p.session.mu.Unlock()
	// The lock is not held: a client that probes without reading must not delay senders to the session.
	_ = u.conn.reply(probeFrame)
}

// releasePoll answers a waiting poll with a noop, every releaseEvery, so that the client can pause polling.
func (p *polling) releasePoll(u *upgrade) {
	p.session.mu.Lock()
	defer p.session.mu.Unlock()
	if p.upgrade == u {
		p.poll.wake()
		u.release.Reset(releaseEvery)
	}
}

// switchTo makes the WebSocket the session's transport. It returns false if the upgrade was cancelled.
func (p *polling) switchTo(u *upgrade) bool {
	s := p.session
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.upgrade != u {
		return false
	}
	p.stopUpgrade()
	s.transport = u.conn
	_ = u.conn.Conn.SetWriteDeadline(time.Time{})
	p.poll.wake()
	p.poll = nil
	if s.state == closing { // closed by the server while it was polling, and the client has not fetched the end
		u.conn.finish(0)
		return true
	}
	if s.heartbeat.pinged {
		// The reference forgets a ping that was under way over the old transport.
		s.heartbeat.pinged = false
		s.heartbeat.after(time.Now(), s.server.set().PingInterval)
	}
	u.conn.flush(nil)
	return true
}
