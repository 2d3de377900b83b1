package outage

import (
	"fmt"
	"testing"
	"time"

	"partyline/internal/edgetest"
)

// What was left while NATS was away and is entered again when it is back has one subscription: with none messages would be
// missing, with two each would come twice.
func TestRoomsLeftDuringAnOutage(t *testing.T) {
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
