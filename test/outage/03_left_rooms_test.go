package outage

import (
	"fmt"
	"testing"
	"time"

	"partyline/edge/edgetest"
)

// What is not wanted any more when NATS comes back must not be subscribed again: a subscription that nobody reads, in the
// edge's own queue group, would take messages away from those that are read.
func TestRoomsLeftDuringAnOutageTakeNoMessagesAway(t *testing.T) {
	t.Parallel()
	s := begin(t, func(o *edgetest.Options) { o.Linger = time.Millisecond })
	a := s.enter("a", "/room")
	var names []string
	for i := range 20 {
		names = append(names, fmt.Sprintf("left-%d", i))
	}
	s.join(a, []string{"stays"})
	before := figure(s.Node, "nats_subscriptions", "")
	s.join(a, names)
	stop := s.pair.chat()
	s.cut()
	for _, name := range names {
		a.emit("", fmt.Sprintf(`["leave",%q]`, name))
	}
	s.eventually("the rooms' subscriptions are gone", func() bool { return figure(s.Node, "nats_subscriptions", "") == before })
	// While a service is asked, the edge hears all rooms of the namespace. Here nobody can be asked.
	b := s.Dial("b")
	b.Send("40/door,")
	b.Expect(`44/door,{"message":"no service"}`)
	s.mend()
	s.back()
	s.join(a, names)
	for i := range 50 {
		for _, name := range append(names, "stays") {
			s.publish("sio.room.emit.room."+name, fmt.Sprintf(`[%q,%d]`, name, i))
			a.gets(fmt.Sprintf(`[%q,%d]`, name, i))
		}
	}
	stop()
}
