package recovery

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"partyline/internal/edgetest"
)

// An edge is stopped while a client moves to another one, without closing its connection. When it goes on, it must not
// have the socket any more, whether a heartbeat was due or not: no service may see two or be told that the socket has
// gone, and no event may come over the old connection.
func TestAStoppedEdgeLetsGo(t *testing.T) {
	needRecovery(t)
	if !*full {
		t.Skip("not in the short list; use -recovery.full")
	}
	for name, heart := range map[string][]string{"slow heartbeats": slowHeart, "quick heartbeats": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := begin(t, false, heart...)
			for round := range 3 * *rounds {
				s.letsGo(round)
			}
		})
	}
}

func (s *stage) letsGo(round int) {
	t := s.t
	gone := edgetest.Hear(t, s.nc, "sio.chat.on.disconnect")
	defer func() { _ = gone.Unsubscribe() }()
	h := s.enter(0, "/chat", "ann", "", "", "first")
	s.say("socket."+h.SID, "hello", round)
	h.hears(fmt.Sprint("hello/", round))
	s.edges[0].Signal(syscall.SIGSTOP)
	if round > 0 { // it may also go on while the client comes back
		time.Sleep(time.Duration(round) * 1700 * time.Millisecond)
		time.AfterFunc(time.Second, func() { s.edges[0].Signal(syscall.SIGCONT) })
	}
	back := s.again(1, "/chat", h, true)
	s.say("room.first", "while", round)
	back.hears(fmt.Sprint("while/", round))
	s.edges[0].Signal(syscall.SIGCONT)
	woken := time.Now()
	var twice time.Duration
	for n := 0; time.Since(woken) < 4*time.Second; n++ {
		if s.holders()[back.SID] > 1 {
			twice = time.Since(woken)
		}
		back.hears(s.say("room.first", fmt.Sprint("after", round), n))
		time.Sleep(50 * time.Millisecond)
	}
	strays := h.drained()
	if twice > 500*time.Millisecond { // both may have answered a question while one was going on
		t.Errorf("round %d: two edges had the socket until %v after one went on", round, twice.Round(time.Millisecond))
	}
	if len(strays) > 0 {
		t.Errorf("round %d: events came over the old connection: %v", round, first(strays, 5))
	}
	for {
		m, err := gone.NextMsg(time.Millisecond)
		if err != nil {
			break
		}
		if strings.HasSuffix(m.Reply, back.SID) {
			t.Errorf("round %d: services were told that the socket has gone: %s", round, m.Data)
		}
	}
	back.via.end()
}
