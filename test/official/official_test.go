// Package official runs the programs as processes, and the official Socket.IO clients against them: in Node, by the
// scripts in ../node, and in Chromium, by those in ../browser. Each script is a subtest.
package official

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
)

func TestMain(m *testing.M) {
	edgetest.SideBySide(4)
	edgetest.LongMain(m, func() {
		if dir, _ := build(); dir != "" {
			_ = os.RemoveAll(dir)
		}
	})
}

// namespaces is the configuration that the scripts are written against.
var namespaces = "--config=" + filepath.Join("testdata", "namespaces.yaml")

// quickHeart sets short heartbeats, so that a script can see and miss them within seconds.
var quickHeart = []string{"--engine.ping_interval=400ms", "--engine.ping_timeout=4000ms"}

// restarting are the scripts that end their server. Each has its own.
const restarting = "restart"

func TestOfficialClients(t *testing.T) {
	t.Parallel()
	needScripts(t)
	for _, flavour := range []struct {
		name  string
		start func(t *testing.T, args ...string) *program
	}{
		{"embedded", func(t *testing.T, args ...string) *program { return start(t, "embedded", args...) }},
		{"edge", func(t *testing.T, args ...string) *program {
			nats := natsdtest.Start(t).ClientURL()
			p := start(t, "edge", append(args, "--nats.url="+nats)...)
			p.at.NATS = nats
			return p
		}},
	} {
		t.Run(flavour.name, func(t *testing.T) {
			t.Parallel()
			shared := flavour.start(t, namespaces)
			for _, script := range scripts(t, "../node") {
				name := strings.TrimSuffix(filepath.Base(script), ".test.mjs")
				t.Run(name, func(t *testing.T) {
					p := shared
					if name == restarting {
						p = flavour.start(t, append(quickHeart, namespaces)...)
					}
					p.run(t, script)
				})
			}
		})
	}
}

func TestBrowser(t *testing.T) {
	t.Parallel()
	needScripts(t)
	environment := needBrowser(t)
	for _, script := range scripts(t, "../browser") {
		t.Run(strings.TrimSuffix(filepath.Base(script), ".test.mjs"), func(t *testing.T) {
			var args []string // as `make run` starts it
			if name := filepath.Base(script); strings.HasPrefix(name, "clients.") || strings.HasPrefix(name, "rules.") {
				args = append(args, namespaces) // they test refusals, too
			}
			start(t, "embedded", args...).run(t, script, environment...)
		})
	}
}

// Everything works over TLS, too: polling with HTTP/2, and WebSockets.
func TestOverTLS(t *testing.T) {
	t.Parallel()
	needScripts(t)
	folder := t.TempDir()
	cert, key := filepath.Join(folder, "cert.pem"), filepath.Join(folder, "key.pem")
	edgetest.NewCertificate(t, time.Hour).Write(t, cert, key)
	secure := []string{"--tls.cert=" + cert, "--tls.key=" + key}
	t.Run("node", func(t *testing.T) {
		p := start(t, "embedded", append(secure, namespaces)...)
		for _, name := range []string{"admission", "binary", "disconnect", "flags", "transports"} { // large and binary events, refusals, and all transports; the others go through the same
			t.Run(name, func(t *testing.T) { p.run(t, "../node/"+name+".test.mjs", "NODE_EXTRA_CA_CERTS="+cert) })
		}
	})
	t.Run("browser", func(t *testing.T) {
		environment := needBrowser(t)
		p := start(t, "embedded", append(slices.Clone(secure), namespaces)...)
		p.run(t, "../browser/clients.test.mjs", append(environment, "NODE_EXTRA_CA_CERTS="+cert)...)
	})
}

// browsing is held by a test with a browser: several at once wait for each other's pages longer than a script does.
var browsing sync.Mutex

// needBrowser leaves the test out if there is no browser. It returns the environment of a script. No other test has a
// browser until this one ends.
func needBrowser(t *testing.T) []string {
	t.Helper()
	chromium := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil && chromium == "" {
			chromium = path
		}
	}
	if chromium == "" {
		leaveOut(t, "the tests in a browser need chromium, chromium-browser or google-chrome in PATH")
	}
	if _, err := os.Stat("../../web/client/VERSION"); err != nil {
		leaveOut(t, "the tests in a browser need the official client in web/client; run `make client`")
	}
	screenshots, err := filepath.Abs("../screenshots")
	if err != nil {
		t.Fatal(err)
	}
	browsing.Lock()
	t.Cleanup(browsing.Unlock)
	return []string{"PARTYLINE_CHROMIUM=" + chromium, "PARTYLINE_SCREENSHOTS=" + screenshots}
}

// scripts lists the scripts of a folder.
func scripts(t *testing.T, folder string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(folder, "*.test.mjs"))
	if err != nil || len(found) == 0 {
		t.Fatalf("no scripts in %s (%v)", folder, err)
	}
	return found
}

// needScripts leaves the test out on a machine that cannot run the scripts.
func needScripts(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("node"); err != nil {
		leaveOut(t, "the tests with the official clients need node in PATH")
	}
	for _, name := range []string{"socket.io-client", "socket.io-msgpack-parser", "@nats-io/transport-node",
		"axe-core", "playwright-core"} {
		if _, err := os.Stat(filepath.Join("../node/node_modules", name)); err != nil {
			leaveOut(t, "the tests with the official clients need the npm package "+name+"; run `npm ci` in test/node")
		}
	}
}

// leaveOut skips a test with words that test/run.sh searches for. Where everything must be tested it fails.
func leaveOut(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("PARTYLINE_TEST_ALL") == "1" {
		t.Fatal(why)
	}
	t.Skip("LEFT OUT: " + why)
}
