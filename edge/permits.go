package edge

import (
	"strings"

	"partyline/bus"
	"partyline/subjects"
	"partyline/wire/msg"
)

// require tells the bus what NATS must permit this edge: what it subscribes now, and for each namespace that is declared by its
// name the commands for all of its sockets, and the events of clients. A pattern has no subject that could be tried: NATS may
// permit some of its namespaces and not others, and which of them clients ask for says nothing of the edge.
func (e *Edge) require() {
	e.set.Bus.Permissions(e.prefix.EdgePermissions())
	e.set.Bus.RequireSubscribed()
	for name := range e.set.Namespaces {
		token, err := subjects.AppendNamespace(nil, name)
		if err != nil || strings.Contains(name, "*") {
			continue
		}
		e.set.Bus.RequireSubscription(e.prefix.NamespaceAll(string(token)))
		e.set.Bus.RequirePublish(string(e.prefix.AppendOn(nil, string(token), subjects.Ready)), e.readyProbe)
	}
}

// readyProbe is what the edge publishes to see whether it may: an event that no client can send, without a reply subject.
func (e *Edge) readyProbe() (bus.Header, []byte) {
	return nil, msg.EdgeNotice{Edge: e.set.ID}.Body(subjects.Ready)
}
