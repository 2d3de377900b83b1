package backend_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"partyline/backend"
)

func TestMiddlewareAdmitsAndRefuses(t *testing.T) {
	t.Parallel()
	s := begin(t)
	reports := make(chan *backend.HandlerError, 10)
	io := s.service("chat", backend.OnError(func(e *backend.HandlerError) { reports <- e }))
	chat := io.Of("/chat")
	order := make(chan string, 10)
	chat.Use(func(so *backend.Socket) error {
		order <- "first"
		var auth struct{ Token string }
		if err := so.Handshake().DecodeAuth(&auth); err != nil {
			return err
		}
		switch auth.Token {
		case "good":
			return so.SetUser("ann")
		case "broken":
			return errors.New("the password of the database is 1234")
		case "panic":
			panic("oh")
		}
		return &backend.Refusal{Message: "wrong\ntoken", Data: map[string]int{"code": 401}}
	})
	chat.Use(func(so *backend.Socket) error {
		order <- "second"
		if err := so.SetData(so.Context(), map[string]any{"plan": "pro"}); err != nil {
			return err
		}
		if err := so.Emit("early"); !errors.Is(err, backend.BadArguments) {
			t.Errorf("an emit before the admission: %v", err)
		}
		_ = so.Join(so.Context(), "news", "sport")
		return so.Leave(so.Context(), "sport")
	})
	chat.OnConnection(func(so *backend.Socket) {
		order <- "connection"
		if err := so.Emit("welcome", so.User()); err != nil {
			t.Error(err)
		}
	})
	s.start(io)
	ann := enter(s.Node, "ann", "/chat", `{"token":"good"}`)
	ann.gets(`["welcome","ann"]`)
	for _, want := range []string{"first", "second", "connection"} {
		if got := <-order; got != want {
			t.Fatalf("%s ran where %s should", got, want)
		}
	}
	_ = chat.To("sport").Emit("nobody")
	_ = chat.To("news").Emit("headline")
	ann.gets(`["headline"]`)
	snapshot, err := chat.Socket(ann.id).Fetch(context.Background())
	if err != nil || snapshot.User != "ann" || string(snapshot.Data) != `{"plan":"pro"}` || !slices.Equal(snapshot.Rooms, []string{"news"}) {
		t.Errorf("the edge has %+v, %v", snapshot, err)
	}
	refused := func(token, want string) {
		t.Helper()
		c := s.Dial("bob")
		c.Send(`40/chat,{"token":"` + token + `"}`)
		c.Expect("44/chat," + want)
	}
	refused("bad", `{"message":"wrong\ntoken","data":{"code":401}}`)
	refused("broken", `{"message":"not admitted"}`)
	if e := <-reports; !strings.Contains(e.Error(), "1234") {
		t.Errorf("reported %v", e)
	}
	refused("panic", `{"message":"not admitted"}`)
	<-reports
}

func TestSocketsOfAnOpenNamespace(t *testing.T) {
	t.Parallel()
	s := begin(t)
	io := s.service("chat")
	open := io.Of("/open")
	open.Use(func(so *backend.Socket) error {
		if so.Handshake().Query["bad"] != "" || strings.Contains(string(so.Handshake().Auth), "bad") {
			return backend.Refuse("no")
		}
		return so.Join(so.Context(), "hall")
	})
	open.OnConnection(func(so *backend.Socket) {
		rooms, err := so.Rooms(so.Context())
		_ = so.Emit("you are in", rooms, fmt.Sprint(err))
	})
	s.start(io)
	ann := s.enter("ann", "/open")
	ann.gets(`["you are in",["hall"],"<nil>"]`)
	bob := enter(s.Node, "bob", "/open", `{"is":"bad"}`)
	bob.Expect("41/open,")
}

func TestPatternsKeepSilentAboutOthers(t *testing.T) {
	t.Parallel()
	s := begin(t)
	tenants, shop := s.service("tenants"), s.service("shop")
	gone := make(chan string, 1)
	all := tenants.Of("/tenant-*")
	all.On("where", func(so *backend.Socket) string { return so.Namespace().Name() })
	all.OnDisconnect(func(so *backend.Socket, reason string) { gone <- so.Namespace().Name() + ": " + reason })
	tenants.Of("/tenant-special").On("where", func() string { return "special" })
	shop.Of("/shop").On("where", func() string { return "shop" })
	s.start(tenants)
	s.start(shop)
	for namespace, want := range map[string]string{"/tenant-7": "/tenant-7", "/tenant-special": "special", "/shop": "shop"} {
		c := s.enter(namespace, namespace)
		c.emit("1", `["where"]`)
		c.acked("1", fmt.Sprintf("[%q]", want))
		if namespace == "/tenant-7" {
			c.Send("41/tenant-7,")
			if got := <-gone; got != "/tenant-7: client namespace disconnect" {
				t.Errorf("received %q", got)
			}
		}
	}
	if err := all.Emit("x"); !errors.Is(err, backend.BadArguments) {
		t.Errorf("an emit to a pattern: %v", err)
	}
}

func TestAnotherServiceAdmits(t *testing.T) {
	t.Parallel()
	s := begin(t)
	door, counter := s.service("door"), s.service("counter")
	door.Of("/chat").Use(func(so *backend.Socket) error { return so.SetUser("ann") })
	counter.Of("/chat", backend.EventsOnly()).On("count", func(so *backend.Socket) string { return so.User() })
	s.start(door)
	s.start(counter)
	ann := s.enter("ann", "/chat")
	ann.emit("1", `["count"]`)
	ann.acked("1", `["ann"]`)
}

// A client that disconnects while a pattern's service decides has an end, too: every OnConnection is followed by an
// OnDisconnect.
func TestAPatternsClientGoesWhileItIsAdmitted(t *testing.T) {
	t.Parallel()
	s := begin(t)
	io := s.service("tenants")
	asked, decided := make(chan string), make(chan struct{})
	told := make(chan string, 2)
	tenants := io.Of("/tenant-*")
	tenants.Use(func(so *backend.Socket) error { asked <- so.ID(); <-decided; return nil })
	tenants.OnConnection(func(so *backend.Socket) { told <- "connected " + so.ID() })
	tenants.OnDisconnect(func(so *backend.Socket, reason string) { told <- reason + " " + so.ID() })
	s.start(io)
	nc := s.connection()
	ends, err := nc.SubscribeSync("sio.*.on.disconnect")
	if err != nil || nc.Flush() != nil {
		t.Fatal(err)
	}
	c := s.Dial("ann")
	c.Send("40/tenant-7,")
	id := <-asked
	c.Hangup()
	if _, err := ends.NextMsg(patience); err != nil {
		t.Fatal(err)
	}
	close(decided)
	for _, want := range []string{"connected " + id, "transport close " + id} {
		if got := <-told; got != want {
			t.Errorf("received %q, want %q", got, want)
		}
	}
}

// A refusal that closes lets the client come back by itself, in a namespace that is open at the edge, too.
func TestARefusalThatCloses(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"/chat", "/open"} {
		s := begin(t)
		io := s.service("shop")
		io.Of(name).Use(func(*backend.Socket) error { return &backend.Refusal{Message: "busy", Close: true} })
		s.start(io)
		c := s.Dial("ann")
		c.Send("40" + name + ",")
		for { // CONNECT in the open one
			text, ok := c.Await()
			if !ok {
				break
			}
			if text != "1" && (name != "/open" || !strings.HasPrefix(text, "40/open,")) {
				t.Errorf("%s: %q came", name, text)
			}
		}
	}
}
