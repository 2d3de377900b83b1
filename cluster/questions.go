package cluster

import (
	"sync"
	"time"

	"github.com/nats-io/nats.go/micro"
	"golang.org/x/time/rate"

	"partyline/bus"
)

// How many questions of one kind are answered: so many at once after a quiet time, and so many a second. A dashboard
// asks a few a second. Of a service that starts with many instances, those that get no answer to their hello receive a
// beat.
const (
	microBurst, microPerSecond = 50, 10
	helloBurst, helloPerSecond = 500, 200
)

// questions are what an edge is asked about itself. Each kind has a share of its own.
type questions struct {
	micro  map[string][]*question // of the service protocol: by verb, and by the parts of its subject; static
	hellos *question              // of instances; static
	tell   *rate.Sometimes        // logs that some are not answered
}

func newQuestions() questions {
	q := questions{
		micro: make(map[string][]*question), hellos: newQuestion(helloPerSecond, helloBurst), tell: &rate.Sometimes{Interval: time.Minute},
	}
	for _, verb := range []micro.Verb{micro.PingVerb, micro.InfoVerb, micro.StatsVerb} {
		for range microSubjects("") {
			q.micro[verb.String()] = append(q.micro[verb.String()], newQuestion(microPerSecond, microBurst))
		}
	}
	return q
}

// question is one kind of question, and those that wait for their answer. Those that come together get the same one.
type question struct {
	limiter *rate.Limiter

	mu      sync.Mutex
	replies []string // guarded by mu: where the answer goes
}

func newQuestion(perSecond rate.Limit, burst int) *question {
	return &question{limiter: rate.NewLimiter(perSecond, burst)}
}

// add has a question answered by the bus's worker, which calls answer, or drops and counts it. It never blocks, and
// costs little: a flood of questions passes here on the goroutine that delivers.
func (a *question) add(c *Cluster, reply string, answer func() ([]byte, bus.Header)) {
	if !a.limiter.Allow() {
		c.stats.unanswered.Inc()
		c.questions.tell.Do(func() {
			c.complaints.Warn("requests to this edge are not answered: they come faster than it answers them", "", nil)
		})
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.replies = append(a.replies, reply); len(a.replies) > 1 {
		return // the worker has been asked
	}
	c.set.Bus.Do(func() {
		a.mu.Lock()
		replies := a.replies
		a.replies = nil
		a.mu.Unlock()
		body, header := answer()
		for _, reply := range replies {
			c.set.Bus.Later(bus.Letter{Subject: reply, Header: header, Body: body})
		}
	})
}
