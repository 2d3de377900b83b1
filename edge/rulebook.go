package edge

import (
	"maps"
	"slices"
	"sort"
	"strings"

	"partyline/internal/tally"
	"partyline/subjects"
)

// ruleBook finds the rules of a namespace. It is static.
type ruleBook struct {
	exact    map[string]*rules
	patterns []*rules // the longest first
}

// rules is what is declared of the namespaces of one name or pattern, and what is counted of them.
type rules struct {
	Namespace                 // static
	name      string          // or pattern; static
	sockets   tally.Gauge     // in all of its namespaces
	hits      []tally.Counter // of each relay rule
}

func newRuleBook(namespaces map[string]Namespace) ruleBook {
	b := ruleBook{exact: make(map[string]*rules)}
	for name, declared := range namespaces {
		r := &rules{Namespace: declared, name: name, hits: make([]tally.Counter, len(declared.Relay))}
		if r.ConnectTimeout == 0 {
			r.ConnectTimeout = DefaultConnectTimeout
		}
		if strings.Contains(name, "*") {
			b.patterns = append(b.patterns, r)
		} else {
			b.exact[name] = r
		}
	}
	sort.Slice(b.patterns, func(i, j int) bool {
		p, q := b.patterns[i].name, b.patterns[j].name
		return len(p) > len(q) || len(p) == len(q) && p < q
	})
	return b
}

// find is the rules for a namespace, nil when it is not declared.
func (b *ruleBook) find(name string) *rules {
	if r := b.exact[name]; r != nil {
		return r
	}
	for _, p := range b.patterns {
		if subjects.Matches(p.name, name) {
			return p
		}
	}
	return nil
}

// all lists the rules by name.
func (b *ruleBook) all() []*rules {
	all := slices.Concat(slices.Collect(maps.Values(b.exact)), b.patterns)
	slices.SortFunc(all, func(p, q *rules) int { return strings.Compare(p.name, q.name) })
	return all
}

// metrics adds what is counted a namespace to a set. There are as many as the configuration declares, however many
// namespaces and events clients think of.
func (b *ruleBook) metrics(set *tally.Set) {
	for _, r := range b.all() {
		set.Func(tally.KindGauge, "sockets_by_namespace", "Socket.IO sockets, by the name or pattern that declares their namespace.",
			func() float64 { return float64(r.sockets.Value()) }, tally.Label{Name: "namespace", Value: r.name})
	}
	for _, r := range b.all() {
		for i := range r.Relay {
			event := r.Relay[i].Event
			if slices.ContainsFunc(r.Relay[:i], func(before Relay) bool { return before.Event == event }) {
				continue // the first of the same pattern counts, so this one is never used
			}
			set.Func(tally.KindCounter, "relay_rule_hits_total", "Events of clients to which a relay rule applied, by its namespace and pattern.",
				func() float64 { return float64(r.hits[i].Value()) },
				tally.Label{Name: "namespace", Value: r.name}, tally.Label{Name: "event", Value: event})
		}
	}
}

// relay is the rule for an event, nil when there is none. It counts the hit.
func (r *rules) relay(event []byte) *Relay {
	for i := range r.Relay {
		if subjects.Matches(r.Relay[i].Event, event) {
			r.hits[i].Inc()
			return &r.Relay[i]
		}
	}
	return nil
}

// isRoomChange reports whether an event is a join or leave that the edge itself acts on.
func (n *Namespace) isRoomChange(event []byte) bool {
	return len(n.Rooms) > 0 && (string(event) == "join" || string(event) == "leave")
}

// mayEnter says whether clients may join and leave a room by themselves.
func (n *Namespace) mayEnter(room []byte) bool {
	for _, pattern := range n.Rooms {
		if subjects.Matches(pattern, room) {
			return true
		}
	}
	return false
}
