package recovery

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"partyline/internal/edgetest"
)

// What clients give as offset, and what they get then: everything, or a new session. Nothing in between.
func TestOffsetsOfClients(t *testing.T) {
	onlyInFull(t)
	needRecovery(t)
	t.Parallel()
	s := begin(t, false, slowHeart...)
	const all, rest, none = "away/1 away/2", "away/2", "a new session"
	for name, c := range map[string]struct {
		offset func(own, first string) string
		want   string
	}{
		"own":                 {func(own, _ string) string { return own }, all},
		"none":                {func(string, string) string { return "" }, "hello/1 " + all},
		"of a later event":    {func(_, first string) string { return first }, rest},
		"of before the start": {func(own, _ string) string { return own[:6] + "1" }, "hello/1 " + all},
		// It was left over from a session of that stream: in this one the client has received nothing.
		"of another stream":   {func(own, _ string) string { return other(own) }, "hello/1 " + all},
		"of the future":       {func(own, _ string) string { return own[:6] + "zzzzzzzz" }, none},
		"a word":              {func(string, string) string { return "hello" }, none},
		"with a leading zero": {func(own, _ string) string { return own[:6] + "0" + own[6:] }, none},
	} {
		t.Run(name, func(t *testing.T) {
			h := s.enter(0, "/chat", name, "", "", "first")
			s.say("socket."+h.SID, "hello", 1)
			h.hears("hello/1")
			h.via.reset()
			first := s.say("room.first", "away", 1)
			at := s.here()
			s.say("room.first", "away", 2)
			firstOffset := h.offset[:6] + base36(at.Seq-1)
			back := s.enter(1, "/chat", name, h.PID, c.offset(h.offset, firstOffset), "first")
			got := strings.Join(back.got, " ")
			if back.SID != h.SID {
				got = none + got
			}
			if got != c.want {
				t.Errorf("%s: it was sent %q, want %q", first, got, c.want)
			}
		})
	}
}

// A client that was there before the log's first event gets everything, also if its first way back leads nowhere.
func TestTheFirstToCome(t *testing.T) {
	onlyInFull(t)
	needRecovery(t)
	t.Parallel()
	s := begin(t, false, slowHeart...)
	h := s.enter(0, "/chat", "ann", "", "", "first")
	h.via.reset()
	s.say("room.first", "away", 1)
	for _, edge := range []int{1, 2, 0} {
		back := s.enter(edge, "/chat", "ann", h.PID, "")
		if back.SID != h.SID || !slices.Equal(back.got, []string{"away/1"}) {
			t.Errorf("at edge %d: it was %s, came back as %s, and was sent %v", edge, h.SID, back.SID, back.got)
		}
	}
}

// other changes the stream of an offset.
func other(offset string) string {
	if offset[0] == 'a' {
		return "b" + offset[1:]
	}
	return "a" + offset[1:]
}

// Whoever comes back too late has a new session.
func TestTooLate(t *testing.T) {
	onlyInFull(t)
	needRecovery(t)
	t.Parallel()
	s := begin(t, false, slowHeart...)
	for _, at := range []int{0, 1} {
		h := s.enter(0, "/brief", "ann", "", "")
		h.via.reset()
		time.Sleep(time.Second)
		if h = s.again(at, "/brief", h, true); t.Failed() {
			return
		}
		h.via.reset()
		time.Sleep(3 * time.Second)
		s.again(at, "/brief", h, false)
	}
}

// again comes back, and checks whether that recovers the session.
func (s *stage) again(edge int, namespace string, h *hand, want bool) *hand {
	s.t.Helper()
	back := s.enter(edge, namespace, "ann", h.PID, h.offset)
	if got := back.SID == h.SID; got != want {
		s.t.Errorf("at edge %d: recovered: %v, want %v", edge, got, want)
	}
	return back
}

// A socket that moved to another edge is reached by all verbs, and its events and acks reach services.
func TestARecoveredSocketIsWhole(t *testing.T) {
	onlyInFull(t)
	needRecovery(t)
	t.Parallel()
	s := begin(t, false, slowHeart...)
	up := edgetest.Hear(t, s.nc, "sio.chat.on.up")
	h := s.enter(0, "/chat", "ann", "", "", "first")
	for round := range 3 {
		h.via.reset()
		h = s.again((round+1)%3, "/chat", h, true)
		_ = h.via.send(`42/chat,7["up",1]`)
		m := up.Next()
		if want := "sio.chat.ack." + h.SID + ".7"; m.Reply != want || m.Header.Get("Sio-User") != "ann" {
			t.Errorf("its event has the reply subject %s and the user %q, want %s and ann", m.Reply, m.Header.Get("Sio-User"), want)
		}
		_ = m.Respond([]byte(`["answer"]`))
		h.receives(`43/chat,7["answer"]`)
		s.asked(h)
		s.request("join", h.SID, `["second"]`)
		s.say("room.second", "joined", round)
		h.hears(fmt.Sprint("joined/", round))
		s.request("leave", h.SID, `["second"]`)
		s.described(h, "ann", `{"name":"ann"}`, "first")
	}
	if n := s.service.notices(h.SID); n != 3 {
		t.Errorf("the service received %d notices of recoveries", n)
	}
	s.request("disconnect", h.SID, `[]`)
	h.receives("41/chat,")
}

// receives reads until a packet has come that is no event.
func (h *hand) receives(want string) {
	h.t.Helper()
	for {
		packet, _, err := h.via.next()
		if err != nil || packet == want {
			if err != nil {
				h.t.Fatalf("%s has not come: %v", want, err)
			}
			return
		}
		if packet == "2" {
			_ = h.via.send("3")
		}
	}
}

// asked lets a service ask the client.
func (s *stage) asked(h *hand) {
	s.t.Helper()
	inbox := edgetest.Hear(s.t, s.nc, s.nc.NewRespInbox())
	_ = s.nc.PublishRequest("sio.chat.ask.socket."+h.SID, inbox.Subject, []byte(`["ready?"]`))
	var packet string
	for !strings.HasSuffix(packet, `["ready?"]`) {
		var err error
		if packet, _, err = h.via.next(); err != nil {
			s.t.Fatal(err)
		}
	}
	id := strings.TrimSuffix(strings.TrimPrefix(packet, "42/chat,"), `["ready?"]`)
	_ = h.via.send("43/chat," + id + `["yes"]`)
	if got := string(inbox.Next().Data); got != `["yes"]` {
		s.t.Errorf("the answer is %s", got)
	}
}

// notices returns how often services were told that a socket was recovered.
func (s *service) notices(id string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.recovered[id]
}

// Attachments, volatile events and those that are delivered live do not break the offset.
func TestEventsOfAllKinds(t *testing.T) {
	onlyInFull(t)
	needRecovery(t)
	t.Parallel()
	s := begin(t, false, slowHeart...)
	f := &traffic{s: s}
	h := s.enter(0, "/chat", "ann", "", "", room(0), room(1), room(2), room(3), room(4), room(5), room(6), room(7))
	for round := range 5 {
		for n := range 200 {
			if err := s.nc.PublishMsg(f.event(0, 1000*round+n)); err != nil {
				t.Fatal(err)
			}
		}
		end := s.say("all", "end", 2*round)
		got := h.hears(end)
		h.via.reset()
		h = s.again((round+1)%3, "/chat", h, true)
		if rest := h.got; len(rest) > 0 {
			t.Errorf("it had received %d events up to %s, and was sent %v", len(got), end, rest)
		}
		if got := h.hears(s.say("all", "end", 2*round+1)); !slices.Equal(got, []string{fmt.Sprint("end/", 2*round+1)}) {
			t.Errorf("then it received %v", got)
		}
	}
}
