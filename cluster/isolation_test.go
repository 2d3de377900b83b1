package cluster_test

import (
	"strings"
	"testing"
	"time"

	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
	"partyline/wire/msg"
)

// island is two edges, each with its own connection to NATS that can be cut.
type island struct {
	*stage
	nats         *natsdtest.Server
	cable, other *natsdtest.Cable
	alone, rest  *edgetest.Node
}

// strand starts them. An edge drains soon after its cable is cut.
func strand(t *testing.T, change ...func(*edgetest.Options)) *island {
	t.Helper()
	i := &island{stage: begin(t, 0), nats: natsdtest.Start(t)}
	i.cable, i.other = i.nats.Cable(), i.nats.Cable()
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
	edgetest.Eventually(t, "both are ready", func() bool {
		return len(i.alone.Parts.Ready()) == 0 && len(i.rest.Parts.Ready()) == 0
	})
	return i
}

// drains returns how often an edge has begun to drain.
func drains(n *edgetest.Node) int { return n.Figure("drains_total", "") }

// An edge that is cut off from NATS drains, and takes clients again when it is connected again.
func TestCutOff(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	t.Parallel()
	i := strand(t)
	ann, bob := i.alone.Dial("ann"), i.rest.Dial("bob")
	ann.Connect("/", "")
	bob.Connect("/", "")
	i.cable.Cut()
	ann.ExpectEnd()
	i.expectRefusal(i.alone)
	if why := strings.Join(i.alone.Parts.Ready(), "\n"); !strings.Contains(why, "cut off from NATS") ||
		!strings.Contains(why, "not connected to NATS") {
		t.Errorf("it is not ready because of %q", why)
	}
	bob.Send("40/else,")
	bob.Connected("/else")
	i.cable.Mend()
	edgetest.Eventually(t, "it is ready again", func() bool { return len(i.alone.Parts.Ready()) == 0 })
	i.open(i.alone)
	if drains(i.alone) != 1 || drains(i.rest) != 0 {
		t.Errorf("the edges drained %d and %d times", drains(i.alone), drains(i.rest))
	}
}

// If NATS is gone for all edges, each drains, as configured, and takes clients again when NATS is back.
func TestAllOfNATSGone(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	t.Parallel()
	i := strand(t)
	ann, bob := i.alone.Dial("ann"), i.rest.Dial("bob")
	ann.Connect("/", "")
	bob.Connect("/", "")
	i.nats.Stop()
	ann.ExpectEnd()
	bob.ExpectEnd()
	i.expectRefusal(i.alone)
	i.nats.Restart()
	edgetest.Eventually(t, "both are ready again", func() bool {
		return len(i.alone.Parts.Ready()) == 0 && len(i.rest.Parts.Ready()) == 0
	})
	i.open(i.alone)
	i.open(i.rest)
	if drains(i.alone) != 1 || drains(i.rest) != 1 {
		t.Errorf("the edges drained %d and %d times", drains(i.alone), drains(i.rest))
	}
}

// An edge does not drain if there is no other edge, or if it lost NATS for too short a time.
func TestCutOffAloneOrBriefly(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	for name, isolation := range map[string]time.Duration{"alone": 300 * time.Millisecond, "briefly": time.Minute} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := strand(t, func(o *edgetest.Options) { o.Isolation, o.Secret = isolation, name })
			edge, cut := i.alone, i.cable
			if name == "alone" {
				cut = natsdtest.Start(t).Cable()
				edge = edgetest.Start(t, edgetest.Options{Isolation: isolation, InProcess: cut}).Ready()
			}
			ann := edge.Dial("ann")
			ann.Connect("/", "")
			cut.Cut()
			edgetest.Eventually(t, "the edge has lost NATS", func() bool { return len(edge.Parts.Ready()) > 0 })
			if name == "alone" {
				edgetest.Eventually(t, "the time is over: each try to connect takes a quarter second",
					func() bool { return cut.Attempts() > 5 })
			}
			cut.Mend()
			edgetest.Eventually(t, "the edge has NATS again", func() bool { return len(edge.Parts.Ready()) == 0 })
			ann.Send("40/else,")
			ann.Connected("/else")
			if drains(edge) != 0 {
				t.Errorf("the edge drained %d times", drains(edge))
			}
		})
	}
}

// Edges that have left count for nothing: an edge whose last neighbour said goodbye is alone.
func TestEdgesThatLeftDoNotCount(t *testing.T) {
	s := begin(t, 1, func(o *edgetest.Options) { o.Secret = "" })
	alone := s.nodes[0].Cluster
	s.announce("b0000000", "http://127.0.0.1:9")
	if !alone.HadOthers() {
		t.Error("an edge that lives does not count")
	}
	s.Publish("sio.$edge.b0000000.bye", string(msg.EdgeAnnouncement{Edge: "b0000000", At: time.Now().UnixMilli()}.Body()))
	edgetest.Eventually(t, "it has left", func() bool { return len(alone.Members()) == 1 })
	if alone.HadOthers() {
		t.Error("an edge that left counts")
	}
}
