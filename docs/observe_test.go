package docs_test

import (
	"encoding/json"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"partyline/admin"
	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
)

// metricName matches one of our metrics in an expression.
var metricName = regexp.MustCompile(`\bpartyline_[a-z_]+`)

// exposed returns the names of all metrics in /metrics of an edge and a gateway.
func exposed(t *testing.T) map[string]bool {
	t.Helper()
	url := natsdtest.Start(t).ClientURL()
	n := edgetest.Start(t, edgetest.Options{NATS: url}).Ready()
	pages, err := admin.NewHandler(admin.Options{Version: "v1", Metrics: append(n.Metrics(), wholeGateway(t, url).Metrics()...)})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	pages.ServeHTTP(w, httptest.NewRequest("GET", "http://localhost/metrics", nil))
	names := map[string]bool{"partyline_tls_certificate_expiry_seconds": true} // of an edge with TLS; package node tests it
	for line := range strings.Lines(w.Body.String()) {
		if name, ok := strings.CutPrefix(line, "# TYPE "); ok {
			names[strings.Fields(name)[0]] = true
		}
	}
	return names
}

// TestDashboard checks that everything that the Grafana dashboard shows exists.
func TestDashboard(t *testing.T) {
	var dashboard struct {
		Title, UID string
		Panels     []struct {
			ID      int
			Title   string
			GridPos struct{ X, Y, W, H int }
			Targets []struct{ Expr, RefID string }
		}
	}
	text := read(t, "../deploy/grafana/partyline.json")
	if err := json.Unmarshal([]byte(text), &dashboard); err != nil {
		t.Fatal(err)
	}
	if dashboard.Title == "" || dashboard.UID == "" || len(dashboard.Panels) < 12 {
		t.Errorf("the dashboard %q (%s) has %d panels", dashboard.Title, dashboard.UID, len(dashboard.Panels))
	}
	names, ids, places := exposed(t), map[int]bool{}, map[[2]int]bool{}
	for _, p := range dashboard.Panels {
		place := [2]int{p.GridPos.X, p.GridPos.Y}
		if ids[p.ID] || places[place] || p.Title == "" || len(p.Targets) == 0 {
			t.Errorf("panel %d, %q: it has no content, or another's id or place", p.ID, p.Title)
		}
		ids[p.ID], places[place] = true, true
		for _, target := range p.Targets {
			checkExpression(t, names, p.Title, target.Expr)
		}
	}
}

// TestAlerts checks that everything that the Prometheus alert rules use exists.
func TestAlerts(t *testing.T) {
	file, err := os.Open("../deploy/prometheus/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var rules struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
	decoder := yaml.NewDecoder(file)
	decoder.KnownFields(true)
	if err := decoder.Decode(&rules); err != nil {
		t.Fatal(err)
	}
	names, seen := exposed(t), map[string]bool{}
	for _, group := range rules.Groups {
		for _, r := range group.Rules {
			if seen[r.Alert] || r.Labels["severity"] == "" || r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
				t.Errorf("alert %q: it exists twice, or has no severity, summary or description", r.Alert)
			}
			seen[r.Alert] = true
			if !strings.Contains(r.Expr, `up{job=~"partyline`) {
				checkExpression(t, names, r.Alert, r.Expr)
			}
		}
	}
	if len(seen) < 10 {
		t.Errorf("there are %d alerts", len(seen))
	}
}

// checkExpression checks that an expression uses existing metrics, and that its brackets close.
func checkExpression(t *testing.T, names map[string]bool, where, expression string) {
	t.Helper()
	found := metricName.FindAllString(expression, -1)
	if len(found) == 0 {
		t.Errorf("%s uses no metric: %s", where, expression)
	}
	for _, name := range found {
		if !names[name] {
			t.Errorf("%s uses %s, which does not exist", where, name)
		}
	}
	for _, pair := range []string{"()", "[]", "{}"} {
		if strings.Count(expression, pair[:1]) != strings.Count(expression, pair[1:]) {
			t.Errorf("%s: brackets %s do not close: %s", where, pair, expression)
		}
	}
}
