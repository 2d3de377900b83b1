package backend

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/nats-io/nats.go"

	"partyline/subjects"
	"partyline/wire/msg"
)

// leave has the end markers that edges have sent to an instance that leaves.
type leave struct {
	mu      sync.Mutex
	markers map[marker]bool // guarded by mu: those that have come
	came    chan struct{}   // guarded by mu; closed and replaced when one comes
}

// marker is an end marker: nothing more comes from the edge in the namespace.
type marker struct{ namespace, edge string } // the namespace's token, the edge's id

func (l *leave) init() {
	l.markers = make(map[marker]bool)
	l.came = make(chan struct{})
}

// marker notes an end marker.
func (l *leave) marker(namespace string, body []byte) {
	var about msg.EdgeNotice
	if msg.ParseNotice(body, &about) != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.markers[marker{namespace, about.Edge}] = true
	close(l.came)
	l.came = make(chan struct{})
}

// missing returns those of the markers that have not come, and what closes when one comes.
func (l *leave) missing(wanted []marker) (missing []marker, came <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range wanted {
		if !l.markers[m] {
			missing = append(missing, m)
		}
	}
	return missing, l.came
}

// Close takes the instance out of service so that no client notices. It announces that it leaves; the edges stop
// sending and hold what comes; it finishes all that they have sent, runs the handlers of OnHandover, and says that it
// has left; then the edges give its sockets, and what they held, to other instances. Then it finishes what came for
// any instance, and ends its subscriptions. The NATS connection stays open.
//
// ctx bounds all that. When it ends, Close gives up: events that wait for handlers are dropped, the contexts of handlers
// end, and the error reports it; handlers that run on are not waited for. After Close everything fails with Closed.
func (s *Service) Close(ctx context.Context) error {
	if s.state.CompareAndSwap(fresh, closed) {
		s.cancel()
		s.unconfirmed.close()
		return nil
	}
	s.assigning.Lock()
	first := s.state.CompareAndSwap(running, leaving)
	s.assigning.Unlock()
	if !first {
		return nil // it has been closed, or is being closed
	}
	err := errors.Join(s.handOver(ctx), s.finish(ctx))
	s.abandon()
	return err
}

// abandon ends everything at once. It does not wait for handlers that run.
func (s *Service) abandon() { s.ended.Do(s.cutOff) }

func (s *Service) cutOff() {
	busy := s.lanes.stop()
	s.cancel()
	close(s.fence.stop)
	s.unconfirmed.close()
	s.working.Wait()
	for _, sub := range slices.Concat(s.subs.take(), s.clientSubs.take(), s.ownSubs.take()) {
		_ = sub.Unsubscribe()
	}
	for _, so := range s.owners.all() {
		s.owners.remove(so)
		so.own.end()
	}
	s.state.Store(closed)
	if busy == 0 {
		s.lanes.running.Wait()
	} else {
		s.log.Error("handlers run on after Close: they have not returned in time", "handlers", busy)
	}
}

// handOver stops the edges' sending, and finishes what they have sent to this instance.
func (s *Service) handOver(ctx context.Context) error {
	wanted, failed := s.sayLeaving(ctx)
	if failed == nil {
		failed = s.leave.await(ctx, &s.edges, wanted)
	}
	sockets := s.owners.all()
	done := make(chan struct{}, len(sockets))
	for _, so := range sockets {
		s.lanes.always(laneKey{so.ns.token, so.id}, func() {
			s.release(so, handingOver)
			done <- struct{}{}
		})
	}
	for range sockets {
		select {
		case <-done:
		case <-ctx.Done():
			return errors.Join(failed, because(NoAnswer, ctx.Err(), "Close: handlers of owned sockets have not finished"))
		}
	}
	return failed
}

// sayLeaving announces that the instance leaves. It returns the end markers that the edges have sent, by their
// answers.
func (s *Service) sayLeaving(ctx context.Context) (wanted []marker, err error) {
	if all, _ := s.edges.living(); len(all) == 0 {
		return nil, s.say(subjects.WordLeaving) // no edge would answer
	}
	bound, cancel := context.WithTimeout(ctx, s.wait)
	defer cancel()
	silent, err := s.questions.gather(bound, s.announcement(s.Instance(), subjects.WordLeaving), &gathering{
		members: s.edges.living, lives: s.edges.lives,
		take: func(m *nats.Msg) (string, error) {
			answer, err := msg.ParseHandedOver(m.Data)
			if err != nil {
				return "", nil
			}
			for _, namespace := range answer.Markers {
				if token, err := subjects.AppendNamespace(nil, namespace); err == nil {
					wanted = append(wanted, marker{string(token), answer.Edge})
				}
			}
			return answer.Edge, nil
		},
	})
	if err == nil && len(silent) > 0 {
		s.log.Warn("edges did not answer that this instance leaves", "edges", silent)
	}
	return wanted, err
}

// await waits until all end markers have come from edges that live.
func (l *leave) await(ctx context.Context, edges *edges, wanted []marker) error {
	for {
		_, edgesChanged := edges.living()
		missing, came := l.missing(wanted)
		if !slices.ContainsFunc(missing, func(m marker) bool { return edges.lives(m.edge) }) {
			return nil
		}
		select {
		case <-came:
		case <-edgesChanged:
		case <-ctx.Done():
			return because(NoAnswer, ctx.Err(), "Close: %d end markers of edges have not come", len(missing))
		}
	}
}

// finish ends the subscriptions, handles what has come on them, and announces that the instance has left.
func (s *Service) finish(ctx context.Context) error {
	return errors.Join(
		s.clientSubs.drain(ctx, s.nc),
		s.sayFlushed(ctx, subjects.WordLeft),
		s.ownSubs.drain(ctx, s.nc),
		s.lanes.wait(ctx),
		s.sayFlushed(ctx, subjects.WordBye),
	)
}

// sayFlushed publishes an announcement, and waits until NATS has taken it. It returns nil if there is no connection:
// then the edges miss this instance's beats.
func (s *Service) sayFlushed(ctx context.Context, word string) error {
	if s.say(word) != nil {
		return nil
	}
	if err := s.flushed(ctx); err != nil {
		return because(Offline, err, "Close")
	}
	return nil
}
