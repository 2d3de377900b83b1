package edge

import (
	"partyline/internal/rates"
	"partyline/rule"
)

// namespaceRates makes the rates of the namespaces that have one of their own.
func namespaceRates(book *rule.Book) map[*rule.Rules]*rates.Rate {
	all := make(map[*rule.Rules]*rates.Rate)
	for _, r := range book.All() {
		if r.EventsPerSecond > 0 {
			all[r] = &rates.Rate{Name: "namespaces: " + r.Name + ": events_per_second", PerSecond: r.EventsPerSecond, Burst: r.EventsBurst}
		}
	}
	return all
}

// countPacket counts an event or ack against the rate of its namespace, if that has one. The rate is the session's in
// all namespaces of the same rules, so a client gains nothing by leaving and coming back.
func (c *connection) countPacket(s *socket) {
	if s.Edge.rules.EventsPerSecond > 0 {
		c.session.Count(c.edge.rates[s.Edge.rules], 1)
	}
}
