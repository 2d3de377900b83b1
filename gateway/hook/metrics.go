package hook

import (
	"partyline/internal/tally"
	"partyline/internal/throttle"
)

// stats is what hooks count.
type stats struct {
	requests, givenUp [results]tally.Counter
	unrouted          tally.Counter
	waiting           tally.Gauge
}

func (s *stats) metrics(complaints *throttle.Logger) *tally.Set {
	set := &tally.Set{}
	set.LabelledCounters(s.requests[:], "hook_requests_total", "Requests to hooks, each try once, by how they ended.", "result", resultNames[:])
	set.LabelledCounters(s.givenUp[1:], "hook_given_up_total", "Connects, events and disconnects that no hook handled, by the last reason.", "reason", resultNames[1:])
	set.Counter(&s.unrouted, "hook_unrouted_total", "Events of hooked namespaces that no hook names.")
	set.Gauge(&s.waiting, "hook_waiting", "Connects, events and disconnects that wait for the answer of a hook.")
	complaints.Metrics(set, "hook")
	return set
}
