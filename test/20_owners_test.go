package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
)

// instance is a running copy of the service "chat" that claims every socket of /door it is asked about. It knows nothing
// but docs/subjects.md.
type instance struct {
	t     *testing.T
	nc    *nats.Conn
	name  string
	asked *ear // admissions
	takes *ear // takeovers
	owned *ear // all that is for it
	stop  chan struct{}
	done  chan struct{}
}

// startInstance starts an instance that beats.
func startInstance(t *testing.T, nc *nats.Conn, name string) *instance {
	t.Helper()
	i := &instance{t: t, nc: nc, name: name, stop: make(chan struct{}), done: make(chan struct{})}
	i.owned = hearOn(t, nc, "sio.door.own."+name+".>")
	i.asked = i.queue("sio.door.on.connect")
	i.takes = i.queue("sio.door.own.chat.connect")
	go func() {
		defer close(i.done)
		for beat := time.NewTicker(200 * time.Millisecond); ; {
			select {
			case <-i.stop:
				beat.Stop()
				return
			case <-beat.C:
				_ = nc.Publish("sio.$svc.chat."+name+".beat", i.announcement())
			}
		}
	}()
	t.Cleanup(i.silence)
	return i
}

func (i *instance) queue(subject string) *ear {
	i.t.Helper()
	return &ear{edgetest.HearAs(i.t, i.nc, "chat", subject)}
}

func (i *instance) announcement() []byte {
	return fmt.Appendf(nil, `[{"instance":"%s","group":"chat","namespaces":["/door"],"at":%d,"every":1000}]`, i.name, time.Now().UnixMilli())
}

// silence ends the beats.
func (i *instance) silence() {
	select {
	case <-i.done:
	default:
		close(i.stop)
		<-i.done
	}
}

// claim answers the next request for a socket with a claim, and returns the handshake.
func (i *instance) claim(from *ear, body string) connectRequest {
	i.t.Helper()
	m := from.Next()
	i.answer(m, body, "Sio-Group: chat", "Sio-Owner: "+i.name)
	var name string
	var request connectRequest
	if err := json.Unmarshal(m.Data, &[]any{&name, &request}); err != nil {
		i.t.Fatalf("the request is %s: %v", m.Data, err)
	}
	return request
}

type connectRequest struct {
	SID      string
	Auth     map[string]string
	Takeover *struct {
		From  string
		Claim int
		Rev   int
		Rooms []string
		User  string
		Data  map[string]any
	}
}

func (i *instance) answer(m *nats.Msg, body string, headers ...string) {
	i.t.Helper()
	if err := m.RespondMsg(edgetest.Message("", "", body, headers...)); err != nil {
		i.t.Fatal(err)
	}
}

// gets waits for an event of an owned socket.
func (i *instance) gets(so *socket, event, body string) {
	i.t.Helper()
	i.owned.Gets("sio.door.own."+i.name+"."+event, so.Address(), body)
}

// own connects a client whose socket an instance admits and claims.
func (s *stage) own(i *instance, name, admission string) *socket {
	s.t.Helper()
	c := s.Dial(name)
	c.Send("40/door," + `{"name":"` + name + `"}`)
	i.claim(i.asked, admission)
	so := &socket{Client: c, Head: "/door,", Token: "door"}
	so.ID = c.Connected("/door")
	return so
}

func TestAClaimedSocketsEventsGoToItsOwner(t *testing.T) {
	s := begin(t, usual())
	a := startInstance(t, s.NC, "chat-a")
	others, all := s.hear("sio.door.on.>"), s.hear("sio.door.on.disconnect")
	so := s.own(a, "ann", `[{"rooms":["hall"],"user":"ann"}]`)
	so.Emit("", `["order.1",1]`)
	m := a.owned.Gets("sio.door.own.chat-a.order.1", so.Address(), `["order.1",1]`)
	if m.Header.Get("Sio-User") != "ann" {
		t.Errorf("the headers are %v", m.Header)
	}
	so.Emit("7", `["ask"]`)
	m = a.owned.Gets("sio.door.own.chat-a.ask", so.Ack("7"), `["ask"]`)
	a.answer(m, `["answer"]`)
	so.Expect(`43/door,7["answer"]`)
	so.Send("451-/door," + `["file",{"_placeholder":true,"num":0}]`)
	so.SendBinary([]byte("xyz"))
	m = a.owned.Next()
	if m.Header.Get("Sio-Attachments") != "3" || !strings.HasSuffix(string(m.Data), "xyz") {
		t.Errorf("the binary event is %q %v", m.Data, m.Header)
	}
	so.Send("41/door,")
	end := `["disconnect",{"reason":"client namespace disconnect","rooms":["hall"]}]`
	all.Gets("sio.door.on.disconnect", so.Address(), end)
	a.gets(so, "disconnect", end)
	others.Next() // connect
	others.Gets("sio.door.on.disconnect", so.Address(), end)
}

// A service whose namespaces are a pattern hears connects of all, and names its group for the rest.
func TestAGroupsEvents(t *testing.T) {
	s := begin(t, usual())
	s.serve("door", `[]`, "Sio-Group: chat")
	group := s.hear("sio.*.own.chat.>")
	so := s.Enter("ann", "/door")
	so.Emit("", `["hello"]`)
	group.Gets("sio.door.own.chat.hello", so.Address(), `["hello"]`)
	s.Publish("sio.door.join.socket."+so.ID, `["a"]`)
	s.change("sio.door.join.all", `["a"]`, 1)
	so.Send("41/door,")
	group.Gets("sio.door.own.chat.disconnect", so.Address(), `["disconnect",{"reason":"client namespace disconnect","rooms":["a"]}]`)
}

func TestClaimsThatCannotBe(t *testing.T) {
	for name, headers := range map[string][]string{
		"no group":         {"Sio-Owner: chat-a"},
		"two tokens":       {"Sio-Group: chat", "Sio-Owner: a.b"},
		"a word of target": {"Sio-Group: all"},
		"a subject":        {"Sio-Group: chat", "Sio-Owner: a.>"},
	} {
		t.Run(name, func(t *testing.T) {
			s := begin(t, usual())
			s.serve("door", `[]`, headers...)
			c := s.Dial("ann")
			c.Send("40/door,")
			c.Expect(`44/door,{"message":"invalid answer"}`)
		})
	}
}

// Whatever changes a socket's rooms, its owner hears of it, before whoever changed it has the answer.
func TestTheOwnerKnowsRooms(t *testing.T) {
	s := begin(t, usual())
	a := startInstance(t, s.NC, "chat-a")
	so := s.own(a, "ann", `[{"rooms":["hall"],"user":"ann","data":{"n":1}}]`)
	state := func(rev int, rooms string) {
		t.Helper()
		body := fmt.Sprintf(`["connect",{"sid":"%s","rev":%d,"rooms":%s,"user":"ann","data":{"n":1}}]`, so.ID, rev, rooms)
		a.owned.Gets("sio.door.own.chat-a.connect", "", body)
	}
	if m := s.Ask("sio.door.join.socket."+so.ID, `["vip","x.y"]`); string(m.Data) != fmt.Sprintf(`[{"edge":"%s","sockets":1,"rev":1}]`, s.ID) {
		t.Errorf("the answer is %s", m.Data)
	}
	state(1, `["hall","vip","x.y"]`)
	s.change("sio.door.leave.all", `["vip"]`, 1)
	state(2, `["hall","x.y"]`)
	s.change("sio.door.leave.all", `["vip"]`, 1) // nothing changes
	so.Emit("", `["next"]`)
	a.gets(so, "next", `["next"]`)
}

// An instance leaves: it gets an end mark behind the last event, and nothing more; newer events wait for the next owner.
func TestAnOwnerLeaves(t *testing.T) {
	s := begin(t, usual())
	a := startInstance(t, s.NC, "chat-a")
	so := s.own(a, "ann", `[{"rooms":["hall"],"user":"ann","data":{"n":1}}]`)
	so.Emit("", `["one"]`)
	s.Counts("events_in_total", "", 1)
	s.leaving(a, 1, "/door")
	a.gets(so, "one", `["one"]`)
	a.owned.Gets("sio.door.own.chat-a.disconnecting", "", fmt.Sprintf(`["disconnecting",{"edge":"%s"}]`, s.ID))
	s.leaving(a, 1, "/door") // to say it twice does no harm
	a.owned.Next()

	so.Emit("", `["two"]`)
	so.Emit("5", `["three"]`)
	s.change("sio.door.join.all", `["late"]`, 1)
	a.drop()
	b := startInstance(t, s.NC, "chat-b")
	s.Publish("sio.$svc.chat.chat-a.left", string(a.announcement()))
	h := b.claim(b.takes, `[{"rooms":["more"]}]`)
	if k := h.Takeover; h.SID != so.ID || h.Auth["name"] != "ann" || k == nil || k.From != "chat-a" || k.User != "ann" ||
		strings.Join(k.Rooms, " ") != "hall late" || k.Data["n"] != 1.0 {
		t.Errorf("the request for a takeover has %+v %+v", h, h.Takeover)
	}
	m := b.owned.Next()
	if want := `["connect",{"sid":"` + so.ID + `","rev":2,"rooms":["hall","late","more"],"user":"ann","data":{"n":1}}]`; string(m.Data) != want {
		t.Errorf("the new owner learns %s, want %s", m.Data, want)
	}
	b.gets(so, "two", `["two"]`)
	m = b.owned.Gets("sio.door.own.chat-b.three", so.Ack("5"), `["three"]`)
	b.answer(m, `[]`)
	so.Expect(`43/door,5[]`)
	so.Emit("", `["four"]`)
	b.gets(so, "four", `["four"]`)
	s.Counts("takeovers_total", "", 1)
	s.Counts("events_held_total", "", 2)
}

// leaving announces that an instance leaves and wants the edge's answer.
func (s *stage) leaving(i *instance, sockets int, marker string) {
	s.t.Helper()
	m := s.Ask("sio.$svc.chat."+i.name+".leaving", string(i.announcement()))
	if want := fmt.Sprintf(`[{"edge":"%s","sockets":%d,"markers":["%s"]}]`, s.ID, sockets, marker); string(m.Data) != want {
		s.t.Fatalf("leaving is answered %s, want %s", m.Data, want)
	}
}

// drop ends an instance's subscriptions, as the end of its process would.
func (i *instance) drop() {
	i.silence()
	for _, e := range []*ear{i.asked, i.takes, i.owned} {
		_ = e.Subscription.Unsubscribe()
	}
	_ = i.nc.Flush()
}

// A socket that ends while nobody owns it has an owner once more, for its last events.
func TestTheLastEventsFindAnOwner(t *testing.T) {
	s := begin(t, usual())
	a := startInstance(t, s.NC, "chat-a")
	so := s.own(a, "ann", `[{"rooms":["hall"]}]`)
	s.leaving(a, 1, "/door")
	notices := s.hear("sio.door.on.disconnect")
	so.Emit("", `["last"]`)
	so.Send("41/door,")
	if m := notices.Next(); m.Reply != so.Address() {
		t.Errorf("the notice is about %s", m.Reply)
	}
	a.drop()
	b := startInstance(t, s.NC, "chat-b")
	s.Publish("sio.$svc.chat.chat-a.left", string(a.announcement()))
	b.claim(b.takes, `[]`)
	b.gets(so, "last", `["last"]`)
	b.gets(so, "disconnect", `["disconnect",{"reason":"client namespace disconnect","rooms":["hall"]}]`)
}

// A dead owner is noticed by its silence, though somebody taps all subjects; it is told, should it live after all.
func TestAnOwnerFallsSilent(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	s := begin(t, usual())
	tap := s.hear("sio.>")
	a := startInstance(t, s.NC, "chat-a")
	so := s.own(a, "ann", `[]`)
	a.silence()
	_ = a.takes.Subscription.Unsubscribe()
	b := startInstance(t, s.NC, "chat-b")
	so.Emit("", `["lost"]`)
	a.gets(so, "lost", `["lost"]`)
	b.claim(b.takes, `[]`)
	a.gets(so, "disconnect", `["disconnect",{"reason":"owner changed","rooms":[],"claim":1}]`)
	so.Emit("", `["found"]`)
	b.gets(so, "found", `["found"]`)
	s.Counts("instances_died_total", "", 1)
	_ = tap
}

// Where nobody taps the subjects, NATS itself says that nobody is there, and it takes a second.
func TestAnOwnerIsGoneAtOnce(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	s := begin(t, usual())
	nc := edgetest.Connect(t, s.NATS.ClientURL())
	a := startInstance(t, nc, "chat-a")
	so := s.own(a, "ann", `[]`)
	b := startInstance(t, s.NC, "chat-b")
	a.silence()
	nc.Close()
	if _, err := s.NC.Request("sio.$svc.chat.chat-a.ping", []byte("[]"), edgetest.Patience); !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("a ping is heard by somebody else: %v", err)
	}
	so.Emit("", `["lost"]`)
	b.claim(b.takes, `[]`)
	so.Emit("", `["found"]`)
	for m := b.owned.Next(); string(m.Data) != `["found"]`; m = b.owned.Next() {
		if string(m.Data) == `["lost"]` {
			t.Error("what was lost came back")
		}
	}
}

// A ping that is answered ends the doubt; nothing is held for longer than that, and nobody else is asked.
func TestAnOwnerIsDoubtedInVain(t *testing.T) {
	s := begin(t, usual())
	a := startInstance(t, s.NC, "chat-a")
	so := s.own(a, "ann", `[]`)
	pings := s.hear("sio.$svc.chat.chat-a.ping")
	_ = a.owned.Subscription.Unsubscribe() // for a moment, as while an instance connects again
	s.Flush()
	so.Emit("", `["lost"]`)
	m := pings.Next()
	a.owned = s.hear("sio.door.own.chat-a.>")
	if m.Reply != "sio.$edge."+s.ID+".pong.chat-a" {
		t.Errorf("the ping has the reply subject %s", m.Reply)
	}
	a.answer(m, "[]")
	so.Emit("", `["x"]`)
	a.gets(so, "x", `["x"]`)
	s.Counts("takeovers_total", "", 0)
}

// The first answer counts. Whoever claims a socket later is told that it is not his.
func TestTwoClaims(t *testing.T) {
	s := begin(t, usual())
	a := startInstance(t, s.NC, "chat-a")
	other := s.hear("sio.door.on.connect") // another service, in no queue group with the first
	losses := s.hear("sio.door.own.chat-z.>")
	so := s.own(a, "ann", `[]`)
	m := other.Next()
	a.answer(m, `[]`, "Sio-Group: other", "Sio-Owner: chat-z")
	losses.Gets("sio.door.own.chat-z.disconnect", so.Address(), `["disconnect",{"reason":"not yours","rooms":[]}]`)
	a.answer(m, `[]`, "Sio-Group: chat", "Sio-Owner: chat-a")        // an owner that answers twice keeps it
	s.Counts("dropped_total", "answer to a connect that is over", 2) // before the client goes, which takes another way
	so.Emit("", `["x"]`)
	a.gets(so, "x", `["x"]`)
	so.Hangup()
	a.owned.Next()
	a.answer(m, `[]`, "Sio-Group: chat", "Sio-Owner: chat-a") // too late, it has gone
	a.gets(so, "disconnect", `["disconnect",{"reason":"not yours","rooms":[]}]`)
}

// An instance on its way out does not decide; the edge asks again.
func TestAskAgain(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	s := begin(t, usual())
	a := startInstance(t, s.NC, "chat-a")
	c := s.Dial("ann")
	c.Send("40/door,")
	a.answer(a.asked.Next(), "", "Sio-Error: again")
	a.claim(a.asked, `[]`)
	so := &socket{Client: c, Head: "/door,", Token: "door"}
	so.ID = c.Connected("/door")
	s.leaving(a, 1, "/door")
	s.Publish("sio.$svc.chat.chat-a.left", string(a.announcement()))
	a.answer(a.takes.Next(), "", "Sio-Error: again")
	a.claim(a.takes, `[]`)
	a.owned.Next() // the end mark
	so.Emit("", `["x"]`)
	a.gets(so, "x", `["x"]`)
}

// What was on its way to an instance that left is lost without a word, so the edge asks once more.
func TestAConnectIsAskedAgainWhenSomebodyLeft(t *testing.T) {
	t.Parallel()
	s := begin(t, usual())
	lost := s.hear("sio.door.on.connect")
	c := s.Dial("ann")
	c.Send("40/door,")
	lost.Next()
	s.Publish("sio.$svc.chat.chat-a.left", `[{"instance":"chat-a","group":"chat"}]`)
	s.NC.PublishMsg(edgetest.Message(lost.Next().Reply, "", `[]`))
	c.Connected("/door")
}

// A refused takeover disconnects the client.
func TestATakeoverIsRefused(t *testing.T) {
	s := begin(t, usual())
	a := startInstance(t, s.NC, "chat-a")
	so := s.own(a, "ann", `[]`)
	s.Publish("sio.$svc.chat.chat-a.bye", string(a.announcement()))
	a.answer(a.takes.Next(), "", "Sio-Error: no")
	so.Expect("41/door,")
}

// While nobody takes a socket over its events are held, up to a limit.
func TestTooManyEventsAreHeld(t *testing.T) {
	s := begin(t, usual())
	a := startInstance(t, s.NC, "chat-a")
	so := s.own(a, "ann", `[]`)
	other := s.own(a, "bob", `[]`)
	s.leaving(a, 2, "/door")
	end := s.hear("sio.door.on.disconnect")
	for i := range 1100 {
		so.Emit("", fmt.Sprintf(`["n",%d]`, i))
	}
	if m := end.Next(); string(m.Data) != `["disconnect",{"reason":"queue overflow","rooms":[]}]` || m.Reply != so.Address() {
		t.Errorf("the notice is %s of %s", m.Data, m.Reply)
	}
	other.Emit("", `["fine"]`)
	s.Publish("sio.$svc.chat.chat-a.left", string(a.announcement()))
	a.owned.Next() // the end mark
	a.claim(a.takes, `[]`)
	a.claim(a.takes, `[]`)
	for n := 0; n < 1024; {
		if m := a.owned.Next(); m.Reply == so.Address() {
			if want := fmt.Sprintf(`["n",%d]`, n); string(m.Data) != want {
				t.Fatalf("%s came, want %s", m.Data, want)
			}
			n++
		}
	}
}

// Edges announce themselves; whoever is new is answered by each of them.
func TestEdgesAnnounceThemselves(t *testing.T) {
	server := natsdtest.Start(t)
	nc := edgetest.Connect(t, server.ClientURL())
	all := hearOn(t, nc, "sio.$edge.*.*")
	s := beginAt(t, server, usual())
	s.until(all, "sio.$edge."+s.ID+".hello")
	m := s.until(all, "sio.$edge."+s.ID+".beat")
	var body []struct {
		Edge      string
		At, Every int64
		Sockets   int
	}
	if err := json.Unmarshal(m.Data, &body); err != nil || len(body) != 1 || body[0].Edge != s.ID || body[0].Every != 1000 ||
		time.Since(time.UnixMilli(body[0].At)) > time.Minute {
		t.Errorf("the beat is %s, %v", m.Data, err)
	}
	answer := s.Ask("sio.$svc.chat.chat-a.hello", `[{"instance":"chat-a","group":"chat"}]`)
	if err := json.Unmarshal(answer.Data, &body); err != nil || body[0].Edge != s.ID {
		t.Errorf("the answer is %s, %v", answer.Data, err)
	}
}

// until waits for a message on a subject and passes over others.
func (s *stage) until(e *ear, subject string) *nats.Msg {
	s.t.Helper()
	for {
		if m := e.Next(); m.Subject == subject {
			return m
		}
	}
}

// Of an edge that dies, one of the others tells, once.
func TestADeadEdgeIsToldOnce(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	server := natsdtest.Start(t)
	s := beginAt(t, server, usual())
	second := edgetest.Start(t, edgetest.Options{NATS: server.ClientURL(), Namespaces: usual()}).Ready()
	gone := s.hear("sio.$edge.*.gone")
	s.Publish("sio.$edge.deadedge.beat", `[{"edge":"deadedge","at":1}]`) // and no other sign of life
	m := gone.Next()
	if m.Subject != "sio.$edge.deadedge.gone" || !strings.HasPrefix(string(m.Data), `[{"edge":"deadedge","at":`) {
		t.Errorf("%s %s came", m.Subject, m.Data)
	}
	s.Publish("sio.$edge.otheredg.beat", `[{"edge":"otheredg","at":1}]`)
	if m := gone.Next(); m.Subject != "sio.$edge.otheredg.gone" {
		t.Errorf("%s came, which has been told", m.Subject)
	}
	edgetest.Eventually(t, "each edge knows both", func() bool { return len(s.Cluster.Edges()) == 2 && len(second.Cluster.Edges()) == 2 })
}

// Services end the sockets of an edge that is told dead. If it lives after all, it finds owners for them: otherwise its
// clients would stay connected, and nobody would hear them.
func TestAnEdgeThatWasTakenForDeadFindsOwners(t *testing.T) {
	s := begin(t, usual())
	a := startInstance(t, s.NC, "chat-a")
	so := s.own(a, "ann", `[]`)
	s.Publish("sio.$edge."+s.ID+".gone", `[{"edge":"`+s.ID+`","at":1,"by":"otheredg"}]`)
	request := a.claim(a.owned, `[]`)
	if request.Takeover == nil || request.Takeover.From != "chat-a" {
		t.Errorf("the request to own the socket again: %+v", request)
	}
	so.Emit("", `["heard"]`)
	a.gets(so, "heard", `["heard"]`)
}

// The same when it was cut off from NATS while it was told: then its own beats show that nobody heard it.
func TestAnEdgeThatWasSilentFindsOwners(t *testing.T) {
	s := begin(t, usual())
	a := startInstance(t, s.NC, "chat-a")
	so := s.own(a, "ann", `[]`)
	for _, at := range []time.Time{time.Now(), time.Now().Add(4 * time.Second)} { // the clock jumps, for a wait
		s.Publish("sio.$edge."+s.ID+".beat", fmt.Sprintf(`[{"edge":"%s","at":%d}]`, s.ID, at.UnixMilli()))
	}
	a.claim(a.owned, `[]`)
	so.Emit("", `["heard"]`)
	a.gets(so, "heard", `["heard"]`)
}

// With a secret only those who know it are edges.
func TestSignedAnnouncements(t *testing.T) {
	server := natsdtest.Start(t)
	s := beginAt(t, server, usual(), func(o *edgetest.Options) { o.Secret = "open sesame" })
	friend := edgetest.Start(t, edgetest.Options{NATS: server.ClientURL(), Namespaces: usual(), Secret: "open sesame"}).Ready()
	stranger := edgetest.Start(t, edgetest.Options{NATS: server.ClientURL(), Namespaces: usual(), Secret: "something else"}).Ready()
	edgetest.Eventually(t, "friends know each other", func() bool { return len(s.Cluster.Edges()) == 2 && len(friend.Cluster.Edges()) == 2 })
	edgetest.Eventually(t, "the stranger was heard and ignored", func() bool {
		return s.Figure("announcements_ignored_total", "") > 0 && stranger.Figure("announcements_ignored_total", "") > 0
	})
	if len(s.Cluster.Edges()) != 2 || len(stranger.Cluster.Edges()) != 1 {
		t.Errorf("it knows %v, the stranger %v", s.Cluster.Edges(), stranger.Cluster.Edges())
	}
}

// notOwner says that an event of a socket came to an instance that does not own it; claim is the number of a claim, or "".
func (i *instance) notOwner(so *socket, claim string) {
	i.t.Helper()
	headers := []string{"Sio-Error: not owner", "Sio-Group: chat", "Sio-Owner: " + i.name}
	if claim != "" {
		headers = append(headers, "Sio-Claim: "+claim)
	}
	if err := i.nc.PublishMsg(edgetest.Message("sio.door.ack."+so.ID+".connect", "", "", headers...)); err != nil {
		i.t.Fatal(err)
	}
}

// An instance that gets an event of a socket that it has let go of says so. The event is counted as failed, the next ones wait
// until somebody owns the socket: the same instance, if it wants, or another one.
func TestAnInstanceIsNotTheOwner(t *testing.T) {
	t.Parallel()
	s := begin(t, usual())
	a := startInstance(t, s.NC, "chat-a")
	so := s.own(a, "ann", `[]`)
	so.Emit("", `["lost"]`)
	a.gets(so, "lost", `["lost"]`)
	a.notOwner(so, "")
	m := a.owned.Next()
	if m.Subject != "sio.door.own.chat-a.connect" || !strings.Contains(string(m.Data), `"takeover":{"from":"chat-a","claim":2,"rev":0,`) {
		t.Fatalf("%s %s", m.Subject, m.Data)
	}
	so.Emit("", `["held"]`)
	s.Counts("events_held_total", "", 1)
	s.Counts("events_failed_total", "", 1)
	a.answer(m, `[]`, "Sio-Group: chat", "Sio-Owner: chat-a", "Sio-Claim: 2")
	a.gets(so, "held", `["held"]`)

	b := startInstance(t, s.NC, "chat-b")
	a.notOwner(so, "2")
	m = a.owned.Next()
	a.answer(m, "", "Sio-Error: again") // it leaves, or may not own anything
	_ = a.takes.Subscription.Unsubscribe()
	so.Emit("", `["next"]`)
	if request := b.claim(b.takes, `[]`); request.Takeover == nil || request.Takeover.Claim != 4 {
		t.Errorf("the request is %+v", request.Takeover)
	}
	b.gets(so, "next", `["next"]`)
}

// What is said of a claim that has ended already changes nothing.
func TestALateWordEndsNoNewerClaim(t *testing.T) {
	s := begin(t, usual())
	a := startInstance(t, s.NC, "chat-a")
	so := s.own(a, "ann", `[]`)
	a.notOwner(so, "1")
	old := a.owned.Next()
	a.answer(old, `[]`, "Sio-Group: chat", "Sio-Owner: chat-a", "Sio-Claim: 2")
	for i := range 3 {
		a.notOwner(so, "1") // of before
		a.answer(old, `[]`, "Sio-Group: chat", "Sio-Owner: chat-a", "Sio-Claim: 2")
		s.Counts("events_failed_total", "", i+2)
		so.Emit("", `["n"]`)
		a.gets(so, "n", `["n"]`)
	}
	s.Counts("takeovers_total", "", 1)
}

// An owner that is asked whether it has a socket still, and answers when others have been asked, is not the owner: it is told so,
// by the number of the claim.
func TestALateAnswerIsNoClaim(t *testing.T) {
	t.Parallel()
	s := begin(t, usual())
	a := startInstance(t, s.NC, "chat-a")
	so := s.own(a, "ann", `[]`)
	a.notOwner(so, "")
	late := a.owned.Next()
	for m := a.owned.Next(); m.Subject != "sio.door.own.chat-a.disconnect"; m = a.owned.Next() { // it is asked some times more
		if strings.Contains(string(m.Data), `"claim":3`) {
			t.Fatalf("%s %s", m.Subject, m.Data)
		}
	}
	request := a.takes.Next()
	a.answer(late, `[]`, "Sio-Group: chat", "Sio-Owner: chat-a", "Sio-Claim: 2")
	a.gets(so, "disconnect", `["disconnect",{"reason":"not yours","rooms":[],"claim":2}]`)
	a.answer(request, `[]`, "Sio-Group: chat", "Sio-Owner: chat-a", "Sio-Claim: 3")
	so.Emit("", `["n"]`)
	a.gets(so, "n", `["n"]`)
}

// An instance that took an edge for dead, and hears it again, says so: the edge has its sockets claimed anew.
func TestAnInstanceOwnsNothingOfAnEdge(t *testing.T) {
	s := begin(t, usual())
	a := startInstance(t, s.NC, "chat-a")
	so := s.own(a, "ann", `[]`)
	s.Publish("sio.$edge."+s.ID+".pong.chat-a", "[]", "Sio-Error: not owner")
	if request := a.claim(a.owned, `[]`); request.Takeover == nil || request.Takeover.Claim != 2 {
		t.Errorf("the request is %+v", request.Takeover)
	}
	so.Emit("", `["n"]`)
	a.gets(so, "n", `["n"]`)
}

// A service may refuse with whatever text it likes.
func TestARefusalMayReadLikeAWordOfOwners(t *testing.T) {
	s := begin(t, usual())
	requests := s.hear("sio.door.on.connect")
	c := s.Dial("ann")
	c.Send("40/door,")
	s.Publish(requests.Next().Reply, "", "Sio-Error: not owner")
	c.Expect(`44/door,{"message":"not owner"}`)
}
