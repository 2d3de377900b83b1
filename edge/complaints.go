package edge

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"partyline/bus"
	"partyline/internal/throttle"
	"partyline/subjects"
	"partyline/wire/msg"
)

// complaints writes to the log at most once a minute a subject and reason.
type complaints struct{ *throttle.Logger }

// about logs an error about a subject. what must be a constant.
func (c complaints) about(subject, what string, err error) { c.Warn(what, subject, err) }

// explain adds to the error of a body that is not valid JSON what is wrong with it, for the log: publishers who mend one
// fault and make another see that. It names no part of the body, and the texts are few.
func explain(body []byte, err error) error {
	if !errors.Is(err, msg.ErrNotJSON) {
		return err
	}
	body = bytes.TrimLeft(body, " \t\r\n")
	var raw json.RawMessage
	var syntax *json.SyntaxError
	switch fault := json.Unmarshal(body, &raw); {
	case len(body) == 0:
		return fmt.Errorf("%w: it is empty", err)
	case body[0] != '[':
		return fmt.Errorf("%w: it does not begin with [", err)
	case !errors.As(fault, &syntax): // it is valid behind the attachments, or too deep
		return err
	case syntax.Offset >= int64(len(body)):
		return fmt.Errorf("%w: it ends too early", err)
	case body[max(syntax.Offset, 1)-1] == '\'':
		return fmt.Errorf("%w: strings must be in double quotes, not in single ones", err)
	}
	return fmt.Errorf("%w: the fault is inside the array, at byte %d", err, syntax.Offset)
}

// answersNotice returns the subject of the connect notice that a message to a socket's address seems to answer, with an admission
// or a refusal, although the namespace is open; "" if it does not.
func (e *Edge) answersNotice(m *bus.Message) string {
	sub, ok := e.prefix.Parse(m.Subject)
	if !ok || sub.Kind != subjects.KindCommand || sub.Verb != subjects.VerbEmit || sub.Target != subjects.TargetSocket {
		return ""
	}
	name, err := subjects.Namespace(sub.Namespace)
	if err != nil {
		return ""
	}
	if rules := e.rules.find(name); rules == nil || rules.Connect != ConnectOpen {
		return ""
	}
	if _, err := msg.ParseAdmission(m.Data); err != nil && !m.Header.Has(msg.HeaderError) {
		return ""
	}
	return string(e.prefix.AppendOn(nil, sub.Namespace, msg.EventConnect))
}
