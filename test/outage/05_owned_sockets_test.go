package outage

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/internal/edgetest"
	"partyline/wire/msg"
)

// If services do not receive an edge's beats, they end its sockets. When the edge is back, it must find owners for
// them again. What the former owner still receives of them is dropped.
func TestOwnedSocketsAfterACut(t *testing.T) {
	t.Parallel()
	t.Run("the owner still wants them", func(t *testing.T) { t.Parallel(); ownedAfterACut(t, true) })
	t.Run("the owner does not answer", func(t *testing.T) { t.Parallel(); ownedAfterACut(t, false) })
}

func ownedAfterACut(t *testing.T, answers bool) {
	t.Helper()
	s := begin(t)
	heard := make(chan string, 100)
	tell := func(m *nats.Msg) { heard <- m.Subject + " " + string(m.Data) }
	admit := func(owner string) nats.MsgHandler {
		return func(m *nats.Msg) {
			tell(m)
			if m.Reply != "" && strings.HasSuffix(m.Subject, ".connect") {
				admits(m, owner)
			}
		}
	}
	gone := make(chan string, 10)
	asked := 0
	handlers := map[string]nats.MsgHandler{
		"sio.door.own.shop-1.n":          tell,
		"sio.door.own.shop-1.disconnect": tell,
		"sio.door.own.shop-1.connect": func(m *nats.Msg) {
			if asked++; asked == 1 || answers {
				admit("shop-1")(m)
			} else {
				tell(m)
			}
		},
		"sio.door.own.shop-2.>": admit("shop-2"),
		"sio.$edge.*.gone":      func(m *nats.Msg) { gone <- m.Subject },
	}
	arrived := make(chan *nats.Msg, 1000) // one channel for all, so that they are handled in order of arrival
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
	defer s.beat("shop-1")()
	a := s.Enter("a", "/door")
	defer s.beat("shop-2")()
	next := func(subject, has string) {
		t.Helper()
		select {
		case got := <-heard:
			if !strings.HasPrefix(got, subject+" ") || !strings.Contains(got, has) {
				t.Fatalf("received %s, want %s with %s", got, subject, has)
			}
		case <-time.After(edgetest.Patience):
			t.Fatalf("nothing on %s", subject)
		}
	}
	next("sio.door.own.shop-1.connect", a.ID)
	a.Emit("", `["n",1]`)
	next("sio.door.own.shop-1.n", `["n",1]`)

	edgetest.Eventually(s.t, "the other edge knows this one", func() bool { return len(s.pair.Node.Cluster.Edges()) == 2 })
	known := time.Now() // an edge that is known for less than a beat is forgotten without a word
	edgetest.Eventually(s.t, "the other edge knows it for more than a beat", func() bool { return time.Since(known) > 2*msg.BeatEvery })
	s.cut()
	if got, want := edgetest.Await(t, gone), "sio.$edge."+strings.Split(a.ID, ".")[0]+".gone"; got != want {
		t.Fatalf("%s, want %s", got, want)
	}
	s.proxy.Mend()
	next("sio.door.own.shop-1.connect", `"handover":{"from":"shop-1"`)
	a.Emit("", `["n",2]`)
	if answers {
		next("sio.door.own.shop-1.n", `["n",2]`)
		return
	}
	next("sio.door.own.shop-2.connect", `"handover":{"from":"shop-1"`) // shop-1 was silent
	for told, sent := false, false; !told || !sent; {
		switch got := edgetest.Await(t, heard); {
		case strings.HasPrefix(got, "sio.door.own.shop-1.disconnect "):
			told = true
		case got == `sio.door.own.shop-2.n ["n",2]`:
			sent = true
		default:
			t.Fatalf("received %s", got)
		}
	}
}

// What a client sends while NATS is away is dropped, even if its socket was waiting for an owner when NATS went away.
// Otherwise it would be handled minutes later, or too much of it would close the session.
func TestNothingIsHeldInAnOutage(t *testing.T) {
	t.Parallel()
	s := begin(t)
	heard, asked := make(chan string, 100), make(chan *nats.Msg, 100)
	for subject, handler := range map[string]nats.MsgHandler{
		"sio.door.own.shop-1.connect": func(m *nats.Msg) { admits(m, "shop-1") },
		"sio.door.own.shop-2.connect": func(m *nats.Msg) { asked <- m },
		"sio.door.own.shop-2.n":       func(m *nats.Msg) { heard <- string(m.Data) },
	} {
		s.Handle(subject, handler)
	}
	stop := s.beat("shop-1")
	a := s.Enter("a", "/door")
	stop()
	defer s.beat("shop-2")()
	s.Publish("sio.$svc.shop.shop-1.left", `[]`)
	edgetest.Await(t, asked) // without an answer yet
	a.Emit("", `["n",1]`)
	edgetest.Eventually(s.t, "the first is held", func() bool { return s.Node.Figure("events_held_total", "") == 1 })
	s.cut()
	failed := s.Node.Figure("events_failed_total", "")
	a.Emit("", `["n",2]`)
	edgetest.Eventually(s.t, "the second event is dropped", func() bool { return s.Node.Figure("events_failed_total", "") == failed+1 })
	for len(asked) > 0 {
		<-asked
	}
	s.proxy.Mend()
	for got := ""; got == ""; { // if it was asked again meanwhile, only the latest request counts
		select {
		case m := <-asked:
			admits(m, "shop-2")
		case got = <-heard:
			if got != `["n",1]` {
				t.Errorf("shop-2 got %s", got)
			}
		case <-time.After(edgetest.Patience):
			t.Fatal("nothing came")
		}
	}
	a.Emit("", `["n",3]`)
	if got := edgetest.Await(t, heard); got != `["n",3]` {
		t.Errorf("shop-2 got %s", got)
	}
}

// admits answers a connect request for an instance.
func admits(m *nats.Msg, instance string) {
	header := nats.Header{"Sio-From": {instance}, "Sio-Assignment": {m.Header.Get("Sio-Assignment")}}
	_ = m.RespondMsg(&nats.Msg{Header: header, Data: []byte("[]")})
}

// beat announces, until it is stopped, that instances live. When it returns, both edges have heard the first
// announcements: they have answered a request that came behind them.
func (s *stage) beat(instances ...string) (stop func()) {
	s.t.Helper()
	announce := func() {
		for _, name := range instances {
			body := `[{"instance":"` + name + `","group":"shop","owns":true,"namespaces":["/door"],"at":1,"every":1000}]`
			_ = s.NC.Publish("sio.$svc.shop."+name+".beat", []byte(body))
		}
	}
	announce()
	answers := s.Hear(s.NC.NewInbox())
	s.PublishReply("sio.door.leave.all", answers.Subject, `["none"]`)
	for range 2 {
		answers.Next()
	}
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(500 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-quit:
				return
			case <-ticker.C:
				announce()
			}
		}
	}()
	return func() { close(quit); <-done }
}
