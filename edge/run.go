package edge

import (
	"partyline/bus"
	"partyline/engine"
	"partyline/subjects"
	"partyline/wire/sio"
)

// What a run may hold: enough that a client's write costs little a message, and little enough to fit into any queue.
const (
	maxRun      = 64
	maxRunBytes = 32 << 10
)

// run is a number of events that came one directly behind the other for the same sockets. They are handed to each of
// these together, as one frame: at full speed nearly all that a delivery costs is the write, and a room's members do not
// cost a look at each of them for every message (docs/performance.md). Under a light load a run is one event.
//
// It is owned by the turn of Listen: handle ends it before it does anything else.
type run struct {
	subject  subjects.Subject // of the messages, or of those of the last run
	messages []bus.Message    // none: there is no run
	bytes    int              // of their bodies

	parcels []parcel                // scratch: those of the messages that can be sent
	frames  [dialects]*engine.Frame // nil until a client needs it
	failed  [dialects]bool          // nothing can be sent in that dialect
}

// goesOn says whether a message belongs to the run as well: it has the same subject and leaves out the same socket, and
// no headers, which might choose others.
func (r *run) goesOn(m *bus.Message) bool {
	if len(r.messages) == 0 {
		return false
	}
	first := &r.messages[0]
	return m.Subject == first.Subject && m.Header == nil && first.Header == nil && (m.Reply == first.Reply || r.subject.Verb == subjects.VerbEmit)
}

// handleEvent takes an event for the sockets of a target; they get it with the run that it belongs to.
func (e *Edge) handleEvent(m *bus.Message, sub *subjects.Subject) {
	r := &e.run
	if len(r.messages) >= min(maxRun, e.set.Limits.QueuePackets/4) || r.bytes+len(m.Data) > min(maxRunBytes, e.set.QueueBytes/4) {
		e.endRun()
	}
	if len(r.messages) == 0 {
		r.subject = *sub
	}
	r.messages = append(r.messages, *m)
	r.bytes += len(m.Data)
}

// endRun hands the run's events to their receivers.
func (e *Edge) endRun() {
	r := &e.run
	if len(r.messages) == 0 {
		return
	}
	e.deliverRun(r)
	clear(r.messages)
	clear(r.parcels)
	*r = run{subject: r.subject, messages: r.messages[:0], parcels: r.parcels[:0]}
}

func (e *Edge) deliverRun(r *run) {
	first := &r.messages[0]
	ns, receivers, why := e.receivers(first, &r.subject)
	if len(receivers) == 0 {
		e.discard(r, why)
		return
	}
	for i := range r.messages {
		m := &r.messages[i]
		text, attachments, err := e.content(m, true)
		if err != nil {
			e.drop(m, dropBadBody, err)
			continue
		}
		r.parcels = append(r.parcels, parcel{
			kind: sio.Event, namespace: ns.name, body: text, attachments: attachments,
			options: options(m.Header), from: m, sent: &e.stats.eventsOut,
		})
	}
	if len(r.parcels) == 0 {
		return
	}
	var except *socket
	if r.subject.Verb == subjects.VerbBroadcast {
		except = e.sender(first.Reply, r.subject.Namespace)
	}
	for _, s := range receivers {
		if s == except {
			continue
		}
		d := s.conn.dialect
		if r.frames[d] == nil && !r.failed[d] {
			r.frames[d] = e.joined(r.parcels, d)
			r.failed[d] = r.frames[d] == nil
		}
		if !r.failed[d] {
			e.deliver(s, r.frames[d])
		}
	}
}

// discard counts a run that is for nobody here.
func (e *Edge) discard(r *run, why int) {
	e.stats.unwanted.Add(len(r.messages))
	if why == notDropped {
		e.stats.discardedBytes.Add(r.bytes)
		return
	}
	for i := range r.messages {
		e.drop(&r.messages[i], why, nil)
	}
}

// joined is the parcels as one frame; nil if none of them can be sent in that dialect.
func (e *Edge) joined(parcels []parcel, d dialect) *engine.Frame {
	frames := make([]*engine.Frame, 0, len(parcels))
	for i := range parcels {
		if f := e.encode(&parcels[i], d); f != nil {
			frames = append(frames, f)
		}
	}
	if len(frames) == 0 {
		return nil
	}
	return engine.Join(frames)
}
