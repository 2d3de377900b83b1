package backend_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/backend"
	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
	"partyline/rule"
)

// comeback is the connect request or notice of a socket whose client has come back. number tells its connections
// apart.
func comeback(id string, number int, members string) []byte {
	return fmt.Appendf(nil, `["connect",{"sid":%q,"auth":{},"issued":%d,%s}]`, id, number, members)
}

// reports has a namespace's handlers report to a channel what they were called with.
func reports(chat *backend.Namespace) chan string {
	heard := make(chan string, 100)
	describe := func(what string, so *backend.Socket) {
		rooms, _ := so.Rooms(so.Context())
		slices.Sort(rooms)
		var data map[string]int
		_ = so.Data(so.Context(), &data)
		heard <- fmt.Sprintf("%s %v %s %v %v", what, so.Recovered(), so.User(), rooms, data)
	}
	chat.Use(func(so *backend.Socket) error {
		describe("use", so)
		if so.User() == "bad" {
			return &backend.Refusal{Message: "banned"}
		}
		return errors.Join(so.Join(so.Context(), "more"), so.SetData(so.Context(), map[string]int{"n": 2}))
	})
	chat.OnConnection(func(so *backend.Socket) {
		if from, yes := so.TakenOver(); yes {
			heard <- "from " + from.From
		}
		if chat.Socket(so.ID()) == so { // an owned one, of which asking costs nothing
			describe("connected", so)
		} else {
			heard <- fmt.Sprint("connected ", so.Recovered(), " ", so.User())
		}
	})
	chat.OnDisconnect(func(so *backend.Socket, reason string) { heard <- fmt.Sprint(reason, " ", so.Recovered()) })
	return heard
}

func (e *fakeEdge) hears(heard chan string, all ...string) {
	e.t.Helper()
	c := &assignments{fakeEdge: e, heard: heard}
	for _, want := range all {
		c.hears(want)
	}
}

// A notice about a socket that has come back runs the connection handlers, no middleware, and is not answered.
func TestARecoveredSocketIsNotAskedAbout(t *testing.T) {
	t.Parallel()
	s := begin(t)
	io := s.service("chat")
	heard := reports(io.Of("/chat"))
	s.start(io)
	e := &fakeEdge{t, s.connection(), "assigner"}
	id := "recovers.aaaaaaaaaaaaaaaaaaaa"
	answers, err := e.nc.SubscribeSync("sio.chat.emit.socket." + id)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		notice := comeback(id, i, `"recovered":{"rooms":["hall"],"user":"ann","data":{"n":1}}`)
		if err := e.nc.PublishRequest("sio.chat.on.connect", "sio.chat.emit.socket."+id, notice); err != nil {
			t.Fatal(err)
		}
		e.hears(heard, "connected true ann")
	}
	if n, _, err := answers.Pending(); err != nil || n != 0 {
		t.Errorf("the notice has %d answers, %v", n, err)
	}
}

// With skip_admission: false, the middleware decides about each connection once, and begins with what the socket had.
func TestARecoveredSocketIsAskedAbout(t *testing.T) {
	t.Parallel()
	s := begin(t)
	io := s.service("chat")
	heard := reports(io.Of("/chat"))
	s.start(io)
	e := &fakeEdge{t, s.connection(), "assigner"}
	a := newAsker(t, e.nc, "aaaaaaaaaaaaaaaaaaaa")
	ask := func(number int, user string) {
		request := comeback(a.id, number, `"recovered":{"rooms":["hall"],"user":"`+user+`","data":{"n":1}}`)
		if err := a.nc.PublishRequest("sio.chat.on.connect", "sio.chat.ack."+a.id+".connect", request); err != nil {
			t.Fatal(err)
		}
	}
	a.ask() // the first connection
	e.hears(heard, "use false  [] map[]", "connected false ")
	a.wants(`[{"rooms":["more"],"data":{"n":2}}]`)
	for i := 1; i <= 2; i++ {
		ask(i, "ann")
		e.hears(heard, "use true ann [hall] map[n:1]", "connected true ann")
		a.wants(`[{"rooms":["hall","more"],"data":{"n":2}}]`)
		ask(i, "ann") // repeated
		a.wants(`[{"rooms":["hall","more"],"data":{"n":2}}]`)
	}
	ask(3, "bad")
	e.hears(heard, "use true bad [hall] map[n:1]")
	a.wants(`[] Sio-Error: banned`)
}

// comesBack has an owner asked about a socket that another edge holds now. It returns the answer.
func (c *assignments) comesBack(number, connection int, from, members string) *nats.Msg {
	c.t.Helper()
	c.asks(c.io.Instance(), "sio.chat.ack."+c.id+".connect", number, comeback(c.id, connection,
		`"handover":{"from":"`+from+`","rev":4,"rooms":["hall"],"user":"ann","data":{"n":1}},"recovered":true,`+members))
	m, err := c.back.NextMsg(patience)
	if err != nil || m.Header.Get("Sio-Assignment") != fmt.Sprint(number) {
		c.t.Fatalf("the answer is %+v, %v", m, err)
	}
	return m
}

// beginOwned starts an owner of a socket that the edge assigner held first, and second holds now.
func beginOwned(t *testing.T) (c *assignments, second *fakeEdge) {
	t.Helper()
	s := begin(t)
	c = &assignments{fakeEdge: &fakeEdge{t, s.connection(), "assigner"}}
	second = &fakeEdge{t, c.nc, "second00"}
	c.io = s.service("chat")
	c.heard = reports(c.io.Of("/chat", backend.Owned()))
	s.start(c.io)
	c.say("hello")
	second.say("hello")
	c.id = c.connect(c.io, "aaaaaaaaaaaaaaaaaaaa")
	c.fakeEdge.hears(c.heard, "use false  [] map[]", "connected false  [more] map[n:2]")
	c.back = c.sub("sio.chat.ack." + c.id + ".connect")
	return c, second
}

// The owner of a recovered socket follows it to its new edge. The end of the former connection comes first, once.
func TestAnOwnerFollowsARecoveredSocket(t *testing.T) {
	t.Parallel()
	c, second := beginOwned(t)
	const back = "connected true ann [hall] map[n:1]"
	if m := c.comesBack(2, 7, c.io.Instance(), `"edge":"second00"`); string(m.Data) != "[]" {
		t.Fatalf("the answer is %s", m.Data)
	}
	c.fakeEdge.hears(c.heard, "transport close false", back)
	c.comesBack(3, 7, c.io.Instance(), `"edge":"second00"`) // the answer was lost
	late := `["disconnect",{"reason":"ping timeout","rooms":[],"assignment":1}]`
	c.tells(c.io.Instance(), "disconnect", "emit.socket."+c.id, late)
	c.comesBack(4, 8, "chat-other", `"edge":"second00"`)
	c.fakeEdge.hears(c.heard, "transport close true", "from chat-other", back)
	c.connect(c.io, "bbbbbbbbbbbbbbbbbbbb")
	c.fakeEdge.hears(c.heard, "use false  [] map[]", "connected false  [more] map[n:2]")
	c.say("bye")
	c.fakeEdge.hears(c.heard, "transport close false") // the other socket of the former edge
	second.say("bye")
	c.fakeEdge.hears(c.heard, "transport close true")
}

// With skip_admission: false the owner's middleware decides again.
func TestAnOwnerDecidesAboutARecoveredSocket(t *testing.T) {
	t.Parallel()
	c, second := beginOwned(t)
	const admission = `[{"rooms":["hall","more"],"data":{"n":2}}]`
	for number := 2; number <= 3; number++ {
		if m := c.comesBack(number, 7, c.io.Instance(), `"edge":"second00","decides":true`); string(m.Data) != admission {
			t.Fatalf("the answer is %s", m.Data)
		}
	}
	c.fakeEdge.hears(c.heard, "transport close false", "use true ann [hall] map[n:1]", "connected true ann [hall more] map[n:2]")
	second.say("bye")
	c.fakeEdge.hears(c.heard, "transport close true")
}

// An event for a socket whose connection broke is published: its client may come back. One that was ended gets
// nothing.
func TestEventsForASocketThatMayComeBack(t *testing.T) {
	t.Parallel()
	s := begin(t)
	io := s.service("chat")
	results := make(chan error, 10)
	io.Of("/chat").OnDisconnect(func(so *backend.Socket, reason string) { results <- so.Emit("late", reason) })
	s.start(io)
	nc := s.connection()
	sub, err := nc.SubscribeSync("sio.chat.emit.socket.recovers.*")
	if err != nil || nc.Flush() != nil {
		t.Fatal(err)
	}
	for _, reason := range []string{"client namespace disconnect", "ping timeout"} {
		body := fmt.Appendf(nil, `["disconnect",{"reason":%q,"rooms":[]}]`, reason)
		if err := nc.PublishRequest("sio.chat.on.disconnect", "sio.chat.emit.socket.recovers.aaaaaaaaaaaaaaaaaaaa", body); err != nil {
			t.Fatal(err)
		}
		if err := <-results; errors.Is(err, backend.UnknownSocket) == (reason == "ping timeout") {
			t.Errorf("%s: %v", reason, err)
		}
	}
	if m, err := sub.NextMsg(patience); err != nil || string(m.Data) != `["late","ping timeout"]` {
		t.Errorf("%+v, %v", m, err)
	}
}

// A client comes back to another edge: it gets what was sent meanwhile, and the service has the same socket. The edge
// that it has left lives, and does not take the socket from its owner.
func TestAClientComesBackToAnotherEdge(t *testing.T) {
	t.Parallel()
	for name, options := range map[string][]backend.NamespaceOption{"owned": {backend.Owned()}, "not owned": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := natsdtest.Start(t, `jetstream { store_dir: "`+t.TempDir()+`" }`)
			rules := map[string]rule.Namespace{
				"/chat": {Connect: rule.ConnectService, ConnectTimeout: 5 * time.Second, Recovery: rule.Recovery{For: time.Minute}},
			}
			edgeOptions := edgetest.Options{NATS: server.ClientURL(), Namespaces: rules}
			s := &stage{t: t, nats: server, Node: edgetest.Start(t, edgeOptions).Ready()}
			second := edgetest.Start(t, edgeOptions).Ready()
			io := s.service("chat")
			chat := io.Of("/chat", options...)
			heard := make(chan string, 10)
			chat.Use(func(so *backend.Socket) error { return errors.Join(so.SetUser("ann"), so.Join(so.Context(), "hall")) })
			chat.OnConnection(func(so *backend.Socket) { heard <- fmt.Sprint("connected ", so.Recovered(), " ", so.User()) })
			chat.OnDisconnect(func(so *backend.Socket, reason string) {
				heard <- fmt.Sprint(reason, so.Emit("to it"), chat.To("hall").Emit("to the room"))
			})
			chat.OnHandover(func(_ *backend.Socket, reason string) { heard <- reason })
			chat.On("sum", func(a, b int) int { return a + b })
			s.start(io)
			hear := &fakeEdge{t: t}
			ann := s.Dial("ann")
			ann.Send(`40/chat,`)
			connect := ann.Next() // with a pid
			hear.hears(heard, "connected false ann")
			ann.Hangup()
			hear.hears(heard, "transport close<nil> <nil>")
			var pid struct{ PID string }
			if err := json.Unmarshal([]byte(strings.TrimPrefix(connect, "40/chat,")), &pid); err != nil || pid.PID == "" {
				t.Fatal(connect, err)
			}
			back := second.Dial("ann")
			back.Send(`40/chat,{"pid":"` + pid.PID + `"}`)
			for _, want := range []string{`42/chat,["to it","`, `42/chat,["to the room","`, connect} {
				if got := back.Next(); !strings.HasPrefix(got, want) {
					t.Errorf("got %s, want %s", got, want)
				}
			}
			hear.hears(heard, "connected true ann")
			for i := range 3 {
				back.Send(fmt.Sprintf(`42/chat,%d["sum",1,%d]`, i, i))
				back.Expect(fmt.Sprintf(`43/chat,%d[%d]`, i, 1+i))
			}
			if len(heard) > 0 {
				t.Errorf("the service hears %s", <-heard)
			}
		})
	}
}
