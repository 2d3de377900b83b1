package test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"partyline/internal/edgetest"
	"partyline/rule"
	"partyline/token"
)

// grantRules have relay rules of each kind.
func grantRules() rules {
	relay := []rule.Relay{{Event: "say", To: rule.ToRooms}, {Event: "shout", To: rule.ToAll}, {Event: "either", To: rule.ToRoomsOrAll},
		{Event: "whisper", To: rule.ToSocket}, lap}
	return rules{
		"/chat": {Connect: rule.ConnectToken, Tokens: []string{"main"}, UserRoom: "user:", Relay: relay, Rooms: []string{"*"}},
		"/bare": {Connect: rule.ConnectToken, Tokens: []string{"main"}},
		"/door": {Connect: rule.ConnectService, UserRoom: "user:", Relay: relay, Rooms: []string{"*"}},
	}
}

// beginGrants is a stage on which tokens of one key open /chat and /bare.
func beginGrants(t *testing.T) (*stage, *edgetest.TokenKey) {
	t.Helper()
	key := edgetest.ECKey(t, "")
	return begin(t, grantRules(), withTokens([]token.Issuer{issuer("main", withPublic(key))})), key
}

// granted admits a client by a token with a grant.
func (s *stage) granted(w way, namespace, user string, key *edgetest.TokenKey, grant edgetest.Claims) *guest {
	s.t.Helper()
	return s.admit(w, namespace, key.Sign(edgetest.Subject(user, minutes, edgetest.Claims{"partyline": grant}), nil))
}

// Each capability is refused over each transport and parser, with an ack that says what is not allowed. No one gets
// what was refused.
func TestCapabilities(t *testing.T) {
	s, key := beginGrants(t)
	everyWay(s, func(s *stage, w way) {
		up := s.events("chat")
		g := s.granted(w, "/chat", "ann", key, edgetest.Claims{
			"rooms": []string{"team"}, "join": []string{"lobby-*", "hall"}, "leave": []string{"lobby-*"}, "emit": []string{"say", "note.*", "lap"},
		})
		b := s.granted(w, "/chat", "bob", key, edgetest.Claims{"rooms": []string{"team"}})
		g.refused(`["join","vip"]`, "vip")
		g.does(`["join","lobby-1"]`)
		g.does(`["join","hall"]`)
		g.refused(`["leave","hall"]`, "hall")
		g.refused(`["leave","team"]`, "team")
		g.does(`["leave","lobby-1"]`)
		s.has(g, `"team"`, `"hall"`, `!"lobby-1"`, `!"vip"`)
		g.refused(`["shout","x"]`, "shout")
		g.refused(`["either","x"]`, "either")
		g.refused(`["whisper","`+b.id+`","x"]`, "whisper")
		g.refused(`["order"]`, "order")
		g.refused(`["note"]`, "note")
		g.refused(`["Say"]`, "Say")
		g.say(`2/chat,["shout","without an ack"]`)
		g.say(`2/chat,["say","hello"]`)
		b.gets(`2/chat,["say","hello"]`)
		g.say(`2/chat,["note.x",1]`)
		for _, want := range []string{"sio.chat.on.say", "sio.chat.on.note.x"} {
			if m := up.next(); m.Subject != want || m.Header.Get("Sio-User") != "ann" {
				s.t.Errorf("services got %s %s %v, want %s", m.Subject, m.Data, m.Header, want)
			}
		}
		b.does(`["join","vip"]`) // whose grant says nothing
		g.say("1/chat,")
		b.say("1/chat,")
	})
	n := len(ways)
	s.Counts("denied_total", "join", n)
	s.Counts("denied_total", "leave", 2*n)
	s.Counts("denied_total", "emit", 7*n)
}

// An empty list allows nothing; a list allows joins also where the namespace has no rooms.
func TestListsOfAGrant(t *testing.T) {
	s, key := beginGrants(t)
	everyWay(s, func(s *stage, w way) {
		up := s.events("bare")
		none := s.granted(w, "/chat", "ann", key, edgetest.Claims{"join": []string{}, "leave": []string{}, "emit": []string{}})
		none.refused(`["join","x"]`, "x")
		none.refused(`["leave","x"]`, "x")
		none.refused(`["say"]`, "say")
		some := s.granted(w, "/bare", "ann", key, edgetest.Claims{"join": []string{"x"}})
		some.does(`["join","x"]`)
		some.refused(`["join","y"]`, "y")
		some.say(`2/bare,["leave","x"]`) // an event like others, since there is no list for it
		if m := up.next(); m.Subject != "sio.bare.on.leave" {
			s.t.Errorf("services got %s", m.Subject)
		}
		plain := s.granted(w, "/bare", "bob", key, nil)
		plain.say(`2/bare,["join","x"]`)
		if m := up.next(); m.Subject != "sio.bare.on.join" {
			s.t.Errorf("services got %s", m.Subject)
		}
	})
}

// What is refused while a session is paused is refused as well, and never comes to a service.
func TestCapabilitiesWhilePaused(t *testing.T) {
	s, key := beginGrants(t)
	everyWay(s, func(s *stage, w way) {
		up := s.events("chat")
		g := s.granted(w, "/chat", "ann", key, edgetest.Claims{"join": []string{"x"}, "emit": []string{"say", "last"}})
		s.change("sio.chat.pause.socket."+g.id, `["svc-1"]`, 1)
		g.say(`2/chat,1["shout","x"]`)
		g.say(`2/chat,2["join","y"]`)
		g.say(`2/chat,3["say","x"]`)
		g.say(`2/chat,4["join","x"]`)
		g.say(`2/chat,["last"]`)
		s.change("sio.chat.resume.socket."+g.id, `["svc-1"]`, 1)
		for _, want := range []string{"sio.chat.on.say", "sio.chat.on.last"} {
			if m := up.next(); m.Subject != want {
				s.t.Errorf("services got %s %s, want %s", m.Subject, m.Data, want)
			}
		}
		acks := map[string]bool{}
		for range 3 {
			ack, _ := g.hear()
			acks[ack] = true
		}
		for _, want := range []string{`3/chat,1[{"error":"not allowed: shout"}]`, `3/chat,2[{"error":"not allowed: y"}]`, `3/chat,4[{"ok":true}]`} {
			if !acks[want] {
				s.t.Errorf("the acks are %v, without %s", acks, want)
			}
		}
		s.has(g, `"x"`, `!"y"`)
	})
}

// A client that goes on with what is not allowed is closed; one that tries now and then is not.
func TestAClientThatGoesOn(t *testing.T) {
	s, key := beginGrants(t)
	everyWay(s, func(s *stage, w way) {
		ends := s.hear("sio.chat.on.disconnect")
		tries := s.granted(w, "/chat", "ann", key, edgetest.Claims{"emit": []string{"say"}})
		for range 60 {
			tries.refused(`["order"]`, "order")
		}
		floods := s.granted(w, "/chat", "eve", key, edgetest.Claims{"emit": []string{"say"}})
		for range 300 {
			floods.say(`2/chat,["order"]`)
		}
		for ended := ""; ended != "sio.chat.emit.socket."+floods.id; { // those of other ways end, too
			ended = ends.Next().Reply
		}
		tries.does(`["join","x"]`)
		tries.say("1/chat,")
	})
}

// A service's admission is a grant with the same members.
func TestAServiceGrants(t *testing.T) {
	s, _ := beginGrants(t)
	s.serve("door", fmt.Sprintf(`[{"user":"ann","rooms":["team"],"join":["x"],"emit":["say"],"data":1,"expires":%d}]`, time.Now().Unix()+3600))
	everyWay(s, func(s *stage, w way) {
		g, answer := s.present(w, "/door", "any")
		g.connected(answer)
		s.has(g, `"user:ann"`, `"team"`, `"user":"ann"`)
		g.refused(`["join","y"]`, "y")
		g.does(`["join","x"]`)
		g.does(`["leave","x"]`) // what the namespace allows
		g.refused(`["shout"]`, "shout")
		s.change("sio.door.disconnect.room.user:ann", `[]`, 1)
		g.gets("1/door,")
	})
}

// Answers of services that are no grants.
func TestAServiceGrantsWhatCannotBe(t *testing.T) {
	s, _ := beginGrants(t)
	requests := s.hear("sio.door.on.connect")
	for _, body := range []string{
		`[{"join":"x"}]`, `[{"join":[1]}]`, `[{"emit":[""]}]`, `[{"leave":{}}]`, `[{"expires":"soon"}]`, `[{"expires":-1}]`, `[{"user":7}]`,
		`[{"rooms":["user:bob"]}]`, `[{"user":"` + strings.Repeat("u", 508) + `"}]`, `[{"user":"` + strings.Repeat("u.", 16) + `u"}]`,
		`[{"join":["` + strings.Repeat("x", 513) + `"]}]`, `[{"emit":[` + strings.Repeat(`"x",`, 100) + `"x"]}]`,
	} {
		c := s.Dial("ann")
		c.Send("40/door,")
		s.fails(requests.Next().Reply, body, "invalid answer")
		if got := c.Next(); !strings.HasPrefix(got, `44/door,{"message":"invalid answer"`) {
			t.Errorf("%s: the client got %s", body, got)
		}
	}
}
