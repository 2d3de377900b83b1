package test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/internal/edgetest"
)

// instance is a running copy of the service "chat" that claims every socket of /door it is asked about. It knows nothing
// but docs/subjects.md.
type instance struct {
	t     *testing.T
	nc    *nats.Conn
	name  string
	asked *ear // admissions
	takes *ear // takeovers
	owned *ear // all that is for it
	stop  chan struct{}
	done  chan struct{}
}

// startInstance starts an instance that beats.
func startInstance(t *testing.T, nc *nats.Conn, name string) *instance {
	t.Helper()
	i := &instance{t: t, nc: nc, name: name, stop: make(chan struct{}), done: make(chan struct{})}
	i.owned = hearOn(t, nc, "sio.door.own."+name+".>")
	i.asked = i.queue("sio.door.on.connect")
	i.takes = i.queue("sio.door.own.chat.connect")
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

func (i *instance) queue(subject string) *ear {
	i.t.Helper()
	return &ear{edgetest.HearAs(i.t, i.nc, "chat", subject)}
}

func (i *instance) announcement() []byte {
	return fmt.Appendf(nil, `[{"instance":"%s","group":"chat","namespaces":["/door"],"at":%d,"every":1000}]`, i.name, time.Now().UnixMilli())
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

// claim answers the next request for a socket with a claim, and returns the handshake.
func (i *instance) claim(from *ear, body string) connectRequest {
	i.t.Helper()
	m := from.Next()
	i.answer(m, body, "Sio-Group: chat", "Sio-Owner: "+i.name)
	var name string
	var request connectRequest
	if err := json.Unmarshal(m.Data, &[]any{&name, &request}); err != nil {
		i.t.Fatalf("the request is %s: %v", m.Data, err)
	}
	return request
}

type connectRequest struct {
	SID      string
	Auth     map[string]string
	Takeover *struct {
		From  string
		Claim int
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

// own connects a client whose socket an instance admits and claims.
func (s *stage) own(i *instance, name, admission string) *socket {
	s.t.Helper()
	c := s.Dial(name)
	c.Send("40/door," + `{"name":"` + name + `"}`)
	i.claim(i.asked, admission)
	so := &socket{Client: c, Head: "/door,", Token: "door"}
	so.ID = c.Connected("/door")
	return so
}

// leaving announces that an instance leaves and wants the edge's answer.
func (s *stage) leaving(i *instance, sockets int, marker string) {
	s.t.Helper()
	m := s.Ask("sio.$svc.chat."+i.name+".leaving", string(i.announcement()))
	if want := fmt.Sprintf(`[{"edge":"%s","sockets":%d,"markers":["%s"]}]`, s.ID, sockets, marker); string(m.Data) != want {
		s.t.Fatalf("leaving is answered %s, want %s", m.Data, want)
	}
}

// drop ends an instance's subscriptions, as the end of its process would.
func (i *instance) drop() {
	i.silence()
	for _, e := range []*ear{i.asked, i.takes, i.owned} {
		_ = e.Subscription.Unsubscribe()
	}
	_ = i.nc.Flush()
}

// until waits for a message on a subject and passes over others.
func (s *stage) until(e *ear, subject string) *nats.Msg {
	s.t.Helper()
	for {
		if m := e.Next(); m.Subject == subject {
			return m
		}
	}
}

// notOwner says that an event of a socket came to an instance that does not own it; claim is the number of a claim, or "".
func (i *instance) notOwner(so *socket, claim string) {
	i.t.Helper()
	headers := []string{"Sio-Error: not owner", "Sio-Group: chat", "Sio-Owner: " + i.name}
	if claim != "" {
		headers = append(headers, "Sio-Claim: "+claim)
	}
	if err := i.nc.PublishMsg(edgetest.Message("sio.door.ack."+so.ID+".connect", "", "", headers...)); err != nil {
		i.t.Fatal(err)
	}
}
