// Package test holds the behaviours of the product, seen through its front door: bare Socket.IO clients on one side,
// plain NATS clients on the other, real edges and a real NATS server between them. The files read as a specification of
// docs/subjects.md.
package test

import (
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"partyline/edge"
	"partyline/edge/edgetest"
	"partyline/engine/enginetest"
	"partyline/internal/natsd/natsdtest"
	"partyline/internal/tally"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must come.
const patience = 40 * time.Second

// rules are the namespaces of an edge, by name or pattern.
type rules map[string]edge.Namespace

// Most tests need one namespace in which a service admits sockets and one that everybody may enter.
func usual() rules {
	return rules{"/": {Connect: edge.ConnectOpen}, "/chat": {Connect: edge.ConnectOpen}, "/door": {Connect: edge.ConnectService}}
}

// stage is one edge and a NATS client, which is the service and every other publisher.
type stage struct {
	*edgetest.Node
	t    *testing.T
	nats *natsdtest.Server
	nc   *nats.Conn
}

// begin starts NATS, an edge and a service.
func begin(t *testing.T, namespaces rules, change ...func(*edgetest.Options)) *stage {
	t.Helper()
	return beginAt(t, natsdtest.Start(t), namespaces, change...)
}

// beginAt is begin with a NATS server that runs already.
func beginAt(t *testing.T, server *natsdtest.Server, namespaces rules, change ...func(*edgetest.Options)) *stage {
	t.Helper()
	o := edgetest.Options{NATS: server.ClientURL(), Namespaces: namespaces}
	for _, c := range change {
		c(&o)
	}
	return &stage{Node: edgetest.Start(t, o).Ready(), t: t, nats: server, nc: service(t, server.ClientURL())}
}

// service connects a NATS client that lasts as long as the test.
func service(t *testing.T, url string) *nats.Conn {
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

// socket is a client in one namespace.
type socket struct {
	*enginetest.Client
	id    string
	head  string // how the namespace stands in packets: "/chat," or nothing
	token string // how it stands in subjects
}

// enter dials and connects to a namespace that admits without asking.
func (s *stage) enter(name, namespace string) *socket {
	s.t.Helper()
	return enterOn(s.Node, name, namespace)
}

func enterOn(n *edgetest.Node, name, namespace string) *socket {
	return also(n.Dial(name), namespace)
}

// also connects a session to one more namespace, whose name needs no escapes.
func also(c *enginetest.Client, namespace string) *socket {
	so := &socket{Client: c, head: namespace + ",", token: namespace[1:]}
	if namespace == "/" {
		so.head, so.token = "", "_"
	}
	so.id = c.Connect(namespace, "")
	return so
}

// dialWith opens a session whose request carries headers.
func (s *stage) dialWith(name string, header http.Header) *enginetest.Client {
	s.t.Helper()
	return enginetest.Dial(s.t, s.Talk, name, s.URL, header)
}

// send emits an event; id is the ack id, or "".
func (so *socket) send(id, body string) { so.Send("42" + so.head + id + body) }

// gets waits for an event as the next frame.
func (so *socket) gets(body string) { so.Expect("42" + so.head + body) }

// address is the subject that reaches the socket.
func (so *socket) address() string { return "sio." + so.token + ".emit.socket." + so.id }

// ack is the return address of an event that wanted an ack.
func (so *socket) ack(id string) string { return "sio." + so.token + ".ack." + so.id + "." + id }

// message makes a NATS message; headers are "Name: value".
func message(subject, reply, body string, headers ...string) *nats.Msg {
	m := &nats.Msg{Subject: subject, Reply: reply, Data: []byte(body)}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if m.Header == nil {
			m.Header = nats.Header{}
		}
		m.Header[name] = append(m.Header[name], value)
	}
	return m
}

// publish sends a message from the service.
func (s *stage) publish(subject, body string, headers ...string) {
	s.t.Helper()
	s.publishReply(subject, "", body, headers...)
}

// publishReply sends a message with a reply subject.
func (s *stage) publishReply(subject, reply, body string, headers ...string) {
	s.t.Helper()
	if err := s.nc.PublishMsg(message(subject, reply, body, headers...)); err != nil {
		s.t.Fatal(err)
	}
}

// ask sends a request and returns the first answer.
func (s *stage) ask(subject, body string, headers ...string) *nats.Msg {
	s.t.Helper()
	answer, err := s.nc.RequestMsg(message(subject, "", body, headers...), patience)
	if err != nil {
		s.t.Fatalf("request on %s: %v", subject, err)
	}
	return answer
}

// change asks for a join, leave or disconnect and wants it done to a number of sockets.
func (s *stage) change(subject, body string, sockets int, headers ...string) {
	s.t.Helper()
	answer := s.ask(subject, body, headers...)
	if want := fmt.Sprintf(`[{"edge":"%s","sockets":%d}]`, s.ID, sockets); string(answer.Data) != want || answer.Header != nil {
		s.t.Fatalf("%s %s was answered %q %v, want %q", subject, body, answer.Data, answer.Header, want)
	}
}

// join puts a socket into rooms.
func (s *stage) join(so *socket, rooms string) {
	s.t.Helper()
	s.change("sio."+so.token+".join.socket."+so.id, rooms, 1)
}

// fails asks for something and wants to be told that it cannot be, for a reason that contains a text.
func (s *stage) fails(subject, body, reason string) {
	s.t.Helper()
	answer := s.ask(subject, body)
	if got := answer.Header.Get("Sio-Error"); !strings.Contains(got, reason) || got == "" || len(answer.Data) > 0 {
		s.t.Fatalf("%s %s was answered %q %v, want the error %q", subject, body, answer.Data, answer.Header, reason)
	}
}

// onlyMarker shows that nothing of what the service published before reached these sockets.
func (s *stage) onlyMarker(sockets ...*socket) {
	s.t.Helper()
	for _, so := range sockets {
		s.publish(so.address(), `["marker"]`)
		so.gets(`["marker"]`)
	}
}

// ear is a subscription of the service.
type ear struct {
	t   testing.TB
	sub *nats.Subscription
}

// hear subscribes, and returns once it holds.
func (s *stage) hear(subject string) *ear {
	s.t.Helper()
	return hearOn(s.t, s.nc, subject)
}

func hearOn(t testing.TB, nc *nats.Conn, subject string) *ear {
	t.Helper()
	sub, err := nc.SubscribeSync(subject)
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return &ear{t, sub}
}

// next waits for a message.
func (e *ear) next() *nats.Msg {
	e.t.Helper()
	m, err := e.sub.NextMsg(patience)
	if err != nil {
		e.t.Fatalf("nothing came on %s: %v", e.sub.Subject, err)
	}
	return m
}

// gets waits for a message and compares all of it but its headers.
func (e *ear) gets(subject, reply, body string) *nats.Msg {
	e.t.Helper()
	m := e.next()
	if m.Subject != subject || m.Reply != reply || string(m.Data) != body {
		e.t.Fatalf("on %s came\n\t%s, reply %q, %q, want\n\t%s, reply %q, %q", e.sub.Subject, m.Subject, m.Reply, m.Data, subject, reply, body)
	}
	return m
}

// serve answers every connect request of a namespace in the same way, until the test ends.
func (s *stage) serve(token, body string, headers ...string) {
	s.t.Helper()
	_, err := s.nc.Subscribe("sio."+token+".on.connect", func(m *nats.Msg) {
		_ = m.RespondMsg(message("", "", body, headers...))
	})
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.nc.Flush(); err != nil {
		s.t.Fatal(err)
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

// counts waits until a metric of the edge has a value.
func (s *stage) counts(name, label string, want int) {
	s.t.Helper()
	edgetest.Eventually(s.t, fmt.Sprintf("%s %q is %d", name, label, want), func() bool {
		return figure(s.Edge.Metrics(), name, label) == want
	})
}

// received is how many messages the edge had from NATS, without announcements of edges.
func received(n *edgetest.Node) int { return n.Heard() }

// receivedSoFar is received once NATS has said of each connect of the edge's sockets that no service hears it.
func receivedSoFar(t *testing.T, n *edgetest.Node) int {
	t.Helper()
	edgetest.Eventually(t, "NATS has answered all connects", func() bool {
		return figure(n.Edge.Metrics(), "no_responders_total", "") >= n.Edge.Sockets()
	})
	return received(n)
}

// with returns the rules with one namespace more.
func (r rules) with(name string, ns edge.Namespace) rules {
	r = maps.Clone(r)
	r[name] = ns
	return r
}
