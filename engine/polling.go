package engine

import (
	"compress/gzip"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"partyline/internal/request"
	"partyline/internal/wake"
	"partyline/wire/eio"
)

// polling is the transport of a client that fetches packets with GET and sends packets with POST.
type polling struct {
	session   *Session                 // static
	poll      *poll                    // guarded by Session.mu: the GET that waits until there is something to send
	posting   sync.Mutex               // held while a POST is under way
	body      *http.ResponseController // guarded by Session.mu: of the POST whose body is being read, or nil
	departing bool                     // guarded by Session.mu: the client ends the session by a POST
	upgrade   *upgrade                 // guarded by Session.mu: the WebSocket that wants to take over
}

// poll is a GET that waits until there is something to send.
type poll struct {
	ready wake.Flag
	alone bool // static: when it came, only the close packet was left
	late  bool // static: it came while a WebSocket was about to take over
}

// wake has the poll answered, if there is one: p may be nil.
func (p *poll) wake() {
	if p != nil {
		p.ready.Raise()
	}
}

func (*polling) kind() transportKind { return kindPolling }

func (p *polling) writable() bool { return p.poll != nil }

func (p *polling) flush(*writer) {
	if len(p.session.queue.frames) > 0 {
		p.poll.wake()
	}
}

func (p *polling) finish(reason Reason) {
	p.poll.wake()
	p.session.heartbeat.timer = time.AfterFunc(closeTimeout, func() { p.session.fail(reason) })
}

// abort answers a poll that waits, and cuts a POST. If the client departs by a POST, a poll may be on its way (see
// pollsOwed).
func (p *polling) abort() {
	p.cancelUpgrade()
	if p.body != nil {
		_ = p.body.SetReadDeadline(time.Now())
	}
	p.poll.wake()
	if p.poll == nil && p.departing {
		server := p.session.server
		server.mu.Lock()
		server.owed.add(p.session.id, time.Now())
		server.mu.Unlock()
	}
}

// isCurrent reports whether no WebSocket has taken over. Session.mu must be held.
func (p *polling) isCurrent() bool { return p.session.transport == transport(p) }

// expire ends the session if the pong is overdue, and reports whether it was. It is called for each request, because a
// request may come before the timer on a busy machine.
func (p *polling) expire() bool {
	s := p.session
	s.mu.Lock()
	expired := s.state == open && p.isCurrent() && s.gate.Load() == nil && s.heartbeat.isOverdue(&s.server.set().Config)
	s.mu.Unlock()
	if expired {
		s.fail(PingTimeout)
	}
	return expired
}

// timeLimit is how long one request may take to be read or answered, apart from its wait for something to send.
func (p *polling) timeLimit() time.Duration {
	return p.session.server.set().PingInterval + p.session.server.set().PingTimeout
}

// servePoll answers a GET with all that is queued, as soon as there is something.
func (p *polling) servePoll(w http.ResponseWriter, r *http.Request) {
	waiting := p.beginPoll(w, r)
	if waiting == nil {
		return
	}
	select {
	case <-waiting.ready:
		p.answerPoll(waiting, w, r)
	case <-r.Context().Done():
		p.session.mu.Lock()
		replaced := !p.isCurrent()
		p.poll = nil
		p.session.mu.Unlock()
		if !replaced {
			p.session.fail(TransportError) // the reference: "poll connection closed prematurely"
		}
	}
}

// beginPoll makes a request the poll that waits. It returns nil if it has answered the request.
func (p *polling) beginPoll(w http.ResponseWriter, r *http.Request) *poll {
	s := p.session
	s.mu.Lock()
	switch {
	case !p.isCurrent(): // a WebSocket has taken over since the session was looked up
		s.mu.Unlock()
		s.server.refuse(w, eio.BadRequest, false)
		return nil
	case s.state == closed: // the session has ended since then
		s.mu.Unlock()
		s.server.serveUnknown(w, r, s.id, true)
		return nil
	case p.poll != nil:
		s.mu.Unlock()
		p.breach(w, "engine.io: a second poll while one waits") // the first one gets the close packet
		return nil
	}
	defer s.mu.Unlock()
	// The reference fetches itself a packet to send when only the close packet is left (Polling.onPollRequest).
	p.poll = &poll{ready: wake.New(), alone: s.state == closing && len(s.queue.frames) == 0}
	if u := p.upgrade; u != nil && u.release != nil {
		p.poll.late = true
		u.release.Reset(releaseEvery) // its whole time: the packet that ends the upgrade may have been sent before it
	}
	if len(s.queue.frames) > 0 || s.state != open {
		p.poll.wake()
	}
	return p.poll
}

// breach answers a request that the client must not make, and ends the session.
func (p *polling) breach(w http.ResponseWriter, what string) {
	p.session.broken(TransportError, errors.New(what))
	w.WriteHeader(http.StatusBadRequest)
}

// answerPoll answers a poll that was woken.
func (p *polling) answerPoll(waiting *poll, w http.ResponseWriter, r *http.Request) {
	s := p.session
	s.mu.Lock()
	replaced := !p.isCurrent() // by a WebSocket, to which the queue belongs now
	if replaced && waiting.late {
		// The client sent this poll together with the packet that ended the upgrade. Two connections have no order, so
		// it is answered as if that packet had come first.
		s.mu.Unlock()
		s.server.refuse(w, eio.BadRequest, false)
		return
	}
	var frames []*eio.Frame
	if !replaced {
		frames, s.queue.frames = s.queue.frames, nil // they count until they are written
	}
	p.poll = nil
	// What a session that is closing has queued goes alone, and the close packet with the next poll (reference:
	// Socket.close waits for "drain"). The official client handles a close packet at once and the messages before it
	// later, so together the reason in a DISCONNECT would come too late.
	ending := s.state == closed || replaced || s.state == closing && len(frames) == 0
	packets := frames
	switch {
	case p.departing && s.state == closed:
		packets, ending = []*eio.Frame{noopFrame}, false
	case waiting.alone, len(frames) == 0 && !ending:
		packets = []*eio.Frame{noopFrame}
	}
	if s.state == closing && ending && !replaced { // before the reply, since the client may send requests behind it
		p.cancelUpgrade()
		s.retire()
	}
	s.mu.Unlock()
	writing, limit := http.NewResponseController(w), p.timeLimit()
	if ending {
		hangUp(w)
		limit = lastWriteOf(s.Waiting())
	}
	_ = writing.SetWriteDeadline(time.Now().Add(limit))
	n := s.writePayload(w, r, eio.Payload{Frames: packets, IsLast: ending})
	_ = writing.Flush()
	_ = writing.SetWriteDeadline(time.Time{}) // net/http would keep it for the connection's next requests
	s.server.stats.bytesOut.Add(n)
	s.mu.Lock()
	s.queue.uncount(frames)
	s.mu.Unlock()
}

// hangUp makes a response the last one of its connection. The client of a session that has ended must not keep it.
func hangUp(w http.ResponseWriter) { w.Header().Set("Connection", "close") }

// A client may send the POST that ends its session and its last poll together, on two connections. The reference
// server answers the poll with a noop if it is first, and two connections have no order. So a session that ends in
// this way, while no poll waits, still owes its client one answer.
const (
	// owedFor is how long the last poll may come after the POST.
	owedFor = time.Second
	// maxOwed bounds the list. The oldest entry is dropped first.
	maxOwed = 1024
)

// pollsOwed lists the sessions that ended and whose last poll has not come yet, oldest first. Its zero value is empty.
type pollsOwed []owedPoll

type owedPoll struct {
	id    string
	until time.Time
}

// add puts a session on the list.
func (o *pollsOwed) add(id string, now time.Time) {
	o.expire(now)
	*o = append((*o)[max(0, len(*o)+1-maxOwed):], owedPoll{id, now.Add(owedFor)})
}

// take removes a session from the list and reports whether it was there.
func (o *pollsOwed) take(id string, now time.Time) bool {
	o.expire(now)
	i := slices.IndexFunc(*o, func(p owedPoll) bool { return p.id == id })
	if i >= 0 {
		*o = slices.Delete(*o, i, i+1)
	}
	return i >= 0
}

func (o *pollsOwed) expire(now time.Time) {
	*o = slices.DeleteFunc(*o, func(p owedPoll) bool { return !now.Before(p.until) })
}

// serveUnknown answers a request for a session that the server does not have.
func (s *Server) serveUnknown(w http.ResponseWriter, r *http.Request, sid string, isPoll bool) {
	s.mu.Lock()
	owed := isPoll && s.owed.take(sid, time.Now())
	s.mu.Unlock()
	if owed {
		s.stats.bytesOut.Add((*Session)(nil).writePayload(w, r, eio.Payload{Frames: []*eio.Frame{noopFrame}}))
		return
	}
	s.refuse(w, eio.UnknownSession, s.isUpgrade(r))
}

const (
	// gzipFrom is the size in bytes from which a polling reply is compressed (reference: httpCompression.threshold).
	gzipFrom = 1024
	// gzipCost is the memory of a gzip.Writer, in bytes.
	gzipCost = 820 << 10
)

var gzipWriters = sync.Pool{New: func() any { return gzip.NewWriter(nil) }}

// writePayload sends a polling reply and returns its size in bytes before compression. It is compressed if the session
// has the memory for that. s may be nil.
func (s *Session) writePayload(w http.ResponseWriter, r *http.Request, p eio.Payload) int {
	size, compress := p.Size()
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=UTF-8")
	h.Set("Cache-Control", "no-store")
	if compress && size >= gzipFrom && request.AcceptsGzip(r.Header) && s.tryCharge(gzipCost) {
		h.Set("Content-Encoding", "gzip")
		z := gzipWriters.Get().(*gzip.Writer)
		z.Reset(w)
		p.Write(z)
		_ = z.Close()
		gzipWriters.Put(z)
		s.Charge(-gzipCost)
	} else {
		h.Set("Content-Length", strconv.Itoa(size))
		p.Write(w)
	}
	return size
}
