package main

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
	"partyline/rule"
	"partyline/test/stand"
)

// asMain makes the test program the real one.
const asMain = "PARTYLINE_TEST_AS_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asMain) != "" {
		main()
	}
	edgetest.SideBySide(4)
	goleak.VerifyTestMain(m, goleak.Cleanup(func(status int) {
		stand.Clean()
		os.Exit(status)
	}))
}

// gateway is the program as a process.
type gateway struct {
	*exec.Cmd
	admin, address string // where it listens
}

// run starts the program with a configuration, and waits until it listens.
func run(t *testing.T, config string) *gateway {
	t.Helper()
	return runAs(t, config, os.Args[0])
}

// runAs is run with a command that runs the program.
func runAs(t *testing.T, config string, command ...string) *gateway {
	t.Helper()
	file := filepath.Join(t.TempDir(), "gateway.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	g := &gateway{Cmd: exec.Command(command[0], append(command[1:], "--config", file)...)}
	g.Env = append(os.Environ(), asMain+"=1")
	log, err := g.StderrPipe()
	if err == nil {
		err = g.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.Process.Kill(); _, _ = io.Copy(io.Discard, log); _ = g.Wait() })
	lines := bufio.NewScanner(log)
	for lines.Scan() {
		t.Logf("gateway: %s", lines.Text())
		var line struct{ Msg, Admin, Address string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "listening" {
			g.admin, g.address = line.Admin, line.Address
			go func() { _, _ = io.Copy(io.Discard, log) }()
			return g
		}
	}
	t.Fatal("the program ended before it listened")
	return nil
}

// status requests a page of the operator.
func (g *gateway) status(page string) int {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Second}
	response, err := client.Get("http://" + g.admin + page)
	if err != nil {
		return 0
	}
	_ = response.Body.Close()
	return response.StatusCode
}

// The whole path: a client, a real edge, NATS, the program, and an HTTP endpoint.
func TestGatewayBesideAnEdge(t *testing.T) {
	server := natsdtest.Start(t)
	edge := edgetest.Start(t, edgetest.Options{NATS: server.ClientURL(), Namespaces: map[string]rule.Namespace{
		"/chat": {Connect: rule.ConnectService, ConnectTimeout: 20 * time.Second},
	}}).Ready()
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var event struct{ Type string }
		_ = json.NewDecoder(r.Body).Decode(&event)
		w.Header().Set("Content-Type", "application/json")
		if event.Type == "partyline.connect" {
			_, _ = io.WriteString(w, `{"user":"ann"}`)
			return
		}
		_, _ = io.WriteString(w, `{"ack":["hello"]}`)
	}))
	defer app.Close()
	secrets := filepath.Join(t.TempDir(), "secrets")
	if err := os.WriteFile(secrets, []byte("whsec_"+strings.Repeat("QUJD", 11)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	g := run(t, `
nats: {url: "`+server.ClientURL()+`"}
admin: {listen: "127.0.0.1:0"}
gateway: {listen: "127.0.0.1:0"}
hooks:
  - {namespaces: [/chat], events: [connect, "*"], url: "`+app.URL+`", secrets_file: "`+secrets+`"}
`)
	edgetest.Eventually(t, "the gateway is ready", func() bool { return g.status("/readyz") == 200 })
	ann := edge.Enter("ann", "/chat")
	ann.Emit("1", `["greet"]`)
	ann.Acked("1", `["hello"]`)
	if err := g.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := g.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
}

// Connections that send nothing take no descriptor that a hook or the next request to the API needs.
func TestConnectionsLeaveDescriptors(t *testing.T) {
	server := natsdtest.Start(t)
	edge := edgetest.Start(t, edgetest.Options{NATS: server.ClientURL(), Namespaces: map[string]rule.Namespace{
		"/chat": {Connect: rule.ConnectService, ConnectTimeout: 20 * time.Second},
	}}).Ready()
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{}`)
	}))
	defer app.Close()
	secrets := filepath.Join(t.TempDir(), "secrets")
	if err := os.WriteFile(secrets, []byte("whsec_"+strings.Repeat("QUJD", 11)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	g := runAs(t, `
nats: {url: "`+server.ClientURL()+`"}
admin: {listen: "127.0.0.1:0"}
gateway: {listen: "127.0.0.1:0"}
api: {keys: [{name: a, hash: "sha256:`+strings.Repeat("0", 64)+`", namespaces: ["/chat"], verbs: [emit], rooms: ["*"]}]}
hooks:
  - {namespaces: [/chat], events: [connect], url: "`+app.URL+`", secrets_file: "`+secrets+`"}
`, "sh", "-c", `ulimit -n 128; exec "$0" "$@"`, os.Args[0])
	edgetest.Eventually(t, "the gateway is ready", func() bool { return g.status("/readyz") == 200 })
	edgetest.Flood(t, g.address, 200)
	began := time.Now()
	edge.Enter("ann", "/chat")
	edgetest.Eventually(t, "the API answers", func() bool {
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Second}
		response, err := client.Post("http://"+g.address+"/v1/emit", "application/json", nil)
		if err != nil {
			return false // this connection was closed for a newer one
		}
		_ = response.Body.Close()
		return response.StatusCode == 401
	})
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("it took %s, as long as until the others are closed for sending nothing", took)
	}
}

// Without NATS the program waits for it, and says so.
func TestGatewayWithoutNATS(t *testing.T) {
	g := run(t, "nats: {url: \"nats://127.0.0.1:1\"}\nadmin: {listen: \"127.0.0.1:0\"}\ngateway: {listen: \"127.0.0.1:0\"}\n")
	if got := g.status("/readyz"); got != 503 {
		t.Errorf("/readyz answers %d", got)
	}
	if got := g.status("/healthz"); got != 200 {
		t.Errorf("/healthz answers %d", got)
	}
	if err := g.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := g.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
}
