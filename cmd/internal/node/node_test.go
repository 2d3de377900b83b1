package node

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"partyline/cmd/internal/program"
	"partyline/config"
	"partyline/internal/edgetest"
	"partyline/internal/natsd"
)

// asMain makes the test's binary behave as cmd/embedded, or as cmd/edge if it is "edge", for tests that send signals.
const asMain = "NODE_TEST_AS_MAIN"

func TestMain(m *testing.M) {
	switch os.Getenv(asMain) {
	case "":
	case "edge":
		os.Exit(Main(edgeFlavour))
	default:
		os.Exit(Main(embedded))
	}
	edgetest.SideBySide(8)
	goleak.VerifyTestMain(m)
}

var (
	edgeFlavour = Flavour{Name: config.FlavourEdge}
	embedded    = Flavour{Name: config.FlavourEmbedded, StartNATS: func(c config.Config, log *slog.Logger) (NATS, error) {
		server, err := natsd.Inside(c, log)
		if err != nil {
			return nil, err
		}
		return server, nil
	}}
)

// freePorts are arguments with free ports.
var freePorts = []string{"--listen=127.0.0.1:0", "--admin.listen=127.0.0.1:0", "--embedded.listen=127.0.0.1:0"}

const deadline = edgetest.Patience

// run runs a program that ends by itself.
func run(t *testing.T, f Flavour, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	var out, errs bytes.Buffer
	status = Run(ctx, f, args, nil, &out, &errs)
	if ctx.Err() != nil {
		t.Errorf("%q has not ended by itself; stderr: %s", args, errs.String())
	}
	return status, out.String(), errs.String()
}

// listening is the log line with the addresses.
type listening struct{ Msg, Address, Admin, NATS string }

// firstListening reads a JSON log until that line and leaves the rest to be discarded.
func firstListening(t *testing.T, log io.Reader) listening {
	t.Helper()
	for decoder := json.NewDecoder(log); ; {
		var line listening
		if err := decoder.Decode(&line); err != nil {
			t.Fatalf("no line `listening`: %v", err)
		}
		if line.Msg == "listening" {
			return line
		}
	}
}

// background runs a program until stop is called, which returns its status.
func background(t *testing.T, f Flavour, args ...string) (where listening, stop func() int) {
	t.Helper()
	return backgroundWith(t, f, nil, args...)
}

// backgroundWith is background with an environment.
func backgroundWith(t *testing.T, f Flavour, environment []string, args ...string) (where listening, stop func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	reader, writer := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		status := Run(ctx, f, args, environment, io.Discard, writer)
		writer.Close()
		ended <- status
	}()
	stop = sync.OnceValue(func() int {
		cancel()
		return <-ended
	})
	t.Cleanup(func() { stop() })
	where = firstListening(t, reader)
	go io.Copy(io.Discard, reader) // ends with the writer; without a reader, writes to the log would block
	return where, stop
}

func TestExitStatus(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts connections and does not answer
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	busy := silent.Addr().String()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}

	good, bad := filepath.Join(t.TempDir(), "good.yaml"), filepath.Join(t.TempDir(), "bad.yaml")
	for name, text := range map[string]string{good: "nats: {url: \"nats://n:4222\"}\n", bad: "path: x\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}

	for _, c := range []struct {
		name           string
		flavour        Flavour
		args           []string
		status         int
		stdout, stderr string // parts
	}{
		{"help", edgeFlavour, []string{"--help"}, program.ExitOK, "Usage: edge", ""},
		{"version", embedded, []string{"--version"}, program.ExitOK, "partyline embedded ", ""},
		{"print", edgeFlavour, []string{"--print-config", "--listen=:9"}, program.ExitOK, "listen: :9\n", ""},
		{"one fault", edgeFlavour, []string{"--lisen=:1"}, program.ExitConfig, "",
			"edge: 1 fault in the configuration:\n  --lisen: unknown flag; did you mean --listen?\n"},
		{"all faults", edgeFlavour, []string{"--listen=1", "--path=x"}, program.ExitConfig, "",
			"edge: 2 faults in the configuration:\n  --listen: "},
		{"faults in print", edgeFlavour, []string{"--print-config", "--listen=1"}, program.ExitConfig, "", "1 fault"},
		{"check", edgeFlavour, []string{"--check-config", good}, program.ExitOK, "the configuration has no faults\n", ""},
		{"check of another program", embedded, []string{"--check-config", good}, program.ExitConfig, "",
			"nats.url: unknown key: only cmd/edge"},
		{"faults in check", edgeFlavour, []string{"--check-config", bad, "--listen=2"}, program.ExitConfig, "",
			"edge: 2 faults in the configuration:\n  --listen: "},
		{"check of two files", edgeFlavour, []string{"--check-config", good, "--config", good}, program.ExitConfig, "",
			"--config: is given together with --check-config"},
		{"check of nothing", edgeFlavour, []string{"--check-config", ""}, program.ExitConfig, "", "--check-config: needs the path"},
		{"check of no file", edgeFlavour, []string{"--check-config", file + "/x"}, program.ExitConfig, "", "--check-config: "},
		{"faults in health", edgeFlavour, []string{"--health", "--listen=1"}, program.ExitFailed, "", "1 fault"},
		{"nothing to be healthy", edgeFlavour, []string{"--health", "--admin.listen=127.0.0.1:1"}, program.ExitFailed, "",
			"unhealthy: http://127.0.0.1:1/healthz does not answer"},
		{"health without an answer", edgeFlavour, []string{"--health", "--admin.listen=" + busy}, program.ExitFailed, "",
			"does not answer"},
		{"health of any port", edgeFlavour, []string{"--health", "--admin.listen=127.0.0.1:0"}, program.ExitFailed, "",
			"--health needs a fixed one"},
		{"port of clients", edgeFlavour, []string{"--listen=" + busy, freePorts[1]}, program.ExitFailed, "",
			"listen: " + busy + " is in use by another program: stop that program, or choose another address with --listen (PARTYLINE_LISTEN in the environment, listen in the file)"},
		{"port of admin", edgeFlavour, []string{freePorts[0], "--admin.listen=" + busy}, program.ExitFailed, "",
			"admin.listen: " + busy + " is in use by another program"},
		{"port of NATS", embedded, append(freePorts[:2:2], "--embedded.listen="+busy), program.ExitFailed, "",
			"embedded.listen: " + busy + " is in use by another program: stop that program, or choose another address with --embedded.listen (PARTYLINE_EMBEDDED_LISTEN"},
		{"port of clients, NATS runs", embedded, append(freePorts[1:3:3], "--listen="+busy), program.ExitFailed, "",
			"listen: " + busy + " is in use"},
		{"no such address", edgeFlavour, []string{"--listen=192.0.2.1:0", freePorts[1]}, program.ExitFailed, "",
			"listen: 192.0.2.1:0 is no address of this machine"},
		{"folder of JetStream", embedded, append(freePorts[:3:3], "--embedded.jetstream.dir="+file+"/x"), program.ExitFailed, "",
			"the NATS inside does not start"},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, stdout, stderr := run(t, c.flavour, c.args...)
			if status != c.status || !strings.Contains(stdout, c.stdout) || !strings.Contains(stderr, c.stderr) {
				t.Errorf("status %d, want %d\nstdout: %s\nwant part: %s\nstderr: %s\nwant part: %s", status, c.status, stdout,
					c.stdout, stderr, c.stderr)
			}
			if (c.stdout == "") != (stdout == "") || (c.stderr == "") != (stderr == "") {
				t.Errorf("stdout %q, stderr %q: one of them should be empty", stdout, stderr)
			}
		})
	}
}

func TestRunsUntilItsContextEnds(t *testing.T) {
	for _, f := range []Flavour{edgeFlavour, embedded} {
		args := freePorts
		if f.StartNATS == nil {
			args = freePorts[:2]
		}
		where, stop := background(t, f, args...)
		status, _, stderr := run(t, f, "--health", "--admin.listen="+where.Admin)
		if status != program.ExitOK {
			t.Errorf("%s: --health: %d, %s", f.Name, status, stderr)
		}
		for _, path := range []string{"/readyz", "/metrics", "/"} {
			client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: deadline}
			response, err := client.Get("http://" + where.Admin + path)
			if err != nil {
				t.Fatal(err)
			}
			response.Body.Close()
			if path != "/readyz" && response.StatusCode != http.StatusOK {
				t.Errorf("%s: %s: %s", f.Name, path, response.Status)
			}
		}
		addresses := []string{where.Address, where.Admin}
		if f.StartNATS != nil {
			addresses = append(addresses, strings.TrimPrefix(where.NATS, "nats://"))
		}
		for _, address := range addresses {
			conn, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatalf("%s: %v", f.Name, err)
			}
			conn.Close()
		}
		if status := stop(); status != program.ExitOK {
			t.Errorf("%s: status %d", f.Name, status)
		}
		for _, address := range addresses {
			if conn, err := net.Dial("tcp", address); err == nil {
				conn.Close()
				t.Errorf("%s: %s still takes connections", f.Name, address)
			}
		}
	}
}

func TestSignalsEndIt(t *testing.T) {
	t.Parallel()
	for _, sent := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		program := exec.Command(os.Args[0], freePorts...)
		program.Env = append(os.Environ(), asMain+"=1")
		stderr, err := program.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := program.Start(); err != nil {
			t.Fatal(err)
		}
		late := time.AfterFunc(deadline, func() { _ = program.Process.Kill() })
		firstListening(t, stderr)
		if err := program.Process.Signal(sent); err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, stderr)
		if err := program.Wait(); err != nil {
			t.Errorf("after %s: %v", sent, err)
		}
		late.Stop()
	}
}

func TestWarningsAndLevels(t *testing.T) {
	var log bytes.Buffer
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	environ := []string{"PARTYLINE_NONSENSE=1", "PARTYLINE_LOG_LEVEL=warn"}
	if status := Run(ctx, edgeFlavour, freePorts[:2], environ, io.Discard, &log); status != program.ExitOK {
		t.Errorf("status %d", status)
	}
	var line struct{ Level, Msg string }
	if err := json.NewDecoder(bytes.NewReader(log.Bytes())).Decode(&line); err != nil || line.Level != "WARN" ||
		!strings.Contains(line.Msg, "PARTYLINE_NONSENSE") {
		t.Errorf("log: %s", log.String())
	}
	if status := Run(ctx, edgeFlavour, []string{"--print-config"}, environ, io.Discard, &log); status != program.ExitOK ||
		!strings.Contains(log.String(), "edge: warning: unknown environment variables") {
		t.Errorf("--print-config: %d %s", status, log.String())
	}
}
