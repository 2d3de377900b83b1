package official

import (
	"strconv"
	"testing"

	"partyline/internal/natsd/natsdtest"
)

// handshakesPerSecond is so low that some of the script's clients must wait.
const handshakesPerSecond = 4

// TestTurnedAway has official clients connect to an edge that limits handshakes, and to one that drains: they try
// again.
func TestTurnedAway(t *testing.T) {
	needScripts(t)
	nats := natsdtest.Start(t).ClientURL()
	p := start(t, "edge", namespaces, "--nats.url="+nats,
		"--limits.handshakes_per_second="+strconv.Itoa(handshakesPerSecond))
	p.ready(t, 1)
	runScript(t, "../node/edges/admission.test.mjs", "PARTYLINE_URL=http://"+p.at.Address, "PARTYLINE_NATS="+nats,
		"PARTYLINE_ADMIN=http://"+p.at.Admin, "PARTYLINE_RATE="+strconv.Itoa(handshakesPerSecond))
	_, metrics := p.page(t, "/metrics")
	if delayed := value(metrics, "partyline_handshakes_delayed_total"); delayed < 1 {
		t.Errorf("%v handshakes were delayed", delayed)
	}
}
