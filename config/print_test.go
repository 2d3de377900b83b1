package config

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestPrintedConfigLoadsAgain(t *testing.T) {
	full := write(t, `
listen: "[::1]:80"
path: /x
page: false
trusted_proxies: [10.0.0.0/8]
engine: {ping_interval: 1m30s, transports: [websocket]}
cors: {origins: ["*"], credentials: true}
recovery: {storage: memory, replicas: 1, max_bytes: 512MiB}
namespaces:
  "*": {connect: open}
  "/back": {recovery: {for: 2m}, rewind: {messages: 7}}
  "/team": {presence: true}
  "/lobby": {presence: {rooms: ["lobby-*"], by: user, data: true, event: who, max: 7}}
  "/asked": {recovery: {for: 24h, skip_admission: false}}
  "/a.b": {connect: open, connect_timeout: 9s, unavailable: refuse, rooms: ["*", "yes", "1"], auto_join: ["# no: comment"], relay: [{event: "*", to: all, self: true}]}
`)
	for _, f := range []Flavour{FlavourEdge, FlavourEmbedded} {
		for _, args := range [][]string{nil, {"--config", full}} {
			first := mustLoad(t, f, args, nil).Config
			printed, err := first.YAML(f)
			if err != nil {
				t.Fatal(err)
			}
			second := mustLoad(t, f, []string{"--config", write(t, string(printed))}, nil).Config
			if !reflect.DeepEqual(first, second) {
				t.Errorf("%s %q: printed\n%s\n got %+v\nwant %+v", f, args, printed, second, first)
			}
		}
	}
}

func TestPrintedConfigHidesSecrets(t *testing.T) {
	const secret = "s3cret"
	for _, url := range []string{"nats://user:" + secret + "@a:1, tls://" + secret + "@b:2", "user:" + secret + "@c"} {
		c := mustLoad(t, FlavourEdge, []string{"--nats.url", url, "--edges.secret", secret, "--admin.token", secret}, nil).Config
		c.NATS.Token = secret // which Load takes without a user in nats.url only
		printed, err := c.YAML(FlavourEdge)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(printed), secret) || !strings.Contains(string(printed), "user:hidden@") {
			t.Errorf("printed:\n%s", printed)
		}
		if !strings.Contains(c.NATS.URL, secret) || c.NATS.Token != secret || c.Edges.Secret != secret {
			t.Error("the configuration itself has lost its secrets")
		}
	}
}

func TestHelpNamesEverything(t *testing.T) {
	for _, f := range all {
		var b strings.Builder
		if err := WriteHelp(&b, f); err != nil {
			t.Fatal(err)
		}
		help := b.String()
		for _, k := range allKeys {
			if known := slices.Contains(k.in, f); strings.Contains(help, "  --"+k.name) != known || strings.Contains(help, k.env()+map[bool]string{true: liveMark}[k.live]+"\n") != known {
				t.Errorf("%s: --help and %s", f, k.name)
			}
		}
		parts := []string{"--config FILE", "-h, --help", "--print-config", "--version", "--health"}
		if f != FlavourGateway {
			parts = append(parts, "Default: 25s", "Default: polling,websocket", "PARTYLINE_NAMESPACES")
		}
		if f != FlavourEdge {
			parts = append(parts, "PARTYLINE_HOOKS", "PARTYLINE_API_KEYS")
		}
		for _, part := range parts {
			if !strings.Contains(help, part) {
				t.Errorf("%s: --help lacks %q", f, part)
			}
		}
		for line := range strings.Lines(help) {
			if len(line) > 125 {
				t.Errorf("%s: --help has a line of %d letters: %s", f, len(line), line)
			}
		}
	}
}
