package edge

import (
	"testing"
	"time"

	"partyline/rule"
	"partyline/wire/msg"
)

// A grant that has expired long ago ends its session, even if that is found out before the grant is the socket's.
func TestAGrantThatHasExpiredAlready(t *testing.T) {
	x := newBench(t, 1, rule.Namespace{Connect: rule.ConnectOpen})
	c, g := x.connections[0], x.edge.grants
	s := x.socket(0)
	c.mu.Lock() // the session cannot end
	defer c.mu.Unlock()
	for want := g.expired.Value() + 1; want <= 2_000; want++ {
		g.keep(s, granted{Grant: msg.Grant{Expires: 1}})
		for end := time.Now().Add(10 * time.Second); g.expired.Value() < want; {
			if time.Now().After(end) {
				t.Fatalf("grant %d has expired and goes on", want)
			}
		}
	}
}
