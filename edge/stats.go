package edge

import "partyline/internal/tally"

// stats is what an edge counts. Some of its parts have counters of their own.
type stats struct {
	statsUp
	statsDown
	connectRefused [refusals]tally.Counter
	disconnected   [socketEnds]tally.Counter
	dropped        [drops]tally.Counter
}

type statsUp struct {
	eventsIn, eventsFailed, acksIn, relayed tally.Counter
	givenUp                                 tally.Counter // sessions closed because no service decided
	renewalsRefused                         tally.Counter
}

type statsDown struct {
	eventsOut, deliveries, acksOut, volatileDropped tally.Counter
	unwanted, discardedBytes, noResponders          tally.Counter
	answersWithheld, commanded                      tally.Counter
}

// event counts an event of a client. One that could not be published gets no ack.
func (s *stats) event(err error) {
	if err == nil {
		s.eventsIn.Inc()
	} else {
		s.eventsFailed.Inc()
	}
}

// Why the edge refuses a socket. What a service says is one reason.
const (
	refusedNamespace = iota
	refusedByService
	refusedNoService
	refusedTimeout
	refusedAnswer
	refusedHandshake
	refusedLimit
	refusedToken
	refusals
)

var refusalWords = [refusals]string{
	refusedNamespace: "Invalid namespace",
	refusedByService: "refused by service",
	refusedNoService: "no service",
	refusedTimeout:   "service timeout",
	refusedAnswer:    "invalid answer",
	refusedHandshake: "handshake too large",
	refusedLimit:     "too many namespaces",
	refusedToken:     "token",
}

// Why a socket left its namespace, for the count; sessions' ends are engine.Reasons.
const (
	endClient  = iota // "client namespace disconnect"
	endServer         // "server namespace disconnect"
	endSession        // the session ended
	socketEnds
)

var socketEndWords = [socketEnds]string{
	endClient:  "client namespace disconnect",
	endServer:  "server namespace disconnect",
	endSession: "session ended",
}

// Why a message from NATS was dropped.
const (
	notDropped     = -1
	dropBadSubject = iota - 1
	dropBadBody
	dropUnknownSocket
	dropWrongNamespace
	dropUnknownVerb
	dropLateAnswer
	dropNoReply
	drops
)

var dropWords = [drops]string{
	dropBadSubject:     "bad subject",
	dropBadBody:        "bad body",
	dropUnknownSocket:  "unknown socket",
	dropWrongNamespace: "wrong namespace",
	dropUnknownVerb:    "unknown verb",
	dropLateAnswer:     "answer to a connect that is over",
	dropNoReply:        "no reply subject",
}

// metrics adds what is counted to a set.
func (s *stats) metrics(set *tally.Set) {
	set.Counter(&s.eventsIn, "events_in_total", "Events from clients that were published.")
	set.Counter(&s.eventsFailed, "events_failed_total", "Events from clients that could not be published, or came to an instance that does not own their socket; their clients get no ack.")
	set.Counter(&s.givenUp, "connects_given_up_total", "Sessions closed because no service decided about a socket in time, or no token could be verified; their clients come back.")
	set.Counter(&s.renewalsRefused, "renewals_refused_total", "New tokens of connected clients that were refused.")
	set.Counter(&s.acksIn, "acks_in_total", "Acks from clients.")
	set.Counter(&s.eventsOut, "events_out_total", "Events from NATS that had receivers here.")
	set.Counter(&s.deliveries, "deliveries_total", "Events handed to sessions: one for each receiver.")
	set.Counter(&s.acksOut, "acks_out_total", "Acks from services to clients.")
	set.Counter(&s.relayed, "relayed_total", "Events passed on by a relay rule.")
	set.Counter(&s.volatileDropped, "volatile_dropped_total", "Volatile events not handed to a busy session.")
	set.Counter(&s.unwanted, "unwanted_total", "Events from NATS that had no receiver here.")
	set.Counter(&s.discardedBytes, "discarded_bytes_total", "Bytes of bodies from NATS that had no receiver here or were dropped.")
	set.Counter(&s.noResponders, "no_responders_total", "Publishes without a subscriber, as NATS reports.")
	set.Counter(&s.commanded, "commands_total", "Joins, leaves, disconnects, fetches, data and rooms asked for over NATS.")
	set.Counter(&s.answersWithheld, "answers_withheld_total", "Answers not sent because their reply subject is not below nats.reply_prefixes.")
	set.LabelledCounters(s.connectRefused[:], "connects_refused_total", "Sockets refused, by reason.", "reason", refusalWords[:])
	set.LabelledCounters(s.disconnected[:], "sockets_ended_total", "Sockets that left their namespace or went while being admitted, by reason.", "reason", socketEndWords[:])
	set.LabelledCounters(s.dropped[:], "dropped_total", "Messages from NATS that came to nothing, by reason.", "reason", dropWords[:])
}
