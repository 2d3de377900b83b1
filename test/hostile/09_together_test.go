package hostile

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"partyline/internal/edgetest"
	"partyline/test/stand"
)

// How TestAllTogether runs: whole with -together 1m -together.clients 200.
var (
	together = flag.Duration("together", 3*time.Second, "how long the bad clients of TestAllTogether are there")
	badKinds = flag.String("together.kinds", "", "kinds of bad clients, separated by commas; default: all of test/hostile/bad")
	badCount = flag.Int("together.clients", 60, "bad clients")
)

const togetherNamespaces = `
namespaces:
  /chat: {connect: open, rooms: ["*"], relay: [{event: message, to: rooms}]}
  /flood: {connect: open, rooms: ["*"], relay: [{event: message, to: rooms}]}
  /extra-*: {connect: open}
`

// Bad clients of all kinds together, in a process of their own, beside 50 good ones that chat in pairs and in rooms of
// ten. The good ones lose nothing and nothing comes out of order. The log has how long their messages took, with the
// bad clients and without.
func TestAllTogether(t *testing.T) {
	config := filepath.Join(t.TempDir(), "partyline.yaml")
	if err := os.WriteFile(config, []byte(togetherNamespaces), 0o600); err != nil {
		t.Fatal(err)
	}
	port := strconv.Itoa(stand.FreePorts(t, 1)[0])
	stand.Start(t, "NATS", "nats-server", "-a", "127.0.0.1", "-p", port).Line("Server is ready")
	nats := "nats://127.0.0.1:" + port
	e := stand.StartEdge(t, "edge", "--nats.url", nats, "--config", config)
	good := meet(t, "http://"+e.Address)
	good.chat(max(*together/4, time.Second)) // warm
	quiet := good.chat(max(*together/2, 5*time.Second))
	t.Logf("without bad clients: %s; the edge has %d MB", quiet, resident(e.Process)>>20)

	bad := stand.Start(t, "bad", "bad", "-edge", e.Address, "-nats", nats, "-clients", strconv.Itoa(*badCount), "-kinds", *badKinds)
	bad.Line("here")
	loud := good.chat(*together)
	t.Logf("with %d bad clients: %s, %.1f times the p99; the edge has %d MB and %d sessions", *badCount, loud,
		float64(loud.p99)/float64(quiet.p99), resident(e.Process)>>20, e.Figure(t, "partyline_sessions"))
	_ = bad.Kill(syscall.SIGTERM)
	for _, line := range bad.Said() {
		t.Log(line)
	}
	for _, line := range summary(e.Said()) {
		t.Log("the edge: " + line)
	}
	if *together >= 10*time.Second { // some have megabytes in the system's buffers, which are worked off at their rates
		edgetest.Eventually(t, "only the good ones are left", func() bool { return e.Figure(t, "partyline_sockets") == len(good.all) })
	}
	good.chat(time.Second)
	t.Logf("afterwards the edge has %d MB and %d sessions", resident(e.Process)>>20, e.Figure(t, "partyline_sessions"))
	good.part()
}

// summary counts the lines of a log by message and reason.
func summary(lines []string) (counts []string) {
	times := map[string]int{}
	for _, line := range lines {
		var said struct{ Level, Msg, Reason string }
		if json.Unmarshal([]byte(line), &said) != nil {
			said.Msg = line
		}
		times[strings.TrimSpace(said.Level+" "+said.Msg+" "+said.Reason)]++
	}
	for _, what := range slices.Sorted(maps.Keys(times)) {
		counts = append(counts, fmt.Sprintf("%d × %s", times[what], what))
	}
	return counts
}

// resident returns how much memory a process has, in bytes.
func resident(p *stand.Process) int {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	kilobytes, _ := strconv.Atoi(strings.Fields(rest + " 0")[0])
	return kilobytes << 10
}
