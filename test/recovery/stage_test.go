// Package recovery judges that clients of a namespace with recovery miss nothing. Three NATS servers with JetStream,
// three edges, publishers of numbered events, and clients that record what they receive run as one deployment. Parts
// of it are killed, stopped and cut off. In the end the whole log is read, and package judge compares.
package recovery

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"partyline/internal/edgetest"
	"partyline/internal/natsd/proxytest"
	"partyline/test/recovery/judge"
	"partyline/test/stand"
)

var (
	full   = flag.Bool("recovery.full", false, "all faults; otherwise a short list")
	rounds = flag.Int("recovery.rounds", 1, "how often each fault comes")
	rate   = flag.Int("recovery.rate", 100, "events a second of each publisher")
	size   = flag.Int("recovery.clients", 24, "raw clients")
	plain  = flag.Bool("recovery.plain", false, "without recovery: only report what is lost")
	seed   = flag.Uint64("recovery.seed", 0, "which faults come together; 0: any")
	crowds = flag.Int("recovery.crowd", 0, "clients of an edge that is killed, for the measurement; 0: none")
)

// onlyInFull leaves a test out of the short list, which `make test` plays.
func onlyInFull(t *testing.T) {
	t.Helper()
	if !*full {
		t.Skip("LEFT OUT: a part of the stand of recovery: go test ./test/recovery -recovery.full")
	}
}

func TestMain(m *testing.M) {
	edgetest.SideBySide(2)
	stand.Main(m, proxytest.Leaks...)
}

// stage is the deployment.
type stage struct {
	t       *testing.T
	servers []*stand.Server
	ways    []*proxytest.Proxy // the only path to NATS of the edge with the same index; nil: all servers
	edges   []*stand.Edge
	at      []string // where clients reach them; static
	nc      *nats.Conn
	js      jetstream.JetStream
	service *service
	copies  *copies
	running sync.WaitGroup
	over    chan struct{} // closed at the end
	calm    chan struct{} // closed when clients stay from now on

	moving  sync.Mutex // held while a socket changes its rooms
	reading sync.Mutex // held while the log is read
	read    uint64     // guarded by reading: the last sequence of it

	mu      sync.Mutex
	eras    []string      // guarded by mu: the epochs of the streams
	entries []judge.Entry // guarded by mu: of all that was read
	probes  int           // guarded by mu
}

// begin starts everything. With detours the edges reach NATS only over ways. flags are for all edges.
func begin(t *testing.T, detours bool, flags ...string) *stage {
	t.Helper()
	s := &stage{t: t, over: make(chan struct{}), calm: make(chan struct{})}
	s.servers = stand.Cluster(t, "--no_advertise", "-c", "testdata/nats.conf", "-js", "-sd", filepath.Join(t.TempDir(), "SERVER"))
	s.nc = edgetest.Connect(t, stand.URLs(s.servers), nats.ReconnectBufSize(64<<20))
	s.js, _ = jetstream.New(s.nc)
	edgetest.Eventually(t, "JetStream is ready", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err := s.js.AccountInfo(ctx)
		return err == nil
	})
	config := "testdata/edge.yaml"
	if *plain {
		config = "testdata/plain.yaml"
		s.makeStream()
	}
	for i := range 3 {
		url := stand.URLs(s.servers)
		if detours {
			s.ways = append(s.ways, proxytest.Start(t, s.servers[i].URL))
			url = s.ways[i].URL()
		}
		args := append([]string{"--nats.url", url, "--config", config}, flags...)
		s.edges = append(s.edges, stand.StartEdge(t, fmt.Sprint("edge ", i), args...))
		s.at = append(s.at, s.edges[i].Address)
	}
	s.service = serve(t, s.nc)
	s.copies = hearCopies(t, s.servers)
	s.learnEra()
	t.Cleanup(s.end)
	return s
}

// end ends all clients.
func (s *stage) end() {
	select {
	case <-s.over:
	default:
		close(s.over)
	}
	s.running.Wait()
}

// makeStream makes the stream that edges make where there is recovery.
func (s *stage) makeStream() {
	edgetest.Eventually(s.t, "the stream exists", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_, err := s.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: streamName, Subjects: []string{"sio.chat.emit.>"}, Replicas: 3})
		return err == nil
	})
}

// probe publishes an event to a target of /chat, and returns its number and its position in the log.
func (s *stage) probe(target string) (number int, at judge.Pos) {
	s.t.Helper()
	var ack struct {
		Seq    uint64
		Stream string
	}
	edgetest.Eventually(s.t, "the log stores an event", func() bool {
		s.mu.Lock()
		s.probes++
		number = s.probes
		s.mu.Unlock()
		body := fmt.Appendf(nil, `["e","q",%d]`, number)
		m, err := s.nc.Request("sio.chat.emit."+target, body, 2*time.Second)
		return err == nil && json.Unmarshal(m.Data, &ack) == nil && ack.Seq > 0
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	return number, judge.Pos{Era: len(s.eras) - 1, Seq: ack.Seq}
}

// here returns the position of the log.
func (s *stage) here() judge.Pos {
	s.t.Helper()
	_, at := s.probe("room.nobody")
	return at
}

// holders returns how often each socket is there. All edges must answer, or it returns nil.
func (s *stage) holders() map[string]int {
	inbox := s.nc.NewRespInbox()
	sub, err := s.nc.SubscribeSync(inbox)
	if err != nil {
		return nil
	}
	defer func() { _ = sub.Unsubscribe() }()
	_ = s.nc.PublishRequest("sio.chat.data.all", inbox, nil)
	answered, sockets := make(map[string]bool), make(map[string]int)
	for end := time.Now().Add(2 * time.Second); len(answered) < len(s.edges); {
		m, err := sub.NextMsg(time.Until(end))
		var all []struct {
			Edge, ID string
		}
		if err != nil || json.Unmarshal(m.Data, &all) != nil || len(all) == 0 {
			return nil
		}
		if part := m.Header.Get("Sio-Part"); part == "" || strings.HasSuffix(part, "last") {
			answered[all[0].Edge] = true
		}
		for _, one := range all[1:] {
			sockets[one.ID]++
		}
	}
	return sockets
}

// watch looks for sockets that two edges have, until the test ends. Both answer at slightly different times, and one
// may have yielded between: only what two looks see in a row counts.
func (s *stage) watch() {
	last := make(map[string]int)
	for {
		select {
		case <-s.over:
			return
		case <-time.After(100 * time.Millisecond):
		}
		now := s.holders()
		for id, n := range now {
			if n > 1 && last[id] > 1 {
				s.t.Errorf("two edges have the socket %s", id)
			} else if n > 1 {
				s.t.Logf("%s: two edges may have the socket %s", time.Now().Format("05.000"), id)
			}
		}
		last = now
	}
}

// leader returns the index of the server that leads the log.
func (s *stage) leader() int {
	s.t.Helper()
	found := -1
	edgetest.Eventually(s.t, "the log has a leader", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		info, err := s.info(ctx)
		if err != nil || info.Cluster == nil {
			return false
		}
		for i, server := range s.servers {
			if server.Called == info.Cluster.Leader {
				found = i
			}
		}
		return found >= 0
	})
	return found
}

// whole waits until all replicas of the log are current, and all edges ready.
func (s *stage) whole() {
	s.t.Helper()
	stand.WaitForRoutes(s.t, s.servers)
	edgetest.Eventually(s.t, "all replicas are current", s.isCurrent)
	for _, e := range s.edges {
		e.WaitReady(s.t)
	}
}

// isCurrent reports whether all replicas of the log are current.
func (s *stage) isCurrent() bool {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	info, err := s.info(ctx)
	if err != nil || info.Cluster == nil || info.Cluster.Leader == "" || len(info.Cluster.Replicas) != 2 {
		return false
	}
	for _, r := range info.Cluster.Replicas {
		if !r.Current || r.Offline {
			return false
		}
	}
	return true
}
