package backend

import (
	"errors"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/subjects"
	"partyline/wire/msg"
)

// complainEvery bounds how often the log repeats something.
const complainEvery = time.Minute

// complained is when the log last had what is wrong with pauses. It belongs to the goroutine of lanes.speak.
type complained struct {
	slow, refused time.Time
	seen          error // NATS's last error that was looked at
}

// pauseSocket asks a socket's edge to hold what its client sends; see edgeWords.
func (s *Service) pauseSocket(key laneKey, instance string) string {
	again := instance != ""
	if !again {
		instance = s.Instance()
	}
	if s.sayTo(key, subjects.VerbPause, instance) != nil {
		return "" // NATS is away: it is tried again
	}
	if !again {
		s.stats.pauses.Add(1)
	}
	return instance
}

// resumeSocket ends the pause of an instance.
func (s *Service) resumeSocket(key laneKey, instance string) {
	_ = s.sayTo(key, subjects.VerbResume, instance) // without it, the pause ends after some seconds
}

// sayTo publishes a pause or resume.
func (s *Service) sayTo(key laneKey, verb, instance string) error {
	subject := s.prefix.AppendToSocket(nil, key.namespace, verb, key.who)
	m := &nats.Msg{Subject: string(subject), Data: msg.InstanceBody(instance)}
	if verb == subjects.VerbPause {
		m.Reply = s.pauseInbox + "." + key.namespace + "." + key.who
	}
	return s.publish(m)
}

// hearPauses subscribes to what edges answer.
func (s *Service) hearPauses() error {
	s.pauseInbox = s.nc.NewInbox()
	sub, err := s.nc.Subscribe(s.pauseInbox+".>", func(m *nats.Msg) {
		namespace, socket, _ := strings.Cut(strings.TrimPrefix(m.Subject, s.pauseInbox+"."), ".")
		if len(m.Data) > 0 && m.Header.Get(msg.HeaderError) == "" { // else nobody is there, or the socket is not
			s.lanes.confirm(laneKey{namespace, socket})
		}
	})
	if err != nil {
		return sendError(err, &nats.Msg{Subject: s.pauseInbox}, s.nc)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.subs = append(s.subs, sub)
	return nil
}

// watchPauses logs what is wrong with the sockets that are paused. A publish that NATS refused shows only as the last error
// of the connection, whose error handler is the caller's.
func (s *Service) watchPauses(slow int, example laneKey) {
	c, now := &s.complained, time.Now()
	if err := s.nc.LastError(); err != nil && err != c.seen {
		c.seen = err
		if isRefusedPause(err) && now.Sub(c.refused) >= complainEvery {
			c.refused = now
			s.log.Error("NATS does not permit this service to pause sockets, so a burst of events closes its client's "+
				"connection; allow it to publish pause and resume (docs/subjects.md, Permissions)", "error", err)
		}
	}
	if slow > 0 && now.Sub(c.slow) >= complainEvery {
		c.slow = now
		s.log.Warn("sockets have been paused for ten seconds or more: their handlers do not keep up, or one blocks",
			"sockets", slow, "namespace", example.namespace, "socket", example.who)
	}
}

// isRefusedPause reports whether NATS refused a pause or resume.
func isRefusedPause(err error) bool {
	text := err.Error()
	return errors.Is(err, nats.ErrPermissionViolation) &&
		(strings.Contains(text, "."+subjects.VerbPause+".socket.") || strings.Contains(text, "."+subjects.VerbResume+".socket."))
}
