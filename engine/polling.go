package engine

import (
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"partyline/internal/accept"
	"partyline/wire/eio"
)

// gzipFrom is the size in bytes from which a polling reply is compressed (reference: httpCompression.threshold).
const gzipFrom = 1024

// poll is a GET request that waits until there is something to send.
type poll struct {
	ready    chan struct{} // capacity 1
	alone    bool          // static: when it came, only the close packet was left
	replaced bool          // guarded by Session.mu: a WebSocket took over, the queue is not ours any more
	late     bool          // guarded by Session.mu: it came while the WebSocket was about to take over
	released bool          // guarded by Session.mu: answer with a noop, so that the WebSocket can take over
	goodbye  bool          // guarded by Session.mu: the client has said goodbye, it is answered with a noop
}

func (p *poll) wake() {
	select {
	case p.ready <- struct{}{}:
	default:
	}
}

// servePoll answers a GET of the polling transport with all that is queued, as soon as there is something.
func (s *Session) servePoll(w http.ResponseWriter, r *http.Request) {
	p := s.beginPoll(w, r)
	if p == nil {
		return
	}
	select {
	case <-p.ready:
		s.answerPoll(p, w, r)
	case <-r.Context().Done():
		s.mu.Lock()
		mine := s.poll == p
		if mine {
			s.poll = nil
		}
		s.mu.Unlock()
		if mine {
			s.fail(TransportError) // the reference: "poll connection closed prematurely"
		}
	}
}

// beginPoll makes the request the one that waits. It returns nil if it has answered the request.
func (s *Session) beginPoll(w http.ResponseWriter, r *http.Request) *poll {
	s.mu.Lock()
	switch {
	case s.conn != nil: // a WebSocket took over since the request was looked at
		s.mu.Unlock()
		s.server.refuse(w, eio.BadRequest, false)
		return nil
	case s.state == closed: // the session ended since then
		s.mu.Unlock()
		s.server.serveUnknown(w, r, s.id, true)
		return nil
	case s.poll != nil:
		s.mu.Unlock()
		s.broken(TransportError, errTwoPolls) // the first one gets the close packet
		w.WriteHeader(http.StatusBadRequest)
		return nil
	}
	defer s.mu.Unlock()
	p := &poll{ready: make(chan struct{}, 1)}
	s.poll = p
	if u := s.upgrade; u != nil && u.probed {
		p.late = true
		u.releaseLater()
	}
	if len(s.queue) > 0 || s.state != open {
		p.wake()
	}
	// The reference fetches itself a packet to send when only the close packet is left (Polling.onPollRequest).
	p.alone = s.state == closing && len(s.queue) == 0
	return p
}

// answerPoll sends what there is to say to a poll that was woken.
func (s *Session) answerPoll(p *poll, w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	if p.replaced && p.late {
		// The client sent this poll together with the packet that ended the upgrade. Two connections have no order, so
		// it is answered as if that packet had come first.
		s.mu.Unlock()
		s.server.refuse(w, eio.BadRequest, false)
		return
	}
	var frames []*Frame
	if !p.replaced {
		frames, _ = s.take() // of a polling session nothing is written in part
	}
	if s.poll == p {
		s.poll = nil
	}
	// What a session that is closing still has to say goes alone, and the close packet with the next poll (reference:
	// Socket.close waits for "drain"). The official client reads a close packet at once and the messages before it a
	// moment later, so together the reason in a DISCONNECT would come too late.
	ending := s.state == closed || p.replaced || s.state == closing && len(frames) == 0
	said := frames
	switch {
	case p.goodbye:
		said, ending = []*Frame{noopFrame}, false
	case p.alone:
		said, ending = []*Frame{noopFrame}, true
	case p.released && len(frames) == 0 && !ending:
		said = []*Frame{noopFrame}
	}
	var abandoned *wsConn
	if s.state == closing && ending && !p.replaced {
		abandoned = s.retire() // before the reply, since the client may ask again as soon as it has it
	}
	s.mu.Unlock()
	writing := http.NewResponseController(w)
	_ = writing.SetWriteDeadline(time.Now().Add(s.patience()))
	n := writePayload(w, r, said, ending)
	_ = writing.Flush()
	_ = writing.SetWriteDeadline(time.Time{}) // net/http would keep it for the connection's next requests
	s.server.stats.bytesOut.Add(n)
	s.mu.Lock()
	s.release(frames)
	s.mu.Unlock()
	abandoned.hangUp()
}

var (
	gzipWriters = sync.Pool{New: func() any { return gzip.NewWriter(nil) }}
	payloads    = sync.Pool{New: func() any { return new([]byte) }}
)

// writePayload sends frames as one polling reply and says how many bytes that was before compression.
func writePayload(w http.ResponseWriter, r *http.Request, frames []*Frame, ending bool) int {
	pooled := payloads.Get().(*[]byte)
	body, compress := (*pooled)[:0], false
	for _, f := range frames {
		if f.packets == 0 { // a control frame of WebSocket
			continue
		}
		body = f.appendPackets(body)
		compress = compress || !f.plain
	}
	if ending {
		if len(body) > 0 {
			body = append(body, eio.Separator)
		}
		body = append(body, byte(eio.Close))
	}
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=UTF-8")
	h.Set("Cache-Control", "no-store")
	if compress && len(body) >= gzipFrom && accept.Gzip(r.Header) {
		h.Set("Content-Encoding", "gzip")
		z := gzipWriters.Get().(*gzip.Writer)
		z.Reset(w)
		_, _ = z.Write(body) // a client that is gone is noticed by its next request or by the heartbeat
		_ = z.Close()
		gzipWriters.Put(z)
	} else {
		h.Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = w.Write(body)
	}
	n := len(body)
	if cap(body) <= 64<<10 {
		*pooled = body
		payloads.Put(pooled)
	}
	return n
}

// servePost takes the packets that a POST of the polling transport brings.
func (s *Session) servePost(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	overlap := s.posting
	s.posting = true
	s.mu.Unlock()
	if overlap || r.Header.Get("Content-Type") == "application/octet-stream" {
		why := errTwoPosts
		if !overlap {
			why = errContentType
			s.donePosting()
		}
		s.broken(TransportError, why)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	defer s.donePosting()
	// A body that comes no faster than a heartbeat may take is given up, or it would hold its connection for ever.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(s.patience()))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, int64(s.maxPayload)))
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return
		}
		s.fail(TransportError) // the reference: "data request connection closed prematurely"
		return
	}
	if s.isClosed() {
		panic(http.ErrAbortHandler) // a POST under way when the session ends is cut (reference: Polling.doClose)
	}
	s.server.stats.bytesIn.Add(len(body))
	s.packets(body)
	waited := s.gate.Load() != nil
	if waited {
		_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) // past it, net/http would give the request up
		s.passPost(r.Context())
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(s.patience()))
	}
	h := w.Header()
	h.Set("Content-Type", "text/html") // text/plain would start a download in some browsers, says the reference
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", "2")
	_, _ = w.Write([]byte("ok"))
	if waited {
		_ = http.NewResponseController(w).Flush()
		_ = http.NewResponseController(w).SetWriteDeadline(time.Time{}) // not for the connection's next requests
	}
}

// patience is how long one request may take to be read or answered, its wait for something to say aside.
func (s *Session) patience() time.Duration {
	return s.server.cfg.PingInterval + s.server.cfg.PingTimeout
}

func (s *Session) donePosting() {
	s.mu.Lock()
	s.posting = false
	s.mu.Unlock()
}

// depart ends the session of a client that says goodbye by a POST. A poll that waits is answered with a noop, as the
// reference does, and so is one that was sent at the same time and has not come yet.
func (s *Session) depart() {
	s.mu.Lock()
	s.departing = s.state == open
	s.mu.Unlock()
	s.fail(TransportClose)
}
