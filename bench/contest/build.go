package contest

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"partyline/bench/far"
	"partyline/bench/verify"
)

// Programs are where the contestants' programs are.
type Programs struct {
	root      string // of the repository
	bin       string // edge, embedded, nats-server
	self      string // this program
	config    string // of the edges
	owned     string // of the edges in front of the package for Node.js
	recovery  string // of the edges whose clients recover
	gateway   string // of the gateway
	profiling bool   // the edges serve their profiles

	certificate, key string // files, of the servers that are far away

	tokens      *verify.Tokens
	tokenConfig string // of the edges that admit by these
}

// config is the application of all scenarios: clients join rooms and send to the others in them, without a service.
const config = `namespaces:
  "/bench":
    connect: open
    rooms: ["*"]
    relay:
      - {event: message, to: rooms}
      - {event: say, to: room}
  "/flood":
    connect: open
    rooms: ["*"]
    relay:
      - {event: message, to: rooms}
`

// ownedConfig has the sockets of clients owned by the package for Node.js.
const ownedConfig = `namespaces:
  "/bench": {connect: service}
`

// recoveryConfig has clients recover, and is otherwise that of most scenarios.
var recoveryConfig = strings.ReplaceAll(config, "    connect: open\n", "    connect: open\n    recovery: {for: 2m}\n")

// postKey is the key of those who post, to the gateway and to the route of Express.
const postKey = "partyline_bench"

// gatewayConfig has that key.
var gatewayConfig = fmt.Sprintf(`api:
  requests_per_second: 0
  keys:
    - {name: bench, hash: "sha256:%x", namespaces: ["/bench"], verbs: [emit], rooms: ["*"]}
`, sha256.Sum256([]byte(postKey)))

// Root is the repository's folder, in or above the working directory.
func Root() (string, error) {
	folder, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		text, err := os.ReadFile(filepath.Join(folder, "go.mod"))
		if err == nil && strings.HasPrefix(string(text), "module partyline\n") {
			return folder, nil
		}
		above := filepath.Dir(folder)
		if above == folder {
			return "", errors.New("run this inside the repository")
		}
		folder = above
	}
}

// Build makes all programs. servers are the contestants that will be run; those that cannot run are left out, which
// is printed to out.
func Build(root string, profiling bool, servers []string, out io.Writer) (*Programs, []string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	p := &Programs{root: root, bin: filepath.Join(root, "bin", "bench-programs"), self: self, profiling: profiling}
	p.config, p.owned, p.recovery = filepath.Join(p.bin, "partyline.yaml"), filepath.Join(p.bin, "owned.yaml"), filepath.Join(p.bin, "recovery.yaml")
	p.gateway = filepath.Join(p.bin, "gateway.yaml")
	if err := os.MkdirAll(p.bin, 0o755); err != nil {
		return nil, nil, err
	}
	for file, text := range map[string]string{p.config: config, p.owned: ownedConfig, p.recovery: recoveryConfig, p.gateway: gatewayConfig} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			return nil, nil, err
		}
	}
	if slices.Contains(servers, EdgeToken) || slices.Contains(servers, Verify) {
		if err := p.makeTokens(); err != nil {
			return nil, nil, err
		}
	}
	p.certificate, p.key = filepath.Join(p.bin, "certificate.pem"), filepath.Join(p.bin, "key.pem")
	if slices.Contains(servers, EdgeFar) || slices.Contains(servers, SocketIOFar) {
		if err := far.WriteCertificate(p.certificate, p.key); err != nil {
			return nil, nil, err
		}
	}
	into := p.bin + string(filepath.Separator)
	if err := p.run(root, "go", "build", "-trimpath", "-o", into, "./cmd/edge", "./cmd/embedded", "./cmd/gateway",
		"github.com/nats-io/nats-server/v2"); err != nil {
		return nil, nil, err
	}
	return p, p.available(servers, out), nil
}

func (p *Programs) run(folder, name string, args ...string) error {
	command := exec.Command(name, args...)
	command.Dir = folder
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, output)
	}
	return nil
}

// available returns the contestants that can run here.
func (p *Programs) available(servers []string, out io.Writer) []string {
	var lacks = map[string]error{}
	for _, name := range servers {
		switch name {
		case NodeEmbedded, NodeEdge:
			if _, done := lacks[NodeEmbedded]; !done {
				lacks[NodeEmbedded] = p.buildPackage()
			}
			lacks[name] = lacks[NodeEmbedded]
		case SocketIO, SocketIOFar, Redis, Express:
			if _, done := lacks[SocketIO]; !done {
				lacks[SocketIO] = p.install(p.node())
			}
			if lacks[name] = lacks[SocketIO]; name == Redis && lacks[name] == nil {
				lacks[name] = p.installRedis()
			}
		}
	}
	var have []string
	for _, name := range servers {
		if lacks[name] != nil {
			_, _ = fmt.Fprintf(out, "LEFT OUT: %s: %v\n", name, lacks[name])
			continue
		}
		have = append(have, name)
	}
	return have
}

func (p *Programs) node() string { return filepath.Join(p.root, "bench", "node") }

// buildPackage makes the package for Node.js.
func (p *Programs) buildPackage() error {
	folder := filepath.Join(p.root, "node")
	if err := p.install(folder); err != nil {
		return err
	}
	return p.run(folder, "npm", "run", "--silent", "build")
}

// install installs the npm packages of a folder, unless they are there.
func (p *Programs) install(folder string) error {
	locked, err := os.ReadFile(filepath.Join(folder, "package-lock.json"))
	if err != nil {
		return err
	}
	mark := filepath.Join(folder, "node_modules", ".installed") // what npm has installed
	if installed, err := os.ReadFile(mark); err == nil && string(installed) == string(locked) {
		return nil
	}
	if err := p.run(folder, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund",
		"--loglevel=error"); err != nil {
		return err
	}
	return os.WriteFile(mark, locked, 0o644)
}

func (p *Programs) installRedis() error {
	if _, err := exec.LookPath("redis-server"); err == nil {
		return nil
	}
	if _, err := exec.LookPath("apt-get"); err != nil || os.Getuid() != 0 {
		return errors.New("install redis-server (with root and apt this program does it)")
	}
	if err := p.run(p.root, "apt-get", "update", "-qq"); err != nil {
		return err
	}
	return p.run(p.root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", "-qq",
		"--no-install-recommends", "redis-server")
}
