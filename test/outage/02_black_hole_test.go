package outage

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"partyline/admin"
	"partyline/engine"
	"partyline/engine/enginetest"
	"partyline/internal/edgetest"
)

// frequent sets a short heartbeat interval, and leaves clients the default time for an answer.
func frequent(o *edgetest.Options) {
	o.Engine = engine.DefaultConfig()
	o.Engine.PingInterval = 200 * time.Millisecond
}

// pulse is a client that records how long it waits for heartbeats. Each comes one interval after the answer to the
// previous one was read, so a blocked reader or writer of the edge shows.
type pulse struct {
	ws   *websocket.Conn
	done chan struct{}

	writing sync.Mutex
	mu      sync.Mutex
	beats   int           // guarded by mu
	longest time.Duration // guarded by mu
	failed  error         // guarded by mu
}

func (s *stage) pulse() *pulse {
	s.t.Helper()
	ws, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(s.URL, "http")+"/socket.io/?EIO=4&transport=websocket", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	p := &pulse{ws: ws, done: make(chan struct{})}
	in := make(chan struct{})
	go p.read(in)
	s.t.Cleanup(func() { _ = ws.Close(); <-p.done })
	p.send("40/room,")
	select {
	case <-in:
	case <-p.done:
		s.t.Fatal("a client was not admitted")
	}
	return p
}

// send sends a packet and its attachments.
func (p *pulse) send(text string, attachments ...[]byte) {
	p.writing.Lock()
	defer p.writing.Unlock()
	_ = p.ws.WriteMessage(websocket.TextMessage, []byte(text))
	for _, a := range attachments {
		_ = p.ws.WriteMessage(websocket.BinaryMessage, a)
	}
}

// read closes in when the client has been admitted.
func (p *pulse) read(in chan<- struct{}) {
	defer close(p.done)
	for last := time.Now(); ; {
		_, data, err := p.ws.ReadMessage()
		p.mu.Lock()
		if err != nil {
			p.failed = err
			p.mu.Unlock()
			return
		}
		if string(data) == "2" {
			p.beats++
			p.longest, last = max(p.longest, time.Since(last)), time.Now()
		}
		p.mu.Unlock()
		switch {
		case string(data) == "2":
			p.send("3")
		case strings.HasPrefix(string(data), "40/room,"):
			close(in)
		}
	}
}

// check expects the session to be open, and no heartbeat to have come later than limit.
func (p *pulse) check(t *testing.T, who string, limit time.Duration) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	t.Logf("%s had %d heartbeats, the longest wait was %s", who, p.beats, p.longest)
	if p.failed != nil || p.beats < 3 || p.longest > limit {
		t.Errorf("%s had %d heartbeats, the longest wait was %s, the end: %v", who, p.beats, p.longest, p.failed)
	}
}

// watchReadyz requests /readyz again and again until stop, which returns the longest wait for an answer.
func (s *stage) watchReadyz() (stop func() time.Duration) {
	s.t.Helper()
	pages, err := admin.NewHandler(admin.Options{Ready: s.Bus.Ready})
	if err != nil {
		s.t.Fatal(err)
	}
	quit, done := make(chan struct{}), make(chan time.Duration, 1)
	go func() {
		var longest time.Duration
		pace := time.NewTicker(10 * time.Millisecond)
		defer pace.Stop()
		for {
			began := time.Now()
			pages.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/readyz", nil))
			longest = max(longest, time.Since(began))
			select {
			case <-quit:
				done <- longest
				return
			case <-pace.C:
			}
		}
	}()
	return func() time.Duration { close(quit); return <-done }
}

// failsAtOnce requests what needs NATS, during some attempts of the NATS client to connect to the black hole. Each
// attempt takes two seconds, with a pause of a quarter to half a second between them. A request that waited for them
// would be slow ten times and more. Slow requests are counted, because on a busy machine an answer is slow now and
// then.
func (s *stage) failsAtOnce(c *enginetest.Client) {
	s.t.Helper()
	const attempts, each = 100, 50 * time.Millisecond
	const slow, most = time.Second, 5
	pace := time.NewTicker(each)
	defer pace.Stop()
	waits := 0
	for range attempts {
		began := time.Now()
		c.Send("40/door,")
		c.Expect(`44/door,{"message":"no service"}`)
		if why := s.Bus.Ready(); len(why) == 0 {
			s.t.Error("the edge reports that it is ready")
		}
		if time.Since(began) > slow {
			waits++
		}
		<-pace.C
	}
	if waits > most {
		s.t.Errorf("%d connects were refused with a reason: %d times that took more than %s", attempts, waits, slow)
	}
}

// A black hole accepts everything and answers nothing. Until the edge notices, messages are lost in both directions,
// without an ack. After that they are counted. Nothing comes late or twice.
func TestBlackHole(t *testing.T) {
	t.Parallel()
	s := begin(t, frequent)
	c := gather(s)
	up := s.listen(c.all[0])
	beat, readyz, stop := s.pulse(), s.watchReadyz(), s.pair.Chat()
	c.roundTrip()
	up.arrive(100)

	began := time.Now()
	s.swallow()
	lost := c.publish() // and a lost message is lost completely
	up.emit(100)
	b := s.Dial("b")
	b.Send("40/door,") // no part has noticed yet that no service is reachable
	s.lost()
	t.Logf("the edge noticed after %s", time.Since(began))
	b.Expect(`44/door,{"message":"service timeout"}`)
	before := s.Node.Figure("events_failed_total", "")
	up.emit(100)
	edgetest.Eventually(s.t, "each event that was not sent is counted", func() bool { return s.Node.Figure("events_failed_total", "") == before+100 })
	c.swap()
	s.failsAtOnce(b)

	s.proxy.Heal()
	c.swappedOver()
	s.back()
	c.roundTrip() // the next message of each socket: no lost message comes late
	up.arrive(100)
	if n := len(up.events); n > 0 {
		t.Errorf("the service received %d more events, the first %s", n, <-up.events)
	}
	if n := s.Node.Figure("nats_reconnects_total", ""); n != 1 {
		t.Errorf("the edge connected %d times", n)
	}
	t.Logf("%d messages to rooms were lost in the hole", len(lost[members]))
	beat.check(t, "a client", 3*time.Second)
	if longest := readyz(); longest > 3*time.Second {
		t.Errorf("/readyz took %s to answer", longest)
	}
	stop()
}

// A black hole that reads nothing blocks its writers, under the lock of the NATS client. Meanwhile clients publish as
// much as they can. Heartbeats continue: unchanged for clients that only listen, and in time for those that publish.
func TestBlackHoleUnderLoad(t *testing.T) {
	t.Parallel()
	s := begin(t, frequent)
	c := gather(s)
	up := s.listen(c.all[0])
	c.roundTrip()
	up.arrive(10)
	listener, readyz, stop := s.pulse(), s.watchReadyz(), s.pair.Chat()
	const talkers = 4
	loud := make([]*pulse, talkers)
	var talking sync.WaitGroup
	quit := make(chan struct{})
	load := make([]byte, 100_000)
	for i := range loud {
		loud[i] = s.pulse()
		talking.Go(func() {
			pace := time.NewTicker(50 * time.Millisecond)
			defer pace.Stop()
			for {
				loud[i].send(`451-/room,["load",{"_placeholder":true,"num":0}]`, load)
				select {
				case <-quit:
					return
				case <-pace.C:
				}
			}
		})
	}
	edgetest.Eventually(s.t, "the load is on its way", func() bool { return s.Node.Figure("events_in_total", "") > 100 })

	began := time.Now()
	s.stall()
	s.lost()
	t.Logf("the edge noticed after %s", time.Since(began))
	failed := s.Node.Figure("events_failed_total", "")
	edgetest.Eventually(s.t, "events fail at once", func() bool { return s.Node.Figure("events_failed_total", "") > failed+100 })
	b := s.Dial("b")
	b.Send("40/door,")
	b.Expect(`44/door,{"message":"no service"}`)
	c.swap()

	s.proxy.Heal()
	c.swappedOver()
	s.back()
	close(quit)
	talking.Wait()
	c.roundTrip()
	up.arrive(10)
	listener.check(t, "who listens", 3*time.Second)
	for i, p := range loud {
		p.check(t, fmt.Sprintf("talker %d", i), 21*time.Second) // a session without an answer for 20 would have ended
	}
	if longest := readyz(); longest > 3*time.Second {
		t.Errorf("/readyz took %s to answer", longest)
	}
	if n := s.Node.Figure("sessions_ended_total", "ping timeout"); n != 0 {
		t.Errorf("%d sessions ended without an answer to a heartbeat", n)
	}
	stop()
}
