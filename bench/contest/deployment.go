package contest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"partyline/bench/load"
	"partyline/bench/process"
)

// The contestants.
const (
	Embedded = "embedded" // an edge with NATS inside
	Edge     = "edge"     // NATS and an edge
	Edges    = "edges"    // NATS and two edges
	Recovery = "recovery" // NATS with JetStream and an edge, whose clients recover
	SocketIO = "socketio" // the reference server
	Redis    = "redis"    // two of them, and Redis
	Limit    = "limit"    // a bare broadcaster

	EdgeToken = "edge-token" // NATS and an edge that admits by tokens
	Verify    = "verify"     // no server: one verification of a token, by the library alone

	EdgeFar     = "edge-far"     // NATS and an edge with TLS, 20 ms away
	SocketIOFar = "socketio-far" // the reference server with TLS, 20 ms away

	Gateway = "gateway" // NATS, an edge, and a gateway, which emits what is posted to it
	Express = "express" // the reference server with a route of Express that emits

	NodeEmbedded = "node-embedded" // the package for Node.js, behind an edge with NATS inside
	NodeEdge     = "node-edge"     // the package for Node.js, behind an edge and NATS
)

// Servers lists all contestants.
var Servers = []string{Embedded, Edge, Edges, Recovery, SocketIO, Redis, Limit, NodeEmbedded, NodeEdge, EdgeToken, Verify, Gateway, Express, EdgeFar, SocketIOFar}

// deployment is a contestant that runs.
type deployment struct {
	addresses []string // for clients
	nats      string   // URL of NATS, if it has one
	bare      bool
	post      string // host:port for HTTP requests, if it takes them
	config    string // of the edges; "" for that of most scenarios
	store     string // JetStream's folder, which goes with the deployment; "" if there is none
	programs  []*program
}

// deploy starts a contestant for a kind of job.
func (p *Programs) deploy(server, kind string) (d *deployment, err error) {
	d = &deployment{}
	defer func() {
		if err != nil {
			d.stop()
		}
	}()
	switch server {
	case Embedded:
		err = p.addEdge(d, "embedded", "--embedded.listen=127.0.0.1:0")
	case Edge, Edges, EdgeToken:
		if server == EdgeToken {
			d.config = p.tokenConfig
		}
		err = p.addBoth(d)
		if err == nil && server == Edges {
			err = p.addEdge(d, "edge", "--nats.url="+d.nats)
		}
	case Recovery:
		if d.store, err = os.MkdirTemp("", "partyline-bench"); err == nil {
			err = p.addNATS(d, "-js", "-sd", d.store)
		}
		if d.config = p.recovery; err == nil {
			err = p.addEdge(d, "edge", "--nats.url="+d.nats)
		}
	case Gateway:
		if err = p.addBoth(d); err == nil {
			err = p.addGateway(d)
		}
	case EdgeFar:
		if err = p.addBoth(d, "--tls.cert="+p.certificate, "--tls.key="+p.key); err == nil {
			err = p.moveAway(d)
		}
	case SocketIOFar:
		if err = p.addNode(d, "tls", p.certificate, p.key); err == nil {
			err = p.moveAway(d)
		}
	case SocketIO:
		err = p.addNode(d)
	case Express:
		if err = p.addNode(d, "express", postKey); err == nil {
			d.post = d.addresses[0]
		}
	case Redis:
		var url string
		if url, err = p.addRedis(d); err == nil {
			err = p.addNode(d, "redis", url)
		}
		if err == nil {
			err = p.addNode(d, "redis", url)
		}
	case NodeEmbedded:
		d.config = p.owned
		if err = p.addEdge(d, "embedded", "--embedded.listen=127.0.0.1:0"); err == nil {
			err = p.addPackage(d)
		}
	case NodeEdge:
		d.config = p.owned
		if err = p.addBoth(d); err == nil {
			err = p.addPackage(d)
		}
	case Limit:
		d.bare = true
		_, err = d.add("limit", process.Server, exec.Command(p.self, "limit"))
	default:
		err = fmt.Errorf("there is no server %q", server)
	}
	if err == nil && kind == load.Echo && d.nats != "" && !slices.ContainsFunc(d.programs, (*program).isNode) {
		_, _, err = d.addSilent("service", process.Service, `"listening"`, exec.Command(p.self, "answer", d.nats))
	}
	return d, err
}

// addBoth starts NATS and an edge.
func (p *Programs) addBoth(d *deployment, args ...string) error {
	if err := p.addNATS(d); err != nil {
		return err
	}
	return p.addEdge(d, "edge", append([]string{"--nats.url=" + d.nats}, args...)...)
}

// addSilent starts a program to which clients do not connect.
func (d *deployment) addSilent(name, role, ready string, command *exec.Cmd) (*program, string, error) {
	for _, other := range d.programs {
		if other.Name == name {
			name += "2"
		}
	}
	one, line, err := start(name, role, ready, command)
	if err == nil {
		d.programs = append(d.programs, one)
	}
	return one, line, err
}

// listening is in the line that a server prints when it listens.
type listening struct{ Address, Admin, NATS string }

// add starts a server for clients.
func (d *deployment) add(name, role string, command *exec.Cmd) (at listening, err error) {
	_, line, err := d.addSilent(name, role, `"listening"`, command)
	if err != nil {
		return at, err
	}
	if err := json.Unmarshal([]byte(line), &at); err != nil {
		return at, fmt.Errorf("%s says %q: %w", name, line, err)
	}
	d.addresses = append(d.addresses, at.Address)
	return at, nil
}

func (p *Programs) addEdge(d *deployment, name string, args ...string) error {
	command := exec.Command(filepath.Join(p.bin, name), append([]string{
		"--config=" + cmp.Or(d.config, p.config), "--listen=127.0.0.1:0", "--admin.listen=127.0.0.1:0"}, args...)...)
	if p.profiling {
		command.Args = append(command.Args, "--admin.pprof")
	}
	at, err := d.add(name, process.Server, command)
	if err != nil {
		return err
	}
	d.programs[len(d.programs)-1].admin = at.Admin
	if p.profiling {
		d.programs[len(d.programs)-1].profile = at.Admin
	}
	if at.NATS != "" {
		d.nats = at.NATS
	}
	return d.programs[len(d.programs)-1].becomeReady()
}

// addGateway starts a gateway, to which no client connects.
func (p *Programs) addGateway(d *deployment) error {
	one, line, err := d.addSilent("gateway", process.Server, `"listening"`, exec.Command(filepath.Join(p.bin, "gateway"),
		"--config="+p.gateway, "--nats.url="+d.nats, "--gateway.listen=127.0.0.1:0", "--admin.listen=127.0.0.1:0"))
	if err != nil {
		return err
	}
	var at listening
	if err := json.Unmarshal([]byte(line), &at); err != nil {
		return fmt.Errorf("gateway says %q: %w", line, err)
	}
	d.post, one.admin = at.Address, at.Admin
	return one.becomeReady()
}

// moveAway puts the way of package far in front of the server. Its cost is not part of the server's.
func (p *Programs) moveAway(d *deployment) error {
	server := d.addresses[0]
	d.addresses = nil
	_, err := d.add("way", way, exec.Command(p.self, "far", server, p.certificate))
	return err
}

// becomeReady waits until an edge is ready.
func (p *program) becomeReady() error {
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		response, err := http.Get("http://" + p.admin + "/readyz")
		if err == nil {
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s does not become ready: %v", p.Name, err)
		}
	}
}

func (p *Programs) addNATS(d *deployment, more ...string) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	args := append([]string{"-a", "127.0.0.1", "-p", strconv.Itoa(port)}, more...)
	profile := ""
	if p.profiling {
		other, err := freePort()
		if err != nil {
			return err
		}
		profile = "127.0.0.1:" + strconv.Itoa(other)
		args = append(args, "--profile", strconv.Itoa(other))
	}
	nats, _, err := d.addSilent("nats-server", process.Broker, "Server is ready",
		exec.Command(filepath.Join(p.bin, "nats-server"), args...))
	if err != nil {
		return err
	}
	nats.profile = profile
	d.nats = "nats://127.0.0.1:" + strconv.Itoa(port)
	return nil
}

// way is the role of what stands between clients and a server.
const way = "way"

// node is the name of a process of Node.js.
const node = "node"

func (p *program) isNode() bool { return strings.HasPrefix(p.Name, node) }

// addNode starts the application on the reference server.
func (p *Programs) addNode(d *deployment, args ...string) error {
	_, err := d.add(node, process.Server, p.application(args...))
	return err
}

// addPackage starts the same application on the package for Node.js. Its clients are at the edge.
func (p *Programs) addPackage(d *deployment) error {
	_, _, err := d.addSilent(node, process.Server, `"listening"`, p.application("partyline", d.nats))
	return err
}

func (p *Programs) application(args ...string) *exec.Cmd {
	command := exec.Command("node", append([]string{"--expose-gc", filepath.Join(p.node(), "server.mjs")}, args...)...)
	command.Env = append(os.Environ(), "NODE_ENV=production")
	return command
}

func (p *Programs) addRedis(d *deployment) (url string, err error) {
	port, err := freePort()
	if err != nil {
		return "", err
	}
	_, _, err = d.addSilent("redis", process.Broker, "Ready to accept connections",
		exec.Command("redis-server", "--bind", "127.0.0.1", "--port", strconv.Itoa(port), "--save", "", "--appendonly",
			"no"))
	return "redis://127.0.0.1:" + strconv.Itoa(port), err
}

// freePort returns a port without a listener.
func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	port := listener.Addr().(*net.TCPAddr).Port
	return port, listener.Close()
}

// watch returns all processes whose cost is measured.
func (d *deployment) watch() (all []process.Watched) {
	for _, one := range d.programs {
		all = append(all, one.Watched)
	}
	return all
}

// memory is the memory of servers and brokers together, in bytes, after Node.js has collected its garbage.
func (d *deployment) memory() (sum int64, err error) {
	for _, one := range d.programs {
		if one.isNode() {
			if err := one.command.Process.Signal(syscall.SIGUSR2); err != nil {
				return 0, fmt.Errorf("%s: %w", one.Name, err)
			}
			time.Sleep(300 * time.Millisecond)
		}
	}
	return d.occupied()
}

// occupied is memory without a garbage collection.
func (d *deployment) occupied() (sum int64, err error) {
	return d.occupiedBy(func(one *program) bool { return one.Role != process.Service })
}

// nodeMemory is what processes of Node.js occupy, in bytes. memory must have been called: it collects their garbage.
func (d *deployment) nodeMemory() (sum int64, err error) { return d.occupiedBy((*program).isNode) }

func (d *deployment) occupiedBy(wanted func(*program) bool) (sum int64, err error) {
	for _, one := range d.programs {
		if !wanted(one) {
			continue
		}
		bytes, err := process.PSS(one.PID)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", one.Name, err)
		}
		sum += bytes
	}
	return sum, nil
}

func (d *deployment) stop() {
	for i := len(d.programs) - 1; i >= 0; i-- {
		d.programs[i].stop()
	}
	if d.store != "" {
		_ = os.RemoveAll(d.store)
	}
}
