package load

import (
	"strconv"
	"time"
)

// Successive clients of Churn share rooms, and stay for some time.
const (
	churnRoom = 50 // clients that join the same three rooms
	churnStay = 2 * time.Second
)

// churning is the state of Churn.
type churning struct {
	came, went int
	leavers    []*client // that are ready, in the order in which they will leave
}

// churn has clients come at the phase's rate, join three rooms, send, leave one room, and go.
func (s *swarm) churn() error {
	p := s.job.Phases[0]
	s.latency = &Histogram{}
	starts := map[int]int64{} // when a client began to come, by its index
	s.onReady = func(c *client) {
		c.leaveAt = now() + int64(churnStay)
		s.latency.Add(now() - starts[c.index])
		delete(starts, c.index)
		s.say(c, appendMessage(nil, c.index%100_000, 0, now()))
		s.leavers = append(s.leavers, c)
	}
	cost, err := s.meter()
	if err != nil {
		return err
	}
	if err := s.out.Encode(Line{Measuring: &Measuring{Phase: p.Name, Lasts: p.Lasts}}); err != nil {
		return err
	}
	begin := now()
	end := begin + int64(p.Lasts)
	late := end + int64(patience)
	total := int(p.Rate * p.Lasts.Seconds())
	for s.went < total && now() < late {
		next, err := s.comeAndGo(p, begin, total, starts)
		if err != nil {
			return err
		}
		if err := s.step(min(next, late)); err != nil {
			return err
		}
	}
	sum, err := cost()
	if err != nil {
		return err
	}
	d := &Done{Phase: p.Name, Seconds: sum.seconds, Sent: int64(s.came), Delivered: int64(s.went), CPU: sum.cpu,
		Own: sum.own, Others: sum.others}
	d.P50, d.P99, d.Most = s.latency.Quantile(.5), s.latency.Quantile(.99), s.latency.Most
	d.Lost = int64(total - s.went)
	return s.out.Encode(Line{Done: d})
}

// comeAndGo starts and ends the clients that are due, and returns when the next one is.
func (s *swarm) comeAndGo(p Phase, begin int64, total int, starts map[int]int64) (next int64, err error) {
	t := now()
	next = t + int64(time.Second)
	for s.came < total {
		due := begin + int64(float64(s.came)*float64(time.Second)/p.Rate)
		if due > t {
			next = due
			break
		}
		starts[s.came] = t
		if err := s.come(); err != nil {
			return 0, err
		}
	}
	for len(s.leavers) > 0 && s.leavers[0].leaveAt <= t {
		s.ask(s.leavers[0], 9, "leave", s.leavers[0].rooms[0])
		s.leavers = s.leavers[1:]
	}
	if len(s.leavers) > 0 {
		next = min(next, s.leavers[0].leaveAt)
	}
	return next, nil
}

func (s *swarm) come() error {
	room := "churn-" + strconv.Itoa(s.came/churnRoom) + "-"
	_, err := s.connect(s.came, []string{room + "a", room + "b", room + "c"}, 0)
	s.came++
	return err
}

// depart is called when a client of Churn has left its room. It disconnects as the official client does.
func (s *swarm) depart(c *client) {
	c.state = leaving
	s.say(c, []byte("41"+namespace+","))
	c.out = appendFrame(c.out, opClose, []byte{3, 0xe8})
}

// gone is called when a client's connection has ended.
func (s *swarm) gone(*client) { s.went++ }
