package test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"partyline/config"
	"partyline/internal/edgetest"
	"partyline/token"
)

// The verb changes live sockets: a member that is present is set, one that is absent stays, and null takes it back.
func TestTheVerbGrant(t *testing.T) {
	s, key := beginGrants(t)
	everyWay(s, func(s *stage, w way) {
		g := s.granted(w, "/chat", "ann", key, edgetest.Claims{"rooms": []string{"a", "b"}, "emit": []string{"say"}, "join": []string{"x"}})
		to := "sio.chat.grant.socket." + g.id
		s.change("sio.chat.join.socket."+g.id, `["served"]`, 1)
		s.change(to, `[{"emit":["shout"]}]`, 1)
		g.refused(`["say"]`, "say")
		g.refused(`["join","y"]`, "y") // it stays
		s.has(g, `"a"`, `"b"`, `"user:ann"`)
		s.change(to, `[{"join":null,"leave":[],"rooms":["b","c"],"data":{"n":1},"other":1}]`, 1)
		g.does(`["join","y"]`)
		g.refused(`["leave","y"]`, "y")
		s.has(g, `!"a"`, `"b"`, `"c"`, `"served"`, `"y"`, `{"n":1}`, `"user":"ann"`)
		s.change(to, `[{"rooms":null,"leave":null,"emit":null}]`, 1)
		s.has(g, `!"b"`, `!"c"`, `"served"`, `"y"`, `"user:ann"`)
		g.does(`["leave","y"]`)
		g.say(`2/chat,["lap"]`)
		g.gets(`2/chat,["lap"]`)
		s.change(to, `[]`, 1)
		s.change(to, `[{}]`, 1)
		s.has(g, `"served"`, `"user:ann"`, `{"n":1}`)
		g.say("1/chat,")
	})
}

// The user changes, and the room with it.
func TestTheUserRoomFollowsTheUser(t *testing.T) {
	s, key := beginGrants(t)
	everyWay(s, func(s *stage, w way) {
		up := s.hear("sio.chat.on.x")
		g := s.granted(w, "/chat", "ann", key, nil)
		s.change("sio.chat.grant.room.user:ann", `[{"user":"bob"}]`, 1)
		s.has(g, `"user":"bob"`, `"user:bob"`, `!"user:ann"`)
		s.Publish("sio.chat.emit.room.user:ann", `["for ann"]`)
		s.Publish("sio.chat.emit.room.user:bob", `["for bob"]`)
		g.gets(`2/chat,["for bob"]`)
		g.say(`2/chat,["x"]`)
		if m := up.Next(); m.Header.Get("Sio-User") != "bob" {
			s.t.Errorf("the event's headers are %v", m.Header)
		}
		s.change("sio.chat.grant.socket."+g.id, `[{"user":null}]`, 1)
		s.has(g, `!"user"`, `!"user:`)
		s.change("sio.chat.grant.all", `[{"user":"joe.a b"}]`, 1)
		s.has(g, `"user":"joe.a b"`, `"user:joe.a b"`)
		s.Publish("sio.chat.emit.room.user:joe.a%20b", `["for joe"]`)
		g.gets(`2/chat,["for joe"]`)
		g.say("1/chat,")
	})
}

// All devices of a user are reached by the room, on all edges.
func TestAllDevicesOfAUser(t *testing.T) {
	s, key := beginGrants(t)
	o := edgetest.Options{NATS: s.NATS.ClientURL(), Namespaces: grantRules()}
	withTokens([]token.Issuer{issuer("main", withPublic(key))})(&o)
	other := &stage{&edgetest.Stage{Node: edgetest.Start(t, o).Ready(), Peer: s.Peer, NATS: s.NATS}, t}
	var devices []*guest
	for _, w := range ways {
		devices = append(devices, s.granted(w, "/chat", "ann", key, nil), other.granted(w, "/chat", "ann", key, nil))
	}
	bob := s.granted(ways[0], "/chat", "bob", key, nil)
	s.Publish("sio.chat.emit.room.user:ann", `["mail"]`)
	for _, g := range devices {
		g.gets(`2/chat,["mail"]`)
	}
	inbox := s.NC.NewRespInbox()
	answers := s.hear(inbox)
	s.PublishReply("sio.chat.disconnect.room.user:ann", inbox, `[]`)
	for _, g := range devices {
		g.gets("1/chat,")
	}
	for range 2 {
		if m := answers.Next(); !strings.HasSuffix(string(m.Data), fmt.Sprintf(`"sockets":%d}]`, len(ways))) {
			t.Errorf("an edge answered %s", m.Data)
		}
	}
	s.Publish("sio.chat.emit.all", `["left"]`)
	bob.gets(`2/chat,["left"]`)
}

// No pattern matches rooms of users: neither of a namespace nor of a grant. Relay rules leave them out.
func TestRoomsOfUsersAreNotForClients(t *testing.T) {
	s, key := beginGrants(t)
	everyWay(s, func(s *stage, w way) {
		grant := edgetest.Claims{"join": []string{"*", "user:*", "user:bob"}, "leave": []string{"*", "user:ann"}}
		for _, grant := range []edgetest.Claims{nil, grant} {
			g := s.granted(w, "/chat", "ann", key, grant)
			for _, room := range []string{"user:bob", "user:", "user:ann"} {
				if ack := g.emit(`["join","` + room + `"]`); !strings.HasPrefix(ack, `[{"error":"`) {
					s.t.Errorf("join %s was answered %s", room, ack)
				}
				if ack := g.emit(`["leave","` + room + `"]`); !strings.HasPrefix(ack, `[{"error":"`) {
					s.t.Errorf("leave %s was answered %s", room, ack)
				}
			}
			s.has(g, `"user:ann"`, `!"user:bob"`, `!"user:"`)
			g.say("1/chat,")
		}
		a, device, other := s.granted(w, "/chat", "ann", key, nil), s.granted(w, "/chat", "ann", key, nil), s.granted(w, "/chat", "bob", key, nil)
		a.say(`2/chat,["say","to no one"]`) // a is in no room but that of its user
		a.say(`2/chat,["either","to all"]`)
		for _, g := range []*guest{device, other} {
			g.gets(`2/chat,["either","to all"]`)
		}
		a.does(`["join","x"]`)
		other.does(`["join","x"]`)
		a.say(`2/chat,["say","to x"]`)
		a.say(`2/chat,["either","to x"]`)
		a.say(`2/chat,["shout","to all"]`)
		device.gets(`2/chat,["shout","to all"]`)
		for _, want := range []string{"say\",\"to x", "either\",\"to x", "shout\",\"to all"} {
			other.gets(`2/chat,["` + want + `"]`)
		}
		for _, g := range []*guest{a, device, other} {
			g.say("1/chat,")
		}
	})
}

// A body that is no grant changes nothing, and is answered with what is wrong.
func TestBodiesThatAreNoGrant(t *testing.T) {
	s, key := beginGrants(t)
	g := s.granted(ways[0], "/chat", "ann", key, edgetest.Claims{"emit": []string{"lap"}})
	before := s.state(g)
	for _, body := range []string{
		`{}`, `[1]`, `[{},{}]`, `x`, `[{"user":7}]`, `[{"user":"a\n"}]`, `[{"user":" a"}]`, `[{"join":"x"}]`, `[{"emit":[""]}]`, `[{"expires":"1"}]`,
		`[{"rooms":["user:bob"]}]`, `[{"rooms":[1]}]`, `[{"user":"` + strings.Repeat("u", 508) + `"}]`, `[{"user":"` + strings.Repeat("u.", 16) + `u"}]`,
		`[{"join":[` + strings.Repeat(`"x",`, 100) + `"x"]}]`,
	} {
		answer := s.Ask("sio.chat.grant.socket."+g.id, body)
		if answer.Header.Get("Sio-Error") == "" {
			t.Errorf("%.80s was answered %s", body, answer.Data)
		}
	}
	s.fails("sio.chat.grant.socket."+s.ID+".AAAAAAAAAAAAAAAAAAAA", `[{}]`, "unknown socket")
	s.fails("sio.bare.grant.socket."+g.id, `[{}]`, "unknown socket")
	if after := s.state(g); after != before {
		t.Errorf("the state is %s, was %s", after, before)
	}
}

// The verb sets an end, and takes it back; also of a socket that a service has admitted.
func TestTheVerbSetsAnEnd(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	t.Parallel()
	key := edgetest.ECKey(t, "")
	s := begin(t, grantRules(), withTokens([]token.Issuer{issuer("main", withPublic(key))}, func(c *config.Token) { c.Grace = 100 * time.Millisecond }))
	s.serve("door", `[{"user":"ann"}]`)
	everyWay(s, func(s *stage, w way) {
		stays, ends := s.granted(w, "/chat", "bob", key, nil), s.granted(w, "/chat", "ann", key, nil)
		served, answer := s.present(w, "/door", "any")
		served.connected(answer)
		soon := fmt.Sprintf(`[{"expires":%d}]`, time.Now().Unix()+2) // at least a second, in which the next word takes it back
		s.change("sio.chat.grant.socket."+stays.id, soon, 1)
		s.change("sio.chat.grant.socket."+stays.id, `[{"expires":null}]`, 1)
		s.change("sio.chat.grant.socket."+ends.id, soon, 1)
		s.change("sio.door.grant.socket."+served.id, soon, 1)
		ends.ends()
		served.ends()
		s.Publish("sio.chat.emit.socket."+stays.id, `["still here"]`)
		stays.gets(`2/chat,["still here"]`)
	})
}
