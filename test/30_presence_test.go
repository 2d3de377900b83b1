package test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
	"partyline/rule"
	"partyline/wire/msg"
)

// present are namespaces whose rooms show who is in them.
func present(change ...func(*rule.Namespace)) rules {
	ns := rule.Namespace{Connect: rule.ConnectOpen, Rooms: []string{"*"}, Presence: rule.DefaultPresence("*")}
	for _, c := range change {
		c(&ns)
	}
	return rules{"/chat": ns}
}

// picture is what a client knows of the members of rooms, as docs/how-to/presence.md has it.
type picture map[string]map[string]bool

// take takes a frame, and reports whether it is about presence.
func (p picture) take(frame string) bool {
	event, isEvent := strings.CutPrefix(frame, `42/chat,["partyline:presence",`)
	if i := strings.IndexByte(frame, '['); !isEvent && strings.HasPrefix(frame, "43/chat,") && i > 0 {
		event = frame[i+1:]
	} else if !isEvent {
		return false
	}
	var news msg.Presence
	if json.Unmarshal([]byte(strings.TrimSuffix(event, "]")), &news) != nil || !strings.HasPrefix(event, `{"room":`) {
		return false
	}
	if p[news.Room] == nil || news.Members != nil || news.Count != nil {
		p[news.Room] = map[string]bool{}
	}
	for _, m := range append(news.Members, news.Joined...) {
		p[news.Room][m.ID+m.User] = true
	}
	for _, m := range news.Left {
		delete(p[news.Room], m.ID+m.User)
	}
	return true
}

// sees reads frames of a client until its picture of a room is right.
func (p picture) sees(t *testing.T, so *socket, room string, want ...string) {
	t.Helper()
	want = slices.Sorted(slices.Values(want))
	for !slices.Equal(slices.Sorted(maps.Keys(p[room])), want) {
		if frame := so.Next(); !p.take(frame) {
			t.Fatalf("%s, while waiting for presence", frame)
		}
	}
}

// enters has a client enter a room by itself, and returns its picture once it has the list.
func enters(t *testing.T, so *socket, room string) picture {
	t.Helper()
	p := picture{}
	name, _ := json.Marshal(room)
	so.Emit("1", `["join",`+string(name)+`]`)
	for frame := so.Next(); frame != `43/chat,1[{"ok":true}]`; frame = so.Next() {
		p.take(frame)
	}
	so.Emit("2", `["partyline:presence",`+string(name)+`]`)
	for frame := so.Next(); !strings.HasPrefix(frame, "43/chat,2"); frame = so.Next() {
		p.take(frame)
	}
	return p
}

func TestWhoIsInARoom(t *testing.T) {
	t.Parallel()
	first, edges := cluster(t, present())
	for _, room := range []string{"lobby", "a b.*>% 방\"\\", ""} {
		var clients []*socket
		var pictures []picture
		var ids []string
		for i, n := range edges {
			so := n.Enter(fmt.Sprint("client ", i, room), "/chat")
			clients, ids = append(clients, so), append(ids, so.ID)
			pictures = append(pictures, enters(t, so, room))
		}
		sees := func() {
			t.Helper()
			for i, so := range clients {
				pictures[i].sees(t, so, room, ids...)
			}
		}
		sees()
		if room != "lobby" {
			continue
		}
		other := first.Enter("dan", "/chat") // enters because a service wants it
		first.join(other, `["lobby"]`)
		ids = append(ids, other.ID)
		sees()
		first.change("sio.chat.leave.socket."+other.ID, `["lobby"]`, 1)
		ids = ids[:3]
		sees()
		clients[2].Hangup()
		clients, ids = clients[:2], ids[:2]
		sees()
		edges[1].Stop() // its client is gone, too
		clients, ids = clients[:1], ids[:1]
		sees()
		edges = edges[:1]
	}
}

// Services get who enters and leaves, at most ten times a second.
func TestWhatAnEdgePublishesOfARoom(t *testing.T) {
	t.Parallel()
	s := begin(t, present(func(n *rule.Namespace) {
		n.AutoJoin, n.UserRoom, n.Presence.Data = []string{"all of us"}, "user:", true
	}).with("/door", rule.Namespace{Presence: rule.DefaultPresence("*"), UserRoom: "user:"}))
	heard := s.hear("sio.*.member.room.>")
	next := func(subject, want string) {
		t.Helper()
		m := heard.Next()
		if got := strings.Replace(string(m.Data), `"edge":"`+s.ID+`"`, `"edge":E`, 1); m.Subject != "sio."+subject || got != want {
			t.Fatalf("%s %s, want %s %s", m.Subject, got, subject, want)
		}
	}
	ann := s.Enter("ann", "/chat")
	next("chat.member.room.all%20of%20us", `["members",{"edge":E,"n":1,"joined":[{"id":"`+ann.ID+`"}],"left":[]}]`)
	s.change("sio.chat.data.socket."+ann.ID, `[{"a": [1]}]`, 1)
	next("chat.member.room.all%20of%20us", `["members",{"edge":E,"n":2,"joined":[{"id":"`+ann.ID+`","data":{"a":[1]}}],"left":[]}]`)
	s.change("sio.chat.leave.socket."+ann.ID, `["all of us"]`, 1)
	next("chat.member.room.all%20of%20us", `["members",{"edge":E,"n":3,"joined":[],"left":[{"id":"`+ann.ID+`","reason":"leave"}]}]`)
	s.change("sio.chat.grant.socket."+ann.ID, `[{"user":"ann","rooms":["vip"]}]`, 1)
	for range 2 {
		m := heard.Next()
		if want := `"joined":[{"id":"` + ann.ID + `","user":"ann","data":{"a":[1]}}]`; !strings.Contains(string(m.Data), want) ||
			m.Subject != "sio.chat.member.room.vip" && m.Subject != "sio.chat.member.room.user:ann" {
			t.Fatalf("%s %s, want %s", m.Subject, m.Data, want)
		}
	}
	asked := s.hear("sio.door.on.connect")
	bob := s.Dial("bob")
	bob.Send("40/door,")
	request := asked.Next()
	id := strings.TrimSuffix(strings.TrimPrefix(request.Reply, "sio.door.ack."), ".connect")
	s.change("sio.door.join.socket."+id, `["early"]`, 1) // not admitted: it is in no message
	s.change("sio.chat.leave.socket."+ann.ID, `["vip"]`, 1)
	next("chat.member.room.vip", `["members",{"edge":E,"n":2,"joined":[],"left":[{"id":"`+ann.ID+`","user":"ann","reason":"leave"}]}]`)
	s.Publish(request.Reply, `[{"user":"bob"}]`)
	bob.Connected("/door")
	for range 2 { // early and user:bob
		if m := heard.Next(); !strings.HasPrefix(m.Subject, "sio.door.member.room.") || !strings.Contains(string(m.Data), `"joined":[{"id":"`+id+`","user":"bob"}]`) {
			t.Fatalf("%s %s", m.Subject, m.Data)
		}
	}
	for range 50 { // who comes and goes between two looks is in neither
		s.change("sio.chat.join.socket."+ann.ID, `["x"]`, 1)
		s.change("sio.chat.leave.socket."+ann.ID, `["x"]`, 1)
	}
	bob.Hangup()
	began := time.Now()
	for m := heard.Next(); !strings.Contains(string(m.Data), "transport close"); m = heard.Next() {
		if !strings.HasSuffix(m.Subject, "room.x") || time.Since(began) > edgetest.Patience {
			t.Fatalf("%s %s", m.Subject, m.Data)
		}
	}
}

func TestWhoMayAskWhoIsInARoom(t *testing.T) {
	t.Parallel()
	s := begin(t, rules{"/chat": {Connect: rule.ConnectOpen, Rooms: []string{"open-*"}, Presence: rule.DefaultPresence("open-*", "shut-*")}})
	ann, bob := s.Enter("ann", "/chat"), s.Enter("bob", "/chat")
	asks := func(room, want string) {
		t.Helper()
		ann.Emit("7", `["partyline:presence",`+room+`]`)
		ann.Acked("7", want)
	}
	asks(`"open-1"`, `[{"room":"open-1","members":[]}]`)
	asks(`"shut-1"`, `[{"error":"not allowed: shut-1"}]`)
	asks(`7`, `[{"error":"the first argument must be the room's name, a string"}]`)
	s.join(bob, `["open-1","shut-1"]`)
	s.change("sio.chat.grant.socket."+ann.ID, `[{"join":["*"],"emit":[]}]`, 1)
	for want := `[{"room":"shut-1","members":[{"id":"` + bob.ID + `"}]}]`; ; {
		ann.Emit("7", `["partyline:presence","shut-1"]`)
		if got := ann.Next(); got == "43/chat,7"+want {
			break
		} else if got != `43/chat,7[{"room":"shut-1","members":[]}]` { // it has not been published yet
			t.Fatalf("got %s, want %s", got, want)
		}
	}
	asks(`"other"`, `[{"error":"this room does not show who is in it"}]`)
	ann.Emit("", `["partyline:presence","open-1"]`) // nobody wants to know
	s.onlyMarker(ann)
}

// A user with several sockets is there once.
func TestUsersInARoom(t *testing.T) {
	t.Parallel()
	s := begin(t, present(func(n *rule.Namespace) { n.Presence.By, n.AutoJoin = rule.ByUser, []string{"a"} }))
	watcher := s.Enter("watcher", "/chat")
	seen := picture{}
	seen.sees(t, watcher, "a", watcher.ID)
	var anns []*socket
	for range 2 {
		ann := s.Enter("ann", "/chat")
		seen.sees(t, watcher, "a", slices.Concat([]string{watcher.ID}, map[bool][]string{true: {"ann"}}[len(anns) > 0], []string{ann.ID})...)
		s.change("sio.chat.grant.socket."+ann.ID, `[{"user":"ann"}]`, 1)
		seen.sees(t, watcher, "a", watcher.ID, "ann")
		anns = append(anns, ann)
	}
	anns[0].Hangup()
	bob := s.Enter("bob", "/chat")
	seen.sees(t, watcher, "a", watcher.ID, "ann", bob.ID)
	anns[1].Hangup()
	seen.sees(t, watcher, "a", watcher.ID, bob.ID)
}

// Above the limit clients get the number, and the list again once it is well below.
func TestHowManyAreInARoom(t *testing.T) {
	t.Parallel()
	s := begin(t, present(func(n *rule.Namespace) { n.Presence.Max, n.AutoJoin = 10, []string{"a"} }))
	watcher := s.Enter("watcher", "/chat")
	seen := picture{}
	var others []*socket
	ids := []string{watcher.ID}
	for i := range 9 {
		others = append(others, s.Enter(fmt.Sprint(i), "/chat"))
		ids = append(ids, others[i].ID)
	}
	seen.sees(t, watcher, "a", ids...)
	late := s.Enter("late", "/chat")
	watcher.Gets(`["partyline:presence",{"room":"a","count":11}]`)
	watcher.Emit("1", `["partyline:presence","a"]`)
	watcher.Acked("1", `[{"room":"a","count":11}]`)
	late.Hangup()
	watcher.Gets(`["partyline:presence",{"room":"a","count":10}]`)
	others[8].Hangup()
	seen = picture{}
	seen.sees(t, watcher, "a", ids[:9]...)
}

func TestPresenceForMsgpack(t *testing.T) {
	t.Parallel()
	s := begin(t, present(func(n *rule.Namespace) { n.AutoJoin = []string{"a"} }))
	ann := s.enterPacked("ann", "/chat")
	if got, want := ann.next(), `2/chat,["partyline:presence",{"room":"a","joined":[{"id":"`+ann.ID+`"}],"left":[]}]`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	ann.SendBinary(packed(t, `2/chat,5["partyline:presence","a"]`))
	if got, want := ann.next(), `3/chat,5[{"room":"a","members":[{"id":"`+ann.ID+`"}]}]`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// A client that recovers in time, at whatever edge, has not left.
func TestPresenceOfRecoveredSockets(t *testing.T) {
	t.Parallel()
	server := natsdtest.Start(t, `jetstream { store_dir: "`+t.TempDir()+`" }`)
	spaces := present(func(n *rule.Namespace) { n.Recovery.For = time.Minute })
	s := beginAt(t, server, spaces)
	second := edgetest.Start(t, edgetest.Options{NATS: server.ClientURL(), Namespaces: spaces}).Ready()
	watcher := &socket{Client: s.Dial("watcher"), Head: "/chat,"}
	watcher.ID = connect(t, watcher.Client, "/chat", nil).id
	seen := enters(t, watcher, "a")
	ann := connect(t, s.Dial("ann"), "/chat", nil)
	ann.join("a")
	seen.sees(t, watcher, "a", watcher.ID, ann.id)
	heard := s.hear("sio.chat.member.room.a")
	ann.Hangup()
	back := second.Dial("ann again")
	back.Send(`40/chat,{"pid":"` + ann.pid + `"}`)
	joined := heard.Next()
	if want := `["members",{"edge":"` + second.ID + `","n":1,"joined":[{"id":"` + ann.id + `"}],"left":[]}]`; string(joined.Data) != want {
		t.Fatalf("%s, want %s", joined.Data, want)
	}
	left := heard.Next()
	if want := `["members",{"edge":"` + s.ID + `","n":3,"joined":[],"left":[{"id":"` + ann.id + `","reason":"transport close"}]}]`; string(left.Data) != want {
		t.Fatalf("%s, want %s", left.Data, want)
	}
	bob := &socket{Client: s.Dial("bob"), Head: "/chat,"}
	bob.ID = connect(t, bob.Client, "/chat", nil).id
	enters(t, bob, "a")
	got := watcher.Next()
	if want := `42/chat,["partyline:presence",{"room":"a","joined":[{"id":"` + bob.ID + `"}],"left":[]}]`; got != want {
		t.Errorf("the next event is %s, want %s", got, want)
	}
	back.Hangup()
	seen.take(got)
	seen.sees(t, watcher, "a", watcher.ID, bob.ID)
}

// While NATS is away, clients come and go. Afterwards all pictures are right again.
func TestPresenceAfterNATSWasAway(t *testing.T) {
	t.Parallel()
	server := natsdtest.Start(t)
	s := beginAt(t, server, present())
	second := edgetest.Start(t, edgetest.Options{NATS: server.ClientURL(), Namespaces: present()}).Ready()
	ann, bob, carl := s.Enter("ann", "/chat"), second.Enter("bob", "/chat"), second.Enter("carl", "/chat")
	anns, bobs := enters(t, ann, "a"), enters(t, bob, "a")
	enters(t, carl, "a")
	anns.sees(t, ann, "a", ann.ID, bob.ID, carl.ID)
	bobs.sees(t, bob, "a", ann.ID, bob.ID, carl.ID)
	server.Stop()
	edgetest.Eventually(t, "both have lost NATS", func() bool { return !s.Bus.Connected() && !second.Bus.Connected() })
	carl.Hangup()
	dan := s.Enter("dan", "/chat")
	dan.Emit("", `["join","a"]`)
	edgetest.Eventually(t, "carl is gone", func() bool { return second.Edge.Sockets() == 1 })
	server.Restart()
	anns.sees(t, ann, "a", ann.ID, bob.ID, dan.ID)
	bobs.sees(t, bob, "a", ann.ID, bob.ID, dan.ID)
}
