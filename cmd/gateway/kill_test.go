package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
	"partyline/rule"
)

// received are the numbers that an endpoint got of each socket, in order.
type received struct {
	mu       sync.Mutex
	of       map[string][]int           // guarded by mu
	connects map[string]map[string]bool // guarded by mu: the ids of the connects of each socket
	users    map[string]bool            // guarded by mu: of all events
	total    atomic.Int64
}

func (r *received) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	var event struct {
		ID, Type, Socket, User string
		Data                   struct{ Event []any }
	}
	if json.NewDecoder(request.Body).Decode(&event) != nil {
		return // its gateway was killed
	}
	w.Header().Set("Content-Type", "application/json")
	if event.Type == "partyline.connect" {
		r.mu.Lock()
		if r.connects[event.Socket] == nil {
			r.connects[event.Socket] = map[string]bool{}
		}
		r.connects[event.Socket][event.ID] = true
		r.mu.Unlock()
	}
	if event.Type != "partyline.event" {
		_, _ = io.WriteString(w, "{}")
		return
	}
	n := int(event.Data.Event[1].(float64))
	r.mu.Lock()
	r.of[event.Socket] = append(r.of[event.Socket], n)
	r.users[event.User] = true
	r.mu.Unlock()
	r.total.Add(1)
	fmt.Fprintf(w, `{"ack":[%d]}`, n)
}

func newReceived() *received {
	return &received{of: map[string][]int{}, connects: map[string]map[string]bool{}, users: map[string]bool{}}
}

// takeAck reads the next ack of a client.
func takeAck(t *testing.T, so *edgetest.Socket, acked map[int]bool) {
	var id int
	if _, err := fmt.Sscanf(so.Next(), "43/chat,%d", &id); err != nil {
		return // a ping
	}
	if acked[id] {
		t.Errorf("two acks of %d", id)
	}
	acked[id] = true
}

// Two gateways, 1,000 numbered events a socket, one gateway killed: the endpoint gets them in order, none twice, and
// all that were answered.
func TestKilledGateway(t *testing.T) {
	if testing.Short() {
		t.Skip("LEFT OUT: a gateway is killed (-short)")
	}
	const sockets, events, window = 6, 1000, 8
	server := natsdtest.Start(t)
	edge := edgetest.Start(t, edgetest.Options{NATS: server.ClientURL(), Namespaces: map[string]rule.Namespace{
		"/chat": {Connect: rule.ConnectService, ConnectTimeout: 20 * time.Second},
	}}).Ready()
	got := newReceived()
	app := httptest.NewServer(got)
	defer app.Close()
	secrets := filepath.Join(t.TempDir(), "secrets")
	if err := os.WriteFile(secrets, []byte("whsec_"+strings.Repeat("QUJD", 11)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf("nats: {url: %q}\nadmin: {listen: \"127.0.0.1:0\"}\ngateway: {listen: \"\"}\n"+
		"hooks: [{namespaces: [/chat], events: [connect, n], url: %q, secrets_file: %q}]\n", server.ClientURL(), app.URL, secrets)
	one, two := run(t, config), run(t, config)
	edgetest.Eventually(t, "both gateways are ready", func() bool { return one.status("/readyz") == 200 && two.status("/readyz") == 200 })

	acked := make([]map[int]bool, sockets)
	ids := make([]string, sockets)
	var running sync.WaitGroup
	var killed atomic.Bool
	for i := range sockets {
		so := edge.Enter("client "+strconv.Itoa(i), "/chat")
		ids[i], acked[i] = so.ID, map[int]bool{}
		running.Go(func() {
			for n := 1; n <= events; n++ {
				so.Emit(strconv.Itoa(n), fmt.Sprintf(`["n",%d]`, n))
				// What the killed gateway had is lost, and its acks never come.
				edgetest.Eventually(t, "acks come", func() bool {
					for so.Pending() > 0 && !killed.Load() {
						takeAck(t, so, acked[i])
					}
					return killed.Load() || n-len(acked[i]) < window
				})
			}
			// The last ones may be lost, too. What is not answered when a later one is never will be.
			last := events
			var next time.Time
			edgetest.Eventually(t, "the last event is answered", func() bool {
				for so.Pending() > 0 {
					takeAck(t, so, acked[i])
				}
				if time.Now().After(next) {
					last++
					next = time.Now().Add(time.Second)
					so.Emit(strconv.Itoa(last), fmt.Sprintf(`["n",%d]`, last))
				}
				for n := range acked[i] {
					if n > events {
						return true
					}
				}
				return false
			})
		})
	}
	edgetest.Eventually(t, "a quarter of the events has come", func() bool { return got.total.Load() > sockets*events/4 })
	if err := one.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	killed.Store(true)
	running.Wait()
	got.mu.Lock()
	defer got.mu.Unlock()
	lost := 0
	for i, id := range ids {
		last, has := 0, map[int]bool{}
		for _, n := range got.of[id] {
			if n <= last {
				t.Errorf("socket %d: %d came behind %d", i, n, last)
			}
			if last = n; n <= events {
				has[n] = true
			}
		}
		for n := range acked[i] {
			if n <= events && !has[n] {
				t.Errorf("socket %d: %d was answered and never came", i, n)
			}
		}
		lost += events - len(has)
	}
	t.Logf("%d of %d events were lost with the gateway", lost, sockets*events)
	if got.total.Load() < sockets*events/2 {
		t.Errorf("only %d of %d events came", got.total.Load(), sockets*events)
	}
}
