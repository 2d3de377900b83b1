package soak

import (
	"sync"
	"time"
)

// longest is how long a program may be without a processor before what follows is a fault of the machine. Edges and
// services take each other for dead after some seconds of silence.
const longest = 2 * time.Second

// pulse counts how often the machine stalled.
type pulse struct {
	mu sync.Mutex
	n  int // guarded by mu
}

// stalls returns how often a program was without a processor for longer than it may.
func (s *stage) stalls() int {
	s.pulse.mu.Lock()
	defer s.pulse.mu.Unlock()
	return s.pulse.n
}

// feel notices from now on that a program is without a processor: this one, which has clients, service and the ways to
// NATS; NATS; or an edge.
func (s *stage) feel() {
	s.beat(s.edges, func() bool { return true })
	s.beat(s.edges, func() bool { return s.nc.FlushTimeout(time.Minute) == nil })
	for _, p := range s.edges {
		s.beat([]*place{p}, func() bool {
			response, err := polls.Get("http://" + p.adminAddress() + "/healthz")
			if err == nil {
				_ = response.Body.Close()
			}
			return err == nil
		})
	}
}

// beat tries something again and again. When that takes too long, places have stalled.
func (s *stage) beat(places []*place, try func() bool) {
	s.running.Go(func() {
		last := time.Now()
		ticker := time.NewTicker(200 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-s.over:
				return
			case <-ticker.C:
			}
			if !try() {
				continue
			}
			now := time.Now()
			if now.Sub(last) > longest && !(len(places) == 1 && places[0].suffers(now)) {
				s.pulse.mu.Lock()
				s.pulse.n++
				s.pulse.mu.Unlock()
				for _, p := range places {
					p.stalled(last, now)
				}
			}
			last = now
		}
	})
}
