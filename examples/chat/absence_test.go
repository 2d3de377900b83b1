package main

import (
	"testing"

	"partyline/internal/edgetest"
	"partyline/internal/natsd/proxytest"
)

// absent is a stage with an edge that can be cut off from NATS until the others declare it dead.
type absent struct {
	*stage
	way     *proxytest.Proxy
	witness *guest // at another edge, in the lobby
}

func beginAbsence(t *testing.T) *absent {
	t.Helper()
	direct := natsOf(t)
	way := proxytest.Start(t, direct)
	s := &stage{edgeOf(t, way.URL()), t, direct}
	s.instance("one")
	other := edgeOf(t, direct)
	witness := enter(t, other, "Witness", "")
	witness.joins("lobby")
	edgetest.Eventually(t, "the edges know each other", func() bool { return len(other.Cluster.Edges()) == 2 })
	return &absent{s, way, witness}
}

// cut cuts the edge off from NATS.
func (a *absent) cut() {
	a.Talk.Note("the edge is cut off from NATS")
	a.way.Stop()
}

// mend connects it again.
func (a *absent) mend() {
	a.t.Helper()
	a.Talk.Note("the edge has NATS again")
	a.way.Mend()
}

// A client of an edge that was declared dead has its name again when the edge is back.
func TestNamesComeBackWithTheirEdge(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	t.Parallel()
	a := beginAbsence(t)
	ann := a.enter("Ann", "secret")
	ann.joins("lobby")
	a.witness.hearsOf("joined", "lobby", "Ann")
	a.cut()
	a.witness.hearsOf("gone", "Ann")
	a.mend()
	a.witness.hearsOf("joined", "lobby", "Ann")
	if o, here, err := a.store().find(t.Context(), "Ann"); !here || err != nil || o.Socket != ann.id ||
		o.Key != "secret" {
		t.Errorf("the name is that of %+v: %v", o, err)
	}
	ann.says("lobby", "still here")
	a.witness.hearsText("Ann", "still here")
	ann.Hangup()
	a.witness.hearsOf("gone", "Ann")
	a.enter("Ann", "another person")
}

// If another person has it by then, the first one is disconnected.
func TestANameThatWasTakenMeanwhile(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	t.Parallel()
	a := beginAbsence(t)
	ann := a.enter("Ann", "secret")
	ann.joins("lobby")
	a.cut()
	a.witness.hearsOf("gone", "Ann")
	a.witness.is(a.witness.asks("nickname", "Ann"), `{"name":"Ann"}`)
	a.mend()
	ann.hearsDisconnect()
	if o, _, err := a.store().find(t.Context(), "Ann"); o.Socket != a.witness.id {
		t.Errorf("the name is that of %+v: %v", o, err)
	}
}
