package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"partyline/cmd/internal/node"
	"partyline/config"
	"partyline/engine/enginetest"
	"partyline/internal/edgetest"
	"partyline/test/stand"
)

func TestMain(m *testing.M) {
	if os.Getenv(asMain) != "" {
		main()
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(status int) { stand.Clean(); os.Exit(status) }))
}

// line is what the tests read of a line of the log.
type line struct{ Msg, Folder, NATS, Address, Gateway string }

// started runs the program until stop is called, and returns the lines up to `listening`.
func started(t *testing.T, args ...string) (log []line, stop func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), edgetest.Patience)
	reader, writer := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		args := append(args, "--listen=127.0.0.1:0", "--admin.listen=127.0.0.1:0", "--embedded.listen=127.0.0.1:0")
		ended <- node.Run(ctx, node.Flavour{Name: config.FlavourEmbedded, StartNATS: startNATS, OpenGateway: openGateway}, args, nil, io.Discard, writer)
		_ = writer.Close()
	}()
	lines := bufio.NewScanner(reader)
	for len(log) == 0 || log[len(log)-1].Msg != "listening" {
		var l line
		if !lines.Scan() {
			t.Fatalf("the program ended: %+v", log)
		}
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
		log = append(log, l)
	}
	go func() { _, _ = io.Copy(io.Discard, reader) }()
	return log, func() {
		cancel()
		if status := <-ended; status != 0 {
			t.Errorf("status %d", status)
		}
	}
}

// A namespace that is logged needs JetStream. Without a folder of the operator's it has one of its own, and the log
// says what that means.
func TestJetStreamOfLoggedNamespaces(t *testing.T) {
	folder := t.TempDir()
	for name, test := range map[string]struct {
		namespaces  string
		args        []string
		isLogged    bool
		isTemporary bool
		isOn        bool
	}{
		"not logged":          {namespaces: `{connect: open}`},
		"recovery":            {namespaces: `{connect: open, recovery: {for: 2m}}`, isLogged: true, isTemporary: true, isOn: true},
		"rewind":              {namespaces: `{connect: open, rewind: {}}`, isLogged: true, isTemporary: true, isOn: true},
		"a folder":            {namespaces: `{connect: open, recovery: {for: 2m}}`, args: []string{"--embedded.jetstream.dir=" + folder}, isLogged: true, isOn: true},
		"a folder, no events": {namespaces: `{connect: open}`, args: []string{"--embedded.jetstream.dir=" + folder}, isOn: true},
	} {
		t.Run(name, func(t *testing.T) {
			temporary := t.TempDir()
			t.Setenv("TMPDIR", temporary)
			file := filepath.Join(t.TempDir(), "p.yaml")
			if err := os.WriteFile(file, []byte(`namespaces: {"/": `+test.namespaces+"}\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			log, stop := started(t, append(test.args, "--config="+file)...)
			warned := 0
			for _, l := range log {
				if strings.Contains(l.Msg, "embedded.jetstream.dir") && strings.HasPrefix(l.Folder, temporary) {
					warned++
				}
			}
			if made, err := filepath.Glob(temporary + "/*"); err != nil || (len(made) == 1) != test.isTemporary || (warned == 1) != test.isTemporary {
				t.Errorf("folders %q, %v, and %d warnings; want one of both: %t", made, err, warned, test.isTemporary)
			}
			hasJetStream(t, log[len(log)-1].NATS, test.isOn, test.isLogged)
			stop()
			if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
				t.Errorf("%v is left, %v", left, err)
			}
		})
	}
	if kept, err := os.ReadDir(folder); err != nil || len(kept) == 0 {
		t.Errorf("the operator's folder has %v, %v", kept, err)
	}
}

// hasJetStream checks whether JetStream is on, and with isLogged waits until the edge has made its streams.
func hasJetStream(t *testing.T, url string, isOn, isLogged bool) {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := nc.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	if _, err = js.AddStream(&nats.StreamConfig{Name: "S", Subjects: []string{"s"}}); (err == nil) != isOn {
		t.Errorf("a stream is made with the error %v, want JetStream on: %t", err, isOn)
	}
	for _, name := range []string{"SIO_LOG", "SIO_SESSIONS"} {
		edgetest.Eventually(t, "the stream "+name, func() bool {
			_, err := js.StreamInfo(name)
			return !isLogged || err == nil
		})
	}
}

// The programs themselves have the command token: one makes a token, the other explains it.
func TestTokenOfThePrograms(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the programs")
	}
	folder := t.TempDir()
	if out, err := exec.Command("go", "build", "-o", folder+"/", ".", "../edge").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var yaml strings.Builder
	made := exec.CommandContext(t.Context(), folder+"/embedded", "token", "--secret", folder+"/secret", "--user", "ann", "--join", "lobby-*", "--for", "1h")
	made.Stderr = &yaml
	raw, err := made.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, yaml.String())
	}
	file := filepath.Join(folder, "p.yaml")
	if err := os.WriteFile(file, []byte(yaml.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	checked := exec.CommandContext(t.Context(), folder+"/edge", "token", "--check", "--config", file)
	checked.Stdin = strings.NewReader(string(raw))
	out, err := checked.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "*: accepted, of the issuer dev") || !strings.Contains(string(out), "join: lobby-*") {
		t.Errorf("%v: %s", err, out)
	}
}

// With hooks the program has a gateway inside.
func TestHooksInside(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var event struct{ Type string }
		_ = json.NewDecoder(r.Body).Decode(&event)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, map[string]string{"partyline.connect": "{}", "partyline.event": `{"ack":["from HTTP"]}`}[event.Type])
	}))
	defer app.Close()
	secrets, file := filepath.Join(t.TempDir(), "secrets"), filepath.Join(t.TempDir(), "p.yaml")
	for name, text := range map[string]string{
		secrets: "whsec_" + strings.Repeat("QUJD", 11) + "\n",
		file: "namespaces: {/chat: {connect: service}}\n" +
			"hooks: [{namespaces: [/chat], events: [connect, greet], url: \"" + app.URL + "\", secrets_file: " + secrets + "}]\n",
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	log, stop := started(t, "--config", file)
	defer stop()
	c := enginetest.Dial(t, enginetest.NewConversation(t), "ann", "http://"+log[len(log)-1].Address, nil)
	so := edgetest.Enter(c, "/chat", "")
	so.Emit("1", `["greet"]`)
	so.Acked("1", `["from HTTP"]`)
	c.Hangup()
}

// With gateway.listen the program has the Admin UI, which in open mode needs no user.
func TestAdminUIInside(t *testing.T) {
	log, stop := started(t, "--gateway.listen=127.0.0.1:0")
	defer stop()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get("http://" + log[len(log)-1].Gateway + "/ui/")
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if policy := response.Header.Get("Content-Security-Policy"); policy == "" {
		t.Errorf("/ui/ is answered with %s and %v", response.Status, response.Header)
	}
	c := enginetest.Dial(t, enginetest.NewConversation(t), "operator", "http://"+log[len(log)-1].Address, nil)
	edgetest.Enter(c, "/admin", "")
	c.Hangup()
}

// Connections to the gateway are among those that limits.connections bounds: each that sends nothing gives way to a new one.
func TestGatewayInsideBoundsConnections(t *testing.T) {
	log, stop := started(t, "--gateway.listen=127.0.0.1:0", "--limits.connections=100")
	t.Cleanup(stop)
	began := time.Now()
	dialled := edgetest.Flood(t, log[len(log)-1].Gateway, 200)
	edgetest.Eventually(t, "connections were closed for new ones", func() bool { return dialled() >= 400 })
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("it took %s, as long as until they are closed for sending nothing", took)
	}
}
