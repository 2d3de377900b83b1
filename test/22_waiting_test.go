package test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/engine/enginetest"
	"partyline/internal/edgetest"
	"partyline/rule"
)

// waits connects a client to /door, where no service decides, and checks that it receives nothing.
func (s *stage) waits(name string) *enginetest.Client {
	s.t.Helper()
	before := s.Figure("connects_waiting", "")
	c := s.Dial(name)
	c.Send("40/door,")
	s.Counts("connects_waiting", "", before+1)
	return c
}

// says publishes an announcement of an instance.
func (s *stage) says(word, instance string, namespaces string) {
	s.t.Helper()
	body := fmt.Sprintf(`[{"instance":%q,"group":"shop","namespaces":[%s],"at":1,"every":1000}]`, instance, namespaces)
	s.Publish("sio.$svc.shop."+instance+"."+word, body)
}

// respond answers a connect request.
func respond(t *testing.T, m *nats.Msg, body string, headers ...string) {
	t.Helper()
	if err := m.RespondMsg(edgetest.Message("", "", body, headers...)); err != nil {
		t.Fatal(err)
	}
}

// quiet checks that no further message arrives within a duration.
func (e *ear) quiet(d time.Duration) {
	e.T.Helper()
	if m, err := e.Subscription.NextMsg(d); err == nil {
		e.T.Fatalf("on %s came %s", m.Subject, m.Data)
	}
}

// A client that connects before its service is there waits silently, and is connected when the service comes.
func TestAClientThatComesBeforeItsService(t *testing.T) {
	t.Parallel()
	s := begin(t, usual())
	a := s.waits("a")
	edgetest.Eventually(t, "it was asked about again", func() bool {
		return s.Figure("connects_asked_again_total", "no service") >= 2
	})
	requests := s.hear("sio.door.on.connect")
	m := requests.Next()
	if got := m.Header["Sio-Timeout"]; len(got) != 1 || got[0] != "20000" {
		t.Errorf("Sio-Timeout is %q", got)
	}
	respond(t, m, `[{"rooms":["vip"]}]`)
	id := a.Connected("/door")
	if want := "sio.door.ack." + id + ".connect"; m.Reply != want {
		t.Errorf("the reply subject is %s, want %s", m.Reply, want)
	}
	s.Counts("connects_waiting", "", 0)
	lines := 0
	for _, line := range s.Logged() {
		if strings.Contains(line, "a client waits for a service") && strings.Contains(line, "subject=sio.door.on.connect") {
			lines++
		}
	}
	if lines != 1 {
		t.Errorf("the log has %d lines about it, want 1", lines)
	}
	s.Publish("sio.door.emit.room.vip", `["hi"]`)
	a.Expect(`42/door,["hi"]`)
	requests.quiet(3 * time.Second)
}

// If something hides that there is no service, a hello makes the edge ask at once, in the namespaces that it names.
func TestAHelloIsAnsweredAtOnce(t *testing.T) {
	t.Parallel()
	s := begin(t, usual())
	requests := s.hear("sio.door.on.connect") // a monitor
	a := s.waits("a")
	first := requests.Next()
	s.says("hello", "shop-1", `"/other","/doo"`)
	s.says("beat", "shop-1", `"/door"`)
	requests.quiet(500 * time.Millisecond)
	s.says("hello", "shop-1", `"/d*r"`)
	second := requests.Next()
	if string(first.Data) != string(second.Data) || first.Reply != second.Reply {
		t.Errorf("the second request is not the first:\n%s\n%s", first.Data, second.Data)
	}
	s.Counts("connects_asked_again_total", "an instance came", 1)
	respond(t, second, "[]")
	a.Connected("/door")
}

// After 5 s of silence the edge asks again. An answer to any request counts, and the first is the decision. Further
// ones are counted, and cause no warning.
func TestALateAnswerAdmits(t *testing.T) {
	t.Parallel()
	s := begin(t, usual())
	requests := s.hear("sio.door.on.connect")
	began := time.Now()
	a := s.waits("a")
	first := requests.Next()
	second := requests.Next()
	if took := time.Since(began); took < 4900*time.Millisecond {
		t.Errorf("it was asked again after %s", took)
	}
	respond(t, first, `[{"user":"first"}]`)
	a.Connected("/door")
	respond(t, second, `[{"user":"second"}]`)
	respond(t, second, "", "Sio-Error: no")
	s.Counts("dropped_total", "answer to a connect that is over", 2)
	for _, line := range s.Logged() {
		if strings.Contains(line, "dropped a message") {
			t.Errorf("the log says: %s", line)
		}
	}
}

// An instance that reports that it is deciding is asked again only when it leaves, dies, or comes back.
func TestAPendingConnect(t *testing.T) {
	for _, c := range []struct {
		name string
		ends func(s *stage, request *nats.Msg)
	}{
		{"it leaves", func(s *stage, _ *nats.Msg) { s.says("left", "shop-1", `"/door"`) }},
		{"it says goodbye", func(s *stage, _ *nats.Msg) { s.says("bye", "shop-1", `"/door"`) }},
		{"it comes back", func(s *stage, _ *nats.Msg) { s.says("hello", "shop-1", `"/door"`) }},
		{"it falls silent", func(*stage, *nats.Msg) {}},
		{"it says again", func(s *stage, request *nats.Msg) { respond(s.t, request, "", "Sio-Error: again") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := begin(t, usual())
			requests := s.hear("sio.door.on.connect")
			a := s.waits("a")
			request := requests.Next()
			respond(t, request, "", "Sio-Pending: shop-1")
			for range 7 { // longer than the limit of silence
				s.says("beat", "shop-1", `"/door"`)
				s.says("hello", "shop-2", `"/door"`) // a hello of another instance changes nothing
				s.says("left", "shop-2", `"/door"`)
				requests.quiet(time.Second)
			}
			c.ends(s, request)
			respond(t, requests.Next(), "[]")
			a.Connected("/door")
		})
	}
}

// A bad Sio-Pending is ignored.
func TestABadPending(t *testing.T) {
	t.Parallel()
	s := begin(t, usual())
	requests := s.hear("sio.door.on.connect")
	a := s.waits("a")
	respond(t, requests.Next(), "", "Sio-Pending: shop 1")
	s.Counts("dropped_total", "bad body", 1)
	respond(t, requests.Next(), "[]") // after the silence
	a.Connected("/door")
}

// An instance that must not decide now answers "again". Another one is asked soon.
func TestAgain(t *testing.T) {
	t.Parallel()
	s := begin(t, usual())
	requests := s.hear("sio.door.on.connect")
	a := s.waits("a")
	for range 3 {
		respond(t, requests.Next(), "", "Sio-Error: again")
	}
	respond(t, requests.Next(), "", "Sio-Error: no")
	a.Expect(`44/door,{"message":"no"}`)
	s.Counts("connects_asked_again_total", "again", 3)
	s.Counts("connects_waiting", "", 0)
}

// brief is a namespace whose clients wait only briefly.
func brief() rules {
	return rules{"/door": {ConnectTimeout: 2 * time.Second}, "/chat": {Connect: rule.ConnectOpen}}
}

// At the end the transport is closed, without a packet of Socket.IO. Then the official client reconnects by itself.
func TestTheEndOfAWait(t *testing.T) {
	t.Parallel()
	s := begin(t, brief())
	notices := s.hear("sio.door.on.disconnect")
	began := time.Now()
	a := s.waits("a")
	a.ExpectEnd()
	if took := time.Since(began); took < 1500*time.Millisecond {
		t.Errorf("it waited only %s", took)
	}
	if m := notices.Next(); string(m.Data) != left("forced server close") { // services were asked, though none exists
		t.Errorf("the notice is %s", m.Data)
	}
	s.Counts("connects_given_up_total", "", 1)
	s.Counts("connects_waiting", "", 0)
	if n := s.Figure("sessions_ended_total", "forced server close"); n != 1 {
		t.Errorf("%d sessions were closed", n)
	}
}

// A session with a live socket stays open, and so do its waiting connects, until the last live socket has gone.
func TestASessionWithALiveSocketWaitsOn(t *testing.T) {
	t.Parallel()
	s := begin(t, brief())
	a, b := s.Enter("a", "/chat"), s.Enter("b", "/chat")
	a.Send("40/door,")
	b.Send("40/door,")
	s.Counts("connects_waiting", "", 2)
	edgetest.Eventually(t, "the time is long over", func() bool {
		return s.Figure("connects_asked_again_total", "no service") >= 8
	})
	a.Send("41/chat,")
	a.ExpectEnd()
	s.serve("door", "[]")
	b.Connected("/door")
	b.Send("41/chat,")
	s.Counts("sockets", "", 1)
	s.Counts("connects_given_up_total", "", 1)
}

// The time within which a session must join a namespace does not run while a service is asked.
func TestTheSessionsOwnTimeStandsStill(t *testing.T) {
	t.Parallel()
	s := begin(t, usual(), func(o *edgetest.Options) { o.Connect = 2 * time.Second })
	requests := s.hear("sio.door.on.connect")
	a := s.waits("a")
	m := requests.Next()
	requests.quiet(2500 * time.Millisecond)
	respond(t, m, "", "Sio-Error: no")
	a.Expect(`44/door,{"message":"no"}`)
	a.ExpectEnd() // it joins none in the time that is left
	b := s.waits("b")
	m = requests.Next()
	requests.quiet(2500 * time.Millisecond)
	respond(t, m, "[]")
	b.Connected("/door")
	requests.quiet(2500 * time.Millisecond)
	s.Publish("sio.door.emit.all", `["hi"]`)
	b.Expect(`42/door,["hi"]`)
}

// A client that disconnects while it waits is forgotten at once. Services that were asked are notified, even if there
// were none.
func TestWhoGoesWhileWaiting(t *testing.T) {
	t.Parallel()
	s := begin(t, usual())
	notices := s.hear("sio.door.on.disconnect")
	a, b := s.waits("a"), s.waits("b")
	a.Hangup()
	s.Counts("connects_waiting", "", 1)
	if m := notices.Next(); string(m.Data) != left("transport close") {
		t.Errorf("the notice is %s", m.Data)
	}
	s.serve("door", "[]")
	b.Connected("/door")
	s.Counts("connects_waiting", "", 0)
}

// While NATS is away, clients wait. Those that leave meanwhile leave nothing behind. The others are asked about when
// NATS is back.
func TestWaitingForNATS(t *testing.T) {
	t.Parallel()
	s, c := cuttable(t, usual())
	s.serve("door", "[]")
	notices := s.hear("sio.door.on.disconnect")
	s.lose(c)
	var waiting []*enginetest.Client
	for i := range 50 {
		waiting = append(waiting, s.waits(fmt.Sprint("client", i)))
	}
	for _, gone := range waiting[:10] {
		gone.Hangup()
	}
	s.Counts("connects_waiting", "", 40)
	c.Mend()
	for _, client := range waiting[10:] {
		client.Connected("/door")
	}
	notices.quiet(200 * time.Millisecond) // the services never received those that left
}

// If an answer is lost with the edge's connection, the edge asks again after it reconnects, also an instance that was
// deciding.
func TestAnAnswerThatIsLostWithTheConnection(t *testing.T) {
	t.Parallel()
	s, c := cuttable(t, usual())
	requests := s.hear("sio.door.on.connect")
	a := s.waits("a")
	m := requests.Next()
	respond(t, m, "", "Sio-Pending: shop-1")
	s.says("beat", "shop-1", `"/door"`)
	s.lose(c)
	respond(t, m, "[]") // the answer is lost
	c.Mend()
	respond(t, requests.Next(), "[]")
	a.Connected("/door")
	s.Counts("connects_asked_again_total", "reconnected", 1)
}

// A CONNECT to a namespace about which a service is deciding waits for the decision: after a refusal it is a new
// request, after an admission it is out of turn, as any CONNECT to a namespace that was joined.
func TestASecondConnectWaits(t *testing.T) {
	s := begin(t, usual())
	requests := s.hear("sio.door.on.connect")
	ends := s.hear("sio.*.on.disconnect")
	c := s.Dial("ann")
	for i := range 4 {
		c.Send(fmt.Sprintf(`40/door,{"n":%d}`, i))
	}
	c.Connect("/chat", "") // not held up
	for i := range 3 {
		m := requests.Next()
		if !strings.Contains(string(m.Data), fmt.Sprintf(`"auth":{"n":%d}`, i)) {
			t.Fatalf("request %d is %s", i, m.Data)
		}
		if n, _, _ := requests.Pending(); n > 0 {
			t.Fatalf("%d more requests wait", n)
		}
		s.Publish(m.Reply, `[]`, fmt.Sprint("Sio-Error: no ", i))
		c.Expect(fmt.Sprintf(`44/door,{"message":"no %d"}`, i))
	}
	m := requests.Next()
	c.Send("40/door,")
	c.Send("40/door,")
	seen := s.hear("sio.chat.on.seen")
	c.Send(`42/chat,["seen"]`)
	seen.Next()
	s.Publish(m.Reply, `[]`)
	c.Connected("/door")
	c.ExpectEnd()
	for range 2 {
		if m := ends.Next(); string(m.Data) != left("forced server close") {
			t.Errorf("%s %s", m.Subject, m.Data)
		}
	}
	if n, _, _ := requests.Pending(); n > 0 {
		t.Errorf("%d more requests", n)
	}
}

// Only so many can wait.
func TestTooManyConnectsWait(t *testing.T) {
	s := begin(t, usual())
	requests, ends := s.hear("sio.door.on.connect"), s.hear("sio.door.on.disconnect")
	c := s.Dial("ann")
	c.Send("40/door,")
	requests.Next()
	for range 101 {
		c.Send("40/door,")
	}
	c.ExpectEnd()
	if m := ends.Next(); string(m.Data) != left("forced server close") {
		t.Errorf("%s", m.Data)
	}
}
