package engine

import (
	"partyline/internal/tally"
	"partyline/wire/eio"
)

type stats struct {
	opened                       [2]tally.Counter // by transport: polling, websocket
	ended                        [reasons]tally.Counter
	refused                      [eio.UnsupportedProtocol + 1]tally.Counter
	overLimit, tooFast           tally.Counter
	upgrades                     tally.Counter
	packetsIn, bytesIn, bytesOut tally.Counter
}

// Moved is how many times a session has begun or ended.
func (s *Server) Moved() (sum uint64) {
	for i := range s.stats.opened {
		sum += s.stats.opened[i].Value()
	}
	for i := range s.stats.ended {
		sum += s.stats.ended[i].Value()
	}
	return sum
}

// Metrics lists what the server counts.
func (s *Server) Metrics() *tally.Set {
	set, st := &tally.Set{}, &s.stats
	set.Func(tally.KindGauge, "sessions", "Engine.IO sessions.", func() float64 { return float64(s.Sessions()) })
	for i, transport := range []string{"polling", "websocket"} {
		set.Func(tally.KindGauge, "sessions_by_transport", "Sessions by the transport that they have now.",
			func() float64 { return float64(s.census.take(s).transports[i]) }, tally.Label{Name: "transport", Value: transport})
	}
	set.Func(tally.KindGauge, "queued_bytes", "Memory of what waits to be sent to clients, in all sessions, in bytes.",
		func() float64 { return float64(s.census.take(s).waiting) })
	set.Func(tally.KindGauge, "queued_bytes_most", "The same of the session where it is largest.",
		func() float64 { return float64(s.census.take(s).mostWaiting) })
	for i, transport := range []string{"polling", "websocket"} {
		set.LabelledCounter(&st.opened[i], "sessions_opened_total", "Sessions opened, by the transport they began with.", "transport", transport)
	}
	set.Counter(&st.upgrades, "upgrades_total", "Sessions that moved from polling to WebSocket.")
	for i := range st.ended {
		set.LabelledCounter(&st.ended[i], "sessions_ended_total", "Sessions ended, by reason.", "reason", Reason(i).String())
	}
	for i := range st.refused {
		set.LabelledCounter(&st.refused[i], "requests_refused_total", "Requests refused, by the reason that the client was told.", "reason", eio.Refusal(i).Message())
	}
	set.Counter(&st.overLimit, "sessions_refused_total", "Sessions refused because there were too many, or because the edge is leaving.")
	set.Counter(&st.tooFast, "handshakes_delayed_total", "Sessions told to come back in some seconds because of limits.handshakes_per_second.")
	set.Counter(&st.packetsIn, "messages_in_total", "Engine.IO messages from clients.")
	set.Counter(&st.bytesIn, "client_bytes_in_total", "Bytes of packets from clients.")
	set.Counter(&st.bytesOut, "client_bytes_out_total", "Bytes of packets to clients, before compression.")
	s.origins.complaints.Metrics(set, "engine")
	return set
}
