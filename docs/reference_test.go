package docs_test

import (
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"partyline/config"
	"partyline/gateway"
	"partyline/gateway/adminui"
	httpapi "partyline/gateway/api"
	"partyline/gateway/hook"
	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
	"partyline/internal/tally"
	"partyline/rule"
	"partyline/token"
)

// setting is a key of the configuration, as in --help.
type setting struct {
	name, variable, help, standard string
	reloads                        string   // "yes" or ""
	in                             []string // the programs that have it
}

// TestConfigurationTable compares the table of keys with --help of the programs.
func TestConfigurationTable(t *testing.T) {
	programs := []config.Flavour{config.FlavourEdge, config.FlavourEmbedded, config.FlavourGateway}
	var settings []setting
	for _, program := range programs {
		for _, one := range helpOf(t, program) {
			i := slices.IndexFunc(settings, func(s setting) bool { return s.name == one.name })
			if i < 0 {
				settings = append(settings, one)
				continue
			}
			s := &settings[i]
			if s.in = append(s.in, one.in...); s.standard != one.standard {
				s.standard += "; " + one.in[0] + ": " + one.standard
			}
		}
	}
	table := "| Key | Default | Reloads | Meaning |\n|---|---|---|---|\n"
	for _, s := range settings {
		// The page explains how to spell a key in the environment, so the table need not.
		if want := "PARTYLINE_" + strings.ToUpper(strings.ReplaceAll(s.name, ".", "_")); s.variable != want {
			t.Errorf("%s is %s in the environment, want %s", s.name, s.variable, want)
		}
		switch { // most keys are those of edges
		case len(s.in) == len(programs):
			s.help += " All programs."
		case !slices.Equal(s.in, []string{"edge", "embedded"}):
			s.help += " Only `cmd/" + strings.Join(s.in, "` and `cmd/") + "`."
		}
		table += fmt.Sprintf("| `%s` | %s | %s | %s |\n", s.name, s.standard, s.reloads, s.help)
	}
	compareTable(t, "configuration.md", "configuration", table)
}

var (
	helpFlag = regexp.MustCompile(`^  --(\S+)`)
	helpEnv  = regexp.MustCompile(`^      (PARTYLINE_[A-Z0-9_]+)(, reloads)?$`)
)

// helpOf reads the keys from --help.
func helpOf(t *testing.T, f config.Flavour) []setting {
	t.Helper()
	var text strings.Builder
	if err := config.WriteHelp(&text, f); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(text.String(), "\n")
	var found []setting
	for i := 0; i+2 < len(lines); i++ {
		flag, env := helpFlag.FindStringSubmatch(lines[i]), helpEnv.FindStringSubmatch(lines[i+2])
		if flag == nil || env == nil {
			continue // another flag, such as --version
		}
		help, standard, given := strings.Cut(strings.TrimSpace(lines[i+1]), " Default: ")
		if given {
			standard = "`" + standard + "`"
		} else {
			standard = "none"
		}
		reloads := ""
		if env[2] != "" {
			reloads = "yes"
		}
		found = append(found, setting{flag[1], env[1], help, standard, reloads, []string{string(f)}})
	}
	if len(found) < 15 {
		t.Fatalf("found %d keys in --help", len(found))
	}
	return found
}

// TestMetricsTable compares the table of metrics with those in the packages.
func TestMetricsTable(t *testing.T) {
	server := natsdtest.Start(t, `jetstream { store_dir: "`+t.TempDir()+`" }`)
	namespaces := edgetest.Open() // and one with a log, for its metrics
	issuer := token.Default()
	issuer.Name, issuer.Issuer, issuer.Audience, issuer.Algorithms = "main", "i", "a", []string{"RS256"}
	issuer.JWKSURL = "http://127.0.0.1:1/"
	namespaces["/recovery"] = rule.Namespace{Connect: rule.ConnectOpen, Recovery: rule.Recovery{For: time.Minute}, Presence: rule.DefaultPresence("*")}
	n := edgetest.Start(t, edgetest.Options{NATS: server.ClientURL(), Namespaces: namespaces, Tokens: []token.Issuer{issuer}}).Ready()
	table := "| Metric | Meaning |\n|---|---|\n"
	var metrics []tally.Metric
	for _, set := range append(n.Metrics(), wholeGateway(t, server.ClientURL()).Metrics()...) {
		metrics = append(metrics, set.Metrics()...)
	}
	for i, m := range metrics {
		if slices.ContainsFunc(metrics[:i], func(before tally.Metric) bool { return before.Name == m.Name }) {
			continue // another value of the same label
		}
		// The page lists these names as the only counters.
		if isCounter := m.Kind == tally.KindCounter; isCounter != strings.HasSuffix(m.Name, "_total") {
			t.Errorf("%s: counter %t, contrary to its name", m.Name, isCounter)
		}
		table += fmt.Sprintf("| `partyline_%s` | %s%s |\n", m.Name, m.Help, labels(m, metrics))
	}
	compareTable(t, "metrics.md", "metrics", table)
}

// wholeGateway returns a gateway with all its parts, not started.
func wholeGateway(t *testing.T, url string) *gateway.Gateway {
	t.Helper()
	g, err := gateway.New(edgetest.Connect(t, url), gateway.Options{
		Prefix: "sio", Group: "gateway", Log: slog.New(slog.DiscardHandler), Hooks: []hook.Hook{{URLs: []string{"http://127.0.0.1:1/"}}},
		UI: &adminui.Options{Loopback: true}, Keys: []httpapi.Key{{Name: "a", Hash: httpapi.HashKey("a")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// labels returns a metric's labels, and their values unless they come from the configuration.
func labels(m tally.Metric, metrics []tally.Metric) (text string) {
	var fromConfiguration []string
	for i, l := range m.Labels {
		if l.Name == "namespace" || l.Name == "issuer" || i > 0 && m.Labels[0].Name == "namespace" {
			fromConfiguration = append(fromConfiguration, "`"+l.Name+"`")
			continue
		}
		var values []string
		for _, other := range metrics {
			if other.Name == m.Name && !slices.Contains(values, "`"+other.Labels[i].Value+"`") {
				values = append(values, "`"+other.Labels[i].Value+"`")
			}
		}
		text += " `" + l.Name + "`: " + strings.Join(values, ", ") + "."
	}
	if len(fromConfiguration) > 0 {
		text = " " + strings.Join(fromConfiguration, ", ") + ": as in the configuration." + text
	}
	return text
}

// TestConfigurationExamples loads every configuration file in the documents. The secrets that they name are in the
// working directory.
func TestConfigurationExamples(t *testing.T) {
	examples := map[string]string{} // by place
	for _, document := range append(pages(t), "../README.md") {
		for _, b := range anyBlocks(t, document, "yaml") {
			examples[fmt.Sprintf("%s:%d", document, b.line)] = b.text
		}
	}
	t.Chdir(t.TempDir())
	writeFile(t, "hook-secrets", "whsec_"+strings.Repeat("QUJD", 11)+"\n")
	writeFile(t, "token-secret", "5rVxYwqS0Zk3vJfT7uC2nB8mE1hQ6oLd\n")
	for place, text := range examples {
		writeFile(t, "config.yaml", text)
		program := config.FlavourEdge
		if strings.Contains(text, "hooks:") || strings.Contains(text, "api:") || strings.Contains(text, "ui:") || strings.Contains(text, "gateway:") {
			program = config.FlavourGateway
		}
		if _, err := config.Load(program, []string{"--config", "config.yaml"}, nil); err != nil {
			t.Errorf("%s: %v", place, err)
		}
	}
	if len(examples) < 7 {
		t.Errorf("the documents show %d configurations", len(examples))
	}
}
