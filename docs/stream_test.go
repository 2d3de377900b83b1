package docs_test

import (
	"context"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
	"partyline/rule"
)

// TestTheStreamForAtLeastOnce makes the stream and the consumer of docs/how-to/http.md through JetStream's API, with what
// the flags of its commands stand for. Clients emit, and none gets an answer of the stream.
func TestTheStreamForAtLeastOnce(t *testing.T) {
	page := read(t, "how-to/http.md")
	stream := regexp.MustCompile(`(?m)^nats stream add (\w+) --subjects '(\S+)' --no-ack --defaults$`).FindStringSubmatch(page)
	consumer := regexp.MustCompile(`(?m)^nats consumer add (\w+) (\w+) --pull --deliver all --ack explicit --defaults$`).FindStringSubmatch(page)
	if stream == nil || consumer == nil || consumer[1] != stream[1] || stream[2] != "sio.orders.on.>" {
		t.Fatalf("the page has other commands: %q, %q", stream, consumer)
	}
	s := edgetest.BeginAt(t, natsdtest.Start(t, `jetstream { store_dir: "`+t.TempDir()+`" }`), map[string]rule.Namespace{"/orders": {Connect: rule.ConnectOpen}})
	js, err := jetstream.New(s.Peer.NC)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), edgetest.Patience)
	defer cancel()
	made, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: stream[1], Subjects: []string{stream[2]}, NoAck: true})
	if err != nil {
		t.Fatal(err)
	}
	worker, err := made.CreateConsumer(ctx, jetstream.ConsumerConfig{Durable: consumer[2], DeliverPolicy: jetstream.DeliverAllPolicy, AckPolicy: jetstream.AckExplicitPolicy})
	if err != nil {
		t.Fatal(err)
	}
	replies := s.Hear("sio.orders.ack.>") // what the stream would answer
	ann := s.Enter("ann", "/orders")
	ann.Emit("1", `["new",7]`)
	ann.Emit("", `["new",8]`)
	var got []string
	for len(got) < 2 {
		batch, err := worker.Fetch(10, jetstream.FetchMaxWait(time.Second))
		if err != nil {
			t.Fatal(err)
		}
		for m := range batch.Messages() {
			if strings.HasSuffix(m.Subject(), ".on.new") {
				got = append(got, string(m.Data()))
			}
			if err := m.DoubleAck(ctx); err != nil {
				t.Error(err)
			}
		}
		if ctx.Err() != nil {
			t.Fatalf("the worker got %q", got)
		}
	}
	if got[0] != `["new",7]` || got[1] != `["new",8]` {
		t.Errorf("the worker got %q", got)
	}
	s.Peer.Publish("sio.orders."+"ack."+ann.ID+".1", `["by hand"]`)
	if m := replies.Next(); string(m.Data) != `["by hand"]` {
		t.Errorf("the stream has answered the client: %s", m.Data)
	}
	ann.Acked("1", `["by hand"]`)
	info, err := worker.Info(ctx)
	if err != nil || info.NumAckPending > 0 || info.NumPending > 0 {
		t.Errorf("events are left: %+v, %v", info, err)
	}
}
