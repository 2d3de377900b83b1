package recovery

import (
	"encoding/json"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"

	"partyline/test/recovery/judge"
)

// auth is what clients of the test give at CONNECT, and how the service knows them.
type auth struct {
	Name  string   `json:"name"`
	Rooms []string `json:"rooms"`
}

// service admits clients of /chat to the rooms that they name, and changes rooms later.
type service struct {
	t  *testing.T
	nc *nats.Conn

	mu        sync.Mutex
	current   map[string]string        // guarded by mu: the newest socket, by the client's name
	spans     map[string][]*judge.Span // guarded by mu, by socket
	recovered map[string]int           // guarded by mu: notices, by socket
	history   map[string][]string      // guarded by mu: changes of rooms, by socket
}

func serve(t *testing.T, nc *nats.Conn) *service {
	t.Helper()
	s := &service{t: t, nc: nc, current: make(map[string]string), spans: make(map[string][]*judge.Span), recovered: make(map[string]int),
		history: make(map[string][]string)}
	if _, err := nc.Subscribe("sio.chat.on.connect", s.connect); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *service) connect(m *nats.Msg) {
	var name string
	var handshake struct {
		SID       string
		Auth      auth
		Recovered json.RawMessage
	}
	if err := json.Unmarshal(m.Data, &[]any{&name, &handshake}); err != nil {
		s.t.Errorf("a connect request: %v: %s", err, m.Data)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if handshake.Recovered != nil {
		s.recovered[handshake.SID]++
	}
	who := handshake.Auth
	if who.Name == "" {
		who.Name = handshake.SID
	}
	s.current[who.Name] = handshake.SID
	if !strings.Contains(m.Reply, ".ack.") {
		return // a notice
	}
	if s.spans[handshake.SID] == nil { // a request may come twice
		s.spans[handshake.SID] = []*judge.Span{}
		for _, room := range who.Rooms {
			s.spans[handshake.SID] = append(s.spans[handshake.SID], &judge.Span{Room: room, SureTo: judge.Never, To: judge.Never})
		}
	}
	answer, _ := json.Marshal([]any{map[string]any{"rooms": who.Rooms, "user": who.Name, "data": map[string]any{"name": who.Name}}})
	_ = m.Respond(answer)
}

// socket returns a random socket, or "".
func (s *service) socket() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.current) == 0 {
		return ""
	}
	names := slices.Sorted(maps.Keys(s.current))
	return s.current[names[rand.IntN(len(names))]]
}

// nameOf returns the name of the client whose newest socket has an id.
func (s *service) nameOf(id string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, one := range s.current {
		if one == id {
			return name
		}
	}
	return ""
}

// roomsOf returns the memberships of a socket so far.
func (s *service) roomsOf(id string) (all []judge.Span) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, span := range s.spans[id] {
		all = append(all, *span)
	}
	return all
}

// story returns what happened to the rooms of a socket.
func (s *service) story(id string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.history[id])
}

// in returns the open membership of a room, or nil.
func (s *service) in(id, room string) *judge.Span {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, span := range s.spans[id] {
		if span.Room == room && span.To == judge.Never {
			return span
		}
	}
	return nil
}

// change changes a membership under the lock.
func (s *service) change(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}
