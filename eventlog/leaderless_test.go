package eventlog

import (
	"encoding/json"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"partyline/internal/natsd/natsdtest"
)

// While a stream has no leader, each of its replicas answers for it (nats-server, jsStreamInfoRequest), also one that
// lags. That is no log that has lost its end. The answers are those of a server, given by a client in its place, because
// a real replica lags only for a moment.
func TestAReplicaWithoutLeaderIsNotBelieved(t *testing.T) {
	real := natsdtest.Start(t, withJetStream(t))
	nc := client(t, real.ClientURL())
	ready(t, settings(t, nc))
	fill(t, nc, 100)
	answers := make(map[string]*jetstream.StreamInfo) // by stream
	for _, name := range []string{"SIO_LOG", "SIO_SESSIONS"} {
		stream, err := admin(t, nc).Stream(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		answers[name] = stream.CachedInfo()
		answers[name].Cluster = &jetstream.ClusterInfo{Leader: "n1"}
	}

	place := natsdtest.Start(t)
	nc = client(t, place.ClientURL())
	var mu sync.Mutex
	var looks, changes atomic.Int64
	if _, err := nc.Subscribe("$JS.API.>", func(m *nats.Msg) {
		request, name, _ := strings.Cut(strings.TrimPrefix(m.Subject, "$JS.API.STREAM."), ".")
		if request != "INFO" {
			changes.Add(1)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		text, _ := json.Marshal(answers[name])
		if name == "SIO_LOG" {
			looks.Add(1)
		}
		_ = m.Respond(text)
	}); err != nil {
		t.Fatal(err)
	}
	l := ready(t, settings(t, client(t, place.ClientURL())))
	epoch := l.Epoch()
	answer := func(change func(*jetstream.StreamInfo)) {
		mu.Lock()
		change(answers["SIO_LOG"])
		mu.Unlock()
		until := looks.Load() + 5
		eventually(t, "the log is looked at", func() bool { l.Doubt(); return looks.Load() >= until })
	}
	answer(func(info *jetstream.StreamInfo) {
		info.Cluster.Leader, info.State.LastSeq = "", 50
	})
	answer(func(info *jetstream.StreamInfo) {
		info.Cluster.Leader, info.State.LastSeq = "n1", 110
	})
	if l.Epoch() != epoch || changes.Load() > 0 || l.Ready() != nil {
		t.Errorf("epoch %q, before %q; %d changes of streams; %v", l.Epoch(), epoch, changes.Load(), l.Ready())
	}
}
