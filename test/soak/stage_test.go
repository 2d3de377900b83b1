// Package soak runs a whole deployment for a long time: NATS, three edges, two instances of a service, and clients that
// come and go, change rooms, and send numbered messages. Faults come in turn. It judges that nothing is lost, doubled or
// reordered that no fault explains, that the edges' memory stays flat, and that nothing is left when all clients are gone.
package soak

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/backend"
	"partyline/internal/edgetest"
	"partyline/internal/natsd/proxytest"
	"partyline/test/stand"
)

var (
	lasts   = flag.Duration("soak.lasts", 5*time.Second, "how long; memory is judged from half an hour on")
	size    = flag.Int("soak.clients", 150, "clients")
	results = flag.String("soak.results", "", "file for the results as JSON, for docs/performance.md")
)

func TestMain(m *testing.M) { stand.Main(m, proxytest.Leaks...) }

// stage is the deployment with its clients.
type stage struct {
	t       *testing.T
	edges   []*place
	ledger  *ledger
	visits  map[*visit]bool // guarded by the ledger's mu: those that are connected
	running sync.WaitGroup
	quiet   chan struct{} // closed when clients say no more
	over    chan struct{} // closed when they leave
	faults  []string      // what happened, of the test's goroutine alone
	nc      *nats.Conn
	key     *edgetest.TokenKey // signs tokens for kept
	pulse   pulse
}

// begin starts NATS, edges and service.
func begin(t *testing.T) *stage {
	t.Helper()
	s := &stage{t: t, ledger: newLedger(), visits: make(map[*visit]bool), quiet: make(chan struct{}), over: make(chan struct{}), key: edgetest.HMACKey(t)}
	t.Setenv("PARTYLINE_TOKENS", fmt.Sprintf(`[{"name":"soak","issuer":%q,"audience":%q,"hmac_secret_file":%q,"algorithms":["HS256"]}]`,
		edgetest.TokenIssuer, edgetest.TokenAudience, s.key.SecretFile()))
	port := strconv.Itoa(stand.FreePorts(t, 1)[0])
	url := "nats://127.0.0.1:" + port
	stand.Start(t, "NATS", "nats-server", "-a", "127.0.0.1", "-p", port, "-js", "-sd", t.TempDir()).Line("Server is ready")
	for i := range 3 {
		p := &place{name: fmt.Sprint("edge ", i), way: proxytest.Start(t, url)}
		p.edge = stand.StartEdge(t, p.name, "--nats.url", p.way.URL(), "--config", "testdata/edge.yaml")
		p.address, p.admin = p.edge.Address, p.edge.Admin
		s.edges = append(s.edges, p)
	}
	s.nc = edgetest.Connect(t, url)
	for range 2 {
		io, err := backend.New(edgetest.Connect(t, url), "talk", backend.Logger(slog.New(slog.DiscardHandler)))
		if err != nil {
			t.Fatal(err)
		}
		serve(io)
		edgetest.Serve(t, io)
	}
	return s
}

// serve handles the events of all namespaces.
func serve(io *backend.Service) {
	for _, name := range []string{"/relay", "/team", kept} {
		io.Of(name).On("echo", func(n int) int { return n })
	}
	ok := map[string]bool{"ok": true}
	owned := io.Of("/owned", backend.Owned())
	owned.On("echo", func(n int) int { return n })
	owned.On("join", func(ctx context.Context, so *backend.Socket, room string) (any, error) { return ok, so.Join(ctx, room) })
	owned.On("leave", func(ctx context.Context, so *backend.Socket, room string) (any, error) {
		return ok, so.Leave(ctx, room)
	})
	owned.On("say", func(room, who string, n int, text string) error {
		return owned.To(room).Emit("say", room, who, n, text)
	})
}

// TestSoak is the whole run. `make soak` makes it long.
func TestSoak(t *testing.T) {
	s := begin(t)
	w := s.watch()
	before := w.look()
	for i := range *size {
		c := &client{s: s, number: i, namespace: namespaces[i%len(namespaces)]}
		s.running.Go(c.live)
	}
	t.Cleanup(func() { // also after a failure
		s.stop()
		s.running.Wait()
		if t.Failed() {
			t.Logf("until then: %+v\n%s", s.ledger.sum, strings.Join(s.ledger.examples, "\n"))
		}
	})
	w.begin()
	s.feel()
	s.breakThings(w)
	close(s.quiet)
	edgetest.Eventually(t, "all messages have arrived", func() bool { return s.ledger.missing() == 0 })
	s.ledger.judge(0)
	w.end()
	s.stop()
	s.running.Wait()
	after := w.lookWhenQuiet(before)
	s.report(w, before, after)
}

func (s *stage) stop() {
	s.ledger.mu.Lock()
	defer s.ledger.mu.Unlock()
	select {
	case <-s.over:
	default:
		close(s.over)
	}
}

// breakThings lets time pass, and causes a fault now and then. The first two edges live through the whole run, so that
// what they keep too long shows.
func (s *stage) breakThings(w *watch) {
	s.t.Helper()
	end := time.Now().Add(*lasts)
	every := max(*lasts/40, 2*time.Second)
	faults := []func(round int) string{s.replaceEdge, s.cutNATS, s.cutClients}
	for n := 0; n < 3 || time.Now().Add(every).Before(end); n++ {
		s.pass(w, every)
		what := faults[n%len(faults)](n / len(faults))
		s.faults = append(s.faults, what)
		s.t.Logf("%s %s", time.Now().Format(time.TimeOnly), what)
	}
	s.pass(w, time.Until(end))
}

// pass waits, and judges meanwhile.
func (s *stage) pass(w *watch, lasts time.Duration) {
	end := time.NewTimer(lasts)
	defer end.Stop()
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-end.C:
			return
		case <-ticker.C:
			s.ledger.judge(slack + underWay)
			w.tick()
		}
	}
}

// replaceEdge ends the last edge as an operator does, and starts a new one at its address.
func (s *stage) replaceEdge(int) string {
	p := s.edges[len(s.edges)-1]
	p.suffer(s.t, func() {
		if err := p.edge.Kill(syscall.SIGTERM); err != nil {
			s.t.Errorf("%s ended with %v", p.name, err)
		}
		p.edge.Run(s.t)
	})
	return "an edge was replaced"
}

// cutNATS cuts an edge off from NATS for two seconds.
func (s *stage) cutNATS(round int) string {
	p := s.edges[round%len(s.edges)]
	p.suffer(s.t, func() {
		p.way.Stop()
		<-time.After(2 * time.Second)
		p.way.Mend()
	})
	return "NATS was cut off from an edge"
}

// cutClients cuts the connections of a tenth of the clients.
func (s *stage) cutClients(int) string {
	s.ledger.mu.Lock()
	var some []*visit
	for v := range s.visits {
		if rand.IntN(10) == 0 {
			some = append(some, v)
		}
	}
	s.ledger.mu.Unlock()
	for _, v := range some {
		v.drop()
	}
	return "clients were cut"
}

// report judges, and stores the results.
func (s *stage) report(w *watch, before, after []figures) {
	s.t.Helper()
	l := s.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	sum := l.sum
	s.t.Logf("SOAK: %v: %+v; the machine stalled %d times", *lasts, sum, s.stalls())
	if n := sum.lost + sum.doubled + sum.reordered + sum.misplaced + sum.acksLost + sum.acksDoubled + sum.ended + sum.refused + sum.forgotten; n > 0 {
		s.t.Errorf("%d times something went wrong that no fault explains", n)
	}
	if sum.deliveries == 0 || sum.acks == 0 || sum.recovered == 0 || len(s.faults) < 3 {
		s.t.Errorf("the run has measured nothing: %d faults", len(s.faults))
	}
	w.judge(before, after)
	w.store(s, before, after)
}
