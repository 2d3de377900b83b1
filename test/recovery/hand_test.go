package recovery

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"partyline/internal/edgetest"
)

// slowHeart is for tests whose clients do not answer heartbeats while nothing is expected of them.
var slowHeart = []string{"--engine.ping_interval=25s", "--engine.ping_timeout=20s"}

// hand is a client that the test leads by the hand. Its test's goroutine owns it.
type hand struct {
	t         *testing.T
	via       transport
	namespace string
	SID, PID  string
	offset    string
	got       []string // ids of events
}

// enter connects to a namespace at an edge. pid and offset may be empty.
func (s *stage) enter(edge int, namespace, name, pid, offset string, rooms ...string) *hand {
	s.t.Helper()
	h, err := s.tryEnter(edge, namespace, name, pid, offset, rooms...)
	if err != nil {
		s.t.Fatal(err)
	}
	return h
}

// tryEnter is enter for other goroutines.
func (s *stage) tryEnter(edge int, namespace, name, pid, offset string, rooms ...string) (*hand, error) {
	h := &hand{t: s.t, namespace: namespace, offset: offset}
	var err error
	if h.via, _, err = dialSocket(s.at[edge]); err != nil {
		return nil, err
	}
	s.t.Cleanup(h.via.end)
	all := map[string]any{"name": name, "rooms": rooms}
	if pid != "" {
		all["pid"] = pid
	}
	if offset != "" {
		all["offset"] = offset
	}
	auth, _ := json.Marshal(all)
	if err := h.via.send("40" + namespace + "," + string(auth)); err != nil {
		return nil, err
	}
	for end := time.Now().Add(edgetest.Patience); h.SID == ""; {
		if err := h.step(); err != nil {
			return nil, fmt.Errorf("no CONNECT: %w", err)
		}
		if time.Now().After(end) {
			return nil, fmt.Errorf("no CONNECT within %v", edgetest.Patience)
		}
	}
	return h, nil
}

// step handles the next packet.
func (h *hand) step() error {
	packet, isBinary, err := h.via.next()
	if err != nil {
		return err
	}
	hello, isConnect := strings.CutPrefix(packet, "40"+h.namespace+",")
	event, isEvent := strings.CutPrefix(packet, "42"+h.namespace+",")
	if rest, binary := strings.CutPrefix(packet, "451-"+h.namespace+","); binary {
		event, isEvent = rest, true
	}
	switch {
	case isBinary:
	case packet == "2":
		return h.via.send("3")
	case isConnect:
		return json.Unmarshal([]byte(hello), h)
	case isEvent:
		id, last, _ := parse([]byte(event))
		h.got = append(h.got, id)
		if last != "" {
			h.offset = last
		}
	default:
		return fmt.Errorf("it received %s", packet)
	}
	return nil
}

// hears reads until an event has come, and returns all since the last call.
func (h *hand) hears(id string) (all []string) {
	h.t.Helper()
	for len(h.got) == 0 || h.got[len(h.got)-1] != id {
		if err := h.step(); err != nil {
			h.t.Fatalf("%s has not come, but %v: %v", id, h.got, err)
		}
	}
	all, h.got = h.got, nil
	return all
}

// drained reads until the connection ends or is silent for a second, and returns the events.
func (h *hand) drained() []string {
	quiet := time.AfterFunc(time.Second, h.via.end)
	defer quiet.Stop()
	for h.step() == nil {
	}
	return h.got
}

// request asks about a socket of /chat, again until no error of the moment is left.
func (s *stage) request(verb, id, body string) (answer []json.RawMessage) {
	s.t.Helper()
	m, err := s.nc.Request("sio.chat."+verb+".socket."+id, []byte(body), 10*time.Second)
	if err != nil {
		s.t.Fatalf("%s of %s: %v", verb, id, err)
	}
	if why := m.Header.Get("Sio-Error"); why != "" {
		s.t.Fatalf("%s of %s: %s", verb, id, why)
	}
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		s.t.Fatalf("%s of %s: %s", verb, id, m.Data)
	}
	return answer
}

// say publishes an event to a target of /chat, logged when it returns.
func (s *stage) say(target, publisher string, n int) string {
	s.t.Helper()
	edgetest.Eventually(s.t, "an event is logged", func() bool {
		_, err := s.nc.Request("sio.chat.emit."+target, fmt.Appendf(nil, `["e",%q,%d]`, publisher, n), 2*time.Second)
		return err == nil
	})
	return fmt.Sprint(publisher, "/", n)
}
