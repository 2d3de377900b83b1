package backend_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"partyline/backend"
	"partyline/internal/edgetest"
	"partyline/rule"
	"partyline/token"
)

// beginAdmitting is a stage whose edge itself admits clients to /chat, and what these show there.
func beginAdmitting(t *testing.T, connect string) (s *stage, auth string) {
	t.Helper()
	chat := rule.Namespace{Connect: connect, AutoJoin: []string{"hall"}, Rooms: []string{"*"}}
	key := edgetest.HMACKey(t)
	i := token.Default()
	if connect == rule.ConnectToken {
		chat.Tokens = []string{"main"}
		i.Name, i.Issuer, i.Audience = "main", edgetest.TokenIssuer, edgetest.TokenAudience
		i.HMACSecretFile, i.Algorithms = key.SecretFile(), []string{key.Alg}
		grant := edgetest.Claims{"rooms": []string{"team"}, "data": edgetest.Claims{"n": 1}}
		auth = `{"token":"` + key.Sign(edgetest.Subject("ann", time.Hour, edgetest.Claims{"partyline": grant}), nil) + `"}`
	}
	return begin(t, func(o *edgetest.Options) {
		o.Namespaces = map[string]rule.Namespace{"/chat": chat}
		if connect == rule.ConnectToken {
			o.Tokens = []token.Issuer{i}
		}
	}), auth
}

// everyAdmission plays a test where everyone is admitted, and where tokens admit.
func everyAdmission(t *testing.T, play func(t *testing.T, s *stage, auth string)) {
	for _, connect := range []string{rule.ConnectOpen, rule.ConnectToken} {
		t.Run(connect, func(t *testing.T) {
			t.Parallel()
			s, auth := beginAdmitting(t, connect)
			play(t, s, auth)
		})
	}
}

// The owner begins with what the edge has of the socket. What its middleware changes counts, and no more.
func TestTheOwnerOfASocketThatTheEdgeAdmitted(t *testing.T) {
	t.Parallel()
	everyAdmission(t, func(t *testing.T, s *stage, auth string) {
		io := s.service("chat")
		chat := io.Of("/chat", backend.Owned())
		known := func(so *backend.Socket) string {
			rooms, _ := so.Rooms(t.Context())
			var data json.RawMessage
			_ = so.Data(t.Context(), &data)
			slices.Sort(rooms)
			return fmt.Sprint(so.User(), rooms, string(data))
		}
		heard := make(chan string, 10)
		chat.Use(func(so *backend.Socket) error {
			heard <- "asked " + known(so)
			return errors.Join(so.Join(so.Context(), "vip"), so.SetGrant(so.Context(), backend.Grant{User: "bob", Emit: []string{"say"}}))
		})
		chat.OnConnection(func(so *backend.Socket) {
			_, isTaken := so.TakenOver()
			heard <- fmt.Sprint("connected ", isTaken, " ", known(so))
			so.On("say", func() string { return known(so) })
		})
		chat.OnDisconnect(func(so *backend.Socket, reason string) { heard <- reason })
		s.start(io)
		ann := enter(s.Node, "ann", "/chat", auth)
		want := []string{`asked [hall]{}`, `connected false bob[hall vip]{}`, `["bob[hall vip]{}"]`}
		if auth != "" {
			want = []string{`asked ann[hall team]{"n":1}`, `connected false bob[hall team vip]{"n":1}`, `["bob[hall team vip]{\"n\":1}"]`}
		}
		for _, want := range want[:2] {
			if got := <-heard; got != want {
				t.Errorf("%q, want %q", got, want)
			}
		}
		ann.emit("1", `["say"]`)
		ann.acked("1", want[2])
		ann.emit("2", `["other"]`)
		ann.acked("2", refused("other"))
		got, err := chat.Socket(ann.id).Fetch(t.Context())
		if slices.Sort(got.Rooms); err != nil || got.User != "bob" || !strings.Contains(want[2], strings.Join(got.Rooms, " ")) {
			t.Errorf("the edge has %+v, %v", got, err)
		}
		ann.Send("41/chat,")
		if got := <-heard; got != "client namespace disconnect" {
			t.Errorf("the end is %q", got)
		}
	})
}

// A client that the middleware refuses is connected already, and is disconnected.
func TestTheOwnerRefusesASocketThatTheEdgeAdmitted(t *testing.T) {
	t.Parallel()
	everyAdmission(t, func(t *testing.T, s *stage, auth string) {
		io := s.service("chat")
		chat := io.Of("/chat", backend.Owned())
		chat.Use(func(so *backend.Socket) error {
			return &backend.Refusal{Message: "no", Close: so.Handshake().Query["close"] != ""}
		})
		chat.OnConnection(func(*backend.Socket) { t.Error("it is connected") })
		s.start(io)
		ann := enter(s.Node, "ann", "/chat", auth)
		ann.Expect("41/chat,")
		eventually(t, "nothing is owned", func() bool { return io.Stats().Owned == 0 })
	})
}

// numbered are instances whose handlers note the numbers that sockets send.
type numbered struct {
	*stage
	mu  sync.Mutex
	got map[string][]int // guarded by mu; by socket
	by  map[string]int   // guarded by mu: how many sockets an instance has connected, or taken over
}

func (d *numbered) instance() (io *backend.Service, kill func()) {
	d.t.Helper()
	nc := d.connection()
	io = serviceOn(d.t, nc, d.Talk, "chat")
	chat := io.Of("/chat", backend.Owned())
	note := func(change func()) { d.mu.Lock(); defer d.mu.Unlock(); change() }
	chat.OnConnection(func(so *backend.Socket) {
		name := io.Instance()
		note(func() { d.by[name]++ })
		so.On("n", func(n int) int {
			note(func() { d.got[so.ID()] = append(d.got[so.ID()], n) })
			return n
		})
	})
	if err := io.Start(edgetest.Patient(d.t)); err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { _ = io.Close(context.Background()) }) // again, of one that has left, or was killed
	return io, nc.Close
}

func (d *numbered) owned(name string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.by[name] > 0
}

// A thousand events of each socket come once and in order, although an instance is killed meanwhile and another one
// leaves. What is lost is what was on its way to the killed one.
func TestAThousandEventsOfSocketsThatTheEdgeAdmitted(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	t.Parallel()
	everyAdmission(t, func(t *testing.T, s *stage, auth string) {
		const events, sockets = 1000, 6
		d := &numbered{stage: s, got: map[string][]int{}, by: map[string]int{}}
		doomed, kill := d.instance()
		leaver, _ := d.instance()
		clients := make([]*client, sockets)
		sent, acked := make([]atomic.Int64, sockets), make([]atomic.Int64, sockets) // how many
		var work sync.WaitGroup
		goOn := make(chan struct{})
		for i := range clients {
			clients[i] = enter(s.Node, fmt.Sprint("client", i), "/chat", auth)
			work.Go(func() { // at once: before its socket has an owner
				pace := time.NewTicker(2 * time.Millisecond)
				defer pace.Stop()
				for n := range events {
					if n == events-100 {
						<-goOn
					}
					clients[i].emit("9", fmt.Sprintf(`["n",%d]`, n))
					sent[i].Store(int64(n + 1))
					<-pace.C
				}
			})
			work.Go(func() {
				for n := -1; n < events-1; {
					text, ok := clients[i].Await()
					var next int
					if _, err := fmt.Sscanf(text, "43/chat,9[%d]", &next); !ok || err != nil || next <= n {
						t.Errorf("%q came behind the ack of %d", text, n)
						return
					}
					n = next
					acked[i].Store(int64(n + 1))
				}
			})
		}
		eventually(t, "both own sockets, and have handled events", func() bool {
			for i := range clients {
				if acked[i].Load() < 100 {
					return false
				}
			}
			return d.owned(doomed.Instance()) && d.owned(leaver.Instance())
		})
		third, _ := d.instance()
		before := make([]int, sockets)
		for i := range clients {
			before[i] = int(acked[i].Load())
		}
		kill()
		eventually(t, "another instance has the sockets of the killed one", func() bool { return leaver.Stats().Owned+third.Stats().Owned == sockets })
		after := make([]int, sockets)
		for i := range clients {
			after[i] = int(sent[i].Load())
		}
		if err := leaver.Close(edgetest.Patient(t)); err != nil {
			t.Error(err)
		}
		eventually(t, "the third instance has all sockets", func() bool { return third.Stats().Owned == sockets })
		close(goOn)
		work.Wait()
		d.mu.Lock()
		defer d.mu.Unlock()
		for i, c := range clients {
			got, next := d.got[c.id], 0
			for _, n := range got {
				if n < next || n > next && (next < before[i] || n > after[i]) {
					t.Errorf("client %d: %d came, want %d (killed between %d and %d)", i, n, next, before[i], after[i])
				}
				next = n + 1
			}
			if t.Logf("client %d: %d of %d events came", i, len(got), events); next != events {
				t.Errorf("client %d: its last event is %d", i, next-1)
			}
		}
	})
}
