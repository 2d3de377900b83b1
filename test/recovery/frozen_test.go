package recovery

import (
	"fmt"
	"syscall"
	"testing"
	"time"
)

// An edge is stopped while a client moves to another one, without closing its connection. When it goes on, it must not
// have the socket any more, although no heartbeat is due: within a second no service may see two, and no event may come
// over the old connection.
func TestAStoppedEdgeLetsGo(t *testing.T) {
	needRecovery(t)
	s := begin(t, false, slowHeart...)
	for round := range 3 * *rounds {
		h := s.enter(0, "/chat", "ann", "", "", "first")
		s.say("socket."+h.SID, "hello", round)
		h.hears(fmt.Sprint("hello/", round))
		s.edges[0].Signal(syscall.SIGSTOP)
		if round > 0 { // it may also wake up in the middle
			time.Sleep(time.Duration(round) * 1700 * time.Millisecond)
			time.AfterFunc(time.Second, func() { s.edges[0].Signal(syscall.SIGCONT) })
		}
		back := s.again(1, "/chat", h, true)
		s.say("room.first", "while", round)
		back.hears(fmt.Sprint("while/", round))
		s.edges[0].Signal(syscall.SIGCONT)
		woken := time.Now()
		var twice time.Duration
		for time.Since(woken) < 3*time.Second {
			if s.holders()[back.SID] > 1 {
				twice = time.Since(woken)
			}
			s.say("room.first", fmt.Sprint("after", round), int(time.Since(woken)))
			time.Sleep(50 * time.Millisecond)
		}
		strays := h.drained()
		t.Logf("round %d: two edges had the socket for %v; %d events came over the old connection", round, twice.Round(time.Millisecond), len(strays))
		if twice > time.Second {
			t.Errorf("round %d: two edges had the socket for %v", round, twice)
		}
		if len(strays) > 0 {
			t.Errorf("round %d: events came over the old connection: %v", round, first(strays, 5))
		}
		back.via.end()
	}
}
