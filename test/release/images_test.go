package release

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"partyline/internal/edgetest"
)

// engine is a Docker engine, and what one test names after itself there.
type engine struct {
	t          *testing.T
	name       string // of the network and the volume; it begins the names of images and containers
	containers int
}

// Each image starts, becomes healthy by its own probe, and `embedded` answers with the line that the documents give.
func TestImages(t *testing.T) {
	edgetest.ForRelease(t, "the images of a release")
	e := newEngine(t)
	embedded := e.start("embedded", append(e.documentedLine(), "--env", "PARTYLINE_EMBEDDED_LISTEN=:4222")...)
	address := strings.Fields(e.run("port", embedded, "3000"))[0]
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, path := range []string{"/", "/socket.io/socket.io.js", "/socket.io/?EIO=4&transport=polling"} {
		response, err := client.Get("http://" + address + path)
		if err != nil {
			t.Fatal(err)
		}
		if _ = response.Body.Close(); response.StatusCode != http.StatusOK {
			t.Errorf("embedded answers GET %s with %s", path, response.Status)
		}
	}

	nats := "PARTYLINE_NATS_URL=nats://" + embedded + ":4222"
	e.start("edge", "--env", nats)
	e.start("gateway", "--env", nats)
	file := filepath.Join(t.TempDir(), "edge.yaml")
	const inFile = "admin: {listen: '127.0.0.1:4001'}\nnats: {url: 'nats://no-such-host:4222'}\nnamespaces: {/: {connect: open}}\n"
	if err := os.WriteFile(file, []byte(inFile), 0o644); err != nil { // for the user of the container
		t.Fatal(err)
	}
	e.start("edge", "--volume", file+":/edge.yaml:ro", "--env", "PARTYLINE_CONFIG=/edge.yaml", "--env", nats)
}

// The NATS inside keeps what clients need to recover in the container, and in a volume. Both belong to the image's user.
func TestImageKeepsStreams(t *testing.T) {
	edgetest.ForRelease(t, "streams in an image")
	e := newEngine(t)
	recovery := []string{"--env", `PARTYLINE_NAMESPACES={"/":{"connect":"open","recovery":{"for":"2m"}}}`}
	e.start("embedded", recovery...)

	e.run("volume", "create", e.name)
	t.Cleanup(func() { e.run("volume", "rm", e.name) })
	recovery = append(recovery, "--volume", e.name+":/data", "--env", "PARTYLINE_EMBEDDED_JETSTREAM_DIR=/data")
	first := e.start("embedded", recovery...)
	e.run("stop", first)
	second := e.start("embedded", recovery...)
	if files := e.run("diff", second); strings.Contains(files, "/tmp/") {
		t.Errorf("with a volume, streams are in the container:\n%s", files)
	}
}

// newEngine builds the images of this machine's platform, and removes them behind the test.
func newEngine(t *testing.T) *engine {
	t.Helper()
	e := &engine{t: t, name: "partyline-" + strings.ToLower(t.Name()) + "-" + strconv.Itoa(os.Getpid())}
	if exec.Command(docker(), "info").Run() != nil {
		leaveOut(t, "the images: no Docker engine runs here")
	}
	build := exec.Command("sh", root+"/deploy/release/images.sh")
	build.Env = append(os.Environ(), "IMAGES="+e.name, "VERSION="+version, "PROCESSORS="+runtime.GOARCH, "PUSH=")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Cleanup(func() { e.run("rmi", "--no-prune", e.image("edge"), e.image("embedded"), e.image("gateway")) })
	e.run("network", "create", e.name)
	t.Cleanup(func() { e.run("network", "rm", e.name) })
	return e
}

// docker is the command, which DOCKER may name.
func docker() string {
	if name := os.Getenv("DOCKER"); name != "" {
		return name
	}
	return "docker"
}

func (e *engine) image(program string) string {
	return e.name + "-" + program + ":" + version + "-" + runtime.GOARCH
}

// run runs a command of docker, and returns what it prints.
func (e *engine) run(arguments ...string) string {
	e.t.Helper()
	out, err := exec.CommandContext(context.WithoutCancel(e.t.Context()), docker(), arguments...).CombinedOutput()
	if err != nil {
		e.t.Fatalf("docker %s: %v\n%s", strings.Join(arguments, " "), err, out)
	}
	return string(out)
}

// start runs a program's image until the test's end, and returns its container's name once that is healthy.
func (e *engine) start(program string, options ...string) string {
	e.t.Helper()
	e.containers++
	container := fmt.Sprintf("%s-%s-%d", e.name, program, e.containers)
	e.run(slices.Concat([]string{"run", "--detach", "--network", e.name, "--name", container}, options, []string{e.image(program)})...)
	e.t.Cleanup(func() {
		if e.t.Failed() {
			e.t.Logf("%s says\n%s", container, e.run("logs", container))
		}
		e.run("rm", "--force", container)
	})
	edgetest.Eventually(e.t, container+" is healthy", func() bool {
		state := strings.TrimSpace(e.run("inspect", "--format", "{{.State.Status}} {{.State.Health.Status}}", container))
		if strings.HasPrefix(state, "exited") {
			e.t.Fatalf("%s has ended", container)
		}
		return state == "running healthy"
	})
	return container
}

// documentedLine returns the options of `docker run` in docs/how-to/deploy.md, with a free port.
func (e *engine) documentedLine() []string {
	e.t.Helper()
	text, err := os.ReadFile(root + "/docs/how-to/deploy.md")
	if err != nil {
		e.t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^docker run --rm -p 127\.0\.0\.1:3000:3000 -e (\S+)='(.*)' partyline-embedded:`).FindSubmatch(text)
	if line == nil {
		e.t.Fatal("docs/how-to/deploy.md has no line to try embedded with")
	}
	return []string{"--publish", "127.0.0.1::3000", "--env", string(line[1]) + "=" + string(line[2])}
}
