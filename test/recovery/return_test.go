package recovery

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// A service has a socket leave a room while its client comes back. What it is answered is true: a socket that was not
// found does not leave later, and one that was does.
func TestAnAnswerWhileAClientComesBack(t *testing.T) {
	needRecovery(t)
	t.Parallel()
	s := begin(t, false, slowHeart...)
	h := s.enter(0, "/chat", "ann", "", "", "first")
	found := 0
	for round := range 60 * *rounds {
		s.say("socket."+h.SID, "hello", round)
		h.hears(fmt.Sprint("hello/", round))
		s.request("join", h.SID, `["second"]`)
		h.via.end()
		answered := make(chan string, 1)
		time.AfterFunc(time.Duration(rand.IntN(30))*time.Millisecond, func() {
			m, err := s.nc.Request("sio.chat.leave.socket."+h.SID, []byte(`["second"]`), 10*time.Second)
			if err != nil {
				answered <- err.Error()
				return
			}
			answered <- m.Header.Get("Sio-Error")
		})
		back := s.enter((round+1)%3, "/chat", "ann", h.PID, h.offset)
		if back.SID != h.SID {
			t.Fatalf("round %d: it came back as %s, and was %s", round, back.SID, h.SID)
		}
		why := <-answered
		var one struct{ Rooms []string }
		answer := s.request("fetch", h.SID, "")
		if err := json.Unmarshal(answer[1], &one); err != nil {
			t.Fatal(err)
		}
		isIn := slices.Contains(one.Rooms, "second")
		if why == "" && isIn || why == "unknown socket" && !isIn {
			t.Errorf("round %d: the answer is %q, and it is in %v", round, why, one.Rooms)
		}
		if why == "" {
			found++
		}
		h = back
	}
	t.Logf("%d answers of a socket that left", found)
}
