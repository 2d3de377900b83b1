package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"partyline/backend"
)

const thrown = "thrown by the application"

var errThrown = errors.New(thrown)

// application is the one in one namespace, or in all that match a pattern.
type application struct {
	*teller
	ns *backend.Namespace
}

// auth is a client's auth: the script of the application.
type auth struct {
	Name      string
	Use       []string // what the middleware do, one after the other
	Greet     []plan   // what the connection handler does
	Goodbye   []plan   // what the disconnect handler does
	Handshake bool     // write the handshake
}

func authOf(s *backend.Socket) (a auth) {
	if err := s.Handshake().DecodeAuth(&a); err != nil {
		panic(err)
	}
	return a
}

// serve adds what both ways to handle events share.
func (a application) serve() {
	for i := range 3 {
		a.ns.Use(func(s *backend.Socket) error { return a.admit(s, i) })
	}
	a.ns.OnConnection(func(s *backend.Socket) {
		given := authOf(s)
		rooms, _ := s.Rooms(s.Context())
		var data any
		_ = s.Data(s.Context(), &data)
		recovered := ""
		if s.Recovered() {
			recovered = ", recovered,"
		}
		a.tell(s, fmt.Sprintf("connection%s rooms %s data %s", recovered, sortedRooms(rooms), shown(data)))
		if given.Handshake {
			a.tell(s, "handshake "+shownHandshake(s.Handshake()))
		}
	})
	a.ns.OnAny(func(s *backend.Socket, event string, args backend.Args) {
		if event != "do" && event != "listen" {
			a.note("heard", s.ID(), fmt.Sprintf("%s %s", event, shownArgs(args)))
		}
	})
	a.ns.UsePacket(func(s *backend.Socket, p *backend.Packet) error {
		if p.Event == "forbidden" {
			return errors.New("not allowed")
		}
		return nil
	})
	a.ns.OnDisconnect(func(s *backend.Socket, reason string) {
		rooms, _ := s.Rooms(s.Context())
		a.tell(s, fmt.Sprintf("disconnect %s rooms %s", reason, sortedRooms(rooms)))
	})
}

func (a application) admit(s *backend.Socket, i int) error {
	given := authOf(s)
	if i == 0 {
		a.remember(s, s.Handshake().Query["case"]+" "+given.Name)
		if err := s.SetData(s.Context(), map[string]string{"name": given.Name}); err != nil {
			return err
		}
	}
	if i >= len(given.Use) {
		return nil
	}
	step := given.Use[i]
	a.tell(s, fmt.Sprintf("use %d: %s", i, step))
	switch step {
	case "pass later":
		time.Sleep(80 * time.Millisecond)
	case "join":
		return s.Join(s.Context(), "lobby", "hall")
	case "leave":
		return s.Leave(s.Context(), "hall")
	case "data":
		return s.SetData(s.Context(), map[string]string{"name": given.Name, "plan": "pro"})
	case "refuse":
		return backend.Refuse("not you")
	case "refuse with data":
		return &backend.Refusal{Message: "not you", Data: map[string]int{"code": 7}}
	case "refuse later":
		time.Sleep(80 * time.Millisecond)
		return backend.Refuse("not you")
	case "throw":
		panic(thrown)
	}
	return nil
}

// greet is the end of the connection handler.
func (a application) greet(s *backend.Socket) {
	given := authOf(s)
	if len(given.Goodbye) > 0 {
		a.plans.Store(s.ID(), given.Goodbye)
	}
	for _, p := range given.Greet {
		perform(s.Context(), s, p)
	}
	_ = s.Emit("ready")
}

func (a application) sayGoodbye(s *backend.Socket, plans []plan) {
	for _, p := range plans {
		perform(s.Context(), s, p)
	}
}

// toldHandover is for a socket that this instance does not own after all: here, one whose client went before it was
// admitted.
func (a application) toldHandover(s *backend.Socket, reason string) { a.tell(s, "handover "+reason) }

// handleOwned adds the handlers of an owned socket, closures as in code for the reference.
func (a application) handleOwned(s *backend.Socket) {
	a.handle(s.On)
	s.On("listen", func(steps [][]string) error {
		for _, step := range steps {
			a.listen(s, append(step, "", "", "")[:4])
		}
		return nil
	})
	s.OnDisconnect(func(string) { a.sayGoodbye(s, a.goodbyes(s)) })
}

// handle adds the handlers of events, to a namespace or to one socket.
func (a application) handle(on func(event string, fn any)) {
	on("do", func(s *backend.Socket, p plan, ack backend.Ack) {
		if p.asks() { // it waits for clients; further events of this one do not have to
			go func() { _ = ack(perform(s.Context(), s, p)) }()
			return
		}
		_ = ack(perform(s.Context(), s, p))
	})
	on("echo", func(s *backend.Socket, values ...any) { _ = s.Emit("echoed", values...) })
	on("echo as ack", func(args backend.Args, ack backend.Ack) { _ = ack(decoded(args)...) })
	on("forbidden", func(s *backend.Socket) { a.tell(s, "a forbidden event got through") })
	on("twice", func(ack backend.Ack) {
		_ = ack("first")
		_ = ack("second")
	})
	on("later", func(ack backend.Ack) { time.AfterFunc(50*time.Millisecond, func() { _ = ack("late") }) })
	on("fail", func() error { return errThrown })
	on("throw", func() { panic(thrown) })
	on("sum", func(x, y float64) float64 { return x + y })
	on("two handlers", func() string { return "the first" })
	on("two handlers", func() string { return "the second" })
}

// listen adds or takes away a handler of the socket that tells what it hears: method, event, label, and what else it
// does.
func (a application) listen(s *backend.Socket, step []string) {
	method, event, label, what := step[0], step[1], step[2], step[3]
	handler := func(args backend.Args, ack backend.Ack) {
		a.tell(s, fmt.Sprintf("%s: %s %s", label, event, shownArgs(args)))
		if what == "ack" {
			_ = ack(label)
		}
	}
	switch method {
	case "on":
		s.On(event, handler)
	case "once":
		s.Once(event, handler)
	case "off":
		s.Off(event)
	case "onAny":
		s.OnAny(func(name string, args backend.Args) {
			a.tell(s, fmt.Sprintf("%s: %s %s", label, name, shownArgs(args)))
		})
	case "use":
		s.Use(func(p *backend.Packet) error {
			a.tell(s, fmt.Sprintf("%s: %s", label, p.Event))
			if what == "refuse" {
				return errors.New(label)
			}
			return nil
		})
	case "disconnect":
		s.OnDisconnect(func(reason string) { a.tell(s, fmt.Sprintf("%s: %s", label, reason)) })
	}
}

// hearServers adds the handlers of events from other instances. The first argument is the case's tag.
func (a application) hearServers() {
	a.ns.OnServerSide("hello", func(tag string, values ...any) { a.tellOf(tag, "hello "+shown(values)) })
	a.ns.OnServerSide("add", func(tag string, x, y float64) float64 {
		a.tellOf(tag, "add "+shown([]any{x, y}))
		return x + y
	})
}

func shownHandshake(h *backend.Handshake) string {
	text, _ := json.Marshal(h)
	var members map[string]any
	_ = json.Unmarshal(text, &members)
	for _, name := range []string{"sid", "session", "transport"} { // which the reference has in the socket and its connection
		delete(members, name)
	}
	return shown(members)
}

func byName(a, b map[string]any) int {
	return cmp.Compare(fmt.Sprint(a["name"]), fmt.Sprint(b["name"]))
}
