// Package hostile shows that bad input hurts its sender and nobody else. In every test a pair of healthy clients talks
// beside the hostile one, and a service listens to them: each of their numbered messages must arrive once and in order.
// The edge must say in one line of its log why it ended a session, and must be as empty afterwards as it was before.
package hostile

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"partyline/edge"
	"partyline/engine/enginetest"
	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
	"partyline/internal/tally"
)

func TestMain(m *testing.M) {
	if flag.Parse(); testing.Short() {
		return // whole programs and outages are not for `make check`
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(status int) {
		if folder, err := programs(); err == nil {
			_ = os.RemoveAll(folder)
		}
		os.Exit(status)
	}))
}

// patience is how long a test waits for what must come. The machine may be busy.
const patience = 40 * time.Second

// stage is an edge with two healthy clients and a NATS client.
type stage struct {
	*edgetest.Node
	t    *testing.T
	nats *natsdtest.Server
	nc   *nats.Conn
	pair *pair
}

// rules are the namespaces of every stage: one that everybody may enter, one where a service admits, and any number of
// empty ones.
func rules() map[string]edge.Namespace {
	return map[string]edge.Namespace{
		"/chat": {Connect: edge.ConnectOpen, Rooms: []string{"*"}, Relay: []edge.Relay{
			{Event: "message", To: edge.ToRooms}, {Event: "everyone", To: edge.ToAll},
		}},
		"/door":    {Connect: edge.ConnectService, Unavailable: edge.UnavailableRefuse},
		"/extra-*": {Connect: edge.ConnectOpen},
	}
}

// begin starts NATS, an edge and the healthy pair. At the end of the test the pair must have got all its messages, and
// nobody else may be left.
func begin(t *testing.T, change ...func(*edgetest.Options)) *stage {
	t.Helper()
	server := natsdtest.Start(t)
	o := edgetest.Options{NATS: server.ClientURL(), Namespaces: rules()}
	for _, c := range change {
		c(&o)
	}
	s := &stage{Node: edgetest.Start(t, o).Ready(), t: t, nats: server}
	s.nc = listen(t, server.ClientURL())
	s.pair = talk(t, s.URL, s.nc)
	t.Cleanup(s.end)
	return s
}

// end checks what must be true after every test.
func (s *stage) end() {
	s.pair.check()
	s.eventually("only the pair is left", func() bool {
		return s.Engine.Sessions() == 2 && s.Edge.Sockets() == 2 && s.edgeFigure("rooms", "") == 1
	})
	if n := s.Bus.Dropped(); n > 0 {
		s.t.Errorf("%d messages from NATS were dropped", n)
	}
	for _, line := range s.Logged() {
		if strings.Contains(line, "panic") {
			s.t.Errorf("the log has %s", line)
		}
	}
}

// listen connects a NATS client that lasts as long as the test.
func listen(t *testing.T, url string) *nats.Conn {
	t.Helper()
	closed := make(chan struct{})
	nc, err := nats.Connect(url, nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond),
		nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		nc.Close()
		<-closed
	})
	return nc
}

func (s *stage) eventually(what string, ok func() bool) {
	s.t.Helper()
	eventually(s.t, what, ok)
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it did not come true that %s", what)
		}
	}
}

// figure reads a metric; label is the value of its label, or "".
func figure(set *tally.Set, name, label string) int {
	for _, m := range set.Metrics() {
		if m.Name == name && m.Value() == label {
			return int(m.Read())
		}
	}
	panic("no metric " + name + " " + label)
}

func (s *stage) edgeFigure(name, label string) int { return figure(s.Edge.Metrics(), name, label) }

// ended is how many sessions ended for a reason.
func (s *stage) ended(reason string) int {
	return figure(s.Engine.Metrics(), "sessions_ended_total", reason)
}

// socket is a client in /chat.
type socket struct {
	*enginetest.Client
	id string
}

// enter opens a session and connects it to /chat.
func (s *stage) enter(name string) *socket {
	s.t.Helper()
	c := s.Dial(name)
	return &socket{c, c.Connect("/chat", "")}
}

// subject is how events of the hostile client reach services.
const subject = "sio.chat.on."

// hear subscribes, and returns once it holds.
func (s *stage) hear(subject string) *nats.Subscription {
	s.t.Helper()
	sub, err := s.nc.SubscribeSync(subject)
	if err == nil {
		err = s.nc.Flush()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return sub
}

// next waits for a message.
func (s *stage) next(sub *nats.Subscription) *nats.Msg {
	s.t.Helper()
	m, err := sub.NextMsg(patience)
	if err != nil {
		s.t.Fatalf("nothing came on %s: %v", sub.Subject, err)
	}
	return m
}

// crime is something that ends the session of whoever does it.
type crime struct {
	name   string
	do     func(*socket)
	reason string // of the session's end
	says   string // part of the line in the log
}

// punished commits crimes, each on a session of its own, and checks what its sender, the services, the operator and
// the metrics learn of each.
func (s *stage) punished(crimes []crime) {
	s.t.Helper()
	s.punishedAs(s.enter, crimes)
}

// punishedAs is punished for sessions that begin in another way.
func (s *stage) punishedAs(enter func(name string) *socket, crimes []crime) {
	s.t.Helper()
	notices := s.hear(subject + "disconnect")
	for _, c := range crimes {
		ended, said := s.ended(c.reason), len(s.Logged())
		so := enter(c.name)
		c.do(so)
		so.ExpectEnd()
		m := s.next(notices)
		if want := `["disconnect",{"reason":"` + c.reason + `","rooms":[]}]`; string(m.Data) != want || !strings.HasSuffix(m.Reply, so.id) {
			s.t.Errorf("%s: the notice is %s of %s, want %s of %s", c.name, m.Data, m.Reply, want, so.id)
		}
		if got := s.ended(c.reason) - ended; got != 1 {
			s.t.Errorf("%s: %d sessions ended with %q, want 1", c.name, got, c.reason)
		}
		s.said(c.name, said, c.says, "address=127.0.0.1")
		so.Hangup()
	}
}

// news is what the log has since it had a number of lines, but for the lines about refused clients, which must not be many.
func (s *stage) news(since int) (lines []string) {
	refusals := 0
	for _, line := range s.Logged()[since:] {
		if strings.Contains(line, "refused a client") {
			refusals++
		} else {
			lines = append(lines, line)
		}
	}
	if refusals > 400 { // 200 a minute for each reason
		s.t.Errorf("the log has %d lines about refused clients", refusals)
	}
	return lines
}

// said wants exactly one line in the log since it had a number of lines, with all of these parts.
func (s *stage) said(what string, since int, parts ...string) {
	s.t.Helper()
	s.eventually(what+": the log says something", func() bool { return len(s.news(since)) > 0 })
	lines := s.news(since)
	if len(lines) != 1 {
		s.t.Errorf("%s: the log has %d lines instead of one:\n%s", what, len(lines), strings.Join(lines, "\n"))
		return
	}
	for _, part := range parts {
		if !strings.Contains(lines[0], part) {
			s.t.Errorf("%s: the log does not say %q: %s", what, part, lines[0])
		}
	}
}

// quiet wants no new line in the log.
func (s *stage) quiet(what string, since int) {
	s.t.Helper()
	if lines := s.news(since); len(lines) > 0 {
		s.t.Errorf("%s: the log has %s", what, strings.Join(lines, "\n"))
	}
}

// alive shows that a session goes on and that nothing else was on its way to it.
func (s *stage) alive(what string, so *socket) {
	s.t.Helper()
	if err := s.nc.Publish("sio.chat.emit.socket."+so.id, []byte(`["marker"]`)); err != nil {
		s.t.Fatal(err)
	}
	if got, ok := so.Await(); !ok || got != `42/chat,["marker"]` {
		s.t.Fatalf("%s: %.200q came, want the marker (the session goes on: %t)", what, got, ok)
	}
}

// How the healthy pair talks.
const (
	pairPrefix  = `42/chat,["message","pair",`
	pairSubject = subject + "message"
	batch       = 5 // messages that one sends before the other answers
)

// pair is two healthy clients in /chat, and a service that hears them.
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

// talk starts a pair; check ends it. url is the edge's.
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

// hears reads until a message begins with a text, and wants it to end in another.
func hears(ws *websocket.Conn, prefix, rest string) error {
	_ = ws.SetReadDeadline(time.Now().Add(patience))
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

// run talks until it is told to stop: one sends some messages, the other gets them and sends as many, and so on.
func (p *pair) run(ann, bob *websocket.Conn) {
	defer close(p.done)
	pace := time.NewTicker(time.Millisecond) // leaves the machine to the hostile ones
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

// batch sends messages from a number on, and waits until they have come.
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
				return fmt.Errorf("the service heard %s, want %s", m.Data, want)
			}
			i++
		case <-time.After(patience):
			return fmt.Errorf("the service did not hear message %d of %s", i, name)
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

// check ends the talk and wants all of it to have arrived.
func (p *pair) check() {
	p.t.Helper()
	p.finish()
	if p.err != nil {
		p.t.Errorf("the healthy pair: %v", p.err)
	}
	p.t.Logf("meanwhile the pair exchanged %d messages", p.rounds*2*batch)
}
