package test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"partyline/engine/enginetest"
	"partyline/rule"
)

// session returns the session's name of the request about a socket. Further sockets of one session have the same.
func session(t *testing.T, data []byte) string {
	t.Helper()
	var name string
	var h struct{ SID, Session string }
	if err := json.Unmarshal(data, &[]any{&name, &h}); err != nil || !regexp.MustCompile(`^[A-Za-z0-9_-]{12}$`).MatchString(h.Session) {
		t.Fatalf("the request is %s: %v", data, err)
	}
	return h.Session
}

// The sockets of a session go to one instance if it can own them, also after its death, and have the session's name in
// their requests.
func TestTheSocketsOfASessionHaveOneOwner(t *testing.T) {
	t.Parallel()
	const rooms = 8
	namespaces := usual()
	for i := range rooms {
		namespaces = namespaces.with(fmt.Sprint("/n", i), rule.Namespace{Connect: rule.ConnectService})
	}
	s := begin(t, namespaces)
	instances := map[string]*instance{}
	owned := s.hear("sio.*.own.*.connect")
	for _, name := range []string{"chat-a", "chat-b", "chat-c"} {
		instances[name] = startInstanceOf(t, s.NC, name, "/n*")
	}
	c := s.Dial("ann")
	for i := range rooms {
		c.Send(fmt.Sprintf("40/n%d,", i))
	}
	// answers admits all sockets, and returns the instance and the session.
	answers := func(n int) (name, of string) {
		for i := range n {
			m := owned.Next()
			to, session := regexp.MustCompile(`own\.([^.]+)`).FindStringSubmatch(m.Subject)[1], session(t, m.Data)
			if i > 0 && (to != name || session != of) {
				t.Errorf("%s is asked about a socket of %s, and %s about one of %s", to, session, name, of)
			}
			name, of = to, session
			instances[to].decides(m, `[]`)
		}
		return name, of
	}
	first, name := answers(rooms)
	for range rooms {
		c.Next()
	}
	s.Publish("sio.$svc.chat."+first+".bye", string(instances[first].announcement()))
	instances[first].silence()
	if second, of := answers(rooms); second == first || of != name {
		t.Errorf("%s takes %s over from %s of %s", second, of, first, name)
	}
	s.Dial("bob").Send("40/n0,")
	if _, of := answers(1); of == name {
		t.Error("two sessions have one name")
	}
}

// The owner of a socket is notified of an upgrade of its session, also if the socket is being handed over meanwhile.
func TestTheOwnerKnowsTheTransport(t *testing.T) {
	for _, during := range []string{"", "a connect request", "a handover"} {
		t.Run(during, func(t *testing.T) {
			t.Parallel()
			s := begin(t, usual())
			a := startInstance(t, s.NC, "chat-a")
			p := s.poll()
			p.post("40/door,")
			m := a.request()
			if h := handshake(t, m); h["transport"] != "polling" {
				t.Errorf("the handshake is %v", h)
			}
			so := &socket{Head: "/door,", Token: "door"}
			so.ID = handshake(t, m)["sid"].(string)
			if during != "a connect request" {
				a.admits(m, `[]`)
				p.get()
			}
			if during == "a handover" {
				a.notOwner(so, "")
				m = a.request()
			}
			enginetest.Upgrade(t, s.Talk, "ann", strings.Replace(p.url, "transport=polling", "transport=websocket", 1), func() {})
			if during != "" {
				s.Counts("upgrades_total", "", 1)
				a.admits(m, `[]`)
			}
			a.owned.Gets("sio.door.own.chat-a.connect", "", `["connect",{"sid":"`+so.ID+`","rev":0,"rooms":[],"data":{},"transport":"websocket"}]`)
		})
	}
}

// The data of an admission is any JSON value, and goes to the next owner as it is.
func TestAnyDataIsHandedOver(t *testing.T) {
	s := begin(t, usual())
	a := startInstance(t, s.NC, "chat-a")
	for _, data := range []string{`null`, `"x"`, `[1,{}]`} {
		so := s.own(a, "ann", `[{"data":`+data+`}]`)
		a.notOwner(so, "")
		m := a.request()
		if !strings.Contains(string(m.Data), `"rooms":[],"data":`+data+`}`) {
			t.Errorf("the request is %s", m.Data)
		}
		a.admits(m, `[{"data":null}]`)
		so.Emit("", `["x"]`)
		a.owned.Gets("sio.door.own.chat-a.connect", "", `["connect",{"sid":"`+so.ID+`","rev":1,"rooms":[],"data":null,"transport":"websocket"}]`)
		a.gets(so, "x", `["x"]`)
	}
}

// With Sio-Owned-By, every verb to all or a room is for the sockets that an instance owns alone; while another one is
// sought, for those that it owned before.
func TestOwnedBy(t *testing.T) {
	s := begin(t, usual())
	a := startInstance(t, s.NC, "chat-a")
	ann := s.own(a, "ann", `[{"rooms":["hall"]}]`)
	bob := s.own(a, "bob", `[]`)
	s.leaving(a, 2, "/door")
	b := startInstance(t, s.NC, "chat-b")
	carl := s.own(b, "carl", `[{"rooms":["hall"]}]`)
	byA, byB := "Sio-Owned-By: chat-a", "Sio-Owned-By: chat-b"
	s.Publish("sio.door.emit.all", `["all"]`, byA)
	s.Publish("sio.door.emit.room.hall", `["hall"]`, byB)
	s.PublishReply("sio.door.broadcast.all", ann.Address(), `["but ann"]`, byA)
	s.Publish("sio.door.emit.all", `["union"]`, byA, "Sio-Rooms: hall", "Sio-Rooms: "+bob.ID, "Sio-Except: hall")
	for _, nobody := range []string{"Sio-Owned-By: chat-c", "Sio-Owned-By: ", "Sio-Owned-By: a b"} {
		s.Publish("sio.door.emit.all", `["nobody"]`, nobody)
	}
	ann.Gets(`["all"]`)
	bob.Gets(`["all"]`)
	bob.Gets(`["but ann"]`)
	bob.Gets(`["union"]`)
	carl.Gets(`["hall"]`)
	s.onlyMarker(ann, bob, carl)
	s.change("sio.door.join.room.hall", `["vip"]`, 1, byB)
	b.owned.Next() // the notice
	s.change("sio.door.data.all", `[1]`, 2, byA)
	q := s.askMany("sio.door.ask.all", `["ready?"]`, byB)
	carl.Acks(s.isAsked(carl, `["ready?"]`), `[]`)
	q.take(1, 1).is(carl.ID, `[]`)
	s.Publish("sio.$svc.chat.chat-a.left", string(a.announcement()))
	b.request() // and does not answer
	b.request()
	s.change("sio.door.join.all", `["old"]`, 2, byA)
	s.change("sio.door.disconnect.all", `[]`, 1, byB)
	carl.Expect("41/door,")
	s.onlyMarker(ann, bob)
}
