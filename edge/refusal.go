package edge

import (
	"fmt"
	"log/slog"
	"strings"

	"partyline/subjects"
	"partyline/wire/msg"
)

// maxDeclared is how many namespaces a line of the log lists.
const maxDeclared = 20

// complainRefused logs that a client did not get into a namespace, once a minute for each namespace and reason. message is
// what the client is told.
func (e *Edge) complainRefused(namespace, message string, kind int, address string) {
	switch kind {
	case refusedNamespace:
		e.complaints.Log(slog.LevelWarn, "refused a client: the configuration declares no such namespace (see namespaces)", namespace, "",
			"namespace", namespace, "declared", e.rules.declared(), "address", address)
	case refusedNoService, refusedTimeout:
		e.complainUnanswered(namespace, kind)
	case refusedHandshake:
		e.complaints.Log(slog.LevelWarn, "refused a client: its handshake is larger than NATS accepts (see max_payload of the NATS server)", namespace, "",
			"namespace", namespace, "address", address)
	case refusedLimit:
		e.complaints.Log(slog.LevelWarn, "refused a client: it is in as many namespaces as limits.namespaces_per_session allows", namespace, "",
			"namespace", namespace, "address", address)
	case refusedByService:
		e.complaints.Log(slog.LevelInfo, "a service refused a client", namespace, message,
			"namespace", namespace, "message", message, "address", address)
	case refusedAnswer: // the log has said what is wrong with the answer
	}
}

// complainUnanswered logs that no service decides who gets into a namespace, once a minute for each namespace and reason:
// refusedNoService, nothing subscribes, or refusedTimeout, no answer came. The client may wait, or have been refused.
func (e *Edge) complainUnanswered(namespace string, kind int) {
	if !e.bus.Connected() {
		return // that is in the log, and why nobody answers
	}
	token, err := subjects.AppendNamespace(nil, namespace)
	if err != nil {
		return
	}
	subject := string(e.prefix.AppendOn(nil, string(token), msg.EventConnect))
	what := "a client waits for a service: nothing subscribes to the subject that decides who gets in (start the service, or set connect: open)"
	if kind == refusedTimeout {
		what = "a client waits for a service: no answer came on the subject that decides who gets in (is the service stuck, or a monitor the only subscriber?)"
	}
	e.complaints.Log(slog.LevelWarn, what, namespace, "", "namespace", namespace, "subject", subject)
}

// declared lists the names and patterns of the configuration, for the log.
func (b *ruleBook) declared() string {
	var names []string
	all := b.all()
	for _, r := range all[:min(len(all), maxDeclared)] {
		names = append(names, r.name)
	}
	list := strings.Join(names, ", ")
	if more := len(all) - len(names); more > 0 {
		list += fmt.Sprintf(" and %d more", more)
	}
	return list
}
