package edge

import (
	"slices"

	"partyline/bus"
	"partyline/engine"
	"partyline/subjects"
	"partyline/wire/msg"
)

// handleChange acts on a join, leave or disconnect from NATS, and answers once it holds: the number of sockets here.
func (e *Edge) handleChange(m *bus.Message, sub *subjects.Subject) {
	var tokens []string
	var ending msg.Ending
	var err error
	if sub.Verb == subjects.VerbDisconnect {
		ending, err = msg.Disconnect(m.Data)
	} else {
		var names []string
		if names, err = msg.Rooms(m.Data); err == nil {
			tokens, err = roomTokens(names)
		}
	}
	if err != nil {
		e.drop(m, dropBadBody, err)
		e.answerError(m, err.Error())
		return
	}
	e.stats.commanded.Inc()
	sockets, found := e.subjectsOf(m, sub)
	if !found {
		e.drop(m, dropUnknownSocket, nil)
		e.answerError(m, errGone.Error())
		return
	}
	if sub.Verb == subjects.VerbDisconnect {
		e.disconnect(sockets, ending)
	} else if sockets, err = e.changeRooms(sub, sockets, tokens); err != nil {
		e.answerError(m, err.Error())
		return
	}
	if m.Reply == "" {
		return
	}
	answer := e.changeAnswer(sub.Target == subjects.TargetSocket, sockets)
	asked := *m
	e.out.AfterSubscribed(func() { e.answer(&asked, nil, answer) })
}

// changeAnswer says for how many sockets a change holds, and of a single one that is owned also which revision its owner
// must know to know of it.
func (e *Edge) changeAnswer(single bool, sockets []*socket) []byte {
	if single && sockets[0].route != nil {
		e.mu.Lock()
		rev := sockets[0].rev
		e.mu.Unlock()
		return msg.Answer{Edge: e.id, Sockets: 1, Rev: &rev}.Body()
	}
	return e.answerBody(len(sockets))
}

// subjectsOf is the sockets that a command is about; found is false for a single socket that is not there.
func (e *Edge) subjectsOf(m *bus.Message, sub *subjects.Subject) (sockets []*socket, found bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if sub.Target == subjects.TargetSocket {
		s := e.sockets[sub.Socket]
		if s == nil || s.ns.token != sub.Namespace {
			return nil, false
		}
		return []*socket{s}, true
	}
	if ns := e.namespaces[sub.Namespace]; ns != nil {
		sockets = e.choose(ns, m, sub)
	}
	return sockets, true
}

// changeRooms joins or leaves, and returns the sockets for which it holds. It fails only for a single socket.
func (e *Edge) changeRooms(sub *subjects.Subject, sockets []*socket, tokens []string) ([]*socket, error) {
	done := make([]*socket, 0, len(sockets))
	var failed error
	defer func() {
		if failed != nil {
			e.complaints.about(sub.Namespace, "a socket could not join rooms", failed)
		}
	}()
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, s := range sockets {
		if sub.Verb == subjects.VerbLeave {
			for _, token := range tokens {
				e.leave(s, token)
			}
		} else if err := e.join(s, tokens); err != nil {
			if sub.Target == subjects.TargetSocket {
				return nil, err
			}
			failed = err
			continue
		}
		done = append(done, s)
	}
	return done, nil
}

// disconnect ends sockets, or their sessions and so their other sockets, too (reference: socket.disconnect). A client whose
// transport is closed receives no DISCONNECT, so it comes back. Events of sockets that end here are not held any longer:
// they are dropped.
func (e *Edge) disconnect(sockets []*socket, ending msg.Ending) {
	for _, s := range sockets {
		if ending == msg.EndSocket {
			e.end(s, socketEndWords[endServer], endServer, true)
			continue
		}
		e.mu.Lock()
		all := slices.Clone(s.conn.sockets)
		e.mu.Unlock()
		for _, other := range all {
			if ending == msg.CloseTransport {
				e.end(other, engine.ForcedServerClose.String(), endSession, false)
			} else {
				e.end(other, socketEndWords[endServer], endServer, true)
			}
		}
		s.conn.session.Close(engine.ForcedServerClose)
	}
}
