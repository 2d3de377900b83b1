package stand

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"partyline/internal/edgetest"
)

// given are the ports that this process has used. Each test gets others, because a server may be down for some time.
var given sync.Map

// FreePorts returns ports without a listener. They are below those that the kernel assigns: one of these may be taken
// before its server starts, or while it is down.
func FreePorts(t *testing.T, n int) []int {
	t.Helper()
	const lowest, highest = 10_000, 32_000
	var ports []int
	for range 1000 {
		if len(ports) == n {
			return ports
		}
		port := lowest + rand.IntN(highest-lowest)
		if _, taken := given.LoadOrStore(port, true); taken {
			continue
		}
		l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err != nil {
			continue
		}
		defer l.Close()
		ports = append(ports, port)
	}
	t.Fatal("there are no free ports")
	return nil
}

// Server is a NATS server of a cluster.
type Server struct {
	*Process
	URL    string
	Called string // its name in the cluster
	args   []string
}

// Run starts the server, also after it has ended.
func (s *Server) Run(t *testing.T) {
	t.Helper()
	if s.Process == nil { // once, so that the server outlives what needs it, even if it is restarted
		t.Cleanup(func() { s.finish() })
	}
	s.Process = launch(t, "NATS "+s.URL, "nats-server", s.args...)
	s.Line("Server is ready")
}

// Cluster runs three NATS servers, and returns when all are connected with one another. Each gets args. SERVER in one
// of them is replaced by the server's name.
func Cluster(t *testing.T, args ...string) []*Server {
	t.Helper()
	const size = 3
	ports := FreePorts(t, 2*size)
	var routes []string
	for i := range size {
		routes = append(routes, "nats://127.0.0.1:"+strconv.Itoa(ports[size+i]))
	}
	var servers []*Server
	for i := range size {
		port := strconv.Itoa(ports[i])
		s := &Server{URL: "nats://127.0.0.1:" + port, Called: fmt.Sprint("n", i)}
		s.args = []string{"-a", "127.0.0.1", "-p", port, "-n", s.Called, "--cluster_name", "stand",
			"--cluster", routes[i], "--routes", strings.Join(routes, ",")}
		for _, arg := range args {
			s.args = append(s.args, strings.ReplaceAll(arg, "SERVER", s.Called))
		}
		s.Run(t)
		servers = append(servers, s)
	}
	WaitForRoutes(t, servers)
	return servers
}

// WaitForRoutes waits until all servers are connected with one another.
func WaitForRoutes(t *testing.T, servers []*Server) {
	t.Helper()
	var peers []*edgetest.Peer
	for _, s := range servers {
		p := edgetest.NewPeer(t, s.URL)
		defer p.NC.Close()
		peers = append(peers, p)
	}
	for i, from := range peers {
		for j, to := range peers {
			subject := fmt.Sprintf("route.%d.%d", i, j)
			sub := to.Hear(subject)
			edgetest.Eventually(t, "the routes stand", func() bool {
				_ = from.NC.Publish(subject, nil)
				_, err := sub.NextMsg(20 * time.Millisecond)
				return err == nil
			})
			_ = sub.Unsubscribe()
		}
	}
}

// URLs returns the URLs of servers, separated by commas.
func URLs(servers []*Server) string {
	var all []string
	for _, s := range servers {
		all = append(all, s.URL)
	}
	return strings.Join(all, ",")
}

// Edge is a running edge.
type Edge struct {
	*Process
	Address, Admin string // for clients, and for the operator
	Program        string // "edge", or the path of another version's; Restart and Run take it
	args           []string
}

// StartEdge runs an edge, and returns when it is ready. args are its flags, without those of addresses. ADDRESS in
// one of them is replaced by the edge's address.
func StartEdge(t *testing.T, name string, args ...string) *Edge {
	t.Helper()
	return StartProgram(t, "edge", name, args...)
}

// StartProgram is StartEdge with an edge of another version, by its path.
func StartProgram(t *testing.T, program, name string, args ...string) *Edge {
	t.Helper()
	address := "127.0.0.1:" + strconv.Itoa(FreePorts(t, 1)[0])
	e := &Edge{Program: program, args: []string{"--admin.listen", "127.0.0.1:0"}}
	for _, arg := range args {
		e.args = append(e.args, strings.ReplaceAll(arg, "ADDRESS", address))
	}
	e.run(t, name, address)
	e.WaitReady(t)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	return e
}

// Restart runs an edge that has ended at its old address, and returns when it is ready.
func (e *Edge) Restart(t *testing.T) {
	t.Helper()
	e.Run(t)
	e.WaitReady(t)
}

// Run runs an edge that has ended at its old address, and returns when it listens.
func (e *Edge) Run(t *testing.T) {
	t.Helper()
	e.run(t, e.Name, e.Address)
}

func (e *Edge) run(t *testing.T, name, listen string) {
	t.Helper()
	if e.Process == nil {
		t.Cleanup(func() { e.finish() })
	}
	e.Process = launch(t, name, e.Program, append([]string{"--listen", listen}, e.args...)...)
	var at struct{ Address, Admin string }
	if err := json.Unmarshal([]byte(e.Line(`"listening"`)), &at); err != nil {
		t.Fatal(err)
	}
	e.Address, e.Admin = at.Address, at.Admin
}

// WaitReady waits until the edge is ready.
func (e *Edge) WaitReady(t *testing.T) {
	t.Helper()
	edgetest.Eventually(t, e.Name+" is ready", func() bool {
		status, _ := e.Page("/readyz")
		return status == http.StatusOK
	})
}

// Page requests one of the operator's pages. The status is 0 if there is no response.
func (e *Edge) Page(path string) (status int, text string) {
	response, err := http.Get("http://" + e.Admin + path)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err.Error()
	}
	return response.StatusCode, string(body)
}

// Figure returns the value of a metric. name includes its labels.
func (e *Edge) Figure(t *testing.T, name string) int {
	t.Helper()
	_, text := e.Page("/metrics")
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			f, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				t.Fatal(err)
			}
			return int(f)
		}
	}
	t.Fatalf("%s has no metric %s", e.Name, name)
	return 0
}
