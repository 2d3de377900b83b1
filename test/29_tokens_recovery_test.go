package test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"partyline/config"
	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
	"partyline/rule"
	"partyline/token"
)

// returning is a stage on which sockets that a token has admitted can come back.
type returning struct {
	*stage
	key *edgetest.TokenKey
}

func beginReturning(t *testing.T) returning {
	t.Helper()
	key := edgetest.ECKey(t, "")
	server := natsdtest.Start(t, `jetstream { store_dir: "`+t.TempDir()+`" }`)
	namespaces := rules{"/chat": {Connect: rule.ConnectToken, Tokens: []string{"main"}, UserRoom: "user:", Rooms: []string{"*"}, Recovery: rule.Recovery{For: edgetest.Patience}}}
	return returning{beginAt(t, server, namespaces, withTokens([]token.Issuer{issuer("main", withPublic(key), func(i *token.Issuer) { i.Leeway = 0 })},
		func(c *config.Token) { c.Grace = 100 * time.Millisecond }), func(o *edgetest.Options) { o.QueueBytes = 100_000 }), key}
}

func (r returning) of(user string, lasts time.Duration, grant edgetest.Claims) string {
	return r.key.Sign(edgetest.Subject(user, lasts, edgetest.Claims{"partyline": grant}), nil)
}

// comes connects with a token, and with a pid if it is not "". It returns the new pid.
func (r returning) comes(w way, token, pid string) (g *guest, newPID, answer string) {
	r.t.Helper()
	g = &guest{talker: w.open(r.stage, "", nil), t: r.t, head: "/chat,"}
	auth := map[string]string{"token": token}
	if pid != "" {
		auth["pid"] = pid
	}
	text, _ := json.Marshal(auth)
	g.say("0/chat," + string(text))
	answer, _ = g.hear()
	var connect struct{ SID, PID string }
	if body, ok := strings.CutPrefix(answer, "0/chat,"); ok && json.Unmarshal([]byte(body), &connect) == nil {
		g.id = connect.SID
	}
	return g, connect.PID, answer
}

// drop ends the transport of a client without a word about its sockets. Then it can come back.
func (r returning) drop(g *guest) {
	r.t.Helper()
	ends := r.hear("sio.chat.on.disconnect")
	g.drop()
	ends.Next()
}

// event expects an event, behind which an offset may stand.
func (g *guest) event(body string) {
	g.t.Helper()
	if got, _ := g.hear(); !strings.HasPrefix(got, "2"+g.head+strings.TrimSuffix(body, "]")) {
		g.t.Fatalf("got %q, want %s", got, body)
	}
}

// A client comes back with a token of the same user. The grant of the new token counts.
func TestAClientComesBackWithAToken(t *testing.T) {
	r := beginReturning(t)
	everyWay(r.stage, func(s *stage, w way) {
		r := returning{s, r.key}
		a, pid, _ := r.comes(w, r.of("ann", minutes, edgetest.Claims{"rooms": []string{"a", "b"}, "emit": []string{"x"}}), "")
		a.does(`["join","own"]`)
		r.drop(a)
		b, _, answer := r.comes(w, r.of("ann", minutes, edgetest.Claims{"rooms": []string{"b", "c"}, "emit": []string{"y"}}), pid)
		if b.id != a.id {
			s.t.Fatalf("it came back as %s (%s), was %s", b.id, answer, a.id)
		}
		s.has(b, `!"a"`, `"b"`, `"c"`, `"own"`, `"user:ann"`, `"user":"ann"`)
		b.refused(`["x"]`, "x")
		s.Publish("sio.chat.emit.room.user:ann", `["hello"]`)
		b.event(`["hello"]`)
	})
}

// Who has missed too much gets a new socket, with all that its token grants.
func TestWhoMissedTooMuchBeginsAgainWithAToken(t *testing.T) {
	r := beginReturning(t)
	everyWay(r.stage, func(s *stage, w way) {
		r := returning{s, r.key}
		shown := r.of("ann", minutes, edgetest.Claims{"rooms": []string{"a"}, "data": edgetest.Claims{"n": 1}})
		a, pid, _ := r.comes(w, shown, "")
		s.has(a, `"data":{"n":1}`)
		r.drop(a)
		for range 6 {
			s.Publish("sio.chat.emit.socket."+a.id, `["much","`+strings.Repeat("x", 30_000)+`"]`)
		}
		s.Flush()
		b, _, answer := r.comes(w, shown, pid)
		if b.id == "" || b.id == a.id {
			s.t.Fatalf("it came back as %q (%.100s), was %s", b.id, answer, a.id)
		}
		s.has(b, `"a"`, `"user:ann"`, `"user":"ann"`, `"data":{"n":1}`)
	})
}

// What is not the user's own socket does not come back, and what has no good token is refused.
func TestWhoDoesNotComeBackWithAToken(t *testing.T) {
	r := beginReturning(t)
	everyWay(r.stage, func(s *stage, w way) {
		r := returning{s, r.key}
		a, pid, _ := r.comes(w, r.of("ann", minutes, nil), "")
		r.drop(a)
		eve, _, _ := r.comes(w, r.of("eve", minutes, nil), pid)
		if eve.id == "" || eve.id == a.id {
			s.t.Errorf("another user has the socket %q, was %s", eve.id, a.id)
		}
		s.has(eve, `"user:eve"`, `!"user:ann"`)
		now := time.Now().Unix()
		late, _, answer := r.comes(w, r.key.Sign(edgetest.Subject("ann", 0, edgetest.Claims{"iat": now - 60, "exp": now - 30}), nil), pid)
		if _, code := late.refusal(answer); code != "token_expired" {
			s.t.Errorf("the refusal is %s", answer)
		}
		back, _, answer := r.comes(w, r.of("ann", minutes, nil), pid)
		if back.id != a.id {
			s.t.Errorf("its owner came back as %s (%s), was %s", back.id, answer, a.id)
		}
	})
}

// A socket whose transport was closed since its token had ended comes back with a new token.
func TestATokenEndsAndTheClientComesBack(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	t.Parallel()
	r := beginReturning(t)
	everyWay(r.stage, func(s *stage, w way) {
		r := returning{s, r.key}
		a, pid, _ := r.comes(w, r.of("ann", 3*time.Second, nil), "")
		a.ends()
		b, _, answer := r.comes(w, r.of("ann", minutes, nil), pid)
		if b.id != a.id {
			s.t.Errorf("it came back as %s (%s), was %s", b.id, answer, a.id)
		}
	})
}

// A kicked user does not come back to the socket, although the token is good.
func TestAKickedSocketDoesNotComeBack(t *testing.T) {
	r := beginReturning(t)
	everyWay(r.stage, func(s *stage, w way) {
		r := returning{s, r.key}
		good := r.of("ann", minutes, nil)
		a, pid, _ := r.comes(w, good, "")
		s.change("sio.chat.disconnect.room.user:ann", `[]`, 1)
		a.gets("1/chat,")
		b, _, answer := r.comes(w, good, pid)
		if b.id == "" || b.id == a.id {
			s.t.Errorf("it came back as %q (%s), was %s", b.id, answer, a.id)
		}
		s.change("sio.chat.disconnect.room.user:ann", `[]`, 1)
	})
}

// What the verb granted survives the end of a connection; a new token replaces what the old one granted.
func TestTheVerbsGrantComesBack(t *testing.T) {
	r := beginReturning(t)
	everyWay(r.stage, func(s *stage, w way) {
		r := returning{s, r.key}
		a, pid, _ := r.comes(w, r.of("ann", minutes, nil), "")
		s.change("sio.chat.grant.socket."+a.id, `[{"user":"bob","data":7}]`, 1)
		r.drop(a)
		// The record's user is bob now: a token of ann opens it no more.
		b, _, _ := r.comes(w, r.of("ann", minutes, nil), pid)
		if b.id == a.id {
			s.t.Error("the socket of bob came back to ann")
		}
		c, _, answer := r.comes(w, r.of("bob", minutes, nil), pid)
		if c.id != a.id {
			s.t.Fatalf("it came back as %q (%s), was %s", c.id, answer, a.id)
		}
		s.has(c, `"user":"bob"`, `"data":7`)
	})
}
