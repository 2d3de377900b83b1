package backend_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/backend"
	"partyline/internal/edgetest"
	"partyline/wire/msg"
)

// With a secret, only what edges have signed tells a service that they live or have gone, and each announcement once.
func TestUnsignedWordsAboutEdges(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	t.Parallel()
	const secret = "of the edges"
	s := begin(t, func(o *edgetest.Options) { o.Secret = secret })
	io := s.service("chat", backend.EdgesSecret(secret))
	chat := io.Of("/chat", backend.Owned())
	chat.On("ping", func() string { return "pong" })
	ends := make(chan string, 1)
	chat.OnDisconnect(func(_ *backend.Socket, reason string) { ends <- reason })
	nc := s.connection()
	recorded, err := nc.SubscribeSync("sio.$edge." + s.ID + ".*")
	if err != nil {
		t.Fatal(err)
	}
	s.start(io)
	ann := s.enter("ann", "/chat")
	copied, err := recorded.NextMsg(patience)
	if err != nil {
		t.Fatal(err)
	}
	say := func(edge, word, with string, at time.Time) {
		m := nats.NewMsg("sio.$edge." + edge + "." + word)
		m.Data = msg.EdgeAnnouncement{Edge: edge, At: at.UnixMilli(), Every: 1000}.Body()
		if with != "" {
			m.Header[msg.HeaderSignature] = []string{msg.Sign(with, edge+"."+word, string(m.Data))}
		}
		if err := nc.PublishMsg(m); err != nil {
			t.Fatal(err)
		}
	}
	forged := func() {
		say(s.ID, "bye", "", time.Now())
		say(s.ID, "bye", "a guess", time.Now())
		say(s.ID, "bye", secret, time.Now().Add(-time.Minute))
		say(s.ID, "gone", "", time.Now())
		say("ghost000", "beat", "", time.Now()) // questions would wait for its answer
		if err := nc.PublishMsg(&nats.Msg{Subject: copied.Subject, Header: copied.Header, Data: copied.Data}); err != nil {
			t.Fatal(err)
		}
	}
	for round := range uint64(20) { // for longer than it takes to end the sockets of an edge
		forged()
		eventually(t, "all is ignored and counted", func() bool { return io.Stats().Ignored >= 6*(round+1) })
		if n, err := chat.Join(context.Background(), "a"); n != 1 || err != nil {
			t.Fatalf("%d sockets joined, %v", n, err)
		}
		ann.emit("1", `["ping"]`)
		ann.acked("1", `["pong"]`)
		select {
		case reason := <-ends:
			t.Fatalf("the socket has ended: %s", reason)
		case <-time.After(msg.BeatEvery / 8):
		}
	}
	say(s.ID, "bye", secret, time.Now().Add(time.Second)) // later than what the edge has said
	if reason := edgetest.Await(t, ends); reason != "transport close" {
		t.Errorf("the socket ended with %q", reason)
	}
}

func TestEdgesSecretMustNotBeEmpty(t *testing.T) {
	nc := begin(t).connection()
	if _, err := backend.New(nc, "chat", backend.EdgesSecret("")); err == nil {
		t.Error("an empty secret is accepted")
	}
}
