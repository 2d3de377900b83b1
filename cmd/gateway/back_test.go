package main

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"partyline/engine/enginetest"
	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
	"partyline/test/stand"
)

// traveller is a client of /chat that comes back to another edge when its own is killed.
type traveller struct {
	t     *testing.T
	name  string
	talk  *enginetest.Conversation
	edges []*stand.Edge // the first one lives longest
	token string
	ws    *enginetest.Client

	id, pid string
	ids     []string // of all its sockets
	acked   []int    // in the order of the acks
	sent    int
}

// comes connects to an edge, and shows the pid that it has. The edge may be one that was just killed.
func (v *traveller) comes(edge *stand.Edge) {
	v.ws = enginetest.Dial(v.t, v.talk, v.name, "http://"+edge.Address, nil)
	auth, _ := json.Marshal(map[string]string{"token": v.token, "pid": v.pid})
	v.ws.Send("40/chat," + string(auth))
	var answer struct{ SID, PID string }
	text := v.ws.Next()
	if err := json.Unmarshal([]byte(strings.TrimPrefix(text, "40/chat,")), &answer); err != nil || answer.SID == "" {
		v.t.Errorf("%s was answered %s", v.name, text)
		return
	}
	if v.id, v.pid = answer.SID, answer.PID; !slices.Contains(v.ids, v.id) {
		v.ids = append(v.ids, v.id)
	}
}

// emit sends the next event.
func (v *traveller) emit() {
	v.sent++
	v.ws.Send(fmt.Sprintf(`42/chat,%d["n",%d]`, v.sent, v.sent))
}

// read reads what has come. It comes back if the connection has ended.
func (v *traveller) read() {
	for v.ws.Pending() > 0 {
		text, ok := v.ws.Await()
		if !ok {
			v.comes(v.edges[0])
			return
		}
		var id int
		if _, err := fmt.Sscanf(text, "43/chat,%d", &id); err == nil {
			v.acked = append(v.acked, id)
		}
	}
}

// live sends numbered events until stop is closed and a later one is answered. Nothing answers what was lost with an edge
// or a gateway, so it does not wait long.
func (v *traveller) live(stop <-chan struct{}) {
	const window, every = 8, 20 * time.Millisecond
	last := 0 // the first event behind stop
	var next time.Time
	edgetest.Eventually(v.t, v.name+" has an ack in the end", func() bool {
		v.read()
		select {
		case <-stop:
			if last == 0 {
				last = v.sent + 1
			}
		default:
		}
		newest := 0
		if len(v.acked) > 0 {
			newest = v.acked[len(v.acked)-1]
		}
		if last > 0 && newest >= last {
			return true
		}
		if now := time.Now(); v.sent-newest < window || now.After(next) {
			next = now.Add(every)
			v.emit()
		}
		return false
	})
}

// Two edges and two gateways, in a namespace with recovery where a hook admits, and in one where a token does: kill -9 of
// an edge, then of a gateway. Sockets come back as they were. The hook gets the events of each in order, none twice, and
// all that were answered.
func TestRecoveredSocketsKeepTheirHook(t *testing.T) {
	if testing.Short() {
		t.Skip("LEFT OUT: an edge and a gateway are killed (-short)")
	}
	key := edgetest.HMACKey(t)
	tokens := fmt.Sprintf("tokens: [{name: main, issuer: %q, audience: %q, algorithms: [HS256], hmac_secret_file: %q}]\n", edgetest.TokenIssuer, edgetest.TokenAudience, key.SecretFile())
	for _, c := range []struct{ name, namespace, events, token, more string }{
		{"service", "connect: service", "connect, disconnect, n", "", ""},
		{"token", "connect: token, tokens: [main]", "disconnect, n", key.Sign(edgetest.Subject("ann", time.Hour, nil), nil), tokens},
		{"token and connect", "connect: token, tokens: [main]", "connect, disconnect, n", key.Sign(edgetest.Subject("ann", time.Hour, nil), nil), tokens},
		{"open", "connect: open", "disconnect, n", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := playTravel(t, c.more+"namespaces: {\"/chat\": {"+c.namespace+", recovery: {for: 2m}}}\n", c.events, c.token)
			got.mu.Lock()
			defer got.mu.Unlock()
			if user := map[bool]string{true: "ann"}[c.token != ""]; len(got.users) != 1 || !got.users[user] {
				t.Errorf("the events are of the users %v", got.users)
			}
			if has := strings.HasPrefix(c.events, "connect"); has != (len(got.connects) > 0) {
				t.Errorf("the hook was asked about %d connects", len(got.connects))
			}
			for id, asked := range got.connects {
				if len(asked) != 1 { // the first answer counts for a socket that comes back
					t.Errorf("the hook was asked about %s as %v", id, asked)
				}
			}
		})
	}
}

// playTravel plays it with the rest of the edges' and the hook's configuration, and the token of all clients.
func playTravel(t *testing.T, edges, hooked, token string) *received {
	server := natsdtest.Start(t, `jetstream { store_dir: "`+t.TempDir()+`" }`)
	got := newReceived()
	app := httptest.NewServer(got)
	defer app.Close()
	write := func(name, text string) string {
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	config := fmt.Sprintf("nats: {url: %q}\nadmin: {listen: \"127.0.0.1:0\"}\ngateway: {listen: \"\"}\n"+
		"hooks: [{namespaces: [/chat], events: [%s], url: %q, secrets_file: %q}]\n",
		server.ClientURL(), hooked, app.URL, write("secrets", "whsec_"+strings.Repeat("QUJD", 11)+"\n"))
	one, two := run(t, config), run(t, config)
	edgetest.Eventually(t, "both gateways are ready", func() bool { return one.status("/readyz") == 200 && two.status("/readyz") == 200 })
	file := write("edge.yaml", edges)
	var all []*stand.Edge
	for i := range 2 {
		all = append(all, stand.StartEdge(t, "edge "+strconv.Itoa(i), "--nats.url", server.ClientURL(), "--config", file, "--recovery.replicas", "1"))
	}

	talk, stop := enginetest.NewConversation(t), make(chan struct{})
	var running sync.WaitGroup
	var travellers []*traveller
	for i := range 6 {
		v := &traveller{t: t, name: "client " + strconv.Itoa(i), talk: talk, edges: all, token: token}
		v.comes(all[i%2])
		travellers = append(travellers, v)
		running.Go(func() { v.live(stop) })
	}
	came := func(more int64) {
		t.Helper()
		before := got.total.Load()
		edgetest.Eventually(t, "events come", func() bool { return got.total.Load() > before+more })
	}
	came(600)
	_ = all[1].Kill(syscall.SIGKILL)
	came(600)
	if err := one.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	came(600)
	close(stop)
	running.Wait()
	for _, v := range travellers {
		if len(v.ids) != 1 {
			t.Errorf("%s did not come back as the same socket: %v", v.name, v.ids)
		}
		got.judge(t, v)
	}
	return got
}

// judge compares what the endpoint got of a client's socket with what was answered.
func (r *received) judge(t *testing.T, v *traveller) {
	r.mu.Lock()
	defer r.mu.Unlock()
	of, has := r.of[v.id], map[int]bool{}
	last := 0
	for _, n := range of {
		if n <= last {
			t.Errorf("%s: %d came behind %d", v.name, n, last)
		}
		last, has[n] = n, true
	}
	for _, n := range v.acked {
		if !has[n] {
			t.Errorf("%s: %d was answered and never came", v.name, n)
		}
	}
	t.Logf("%s: %d of %d events came, %d were answered", v.name, len(of), v.sent, len(v.acked))
}
