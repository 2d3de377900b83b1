package engine

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"partyline/internal/buffers"
	"partyline/internal/turn"
	"partyline/wire/eio"
)

// postWait is how long the answer to a POST waits at most while its session is not read. Proxies, and other edges that
// have passed the POST on, give up on an answer that takes much longer.
const postWait = 20 * time.Second

// postponedCost is the memory of a payload at the gate without its bytes.
const postponedCost = 96

// servePost handles the packets of a POST.
func (p *polling) servePost(w http.ResponseWriter, r *http.Request) {
	s := p.session
	if !p.posting.TryLock() {
		p.breach(w, "engine.io: a second POST while one is under way")
		return
	}
	end := sync.OnceFunc(p.posting.Unlock)
	defer end()
	if r.Header.Get("Content-Type") == "application/octet-stream" {
		p.breach(w, "engine.io: a POST of type application/octet-stream, which protocol version 4 does not have")
		return
	}
	request := http.NewResponseController(w)
	body, isEnded, err := p.readBody(request, w, r)
	var tooLarge *http.MaxBytesError
	switch {
	case isEnded:
		panic(http.ErrAbortHandler) // a POST under way when the session ends is cut (reference: Polling.doClose)
	case errors.As(err, &tooLarge): // it was read as far as it may be, and the session stays
		s.in.Lock()
		s.received(s.maxPayload, time.Now())
		s.in.Unlock()
		p.waitForReading(request, r.Context())
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		return
	case errors.Is(err, errTooMuch):
		s.fail(QueueOverflow)
		return
	case err != nil:
		s.fail(TransportError) // the reference: "data request connection closed prematurely"
		return
	}
	s.server.stats.bytesIn.Add(len(body))
	p.receive(body)
	p.waitForReading(request, r.Context())
	h := w.Header()
	h.Set("Content-Type", "text/html") // the reference: text/plain would start a download in some browsers
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", "2")
	if s.currentState() != open {
		hangUp(w)
	}
	_, _ = w.Write([]byte("ok"))
	end() // before the client has the answer, behind which it may send the next POST
	_ = request.Flush()
	_ = request.SetWriteDeadline(time.Time{}) // that of waitForReading is not for the connection's next requests
}

// readBody reads the body of a POST, and reports whether the session has ended meanwhile. A body that comes too slowly
// is given up: it would hold its connection permanently.
func (p *polling) readBody(c *http.ResponseController, w http.ResponseWriter, r *http.Request) (_ []byte, isEnded bool, _ error) {
	s := p.session
	s.mu.Lock()
	limit := p.timeLimit()
	if s.state == closed { // since the session was looked up, so abort has not cut this POST
		limit = 0
	}
	_ = c.SetReadDeadline(time.Now().Add(limit))
	p.body = c
	s.mu.Unlock()
	lent := buffers.Get()
	all, err := s.readAll(http.MaxBytesReader(w, r.Body, int64(s.maxPayload)), (*lent)[:0])
	body := buffers.Own(lent, all)
	s.mu.Lock()
	defer s.mu.Unlock()
	p.body = nil
	return body, s.state == closed, err
}

// waitForReading delays the answer to a POST while the session is not read, for postWait at most. It does not wait
// while a WebSocket wants to take over, since the client completes an upgrade only when its POST was answered.
func (p *polling) waitForReading(request *http.ResponseController, ctx context.Context) {
	if p.session.gate.Load() == nil {
		return
	}
	// Past its deadline for reading, net/http would give up the request.
	_ = request.SetReadDeadline(time.Time{})
	// The operator may have set short times.
	ctx, cancel := context.WithTimeout(ctx, min(postWait, p.timeLimit()*4/5))
	defer cancel()
	p.session.waitAtGate(ctx, func(*gate) bool { return p.upgrade != nil || !p.isCurrent() })
	_ = request.SetWriteDeadline(time.Now().Add(p.timeLimit()))
}

// receive handles a polling payload. What may not be handled now is postponed.
func (p *polling) receive(payload []byte) {
	for payload != nil && !p.postpone(payload) {
		payload = p.handle(payload)
	}
}

// postpone keeps a payload at the gate if there is one, and reports whether there is. As much may wait there as may
// wait for the client itself. Past that the session ends.
func (p *polling) postpone(payload []byte) bool {
	s := p.session
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.gate.Load()
	if g == nil {
		return false
	}
	size := postponedCost + cap(payload)
	switch {
	case g.bytes+size > s.server.set().QueueBytes:
		s.overflow(limitQueueBytes)
		return true
	case s.queue.cost()+size > s.server.set().SessionBytes:
		s.overflow(limitSessionBytes)
		return true
	}
	g.postponed = append(g.postponed, postponed{payload, size})
	g.bytes += size
	s.queue.kept += size
	if !g.handling {
		g.handling = true
		s.server.running.Go(func() { p.handlePostponed(g) })
	}
	return true
}

// handlePostponed handles what is postponed as soon as the session is read, also after an upgrade. It ends when no
// more is postponed.
func (p *polling) handlePostponed(g *gate) {
	s := p.session
	for {
		s.waitAtGate(context.Background(), func(g *gate) bool { return g.stops == 0 })
		s.mu.Lock()
		switch {
		case s.gate.Load() != g: // the session has ended
			s.mu.Unlock()
			return
		case g.stops > 0: // again
			s.mu.Unlock()
			continue
		case len(g.postponed) == 0:
			g.handling = false
			s.gateChanged(g)
			s.mu.Unlock()
			return
		}
		payload := g.postponed[0]
		s.mu.Unlock()
		rest := p.handle(payload.rest)
		s.mu.Lock()
		if g.postponed[0].rest = rest; rest == nil {
			g.bytes -= payload.size
			s.queue.kept -= payload.size
			g.postponed[0] = postponed{}
			g.postponed = g.postponed[1:]
		}
		s.mu.Unlock()
	}
}

// handle handles a polling payload until it ends or reading stops, and returns the rest, or nil.
func (p *polling) handle(payload []byte) (rest []byte) {
	s := p.session
	s.in.Lock()
	defer s.in.Unlock()
	s.turn = &turn.Turn{}
	defer s.turn.End()
	for {
		packet, rest, err := eio.Next(payload)
		switch {
		case err != nil:
			s.broken(ParseError, err)
			return nil
		case packet.Type == eio.Close:
			p.depart()
			return nil
		}
		s.packet(packet, len(payload)-len(rest), time.Now())
		if rest == nil || s.isStopped() {
			return rest
		}
		payload = rest
		if s.turn.IsLong() {
			s.turn.End()
		}
	}
}

// depart ends the session of a client that says so in a POST. A poll that waits is answered with a noop, as the
// reference does, and so is one that was sent at the same time and has not come yet.
func (p *polling) depart() {
	p.session.mu.Lock()
	p.departing = p.session.state == open
	p.session.mu.Unlock()
	p.session.fail(TransportClose)
}
