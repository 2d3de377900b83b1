package backend

import (
	"cmp"
	"slices"

	"partyline/subjects"
)

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
