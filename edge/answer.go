package edge

import (
	"errors"
	"log/slog"

	"partyline/bus"
	"partyline/subjects"
	"partyline/wire/msg"
)

// maxLoggedReply is how much of a reply subject the log shows, in bytes.
const maxLoggedReply = 100

var (
	// errNoReply is logged of a query or ask without a reply subject.
	errNoReply = errors.New("a question without a reply subject: no subscriber would receive the answer")

	// Errors of admissions, as services read them that want an answer.
	errAdmitted = errors.New("the socket is admitted already")
	errAnswer   = errors.New("invalid answer")
)

// answers publishes answers to requests from NATS, and notices to instances, from the bus's worker.
type answers struct {
	edge       string // its id
	prefix     subjects.Prefix
	allowed    subjects.Replies
	out        bus.Outbox
	stats      *stats
	complaints *complaints
}

// send answers a request, if it has a reply subject.
func (a *answers) send(m *bus.Message, header bus.Header, body []byte) {
	if m.Reply == "" || a.withholds(m) {
		return
	}
	a.out.Later(bus.Letter{Subject: m.Reply, Header: header, Body: body})
}

// fail answers a request with an error.
func (a *answers) fail(m *bus.Message, err error) {
	a.send(m, bus.Header{msg.HeaderError: {err.Error()}}, nil)
}

// reject drops a request with a body that cannot be right, and answers it with the error.
func (a *answers) reject(m *bus.Message, why int, err error) {
	a.complaints.drop(m, why, err)
	a.fail(m, err)
}

// afterSubscribed answers a request once all earlier subscriptions are active. m need not be kept.
func (a *answers) afterSubscribed(m *bus.Message, answer func(m *bus.Message)) {
	if m.Reply != "" {
		asked := *m
		a.out.AfterSubscribed(func() { answer(&asked) })
	}
}

// tellOwner leaves a word for an instance, or a group, to the worker.
func (a *answers) tellOwner(ns, to, event, reply string, header bus.Header, body []byte, keep bool) {
	a.out.Later(bus.Letter{Subject: string(a.prefix.AppendOwn(nil, ns, to, event)), Reply: reply, Header: header, Body: body, Keep: keep})
}

// ownerChanged tells an instance that an assignment of a socket, and all older ones, have ended.
func (a *answers) ownerChanged(ns, id, to string, number uint64) {
	reply := string(a.prefix.AppendToSocket(nil, ns, subjects.VerbEmit, id))
	a.tellOwner(ns, to, msg.EventDisconnect, reply, nil, msg.Ended{Reason: msg.ReasonOwnerChanged, Assignment: number}.Body(), false)
}

// address is the subject that reaches a socket, which names it as a sender.
func (a *answers) address(dst []byte, s *socket) []byte {
	return a.prefix.AppendToSocket(dst, s.Namespace.Token, subjects.VerbEmit, s.ID)
}

// body is the answer to a command that took effect for a number of sockets.
func (a *answers) body(sockets int) []byte { return msg.Answer{Edge: a.edge, Sockets: sockets}.Body() }

// mayAnswer reports whether a query or ask has a reply subject that may be answered. If not, it is dropped and
// counted.
func (a *answers) mayAnswer(m *bus.Message) bool {
	if m.Reply == "" {
		a.complaints.drop(m, dropNoReply, errNoReply)
		return false
	}
	return !a.withholds(m)
}

// withholds reports whether the reply subject of a request is one that gets no answer, and counts it.
func (a *answers) withholds(m *bus.Message) bool {
	if a.allowed.Allow(m.Reply) {
		return false
	}
	// NATS does not check that the requester may publish to the reply subject; the edge would do it in its name.
	a.stats.answersWithheld.Inc()
	if a.complaints.Busy() {
		return true
	}
	a.complaints.Log(slog.LevelWarn, "withheld an answer: the reply subject is not below nats.reply_prefixes", m.Subject, "",
		"subject", m.Subject, "reply", m.Reply[:min(len(m.Reply), maxLoggedReply)])
	return true
}

// notAdmitted answers an admission that has a reply subject and was not accepted. It comes behind the answer to an
// earlier one that was, because a service may repeat itself.
func (a *answers) notAdmitted(m *bus.Message, why error) {
	if !m.NoResponders() && !m.Header.Has(msg.HeaderError) {
		a.afterSubscribed(m, func(m *bus.Message) { a.fail(m, why) })
	}
}

// admission answers an admission that has a reply subject, as a join is answered: once the socket's subscriptions are
// active, and the client has its CONNECT.
func (a *answers) admission(m *bus.Message, isAdmitted bool) {
	if !isAdmitted { // its rooms cannot be
		a.notAdmitted(m, errAnswer)
		return
	}
	a.afterSubscribed(m, func(m *bus.Message) { a.send(m, nil, a.body(1)) })
}
