package admin

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"partyline/internal/tally"
)

// Profiles are served only if configured.
func TestProfiles(t *testing.T) {
	for _, wanted := range []bool{false, true} {
		h, err := NewHandler(Options{Pprof: wanted})
		if err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "http://[::1]:3001/debug/pprof/heap?debug=1", nil))
		if got := w.Code == http.StatusOK && strings.Contains(w.Body.String(), "heap profile"); got != wanted {
			t.Errorf("with pprof %v the heap's profile is answered with %d", wanted, w.Code)
		}
	}
}

func get(t *testing.T, h http.Handler, method, path string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, "http://127.0.0.1:3001"+path, nil))
	return w.Code, w.Body.String()
}

func newHandler(t *testing.T, o Options) http.Handler {
	t.Helper()
	h, err := NewHandler(o)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestPages(t *testing.T) {
	var reasons []string
	h := newHandler(t, Options{Version: "v1.2.3", Ready: func() []string { return reasons }})
	expect := func(method, path string, status int, body string) {
		t.Helper()
		gotStatus, gotBody := get(t, h, method, path)
		if gotStatus != status || !strings.Contains(gotBody, body) {
			t.Errorf("%s %s: %d %q, want %d %q", method, path, gotStatus, gotBody, status, body)
		}
	}
	expect("GET", "/healthz", 200, "ok")
	expect("HEAD", "/healthz", 200, "")
	expect("GET", "/readyz", 200, "ready")
	expect("POST", "/healthz", 405, "")
	expect("GET", "/other", 404, "")
	for _, part := range []string{"v1.2.3", `href="/healthz"`, `href="/readyz"`, `href="/edges"`, `href="/metrics"`} {
		expect("GET", "/", 200, part)
	}
	reasons = []string{"shutting down", "NATS is not connected"}
	expect("GET", "/readyz", 503, "NATS is not connected\nshutting down")
	expect("GET", "/healthz", 200, "ok") // a restart would not help
	if status, body := get(t, newHandler(t, Options{}), "GET", "/readyz"); status != 200 || body != "ready\n" {
		t.Errorf("with nothing to ask: %d %q", status, body)
	}
}

func TestEdges(t *testing.T) {
	if status, body := get(t, newHandler(t, Options{}), "GET", "/edges"); status != 200 || body != "[]\n" {
		t.Errorf("without edges: %d %q", status, body)
	}
	h := newHandler(t, Options{Edges: func() []Edge {
		return []Edge{
			{Edge: "a0000000", Address: "http://10.0.0.1:3000", Sockets: 3, BeatAge: 250, This: true},
			{Edge: "b0000000", BeatAge: 5000, Silent: true},
		}
	}})
	want := `[{"edge":"a0000000","address":"http://10.0.0.1:3000","sockets":3,"beat_age_ms":250,"this":true},` +
		`{"edge":"b0000000","address":"","sockets":0,"beat_age_ms":5000,"this":false,"silent":true}]` + "\n"
	if status, body := get(t, h, "GET", "/edges"); status != 200 || body != want {
		t.Errorf("%d %s, want %s", status, body, want)
	}
}

func TestMetrics(t *testing.T) {
	var opened, bad, slow tally.Counter
	var open tally.Gauge
	var one, two tally.Set
	one.Counter(&opened, "sessions_opened_total", "Sessions opened.")
	one.LabelledCounter(&bad, "dropped_total", "Packets dropped.", "reason", "bad")
	two.LabelledCounter(&slow, "dropped_total", "Packets dropped.", "reason", "slow") // another package, the same metric
	two.Gauge(&open, "sessions", "Sessions now.")
	two.Func(tally.KindGauge, "half", "A half.", func() float64 { return 0.5 })
	h := newHandler(t, Options{Version: "v1", Metrics: []*tally.Set{&one, &two}})
	opened.Add(3)
	slow.Inc()
	open.Set(2)
	_, body := get(t, h, "GET", "/metrics")
	for _, line := range []string{
		"# HELP partyline_sessions_opened_total Sessions opened.", "# TYPE partyline_sessions_opened_total counter",
		"partyline_sessions_opened_total 3",
		`partyline_dropped_total{reason="bad"} 0`, `partyline_dropped_total{reason="slow"} 1`,
		"# TYPE partyline_sessions gauge", "partyline_sessions 2", "partyline_half 0.5",
		`partyline_build_info{version="v1"} 1`, "partyline_ready 1", "go_goroutines", "process_open_fds",
	} {
		if !strings.Contains(body, line) {
			t.Errorf("/metrics lacks %q", line)
		}
	}
}

func TestMetricsThatDoNotFit(t *testing.T) {
	declare := func(fill func(*tally.Set)) []*tally.Set {
		first, second := &tally.Set{}, &tally.Set{}
		first.Counter(&tally.Counter{}, "a_total", "A.")
		fill(second)
		return []*tally.Set{first, second}
	}
	for name, sets := range map[string][]*tally.Set{
		"twice":         declare(func(s *tally.Set) { s.Counter(&tally.Counter{}, "a_total", "A.") }),
		"another text":  declare(func(s *tally.Set) { s.Counter(&tally.Counter{}, "a_total", "B.") }),
		"another kind":  declare(func(s *tally.Set) { s.Gauge(&tally.Gauge{}, "a_total", "A.") }),
		"another label": declare(func(s *tally.Set) { s.LabelledCounter(&tally.Counter{}, "a_total", "A.", "x", "y") }),
		"bad name":      declare(func(s *tally.Set) { s.Counter(&tally.Counter{}, "b\xff", "A.") }),
	} {
		if _, err := NewHandler(Options{Metrics: sets}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
