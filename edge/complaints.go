package edge

import (
	"log/slog"

	"partyline/bus"
	"partyline/internal/throttle"
	"partyline/rule"
	"partyline/subjects"
	"partyline/wire/msg"
)

// complaints counts and logs what the edge drops and refuses. It logs at most once a minute a subject and reason.
type complaints struct {
	*throttle.Logger
	prefix    subjects.Prefix
	rules     *rule.Book
	stats     *stats
	connected func() bool // to NATS
}

// about logs an error about a subject. what must be a constant.
func (c *complaints) about(subject, what string, err error) { c.Warn(what, subject, err) }

// drop counts a message from NATS that is dropped, and logs it at most once a minute a subject and reason.
func (c *complaints) drop(m *bus.Message, why int, err error) {
	c.stats.dropped[why].Inc()
	c.stats.discardedBytes.Add(len(m.Data))
	if c.Busy() {
		return
	}
	subject := m.Subject
	if why == dropBadBody {
		if open := c.answersNotice(m); open != "" { // one subject a socket, too
			c.about(open, "a service answered the connect notice of an open namespace, where everybody gets in; for services to decide, "+
				"set connect: service", nil)
			return
		}
	}
	if why == dropLateAnswer { // one subject a socket: of a whole namespace one line is enough
		if sub, ok := c.prefix.Parse(subject); ok {
			subject = c.connectSubject(sub.Namespace)
		}
	}
	if why != dropUnknownSocket && why != dropUnknownVerb { // those are normal: sockets go, contracts grow
		c.about(subject, "dropped a message from NATS: "+dropWords[why], msg.Explain(m.Data, err))
	}
}

// connectSubject is where services are asked about sockets of a namespace.
func (c *complaints) connectSubject(namespace string) string {
	return string(c.prefix.AppendOn(nil, namespace, msg.EventConnect))
}

// answersNotice returns the subject of the connect notice that a message to a socket's address seems to answer, with
// an admission or a refusal, although the namespace is open; "" if it does not.
func (c *complaints) answersNotice(m *bus.Message) string {
	sub, ok := c.prefix.Parse(m.Subject)
	if !ok || sub.Kind != subjects.KindCommand || sub.Verb != subjects.VerbEmit || sub.Target != subjects.TargetSocket {
		return ""
	}
	name, err := subjects.Namespace(sub.Namespace)
	if err != nil {
		return ""
	}
	if rules := c.rules.Find(name); rules == nil || rules.AsksService() {
		return ""
	}
	if _, _, err := msg.ParseAdmission(m.Data); err != nil && !m.Header.Has(msg.HeaderError) {
		return ""
	}
	return c.connectSubject(sub.Namespace)
}

// refused logs that a client did not get into a namespace, once a minute for each namespace and reason. message is
// what the client receives.
func (c *complaints) refused(namespace, message string, kind int, address string) {
	switch kind {
	case refusedNamespace:
		c.Log(slog.LevelWarn, "refused a client: the configuration declares no such namespace (see namespaces)", namespace, "",
			"namespace", namespace, "declared", c.rules.Names(), "address", address)
	case refusedNoService, refusedTimeout:
		c.unanswered(namespace, kind)
	case refusedHandshake:
		c.Log(slog.LevelWarn, "refused a client: its handshake is larger than NATS accepts (see max_payload of the NATS server)", namespace, "",
			"namespace", namespace, "address", address)
	case refusedLimit:
		c.Log(slog.LevelWarn, "refused a client: it is in as many namespaces as limits.namespaces_per_session allows", namespace, "",
			"namespace", namespace, "address", address)
	case refusedByService:
		c.Log(slog.LevelInfo, "a service refused a client", namespace, message,
			"namespace", namespace, "message", message, "address", address)
	case refusedAnswer: // the log has said what is wrong with the answer
	}
}

// unanswered logs that no service decides who gets into a namespace, once a minute for each namespace and reason:
// refusedNoService, nothing subscribes, or refusedTimeout, no answer came. The client may wait, or have been refused.
func (c *complaints) unanswered(namespace string, kind int) {
	if !c.connected() {
		return // that is in the log, and why no answer comes
	}
	token, err := subjects.AppendNamespace(nil, namespace)
	if err != nil {
		return
	}
	subject := c.connectSubject(string(token))
	what := "a client waits for a service: nothing subscribes to the subject that decides who gets in (start the service, or set connect: open)"
	if kind == refusedTimeout {
		what = "a client waits for a service: no answer came on the subject that decides who gets in (is the service stuck, or a monitor the only subscriber?)"
	}
	c.Log(slog.LevelWarn, what, namespace, "", "namespace", namespace, "subject", subject)
}
