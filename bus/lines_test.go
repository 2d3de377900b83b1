package bus

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"

	"partyline/internal/natsd/natsdtest"
)

// wait puts messages into a channel, and from there into lines. A word is a namespace and a number.
func (l *lines) wait(words string) (dropped int) {
	channel := make(chan *nats.Msg, 1000)
	for word := range strings.FieldsSeq(words) {
		channel <- &nats.Msg{Subject: "sio." + word + ".emit.all"}
	}
	dropped, _ = l.keep(channel)
	return dropped
}

// all takes everything, in chunks.
func (l *lines) all(chunk int) (words []string) {
	for {
		into := make([]*nats.Msg, chunk)
		n, _ := l.take(into)
		if n == 0 {
			return words
		}
		for _, m := range into[:n] {
			words = append(words, strings.Split(m.Subject, ".")[1])
		}
	}
}

func newLines(capacity int) *lines {
	return &lines{capacity: capacity, prefix: "sio.", byName: make(map[string]*line)}
}

// Namespaces take turns, and each keeps its order.
func TestLinesTakeTurns(t *testing.T) {
	l := newLines(100)
	l.wait("a a a a a b c c c")
	if got, want := fmt.Sprint(l.all(2)), "[a a b c c a a c a]"; got != want {
		t.Errorf("the turns are %s, want %s", got, want)
	}
	if l.isBehind() || l.count() != 0 || len(l.byName) > 0 {
		t.Errorf("left behind: %t, %d messages, %d lines", l.isBehind(), l.count(), len(l.byName))
	}
	for subject, want := range map[string]string{
		"sio.chat.emit.room.x": "chat", "sio.$edge.k.pong.i": "$edge", "sio.chat": "chat", "_INBOX.x": "", "sion.chat.emit": "",
	} {
		if got := l.name(subject); got != want {
			t.Errorf("the line of %s is %q, want %q", subject, got, want)
		}
	}
}

// A line that grows and shrinks keeps its order and does not keep what was taken.
func TestALineThatIsNeverEmpty(t *testing.T) {
	l := newLines(1000)
	var got, want []string
	next := 0
	for range 100 {
		channel := make(chan *nats.Msg, 10)
		for range 3 {
			channel <- &nats.Msg{Subject: "sio.a.", Reply: fmt.Sprint(next)}
			want = append(want, fmt.Sprint(next))
			next++
		}
		l.keep(channel)
		var chunk [2]*nats.Msg
		n, _ := l.take(chunk[:])
		for _, m := range chunk[:n] {
			got = append(got, m.Reply)
		}
	}
	if one := l.byName["a"]; len(one.messages) > 2*l.count() {
		t.Errorf("%d messages wait in a list of %d", l.count(), len(one.messages))
	}
	for chunk := make([]*nats.Msg, 7); ; {
		n, _ := l.take(chunk)
		if n == 0 {
			break
		}
		for _, m := range chunk[:n] {
			got = append(got, m.Reply)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the order is %v", got)
	}
}

// A namespace that overflows leaves room for others: half of all, then a third of all.
func TestALineOverflows(t *testing.T) {
	l := newLines(12)
	if dropped := l.wait(strings.Repeat("a ", 20)); dropped != 14 {
		t.Errorf("%d of the first namespace's messages were dropped, want all but 6", dropped)
	}
	if dropped := l.wait(strings.Repeat("b ", 3)); dropped != 0 {
		t.Errorf("%d of the second one's messages were dropped", dropped)
	}
	if dropped := l.wait("c $edge"); dropped != 0 {
		t.Errorf("%d messages of others were dropped", dropped)
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
