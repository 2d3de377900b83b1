package backend

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/subjects"
	"partyline/wire/msg"
)

// presence is how others reach this instance: its name and its subscriptions.
type presence struct {
	out        *connection
	namespaces *namespaces
	group      string
	assigning  sync.RWMutex // held for reading while this instance accepts a socket; taken before mu

	mu       sync.Mutex
	instance string   // guarded by mu; <group>-<8 random characters>, another one after a fence
	former   []string // guarded by mu; earlier names, whose goodbye has not been said

	subs       subscriptions // announcements, events of other services, answers to pauses
	clientSubs subscriptions // messages for any instance of the group
	ownSubs    subscriptions // of the instance's name
}

// subscriptions are some that end together.
type subscriptions struct {
	mu   sync.Mutex
	list []*nats.Subscription // guarded by mu
}

// add subscribes handle to what is wanted.
func (ss *subscriptions) add(c *connection, handle nats.MsgHandler, wanted ...interest) error {
	for _, w := range wanted {
		sub, err := c.subscribe(w.subject, w.queue, handle)
		if err != nil {
			return err
		}
		ss.mu.Lock()
		ss.list = append(ss.list, sub)
		ss.mu.Unlock()
	}
	return nil
}

// take returns the subscriptions, which the caller ends.
func (ss *subscriptions) take() []*nats.Subscription {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	list := ss.list
	ss.list = nil
	return list
}

// lost is how many messages nats.go dropped because they came faster than they were taken.
func (ss *subscriptions) lost() (lost uint64) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	for _, sub := range ss.list {
		if n, err := sub.Dropped(); err == nil {
			lost += uint64(n)
		}
	}
	return lost
}

// settle waits until all messages that had come on the subscriptions before have been handled.
func (ss *subscriptions) settle(ctx context.Context) {
	ss.mu.Lock()
	list := slices.Clone(ss.list)
	ss.mu.Unlock()
	for _, sub := range list {
		waiting, _, _ := sub.Pending() // of a closed one 0; nats.go counts a message until its handler has returned
		before, _ := sub.Delivered()
		for last := before + int64(waiting); waiting > 0 && ctx.Err() == nil; time.Sleep(time.Millisecond) {
			if now, err := sub.Delivered(); err != nil || now > last {
				break
			}
			waiting, _, _ = sub.Pending()
		}
	}
}

// drain ends the subscriptions, and waits until all messages that had come on them have been handled.
func (ss *subscriptions) drain(ctx context.Context, nc *nats.Conn) error {
	list := ss.take()
	for i, sub := range list {
		ended := make(chan struct{})
		sub.SetClosedHandler(func(string) { close(ended) })
		if !nc.IsConnected() || sub.Drain() != nil {
			_ = sub.Unsubscribe() // nothing comes any more
			continue
		}
		select {
		case <-ended:
		case <-ctx.Done():
			for _, sub := range list[i:] {
				_ = sub.Unsubscribe()
			}
			return because(NoAnswer, ctx.Err(), "Close: a subscription has not ended")
		}
	}
	return nil
}

// name is what the instance is called now.
func (p *presence) name() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.instance
}

// say publishes an announcement of this instance.
func (p *presence) say(word string) error { return p.out.publish(p.announcement(p.name(), word)) }

// announcement is one of this instance under one of its names.
func (p *presence) announcement(instance, word string) *nats.Msg {
	a := msg.InstanceAnnouncement{
		Instance: instance, Group: p.group, Owns: p.namespaces.owned(), Namespaces: []string{}, At: time.Now().UnixMilli(), Every: msg.BeatEvery.Milliseconds(),
	}
	for _, n := range p.namespaces.all { // sorted
		if n.isAnnounced() {
			a.Namespaces = append(a.Namespaces, n.name)
		}
	}
	return &nats.Msg{Subject: p.out.prefix.InstanceAnnouncement(p.group, instance, word), Data: a.Body()}
}

// buryFormer publishes bye for earlier names, so that edges need not wait until these have missed their beats.
func (p *presence) buryFormer() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.former) > 0 && p.out.publish(p.announcement(p.former[0], subjects.WordBye)) == nil {
		p.former = p.former[1:]
	}
}

// takeName subscribes to messages for the instance by its name.
func (s *Service) takeName() error {
	name := s.Instance()
	if err := s.ownSubs.add(s.connection, s.handle, s.namespaces.instanceSubjects(s.prefix, name)...); err != nil {
		return err
	}
	return s.ownSubs.add(s.connection, s.hear, interest{s.prefix.InstanceAnnouncement(s.group, name, subjects.WordPing), ""})
}

// interest is one subscription: a subject, and the queue group, "" for none.
type interest struct{ subject, queue string }

// owned reports whether this instance owns sockets.
func (ns *namespaces) owned() bool {
	return slices.ContainsFunc(ns.all, func(n *Namespace) bool { return n.rules.owned })
}

// groupSubjects are what the instances of the group share: where new sockets and the events of clients come in, and
// events for the group. Where two of them match one message, NATS gives it to the queue group once.
func (ns *namespaces) groupSubjects(p subjects.Prefix, group string) (clients, own []interest) {
	for _, n := range ns.all {
		switch {
		case n.rules.owned: // edges ask an instance by its name
		case isPattern(n.name) && n.rules.admits():
			clients = append(clients, interest{string(p.AppendOn(nil, "*", "connect")), group})
			own = append(own, interest{string(p.AppendOwn(nil, "*", group, ">")), group})
		case n.rules.admits() || n.rules.hearsClients():
			clients = append(clients, interest{string(p.AppendOn(nil, n.token, ">")), group})
		}
	}
	return distinct(clients), distinct(own)
}

// instanceSubjects are where requests to own sockets, and the events of these, come in. An instance that owns sockets
// of some namespaces is asked about all that it announces, and answers.
func (ns *namespaces) instanceSubjects(p subjects.Prefix, instance string) (list []interest) {
	for _, n := range ns.all {
		if ns.owned() && n.isAnnounced() {
			list = append(list, interest{string(p.AppendOwn(nil, n.anyToken(), instance, ">")), ""})
		}
	}
	return distinct(list)
}

// serviceSubjects are where events of other services come in.
func (ns *namespaces) serviceSubjects(p subjects.Prefix) (list []interest) {
	for _, n := range ns.all {
		if len(n.rules.service) > 0 {
			list = append(list, interest{string(p.AppendService(nil, n.anyToken(), ">")), ""})
		}
	}
	return distinct(list)
}

// anyToken is the namespace's token in subjects, * for a pattern.
func (n *Namespace) anyToken() string { return cmp.Or(n.token, "*") }

// distinct drops interests that another one with * covers. Events of one socket must come in on one subscription,
// because nats.go keeps no order between two.
func distinct(list []interest) (kept []interest) {
	for _, i := range list {
		covered := slices.ContainsFunc(list, func(other interest) bool {
			return other != i && other.queue == i.queue && subjects.Matches(other.subject, i.subject)
		})
		if !covered && !slices.Contains(kept, i) {
			kept = append(kept, i)
		}
	}
	return kept
}

// connection sends over the caller's NATS connection, while the service lives.
type connection struct {
	nc     *nats.Conn // the caller's; never closed here
	prefix subjects.Prefix
	wait   time.Duration // Limits.Wait
	phase  *atomic.Int32 // of the service: fresh, running, leaving or closed
}

// publish sends a message, or fails at once if there is no connection. Nothing is kept to be sent later.
func (c *connection) publish(m *nats.Msg) error {
	if err := c.reachable(); err != nil {
		return err
	}
	return sendError(c.nc.PublishMsg(m), m, c.nc)
}

// reply answers a message.
func (c *connection) reply(to string, header nats.Header, body []byte) error {
	return c.publish(&nats.Msg{Subject: to, Header: header, Data: body})
}

// reachable returns why nothing can be sent now, or nil.
func (c *connection) reachable() error {
	switch {
	case c.phase.Load() == closed:
		return failure(Closed, "the service is closed")
	case c.nc.IsClosed():
		return failure(Closed, "the NATS connection is closed")
	case !c.nc.IsConnected():
		return failure(Offline, "NATS is away")
	}
	return nil
}

// flushed waits until NATS has taken all earlier messages: until the context ends, or for Limits.Wait if it has no
// deadline.
func (c *connection) flushed(ctx context.Context) error {
	if _, hasDeadline := ctx.Deadline(); !hasDeadline { // nats.go wants one
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.wait)
		defer cancel()
	}
	return c.nc.FlushWithContext(ctx)
}

// subscribe subscribes, in a queue group unless queue is "".
func (c *connection) subscribe(subject, queue string, handle nats.MsgHandler) (*nats.Subscription, error) {
	sub, err := c.nc.QueueSubscribe(subject, queue, handle)
	return sub, sendError(err, &nats.Msg{Subject: subject}, c.nc)
}
