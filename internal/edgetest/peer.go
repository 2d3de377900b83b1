package edgetest

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// Peer is a NATS client of a test: a service, or another publisher. An error ends the test.
type Peer struct {
	NC *nats.Conn
	t  testing.TB
}

// NewPeer connects a peer until the test ends.
func NewPeer(t testing.TB, url string, options ...nats.Option) *Peer {
	t.Helper()
	return &Peer{Connect(t, url, options...), t}
}

// Connect makes a NATS connection that lasts until the test ends, and reconnects when its server is back.
func Connect(t testing.TB, url string, options ...nats.Option) *nats.Conn {
	t.Helper()
	closed := make(chan struct{})
	nc, err := nats.Connect(url, append([]nats.Option{nats.MaxReconnects(-1), nats.ReconnectWait(20 * time.Millisecond),
		nats.ClosedHandler(func(*nats.Conn) { close(closed) })}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		nc.Close()
		<-closed
	})
	return nc
}

// Message makes a NATS message; headers are "Name: value".
func Message(subject, reply, body string, headers ...string) *nats.Msg {
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

// Send publishes a message.
func (p *Peer) Send(m *nats.Msg) {
	p.t.Helper()
	if err := p.NC.PublishMsg(m); err != nil {
		p.t.Fatal(err)
	}
}

// Publish publishes a message; headers are "Name: value".
func (p *Peer) Publish(subject, body string, headers ...string) {
	p.t.Helper()
	p.Send(Message(subject, "", body, headers...))
}

// PublishReply is Publish with a reply subject.
func (p *Peer) PublishReply(subject, reply, body string, headers ...string) {
	p.t.Helper()
	p.Send(Message(subject, reply, body, headers...))
}

// Flush waits until the server has processed what was published, and what was subscribed.
func (p *Peer) Flush() {
	p.t.Helper()
	if err := p.NC.Flush(); err != nil {
		p.t.Fatal(err)
	}
}

// Ask sends a request and returns the first answer.
func (p *Peer) Ask(subject, body string, headers ...string) *nats.Msg {
	p.t.Helper()
	answer, err := p.NC.RequestMsg(Message(subject, "", body, headers...), Patience)
	if err != nil {
		p.t.Fatalf("request on %s: %v", subject, err)
	}
	return answer
}

// Handle calls fn for each message on a subject, from now on.
func (p *Peer) Handle(subject string, fn nats.MsgHandler) {
	p.t.Helper()
	if _, err := p.NC.Subscribe(subject, fn); err != nil {
		p.t.Fatal(err)
	}
	p.Flush()
}

// Answer answers each request on a subject in the same way, from now on.
func (p *Peer) Answer(subject, body string, headers ...string) {
	p.t.Helper()
	p.Handle(subject, func(m *nats.Msg) { _ = m.RespondMsg(Message("", "", body, headers...)) })
}

// Hear subscribes, and returns once the subscription is active.
func (p *Peer) Hear(subject string) *Ear {
	p.t.Helper()
	return Hear(p.t, p.NC, subject)
}

// Ear is a subscription of a test.
type Ear struct {
	*nats.Subscription
	T testing.TB
}

// Hear subscribes, and returns once the subscription is active.
func Hear(t testing.TB, nc *nats.Conn, subject string) *Ear {
	t.Helper()
	return HearAs(t, nc, "", subject)
}

// HearAs is Hear for a member of a queue group.
func HearAs(t testing.TB, nc *nats.Conn, group, subject string) *Ear {
	t.Helper()
	sub, err := nc.QueueSubscribeSync(subject, group)
	if err == nil {
		err = nc.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	return &Ear{sub, t}
}

// Next waits for a message.
func (e *Ear) Next() *nats.Msg {
	e.T.Helper()
	m, err := e.NextMsg(Patience)
	if err != nil {
		e.T.Fatalf("nothing came on %s: %v", e.Subject, err)
	}
	return m
}

// Gets waits for a message and compares all of it except its headers.
func (e *Ear) Gets(subject, reply, body string) *nats.Msg {
	e.T.Helper()
	m := e.Next()
	if m.Subject != subject || m.Reply != reply || string(m.Data) != body {
		e.T.Fatalf("on %s came\n\t%s, reply %q, %q, want\n\t%s, reply %q, %q", e.Subject, m.Subject, m.Reply, m.Data, subject, reply, body)
	}
	return m
}

// Serve starts a service, such as backend.Service, until the test ends.
func Serve(t testing.TB, service interface {
	Start(context.Context) error
	Close(context.Context) error
}) {
	t.Helper()
	if err := service.Start(Patient(t)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := service.Close(Patient(t)); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
}

// Patient is a context for slow operations, also while a test ends.
func Patient(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	t.Cleanup(cancel)
	return ctx
}
