package rule

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"

	"partyline/internal/rates"
	"partyline/internal/tally"
	"partyline/subjects"
)

// Book finds the rules of a namespace. It is static.
type Book struct {
	exact    map[string]*Rules
	patterns []*Rules // the longest first
}

// Rules is what is declared of the namespaces of one name or pattern, and what is counted of them.
type Rules struct {
	Namespace                 // static
	Name      string          // or pattern; static
	Rate      *rates.Rate     // of each session in all its namespaces; nil: no limit; static
	Sockets   tally.Gauge     // members of all its namespaces
	Slowed    tally.Counter   // events that waited because one of its namespaces had too much under way at NATS
	hits      []tally.Counter // of each relay rule
}

// NewBook makes the rules of namespaces, by name or pattern.
func NewBook(namespaces map[string]Namespace) *Book {
	b := &Book{exact: make(map[string]*Rules)}
	for name, declared := range namespaces {
		r := &Rules{Namespace: declared, Name: name, hits: make([]tally.Counter, len(declared.Relay))}
		if r.ConnectTimeout == 0 {
			r.ConnectTimeout = DefaultConnectTimeout
		}
		if n := r.EventsPerSecond; n > 0 {
			r.Rate = &rates.Rate{Name: "namespaces: " + name + ": events_per_second", PerSecond: n, Burst: cmp.Or(r.EventsBurst, 2*n)}
		}
		if strings.Contains(name, "*") {
			b.patterns = append(b.patterns, r)
		} else {
			b.exact[name] = r
		}
	}
	sort.Slice(b.patterns, func(i, j int) bool {
		p, q := b.patterns[i].Name, b.patterns[j].Name
		return len(p) > len(q) || len(p) == len(q) && p < q
	})
	return b
}

// Find returns the rules for a namespace, or nil if it is not declared.
func (b *Book) Find(name string) *Rules {
	if r := b.exact[name]; r != nil {
		return r
	}
	for _, p := range b.patterns {
		if subjects.Matches(p.Name, name) {
			return p
		}
	}
	return nil
}

// All lists the rules by name.
func (b *Book) All() []*Rules {
	all := slices.Concat(slices.Collect(maps.Values(b.exact)), b.patterns)
	slices.SortFunc(all, func(p, q *Rules) int { return strings.Compare(p.Name, q.Name) })
	return all
}

// maxNames is how many namespaces Names lists.
const maxNames = 20

// Names lists the names and patterns, for the log.
func (b *Book) Names() string {
	var names []string
	all := b.All()
	for _, r := range all[:min(len(all), maxNames)] {
		names = append(names, r.Name)
	}
	list := strings.Join(names, ", ")
	if more := len(all) - len(names); more > 0 {
		list += fmt.Sprintf(" and %d more", more)
	}
	return list
}

// Metrics adds what is counted a namespace to a set. There are as many as the configuration declares, however many
// namespaces and events clients think of.
func (b *Book) Metrics(set *tally.Set) {
	for _, r := range b.All() {
		set.Func(tally.KindGauge, "sockets_by_namespace", "Socket.IO sockets, by the name or pattern that declares their namespace.",
			func() float64 { return float64(r.Sockets.Value()) }, tally.Label{Name: "namespace", Value: r.Name})
	}
	for _, r := range b.All() {
		set.LabelledCounter(&r.Slowed, "events_slowed_total",
			"Events of clients that waited because their namespace had too much under way at NATS, by the name or pattern that declares it.",
			"namespace", r.Name)
	}
	for _, r := range b.All() {
		for i := range r.Relay {
			event := r.Relay[i].Event
			if slices.ContainsFunc(r.Relay[:i], func(before Relay) bool { return before.Event == event }) {
				continue // the first of the same pattern counts, so this one is never used
			}
			set.Func(tally.KindCounter, "relay_rule_hits_total", "Events of clients to which a relay rule applied, by its namespace and pattern.",
				func() float64 { return float64(r.hits[i].Value()) },
				tally.Label{Name: "namespace", Value: r.Name}, tally.Label{Name: "event", Value: event})
		}
	}
}

// RelayOf returns the relay rule for an event, or nil. It counts the hit.
func (r *Rules) RelayOf(event []byte) *Relay {
	for i := range r.Relay {
		if subjects.Matches(r.Relay[i].Event, event) {
			r.hits[i].Inc()
			return &r.Relay[i]
		}
	}
	return nil
}
