package engine

import "partyline/wire/eio"

const (
	// keptQueue is the capacity, in frames, up to which an empty queue keeps its slice.
	keptQueue = 16
	// maxJoined is how many bytes of frames are copied together for one write. A write of one small frame costs as
	// much as a write of 32 of them.
	maxJoined = 32 << 10
)

// queue holds the frames that wait for a client, in order, and counts the memory that the session costs. Session.mu
// guards it.
type queue struct {
	frames  []*eio.Frame
	sending int // frames at the front that are being written
	written int // bytes of the first frame that the client has
	bytes   int // memory of frames, and of those that a poll gets until uncount is called
	packets int // packets of the same

	kept     int   // bytes of what is kept for the session elsewhere; see Session.Charge
	exceeded limit // the session is about to end because of it
}

func (q *queue) push(f *eio.Frame) {
	q.frames = append(q.frames, f)
	q.bytes += f.Size()
	q.packets += f.Places()
}

// uncount stops counting frames and clears them.
func (q *queue) uncount(frames []*eio.Frame) {
	for _, f := range frames {
		q.bytes -= f.Size()
		q.packets -= f.Places()
	}
	clear(frames)
}

// next returns what is to be written next: the rest of the first frame, together with those behind it as far as
// maxJoined allows. It may use scratch for that. The queue must not be empty, and wrote must be called after the
// write.
func (q *queue) next(scratch *[]byte) []byte {
	first := q.frames[0].WS()[q.written:]
	q.sending = 1
	if len(q.frames) == 1 || len(first)+len(q.frames[1].WS()) > maxJoined {
		return first
	}
	joined := append((*scratch)[:0], first...)
	for _, f := range q.frames[1:] {
		if len(joined)+len(f.WS()) > maxJoined {
			break
		}
		joined = append(joined, f.WS()...)
		q.sending++
	}
	*scratch = joined
	return joined
}

// wrote removes n bytes, which have been written, from the front.
func (q *queue) wrote(n int) {
	n += q.written
	done := 0
	for done < len(q.frames) && n >= len(q.frames[done].WS()) {
		n -= len(q.frames[done].WS())
		done++
	}
	q.drop(done)
	q.written = n
}

// drop removes frames from the front.
func (q *queue) drop(frames int) {
	q.uncount(q.frames[:frames])
	left := copy(q.frames, q.frames[frames:])
	clear(q.frames[left:])
	q.frames, q.sending, q.written = q.frames[:left], 0, 0
	if left == 0 && cap(q.frames) > keptQueue {
		q.frames = nil
	}
}

// discard empties the queue, except for what is being written and a frame of which the client has a part: what follows
// would be read as the rest of that.
func (q *queue) discard() {
	kept := max(q.sending, min(q.written, 1))
	q.uncount(q.frames[kept:])
	q.frames = q.frames[:kept]
}

// Sent is what became of a frame.
type Sent uint8

// What became of a frame.
const (
	Queued   Sent = iota // it will be written unless the session ends before
	Dropped              // it is volatile, and the session was busy, or no poll waited
	Overflow             // it did not fit into the queue; the session ends
	Gone                 // the session has ended
)

// Send queues a frame and returns at once. Frames leave in the order of the calls. The session keeps the frame until
// it is written. Send takes the session's own lock only, so the caller may hold its own.
func (s *Session) Send(f *eio.Frame) Sent {
	s.mu.Lock()
	defer s.mu.Unlock()
	sent := s.accept(f)
	if sent == Queued {
		s.transport.flush(nil)
	}
	return sent
}

// Queue is Send without the write, for a caller that holds locks. Write or Send must be called afterwards.
func (s *Session) Queue(f *eio.Frame) Sent {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.accept(f)
}

// Write writes what is queued on the caller's goroutine, as far as the client takes it at once.
func (s *Session) Write() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writeNow()
}

// Waiting returns the memory of what is queued or being written, in bytes (see eio.Frame.Size).
func (s *Session) Waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queue.bytes
}

// accept queues a frame if it may be queued. mu must be held.
func (s *Session) accept(f *eio.Frame) Sent {
	switch {
	case s.state != open:
		return Gone
	case f.IsVolatile() && !s.isIdle():
		return Dropped
	case s.queue.exceeded != noLimit:
		return Overflow
	}
	if by := s.queue.exceededBy(f, s.server.set()); by != noLimit {
		s.overflow(by)
		return Overflow
	}
	s.queue.push(f)
	return Queued
}

// isIdle reports whether a frame would leave at once (the reference: transport.writable). mu must be held.
func (s *Session) isIdle() bool { return len(s.queue.frames) == 0 && s.transport.writable() }

// enqueue queues a frame and starts to send it. mu must be held.
func (s *Session) enqueue(f *eio.Frame) {
	s.queue.push(f)
	s.transport.flush(nil)
}

// writeNow writes what is queued as far as the client takes it at once. mu must be held.
func (s *Session) writeNow() {
	w := writers.Get().(*writer)
	s.transport.flush(w)
	w.count()
	writers.Put(w)
}
