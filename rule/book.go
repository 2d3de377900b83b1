package rule

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"
	"sync"
	"sync/atomic"

	"partyline/internal/rates"
	"partyline/internal/tally"
	"partyline/subjects"
)

// Book finds the rules of a namespace. It is safe for concurrent use: Replace swaps what Find reads, which takes no
// lock.
type Book struct {
	now atomic.Pointer[page]

	mu   sync.Mutex
	seen map[string]*counts // guarded by mu: by the name or pattern of all that were ever declared
}

// page is what is declared at a time. It is static.
type page struct {
	exact    map[string]*Rules
	patterns []*Rules // the longest first
}

// Rules is what is declared of the namespaces of one name or pattern, and what is counted of them. It is static: a socket
// keeps its rules when others take their place.
type Rules struct {
	Namespace
	Name string      // or pattern
	Rate *rates.Rate // of each session in all its namespaces; nil: no limit
	*counts
	hits []*tally.Counter // of each relay rule
}

// counts is what is counted of the namespaces of one name or pattern. All rules for it share them.
type counts struct {
	Sockets tally.Gauge   // members of all its namespaces
	Slowed  tally.Counter // events that waited because one of its namespaces had too much under way at NATS

	rate  *rates.Rate // guarded by Book.mu: that of the last rules
	rules []hits      // guarded by Book.mu: each relay rule's that there was, in the order of their declaration
}

// hits counts to how many events a relay rule has applied.
type hits struct {
	event string
	*tally.Counter
}

// NewBook makes the rules of namespaces, by name or pattern.
func NewBook(namespaces map[string]Namespace) *Book {
	b := &Book{seen: make(map[string]*counts)}
	b.Replace(namespaces)
	return b
}

// Replace declares other namespaces. Rules that were found before stay as they are; what is counted goes on under the
// same names.
func (b *Book) Replace(namespaces map[string]Namespace) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := &page{exact: make(map[string]*Rules)}
	for _, name := range slices.Sorted(maps.Keys(namespaces)) {
		if b.seen[name] == nil {
			b.seen[name] = &counts{}
		}
		r := newRules(name, namespaces[name], b.seen[name])
		if strings.Contains(name, "*") {
			p.patterns = append(p.patterns, r)
		} else {
			p.exact[name] = r
		}
	}
	sort.SliceStable(p.patterns, func(i, j int) bool { return len(p.patterns[i].Name) > len(p.patterns[j].Name) })
	b.now.Store(p)
}

// newRules makes the rules of a name or pattern. The caller guards what is counted.
func newRules(name string, declared Namespace, counted *counts) *Rules {
	r := &Rules{Namespace: declared, Name: name, counts: counted}
	r.ConnectTimeout = cmp.Or(r.ConnectTimeout, DefaultConnectTimeout)
	if n := r.EventsPerSecond; n > 0 {
		rate := rates.Rate{Name: "namespaces: " + name + ": events_per_second", PerSecond: n, Burst: cmp.Or(r.EventsBurst, 2*n)}
		if r.rate == nil || *r.rate != rate {
			r.rate = &rate
		}
		r.Rate = r.rate
	}
	for _, relay := range declared.Relay {
		at := slices.IndexFunc(r.rules, func(h hits) bool { return h.event == relay.Event })
		if at < 0 {
			at = len(r.rules)
			r.rules = append(r.rules, hits{relay.Event, &tally.Counter{}})
		}
		r.hits = append(r.hits, r.rules[at].Counter)
	}
	return r
}

// Find returns the rules for a namespace, or nil if it is not declared.
func (b *Book) Find(name string) *Rules {
	p := b.now.Load()
	if r := p.exact[name]; r != nil {
		return r
	}
	for _, r := range p.patterns {
		if subjects.Matches(r.Name, name) {
			return r
		}
	}
	return nil
}

// IsLogged reports whether a namespace, as in subjects, has a log.
func (b *Book) IsLogged(token string) bool {
	name, _ := subjects.Namespace(token)
	r := b.Find(name)
	return r != nil && r.IsLogged()
}

// All lists the rules by name.
func (b *Book) All() []*Rules {
	p := b.now.Load()
	all := slices.Concat(slices.Collect(maps.Values(p.exact)), p.patterns)
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

// Metrics adds what is counted a namespace to a set. There are as many as configurations have declared, however many
// namespaces and events clients think of.
func (b *Book) Metrics(set *tally.Set) { set.Growing(b.list) }

func (b *Book) list(set *tally.Set) {
	b.mu.Lock()
	defer b.mu.Unlock()
	names := slices.Sorted(maps.Keys(b.seen))
	for _, name := range names {
		sockets := &b.seen[name].Sockets
		set.Func(tally.KindGauge, "sockets_by_namespace", "Socket.IO sockets, by the name or pattern that declares their namespace.",
			func() float64 { return float64(sockets.Value()) }, tally.Label{Name: "namespace", Value: name})
	}
	for _, name := range names {
		set.LabelledCounter(&b.seen[name].Slowed, "events_slowed_total",
			"Events of clients that waited because their namespace had too much under way at NATS, by the name or pattern that declares it.",
			"namespace", name)
	}
	for _, name := range names {
		for _, of := range b.seen[name].rules {
			set.Func(tally.KindCounter, "relay_rule_hits_total", "Events of clients to which a relay rule applied, by its namespace and pattern.",
				func() float64 { return float64(of.Value()) },
				tally.Label{Name: "namespace", Value: name}, tally.Label{Name: "event", Value: of.event})
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
