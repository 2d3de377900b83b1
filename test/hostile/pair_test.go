package hostile

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/nats-io/nats.go"

	"partyline/internal/edgetest"
)

// How the healthy pair talks.
const (
	pairPrefix  = `42/chat,["message","pair",`
	pairSubject = subject + "message"
	batch       = 5 // messages that one sends before the other answers
)

// pair is two healthy clients in /chat, and a service that receives their events.
type pair struct {
	t        *testing.T
	stop     chan struct{}
	done     chan struct{}
	once     sync.Once
	ann, bob *websocket.Conn
	service  *nats.Subscription
	heard    chan *nats.Msg
	rounds   int   // owned by run until done is closed
	err      error // owned by run until done is closed
}

// talk starts a pair, and check ends it. url is the edge's.
func talk(t *testing.T, url string, nc *nats.Conn) *pair {
	t.Helper()
	p := &pair{t: t, stop: make(chan struct{}), done: make(chan struct{}), heard: make(chan *nats.Msg, 10_000)}
	var err error
	if p.service, err = nc.ChanSubscribe(pairSubject, p.heard); err == nil {
		err = nc.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	p.ann, p.bob = friend(t, url, "ann"), friend(t, url, "bob")
	go p.run(p.ann, p.bob)
	t.Cleanup(p.hangUp) // before the edge ends
	return p
}

// friend opens a session, connects it to /chat and joins the pair's room.
func friend(t *testing.T, url, name string) *websocket.Conn {
	t.Helper()
	ws, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(url, "http")+"/socket.io/?EIO=4&transport=websocket", nil)
	if err == nil {
		err = ws.WriteMessage(websocket.TextMessage, []byte("40/chat,"))
	}
	if err == nil {
		err = hears(ws, `40/chat,{"sid"`, "")
	}
	if err == nil {
		err = ws.WriteMessage(websocket.TextMessage, []byte(`42/chat,0["join","hall"]`))
	}
	if err == nil {
		err = hears(ws, `43/chat,0`, `[{"ok":true}]`)
	}
	if err != nil {
		t.Fatalf("%s cannot connect: %v", name, err)
	}
	return ws
}

// hears reads until a message begins with prefix, and expects it to end in rest.
func hears(ws *websocket.Conn, prefix, rest string) error {
	_ = ws.SetReadDeadline(time.Now().Add(edgetest.Patience))
	for {
		_, data, err := ws.ReadMessage()
		switch {
		case err != nil:
			return err
		case string(data) == "2":
			if err := ws.WriteMessage(websocket.TextMessage, []byte("3")); err != nil {
				return err
			}
		case bytes.HasPrefix(data, []byte(prefix)):
			if rest != "" && string(data[len(prefix):]) != rest {
				return fmt.Errorf("%q came, want %q", data, prefix+rest)
			}
			return nil
		}
	}
}

// run talks until it is stopped: one sends some messages, the other receives them and sends as many, and so on.
func (p *pair) run(ann, bob *websocket.Conn) {
	defer close(p.done)
	pace := time.NewTicker(time.Millisecond) // leaves processor time to the hostile clients
	defer pace.Stop()
	for n := 0; ; p.rounds++ {
		for _, way := range [2]struct {
			sender, receiver *websocket.Conn
			name             string
		}{{ann, bob, "ann"}, {bob, ann, "bob"}} {
			if p.err = p.batch(way.sender, way.receiver, way.name, n); p.err != nil {
				return
			}
			n += batch
		}
		select {
		case <-p.stop:
			return
		case <-pace.C:
		}
	}
}

// batch sends messages, numbered from i on, and waits until they have arrived.
func (p *pair) batch(from, to *websocket.Conn, name string, n int) error {
	for i := n; i < n+batch; i++ {
		if err := from.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, `%s%d]`, pairPrefix, i)); err != nil {
			return fmt.Errorf("message %d of %s: %w", i, name, err)
		}
	}
	for i := n; i < n+batch; i++ {
		if err := hears(to, pairPrefix, fmt.Sprintf("%d]", i)); err != nil {
			return fmt.Errorf("message %d of %s: %w", i, name, err)
		}
	}
	for i := n; i < n+batch; {
		select {
		case m := <-p.heard:
			if !bytes.HasPrefix(m.Data, []byte(`["message","pair",`)) {
				continue
			}
			if want := fmt.Sprintf(`["message","pair",%d]`, i); string(m.Data) != want {
				return fmt.Errorf("the service received %s, want %s", m.Data, want)
			}
			i++
		case <-time.After(edgetest.Patience):
			return fmt.Errorf("the service did not receive message %d of %s", i, name)
		}
	}
	return nil
}

// finish ends the talk.
func (p *pair) finish() {
	p.once.Do(func() { close(p.stop) })
	<-p.done
	_ = p.service.Unsubscribe()
}

// hangUp ends the talk and the pair's sessions.
func (p *pair) hangUp() {
	p.finish()
	_, _ = p.ann.Close(), p.bob.Close()
}

// check ends the talk and expects all of it to have arrived.
func (p *pair) check() {
	p.t.Helper()
	p.finish()
	if p.err != nil {
		p.t.Errorf("the healthy pair: %v", p.err)
	}
	p.t.Logf("meanwhile the pair exchanged %d messages", p.rounds*2*batch)
}
