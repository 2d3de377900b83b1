package recovery

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/wire/recovery"
)

// A pid opens its own session, in its own namespace, and nothing else does.
func TestPIDsCannotBeGuessed(t *testing.T) {
	onlyInFull(t)
	needRecovery(t)
	t.Parallel()
	s := begin(t, false, slowHeart...)
	h := s.enter(0, "/chat", "ann", "", "", "first")
	other := s.enter(0, "/other", "eve", "", "")
	s.say("socket."+h.SID, "hello", 1)
	h.hears("hello/1")
	edge, secret, _ := strings.Cut(h.PID, ".")
	for name, pid := range map[string]string{
		"guessed":                  recovery.NewPID(edge),
		"of another edge":          strings.Split(s.enter(1, "/chat", "bob", "", "").PID, ".")[0] + "." + secret,
		"of no edge":               "zzzzzzzz." + secret,
		"the id":                   h.SID,
		"its hash":                 edge + "." + recovery.Hash(h.PID),
		"of another namespace":     other.PID,
		"with a wildcard":          edge + ".*",
		"with more":                h.PID + "x",
		"with less":                h.PID[:len(h.PID)-1],
		"in other letters":         edge + "." + swapped(secret),
		"without the edge":         secret,
		"with a further subject":   h.PID + ".>",
		"longer than a subject is": edge + "." + strings.Repeat("x", 100_000),
	} {
		for at := range s.edges {
			thief := s.enter(at, "/chat", "eve", pid, h.offset)
			if thief.SID == h.SID || thief.SID == other.SID || thief.PID == pid || len(thief.got) > 0 {
				t.Errorf("%s: the pid %.60s opened %s: %v", name, pid, thief.SID, thief.got)
			}
			thief.via.end()
		}
	}
	if thief := s.enter(1, "/other", "eve", h.PID, h.offset); thief.SID == h.SID || thief.PID == h.PID {
		t.Errorf("a pid of /chat opened %s in /other", thief.SID)
	}
	s.say("room.first", "still there", 1)
	h.hears("still there/1") // none of this has ended the session
}

// swapped changes the case of a letter.
func swapped(s string) string {
	for i, c := range s {
		if lower := strings.ToLower(string(c)); lower != string(c) {
			return s[:i] + lower + s[i+1:]
		}
	}
	return s[:1] + "A" + s[2:]
}

// Of two connections that come with one pid at the same time, one has the session in the end.
func TestAPIDIsUsedTwice(t *testing.T) {
	needRecovery(t)
	t.Parallel()
	s := begin(t, false, slowHeart...)
	for round := range 12 * *rounds {
		h := s.enter(round%3, "/chat", "ann", "", "", "first")
		s.say("socket."+h.SID, "hello", round)
		h.hears(fmt.Sprint("hello/", round))
		if round%2 == 0 {
			h.via.reset()
		}
		both := s.race(h, round)
		s.say("room.first", "once", round)
		heard := 0
		for _, one := range both {
			got := one.drained()
			if n := strings.Count(strings.Join(got, " ")+" ", fmt.Sprintf("once/%d ", round)); one.SID == h.SID {
				heard += n
			}
		}
		for name, n := range s.heldTwice() {
			t.Errorf("round %d: %d edges have the socket %s", round, n, name)
		}
		if heard != 1 {
			t.Errorf("round %d: %d of the two received the event as %s", round, heard, h.SID)
		}
	}
}

// race lets two connections come with a pid at once, at different edges or at the same.
func (s *stage) race(h *hand, round int) []*hand {
	s.t.Helper()
	both, errs := make([]*hand, 2), make([]error, 2)
	var racing sync.WaitGroup
	for i := range both {
		racing.Go(func() {
			both[i], errs[i] = s.tryEnter((round/3+i*(round%4/2+1))%3, "/chat", "eve", h.PID, h.offset, "first")
		})
	}
	racing.Wait()
	var entered []*hand
	for i, one := range both {
		if errs[i] != nil {
			s.t.Logf("round %d: %v", round, errs[i]) // the other took the session while this one was served
			continue
		}
		entered = append(entered, one)
	}
	return entered
}

// heldTwice returns the sockets that more than one edge has, at two looks.
func (s *stage) heldTwice() map[string]int {
	twice := make(map[string]int)
	first := s.holders()
	time.Sleep(50 * time.Millisecond)
	for id, n := range s.holders() {
		if n > 1 && first[id] > 1 {
			twice[id] = n
		}
	}
	return twice
}

// Nothing in NATS, on pages or in logs opens a session.
func TestPIDsAreSecret(t *testing.T) {
	onlyInFull(t)
	needRecovery(t)
	t.Parallel()
	s := begin(t, false, slowHeart...)
	var mu sync.Mutex
	var seen []string
	sub, err := s.nc.Subscribe(">", func(m *nats.Msg) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, fmt.Sprint(m.Subject, " ", m.Reply, " ", m.Header, " ", string(m.Data)))
	})
	if err == nil {
		err = s.nc.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	_ = sub.SetPendingLimits(-1, -1)
	var secrets []string
	h := s.enter(0, "/chat", "ann", "", "", "first")
	for round := range 6 {
		secrets = append(secrets, strings.Split(h.PID, ".")[1])
		s.say("socket."+h.SID, "hello", round)
		h.hears(fmt.Sprint("hello/", round))
		s.request("join", h.SID, fmt.Sprintf(`["room%d"]`, round))
		if round%2 == 0 { // half-open otherwise
			h.via.reset()
		}
		if h = s.enter((round+1)%3, "/chat", "ann", h.PID, h.offset, "first"); h.PID == "" {
			t.Fatal("no pid")
		}
	}
	_ = s.nc.Flush()
	mu.Lock()
	defer mu.Unlock()
	for _, e := range s.edges {
		for _, page := range []string{"/metrics", "/readyz", "/healthz", "/"} {
			_, text := e.Page(page)
			seen = append(seen, page+" "+text)
		}
		seen = append(seen, e.Said()...)
	}
	for _, text := range seen {
		for _, secret := range secrets {
			if strings.Contains(text, secret) {
				t.Errorf("this has the secret of a pid: %.300s", text)
			}
		}
	}
	t.Logf("%d messages, pages and lines", len(seen))
}
