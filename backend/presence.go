package backend

import (
	"context"
	"sync"
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
