package engine

// keptQueue is the largest queue slice that an idle session keeps for the next message.
const keptQueue = 16

// Sent is what became of a frame.
type Sent uint8

// What became of a frame.
const (
	Queued   Sent = iota // it will be written unless the session ends before
	Dropped              // volatile, and the session was busy or waits for no packet
	Overflow             // it did not fit into the queue; the session ends
	Gone                 // the session has ended
)

// Send queues a frame and returns at once. Frames leave in the order of the calls. The session keeps the frame until it
// is written. Send takes only the session's own lock, so the caller may hold its own.
func (s *Session) Send(f *Frame) Sent {
	s.mu.Lock()
	defer s.mu.Unlock()
	sent := s.accept(f)
	if sent == Queued {
		s.flush()
	}
	return sent
}

// Queue is Send without the write, for a caller that holds locks, and calls Write or Send when it does no more.
func (s *Session) Queue(f *Frame) Sent {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.accept(f)
}

// Write writes what Queue has queued, as far as the client takes it without a wait, on the caller's goroutine.
func (s *Session) Write() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writeNow()
}

// accept queues a frame, or says why not. Needs mu.
func (s *Session) accept(f *Frame) Sent {
	if s.state != open {
		return Gone
	}
	if f.volatile && !s.idle() {
		return Dropped
	}
	if s.overflowed || s.full(f) {
		s.overflow()
		return Overflow
	}
	s.push(f)
	return Queued
}

// full says whether a frame has no place in the queue. Needs mu.
func (s *Session) full(f *Frame) bool {
	return s.queued+f.Size() > s.server.queueBytes || s.queuedPackets+f.packets > s.server.queuePackets
}

// overflow ends the session. The receiver must not be called from here: the caller may hold locks that Closed wants.
// Needs mu.
func (s *Session) overflow() {
	if !s.overflowed { // a flood of pings comes here again and again
		s.overflowed = true
		s.server.running.Go(func() { s.fail(QueueOverflow) })
	}
}

// Waiting is the memory of what is queued or being written, in bytes (see Frame.Size).
func (s *Session) Waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queued
}

// idle says whether a frame would leave at once (the reference: transport.writable). Needs mu.
func (s *Session) idle() bool {
	if s.conn != nil {
		return !s.writing && len(s.queue) == 0
	}
	return s.poll != nil && len(s.queue) == 0
}

// enqueue queues a frame and sees to it that it is sent. Needs mu.
func (s *Session) enqueue(f *Frame) {
	s.push(f)
	s.flush()
}

// greet sends the first packet, to a WebSocket together with the answer to its request: one write less, and one time less
// that the client is woken. Needs mu.
func (s *Session) greet(f *Frame) {
	if s.conn == nil {
		s.enqueue(f)
		return
	}
	f.ws = append(s.conn.held, f.ws...)
	s.conn.held = nil
	s.push(f)
	s.writeNow()
}

// writeNow writes what is queued as far as the client takes it without a wait. Needs mu.
func (s *Session) writeNow() {
	s.dirty = true
	w := directWriters.Get().(*directWriter)
	w.flush(s)
	w.count()
	directWriters.Put(w)
}

// push queues a frame. Needs mu.
func (s *Session) push(f *Frame) {
	if s.queue == nil {
		s.queue, s.spare = s.spare, nil
	}
	s.queue = append(s.queue, f)
	s.queued += f.Size()
	s.queuedPackets += f.packets
}

// flush sees to it that the queue is being sent. Needs mu.
func (s *Session) flush() {
	switch {
	case len(s.queue) == 0:
	case s.conn != nil:
		if !s.writing {
			s.writing = true
			s.server.running.Add(1)
			go s.write(s.conn)
		}
	case s.poll != nil:
		s.poll.wake()
	}
}

// take empties the queue; the bytes count until released. written is how many bytes of the first frame the client has.
// Needs mu.
func (s *Session) take() (frames []*Frame, written int) {
	frames, written = s.queue, s.written
	s.queue, s.written = nil, 0
	return frames, written
}

// discard empties the queue, except for a frame of which the client has a part: what follows would be read as the rest of
// that. Needs mu.
func (s *Session) discard() {
	first := min(s.written, 1)
	for _, f := range s.queue[first:] {
		s.queued -= f.Size()
		s.queuedPackets -= f.packets
	}
	clear(s.queue[first:])
	s.queue = s.queue[:first]
}

// release gives back what take took, once it is written. Needs mu.
func (s *Session) release(frames []*Frame) {
	for _, f := range frames {
		s.queued -= f.Size()
		s.queuedPackets -= f.packets
	}
	clear(frames)
	if s.spare == nil && cap(frames) <= keptQueue {
		s.spare = frames[:0]
	}
}

// write sends what is queued until nothing is left, and ends. There is no writer while a session is idle.
func (s *Session) write(conn *wsConn) {
	defer s.server.running.Done()
	for {
		s.mu.Lock()
		frames, written := s.take()
		if len(frames) == 0 {
			s.writing = false
			ending, readerDone := s.state != open, s.readerDone
			s.mu.Unlock()
			switch {
			case readerDone:
				conn.close()
			case ending:
				conn.expectEnd(closeTimeout)
			}
			return
		}
		s.mu.Unlock()
		n, err := conn.writeFrames(frames, written)
		s.server.stats.bytesOut.Add(n)
		s.mu.Lock()
		s.release(frames)
		s.mu.Unlock()
		if err != nil {
			// The reader of the connection sees the same, and ends the session if it is still open.
			conn.close()
			s.mu.Lock()
			s.drop(len(s.queue))
			s.mu.Unlock()
		}
	}
}
