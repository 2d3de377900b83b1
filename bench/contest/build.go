package contest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Programs are where the contestants' programs are.
type Programs struct {
	root      string // of the repository
	bin       string // edge, embedded, nats-server
	self      string // this program
	config    string // of the edges
	profiling bool   // the edges serve their profiles
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
	p.config = filepath.Join(p.bin, "partyline.yaml")
	if err := os.MkdirAll(p.bin, 0o755); err != nil {
		return nil, nil, err
	}
	if err := os.WriteFile(p.config, []byte(config), 0o644); err != nil {
		return nil, nil, err
	}
	into := p.bin + string(filepath.Separator)
	if err := p.run(root, "go", "build", "-trimpath", "-o", into, "./cmd/edge", "./cmd/embedded",
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
		case SocketIO, Redis:
			if _, done := lacks[SocketIO]; !done {
				lacks[SocketIO] = p.installNode()
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

func (p *Programs) installNode() error {
	locked, err := os.ReadFile(filepath.Join(p.node(), "package-lock.json"))
	if err != nil {
		return err
	}
	mark := filepath.Join(p.node(), "node_modules", ".installed") // what npm has installed
	if installed, err := os.ReadFile(mark); err == nil && string(installed) == string(locked) {
		return nil
	}
	if err := p.run(p.node(), "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund",
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
