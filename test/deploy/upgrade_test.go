package deploy

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"partyline/internal/edgetest"
	"partyline/test/stand"
)

// beforeClients is how many clients emit while instances of the version before are replaced by today's.
const beforeClients = 50

// With today's edges, instances on the Go SDK of the version before are replaced by ones on today's. No event is
// affected.
func TestUpgradeOfTheSDK(t *testing.T) {
	edgetest.ForRelease(t, "upgrades of the Go SDK")
	old := filepath.Join(stand.Before(t), "bin", "worker")
	servers := stand.Cluster(t)
	s := &stage{servers: servers, journal: note(t, edgetest.Connect(t, servers[2].URL))}
	s.upgrade(t, func(t *testing.T, label, url string) *stand.Process {
		p := stand.Start(t, label, old, url)
		p.Line("ready")
		return p
	}, workerAt)
}

// The same with the package for Node.js. The sources of the version before are compiled with today's compiler and
// dependencies.
func TestUpgradeOfThePackageForNodeJS(t *testing.T) {
	needNode(t)
	edgetest.ForRelease(t, "upgrades of the package for Node.js")
	before := stand.Before(t)
	sources, worker := filepath.Join(before, "node"), filepath.Join(before, "test", "deploy", "testdata", "worker.mjs")
	modules, err := filepath.Abs(nodeSource + "/node_modules")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(modules, sources+"/node_modules"); err != nil {
		t.Fatal(err)
	}
	if err := compileNode(sources, sources+"/dist"); err != nil {
		t.Fatal(err)
	}
	s := nodeStage(t)
	s.upgrade(t, func(t *testing.T, label, url string) *stand.Process {
		p := stand.Start(t, label, "node", worker, sources+"/dist", url)
		p.Line("ready")
		return p
	}, s.start)
}

// upgrade replaces two instances, which before starts, by two that after starts.
func (s *stage) upgrade(t *testing.T, before, after func(t *testing.T, label, url string) *stand.Process) {
	t.Helper()
	const instances = 2
	started := 0
	s.start = func(t *testing.T, label, url string) *stand.Process {
		if started++; started <= instances {
			return before(t, fmt.Sprint(label, " of the version before"), url)
		}
		return after(t, label, url)
	}
	sum := s.roll(t, instances, beforeClients, func(p *stand.Process) {
		if err := p.Kill(syscall.SIGTERM); err != nil && !strings.Contains(err.Error(), "terminated") {
			t.Errorf("%s ended with %v", p.Name, err)
		}
	})
	if want := (tally{sent: sum.sent, moves: sum.moves, late: sum.late}); sum != want || sum.moves == 0 {
		t.Errorf("%s, in %d changes of a client's owner", sum, sum.moves)
	}
}
