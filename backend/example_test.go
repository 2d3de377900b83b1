package backend_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"slices"
	"time"

	"partyline/backend"
)

// The examples run against a real edge with a real NATS server. show connects a client, which prints what it receives:
// see examples_test.go.

func Example() {
	scene := newScene()
	defer scene.end()

	io, err := backend.New(scene.nc, "chat")
	if err != nil {
		log.Fatal(err)
	}
	chat := io.Of("/chat_room", backend.Owned())
	chat.OnConnection(func(s *backend.Socket) {
		_ = s.Join(s.Context(), "room")
		s.On("message", func(text string) error {
			return chat.To("room").Emit("message", text)
		})
	})
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := io.Start(ctx); err != nil {
		log.Fatal(err)
	}
	defer func() { _ = io.Close(ctx) }()

	ann := scene.connect("ann", "/chat_room", "")
	ann.emit(`["message","hello"]`)
	ann.receives(1)
	// Output: ann receives ["message","hello"]
}

func ExampleNamespace_Use() {
	scene := newScene()
	defer scene.end()
	io := scene.service()
	chat := io.Of("/chat")
	chat.Use(func(s *backend.Socket) error {
		var auth struct{ Token, Name string }
		if err := s.Handshake().DecodeAuth(&auth); err != nil || auth.Token != "open sesame" {
			return &backend.Refusal{Message: "wrong token", Data: map[string]int{"code": 401}}
		}
		if err := s.SetData(s.Context(), map[string]string{"plan": "pro"}); err != nil {
			return err
		}
		return errors.Join(s.SetUser(auth.Name), s.Join(s.Context(), "news"))
	})
	chat.OnConnection(func(s *backend.Socket) { _ = s.Emit("welcome", s.User()) })
	scene.start(io)

	scene.connect("bob", "/chat", `{"token":"x"}`)
	ann := scene.connect("ann", "/chat", `{"token":"open sesame","name":"Ann"}`)
	ann.receives(1)
	// Output:
	// bob is refused: {"message":"wrong token","data":{"code":401}}
	// ann receives ["welcome","Ann"]
}

func ExampleNamespace_On() {
	scene := newScene()
	defer scene.end()
	io := scene.service(backend.OnError(func(e *backend.HandlerError) { fmt.Println("reported:", e.Err) }))
	chat := io.Of("/chat")
	chat.On("sum", func(numbers ...int) (sum int) {
		for _, n := range numbers {
			sum += n
		}
		return sum
	})
	type order struct {
		Item  string `json:"item"`
		Count int    `json:"count"`
	}
	chat.On("order", func(ctx context.Context, s *backend.Socket, o order, ack backend.Ack) error {
		if o.Count == 0 {
			return ack("rejected", "nothing is ordered")
		}
		return ack("accepted")
	})
	scene.start(io)

	ann := scene.connect("ann", "/chat", "")
	fmt.Println(ann.emitWithAck(`["sum",1,2,3]`))
	fmt.Println(ann.emitWithAck(`["order",{"item":"tea","count":1}]`))
	fmt.Println(ann.emitWithAck(`["order",{"item":"tea"}]`))
	ann.emit(`["order","tea"]`)
	fmt.Println(ann.emitWithAck(`["sum"]`))
	// Output:
	// [6]
	// ["accepted"]
	// ["rejected","nothing is ordered"]
	// reported: argument 1 does not fit: expected backend_test.order, got "tea"
	// [0]
}

func ExampleNamespace_OnAny() {
	scene := newScene()
	defer scene.end()
	io := scene.service()
	chat := io.Of("/chat")
	chat.OnAny(func(s *backend.Socket, event string, args backend.Args) {
		_ = s.Emit("saw", event, args.Len(), args.JSON(0))
	})
	scene.start(io)

	ann := scene.connect("ann", "/chat", "")
	ann.emit(`["whatever",{"a":1},2]`)
	ann.receives(1)
	// Output: ann receives ["saw","whatever",2,{"a":1}]
}

func ExampleNamespace_UsePacket() {
	scene := newScene()
	defer scene.end()
	io := scene.service(backend.OnError(func(e *backend.HandlerError) { fmt.Println("reported:", e.Err) }))
	chat := io.Of("/chat")
	chat.UsePacket(func(s *backend.Socket, p *backend.Packet) error {
		if p.Event == "admin" && s.User() != "root" {
			return errors.New("not for " + s.User())
		}
		return nil
	})
	chat.Use(func(s *backend.Socket) error { return s.SetUser("ann") })
	chat.On("admin", func() string { return "done" })
	chat.On("hello", func() string { return "hi" })
	scene.start(io)

	ann := scene.connect("ann", "/chat", "")
	ann.emit(`["admin"]`)
	fmt.Println(ann.emitWithAck(`["hello"]`))
	// Output:
	// reported: not for ann
	// ["hi"]
}

func ExampleNamespace_OnDisconnect() {
	scene := newScene()
	defer scene.end()
	io := scene.service()
	chat := io.Of("/chat")
	gone := make(chan struct{})
	chat.Use(func(s *backend.Socket) error { return s.Join(s.Context(), "news") })
	chat.OnDisconnect(func(s *backend.Socket, reason string) {
		rooms, _ := s.Rooms(s.Context())
		fmt.Println(reason, rooms)
		close(gone)
	})
	scene.start(io)

	scene.connect("ann", "/chat", "").disconnect()
	<-gone
	// Output: client namespace disconnect [news]
}

func ExampleTarget() {
	scene := newScene()
	defer scene.end()
	io := scene.service()
	chat := io.Of("/chat")
	chat.On("enter", func(ctx context.Context, s *backend.Socket, room string) error { return s.Join(ctx, room) })
	scene.start(io)

	ann, bob, cat := scene.connect("ann", "/chat", ""), scene.connect("bob", "/chat", ""), scene.connect("cat", "/chat", "")
	ann.emitWithAck(`["enter","news"]`)
	bob.emitWithAck(`["enter","news"]`)

	_ = chat.To("news", cat.id).Except(bob.id).Emit("headline", "It works") // a union of a room and a socket
	_ = chat.Socket(bob.id).Broadcast().Emit("typing")                      // everybody but bob
	_ = chat.Emit("bye")                                                    // everybody
	ann.receives(3)
	bob.receives(1)
	cat.receives(3)
	// Output:
	// ann receives ["headline","It works"]
	// ann receives ["typing"]
	// ann receives ["bye"]
	// bob receives ["bye"]
	// cat receives ["headline","It works"]
	// cat receives ["typing"]
	// cat receives ["bye"]
}

func ExampleTarget_Emit_binary() {
	scene := newScene()
	defer scene.end()
	io := scene.service()
	chat := io.Of("/chat")
	type file struct {
		Name string `json:"name"`
		Data []byte `json:"data"`
	}
	chat.On("upload", func(f file) (int, []byte) { return len(f.Data), f.Data[:2] })
	scene.start(io)

	ann := scene.connect("ann", "/chat", "")
	fmt.Println(ann.emitWithAck(`["upload",{"name":"a.bin","data":{"_placeholder":true,"num":0}}]`, "abcdef"))
	_ = chat.Emit("file", file{"b.bin", []byte("xyz")})
	ann.receives(1)
	// Output:
	// [6,{"_placeholder":true,"num":0}] + "ab"
	// ann receives ["file",{"name":"b.bin","data":{"_placeholder":true,"num":0}}] + "xyz"
}

func ExampleSocket_EmitWithAck() {
	scene := newScene()
	defer scene.end()
	io := scene.service()
	chat := io.Of("/chat")
	chat.On("start", func(ctx context.Context, s *backend.Socket) (string, error) {
		args, err := s.EmitWithAck(ctx, "your name?")
		if err != nil {
			return "", err // errors.Is(err, backend.NoAnswer) when the client says nothing
		}
		var name string
		err = args.Decode(&name)
		return "hello " + name, err
	})
	scene.start(io)

	ann := scene.connect("ann", "/chat", "")
	ann.answers(`["Ann"]`)
	fmt.Println(ann.emitWithAck(`["start"]`))
	// Output: ["hello Ann"]
}

func ExampleTarget_EmitWithAck() {
	scene := newScene()
	defer scene.end()
	io := scene.service()
	chat := io.Of("/chat")
	chat.Use(func(s *backend.Socket) error { return s.Join(s.Context(), "room") })
	scene.start(io)

	scene.connect("ann", "/chat", "").answers(`[true]`)
	bob := scene.connect("bob", "/chat", "") // it does not answer

	r, err := chat.To("room").Timeout(100*time.Millisecond).EmitWithAck(context.Background(), "ready?")
	fmt.Println(len(r.Answers), "of", r.Expected, errors.Is(err, backend.NoAnswer))
	for _, a := range r.Answers {
		var yes bool
		_ = a.Args.Decode(&yes)
		fmt.Println("answer:", yes)
	}
	for _, m := range r.Missing {
		fmt.Println("bob is missing:", m.Socket == bob.id)
	}
	// Output:
	// 1 of 2 true
	// answer: true
	// bob is missing: true
}

func ExampleTarget_Fetch() {
	scene := newScene()
	defer scene.end()
	io := scene.service()
	chat := io.Of("/chat")
	chat.Use(func(s *backend.Socket) error {
		var auth struct{ Name string }
		_ = s.Handshake().DecodeAuth(&auth)
		return errors.Join(s.SetUser(auth.Name), s.Join(s.Context(), "room"))
	})
	scene.start(io)
	scene.connect("ann", "/chat", `{"name":"ann"}`)
	scene.connect("bob", "/chat", `{"name":"bob"}`)

	ctx := context.Background()
	moved, err := chat.In("room").Join(ctx, "archive")
	fmt.Println(moved, err)
	_, _ = chat.In("room").SetData(ctx, map[string]int{"level": 7})
	sockets, _ := chat.In("archive").Fetch(ctx)
	slices.SortFunc(sockets, func(a, b backend.Snapshot) int { return len(a.User) - len(b.User) })
	for _, s := range sockets {
		fmt.Println(len(s.ID), s.Rooms, string(s.Data))
	}
	rooms, _ := chat.Rooms(ctx)
	fmt.Println(rooms)
	n, _ := chat.In("room").Disconnect(ctx, true)
	fmt.Println(n, "disconnected")
	// Output:
	// 2 <nil>
	// 29 [room archive] {"level":7}
	// 29 [room archive] {"level":7}
	// map[archive:2 room:2]
	// 2 disconnected
}

// A guest may look on, until a moderator lets all guests speak.
func ExampleSocket_SetGrant() {
	scene := newScene()
	defer scene.end()
	io := scene.service()
	chat := io.Of("/chat")
	chat.Use(func(s *backend.Socket) error {
		guest := backend.Grant{User: "guest", Rooms: []string{"guests"}, Emit: []string{}, Expires: time.Now().Add(time.Hour)}
		return s.SetGrant(s.Context(), guest)
	})
	chat.On("message", func(s *backend.Socket, text string) string { return text })
	scene.start(io)

	ann := scene.connect("ann", "/chat", "")
	fmt.Println(ann.emitWithAck(`["message","hello"]`))
	sockets, err := chat.To("guests").SetGrant(context.Background(), backend.Grant{Emit: []string{"mess*"}})
	fmt.Println(sockets, err)
	fmt.Println(ann.emitWithAck(`["message","hello"]`))
	// Output:
	// [{"error":"not allowed: message"}]
	// 1 <nil>
	// ["hello"]
}

func ExampleNamespace_ServerSideEmitWithAck() {
	scene := newScene()
	defer scene.end()
	first, second := scene.service(), scene.service()
	for _, io := range []*backend.Service{first, second} {
		io.Of("/chat").OnServerSide("load", func(unit string) (string, error) { return "7" + unit, nil })
		scene.start(io)
	}
	r, err := second.Of("/chat").ServerSideEmitWithAck(context.Background(), "load", "%")
	for _, a := range r.Answers {
		var load string
		_ = a.Args.Decode(&load)
		fmt.Println(a.Instance == first.Instance(), load, err)
	}
	// Output: true 7% <nil>
}

func ExampleService_Of_pattern() {
	scene := newScene()
	defer scene.end()
	io := scene.service()
	tenants := io.Of("/tenant-*")
	tenants.On("hello", func(s *backend.Socket) error { return s.Namespace().Emit("hello", s.Namespace().Name()) })
	scene.start(io)

	ann := scene.connect("ann", "/tenant-7", "")
	ann.emit(`["hello"]`)
	ann.receives(1)
	// Output: ann receives ["hello","/tenant-7"]
}

// An instance that leaves hands its sockets over. The clients notice nothing.
func ExampleService_Close() {
	scene := newScene()
	defer scene.end()
	start := func(version string) *backend.Service {
		io := scene.service()
		chat := io.Of("/chat", backend.Owned())
		chat.OnConnection(func(s *backend.Socket) {
			var kept struct{ Said int }
			if _, yes := s.TakenOver(); yes { // it continues where another instance stopped
				_ = s.Data(s.Context(), &kept)
			}
			s.On("say", func() string {
				kept.Said++
				return fmt.Sprint(version, " heard ", kept.Said)
			})
			s.OnHandover(func(reason string) {
				_ = s.SetData(s.Context(), kept)
			})
		})
		scene.start(io)
		return io
	}
	blue := start("blue")
	ann := scene.connect("ann", "/chat", "")
	fmt.Println(ann.emitWithAck(`["say"]`))
	start("green")
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := blue.Close(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println(ann.emitWithAck(`["say"]`))
	// Output:
	// ["blue heard 1"]
	// ["green heard 2"]
}
