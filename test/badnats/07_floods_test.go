package badnats

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/internal/edgetest"
)

// flood is the i-th message of a flood.
type flood func(i int) *nats.Msg

// floods are what a publisher can send that is no event. Those that are bounded cost little more than to be read.
func (s *stage) floods() (bounded, answered map[string]flood) {
	id := s.pair.Ann.ID
	say := func(subject, reply, body string, headers ...string) flood {
		m := edgetest.Message(subject, reply, body, headers...)
		return func(int) *nats.Msg { return m }
	}
	turns := func(each ...flood) flood { return func(i int) *nats.Msg { return each[i%len(each)](i) } }
	bounded = map[string]flood{
		"questions about services": say("$SRV.STATS", "_INBOX.x", ""),
		"questions about this edge": turns(say("$SRV.PING.partyline-edge."+s.Node.ID, "_INBOX.x", ""),
			say("$SRV.INFO.partyline-edge", "_INBOX.x", "")),
		"invented edges": func(i int) *nats.Msg {
			edge := fmt.Sprintf("x%07d", i)
			return edgetest.Message("sio.$edge."+edge+".beat", "",
				`[{"edge":"`+edge+`","at":1,"every":1000,"sockets":0,"address":"http://127.0.0.1:9"}]`)
		},
		"invented instances": func(i int) *nats.Msg {
			instance := "greedy-" + strconv.Itoa(i)
			return edgetest.Message("sio.$svc.greedy."+instance+".hello", "_INBOX.x",
				`[{"instance":"`+instance+`","group":"greedy","owns":true,"namespaces":["/nothing"]}]`)
		},
		"pongs": func(i int) *nats.Msg {
			return edgetest.Message("sio.$edge."+s.Node.ID+".pong.greedy-"+strconv.Itoa(i), "", `[]`, "Sio-Error: not owner")
		},
	}
	answered = map[string]flood{
		"words of one instance": func(i int) *nats.Msg {
			return edgetest.Message("sio.$svc.greedy.greedy-1."+[]string{"hello", "beat", "leaving", "left", "bye"}[i%5], "_INBOX.x", `[{}]`)
		},
		"pauses": turns(say("sio.chat.pause.socket."+id, "_INBOX.x", `["g-1"]`), say("sio.chat.resume.socket."+id, "_INBOX.x", `["g-1"]`)),
		"joins":  turns(say("sio.chat.join.all", "_INBOX.x", `["a","b"]`), say("sio.chat.leave.all", "_INBOX.x", `["a"]`)),
		"data":   say("sio.chat.data.all", "_INBOX.x", `[{"a":1}]`), "gets": say("sio.chat.fetch.all", "_INBOX.x", ``),
		"broken bodies": say("sio.chat.join.all", "_INBOX.x", `[`), "replies elsewhere": say("sio.chat.join.all", "orders.create", `["a"]`),
	}
	return bounded, answered
}

// While one publisher floods an edge with what is no event, the events of another one arrive, in order. What is
// bounded delays them by little more than the edge needs to read it and drop it.
func TestFloodsDelayNoDeliveries(t *testing.T) {
	s := begin(t)
	bounded, answered := s.floods()
	least := s.delay(func(int) *nats.Msg { return edgetest.Message("$SRV.X", "_INBOX.x", "") })
	for name, message := range bounded {
		delay := s.delay(message)
		t.Logf("%s delay others by %v; what is dropped at once by %v", name, delay, least)
		if limit := 100*time.Millisecond + 10*least; delay > limit && !raceEnabled {
			t.Errorf("%s delay others by %v", name, delay)
		}
	}
	for name, message := range answered {
		t.Logf("%s delay others by %v", name, s.delay(message))
	}
	s.pair.Fine()
}

// delay returns how late an event arrived at most while another connection sent a flood: the median of some floods,
// because on a busy machine the edge may not run for a while.
func (s *stage) delay(message flood) time.Duration {
	s.t.Helper()
	var worst []time.Duration
	for range 5 {
		worst = append(worst, s.worst(message, 20_000))
	}
	slices.Sort(worst)
	return worst[len(worst)/2]
}

// worst returns how long the latest of some events took to reach ann during a flood.
func (s *stage) worst(message flood, messages int) (worst time.Duration) {
	s.t.Helper()
	flooding := edgetest.Connect(s.t, s.NATS.ClientURL())
	defer flooding.Close()
	over := make(chan error, 1)
	go func() {
		for i := range messages {
			if err := flooding.PublishMsg(message(i)); err != nil {
				over <- err
				return
			}
		}
		over <- flooding.FlushTimeout(edgetest.Patience)
	}()
	for n, more := 0, true; more; n++ {
		select {
		case err := <-over:
			if more = false; err != nil { // one event follows, so that the edge has handled all
				s.t.Fatal(err)
			}
		default:
		}
		body := fmt.Sprintf(`["n",%d]`, n)
		began := time.Now()
		s.Publish("sio.chat.emit.socket."+s.pair.Ann.ID, body)
		s.pair.Ann.Gets(body)
		worst = max(worst, time.Since(began))
	}
	return worst
}

// One namespace that waits for all the acks that it may leaves room for others.
func TestAsksOfOneNamespace(t *testing.T) {
	s := begin(t)
	const sockets = 50
	for i := range sockets {
		s.Enter("c"+strconv.Itoa(i), "/other").Ignore()
	}
	inbox := s.Hear(s.NC.NewInbox())
	for range 5242 {
		s.Send(edgetest.Message("sio.other.ask.all", inbox.Subject, `["?"]`, "Sio-Timeout: 600000"))
	}
	edgetest.Eventually(t, "all asks are answered or refused", func() bool {
		return s.Figure("asks_refused_total", "")+s.Figure("asks_total", "") == 5242
	})
	// Answers that have not been sent meanwhile take places, too, so that it may be a little less.
	if most, got := 131_072, s.Figure("asks_awaited", ""); got > most || got < most*9/10 {
		t.Errorf("it waits for %d acks, want at most %d and not much less", got, most)
	}
	s.Send(edgetest.Message("sio.chat.ask.socket."+s.pair.Ann.ID, "_INBOX.ann", `["?"]`))
	if got, ok := s.pair.Ann.Await(); !ok || len(got) < 8 || got[len(got)-5:] != `["?"]` {
		t.Errorf("another namespace cannot ask: %q", got)
	}
	s.pair.Fine()
}
