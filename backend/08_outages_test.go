package backend_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/backend"
	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
	"partyline/rule"
)

// An instance that is disconnected from NATS releases its sockets before the edge assigns them to another one. It
// comes back under a new name.
func TestAnInstanceThatIsCutOff(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	t.Parallel()
	servers := natsdtest.StartCluster(t, 2)
	s := &stage{t: t, nats: servers[0], Node: edgetest.Start(t, edgetest.Options{
		NATS: servers[0].ClientURL(), Namespaces: map[string]rule.Namespace{"*": {Connect: rule.ConnectService, ConnectTimeout: 5 * time.Second}},
	}).Ready()}
	events := make(chan string, 100)
	instance := func(name, url string) *backend.Service {
		io := serviceOn(t, connection(t, url, nats.DontRandomize(), nats.IgnoreDiscoveredServers()), s.Talk, "chat")
		chat := io.Of("/chat", backend.Owned())
		chat.OnConnection(func(so *backend.Socket) {
			if _, yes := so.TakenOver(); yes {
				events <- name + " takes over"
			}
		})
		chat.On("who", func() string { return name })
		chat.OnHandover(func(_ *backend.Socket, reason string) { events <- name + " loses: " + reason })
		chat.OnDisconnect(func(_ *backend.Socket, reason string) { events <- name + " hears: " + reason })
		return s.start(io)
	}
	first := instance("first", servers[1].ClientURL())
	before := first.Instance()
	ann := s.enter("ann", "/chat")
	ann.emit("1", `["who"]`)
	ann.acked("1", `["first"]`)
	second := instance("second", servers[0].ClientURL())
	servers[1].Stop()
	ask := func(want string) {
		t.Helper()
		var sent time.Time
		eventually(t, want+" answers", func() bool {
			if time.Since(sent) > 50*time.Millisecond { // events before the next owner may be lost
				ann.emit("2", `["who"]`)
				sent = time.Now()
			}
			for ann.Pending() > 0 {
				if text, _ := ann.Await(); text == fmt.Sprintf("43/chat,2[%q]", want) {
					return true
				}
			}
			return false
		})
	}
	ask("second")
	if got := <-events + ", " + <-events; got != "first loses: owner changed, second takes over" {
		t.Fatal(got)
	}
	if before == first.Instance() {
		t.Error("the name is still the same")
	}
	servers[1].Restart()
	natsdtest.WaitForRoutes(t, servers...)
	eventually(t, "the first is back", func() bool { return first.Of("/chat").Emit("x") == nil })
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := second.Close(ctx); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"second loses: leaving", "first takes over"} {
		if got := <-events; got != want {
			t.Fatalf("%s, want %s", got, want)
		}
	}
	ask("first")
}

// fakeEdge publishes what an edge publishes.
type fakeEdge struct {
	t  *testing.T
	nc *nats.Conn
	id string
}

func (e *fakeEdge) say(word string) {
	_ = e.nc.Publish("sio.$edge."+e.id+"."+word, fmt.Appendf(nil, `[{"edge":"%s","at":1,"every":1000,"sockets":1}]`, e.id))
}

// connect makes an instance own a socket, and returns the socket's id.
func (e *fakeEdge) connect(io *backend.Service, own string) string {
	e.t.Helper()
	id := e.id + "." + own
	reply := "sio.chat.ack." + id + ".connect"
	sub, err := e.nc.SubscribeSync(reply)
	if err != nil {
		e.t.Fatal(err)
	}
	handshake, _ := json.Marshal([]any{"connect", map[string]any{"sid": id, "auth": map[string]any{}}})
	e.asks(io.Instance(), reply, 1, handshake)
	m, err := sub.NextMsg(patience)
	if err != nil || m.Header.Get("Sio-From") != io.Instance() || m.Header.Get("Sio-Assignment") != "1" {
		e.t.Fatalf("the answer is %+v, %v", m, err)
	}
	return id
}

// asks publishes a connect request to an instance.
func (e *fakeEdge) asks(instance, reply string, number int, body []byte) {
	e.t.Helper()
	m := &nats.Msg{
		Subject: "sio.chat.own." + instance + ".connect", Reply: reply, Data: body,
		Header: nats.Header{"Sio-Assignment": {fmt.Sprint(number)}},
	}
	if err := e.nc.PublishMsg(m); err != nil {
		e.t.Fatal(err)
	}
}

// A dead edge is silent. The owners of its sockets notice missing beats, or another edge reports it.
func TestEdgesThatDie(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	t.Parallel()
	s := begin(t)
	io := s.service("chat")
	chat := io.Of("/chat", backend.Owned())
	ends := make(chan string, 10)
	chat.OnDisconnect(func(so *backend.Socket, reason string) { ends <- so.ID() + " " + reason })
	s.start(io)
	nc := s.connection()
	silent, gone, parted := &fakeEdge{t, nc, "silent00"}, &fakeEdge{t, nc, "gone0000"}, &fakeEdge{t, nc, "parted00"}
	var ids []string
	for _, e := range []*fakeEdge{parted, gone, silent} {
		e.say("hello")
		ids = append(ids, e.connect(io, "aaaaaaaaaaaaaaaaaaaa"))
	}
	began := time.Now()
	parted.say("bye")
	gone.say("gone") // another edge may be wrong: this one was just active
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for i := 0; i < len(ids); {
		select {
		case got := <-ends:
			if want := ids[i] + " transport close"; got != want {
				t.Fatalf("after %v: %s, want %s", time.Since(began), got, want)
			}
			i++
		case <-ticker.C:
			gone.say("gone")
		case <-time.After(patience):
			t.Fatal("nothing happens")
		}
	}
	if took := time.Since(began); took < 3*time.Second {
		t.Errorf("a silent edge was dead after %v", took)
	}
}

// An edge that comes back asks an instance for its sockets, whether the instance still has them or has ended them.
func TestAnEdgeComesBack(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	t.Parallel()
	s := begin(t)
	io := s.service("chat")
	chat := io.Of("/chat", backend.Owned())
	events := make(chan string, 10)
	chat.OnConnection(func(so *backend.Socket) { events <- "connected" })
	chat.OnDisconnect(func(so *backend.Socket, reason string) { events <- reason })
	chat.On("n", func(n int) { events <- fmt.Sprint(n) })
	s.start(io)
	nc := s.connection()
	edge := &fakeEdge{t, nc, "comeback"}
	edge.say("hello")
	id := edge.connect(io, "aaaaaaaaaaaaaaaaaaaa")
	own := "sio.chat.own." + io.Instance()
	body := fmt.Appendf(nil, `["connect",{"sid":%q,"auth":{},"handover":{"from":%q,"rev":0,"rooms":[],"data":{}}}]`, id, io.Instance())
	number := 1
	again := func() {
		t.Helper()
		sub, err := nc.SubscribeSync("sio.chat.ack." + id + ".connect")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = sub.Unsubscribe() }()
		number++
		edge.asks(io.Instance(), "sio.chat.ack."+id+".connect", number, body)
		if m, err := sub.NextMsg(patience); err != nil || m.Header.Get("Sio-From") != io.Instance() || m.Header.Get("Sio-Assignment") != fmt.Sprint(number) {
			t.Fatalf("the answer is %+v, %v", m, err)
		}
		_ = nc.PublishRequest(own+".n", "sio.chat.emit.socket."+id, []byte(`["n",7]`))
	}
	hears := func(want string) {
		t.Helper()
		select {
		case got := <-events:
			if got != want {
				t.Fatalf("%s, want %s", got, want)
			}
		case <-time.After(patience):
			t.Fatalf("no %s", want)
		}
	}
	hears("connected")
	again() // it still has the socket
	hears("7")
	hears("transport close") // the edge is silent
	again()
	hears("connected")
	hears("7")
}

// An admission that arrives too late is answered: the instance is notified that the socket has gone.
func TestAnAdmissionThatComesTooLate(t *testing.T) {
	t.Parallel()
	s := begin(t)
	io := s.service("chat")
	chat := io.Of("/chat", backend.Owned())
	entered, release := make(chan struct{}), make(chan struct{})
	events := make(chan string, 10)
	chat.Use(func(so *backend.Socket) error {
		close(entered)
		<-release
		return nil
	})
	chat.OnHandover(func(_ *backend.Socket, reason string) { events <- reason })
	chat.OnDisconnect(func(_ *backend.Socket, reason string) { events <- "disconnect " + reason })
	s.start(io)
	c := s.Dial("ann")
	c.Send("40/chat,")
	<-entered
	c.Hangup()
	s.connection() // the edge has the end by now, or soon
	eventually(t, "the session has ended", func() bool { return s.Edge.Sockets() == 0 })
	close(release)
	if got := <-events; got != "owner changed" && got != "disconnect transport close" {
		t.Errorf("received %s", got)
	}
	eventually(t, "nothing is owned", func() bool { return io.Stats().Owned == 0 })
}
