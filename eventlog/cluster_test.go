package eventlog

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"partyline/internal/natsd/natsdtest"
)

// cluster is three servers, and a log at each.
type cluster struct {
	servers []*natsdtest.Server
	conns   []*nats.Conn
	logs    []*Log
}

func startCluster(t *testing.T, change func(*Settings)) *cluster {
	t.Helper()
	if testing.Short() {
		t.Skip("elections take seconds")
	}
	c := &cluster{servers: natsdtest.StartCluster(t, 3, withJetStream(t))}
	for _, s := range c.servers {
		nc := client(t, s.ClientURL())
		set := settings(t, nc)
		change(&set)
		c.conns, c.logs = append(c.conns, nc), append(c.logs, start(t, set))
	}
	for _, l := range c.logs {
		eventually(t, "the log is ready: "+strings.Join(l.Ready(), " "), func() bool { return l.Ready() == nil })
		if l.Epoch() != c.logs[0].Epoch() {
			t.Fatalf("epochs %q and %q", c.logs[0].Epoch(), l.Epoch())
		}
	}
	return c
}

func threefold(set *Settings) { set.Replicas = 3 }

// leader returns the number of the server that leads a stream.
func (c *cluster) leader(t *testing.T, stream string) (leader int) {
	t.Helper()
	eventually(t, "the stream has a leader", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		for _, nc := range c.conns {
			s, err := admin(t, nc).Stream(ctx, stream)
			if err == nil && s.CachedInfo().Cluster != nil {
				_, err = fmt.Sscanf(s.CachedInfo().Cluster.Leader, "server-%d", &leader)
				return err == nil
			}
		}
		return false
	})
	return leader
}

// publish stores an event, however often that has to be tried.
func publish(t *testing.T, nc *nats.Conn, body string) (seq uint64) {
	t.Helper()
	js := admin(t, nc)
	for end := time.Now().Add(patience); time.Now().Before(end); {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		ack, err := js.Publish(ctx, "sio.chat.emit.all", []byte(body), jetstream.WithMsgID(body))
		cancel()
		if err == nil {
			return ack.Sequence
		}
	}
	t.Error("an event could not be stored")
	return 0
}

// What the leader has, a scan finds, whichever replica answers.
func TestReplicasThatLag(t *testing.T) {
	t.Parallel()
	c := startCluster(t, threefold)
	began := time.Now()
	var to uint64
	for i := range 100 {
		from := to
		to = fill(t, c.conns[i%3], 50)
		var waiting []<-chan scanned
		for _, l := range c.logs {
			waiting = append(waiting, scanLater(l, from, to))
		}
		for _, w := range waiting {
			check(t, await(t, w), from, to)
		}
	}
	for _, l := range c.logs {
		check(t, scan(t, l, 0, to), 0, to)
	}
	t.Log(time.Since(began), "pages:", c.logs[0].stats.pages.Value(), c.logs[1].stats.pages.Value(), c.logs[2].stats.pages.Value())
}

// traffic stores events and records until it is ended, and checks them then.
type traffic struct {
	c       *cluster
	ended   atomic.Bool
	running sync.WaitGroup
	events  map[uint64]string // of the publisher's goroutine
	rounds  atomic.Int64
}

func (c *cluster) begin(t *testing.T) *traffic {
	tr := &traffic{c: c, events: make(map[uint64]string)}
	tr.running.Go(func() {
		for i := 0; !tr.ended.Load(); i++ {
			body := fmt.Sprint("event ", i)
			tr.events[publish(t, c.conns[i%3], body)] = body
		}
	})
	for i, l := range c.logs {
		tr.running.Go(func() { tr.keep(t, l, fmt.Sprint("key-", i)) })
	}
	return tr
}

// keep writes one record again and again.
func (tr *traffic) keep(t *testing.T, l *Log, key string) {
	var seq uint64
	body := ""
	for i := 0; !tr.ended.Load() && !t.Failed(); i++ {
		body = fmt.Sprint("body ", i)
		for got := (written{err: ErrAway}); errors.Is(got.err, ErrAway) && !t.Failed(); {
			got = <-writeLater(l, Write{Key: key, Holder: "e", Claim: key, Body: []byte(body), Expected: seq})
			if got.err == nil {
				seq = got.seq
			} else if !errors.Is(got.err, ErrAway) {
				t.Errorf("%s: %v", key, got.err)
			}
		}
		tr.rounds.Add(1)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if r, err := l.Record(ctx, key); err != nil || string(r.Body) != body || r.Seq != seq {
		t.Errorf("%s: %s %d, want %s %d, error %v", key, r.Body, r.Seq, body, seq, err)
	}
}

// more waits until traffic has gone on.
func (tr *traffic) more(t *testing.T) {
	t.Helper()
	until := tr.rounds.Load() + 300
	eventually(t, "records are written", func() bool { return tr.rounds.Load() > until || t.Failed() })
}

func (tr *traffic) end(t *testing.T) {
	t.Helper()
	tr.ended.Store(true)
	tr.running.Wait()
	var to uint64
	for seq := range tr.events {
		to = max(to, seq)
	}
	for i, l := range tr.c.logs {
		got := scan(t, l, 0, to)
		check(t, got, 0, to)
		for _, e := range got.entries {
			if want, ok := tr.events[e.Seq]; ok && want != string(e.Data) {
				t.Errorf("log %d: sequence %d is %s, want %s", i, e.Seq, e.Data, want)
			}
		}
	}
}

// The servers stop and start one after the other, the leader first.
func TestServersThatStop(t *testing.T) {
	t.Parallel()
	c := startCluster(t, threefold)
	epoch := c.logs[0].Epoch()
	tr := c.begin(t)
	tr.more(t)
	leader := c.leader(t, "SIO_LOG")
	for _, i := range []int{leader, (leader + 1) % 3, c.leader(t, "SIO_SESSIONS")} {
		c.servers[i].Stop()
		others := []*natsdtest.Server{c.servers[(i+1)%3], c.servers[(i+2)%3]}
		natsdtest.WaitForRoutes(t, others...)
		c.leader(t, "SIO_LOG")
		c.servers[i].Restart()
		natsdtest.WaitForRoutes(t, c.servers...)
		tr.more(t)
	}
	tr.end(t)
	for _, l := range c.logs {
		if l.Epoch() != epoch || l.Ready() != nil {
			t.Errorf("epoch %q, before %q; %v", l.Epoch(), epoch, l.Ready())
		}
	}
}

// A log in the memory of one server begins again when that restarts. Its stream keeps its time of creation in a
// cluster.
func TestMemoryIsLost(t *testing.T) {
	t.Parallel()
	c := startCluster(t, func(set *Settings) { set.Storage = StorageMemory })
	before := c.logs[0].Epoch()
	for i := range 20 {
		publish(t, c.conns[0], fmt.Sprint(i))
	}
	for _, l := range c.logs {
		eventually(t, "the log has seen the end", func() bool { l.Doubt(); return l.stats.messages.Value() == 20 })
	}
	leader := c.leader(t, "SIO_LOG")
	c.servers[leader].Stop()
	c.servers[leader].Restart()
	natsdtest.WaitForRoutes(t, c.servers...)
	if seq := publish(t, c.conns[0], "again"); seq != 1 {
		t.Fatalf("sequence %d: nothing was lost", seq)
	}
	for _, l := range c.logs {
		eventually(t, "there is a new epoch", func() bool { l.Doubt(); return l.Epoch() != before })
	}
	after := c.logs[0].Epoch()
	for _, l := range c.logs[1:] {
		eventually(t, "all agree", func() bool { l.Doubt(); return l.Epoch() == after })
	}
}
