package load

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// state is how far a client's connect has come.
type state byte

const (
	greeting  state = iota // waits for the answer to the handshake of polling
	upgrading              // the HTTP upgrade is under way
	probing                // waits for the answer to the probe of a WebSocket that takes over from polling
	opening                // waits for Engine.IO's open
	joining                // waits for Socket.IO's CONNECT
	entering               // waits for the acks of its joins
	ready
	leaving // waits for the end of its connection
	away    // has lost its connection, and will reconnect
)

// client is one connection.
type client struct {
	fd      int
	index   int // of all clients
	state   state
	awaits  int      // acks of joins and leaves that it waits for
	rooms   []string // that it joins
	rest    []byte   // the first part of an incomplete frame
	out     []byte   // what is not sent yet
	dirty   bool     // out has something that was not sent yet
	blocked bool     // the socket's send buffer is full
	streams []stream // one for each speaker
	leaveAt int64    // in Churn
	leftAt  int64    // in Crowd: when it lost its connection; 0 if it is there
	delay   int64    // in Crowd: the mean wait before its next connect, in ns
}

const (
	namespace = "/bench"
	upgrade   = "GET /socket.io/?EIO=4&transport=websocket%s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)

// connect creates a client and begins its connect.
func (s *swarm) connect(index int, rooms []string, streams int) (*client, error) {
	c := &client{fd: -1, index: index, rooms: rooms, streams: make([]stream, streams)}
	return c, s.begin(c, index%len(s.targets))
}

// begin begins a client's connect to a target.
func (s *swarm) begin(c *client, to int) error {
	s.connecting++
	if s.job.Across {
		return s.request(c, to, greeting, fmt.Sprintf(handshake, s.job.Addresses[to]))
	}
	return s.request(c, to, upgrading, fmt.Sprintf(upgrade, "", s.job.Addresses[to]))
}

// request sends an HTTP request over a new connection of a client.
func (s *swarm) request(c *client, to int, next state, text string) error {
	c.state = next
	fd, err := dial(c.index%sources, s.targets[to])
	if err != nil {
		if s.job.Kind == Crowd && errors.Is(err, unix.ECONNREFUSED) {
			return s.depose(c)
		}
		return err
	}
	if fd >= len(s.clients) {
		_ = unix.Close(fd)
		return fmt.Errorf("more than %d open files", len(s.clients))
	}
	c.fd = fd
	s.clients[fd] = c
	if err := s.poll.add(fd); err != nil {
		return err
	}
	c.out = append(c.out[:0], text...)
	c.rest, c.blocked = nil, false
	return s.flush(c)
}

// hangUp closes a client's connection.
func (s *swarm) hangUp(c *client) error {
	s.clients[c.fd] = nil
	if err := unix.Close(c.fd); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	c.fd, c.dirty = -1, false
	return nil
}

// arrive is called once for each client that is ready.
func (s *swarm) arrive(c *client) {
	c.state = ready
	s.connecting--
	s.arrived++
	if c.leftAt > 0 {
		s.away--
		s.spread.Add(now() - c.leftAt)
		c.leftAt = 0
	}
	if s.onReady != nil {
		s.onReady(c)
	}
}

// say queues a text frame, which is sent at the end of this step.
func (s *swarm) say(c *client, payload []byte) {
	c.out = appendFrame(c.out, opText, payload)
	s.soil(c)
}

func (s *swarm) soil(c *client) {
	if !c.dirty && !c.blocked {
		c.dirty = true
		s.dirty = append(s.dirty, c)
	}
}

// flush sends as much as the socket takes.
func (s *swarm) flush(c *client) error {
	c.dirty = false
	for sent := 0; sent < len(c.out); {
		n, err := unix.Write(c.fd, c.out[sent:])
		switch err {
		case nil:
			sent += n
		case unix.EAGAIN:
			c.out = c.out[:copy(c.out, c.out[sent:])]
			c.blocked = true
			return s.poll.writable(c.fd, true)
		case unix.EINTR:
		default:
			if s.job.Kind == Crowd {
				return s.depose(c)
			}
			return fmt.Errorf("write to client %d: %w", c.index, err)
		}
	}
	c.out = c.out[:0]
	if cap(c.out) > 4096 || s.job.Kind == Idle || s.job.Kind == Crowd {
		c.out = nil
	}
	return nil
}

func (s *swarm) unblock(c *client) error {
	c.blocked = false
	if err := s.poll.writable(c.fd, false); err != nil {
		return err
	}
	return s.flush(c)
}

// read reads once from a client, and handles all whole frames.
func (s *swarm) read(c *client) error {
	if c.fd < 0 {
		return nil
	}
	had := copy(s.buffer, c.rest)
	n, err := unix.Read(c.fd, s.buffer[had:])
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
		return nil
	case err != nil || n == 0:
		return s.ended(c, err)
	}
	data := s.buffer[:had+n]
	s.at = now()
	if c.state == greeting || c.state == upgrading {
		if data, err = s.answered(c, data); data == nil {
			return err
		}
	}
	return s.frames(c, data)
}

// answered handles the response to a request. It returns the frames after it, or nil if none can follow yet.
func (s *swarm) answered(c *client, data []byte) ([]byte, error) {
	end := bytes.Index(data, []byte("\r\n\r\n"))
	switch {
	case end < 0:
		c.rest = append(c.rest[:0], data...)
		return nil, nil
	case c.state == greeting && bytes.HasPrefix(data, []byte("HTTP/1.1 200 ")):
		return nil, s.cross(c, data)
	case c.state == upgrading && bytes.HasPrefix(data, []byte("HTTP/1.1 101 ")):
	case s.job.Kind == Crowd:
		return nil, s.depose(c)
	default:
		return nil, fmt.Errorf("the server does not upgrade: %.80q", data)
	}
	switch c.state = opening; {
	case s.job.Bare:
		s.arrive(c)
	case s.job.Across:
		c.state = probing
		s.say(c, []byte("2probe"))
	}
	return data[end+4:], nil
}

// frames handles all whole frames that were read.
func (s *swarm) frames(c *client, data []byte) error {
	for len(data) > 0 {
		opcode, payload, size, err := cutFrame(data)
		if err != nil {
			return err
		}
		if size == 0 {
			break
		}
		data = data[size:]
		if opcode == opText && c.state == ready && len(payload) >= messageSize && payload[0] == '4' {
			s.receive(c, payload)
			continue
		}
		if err := s.control(c, opcode, payload); err != nil {
			return err
		}
	}
	if c.fd < 0 {
		return nil // it has lost its connection meanwhile
	}
	if c.rest = append(c.rest[:0], data...); len(data) == 0 && (cap(c.rest) > 4096 || s.job.Kind == Idle) {
		c.rest = nil
	}
	return nil
}

// ended is called when a connection has ended, which only Churn's and Crowd's clients do.
func (s *swarm) ended(c *client, err error) error {
	if s.job.Kind == Crowd {
		return s.depose(c)
	}
	if c.state != leaving {
		return fmt.Errorf("the server closed client %d in state %d: %v", c.index, c.state, err)
	}
	s.gone(c)
	return s.hangUp(c)
}

// control handles packets that are no messages of the scenario.
func (s *swarm) control(c *client, opcode byte, payload []byte) error {
	switch opcode {
	case opText:
	case opPing:
		c.out = appendFrame(c.out, opPong, payload)
		s.soil(c)
		return nil
	case opClose:
		if c.state == leaving {
			return nil
		}
		fallthrough
	default:
		return fmt.Errorf("client %d got a frame of opcode %#x: %.80q", c.index, opcode, payload)
	}
	packet := string(payload)
	switch {
	case packet == "2":
		s.say(c, []byte("3"))
	case c.state == probing && packet == "3probe":
		s.say(c, []byte("5"))
		s.join(c)
	case c.state == opening && packet[0] == '0':
		s.join(c)
	case c.state == joining && bytes.HasPrefix(payload, []byte("40"+namespace+",")):
		s.enter(c)
	case bytes.HasPrefix(payload, []byte("43"+namespace+",")) && c.awaits > 0:
		s.acked(c)
	case s.job.Kind == Churn && (c.state == leaving || bytes.HasPrefix(payload, []byte(messagePrefix))):
	default:
		s.tally.Unexpected++
		return fmt.Errorf("client %d in state %d got %.80q", c.index, c.state, payload)
	}
	return nil
}

// join sends a client's CONNECT.
func (s *swarm) join(c *client) {
	c.state = joining
	auth := ""
	if len(s.job.Auth) > 0 {
		auth = s.job.Auth[c.index%len(s.job.Auth)]
	}
	s.say(c, []byte("40"+namespace+","+auth))
}

// enter has a client, connected to its namespace, join its rooms.
func (s *swarm) enter(c *client) {
	if len(c.rooms) == 0 {
		s.arrive(c)
		return
	}
	c.state = entering
	for i, room := range c.rooms {
		s.ask(c, i, "join", room)
	}
}

// ask emits an event with an ack. Acks of joins have smaller, and so shorter, ids than those of echoes.
func (s *swarm) ask(c *client, id int, event, room string) {
	c.awaits++
	s.say(c, []byte("42"+namespace+","+strconv.Itoa(id)+`["`+event+`","`+room+`"]`))
}

func (s *swarm) acked(c *client) {
	if c.awaits--; c.awaits > 0 {
		return
	}
	switch c.state {
	case entering:
		s.arrive(c)
	case ready:
		s.depart(c)
	}
}
