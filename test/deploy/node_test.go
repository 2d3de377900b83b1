package deploy

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"partyline/internal/edgetest"
	"partyline/test/stand"
)

// nodeFull selects the full load of the tests of the package for Node.js.
var nodeFull = flag.Bool("node.full", false,
	"200 clients that send 4,000 events a second to two, and to three, instances of the package for Node.js; otherwise 50, and three")

// nodeClients returns how many clients emit 20 events a second.
func nodeClients() int {
	if *nodeFull {
		return clients
	}
	return 50
}

// nodeFolder is where nodePackage has put the code; "" before.
var nodeFolder string

// nodePackage compiles the package for Node.js, once, to a folder of these tests: other tests compile to its own.
var nodePackage = sync.OnceValues(func() (folder string, err error) {
	if folder, err = os.MkdirTemp("", "deploy"); err != nil {
		return "", err
	}
	nodeFolder = folder
	return folder, compileNode(nodeSource, folder)
})

// compileNode compiles sources of the package for Node.js to a folder.
func compileNode(sources, folder string) error {
	compile := exec.Command("node", "node_modules/typescript/bin/tsc", "-p", ".", "--declaration", "false", "--outDir", folder)
	compile.Dir = sources
	if output, err := compile.CombinedOutput(); err != nil {
		return fmt.Errorf("the package does not compile: %w\n%s", err, output)
	}
	return nil
}

const nodeSource = "../../node"

// needNode skips the test if the package for Node.js cannot run.
func needNode(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("node"); err != nil {
		leaveOut(t, "the deploys of the package for Node.js need node in PATH")
	}
	for _, name := range []string{"typescript", "socket.io", "@nats-io/transport-node"} {
		if _, err := os.Stat(filepath.Join(nodeSource, "node_modules", name)); err != nil {
			leaveOut(t, "the deploys of the package for Node.js need the npm package "+name+"; run `make node`")
		}
	}
}

func leaveOut(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("PARTYLINE_TEST_ALL") == "1" {
		t.Fatal(why)
	}
	t.Skip("LEFT OUT: " + why)
}

// nodeStage is a stage whose instances are programs on the package for Node.js. NATS reports "no responders" on it.
func nodeStage(t *testing.T) *stage {
	t.Helper()
	needNode(t)
	folder, err := nodePackage()
	if err != nil {
		t.Fatal(err)
	}
	modules, err := filepath.Abs(nodeSource + "/node_modules")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("NODE_PATH", modules) // for the code in folder
	servers := stand.Cluster(t)
	return &stage{servers: servers, journal: note(t, edgetest.Connect(t, servers[2].URL)),
		start: func(t *testing.T, label, url string) *stand.Process {
			t.Helper()
			p := stand.Start(t, label, "node", "testdata/worker.mjs", folder, url)
			p.Line("ready")
			return p
		}}
}

// byNumber runs a test with three instances, and under full load also with two.
func byNumber(t *testing.T, test func(t *testing.T, instances int)) {
	numbers := []int{3}
	if *nodeFull {
		numbers = []int{2, 3}
	}
	for _, instances := range numbers {
		t.Run(fmt.Sprint(instances, " instances"), func(t *testing.T) { test(t, instances) })
	}
}

// With SIGTERM no event is affected.
func TestNodeRollingRestart(t *testing.T) {
	byNumber(t, func(t *testing.T, instances int) {
		var ended []*stand.Process
		sum := nodeStage(t).roll(t, instances, nodeClients(), func(p *stand.Process) {
			if err := p.Kill(syscall.SIGTERM); err == nil || err.Error() != "signal: terminated" {
				t.Errorf("%s ended with %v", p.Name, err)
			}
			ended = append(ended, p)
		})
		t.Logf("DEPLOY: Node.js, SIGTERM of %d instances: %s", instances, sum)
		if want := (tally{sent: sum.sent, moves: sum.moves, late: sum.late}); sum != want {
			t.Errorf("%s", sum)
		}
		for _, p := range ended {
			notDisconnected(t, p)
		}
	})
}

// notDisconnected checks that no handler of an instance was told that a socket has gone.
func notDisconnected(t *testing.T, p *stand.Process) {
	t.Helper()
	for _, line := range p.Said() {
		if strings.HasPrefix(line, "disconnect") {
			t.Errorf("%s says %q", p.Name, line)
			return
		}
	}
}

// fewEvents is how many events a client may lose when its owner is killed, beside those that had no ack by then: what
// it sends until its edge has noticed. That takes milliseconds, and up to half a second on a busy machine.
const fewEvents = 10

func TestNodeInstancesAreKilled(t *testing.T) {
	byNumber(t, func(t *testing.T, instances int) {
		s, underWay := nodeStage(t), 0
		sum := s.roll(t, instances, nodeClients(), func(p *stand.Process) {
			underWay += s.crowd.unanswered()
			_ = p.Kill(syscall.SIGKILL)
		})
		t.Logf("DEPLOY: Node.js, SIGKILL of %d instances: %s, in %d changes of a client's owner, %d events under way at all instances",
			instances, sum, sum.moves, underWay)
		if most := underWay + sum.moves*fewEvents; sum.disconnected > 0 || sum.doubled > 0 || sum.reordered > 0 || sum.lost > most {
			t.Errorf("%s (at most %d may be lost)", sum, most)
		}
	})
}

// gatherNode has clients emit to instances of the package for Node.js.
func gatherNode(t *testing.T, s *stage, instances int) (*crowd, []*stand.Process) {
	t.Helper()
	edges := []string{edgeAt(t, "edge 0", s.servers[0].URL), edgeAt(t, "edge 1", s.servers[1].URL)}
	var workers []*stand.Process
	for i := range instances {
		workers = append(workers, s.start(t, fmt.Sprint("instance ", i), s.servers[i].URL))
	}
	c := gather(t, edges, nodeClients())
	c.served("all clients are served")
	return c, workers
}

// An instance whose event loop is blocked keeps its sockets, and handles their events afterwards.
func TestNodeEventLoopIsBlocked(t *testing.T) {
	s := nodeStage(t)
	c, workers := gatherNode(t, s, 2)
	workers[0].Signal(syscall.SIGUSR2)
	workers[0].Line("it ran again")
	c.served("all clients are served after the event loop was blocked")
	c.quiet()
	sum := c.count(s.journal)
	t.Logf("DEPLOY: Node.js, an event loop blocked for 5 s: %s", sum)
	if want := (tally{sent: sum.sent, late: sum.late}); sum != want {
		t.Errorf("%s, %d changes of a client's owner", sum, sum.moves)
	}
	for _, p := range workers {
		notDisconnected(t, p)
	}
	c.disperse()
}

// All NATS servers are killed and started again. Clients stay, and afterwards all events are handled.
func TestNodeNATSIsRestarted(t *testing.T) {
	s := nodeStage(t)
	c, _ := gatherNode(t, s, 2)
	for _, server := range s.servers {
		_ = server.Kill(syscall.SIGKILL)
	}
	for _, server := range s.servers {
		server.Run(t)
	}
	stand.WaitForRoutes(t, s.servers)
	edgetest.Eventually(t, "the journal goes on", s.journal.nc.IsConnected)
	if err := s.journal.nc.FlushTimeout(edgetest.Patience); err != nil {
		t.Fatal(err)
	}
	c.served("all clients are served after NATS was restarted")
	for _, one := range c.all {
		one.mu.Lock()
		one.healed = one.sent
		one.mu.Unlock()
	}
	c.served("all clients are served")
	c.quiet()
	sum := c.count(s.journal)
	t.Logf("DEPLOY: Node.js, NATS restarted: %s (lost are events after all was healed)", sum)
	if want := (tally{sent: sum.sent, moves: sum.moves, unanswered: sum.unanswered, late: sum.late}); sum != want {
		t.Errorf("%s", sum)
	}
	c.disperse()
}
