package hostile

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"partyline/config"
	"partyline/engine"
	"partyline/internal/edgetest"
)

func (s *stage) subscriptions() int {
	return s.Figure("nats_subscriptions", "")
}

// unlimited allows clients more than they can send, so that a test shows what is behind the rates.
func unlimited(o *edgetest.Options) {
	o.Limits = config.DefaultLimits()
	o.Limits.EventsPerSecond, o.Limits.EventsBurst, o.Limits.BytesPerSecond = 1_000_000_000, 1_000_000_000, 1_000_000_000
}

// many returns how much of a flood a test sends: all of it, or a tenth with -short and under the race detector.
func many(n int) int {
	if testing.Short() || raceEnabled {
		return n / 10
	}
	return n
}

// A socket is in as many rooms as allowed. Further joins are answered with an error, and cost only the socket itself.
func TestAMillionJoins(t *testing.T) {
	s := begin(t, unlimited)
	r := s.enterRaw()
	r.drain()
	said, joins := len(s.Logged()), many(1_000_000)
	took := s.flood(r, joins, func(dst []byte, i int) []byte { return fmt.Appendf(dst, `42/chat,%d["join","room-%d"]`, i, i) })
	t.Logf("joins: %s", perSecond(joins, took))
	if rooms, subscriptions := s.Figure("rooms", ""), s.subscriptions(); rooms != 1001 || subscriptions > 1100 {
		t.Errorf("%d rooms and %d subscriptions after %d joins, want the limit of 1,000 and the pair's", rooms, subscriptions, joins)
	}
	// Each is answered. An ack has about 60 bytes.
	edgetest.Eventually(s.t, "all joins are answered", func() bool { return r.read.Load() > int64(joins)*50 })
	s.quiet("joins past the limit", said)
	r.hangup()
}

// brief makes an edge that unsubscribes after a short linger.
func brief(o *edgetest.Options) { o.Linger = 100 * time.Millisecond }

// A subscription outlives the last member of its room. A client that joins and leaves in a loop must not fill the edge
// and NATS with them. After the first hundred rooms it waits.
func TestJoiningAndLeavingInALoop(t *testing.T) {
	s := begin(t, brief, unlimited)
	r := s.enterRaw()
	r.drain()
	const rooms = 2000
	took := s.flood(r, 2*rooms, func(dst []byte, i int) []byte {
		return fmt.Appendf(dst, `42/chat,["%s","room-%d"]`, []string{"join", "leave"}[i%2], i/2)
	})
	t.Logf("rooms entered and left: %s", perSecond(rooms, took))
	if least := (rooms - 100) * time.Millisecond; took < least {
		t.Errorf("it took %s, want at least %s", took, least)
	}
	r.hangup()
	edgetest.Eventually(s.t, "the subscriptions are given back", func() bool { return s.subscriptions() < 50 })
}

// The first ones are admitted, up to the limit. The others are refused.
func TestTenThousandNamespaces(t *testing.T) {
	s := begin(t, brief, unlimited)
	r := s.enterRaw()
	r.drain()
	said := len(s.Logged())
	s.flood(r, 10_000, func(dst []byte, i int) []byte { return fmt.Appendf(dst, "40/extra-%d,", i) })
	limit := config.DefaultLimits().NamespacesPerSession
	edgetest.Eventually(s.t, "the first are admitted", func() bool { return s.Edge.Sockets() == 2+limit })
	if got, want := s.Figure("connects_refused_total", "too many namespaces"), 10_000+1-limit; got != want {
		t.Errorf("%d connects were refused, want %d", got, want)
	}
	s.quiet("namespaces past the limit", said)
	r.hangup()
	edgetest.Eventually(s.t, "the subscriptions are given back", func() bool { return s.subscriptions() < 50 })
}

// One namespace after another, each left at once.
func TestManyNamespacesInALoop(t *testing.T) {
	s := begin(t, brief)
	r := s.enterRaw()
	const namespaces = 1000
	for i := range namespaces {
		r.write(textFrame(fmt.Sprintf("40/extra-%d,", i)))
		head := fmt.Sprintf(`40/extra-%d,{"sid"`, i)
		for text := r.next(); !strings.HasPrefix(text, head); text = r.next() {
			if text == "2" { // on a busy machine this takes longer than a heartbeat
				r.write(textFrame("3"))
			}
		}
		r.write(textFrame(fmt.Sprintf("41/extra-%d,", i)))
	}
	r.hangup()
	edgetest.Eventually(s.t, "the subscriptions are given back", func() bool { return s.subscriptions() < 50 })
}

// Unknown namespaces, one after another, by a client that reads the refusals.
func TestManyUnknownNamespaces(t *testing.T) {
	s := begin(t, unlimited)
	r := s.enterRaw()
	r.drain()
	said, connects := len(s.Logged()), many(200_000)
	took := s.flood(r, connects, func(dst []byte, i int) []byte { return fmt.Appendf(dst, "40/none-%d,", i) })
	t.Logf("refused connects: %s", perSecond(connects, took))
	if got := s.Figure("connects_refused_total", "Invalid namespace"); got != connects {
		t.Errorf("%d connects were refused, want %d", got, connects)
	}
	s.quiet("unknown namespaces", said)
	r.hangup()
}

// Events of many names: the edge keeps nothing about them.
func TestManyEvents(t *testing.T) {
	s := begin(t, unlimited)
	r := s.enterRaw()
	r.drain()
	events := many(500_000)
	before := heap()
	took := s.flood(r, events, func(dst []byte, i int) []byte { return fmt.Appendf(dst, `42/chat,["event-%d","x"]`, i) })
	t.Logf("events: %s", perSecond(events, took))
	r.hangup()
	edgetest.Eventually(s.t, "the memory is back", func() bool { return heap()-before < 4<<20 })
}

// impatient makes an edge that waits only seconds for clients: as long as a healthy one may need on a busy machine.
func impatient(o *edgetest.Options) {
	o.Engine = engine.DefaultConfig()
	o.Engine.PingInterval, o.Engine.PingTimeout = time.Second, 5*time.Second
}

// Thousands of sessions begin and never continue. They are removed when they miss a heartbeat.
func TestHandshakesThatNeverGoOn(t *testing.T) {
	s := begin(t, impatient)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1}, Timeout: edgetest.Patience}
	defer client.CloseIdleConnections()
	said, before := len(s.Logged()), heap()
	pollers, sockets := 2000, 200
	for range pollers {
		get(t, client, s.URL+"/socket.io/?EIO=4&transport=polling", http.StatusOK)
	}
	silent := make([]*raw, sockets)
	for i := range silent {
		silent[i] = dialRaw(t, s.URL)
		silent[i].drain()
	}
	t.Logf("%d sessions at once", s.Engine.Sessions())
	edgetest.Eventually(s.t, "they are forgotten", func() bool { return s.Engine.Sessions() == 2 })
	if got := s.ended("ping timeout"); got != pollers+sockets {
		t.Errorf("%d sessions ended with a ping timeout, want %d", got, pollers+sockets)
	}
	s.quiet("handshakes that never go on", said)
	for _, r := range silent {
		r.hangup() // the server would wait half a minute for the answer to its close frame
	}
	edgetest.Eventually(s.t, "the memory is back", func() bool { return heap()-before < 8<<20 })
}

// get makes a request, checks the status and returns the body.
func get(t *testing.T, client *http.Client, url string, status int) string {
	t.Helper()
	response, err := client.Get(url)
	text, err := body(response, err)
	if err != nil || response.StatusCode != status {
		t.Fatalf("%s: %v, %.200s, want status %d", url, err, text, status)
	}
	return text
}

// body reads a response to its end.
func body(response *http.Response, err error) (string, error) {
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return string(text), err
}

// Sessions above the configured limit are refused, with Retry-After.
func TestMoreSessionsThanAllowed(t *testing.T) {
	s := begin(t, func(o *edgetest.Options) {
		impatient(o)
		o.Limits = config.Limits{RoomsPerSocket: 10, SessionsPerAddress: 50, Sessions: 60}
	})
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1}, Timeout: edgetest.Patience}
	defer client.CloseIdleConnections()
	for i := range 500 {
		want := http.StatusOK
		if i >= 48 { // the pair has two
			want = http.StatusServiceUnavailable
		}
		get(t, client, s.URL+"/socket.io/?EIO=4&transport=polling", want)
	}
	if got := s.Figure("sessions_refused_total", ""); got != 452 {
		t.Errorf("%d refused sessions are counted, want 452", got)
	}
	edgetest.Eventually(s.t, "they are forgotten", func() bool { return s.Engine.Sessions() == 2 })
	s.enter("late").Hangup()
}
