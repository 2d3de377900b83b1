package backend

import (
	"slices"
	"strings"

	"github.com/nats-io/nats.go"

	"partyline/subjects"
)

// takeName subscribes to what is for the instance by its name.
func (s *Service) takeName(all []*Namespace) error {
	name := s.Instance()
	if err := s.subscribeAll(&s.ownSubs, s.instanceSubjects(all, name)); err != nil {
		return err
	}
	return s.listen(&s.ownSubs, s.prefix.InstanceAnnouncement(s.group, name, subjects.WordPing))
}

// interest is one subscription: a subject, and the queue group, "" for none.
type interest struct{ subject, queue string }

// subscribeAll subscribes, and notes the subscriptions in a list that mu guards.
func (s *Service) subscribeAll(list *[]*nats.Subscription, wanted []interest) error {
	for _, w := range wanted {
		var sub *nats.Subscription
		var err error
		if w.queue != "" {
			sub, err = s.nc.QueueSubscribe(w.subject, w.queue, s.handle)
		} else {
			sub, err = s.nc.Subscribe(w.subject, s.handle)
		}
		if err != nil {
			return sendError(err, &nats.Msg{Subject: w.subject}, s.nc)
		}
		s.mu.Lock()
		*list = append(*list, sub)
		s.mu.Unlock()
	}
	return nil
}

// clientSubjects are where new sockets and the events of clients come in; the instances of the group share them. Where
// two of them match one message, NATS gives it to the queue group once.
func (s *Service) clientSubjects(all []*Namespace) (list []interest) {
	for _, n := range all {
		switch p := s.prefix; {
		case n.rules.owned: // edges ask an instance by its name
		case isPattern(n.name) && n.rules.admits():
			list = append(list, interest{string(p.AppendOn(nil, "*", "connect")), s.group})
		case n.rules.admits() || n.rules.hearsClients():
			list = append(list, interest{string(p.AppendOn(nil, n.token, ">")), s.group})
		}
	}
	return distinct(list)
}

// groupSubjects are where events for the group come in.
func (s *Service) groupSubjects(all []*Namespace) (list []interest) {
	for _, n := range all {
		if !n.rules.owned && isPattern(n.name) && n.rules.admits() {
			list = append(list, interest{string(s.prefix.AppendOwn(nil, n.anyToken(), s.group, ">")), s.group})
		}
	}
	return distinct(list)
}

// instanceSubjects are where requests to own sockets, and the events of these, come in. An instance that owns sockets of some
// namespaces is asked about all that it announces, and answers.
func (s *Service) instanceSubjects(all []*Namespace, instance string) (list []interest) {
	for _, n := range all {
		if n.isAnnounced() && slices.ContainsFunc(all, func(n *Namespace) bool { return n.rules.owned }) {
			list = append(list, interest{string(s.prefix.AppendOwn(nil, n.anyToken(), instance, ">")), ""})
		}
	}
	return distinct(list)
}

// serviceSubjects are where events of other services come in.
func (s *Service) serviceSubjects(all []*Namespace) (list []interest) {
	for _, n := range all {
		if len(n.rules.service) > 0 {
			list = append(list, interest{string(s.prefix.AppendService(nil, n.anyToken(), ">")), ""})
		}
	}
	return distinct(list)
}

// anyToken is the namespace's token in subjects, * for a pattern.
func (n *Namespace) anyToken() string {
	if isPattern(n.name) {
		return "*"
	}
	return n.token
}

// distinct drops interests that another one with * covers: events of one socket must come in on one subscription, because
// between two there is no order.
func distinct(list []interest) (kept []interest) {
	for _, i := range list {
		covered := slices.ContainsFunc(list, func(other interest) bool {
			return other != i && other.queue == i.queue && covers(other.subject, i.subject)
		})
		if !covered && !slices.Contains(kept, i) {
			kept = append(kept, i)
		}
	}
	return kept
}

// covers tells whether one subject is the other with a * in one token's place.
func covers(wide, narrow string) bool {
	w, n := strings.Split(wide, "."), strings.Split(narrow, ".")
	if len(w) != len(n) || !slices.Contains(w, "*") {
		return false
	}
	for i := range w {
		if w[i] != n[i] && w[i] != "*" {
			return false
		}
	}
	return true
}
