package load

import (
	"bytes"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// state is how far a client's connect has come.
type state byte

const (
	upgrading state = iota // the HTTP upgrade is under way
	opening                // waits for Engine.IO's open
	joining                // waits for Socket.IO's CONNECT
	entering               // waits for the acks of its joins
	ready
	leaving // waits for the end, which it began
)

// client is one connection.
type client struct {
	fd      int
	index   int // of all clients
	state   state
	awaits  int      // acks of joins and leaves that are to come
	rooms   []string // that it joins
	rest    []byte   // the beginning of a frame whose rest has not come
	out     []byte   // what the socket did not take yet
	dirty   bool     // out has something, and nobody has tried to send it
	blocked bool     // the socket takes nothing now
	streams []stream // one for each speaker that it hears
	leaveAt int64    // in Churn
}

const (
	namespace = "/bench"
	upgrade   = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)

// connect begins a client's connect.
func (s *swarm) connect(index int, rooms []string, streams int) (*client, error) {
	to := index % len(s.targets)
	fd, err := dial(index%sources, s.targets[to])
	if err != nil {
		return nil, err
	}
	if fd >= len(s.clients) {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("more than %d open files", len(s.clients))
	}
	c := &client{fd: fd, index: index, rooms: rooms, streams: make([]stream, streams)}
	s.clients[fd] = c
	s.connecting++
	if err := s.poll.add(fd); err != nil {
		return nil, err
	}
	c.out = fmt.Appendf(c.out, upgrade, s.job.Addresses[to])
	return c, s.flush(c)
}

// arrive is called once for each client that is ready.
func (s *swarm) arrive(c *client) {
	c.state = ready
	s.connecting--
	s.arrived++
	if s.onReady != nil {
		s.onReady(c)
	}
}

// say queues a text frame, which goes out at the end of this turn.
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

// flush sends what a client has to send, as far as the socket takes it.
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
			return fmt.Errorf("write to client %d: %w", c.index, err)
		}
	}
	c.out = c.out[:0]
	if cap(c.out) > 4096 || s.job.Kind == Idle {
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
	if c.state == upgrading {
		end := bytes.Index(data, []byte("\r\n\r\n"))
		if end < 0 {
			c.rest = append(c.rest[:0], data...)
			return nil
		}
		if !bytes.HasPrefix(data, []byte("HTTP/1.1 101 ")) {
			return fmt.Errorf("the server does not upgrade: %.80q", data)
		}
		data = data[end+4:]
		if c.state = opening; s.job.Bare {
			s.arrive(c)
		}
	}
	for len(data) > 0 {
		opcode, payload, size, err := cutFrame(data)
		if err != nil {
			return err
		}
		if size == 0 {
			break
		}
		data = data[size:]
		if opcode == opText && c.state == ready && len(payload) == messageSize && payload[0] == '4' {
			s.receive(c, payload)
			continue
		}
		if err := s.control(c, opcode, payload); err != nil {
			return err
		}
	}
	if c.rest = append(c.rest[:0], data...); len(data) == 0 && (cap(c.rest) > 4096 || s.job.Kind == Idle) {
		c.rest = nil
	}
	return nil
}

// ended is called when a connection has ended, which only Churn's clients do.
func (s *swarm) ended(c *client, err error) error {
	if c.state != leaving {
		return fmt.Errorf("the server closed client %d in state %d: %v", c.index, c.state, err)
	}
	s.clients[c.fd] = nil
	if err := unix.Close(c.fd); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	c.fd = -1
	s.gone(c)
	return nil
}

// control handles what is no message of the scenario.
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
	case c.state == opening && packet[0] == '0':
		c.state = joining
		s.say(c, []byte("40"+namespace+","))
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

// enter has a client that is connected to the namespace join its rooms.
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

// ask emits an event with an ack; those of joins have small numbers, shorter than those of echoes.
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
