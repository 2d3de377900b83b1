package config

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"partyline/internal/origin"
)

// FuzzSources gives both programs arbitrary files, variables and flags. Load returns a configuration or faults. A
// configuration that it accepts is accepted again after it was printed, and prints the same then; and the start of
// the program does not panic at it. No secret is shown.
//
// Lines of environ are variables, lines of flags are flags.
func FuzzSources(f *testing.F) {
	for _, c := range badConfigurations {
		f.Add(c.flavour == FlavourEmbedded, c.file, strings.Join(c.environ, "\n"), strings.Join(c.args, "\n"))
	}
	for _, k := range allKeys {
		f.Add(!slices.Contains(k.in, FlavourEdge), "", "", "--"+k.name+"=1s,a:1")
		f.Add(!slices.Contains(k.in, FlavourEdge), strings.ReplaceAll(k.name, ".", ": {")+": 1"+strings.Repeat("}", strings.Count(k.name, ".")), k.env()+"=10.0.0.0/8", "")
	}
	f.Add(false, "namespaces: {/a: {connect: open, relay: [{event: '*', to: all}]}}\nlisten: '[::1]:80'\n", "PARTYLINE_PATH=/x", "--cors.origins=https://*.h\n--page")
	f.Add(true, "", `PARTYLINE_NAMESPACES={"/":{"connect":"open","rooms":["*"]}}`, "--listen=:0\n--path=/socket.io\n--trusted_proxies=10.0.0.1,::1")
	f.Add(false, "a: &a [*a]\nnamespaces: &n {\"/\": *n}\n? [a]\n: b\n", "", "--nats.url=nats://u:p@h,tls://h\n--cookie.name=io")
	path := filepath.Join(f.TempDir(), "p.yaml")
	f.Fuzz(func(t *testing.T, embedded bool, file, environ, flags string) {
		if all := file + environ + flags; strings.Contains(all, "config") || strings.Contains(all, "dev/") || strings.Contains(all, "proc/") ||
			strings.Contains(all, fuzzedSecret) {
			return // other files, those without end, and the secret itself
		}
		flavour := FlavourEdge
		variables := lines(environ)
		if embedded {
			flavour = FlavourEmbedded
		}
		variables = append(variables, "PARTYLINE_EDGES_SECRET="+fuzzedSecret)
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		loaded, err := Load(flavour, append(lines(flags), "--config="+path), variables)
		var faults Faults
		if err != nil && !errors.As(err, &faults) {
			t.Fatalf("error of another kind: %v", err)
		}
		shown := strings.Join(loaded.Warnings, "\n")
		if err != nil {
			shown += err.Error()
		} else if loaded.Action == ActionRun || loaded.Action == ActionPrintConfig {
			shown += loadsAgain(t, flavour, loaded.Config, path)
			starts(loaded.Config)
		}
		if strings.Contains(shown, fuzzedSecret) {
			t.Fatalf("the secret is shown: %s", shown)
		}
	})
}

// fuzzedSecret is in the environment of every input.
const fuzzedSecret = "q7Vx2secretZz9"

func lines(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

// loadsAgain prints a configuration and loads what was printed.
func loadsAgain(t *testing.T, flavour Flavour, first Config, path string) string {
	printed, err := first.YAML(flavour)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, printed, 0o600); err != nil {
		t.Fatal(err)
	}
	again, err := Load(flavour, []string{"--config=" + path}, nil)
	if err != nil {
		t.Fatalf("printed\n%s\nis not accepted: %v", printed, err)
	}
	second, err := again.Config.YAML(flavour)
	if err != nil || string(second) != string(printed) {
		t.Fatalf("%v, printed\n%s\nand, loaded from that,\n%s", err, printed, second)
	}
	return string(printed)
}

// starts does with the values what a program does with them, as far as it could panic.
func starts(c Config) {
	mux := http.NewServeMux()
	handler := http.NotFoundHandler()
	mux.Handle("/", handler)
	mux.Handle(c.Path, handler)
	if bare := strings.TrimSuffix(c.Path, "/"); bare != "" {
		mux.Handle(bare, handler)
	}
	_ = c.ProxyRanges()
	for _, o := range c.CORS.Origins {
		_, _ = origin.Parse(o)
	}
}
