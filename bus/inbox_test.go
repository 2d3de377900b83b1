package bus

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"partyline/internal/natsd/natsdtest"
)

func TestLineOf(t *testing.T) {
	for subject, want := range map[string]string{
		"sio.chat.emit.room.x": "chat", "sio.$edge.k.pong.i": "$edge", "sio.chat": "chat", "_INBOX.x": "$", "sion.chat.emit": "$", "$JS.EVENT.x": "",
	} {
		if got := lineOf(subject, "sio."); got != want {
			t.Errorf("the line of %s is %q, want %q", subject, got, want)
		}
	}
}

// A flood over NATS in one namespace costs others no message, also while the edge handles none, and each is notified.
func TestAFloodOverNATS(t *testing.T) {
	server := natsdtest.Start(t)
	b := connect(t, server.ClientURL(), nil, Options{Channel: 100})
	b.Subscribe("sio.>")
	inPlace(t, b)
	nc := client(t, server.ClientURL())
	const others = 20
	for i := range 1000 {
		if err := nc.Publish("sio.flood.emit.all", nil); err != nil {
			t.Fatal(err)
		}
		if i%(1000/others) == 0 {
			if err := nc.Publish("sio.chat.emit.all", fmt.Append(nil, i/(1000/others))); err != nil {
				t.Fatal(err)
			}
		}
	}
	eventually(t, "messages are dropped", func() bool { return int(b.Dropped())+b.inbox.waiting() == 1000+others })
	ctx, cancel := context.WithCancel(t.Context())
	var chat, want []string
	var running sync.WaitGroup
	running.Go(func() {
		b.Run(ctx, func(m *Message) bool {
			if strings.HasPrefix(m.Subject, "sio.chat.") {
				chat = append(chat, string(m.Data))
			}
			return true
		}, func() {})
	})
	eventually(t, "the bus has caught up", func() bool { return b.inbox.waiting() == 0 })
	cancel()
	running.Wait()
	for i := range others {
		want = append(want, fmt.Sprint(i))
	}
	if !slices.Equal(chat, want) {
		t.Errorf("of the other namespace came %v, want %v", chat, want)
	}
	if b.Dropped() == 0 || b.stats.overflows.Value() != 1 {
		t.Errorf("%d messages were dropped, and %d overflows counted", b.Dropped(), b.stats.overflows.Value())
	}
}
