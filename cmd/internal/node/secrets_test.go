package node

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"partyline/internal/natsd/natsdtest"
)

// password is what no output may have, in any case of its letters.
const password = "PASSW0RD"

// secretURLs are forms of nats.url with a password or token, right and wrong ones. HOST stands for a NATS that refuses
// the credentials.
var secretURLs = []string{
	"bob:PASSW0RD@127.0.0.1:4", "nats://bob:PASSW0RD@127.0.0.1:4", "tls://bob:PASSW0RD@127.0.0.1:4", "ws://bob:PASSW0RD@127.0.0.1:4",
	"wss://bob:PASSW0RD@127.0.0.1:4", "NATS://bob:PASSW0RD@127.0.0.1:4", "PASSW0RD@127.0.0.1:4", "nats://PASSW0RD@127.0.0.1:4",
	"nats://PASSW0RD:@127.0.0.1:4", "nats://:PASSW0RD@127.0.0.1:4", "nats://bob:PASSW0RD@[::1]:4", "bob:PASSW0RD@[::1]:4",
	"nats://bob:PASSW0RD@127.0.0.1:4,nats://bob:PASSW0RD@127.0.0.1:5", "127.0.0.1:4,bob:PASSW0RD@127.0.0.1:5",
	" nats://127.0.0.1:4 , nats://bob:PASSW0RD@127.0.0.1:5 ", "nats://bob:PASSW0RD@127.0.0.1:4,PASSW0RD@127.0.0.1:5,127.0.0.1:6",
	"nats://bob:PASS%57PASSW0RD@127.0.0.1:4", "nats://bob:%40%2FPASSW0RD%22%5C@127.0.0.1:4", "nats://b%40b:PASSW0RD%0A@127.0.0.1:4",
	"nats://bob:PASS@PASSW0RD@127.0.0.1:4", "nats://bob:PASSW0RD!$&'()*+;=@127.0.0.1:4", "nats://bob:PASSW0RD:x@127.0.0.1:4",
	"nats://127.0.0.1:4?token=PASSW0RD", "ws://127.0.0.1:4/?jwt=PASSW0RD", "nats://bob:PASSW0RD@127.0.0.1:4/#PASSW0RD",
	"nats://bob:PASSW0RD@HOST", "PASSW0RD@HOST", "nats://bob:PASSW0RD@HOST?token=PASSW0RD", "nats://bob:%50ASSW0RD@HOST",
	// faults
	"nats://bob:PASSW0RD@127.0.0.1:99999", "nats://bob:PASSW0RD@127.0.0.1:x", "nats://bob:PASSW0RD@", "nats://bob:PASSW0RD", "bob:PASSW0RD",
	"nats://bob:x,PASSW0RD@127.0.0.1:4", "nats://bob:x/PASSW0RD@127.0.0.1:4", "nats://bob:x#PASSW0RD@127.0.0.1:4", "nats://bob:x?PASSW0RD@h",
	"nats://bob:x PASSW0RD@127.0.0.1:4", "nats://bob:%zzPASSW0RD@127.0.0.1:4", "nats://bob:PASSW0RD\n@127.0.0.1:4", "nast://bob:PASSW0RD@h",
	"nats:/bob:PASSW0RD@h", "nats:bob:PASSW0RD@h", "//bob:PASSW0RD@h", "nats://bob:PASSW0RD127.0.0.1:4222", "http://h/?token=PASSW0RD",
	`nats://bob:"PASSW0RD"@h`, `nats://bob:\PASSW0RD@h`, "nats://bob:PASSW0RD@127.0.0.1:4 nats://bob:PASSW0RD@127.0.0.1:5",
	"nats://bob:PASSW0RD@127.0.0.1:4;nats://bob:PASSW0RD@127.0.0.1:5", "'nats://bob:PASSW0RD@127.0.0.1:4'",
}

// realProgram is the real program of a NATS elsewhere, which runs until then or its own end. It returns all that it wrote.
func realProgram(t *testing.T, args, environment []string, then func(where listening)) string {
	t.Helper()
	p := exec.Command(os.Args[0], args...)
	p.Env = append(append(os.Environ(), asMain+"=edge"), environment...)
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.Stdout, p.Stderr = writer, writer
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	writer.Close()
	defer reader.Close()
	late := time.AfterFunc(deadline, func() { _ = p.Process.Kill() })
	defer late.Stop()
	var all bytes.Buffer
	chunk := make([]byte, 64<<10)
	ended := false
	for {
		n, err := reader.Read(chunk)
		all.Write(chunk[:n])
		if text := all.String(); !ended && strings.Contains(text, `"msg":"listening"`) &&
			(strings.Contains(text, "NATS refused") || strings.Contains(text, "cannot reach NATS")) {
			ended = true
			then(whereIn(t, text))
			_ = p.Process.Signal(syscall.SIGQUIT) // it writes what all goroutines do
		}
		if err != nil {
			break
		}
	}
	_ = p.Wait() // its status is that of a signal
	if !late.Stop() {
		t.Errorf("%q %q has not ended: %s", args, environment, &all)
	}
	return all.String()
}

// whereIn finds the line `listening` in a log.
func whereIn(t *testing.T, log string) (where listening) {
	t.Helper()
	for line := range strings.Lines(log) {
		if json.Unmarshal([]byte(line), &where) == nil && where.Msg == "listening" {
			return where
		}
	}
	return listening{}
}

// No output has a password or token of nats.url, whatever form the URL has: no log line of the real program at level
// debug, no fault, no page, no stack.
func TestNoCredentialIsShown(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	t.Parallel()
	nats := natsdtest.Start(t, `authorization {user: ann, password: other}`)
	for _, form := range secretURLs {
		url := strings.ReplaceAll(form, "HOST", strings.TrimPrefix(nats.ClientURL(), "nats://"))
		args := append(freePorts[:2:2], "--log.level=debug", "--admin.pprof", "--nats.url="+url)
		said := realProgram(t, args, nil, func(where listening) {
			for _, page := range []string{"/", "/edges", "/readyz", "/metrics", "/debug/pprof/", "/debug/pprof/cmdline", "/debug/pprof/goroutine?debug=2"} {
				if _, text := ask(t, http.MethodGet, "http://"+where.Admin+page); strings.Contains(strings.ToUpper(text), password) {
					t.Errorf("%q: %s shows %s", form, page, text)
				}
			}
		})
		if strings.Contains(strings.ToUpper(said), password) {
			t.Errorf("%q: %s", form, said)
		}
	}
}

// Nor has what is printed without a start, wherever the URL is configured, or typed by mistake.
func TestNoCredentialIsPrinted(t *testing.T) {
	quoted := func(s string) string { text, _ := json.Marshal(s); return string(text) }
	single := func(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
	file := func(text string) string {
		path := filepath.Join(t.TempDir(), "edge.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return "--config=" + path
	}
	for _, url := range secretURLs {
		for place, run := range map[string]struct{ args, environment []string }{
			"flag":             {[]string{"--nats.url=" + url}, nil},
			"help":             {[]string{"--nats.url=" + url, "--help"}, nil},
			"health":           {[]string{"--nats.url=" + url, "--health", "--admin.listen=127.0.0.1:1"}, nil},
			"environment":      {nil, []string{"PARTYLINE_NATS_URL=" + url}},
			"JSON in YAML":     {[]string{file(`{"nats": {"url": ` + quoted(url) + `}}`)}, nil},
			"plain YAML":       {[]string{file("nats:\n  url: " + url + "\n")}, nil},
			"quoted YAML":      {[]string{file("nats: {url: " + single(url) + "}\n")}, nil},
			"without =":        {[]string{"--nats.url" + url}, nil},
			"argument":         {[]string{"--nats.url", "nats://h", url}, nil},
			"in: another key":  {[]string{"--listen=" + url}, nil},
			"in: files' names": {[]string{"--nats.creds=" + url, "--config", url}, nil},
			"in: a section":    {[]string{file("nats:\n  " + quoted(url) + ":\n")}, nil},
			"in: namespaces":   {nil, []string{`PARTYLINE_NAMESPACES={` + quoted(url) + `: {}}`}},
		} {
			isURL := strings.Contains(url, "://") || strings.Contains(url, "@") && !strings.HasPrefix(url, "/")
			if strings.HasPrefix(place, "in: ") && !isURL { // in a place for other texts it is one
				continue
			}
			var out bytes.Buffer
			args := append(run.args, "--print-config")
			if place == "health" {
				args = run.args
			}
			Run(t.Context(), edgeFlavour, args, run.environment, &out, &out)
			if text := out.String(); text == "" || strings.Contains(strings.ToUpper(text), password) {
				t.Errorf("%q by %s: %s", url, place, text)
			}
		}
	}
}
