package test

import (
	"fmt"
	"net/http"
	"testing"

	"partyline/config"
	"partyline/internal/edgetest"
	"partyline/rule"
)

// reload makes the edge go on with other namespaces, and limits that change may set.
func (s *stage) reload(namespaces rules, change ...func(*edgetest.Options)) {
	s.t.Helper()
	o := edgetest.Options{NATS: s.NATS.ClientURL(), Namespaces: namespaces}
	for _, c := range change {
		c(&o)
	}
	s.Reload(o)
}

// A socket keeps the rules under which it began until it ends. What comes after a reload has the new rules, or is
// refused as in a namespace that was never declared.
func TestNamespacesThatAreRemovedOrNarrowed(t *testing.T) {
	t.Parallel()
	say := rule.Relay{Event: "say", To: rule.ToAll}
	s := begin(t, relayed(say, lap))
	a, b := s.Enter("a", "/chat"), s.Enter("b", "/chat")

	s.reload(rules{"/": {Connect: rule.ConnectOpen}})
	c := s.Dial("c")
	c.Send("40/chat,")
	c.Expect(`44/chat,{"message":"Invalid namespace"}`)
	a.Emit("", `["say",1]`)
	b.Gets(`["say",1]`)
	a.Emit("1", `["join","vip"]`)
	a.Acked("1", `[{"ok":true}]`)
	s.Publish("sio.chat.emit.room.vip", `["in"]`)
	a.Gets(`["in"]`)
	s.Counts("sockets_by_namespace", "/chat", 2)

	s.reload(rules{"/": {Connect: rule.ConnectOpen}, "/chat": {Connect: rule.ConnectOpen, Relay: []rule.Relay{lap}, AutoJoin: []string{"hall"}}})
	d := edgetest.Enter(c, "/chat", "")
	onService := s.hear("sio.chat.on.join")
	d.Emit("1", `["join","vip"]`) // which is an event like any other now
	onService.Gets("sio.chat.on.join", d.Ack("1"), `["join","vip"]`)
	s.Publish("sio.chat.emit.room.hall", `["here"]`)
	d.Gets(`["here"]`)
	a.Emit("", `["say",2]`) // by the old rules, to all that are there
	b.Gets(`["say",2]`)
	d.Gets(`["say",2]`)
	d.Emit("", `["say",3]`) // by the new ones, only to services
	onlyLap(d, d, a, b)
	s.Counts("sockets_by_namespace", "/chat", 3)

	a.Send("41/chat,")
	s.Counts("sockets_by_namespace", "/chat", 2)
	a = edgetest.Enter(a.Client, "/chat", "")
	a.Emit("", `["say",4]`)
	onlyLap(a, a, b, d)
	b.Hangup()
	s.Counts("sockets_by_namespace", "/chat", 2)
}

// A room of auto_join that comes with a reload gets what a service publishes right behind its answer, as any other.
func TestRoomsOfAutoJoinChange(t *testing.T) {
	t.Parallel()
	door := func(rooms ...string) rules { return rules{"/door": {AutoJoin: rooms}} }
	s := begin(t, door("old"))
	s.serve("door", `[{}]`)
	first := s.Enter("first", "/door")
	s.reload(door("new"))
	for _, name := range []string{"second", "third"} {
		so := s.Enter(name, "/door")
		s.Publish("sio.door.emit.room.new", fmt.Sprintf("[%q]", name))
		so.Gets(fmt.Sprintf("[%q]", name))
		so.Hangup()
	}
	s.Publish("sio.door.emit.room.old", `["old"]`)
	first.Gets(`["old"]`)
	first.Hangup()
	s.Counts("sockets", "", 0)
}

// Limits that are lowered close nothing, and count for what comes.
func TestLimitsReload(t *testing.T) {
	t.Parallel()
	s := begin(t, usual().with("/chat", rule.Namespace{Connect: rule.ConnectOpen, Rooms: []string{"*"}}))
	a := s.Enter("a", "/chat")
	s.join(a, `["1","2","3"]`)
	s.reload(usual(), func(o *edgetest.Options) {
		o.Limits = config.Limits{RoomsPerSocket: 2, NamespacesPerSession: 1, Sessions: 1}
	})
	a.Emit("1", `["join","4"]`)
	a.Acked("1", `[{"error":"too many rooms: the limit is 2"}]`)
	a.Emit("2", `["leave","1"]`)
	a.Acked("2", `[{"ok":true}]`)
	a.Send("40")
	a.Expect(`44{"message":"too many namespaces"}`)
	if status := s.shake(); status != 503 {
		t.Errorf("a second session was answered %d", status)
	}
	s.reload(usual())
	s.Enter("b", "/")
	s.onlyMarker(a)
}

// Clients that talk lose nothing and get nothing twice while the configuration is reloaded a hundred times, and others
// come and go under all of it.
func TestReloadsUnderLoad(t *testing.T) {
	t.Parallel()
	talk := rule.Namespace{Connect: rule.ConnectOpen, Relay: []rule.Relay{{Event: "say", To: rule.ToRooms, Self: true}}, Rooms: []string{"*"}}
	s := begin(t, rules{"/talk": talk, "/": {Connect: rule.ConnectOpen}})
	var stops []func()
	for i := range 8 {
		p := edgetest.NewPair(t, s.Node, "/talk")
		for _, so := range []*socket{p.Ann, p.Bob} {
			so.Emit("1", fmt.Sprintf(`["join","room-%d"]`, i))
			so.Acked("1", `[{"ok":true}]`)
		}
		stops = append(stops, p.Chat())
	}
	coming, quit := 0, make(chan struct{})
	go func() {
		defer close(quit)
		s.reloadAgainAndAgain(talk)
	}()
	for isOver := false; !isOver; coming++ {
		so := s.Enter(fmt.Sprint("visitor ", coming), "/")
		so.Hangup()
		select {
		case <-quit:
			isOver = true
		default:
		}
	}
	t.Logf("meanwhile %d clients came and went", coming)
	for _, stop := range stops {
		stop()
	}
	if status := s.shake("Origin", "https://99.example"); status != 200 {
		t.Errorf("the last origins do not count: %d", status)
	}
	if status := s.shake("Origin", "https://98.example"); status != 403 {
		t.Errorf("earlier origins count: %d", status)
	}
}

// reloadAgainAndAgain reloads a hundred times. The namespace /talk comes and goes.
func (s *stage) reloadAgainAndAgain(talk rule.Namespace) {
	for i := range 100 {
		namespaces := rules{"/": {Connect: rule.ConnectOpen, AutoJoin: []string{fmt.Sprint("room-", i)}}}
		if i%3 > 0 {
			namespaces["/talk"] = talk
		}
		if i%4 == 0 {
			namespaces["/new-*"] = rule.Namespace{Connect: rule.ConnectOpen, EventsPerSecond: 1000 + i}
		}
		s.reload(namespaces, func(o *edgetest.Options) {
			o.Limits = config.DefaultLimits()
			o.Limits.EventsPerSecond += i
			o.Limits.QueueBytes += i << 10
			o.Origins = []string{fmt.Sprintf("https://%d.example", i)}
		})
	}
}

// shake begins a session, and returns the status.
func (s *stage) shake(headers ...string) int {
	s.t.Helper()
	request, err := http.NewRequest(http.MethodGet, s.URL+"/socket.io/?EIO=4&transport=polling", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
	if err != nil {
		s.t.Fatal(err)
	}
	_ = response.Body.Close()
	return response.StatusCode
}
