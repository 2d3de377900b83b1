package backend

import (
	"errors"
	"log/slog"
	"strings"

	"github.com/nats-io/nats.go"

	"partyline/subjects"
	"partyline/wire/msg"
)

// pauses asks edges to pause the sockets whose handlers do not keep up. Its methods are called by the goroutine of
// throttled.speak, except flooded and listen.
type pauses struct {
	*connection
	*reports
	name  func() string // of this instance
	inbox string        // where edges answer; set by listen, then constant

	seen error // NATS's last error that was looked at
}

// pause asks a socket's edge to hold what its client sends; see pauser.
func (p *pauses) pause(key laneKey, instance string) string {
	repeated := instance != ""
	if !repeated {
		instance = p.name()
	}
	if p.say(key, subjects.VerbPause, instance) != nil {
		return "" // NATS is away: it is tried again
	}
	if !repeated {
		p.stats.pauses.Add(1)
	}
	return instance
}

// resume ends the pause of an instance.
func (p *pauses) resume(key laneKey, instance string) {
	_ = p.say(key, subjects.VerbResume, instance) // without it, the pause ends after pauseLasts
}

// say publishes a pause or resume.
func (p *pauses) say(key laneKey, verb, instance string) error {
	subject := p.prefix.AppendToSocket(nil, key.namespace, verb, key.who)
	m := &nats.Msg{Subject: string(subject), Data: msg.InstanceBody(instance)}
	if verb == subjects.VerbPause {
		m.Reply = p.inbox + "." + key.namespace + "." + key.who
	}
	return p.publish(m)
}

// listen subscribes to the edges' answers. confirm is called for each socket that an edge has paused.
func (p *pauses) listen(list *subscriptions, confirm func(laneKey)) error {
	p.inbox = p.nc.NewInbox()
	return list.add(p.connection, func(m *nats.Msg) {
		namespace, socket, _ := strings.Cut(strings.TrimPrefix(m.Subject, p.inbox+"."), ".")
		if len(m.Data) > 0 && m.Header.Get(msg.HeaderError) == "" { // else the edge or the socket is not there
			confirm(laneKey{namespace, socket})
		}
	}, interest{p.inbox + ".>", ""})
}

// watch logs what is wrong with the sockets that are paused. A publish that NATS refused shows only as the last error
// of the connection, whose error handler is the caller's.
func (p *pauses) watch(slow int, example laneKey) {
	if err := p.nc.LastError(); err != nil && err != p.seen {
		p.seen = err
		if isRefusedPause(err) {
			p.complaints.Log(slog.LevelError, "NATS does not permit this service to pause sockets, so a burst of events closes its client's "+
				"connection; allow it to publish pause and resume (docs/subjects.md, Permissions)", "", "", "error", err)
		}
	}
	if slow > 0 {
		p.complaints.Log(slog.LevelWarn, "sockets have been paused for ten seconds or more: their handlers do not keep up, or one blocks",
			"", "", "sockets", slow, "namespace", example.namespace, "socket", example.who)
	}
}

// flooded closes the transport of a socket whose handlers do not keep up, though it was paused. Its client comes back
// by itself.
func (p *pauses) flooded(key laneKey, events, bytes int) {
	p.stats.overflows.Add(1)
	if !subjects.IsSocketID(key.who) {
		p.complaints.Log(slog.LevelError, "events of another service are thrown away: their handlers do not keep up",
			key.namespace, "", "namespace", key.namespace, "from", key.who, "events", events, "bytes", bytes)
		return
	}
	p.complaints.Log(slog.LevelError,
		"a client's connection is closed: its handlers do not keep up, or one blocks, and pausing it did not help", key.namespace, "",
		"namespace", key.namespace, "socket", key.who, "events", events, "bytes", bytes)
	subject := p.prefix.AppendToSocket(nil, key.namespace, subjects.VerbDisconnect, key.who)
	if err := p.publish(&nats.Msg{Subject: string(subject), Data: []byte(`["close"]`)}); err != nil {
		p.complaints.Log(slog.LevelError, "a client's connection could not be closed", "", err.Error(), "socket", key.who, "error", err)
	}
}

// isRefusedPause reports whether NATS refused a pause or resume.
func isRefusedPause(err error) bool {
	text := err.Error()
	return errors.Is(err, nats.ErrPermissionViolation) &&
		(strings.Contains(text, "."+subjects.VerbPause+".socket.") || strings.Contains(text, "."+subjects.VerbResume+".socket."))
}
