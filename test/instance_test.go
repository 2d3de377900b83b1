package test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/internal/edgetest"
)

// instance is a running copy of the service "chat". It owns every socket of /door that it is asked about. It has only
// docs/subjects.md as its source.
type instance struct {
	t     *testing.T
	nc    *nats.Conn
	name  string
	where string // the namespaces that it announces, a pattern
	owned *ear   // all messages for it: connect requests, events, notices about its sockets
	stop  chan struct{}
	done  chan struct{}
}

// startInstance starts an instance that beats, and waits until an edge has its announcement.
func startInstance(t *testing.T, nc *nats.Conn, name string) *instance {
	t.Helper()
	return startInstanceOf(t, nc, name, "/door")
}

func startInstanceOf(t *testing.T, nc *nats.Conn, name, namespaces string) *instance {
	t.Helper()
	i := &instance{t: t, nc: nc, name: name, where: namespaces, stop: make(chan struct{}), done: make(chan struct{})}
	i.owned = hearOn(t, nc, "sio.door.own."+name+".>")
	if _, err := nc.Request("sio.$svc.chat."+name+".hello", i.announcement(), edgetest.Patience); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(i.done)
		for beat := time.NewTicker(200 * time.Millisecond); ; {
			select {
			case <-i.stop:
				beat.Stop()
				return
			case <-beat.C:
				_ = nc.Publish("sio.$svc.chat."+name+".beat", i.announcement())
			}
		}
	}()
	t.Cleanup(i.silence)
	return i
}

func (i *instance) announcement() []byte {
	return fmt.Appendf(nil, `[{"instance":"%s","group":"chat","owns":true,"namespaces":["%s"],"at":%d,"every":1000}]`, i.name, i.where, time.Now().UnixMilli())
}

// silence ends the beats.
func (i *instance) silence() {
	select {
	case <-i.done:
	default:
		close(i.stop)
		<-i.done
	}
}

// accepts answers the next connect request with an admission, and returns the request.
func (i *instance) accepts(body string) connectRequest {
	i.t.Helper()
	m := i.request()
	i.admits(m, body)
	request := connectRequest{Assignment: m.Header.Get("Sio-Assignment")}
	var name string
	if err := json.Unmarshal(m.Data, &[]any{&name, &request}); err != nil {
		i.t.Fatalf("the request is %s: %v", m.Data, err)
	}
	return request
}

// request is the next message, a connect request.
func (i *instance) request() *nats.Msg {
	i.t.Helper()
	m := i.owned.Next()
	if m.Subject != "sio.door.own."+i.name+".connect" || m.Reply == "" {
		i.t.Fatalf("%s %s is no connect request", m.Subject, m.Data)
	}
	return m
}

// admits answers a connect request with an admission.
func (i *instance) admits(m *nats.Msg, body string) { i.t.Helper(); i.decides(m, body) }

// decides answers a connect request.
func (i *instance) decides(m *nats.Msg, body string, headers ...string) {
	i.t.Helper()
	i.answer(m, body, append(headers, "Sio-From: "+i.name, "Sio-Assignment: "+m.Header.Get("Sio-Assignment"))...)
}

type connectRequest struct {
	SID        string
	Auth       map[string]string
	Assignment string
	Handover   *struct {
		From  string
		Rev   int
		Rooms []string
		User  string
		Data  map[string]any
	}
}

func (i *instance) answer(m *nats.Msg, body string, headers ...string) {
	i.t.Helper()
	if err := m.RespondMsg(edgetest.Message("", "", body, headers...)); err != nil {
		i.t.Fatal(err)
	}
}

// gets waits for an event of an owned socket.
func (i *instance) gets(so *socket, event, body string) {
	i.t.Helper()
	i.owned.Gets("sio.door.own."+i.name+"."+event, so.Address(), body)
}

// own connects a client whose socket an instance admits.
func (s *stage) own(i *instance, name, admission string) *socket {
	s.t.Helper()
	c := s.Dial(name)
	c.Send("40/door," + `{"name":"` + name + `"}`)
	i.accepts(admission)
	so := &socket{Client: c, Head: "/door,", Token: "door"}
	so.ID = c.Connected("/door")
	return so
}

// leaving announces that an instance leaves, and checks the edge's answer.
func (s *stage) leaving(i *instance, sockets int, marker string) {
	s.t.Helper()
	m := s.Ask("sio.$svc.chat."+i.name+".leaving", string(i.announcement()))
	if want := fmt.Sprintf(`[{"edge":"%s","sockets":%d,"markers":["%s"]}]`, s.ID, sockets, marker); string(m.Data) != want {
		s.t.Fatalf("leaving is answered %s, want %s", m.Data, want)
	}
}

// drop ends an instance's subscriptions, as the end of its process does.
func (i *instance) drop() {
	i.silence()
	_ = i.owned.Subscription.Unsubscribe()
	_ = i.nc.Flush()
}

// until waits for a message on a subject and skips others.
func (s *stage) until(e *ear, subject string) *nats.Msg {
	s.t.Helper()
	for {
		if m := e.Next(); m.Subject == subject {
			return m
		}
	}
}

// notOwner reports an event of a socket that the instance does not own. number is that of an assignment, or "".
func (i *instance) notOwner(so *socket, number string) {
	i.t.Helper()
	headers := []string{"Sio-Error: not owner", "Sio-From: " + i.name}
	if number != "" {
		headers = append(headers, "Sio-Assignment: "+number)
	}
	if err := i.nc.PublishMsg(edgetest.Message("sio.door.ack."+so.ID+".connect", "", "", headers...)); err != nil {
		i.t.Fatal(err)
	}
}
