package outage

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/internal/edgetest"
)

// Services take the sockets of an edge that they cannot hear for disconnected. When it comes back it must find owners for
// them again: what the former owner still gets of them comes to nothing.
func TestOwnedSocketsAfterACut(t *testing.T) {
	t.Parallel()
	t.Run("the owner claims them anew", func(t *testing.T) { t.Parallel(); ownedAfterACut(t, true) })
	t.Run("the owner does not answer", func(t *testing.T) { t.Parallel(); ownedAfterACut(t, false) })
}

func ownedAfterACut(t *testing.T, answers bool) {
	t.Helper()
	s := begin(t)
	heard := make(chan string, 100)
	tell := func(m *nats.Msg) { heard <- m.Subject + " " + string(m.Data) }
	claim := func(owner string) nats.MsgHandler {
		return func(m *nats.Msg) {
			tell(m)
			_ = m.RespondMsg(&nats.Msg{Header: nats.Header{"Sio-Group": {"shop"}, "Sio-Owner": {owner}}, Data: []byte("[]")})
		}
	}
	gone := make(chan string, 10)
	handlers := map[string]nats.MsgHandler{
		"sio.door.on.connect":            claim("shop-1"),
		"sio.door.own.shop.connect":      claim("shop-2"),
		"sio.door.own.shop-1.n":          tell,
		"sio.door.own.shop-1.disconnect": tell,
		"sio.door.own.shop-1.connect": func(m *nats.Msg) {
			if answers {
				claim("shop-1")(m)
			} else {
				tell(m)
			}
		},
		"sio.door.own.shop-2.>": tell,
		"sio.$edge.*.gone":      func(m *nats.Msg) { gone <- m.Subject },
	}
	arrived := make(chan *nats.Msg, 1000) // one for all, so that they are handled in the order in which they come
	for subject := range handlers {
		if _, err := s.NC.ChanSubscribe(subject, arrived); err != nil {
			t.Fatal(err)
		}
	}
	var handling sync.WaitGroup
	t.Cleanup(handling.Wait)
	handling.Go(func() {
		for {
			select {
			case m := <-arrived:
				handlers[m.Sub.Subject](m)
			case <-t.Context().Done():
				return
			}
		}
	})
	stop := s.beat("shop-1", "shop-2")
	defer stop()
	s.Flush()
	a := s.Enter("a", "/door")
	next := func(subject, has string) {
		t.Helper()
		select {
		case got := <-heard:
			if !strings.HasPrefix(got, subject+" ") || !strings.Contains(got, has) {
				t.Fatalf("heard %s, want %s with %s", got, subject, has)
			}
		case <-time.After(edgetest.Patience):
			t.Fatalf("nothing on %s", subject)
		}
	}
	next("sio.door.on.connect", a.ID)
	a.Emit("", `["n",1]`)
	next("sio.door.own.shop-1.n", `["n",1]`)

	edgetest.Eventually(s.t, "the other edge knows this one", func() bool { return len(s.pair.Node.Cluster.Edges()) == 2 })
	s.cut()
	if got, want := <-gone, "sio.$edge."+strings.Split(a.ID, ".")[0]+".gone"; got != want {
		t.Fatalf("%s, want %s", got, want)
	}
	s.proxy.Mend()
	next("sio.door.own.shop-1.connect", `"takeover":{"from":"shop-1"`)
	a.Emit("", `["n",2]`)
	if answers {
		next("sio.door.own.shop-1.n", `["n",2]`)
		return
	}
	for got := ""; !strings.HasPrefix(got, "sio.door.own.shop-1.disconnect "); { // it is asked some times more
		select {
		case got = <-heard:
		case <-time.After(edgetest.Patience):
			t.Fatal("the owner is not told that it is the owner no more")
		}
	}
	next("sio.door.own.shop.connect", `"takeover":{"from":"shop-1"`)
	next("sio.door.own.shop-2.n", `["n",2]`)
}

// What a client says while NATS is away comes to nothing, also if its socket was looking for an owner when NATS went: else it
// would be handled minutes later, or too much of it would close the session.
func TestNothingIsHeldInAnOutage(t *testing.T) {
	t.Parallel()
	s := begin(t)
	heard, asked := make(chan string, 100), make(chan *nats.Msg, 100)
	for subject, handler := range map[string]nats.MsgHandler{
		"sio.door.on.connect": func(m *nats.Msg) {
			_ = m.RespondMsg(&nats.Msg{Header: nats.Header{"Sio-Group": {"shop"}, "Sio-Owner": {"shop-1"}}, Data: []byte("[]")})
		},
		"sio.door.own.shop.connect": func(m *nats.Msg) { asked <- m },
		"sio.door.own.shop-2.n":     func(m *nats.Msg) { heard <- string(m.Data) },
	} {
		s.Handle(subject, handler)
	}
	defer s.beat("shop-1", "shop-2")()
	s.Flush()
	a := s.Enter("a", "/door")
	s.Publish("sio.$svc.shop.shop-1.left", `[]`)
	edgetest.Await(t, asked) // nobody answers yet
	a.Emit("", `["n",1]`)
	edgetest.Eventually(s.t, "the first is held", func() bool { return s.Node.Figure("events_held_total", "") == 1 })
	s.cut()
	failed := s.Node.Figure("events_failed_total", "")
	a.Emit("", `["n",2]`)
	edgetest.Eventually(s.t, "the second comes to nothing", func() bool { return s.Node.Figure("events_failed_total", "") == failed+1 })
	for len(asked) > 0 {
		<-asked
	}
	s.proxy.Mend()
	if err := edgetest.Await(t, asked).RespondMsg(&nats.Msg{Header: nats.Header{"Sio-Group": {"shop"}, "Sio-Owner": {"shop-2"}}, Data: []byte("[]")}); err != nil {
		t.Fatal(err)
	}
	if got := edgetest.Await(t, heard); got != `["n",1]` {
		t.Errorf("shop-2 got %s", got)
	}
	a.Emit("", `["n",3]`)
	if got := edgetest.Await(t, heard); got != `["n",3]` {
		t.Errorf("shop-2 got %s", got)
	}
}

// beat says, until it is stopped, that instances live.
func (s *stage) beat(instances ...string) (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(500 * time.Millisecond)
		defer ticker.Stop()
		for {
			for _, name := range instances {
				body := `[{"instance":"` + name + `","group":"shop","namespaces":["/door"],"at":1,"every":1000}]`
				_ = s.NC.Publish("sio.$svc.shop."+name+".beat", []byte(body))
			}
			select {
			case <-quit:
				return
			case <-ticker.C:
			}
		}
	}()
	return func() { close(quit); <-done }
}
