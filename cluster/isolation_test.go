package cluster_test

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
)

// cable leads an edge to NATS, and can be cut.
type cable struct {
	to *natsdtest.Server

	mu    sync.Mutex
	cut   bool       // guarded by mu
	conns []net.Conn // guarded by mu: all that there were
}

func (c *cable) InProcessConn() (net.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cut {
		return nil, errors.New("the cable is cut")
	}
	conn, err := c.to.InProcessConn()
	if err == nil {
		c.conns = append(c.conns, conn)
	}
	return conn, err
}

// set cuts the cable, or mends it.
func (c *cable) set(cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = cut
	for _, conn := range c.conns {
		_ = conn.Close()
	}
	c.conns = nil
}

// island is an edge whose cable can be cut, and another one that hangs on NATS by itself, with clients on each.
type island struct {
	*stage
	nats         *natsdtest.Server
	cable, other *cable
	alone, rest  *edgetest.Node
}

// strand starts them. An edge asks for others soon after its cable is cut.
func strand(t *testing.T, change ...func(*edgetest.Options)) *island {
	t.Helper()
	i := &island{stage: begin(t, 0), nats: natsdtest.Start(t)}
	i.cable, i.other = &cable{to: i.nats}, &cable{to: i.nats}
	o := edgetest.Options{Secret: secret, Isolation: 300 * time.Millisecond}
	for _, c := range change {
		c(&o)
	}
	o.InProcess = i.cable
	i.alone = edgetest.Start(t, o).Ready()
	o.InProcess = i.other
	i.rest = edgetest.Start(t, o).Ready()
	i.nodes = []*edgetest.Node{i.alone, i.rest}
	i.acquainted()
	edgetest.Eventually(t, "both are ready", func() bool { return len(i.alone.Parts.Ready()) == 0 && len(i.rest.Parts.Ready()) == 0 })
	return i
}

// drains is how often an edge has begun to send its clients elsewhere.
func drains(n *edgetest.Node) int { return metric(n.Drain.Metrics(), "drains_total") }

// An edge that is cut off from NATS sends its clients to the other, and takes clients again when it is back.
func TestCutOff(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	i := strand(t)
	ann, bob := i.alone.Dial("ann"), i.rest.Dial("bob")
	ann.Connect("/", "")
	bob.Connect("/", "")
	i.cable.set(true)
	ann.ExpectEnd()
	i.turnedAway(i.alone)
	if why := strings.Join(i.alone.Parts.Ready(), "\n"); !strings.Contains(why, "cut off from NATS") || !strings.Contains(why, "not connected to NATS") {
		t.Errorf("it is not ready because of %q", why)
	}
	bob.Send("40/else,")
	bob.Connected("/else")
	i.cable.set(false)
	edgetest.Eventually(t, "it is ready again", func() bool { return len(i.alone.Parts.Ready()) == 0 })
	i.open(i.alone)
	if drains(i.alone) != 1 || drains(i.rest) != 0 {
		t.Errorf("the edges drained %d and %d times", drains(i.alone), drains(i.rest))
	}
}

// With NATS gone for all, nobody is better off elsewhere.
func TestAllOfNATSGone(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	i := strand(t)
	ann, bob := i.alone.Dial("ann"), i.rest.Dial("bob")
	ann.Connect("/", "")
	bob.Connect("/", "")
	i.nats.Stop()
	asked := func(n *edgetest.Node) int { return metric(n.Forward.Metrics(), "readiness_asked_total") }
	edgetest.Eventually(t, "both have asked", func() bool { return asked(i.alone) >= 2 && asked(i.rest) >= 2 })
	i.nats.Restart()
	edgetest.Eventually(t, "both are ready again", func() bool { return len(i.alone.Parts.Ready()) == 0 && len(i.rest.Parts.Ready()) == 0 })
	ann.Send("40/else,")
	ann.Connected("/else")
	bob.Send("40/else,")
	bob.Connected("/else")
	if drains(i.alone) != 0 || drains(i.rest) != 0 {
		t.Errorf("the edges drained %d and %d times", drains(i.alone), drains(i.rest))
	}
}

// Without a secret, an edge tells others whether it is ready if they come from where edges are.
func TestCutOffWithoutASecret(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	for _, trusted := range []bool{true, false} {
		i := strand(t, func(o *edgetest.Options) {
			o.Secret = ""
			trustThisMachine(trusted)(o)
		})
		ann := i.alone.Dial("ann")
		ann.Connect("/", "")
		i.cable.set(true)
		if trusted {
			ann.ExpectEnd()
			continue
		}
		edgetest.Eventually(t, "the question was refused", func() bool { return figure(i.rest, "forwarded_refused_total") > 1 })
		ann.Send("40/else,")
		ann.Connected("/else")
	}
}

// Who asks without the secret learns nothing, and what answers in the place of an edge is not believed.
func TestAsksAreSigned(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	s := begin(t, 1)
	a := s.nodes[0]
	for _, headers := range [][]string{
		{"Partyline-Ask: at=1&by=b0000000&nonce=x"},
		{"Partyline-Ask: at=1&by=b0000000&nonce=x", "Partyline-Signature: 00"},
		{"Partyline-Ask: ", "Partyline-Signature: zz"},
	} {
		if got := s.ask(a, "GET", "", "", headers...); got.status != http.StatusBadRequest || got.header.Get("Partyline-Answer") != "" {
			t.Errorf("%q was answered %d %v", headers, got.status, got.header)
		}
	}
	if n := figure(a, "forwarded_refused_total"); n != 3 {
		t.Errorf("%d were counted as refused", n)
	}
	impostor := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Partyline-Answer", "by=c0000000&ready=true")
		w.Header().Set("Partyline-Signature", "00")
	}))
	t.Cleanup(impostor.Close)
	s.announce("impostor", impostor.URL)
	if a.Forward.AnyReady(t.Context()) {
		t.Error("an impostor is believed")
	}
	s.announce("itself00", a.URL)
	if a.Forward.AnyReady(t.Context()) {
		t.Error("an edge believes itself")
	}
	b := edgetest.Start(t, s.o).Ready()
	s.knows(a, b.ID)
	edgetest.Eventually(t, "the other is ready", func() bool { return a.Forward.AnyReady(t.Context()) })
	b.Drain.Drain()
	if a.Forward.AnyReady(t.Context()) {
		t.Error("an edge that drains is taken for ready")
	}
}
