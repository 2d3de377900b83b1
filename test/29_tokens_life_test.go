package test

import (
	"strings"
	"testing"
	"time"

	"partyline/config"
	"partyline/internal/edgetest"
	"partyline/token"
)

// renewal is a stage with one issuer, and one more whose tokens open the same namespace.
type renewal struct {
	*stage
	main, other *edgetest.TokenKey
}

func beginRenewal(t *testing.T) renewal {
	t.Helper()
	r := renewal{main: edgetest.ECKey(t, ""), other: edgetest.ECKey(t, "")}
	namespaces := tokenRules()
	ns := namespaces["/chat"]
	ns.Tokens = []string{"main", "admin"}
	r.stage = begin(t, namespaces.with("/chat", ns), withTokens([]token.Issuer{
		issuer("main", withPublic(r.main), func(i *token.Issuer) { i.Leeway = 0 }),
		issuer("admin", withPublic(r.other), func(i *token.Issuer) { i.Issuer = "https://admin.example" }),
	}, func(c *config.Token) { c.Grace = 100 * time.Millisecond }))
	return r
}

// of makes a token of the main issuer with a grant.
func (r renewal) of(user string, lasts time.Duration, grant edgetest.Claims) string {
	return r.main.Sign(edgetest.Subject(user, lasts, edgetest.Claims{"partyline": grant}), nil)
}

func (g *guest) renews(token string) { g.t.Helper(); g.does(`["partyline:token","` + token + `"]`) }

func (g *guest) isNotRenewed(token string) {
	g.t.Helper()
	if ack := g.emit(`["partyline:token","` + token + `"]`); !strings.HasPrefix(ack, `[{"error":"token `) {
		g.t.Fatalf("a bad token was answered %s", ack)
	}
}

// rooms returns the answer to fetch.
func (s *stage) state(g *guest) string {
	s.t.Helper()
	return string(s.Ask("sio."+strings.Trim(g.head, "/,")+".fetch.socket."+g.id, "[]").Data)
}

// has checks that the state of a socket has some texts and lacks those that begin with !.
func (s *stage) has(g *guest, texts ...string) {
	s.t.Helper()
	state := s.state(g)
	for _, text := range texts {
		if want, lacks := strings.CutPrefix(text, "!"); strings.Contains(state, want) == lacks {
			s.t.Errorf("the state is %s; of %q", state, text)
		}
	}
}

// A new token replaces the grant of the old one as a whole, and its end.
func TestATokenIsRenewedInPlace(t *testing.T) {
	r := beginRenewal(t)
	everyWay(r.stage, func(s *stage, w way) {
		up := s.events("chat")
		g := s.admit(w, "/chat", r.of("ann", 30*time.Second, edgetest.Claims{"rooms": []string{"a", "b"}, "join": []string{"x"}, "data": 1}))
		g.does(`["join","x"]`)
		s.change("sio.chat.join.socket."+g.id, `["served"]`, 1)
		s.has(g, `"a"`, `"b"`, `"x"`, `"served"`, `"user:ann"`)
		g.renews(r.of("ann", minutes, edgetest.Claims{"rooms": []string{"b", "c"}, "join": []string{"y"}}))
		s.has(g, `!"a"`, `"b"`, `"c"`, `"x"`, `"served"`, `"user:ann"`)
		g.refused(`["join","x2"]`, "x2")
		g.refused(`["join","x"]`, "x")
		g.does(`["join","y"]`)
		s.Publish("sio.chat.emit.room.a", `["gone"]`)
		s.Publish("sio.chat.emit.room.c", `["new"]`)
		g.gets(`2/chat,["new"]`)
		g.say(`2/chat,["next"]`)
		if m := up.next(); m.Subject != "sio.chat.on.next" {
			s.t.Errorf("services got %s, and never the renewal", m.Subject)
		}
	})
}

// What is no good renewal changes nothing.
func TestRenewalsThatAreRefused(t *testing.T) {
	r := beginRenewal(t)
	now := time.Now().Unix()
	everyWay(r.stage, func(s *stage, w way) {
		g := s.admit(w, "/chat", r.of("ann", minutes, edgetest.Claims{"rooms": []string{"a"}}))
		before := s.state(g)
		for name, token := range map[string]string{
			"another user":    r.of("bob", minutes, nil),
			"another issuer":  r.other.Sign(edgetest.Subject("ann", minutes, edgetest.Claims{"iss": "https://admin.example"}), nil),
			"expired":         r.main.Sign(edgetest.Subject("ann", minutes, edgetest.Claims{"iat": now - 60, "exp": now - 30}), nil),
			"early":           r.main.Sign(edgetest.Subject("ann", minutes, edgetest.Claims{"nbf": now + 60}), nil),
			"another key":     r.other.Sign(edgetest.Subject("ann", minutes, nil), nil),
			"a room of users": r.of("ann", minutes, edgetest.Claims{"rooms": []string{"user:bob"}}),
			"none":            "",
		} {
			s.t.Log(name)
			g.isNotRenewed(token)
		}
		for _, event := range []string{`["partyline:token"]`, `["partyline:token",7]`, `["partyline:token",null]`, `["partyline:token",{"token":"x"}]`} {
			if ack := g.emit(event); !strings.HasPrefix(ack, `[{"error":"`) {
				s.t.Errorf("%s was answered %s", event, ack)
			}
		}
		g.say(`2/chat,["partyline:token","x"]`) // without an ack
		if after := s.state(g); after != before {
			s.t.Errorf("the state is %s, was %s", after, before)
		}
	})
}

// In a namespace without tokens the event is one like any other.
func TestTheEventIsReservedWhereTokensCount(t *testing.T) {
	r := beginRenewal(t)
	a := r.Enter("a", "/lobby")
	up := r.hear("sio.lobby.on.*")
	a.Emit("1", `["partyline:token","x"]`)
	up.Gets("sio.lobby.on.partyline:token", a.Ack("1"), `["partyline:token","x"]`)
}

// Past its end and the grace, the edge closes the transport, and with it all namespaces. A client that renews in time
// stays.
func TestATokenEnds(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	t.Parallel()
	r := beginRenewal(t)
	everyWay(r.stage, func(s *stage, w way) {
		ends := s.hear("sio.*.on.disconnect")
		g := s.admit(w, "/chat", r.of("ann", 4*time.Second, nil))
		stays := s.admit(w, "/chat", r.of("bob", 4*time.Second, nil))
		stays.renews(r.of("bob", minutes, nil))
		lobby := *g
		lobby.head = "/lobby,"
		lobby.say("0/lobby,")
		answer, _ := lobby.hear()
		lobby.connected(answer)
		g.ends()
		left := map[string]bool{"sio.chat.emit.socket." + g.id: true, "sio.lobby.emit.socket." + lobby.id: true}
		for len(left) > 0 {
			m := ends.Next()
			if left[m.Reply] && !strings.Contains(string(m.Data), "forced server close") {
				s.t.Errorf("the notice is %s", m.Data)
			}
			delete(left, m.Reply)
		}
		s.Publish("sio.chat.emit.socket."+stays.id, `["still here"]`)
		stays.gets(`2/chat,["still here"]`)
		// The client comes back with the old token, and with a new one.
		again, answer := s.present(w, "/chat", r.main.Sign(edgetest.Subject("ann", 0, edgetest.Claims{"iat": time.Now().Unix() - 5, "exp": time.Now().Unix() - 2}), nil))
		if _, code := again.refusal(answer); code != "token_expired" {
			s.t.Errorf("the refusal is %s", answer)
		}
		again.connect(r.of("ann", minutes, nil))
		answer, _ = again.hear()
		again.connected(answer)
	})
}

// A renewed token that ends earlier counts, too.
func TestARenewalMayShorten(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	t.Parallel()
	r := beginRenewal(t)
	everyWay(r.stage, func(s *stage, w way) {
		g := s.admit(w, "/chat", r.of("ann", minutes, nil))
		g.renews(r.of("ann", minutes, edgetest.Claims{"expires": time.Now().Unix() + 1}))
		g.ends()
	})
}

// There is no list of tokens that were taken back: who was disconnected returns until the token ends, and not after.
func TestAKickedUserReturnsUntilTheTokenEnds(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	t.Parallel()
	r := beginRenewal(t)
	everyWay(r.stage, func(s *stage, w way) {
		user := strings.ReplaceAll(w.name, " ", "-")
		last := r.of(user, 4*time.Second, nil)
		until := time.Now().Add(4 * time.Second)
		for time.Until(until) > 2*time.Second {
			g := s.admit(w, "/chat", last)
			s.change("sio.chat.disconnect.room.user:"+user, `[]`, 1)
			g.gets("1/chat,")
		}
		g := s.admit(w, "/chat", last)
		s.change("sio.chat.disconnect.room.user:"+user, `["close"]`, 1)
		g.ends()
		edgetest.Eventually(s.t, "the token opens nothing", func() bool {
			g, answer := s.present(w, "/chat", last)
			defer g.drop()
			if answer == "" || answer[0] == '0' { // it is good, or was just now
				return false
			}
			_, code := g.refusal(answer)
			return code == "token_expired"
		})
	})
}
