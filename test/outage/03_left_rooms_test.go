package outage

import (
	"fmt"
	"testing"
	"time"

	"partyline/internal/edgetest"
)

// A room that was left while NATS was away, and is joined again when it is back, has one subscription. With none,
// messages would be missing. With two, each would come twice.
func TestRoomsLeftDuringAnOutage(t *testing.T) {
	t.Parallel()
	s := begin(t, func(o *edgetest.Options) { o.Linger = time.Millisecond })
	a := s.Enter("a", "/room")
	var names []string
	for i := range 20 {
		names = append(names, fmt.Sprintf("left-%d", i))
	}
	s.join(a, []string{"stays"})
	before := s.Node.Figure("nats_subscriptions", "")
	s.join(a, names)
	stop := s.pair.Chat()
	s.cut()
	for _, name := range names {
		a.Emit("", fmt.Sprintf(`["leave",%q]`, name))
	}
	edgetest.Eventually(s.t, "the rooms' subscriptions are gone", func() bool { return s.Node.Figure("nats_subscriptions", "") == before })
	s.proxy.Mend()
	s.back()
	s.join(a, names)
	for i := range 50 {
		for _, name := range append(names, "stays") {
			s.Publish("sio.room.emit.room."+name, fmt.Sprintf(`[%q,%d]`, name, i))
			a.Gets(fmt.Sprintf(`[%q,%d]`, name, i))
		}
	}
	stop()
}
