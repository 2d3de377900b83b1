package engine

import (
	"sync"
	"time"

	"partyline/internal/tally"
	"partyline/internal/turn"
	"partyline/wire/eio"
)

type stats struct {
	opened                       [transportKinds]tally.Counter
	ended                        [reasons]tally.Counter
	refused                      [eio.UnsupportedProtocol + 1]tally.Counter
	denied                       [denials]tally.Counter
	upgrades                     tally.Counter
	packetsIn, bytesIn, bytesOut tally.Counter
	stops, slowed, slowedFor     tally.Counter // slowedFor in nanoseconds
	exceeded                     [limits]tally.Counter
	unread                       tally.Gauge
}

// Moved returns how many times a session has begun or ended.
func (s *Server) Moved() uint64 { return sum(s.stats.opened[:]) + sum(s.stats.ended[:]) }

// Counts are the most important of the metrics.
type Counts struct {
	Sessions, Polling             int    // Polling: those without a WebSocket
	Opened, Ended                 uint64 // sessions, since the start
	ClientBytesIn, ClientBytesOut uint64
}

// Counts returns what the server counts. Polling is up to a second old.
func (s *Server) Counts() Counts {
	st := &s.stats
	return Counts{s.Sessions(), s.totals.get(s).transports[kindPolling], sum(st.opened[:]), sum(st.ended[:]),
		st.bytesIn.Value(), st.bytesOut.Value()}
}

// Metrics returns what the server counts.
func (s *Server) Metrics() *tally.Set {
	set, st := &tally.Set{}, &s.stats
	set.Func(tally.KindGauge, "sessions", "Engine.IO sessions.", func() float64 { return float64(s.Sessions()) })
	for i, transport := range transportNames {
		set.Func(tally.KindGauge, "sessions_by_transport", "Sessions by the transport that they have now.",
			func() float64 { return float64(s.totals.get(s).transports[i]) }, tally.Label{Name: "transport", Value: transport})
	}
	set.Func(tally.KindGauge, "queued_bytes", "Memory of what waits to be sent to clients, in all sessions, in bytes.",
		func() float64 { return float64(s.totals.get(s).waiting) })
	set.Func(tally.KindGauge, "queued_bytes_most", "The same of the session where it is largest.",
		func() float64 { return float64(s.totals.get(s).mostWaiting) })
	set.Func(tally.KindGauge, "session_bytes", "Memory that all sessions cost more than idle ones, their queues included, in bytes.",
		func() float64 { return float64(s.totals.get(s).cost) })
	set.Func(tally.KindGauge, "session_bytes_most", "The same of the session where it is largest. limits.session_bytes bounds it.",
		func() float64 { return float64(s.totals.get(s).mostCost) })
	set.LabelledCounters(st.opened[:], "sessions_opened_total", "Sessions opened, by the transport they began with.",
		"transport", transportNames[:])
	set.Counter(&st.upgrades, "upgrades_total", "Sessions that moved from polling to WebSocket.")
	set.LabelledCounters(st.ended[:], "sessions_ended_total", "Sessions ended, by reason.", "reason", reasonWords[:])
	set.LabelledCounters(st.exceeded[noLimit+1:], "sessions_too_large_total", "Sessions closed because of their memory, by the limit.",
		"limit", limitKeys[noLimit+1:])
	for i := range st.refused {
		set.LabelledCounter(&st.refused[i], "requests_refused_total", "Requests refused, by the reason in the response.",
			"reason", eio.Refusal(i).Message())
	}
	for i := range st.denied {
		set.LabelledCounter(&st.denied[i], "handshakes_refused_total", "Handshakes refused with 503, by reason: a limit, or the edge's own state.",
			"reason", denialsAs[i].label)
	}
	set.Func(tally.KindCounter, "sessions_refused_total",
		"Sessions refused because there were too many, the edge is leaving, or it has no NATS or too little memory.",
		func() float64 { return float64(sum(st.denied[:deniedTooFast])) })
	set.Func(tally.KindCounter, "handshakes_delayed_total",
		"Sessions refused because of limits.handshakes_per_second, of all or of an address. Their clients come back after some seconds.",
		func() float64 { return float64(sum(st.denied[deniedTooFast:])) })
	set.Counter(&st.slowed, "clients_slowed_total", "Times a client began to send more than its limits allow, and was slowed down.")
	set.Func(tally.KindCounter, "clients_slowed_seconds_total", "Time for which clients above their limits were not read, in seconds.",
		func() float64 { return time.Duration(st.slowedFor.Value()).Seconds() })
	set.Func(tally.KindCounter, "gave_way_seconds_total",
		"Time for which busy clients, new connections and sessions, large messages, and long answers to services gave way to quiet clients, in seconds.",
		func() float64 { return turn.Waited().Seconds() })
	set.Gauge(&st.unread, "sessions_not_read", "Sessions that are not read now, so that their clients send no more.")
	set.Counter(&st.stops, "reading_stopped_total", "Times that reading from a client was stopped.")
	set.Counter(&st.packetsIn, "messages_in_total", "Engine.IO messages from clients.")
	set.Counter(&st.bytesIn, "client_bytes_in_total", "Bytes of packets from clients.")
	set.Counter(&st.bytesOut, "client_bytes_out_total", "Bytes of packets to clients, before compression.")
	s.complaints.Metrics(set, "engine")
	return set
}

func sum(counters []tally.Counter) (n uint64) {
	for i := range counters {
		n += counters[i].Value()
	}
	return n
}

// totalsFor is how long totals are used: one scrape by Prometheus asks for several of them.
const totalsFor = time.Second

// totals sums over all sessions. It is computed on demand: keeping it current would cost every message.
type totals struct {
	mu   sync.Mutex
	at   time.Time // guarded by mu: when last was computed
	last sums      // guarded by mu
}

type sums struct {
	transports  [transportKinds]int // sessions
	waiting     int                 // bytes that wait to be sent, in all sessions
	mostWaiting int                 // in the session where most wait
	cost        int                 // bytes that sessions cost more than idle ones
	mostCost    int                 // of the session that costs most
}

// get returns sums that are at most totalsFor old.
func (t *totals) get(s *Server) sums {
	t.mu.Lock()
	defer t.mu.Unlock()
	if time.Since(t.at) < totalsFor {
		return t.last
	}
	t.last = sums{}
	for _, session := range s.all() {
		session.mu.Lock()
		kind, waiting, cost := session.transport.kind(), session.queue.bytes, session.queue.cost()
		session.mu.Unlock()
		t.last.transports[kind]++
		t.last.waiting += waiting
		t.last.mostWaiting = max(t.last.mostWaiting, waiting)
		t.last.cost += cost
		t.last.mostCost = max(t.last.mostCost, cost)
	}
	t.at = time.Now()
	return t.last
}
