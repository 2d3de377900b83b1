package test

import (
	"strings"
	"testing"

	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
	"partyline/rule"
	"partyline/token"
)

// admitting is a stage on which the edge itself admits sockets to /door, and what a client shows there.
func admitting(t *testing.T, connect string) (s *stage, auth string) {
	t.Helper()
	door := rule.Namespace{Connect: connect, AutoJoin: []string{"hall"}}
	if connect == rule.ConnectOpen {
		return begin(t, usual().with("/door", door)), ""
	}
	key := edgetest.HMACKey(t)
	door.Tokens = []string{"main"}
	grant := edgetest.Claims{"rooms": []string{"team"}, "data": edgetest.Claims{"n": 1}}
	auth = `{"token":"` + key.Sign(edgetest.Subject("ann", minutes, edgetest.Claims{"partyline": grant}), nil) + `"}`
	return begin(t, usual().with("/door", door), withTokens([]token.Issuer{issuer("main", withSecret(key))})), auth
}

// bothWays plays a test in an open namespace, and in one with tokens.
func bothWays(t *testing.T, play func(t *testing.T, s *stage, auth string)) {
	for _, connect := range []string{rule.ConnectOpen, rule.ConnectToken} {
		t.Run(connect, func(t *testing.T) {
			s, auth := admitting(t, connect)
			play(t, s, auth)
		})
	}
}

// come connects a client to /door.
func (s *stage) come(name, auth string) *socket {
	s.t.Helper()
	return edgetest.Enter(s.Dial(name), "/door", auth)
}

// The edge admits the client without the instance that will own its socket, and holds its events until that answers.
func TestASocketThatTheEdgeAdmitsHasAnOwner(t *testing.T) {
	bothWays(t, func(t *testing.T, s *stage, auth string) {
		all := s.hear("sio.door.on.>")
		a := startInstance(t, s.NC, "chat-a")
		so := s.come("ann", auth) // connected, while the instance has not answered
		so.Emit("", `["one"]`)
		so.Emit("1", `["two"]`)
		s.Counts("events_held_total", "", 2)
		if m := all.Next(); m.Subject != "sio.door.on.connect" || m.Reply != so.Address() {
			t.Errorf("%s %s came, want the notice", m.Subject, m.Reply)
		}
		h := a.accepts(`[{"rooms":["vip"],"user":"bob"}]`)
		rooms, user := "hall", ""
		if auth != "" {
			rooms, user = "hall team", "ann"
		}
		if k := h.Handover; h.SID != so.ID || h.Assignment != "1" || k == nil || k.From != "" || strings.Join(k.Rooms, " ") != rooms ||
			k.User != user || auth != "" && k.Data["n"] != 1.0 {
			t.Errorf("the request is %+v %+v", h, h.Handover)
		}
		m := a.owned.Next() // what its admission has changed
		if !strings.Contains(string(m.Data), `"vip"`) || !strings.Contains(string(m.Data), `"user":"bob"`) || m.Reply != "" {
			t.Errorf("%s %s came, want the socket's state", m.Subject, m.Data)
		}
		if m := a.owned.Gets("sio.door.own.chat-a.one", so.Address(), `["one"]`); m.Header.Get("Sio-User") != "bob" && m.Header.Get("Sio-User") != user {
			t.Errorf("the headers are %v", m.Header)
		}
		a.answer(a.owned.Gets("sio.door.own.chat-a.two", so.Ack("1"), `["two"]`), `[2]`)
		so.Acked("1", `[2]`)
		so.Emit("", `["three"]`)
		m = a.owned.Gets("sio.door.own.chat-a.three", so.Address(), `["three"]`)
		if m.Header.Get("Sio-User") != "bob" {
			t.Errorf("the headers are %v", m.Header)
		}
		s.Publish("sio.door.emit.all", `["local"]`, "Sio-Owned-By: chat-a")
		so.Gets(`["local"]`)
		so.Send("41/door,")
		for m = a.owned.Next(); m.Subject != "sio.door.own.chat-a.disconnect"; m = a.owned.Next() {
			t.Errorf("%s %s came, want the end", m.Subject, m.Data)
		}
		if m = all.Next(); m.Subject != "sio.door.on.disconnect" { // and no event
			t.Errorf("%s came, want the notice of the end", m.Subject)
		}
		s.Counts("takeovers_total", "", 0)
	})
}

// An instance that is asked may refuse: the client, which is connected, is disconnected, and services have a notice.
func TestASocketThatTheEdgeAdmitsIsRefused(t *testing.T) {
	bothWays(t, func(t *testing.T, s *stage, auth string) {
		ends := s.hear("sio.door.on.disconnect")
		a := startInstance(t, s.NC, "chat-a")
		so := s.come("ann", auth)
		so.Emit("", `["dropped"]`)
		s.Counts("events_held_total", "", 1)
		a.decides(a.request(), `[]`, "Sio-Error: no")
		so.Expect("41/door,")
		if m := ends.Next(); m.Reply != so.Address() || !strings.Contains(string(m.Data), "server namespace disconnect") {
			t.Errorf("the end is %s of %s", m.Data, m.Reply)
		}
		s.Counts("events_failed_total", "", 1)
		a.gets(so, "disconnect", `["disconnect",{"reason":"owner changed","rooms":[],"assignment":1}]`) // as of any refusal
		other := s.come("bob", auth)
		a.decides(a.request(), `[]`, "Sio-Error: later", "Sio-Close: true")
		if text, ok := other.Await(); ok && text != "1" {
			t.Errorf("the client gets %q", text)
		}
	})
}

// Without an instance all is as if there were no owners. One that comes later owns the sockets that come then; those
// that are there stay without.
func TestSocketsThatWereThereBeforeTheirService(t *testing.T) {
	bothWays(t, func(t *testing.T, s *stage, auth string) {
		all := s.hear("sio.door.on.>")
		before := s.come("ann", auth)
		before.Emit("", `["one"]`)
		all.Next() // its connect
		all.Gets("sio.door.on.one", before.Address(), `["one"]`)
		a := startInstance(t, s.NC, "chat-a")
		before.Emit("", `["two"]`)
		all.Gets("sio.door.on.two", before.Address(), `["two"]`)
		after := s.come("bob", auth)
		if h := a.accepts(`[]`); h.SID != after.ID {
			t.Errorf("the instance is asked about %s", h.SID)
		}
		after.Emit("", `["three"]`)
		a.gets(after, "three", `["three"]`)
		before.Emit("", `["four"]`)
		all.Next() // the other's connect
		all.Gets("sio.door.on.four", before.Address(), `["four"]`)
	})
}

// If no instance is left that could be the first owner, all services get what was held, in order, and all that follows.
func TestNoInstanceIsLeftToBeTheFirstOwner(t *testing.T) {
	for name, leave := range map[string]func(s *stage, a *instance){
		"its group does not own": func(_ *stage, a *instance) { a.decides(a.request(), "", "Sio-Error: not mine") },
		"it has left": func(s *stage, a *instance) {
			a.request()
			s.Publish("sio.$svc.chat.chat-a.bye", string(a.announcement()))
		},
	} {
		t.Run(name, func(t *testing.T) {
			bothWays(t, func(t *testing.T, s *stage, auth string) {
				all := s.hear("sio.door.on.>")
				a := startInstance(t, s.NC, "chat-a")
				so, gone := s.come("ann", auth), s.come("bob", auth)
				so.Emit("", `["one"]`)
				so.Emit("", `["two"]`)
				s.Counts("events_held_total", "", 2)
				gone.Emit("", `["last"]`)
				gone.Send("41/door,")
				s.Counts("events_held_total", "", 3)
				a.silence()
				leave(s, a)
				if name == "its group does not own" {
					leave(s, a) // about the other socket
				}
				var got []string
				for len(got) < 2 {
					if m := all.Next(); m.Reply == so.Address() && m.Subject != "sio.door.on.connect" {
						got = append(got, string(m.Data))
					}
				}
				if strings.Join(got, " ") != `["one"] ["two"]` {
					t.Errorf("%v came", got)
				}
				so.Emit("", `["three"]`)
				for {
					if m := all.Next(); m.Subject == "sio.door.on.three" {
						break
					}
				}
				s.Counts("events_failed_total", "", 0)
				s.change("sio.door.join.all", `["x"]`, 1)
				so.Send("41/door,")
				for {
					if m := all.Next(); m.Subject == "sio.door.on.disconnect" && m.Reply == so.Address() {
						break
					}
				}
			})
		})
	}
}

// An owner that dies or leaves is followed by another one, as in any namespace. Without another one events wait.
func TestTheNextOwnerOfASocketThatTheEdgeAdmitted(t *testing.T) {
	bothWays(t, func(t *testing.T, s *stage, auth string) {
		a := startInstance(t, s.NC, "chat-a")
		so := s.come("ann", auth)
		a.accepts(`[]`)
		so.Emit("", `["one"]`)
		a.gets(so, "one", `["one"]`)
		s.leaving(a, 1, "/door")
		held := s.Figure("events_held_total", "")
		so.Emit("", `["two"]`)
		s.Counts("events_held_total", "", held+1)
		a.drop()
		s.Publish("sio.$svc.chat.chat-a.left", string(a.announcement()))
		b := startInstance(t, s.NC, "chat-b")
		if h := b.accepts(`[]`); h.Handover == nil || h.Handover.From != "chat-a" || h.Assignment != "2" {
			t.Errorf("the request is %+v %+v", h, h.Handover)
		}
		b.gets(so, "two", `["two"]`)
		s.Counts("takeovers_total", "", 1)
	})
}

// A client that leaves before its instance has answered is gone for it, too, behind its events.
func TestASocketIsGoneBeforeItHasAnOwner(t *testing.T) {
	bothWays(t, func(t *testing.T, s *stage, auth string) {
		a := startInstance(t, s.NC, "chat-a")
		so := s.come("ann", auth)
		so.Emit("", `["last"]`)
		so.Send("41/door,")
		s.Counts("events_held_total", "", 1)
		a.accepts(`[]`)
		a.gets(so, "last", `["last"]`)
		if m := a.owned.Next(); m.Subject != "sio.door.own.chat-a.disconnect" || m.Reply != so.Address() {
			t.Errorf("%s came, want the end", m.Subject)
		}
	})
}

// A client that comes back to a socket without an owner gets one, and keeps it when it comes back again.
func TestASocketHasAnOwnerWhenItsClientComesBack(t *testing.T) {
	namespaces := rules{"/door": {Connect: rule.ConnectOpen, Rooms: []string{"*"}, Recovery: rule.Recovery{For: edgetest.Patience}}}
	server := natsdtest.Start(t, `jetstream { store_dir: "`+t.TempDir()+`" }`)
	s := beginAt(t, server, namespaces)
	other := edgetest.Start(t, edgetest.Options{NATS: server.ClientURL(), Namespaces: namespaces}).Ready()
	all := s.hear("sio.door.on.>")
	c := s.Dial("ann")
	c.Send("40/door,")
	so := connected(t, c, "/door")
	all.Next()
	c.Send(`42/door,1["join","vip"]`)
	c.Expect(`43/door,1[{"ok":true}]`)
	c.Send(`42/door,["one"]`)
	all.Gets("sio.door.on.one", "sio.door.emit.socket."+so.id, `["one"]`)
	a := startInstance(t, s.NC, "chat-a")
	for number, node := range []*edgetest.Node{other, s.Node} {
		c.Hangup()
		for m := all.Next(); m.Subject != "sio.door.on.disconnect"; m = all.Next() {
		}
		c = node.Dial("ann")
		c.Send(`40/door,{"pid":"` + so.pid + `"}`)
		if back := connected(t, c, "/door"); back.id != so.id {
			t.Fatalf("it came back as %s", back.id)
		}
		c.Send(`42/door,["two"]`)
		m := a.owned.Next()
		for ; m.Subject != "sio.door.own.chat-a.connect" || m.Reply == ""; m = a.owned.Next() {
			isState := m.Subject == "sio.door.own.chat-a.connect" // of the place that it has left
			if number == 0 || m.Subject != "sio.door.own.chat-a.disconnect" && !isState {
				t.Errorf("%s %s came, want a request", m.Subject, m.Data)
			}
		}
		asked, from := readBack(t, m), []string{"", "chat-a"}[number]
		if asked.Handover == nil || asked.Handover.From != from || strings.Join(asked.Handover.Rooms, " ") != "vip" || string(asked.Recovered) != "true" {
			t.Errorf("the request is %s", m.Data)
		}
		a.admits(m, `[]`)
		for m = a.owned.Next(); m.Subject == "sio.door.own.chat-a.connect" && m.Reply == ""; m = a.owned.Next() { // its state, if that has changed
		}
		if m.Subject != "sio.door.own.chat-a.two" || m.Reply != "sio.door.emit.socket."+so.id || string(m.Data) != `["two"]` {
			t.Errorf("%s %s %s came, want the event", m.Subject, m.Reply, m.Data)
		}
	}
}
