package load

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"time"
)

// Hall is the room that all clients of a Crowd are in. HallSpeaker is the service that sends to it, over NATS.
const (
	Hall        = "hall"
	HallSpeaker = 99_999
)

// Order is a task of a Crowd, a line of JSON on the standard input. The answer to each is a Line with Heard. At most
// one of Speak, Messages and Lose is set; if none is, the clients stay connected for Lasts.
type Order struct {
	Speak    float64       // messages a second, each of a client to the others in its room of RoomSize
	Messages int           // of HallSpeaker; wait until all clients have them
	Lose     string        // address of a server to leave; wait until all of its clients have reconnected elsewhere
	Lasts    time.Duration // of Speak; or the limit of Messages and Lose
}

// Heard is the result of an Order.
type Heard struct {
	Sent      int64 // messages
	Left      int64 // clients that lost their server
	Delivered int64
	Lost      int64
	Doubled   int64
	Reordered int64
	Misplaced int64         // or no message of the scenario
	Latency   *Histogram    // of deliveries, or how long clients were away
	Last      map[int]int64 // of each message to the hall: when the last client had it, in ns since Began
	Attempts  int64         // connects of clients that were away
	Refused   int64         // of these, those that failed
}

// crowd is the state of the clients of a Crowd.
type crowd struct {
	heard     Heard
	spread    *Histogram
	halls     map[int]int64 // of each message to the hall, by its number: when a client had it last
	returns   agenda        // clients that are away
	away      int           // clients that were ready and are not
	remaining []int         // targets that clients come back to
	returned  int           // clients that came back so far
}

// assemble connects a crowd's clients, and executes orders until there are no more.
func (s *swarm) assemble() error {
	s.halls, s.spread = map[int]int64{}, &Histogram{}
	s.number = make([]int, s.job.Clients)
	for i := range s.targets {
		s.remaining = append(s.remaining, i)
	}
	if err := s.gather(); err != nil {
		return err
	}
	if err := s.poll.add(int(os.Stdin.Fd())); err != nil {
		return err
	}
	for {
		order, err := s.nextOrder()
		if err != nil || order == nil {
			return err
		}
		if err := s.obey(order); err != nil {
			return err
		}
	}
}

// nextOrder returns the next order; nil if there are no more.
func (s *swarm) nextOrder() (*Order, error) {
	for !s.released {
		if err := s.step(now() + int64(time.Second)); err != nil {
			return nil, err
		}
	}
	s.released = false
	line, err := s.input.ReadBytes('\n') // a short line, written at once
	if err != nil {
		return nil, nil
	}
	order := &Order{}
	if err := json.Unmarshal(line, order); err != nil {
		return nil, fmt.Errorf("the order: %w", err)
	}
	return order, nil
}

func (s *swarm) obey(o *Order) error {
	s.heard, *s.spread = Heard{}, Histogram{}
	before := s.tally
	clear(s.halls)
	awaited := int64(o.Messages) * int64(s.job.Clients)
	end := now() + int64(o.Lasts)
	var err error
	switch {
	case o.Lose != "":
		err = s.loseServer(o.Lose, end)
	case o.Messages > 0:
		err = s.until(end, func() bool { return s.Distinct-before.Distinct >= awaited })
	case o.Speak > 0:
		awaited, err = s.converse(o.Speak, end, before.Distinct)
	default:
		err = s.until(end, func() bool { return false })
	}
	if err == nil { // 50 ms longer, for duplicates
		err = s.until(now()+int64(50*time.Millisecond), func() bool { return false })
	}
	if err != nil {
		return err
	}
	h := &s.heard
	h.Delivered = s.Distinct - before.Distinct
	h.Lost = awaited - h.Delivered
	h.Doubled, h.Reordered = s.Doubled-before.Doubled, s.Reordered-before.Reordered
	h.Misplaced = s.Misplaced - before.Misplaced + s.Unexpected - before.Unexpected
	h.Latency = s.spread
	h.Last = s.halls
	return s.out.Encode(Line{Heard: h})
}

func (s *swarm) until(end int64, done func() bool) error {
	for !done() && now() < end {
		if err := s.step(end); err != nil {
			return err
		}
	}
	return nil
}

// converse has clients send one after the other, each to its room. It waits until all messages have arrived, or must
// be lost.
func (s *swarm) converse(rate float64, end, before int64) (awaited int64, err error) {
	begin, spoken := now(), 0
	for t := now(); t < end; t = now() {
		due := begin + int64(float64(spoken)*float64(time.Second)/rate)
		for ; due <= t; due = begin + int64(float64(spoken)*float64(time.Second)/rate) {
			s.speakTo(s.order[spoken%len(s.order)], due)
			spoken++
		}
		if err := s.step(min(due, end)); err != nil {
			return 0, err
		}
	}
	s.heard.Sent = int64(spoken)
	awaited = int64(spoken) * int64(s.job.RoomSize-1)
	return awaited, s.until(now()+int64(patience), func() bool { return s.Distinct-before >= awaited })
}

// speakTo has a client send to its room. at is when that was due.
func (s *swarm) speakTo(index int, at int64) {
	var space [256]byte
	c := s.all[index]
	s.say(c, appendAddress(space[:0], c.rooms[0], c.index, s.number[index], at))
	s.number[index]++
}

// overhear handles a message to a client of a crowd.
func (s *swarm) overhear(c *client, packet []byte) {
	speaker, number, at, ok := parse(packet, false)
	inHall := ok
	if !ok {
		speaker, number, at, ok = parseAddress(packet)
	}
	stream := s.job.RoomSize
	switch {
	case !ok:
		s.Unexpected++
		return
	case inHall && speaker != HallSpeaker || !inHall &&
		(speaker/s.job.RoomSize != c.index/s.job.RoomSize || speaker == c.index):
		s.Misplaced++
		return
	case !inHall:
		stream = speaker % s.job.RoomSize
	}
	if !c.streams[stream].take(uint32(number), &s.tally) {
		return
	}
	s.spread.Add(s.at - at)
	if inHall {
		s.halls[number] = s.at
	}
}

// The official client's delays before it reconnects, in ns: the first, and the longest. Each is varied by up to half
// of it.
const (
	firstDelay = int64(time.Second)
	mostDelay  = int64(5 * time.Second)
)

// loseServer has clients connect elsewhere from now on, confirms that, and waits until the clients of that server are
// back.
func (s *swarm) loseServer(address string, end int64) error {
	s.remaining = s.remaining[:0]
	for i, other := range s.job.Addresses {
		if other != address {
			s.remaining = append(s.remaining, i)
		}
	}
	if err := s.out.Encode(Line{Measuring: &Measuring{Phase: address}}); err != nil {
		return err
	}
	leaves := now() + int64(patience)
	if err := s.until(leaves, func() bool { return s.away > 0 }); err != nil {
		return err
	}
	// They do not notice all at once.
	if err := s.until(now()+int64(100*time.Millisecond), func() bool { return false }); err != nil {
		return err
	}
	if err := s.until(end, func() bool { return s.away == 0 }); err != nil {
		return err
	}
	if s.away > 0 {
		return fmt.Errorf("%d clients are not back in time", s.away)
	}
	return nil
}

// depose is called when a crowd's client has lost its connection, or could not connect.
func (s *swarm) depose(c *client) error {
	if c.fd >= 0 {
		if err := s.hangUp(c); err != nil {
			return err
		}
	}
	if c.state == ready {
		s.away++
		s.arrived--
		c.leftAt, c.delay = now(), firstDelay
		s.heard.Left++
	} else {
		s.connecting--
		s.heard.Refused++
		c.delay = min(2*max(c.delay, firstDelay/2), mostDelay)
	}
	c.state = away
	s.returns.add(now()+c.delay/2+rand.Int64N(c.delay), c)
	return nil
}

// comeBack connects the clients that are due, and returns when the next one is.
func (s *swarm) comeBack() (next int64, err error) {
	for {
		c, at := s.returns.first()
		if c == nil || at > now() {
			return at, nil
		}
		s.returns.pop()
		s.heard.Attempts++
		s.returned++
		if err := s.begin(c, s.remaining[s.returned%len(s.remaining)]); err != nil {
			return 0, err
		}
	}
}
