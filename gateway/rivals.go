package gateway

import (
	"log/slog"
	"slices"

	"github.com/nats-io/nats.go"

	"partyline/gateway/hook"
	"partyline/internal/tally"
	"partyline/internal/throttle"
	"partyline/subjects"
	"partyline/wire/msg"
)

// rivals finds services of other groups that own sockets of hooked namespaces. An edge gives each socket to one of
// them, so some never reach a hook.
type rivals struct {
	group      string
	prefix     subjects.Prefix
	hooks      *hook.Hooks
	complaints *throttle.Logger
	seen       tally.Counter
	sub        *nats.Subscription
}

// listen begins to read the beats of all services.
func (r *rivals) listen(nc *nats.Conn) (err error) {
	if len(r.hooks.Namespaces()) > 0 {
		r.sub, err = nc.Subscribe(r.prefix.InstanceAnnouncement("*", "*", subjects.WordBeat), r.hear)
	}
	return err
}

// close ends that.
func (r *rivals) close() {
	if r.sub != nil {
		_ = r.sub.Unsubscribe() // without a connection there is nothing to end
	}
}

// hear processes the beat of a service.
func (r *rivals) hear(m *nats.Msg) {
	a, err := msg.ParseInstanceAnnouncement(m.Data)
	if err != nil || !a.Owns || a.Group == r.group {
		return
	}
	for _, hooked := range r.hooks.Namespaces() {
		i := slices.IndexFunc(a.Namespaces, func(name string) bool {
			return subjects.Matches(hooked, name) || subjects.Matches(name, hooked)
		})
		if i >= 0 {
			r.seen.Inc()
			r.complaints.Log(slog.LevelWarn, "hooks and a service own sockets of the same namespace, and each socket gets one of both", a.Group+" "+hooked, "",
				"namespace", hooked, "group", a.Group, "announced", a.Namespaces[i])
			return
		}
	}
}
