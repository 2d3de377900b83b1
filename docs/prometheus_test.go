package docs_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"partyline/admin"
	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
	"partyline/test/stand"
)

// prometheus is the real program, with the configuration and the rules of deploy/prometheus, and an edge to scrape.
type prometheus struct {
	t   *testing.T
	url string
}

// needPrograms skips the test if Prometheus is not installed.
func needPrograms(t *testing.T) {
	t.Helper()
	for _, program := range []string{"prometheus", "promtool"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip("LEFT OUT: Prometheus with deploy/prometheus: install prometheus and promtool (Debian: apt-get install prometheus)")
		}
	}
}

var (
	targets   = regexp.MustCompile(`targets: \[[^\]]*\]`)
	intervals = regexp.MustCompile(`(scrape|evaluation)_interval: \S+`)
)

// startPrometheus runs it until the test ends. It has the deployment's configuration, with an edge of the test as the
// only target, and short intervals.
func startPrometheus(t *testing.T) *prometheus {
	t.Helper()
	nats := natsdtest.Start(t).ClientURL()
	n := edgetest.Start(t, edgetest.Options{NATS: nats}).Ready()
	pages, err := admin.NewHandler(admin.Options{Version: "v1", Metrics: append(n.Metrics(), wholeGateway(t, nats).Metrics()...), Token: "s3cret"})
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(pages)
	t.Cleanup(front.Close)
	folder := t.TempDir()
	config := read(t, "../deploy/prometheus/prometheus.yml")
	config = targets.ReplaceAllString(config, `targets: ["`+strings.TrimPrefix(front.URL, "http://")+`"]`)
	config = intervals.ReplaceAllString(config, "${1}_interval: 200ms")
	config = strings.NewReplacer("/etc/prometheus/", folder+"/", "/tmp/", folder+"/").Replace(config)
	for name, text := range map[string]string{"prometheus.yml": config, "admin.token": "s3cret", "alerts.yaml": read(t, "../deploy/prometheus/alerts.yaml")} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	address := "127.0.0.1:" + strconv.Itoa(stand.FreePorts(t, 1)[0])
	var log strings.Builder
	program := exec.Command("prometheus", "--config.file="+filepath.Join(folder, "prometheus.yml"),
		"--storage.tsdb.path="+filepath.Join(folder, "data"), "--web.listen-address="+address)
	program.Stdout, program.Stderr = &log, &log
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = program.Process.Kill()
		if _ = program.Wait(); t.Failed() {
			t.Log(log.String())
		}
		http.DefaultClient.CloseIdleConnections()
	})
	return &prometheus{t, "http://" + address + "/api/v1/"}
}

// ask reads one answer of the API into data, and returns its error.
func (p *prometheus) ask(path string, data any) (complaint string) {
	response, err := http.Get(p.url + path)
	if err != nil {
		return err.Error()
	}
	defer response.Body.Close()
	answer := struct {
		Status, Error string
		Data          any
	}{Data: data}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return err.Error()
	}
	return answer.Error
}

// sample is one series of an answer.
type sample struct{ Metric map[string]string }

// query evaluates an expression.
func (p *prometheus) query(expression string) (found []sample, complaint string) {
	var data struct{ Result []sample }
	complaint = p.ask("query?query="+url.QueryEscape(expression), &data)
	return data.Result, complaint
}

// TestPrometheus checks deploy/prometheus with Prometheus's own tool, and runs it. It must find the edge and evaluate
// every rule.
func TestPrometheus(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds or starts programs")
	}
	needPrograms(t)
	for _, arguments := range [][]string{
		{"check", "config", "--syntax-only", "../deploy/prometheus/prometheus.yml"}, {"check", "rules", "../deploy/prometheus/alerts.yaml"},
	} {
		if output, err := exec.Command("promtool", arguments...).CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(arguments, " "), err, output)
		}
	}
	p := startPrometheus(t)
	edgetest.Eventually(t, "the edge is scraped", func() bool {
		found, _ := p.query(`up{job=~"partyline.*"} == 1`)
		return len(found) == 1
	})
	type rule struct{ Name, Health, LastError, State, LastEvaluation string }
	var rules struct{ Groups []struct{ Rules []rule } }
	edgetest.Eventually(t, "every rule has been evaluated", func() bool {
		if p.ask("rules", &rules) != "" || len(rules.Groups) != 1 {
			return false
		}
		for _, r := range rules.Groups[0].Rules {
			if at, err := time.Parse(time.RFC3339Nano, r.LastEvaluation); err != nil || at.IsZero() || r.Health == "unknown" {
				return false
			}
		}
		return true
	})
	if len(rules.Groups[0].Rules) < 10 {
		t.Errorf("there are %d rules", len(rules.Groups[0].Rules))
	}
	for _, r := range rules.Groups[0].Rules {
		if r.Health != "ok" || r.State == "firing" {
			t.Errorf("rule %s of a healthy edge is %s, %s: %s", r.Name, r.Health, r.State, r.LastError)
		}
	}
	p.askAsGrafana()
}

// askAsGrafana evaluates every expression of the dashboard.
func (p *prometheus) askAsGrafana() {
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal([]byte(read(p.t, "../deploy/grafana/partyline.json")), &dashboard); err != nil {
		p.t.Fatal(err)
	}
	variables := strings.NewReplacer("$instance", ".*", "$__rate_interval", "1m", "$__range", "1m", "$__interval", "1m")
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			if _, complaint := p.query(variables.Replace(target.Expr)); complaint != "" {
				p.t.Errorf("panel %q: %s: %s", panel.Title, target.Expr, complaint)
			}
		}
	}
}
