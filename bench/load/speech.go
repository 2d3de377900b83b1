package load

import (
	"fmt"
	"time"
)

// speech is the state of sending and of what has arrived.
type speech struct {
	tally
	isEcho    bool
	number    []int   // the next number of each speaker
	awaited   int64   // deliveries of all messages so far
	listeners int64   // of one message
	missing   []int32 // of a message, by its number: listeners that do not have it; for a window
	underWay  int     // messages in flight
	left      []int32 // of each speaker's last message: listeners that do not have it; for rooms
	said      int64   // messages
	spoken    int     // by the schedule; also selects the next speaker
	closed    bool    // an ack is followed by the next echo, a message that all listeners have by the speaker's next
	hushed    bool    // nothing more is sent
	measuring bool
	latency   *Histogram
}

func (s *swarm) prepare() {
	s.isEcho = s.job.Kind == Echo
	s.number = make([]int, len(s.all))
	s.listeners = 1
	switch s.job.Kind {
	case Fanout:
		s.listeners = int64(s.job.Clients)
		s.order = []int{s.job.Clients} // the last client is the speaker
		s.missing = make([]int32, 1<<12)
	case Post:
		s.number = make([]int, s.job.Posters)
	case Rooms:
		s.listeners = int64(s.job.RoomSize) - 1
		s.left = make([]int32, len(s.all))
	}
}

// utter has a client send its next message. at is when that was due.
func (s *swarm) utter(index int, at int64) {
	var space [256]byte
	var packet []byte
	number := s.number[index]
	s.number[index]++
	if s.isEcho {
		packet = appendEcho(space[:0], index, number, at)
	} else {
		packet = appendMessage(space[:0], index, number, at)
	}
	if s.missing != nil {
		s.missing[number%len(s.missing)] = int32(s.listeners)
		s.underWay++
	}
	if s.left != nil {
		s.left[index] = int32(s.listeners)
	}
	s.said++
	s.awaited += s.listeners
	if s.job.Kind == Post {
		if err := s.post(index, number, at); err != nil {
			s.failed = err
		}
		return
	}
	s.say(s.all[index], packet)
}

// receive handles a message, or an echo's ack.
func (s *swarm) receive(c *client, packet []byte) {
	switch s.job.Kind {
	case Churn:
		return // who receives what depends on who is connected
	case Crowd:
		s.overhear(c, packet)
		return
	}
	speaker, number, at, ok := parse(packet, s.isEcho)
	if !ok {
		s.Unexpected++
		return
	}
	which, ok := s.hears(c, speaker)
	if !ok {
		s.Misplaced++
		return
	}
	if !c.streams[which].take(uint32(number), &s.tally) {
		return
	}
	if s.measuring {
		s.latency.Add(s.at - at)
	}
	if s.missing != nil {
		if left := &s.missing[number%len(s.missing)]; *left == 1 {
			*left = 0
			s.underWay--
		} else {
			*left--
		}
	}
	if s.left != nil {
		s.left[speaker]--
	}
	if s.closed && !s.hushed && s.job.Kind != Post && (s.left == nil || s.left[speaker] == 0) {
		s.utter(speaker, s.at) // in Echo the client itself
	}
}

// hears returns a speaker's stream at a client; ok is false if the client must not receive from that speaker.
func (s *swarm) hears(c *client, speaker int) (stream int, ok bool) {
	switch s.job.Kind {
	case Fanout:
		return 0, speaker == s.job.Clients && c.index != speaker
	case Post:
		return speaker, speaker < s.job.Posters
	case Rooms:
		return speaker % s.job.RoomSize, speaker/s.job.RoomSize == c.index/s.job.RoomSize && c.index != speaker
	}
	return 0, speaker == c.index
}

// speak runs a phase: warming up, measuring, and waiting for all messages.
func (s *swarm) speak(p Phase) error {
	before, lostBefore := s.tally, s.awaited-s.Distinct
	begin := now()
	measured := begin + int64(p.Warm)
	end := measured + int64(p.Lasts)
	var cost func() (spent, error)
	var said, distinct int64
	var err error
	s.hushed, s.measuring, s.closed = false, false, s.job.Kind != Fanout && p.Rate == 0
	s.spoken = 0
	s.beginClosed(p)
	for t := now(); t < end || cost == nil; t = now() {
		if !s.measuring && t >= measured {
			if cost, err = s.meter(); err != nil {
				return err
			}
			s.measuring, s.latency, said, distinct = true, &Histogram{}, s.said, s.Distinct
			if err := s.out.Encode(Line{Measuring: &Measuring{Phase: p.Name, Lasts: p.Lasts}}); err != nil {
				return err
			}
		}
		next := s.dueUntil(p, begin, t)
		if !s.measuring {
			next = min(next, measured)
		}
		if err := s.step(min(next, end)); err != nil {
			return err
		}
	}
	sum, err := cost()
	if err != nil {
		return err
	}
	d := &Done{Phase: p.Name, Seconds: sum.seconds, Sent: s.said - said, Delivered: s.Distinct - distinct, CPU: sum.cpu,
		Own: sum.own, Others: sum.others}
	d.P50, d.P99, d.Most = s.latency.Quantile(.5), s.latency.Quantile(.99), s.latency.Most
	s.measuring, s.hushed = false, true
	if err := s.drain(); err != nil {
		return err
	}
	d.Lost = s.awaited - s.Distinct - lostBefore
	d.Doubled, d.Reordered = s.Doubled-before.Doubled, s.Reordered-before.Reordered
	d.Misplaced = s.Misplaced - before.Misplaced + s.Unexpected - before.Unexpected
	return s.out.Encode(Line{Done: d})
}

// beginClosed has all clients emit first where each message follows the previous one's arrival.
func (s *swarm) beginClosed(p Phase) {
	if !s.closed {
		return
	}
	for _, index := range s.order {
		for range p.Window {
			s.utter(index, now())
		}
	}
}

// dueUntil sends what is due, and returns when the next message is.
func (s *swarm) dueUntil(p Phase, begin, t int64) int64 {
	if s.closed {
		return t + int64(time.Second)
	}
	if p.Rate == 0 {
		for s.underWay < p.Window {
			s.utter(s.order[0], t)
		}
		return t + int64(time.Second)
	}
	gap := float64(time.Second) / p.Rate
	for {
		due := begin + int64(float64(s.spoken)*gap)
		if due > t {
			return due
		}
		s.utter(s.order[s.spoken%len(s.order)], due)
		s.spoken++
	}
}

// drain waits until all messages have arrived, or must be lost, and 50 ms longer for duplicates.
func (s *swarm) drain() error {
	late := now() + int64(patience)
	for s.Distinct < s.awaited && now() < late {
		if err := s.step(late); err != nil {
			return err
		}
	}
	for end := now() + int64(50*time.Millisecond); now() < end; {
		if err := s.step(end); err != nil {
			return err
		}
	}
	if s.missing != nil && s.underWay > 0 && s.Distinct < s.awaited {
		return fmt.Errorf("%d messages did not reach all", s.underWay)
	}
	return nil
}
