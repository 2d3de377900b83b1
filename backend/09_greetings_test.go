package backend_test

import (
	"context"
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

// withOpen starts an edge that also has an open namespace.
func withOpen(t testing.TB) *stage {
	t.Helper()
	server := natsdtest.Start(t)
	return &stage{t: t, nats: server, Node: edgeWithOpen(t, server)}
}

func edgeWithOpen(t testing.TB, server *natsdtest.Server) *edgetest.Node {
	t.Helper()
	service := rule.Namespace{Connect: rule.ConnectService}
	return edgetest.Start(t, edgetest.Options{
		NATS: server.ClientURL(), Namespaces: map[string]rule.Namespace{"*": service, "/open": {Connect: rule.ConnectOpen}},
	}).Ready()
}

// modes are the two ways to serve a namespace.
func modes(t *testing.T, test func(t *testing.T, options ...backend.NamespaceOption)) {
	t.Helper()
	t.Run("stateless", func(t *testing.T) { t.Parallel(); test(t) })
	t.Run("owned", func(t *testing.T) { t.Parallel(); test(t, backend.Owned()) })
}

// What a connection handler sends to a room of the admission reaches the new member, in order, even if the edge had no
// subscription to the room. Broadcasts exclude the right sockets.
func TestWelcomesReachTheNewcomer(t *testing.T) {
	modes(t, func(t *testing.T, options ...backend.NamespaceOption) {
		s := withOpen(t)
		io := s.service("chat")
		chat := io.Of("/chat", options...)
		chat.Use(func(so *backend.Socket) error {
			var auth struct{ Room string }
			if err := so.Handshake().DecodeAuth(&auth); err != nil {
				return err
			}
			return so.Join(so.Context(), auth.Room, auth.Room+".second")
		})
		chat.OnConnection(func(so *backend.Socket) {
			var auth struct{ Room string }
			_ = so.Handshake().DecodeAuth(&auth)
			err := errors.Join(
				chat.To(auth.Room).Emit("room", 1),
				so.To(auth.Room).Emit("never to the sender"),
				so.Emit("own", 2),
				chat.To(auth.Room+".second").Emit("second", 3),
				chat.To(auth.Room, auth.Room+".second").Emit("union", 4),
				chat.To(auth.Room).Except(auth.Room+".second").Emit("never to both"),
				chat.To(auth.Room).Except("elsewhere").Emit("except", 5),
				chat.To(auth.Room).Volatile().Emit("may be dropped"),
				chat.To(auth.Room).Emit("last", 6),
			)
			if err != nil {
				t.Error(err)
			}
		})
		s.start(io)
		for i := range 100 {
			c := &client{Client: s.Dial(fmt.Sprint("newcomer ", i)), head: "/chat,"}
			c.id = c.Connect("/chat", fmt.Sprintf(`{"room":"r%d"}`, i))
			for _, want := range []string{`["room",1]`, `["own",2]`, `["second",3]`, `["union",4]`, `["except",5]`} {
				c.gets(want)
			}
			if got := c.Next(); got == `42/chat,["may be dropped"]` {
				c.gets(`["last",6]`)
			} else if got != `42/chat,["last",6]` {
				t.Fatalf("%s", got)
			}
			if i > 90 {
				c.Hangup()
			}
		}
	})
}

// A join that is not awaited is in effect for everything that the instance sends after it.
func TestAnEmitBehindAJoinReachesTheSocket(t *testing.T) {
	modes(t, func(t *testing.T, options ...backend.NamespaceOption) {
		s := withOpen(t)
		second := edgeWithOpen(t, s.nats)
		io := s.service("chat")
		chat := io.Of("/chat", options...)
		chat.On("x", func() {})
		s.start(io)
		ann, bob := s.enter("ann", "/chat"), enter(second, "bob", "/chat", "")
		nc := s.connection()
		joins := make(chan *nats.Msg, 10)
		if _, err := nc.ChanSubscribe("sio.chat.join.>", joins); err != nil || nc.Flush() != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		for i := range 100 {
			room := fmt.Sprint("room", i)
			joined := make(chan error, 2)
			go func() { joined <- chat.Socket(ann.id).Join(ctx, room) }()
			go func() {
				_, err := chat.To(bob.id, "nobody").Join(ctx, room) // a target of several sockets
				joined <- err
			}()
			<-joins
			<-joins
			if err := chat.To(room).Emit("n", i); err != nil {
				t.Fatal(err)
			}
			if err := chat.Socket(bob.id).To(room).Emit("from bob", i); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(<-joined, <-joined); err != nil {
				t.Fatal(err)
			}
			if err := chat.To(room).Emit("afterwards", i); err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{"n", "from bob", "afterwards"} {
				ann.gets(fmt.Sprintf(`[%q,%d]`, want, i))
				if want != "from bob" {
					bob.gets(fmt.Sprintf(`[%q,%d]`, want, i))
				}
			}
		}
	})
}

// A join whose context ends before the edge has answered is still in effect.
func TestAJoinThatIsGivenUpStillCounts(t *testing.T) {
	t.Parallel()
	s := withOpen(t)
	io := s.service("chat")
	chat := io.Of("/chat")
	chat.On("x", func() {})
	s.start(io)
	ann := s.enter("ann", "/chat")
	for i := range 200 {
		room := fmt.Sprint("room", i)
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Microsecond*time.Duration(1+i%10))
		err := chat.Socket(ann.id).Join(ctx, room)
		cancel()
		if err := chat.To(room).Emit("n", i); err != nil {
			t.Fatal(err)
		}
		_ = chat.Socket(ann.id).Emit("mark", i)
		switch got := ann.Next(); {
		case got == fmt.Sprintf(`42/chat,["n",%d]`, i):
			ann.gets(fmt.Sprintf(`["mark",%d]`, i))
		case got != fmt.Sprintf(`42/chat,["mark",%d]`, i):
			t.Fatal(got)
		case !errors.Is(err, context.DeadlineExceeded):
			t.Fatalf("round %d is missing, and the join says %v", i, err)
		default: // it had ended before the join was sent: then the socket is not in the room
			if rooms, err := chat.Socket(ann.id).Rooms(context.Background()); err != nil || slices.Contains(rooms, room) {
				t.Fatalf("round %d is missing, and the rooms are %v, %v", i, rooms, err)
			}
		}
	}
}

// handEdge is an edge whose answers the test decides.
type handEdge struct {
	t       *testing.T
	s       *stage
	nc      *nats.Conn
	chat    *backend.Namespace
	answers chan *nats.Msg
	emits   chan *nats.Msg
	told    chan string // the sockets whose admission was published
	asked   int
}

// newHandEdge starts a service whose middleware puts each socket into the room hall.
func newHandEdge(t *testing.T) *handEdge {
	t.Helper()
	s := begin(t)
	f := &handEdge{t: t, s: s, nc: s.connection(), answers: make(chan *nats.Msg, 100), emits: make(chan *nats.Msg, 100), told: make(chan string, 100)}
	io := s.service("chat")
	f.chat = io.Of("/chat")
	f.chat.Use(func(so *backend.Socket) error { return so.Join(so.Context(), "hall") })
	f.chat.OnConnection(func(so *backend.Socket) { f.told <- so.ID() })
	s.start(io)
	for subject, to := range map[string]chan *nats.Msg{
		"sio.chat.ack.aaaaaaaa.>": f.answers, "sio.chat.join.socket.aaaaaaaa.>": f.answers, "sio.chat.emit.>": f.emits,
	} {
		if _, err := f.nc.ChanSubscribe(subject, to); err != nil || f.nc.Flush() != nil {
			t.Fatal(err)
		}
	}
	return f
}

// connects sends a connect request for a socket of an edge.
func (f *handEdge) connects(edge string) {
	f.t.Helper()
	f.asked++
	id := fmt.Sprintf("%s.AAAAAAAAAAAAAAAA%04d", edge, f.asked)
	err := f.nc.PublishRequest("sio.chat.on.connect", "sio.chat.ack."+id+".connect", fmt.Appendf(nil, `["connect",{"sid":%q}]`, id))
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *handEdge) answer() *nats.Msg {
	f.t.Helper()
	select {
	case m := <-f.answers:
		return m
	case <-time.After(patience):
		f.t.Fatal("no answer")
		return nil
	}
}

// way emits to a room and returns the subject of the published event.
func (f *handEdge) way(room string) string {
	f.t.Helper()
	if err := f.chat.To(room).Emit("x"); err != nil {
		f.t.Fatal(err)
	}
	select {
	case m := <-f.emits:
		if all := m.Subject == "sio.chat.emit.all"; all != (m.Header.Get("Sio-Rooms") == room) {
			f.t.Fatalf("%s with %v", m.Subject, m.Header)
		}
		return strings.TrimPrefix(m.Subject, "sio.chat.emit.")
	case <-time.After(patience):
		f.t.Fatal("nothing was emitted")
		return ""
	}
}

func (f *handEdge) goes(room, want string) {
	f.t.Helper()
	if got := f.way(room); got != want {
		f.t.Fatalf("an event to the room %s goes to %s, want %s", room, got, want)
	}
}

// becomes waits until a room's events are published on a subject.
func (f *handEdge) becomes(room, want string) {
	f.t.Helper()
	eventually(f.t, room+" goes to "+want, func() bool { return f.way(room) == want })
}

// Only events to unconfirmed rooms are sent to all, and only until the edge answers.
func TestOtherRoomsGoTheShortWay(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*handEdge, *nats.Msg){
		"answered": func(f *handEdge, m *nats.Msg) { _ = m.Respond([]byte(`[{"edge":"aaaaaaaa","sockets":1}]`)) },
		"refused": func(f *handEdge, m *nats.Msg) {
			_ = m.RespondMsg(&nats.Msg{Header: nats.Header{"Sio-Error": {"unknown socket"}}})
		},
		"the edge died": func(f *handEdge, m *nats.Msg) { f.dies() },
		"nothing":       func(f *handEdge, m *nats.Msg) {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newHandEdge(t)
			_ = f.nc.Publish("sio.$edge.aaaaaaaa.hello", []byte(`[{"edge":"aaaaaaaa","at":1,"every":1000,"sockets":1}]`))
			f.goes("hall", "room.hall")
			f.connects("aaaaaaaa")
			m := f.answer()
			f.goes("hall", "all")
			f.goes("other", "room.other")
			if err := f.chat.Socket("aaaaaaaa.AAAAAAAAAAAAAAAAAAAA").To("hall").Emit("x"); err != nil {
				t.Fatal(err)
			}
			if m := <-f.emits; m.Subject != "sio.chat.emit.all" || m.Reply != "" || m.Header.Get("Sio-Except") != "aaaaaaaa.AAAAAAAAAAAAAAAAAAAA" {
				t.Errorf("a broadcast goes to %s with reply %q and %v", m.Subject, m.Reply, m.Header)
			}
			_ = m.Respond([]byte(`{"stream":"ALL","seq":7}`)) // no answer about the room
			_ = f.nc.Flush()
			f.goes("hall", "all")
			end(f, m)
			f.becomes("hall", "room.hall") // at the latest after the maximum wait
		})
	}
}

// dies publishes the edge's goodbye.
func (f *handEdge) dies() {
	_ = f.nc.Publish("sio.$edge.aaaaaaaa.bye", []byte(`[{"edge":"aaaaaaaa","at":1,"sockets":0}]`))
}

// An edge that does not exist confirms nothing, and NATS reports no responders.
func TestNoConfirmationWithoutAnEdge(t *testing.T) {
	t.Parallel()
	f := newHandEdge(t)
	f.connects("bbbbbbbb")
	<-f.told // before that, no edge has been asked for a confirmation
	f.becomes("hall", "room.hall")
	if err := f.chat.Socket("bbbbbbbb.AAAAAAAAAAAAAAAAAAAA").Join(context.Background(), "hall"); !errors.Is(err, backend.UnknownSocket) {
		t.Errorf("a join of a socket of an edge that is not there: %v", err)
	}
	f.goes("hall", "room.hall")
}

// An edge that has just confirmed a room subscribes to it for longer than the next admission takes.
func TestAConfirmedRoomIsNotConfirmedAgain(t *testing.T) {
	t.Parallel()
	f := newHandEdge(t)
	began := time.Now()
	f.connects("aaaaaaaa")
	if err := f.answer().Respond([]byte(`[{"edge":"aaaaaaaa","sockets":1}]`)); err != nil {
		t.Fatal(err)
	}
	f.becomes("hall", "room.hall")
	f.connects("aaaaaaaa")
	m := f.answer()
	way := f.way("hall")
	if time.Since(began) < time.Second && (m.Reply != "" || way != "room.hall") {
		t.Errorf("it is asked again, with reply %q, and events go to %s", m.Reply, way)
	}
	f.connects("aaaaaaaa")
	f.answer()
	joined := make(chan error)
	go func() { joined <- f.chat.Socket("aaaaaaaa.AAAAAAAAAAAAAAAAAAAA").Join(context.Background(), "side") }()
	m = f.answer()
	f.goes("side", "all")
	if err := m.Respond([]byte(`[{"edge":"aaaaaaaa","sockets":1}]`)); err != nil {
		t.Fatal(err)
	}
	if err := <-joined; err != nil {
		t.Fatal(err)
	}
	f.goes("side", "room.side")
}

// A stream that records all subjects answers each publish with a reply subject, and has no information about rooms.
func TestAStreamConfirmsNothing(t *testing.T) {
	t.Parallel()
	s := withOpen(t)
	nc := s.connection()
	// As JetStream does for a stream of sio.chat.ack.> and sio.chat.join.>, sooner than any edge.
	for _, subject := range []string{"sio.chat.ack.>", "sio.chat.join.>"} {
		if _, err := nc.Subscribe(subject, func(m *nats.Msg) { _ = m.Respond([]byte(`{"stream":"ALL","seq":7}`)) }); err != nil || nc.Flush() != nil {
			t.Fatal(err)
		}
	}
	io := s.service("chat")
	chat := io.Of("/chat")
	acked := make(chan struct{})
	chat.Use(func(so *backend.Socket) error { return so.Join(so.Context(), "hall") })
	chat.OnConnection(func(so *backend.Socket) {
		if err := so.Join(so.Context(), "later"); err != nil {
			t.Error(err)
		}
		close(acked)
	})
	s.start(io)
	ann := s.enter("ann", "/chat")
	<-acked
	_ = chat.To("later").Emit("later")
	ann.gets(`["later"]`)
}
