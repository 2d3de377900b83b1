package official

import (
	"strconv"
	"testing"

	"partyline/internal/natsd/natsdtest"
)

// handshakesPerSecond is few enough that the script's clients must wait for each other.
const handshakesPerSecond = 4

// TestTurnedAway has official clients come to an edge that takes few at a time, and to one that drains: they try again.
func TestTurnedAway(t *testing.T) {
	needScripts(t)
	nats := natsdtest.Start(t).ClientURL()
	p := start(t, "edge", namespaces, "--nats.url="+nats, "--limits.handshakes_per_second="+strconv.Itoa(handshakesPerSecond))
	p.ready(t, 1)
	runScript(t, "../node/edges/admission.test.mjs", "PARTYLINE_URL=http://"+p.at.Address, "PARTYLINE_NATS="+nats,
		"PARTYLINE_ADMIN=http://"+p.at.Admin, "PARTYLINE_RATE="+strconv.Itoa(handshakesPerSecond))
	_, metrics := p.page(t, "/metrics")
	if delayed := value(metrics, "partyline_handshakes_delayed_total"); delayed < 1 {
		t.Errorf("%v handshakes were delayed", delayed)
	}
}
