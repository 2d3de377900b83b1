package official

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"partyline/internal/natsd/natsdtest"
)

// crowd is how many official clients connect at once.
const crowd = 500

// TestNoStickySessions puts a balancer that takes each request, and each upgrade, to the next edge before three edges
// on a cluster of three NATS servers. Every official client connects, moves to a WebSocket and talks, and sees no
// error.
func TestNoStickySessions(t *testing.T) {
	t.Parallel()
	needScripts(t)
	servers := natsdtest.StartCluster(t, 3)
	var edges []*program
	for _, server := range servers {
		address := freeAddress(t)
		edges = append(edges, start(t, "edge", namespaces, "--listen="+address, "--advertise=http://"+address,
			"--edges.secret=5ecret",
			"--trusted_proxies=127.0.0.1", "--nats.url="+server.ClientURL(), "--log.level=info"))
	}
	for _, e := range edges {
		e.ready(t, len(edges))
	}
	front := roundRobin(t, edges)
	// The script prints when all clients are connected.
	look := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if problem := spread(t, edges); problem != "" {
			http.Error(w, problem, http.StatusInternalServerError)
		}
	}))
	t.Cleanup(look.Close)
	runScript(t, "../node/edges/crowd.test.mjs", "PARTYLINE_URL="+front, "PARTYLINE_NATS="+servers[0].ClientURL(),
		"PARTYLINE_CONTROL="+look.URL, "PARTYLINE_CROWD="+strconv.Itoa(crowd))
}

// roundRobin is a balancer without sticky sessions. Like others, it keeps connections to the edges, and sends them
// the client's address.
func roundRobin(t *testing.T, edges []*program) string {
	t.Helper()
	var next atomic.Int64
	transport := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: crowd}
	t.Cleanup(transport.CloseIdleConnections)
	balancer := httptest.NewServer(&httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: edges[next.Add(1)%int64(len(edges))].at.Address})
			r.Out.Host = r.In.Host
			r.SetXForwarded()
		},
	})
	t.Cleanup(balancer.Close)
	return balancer.URL
}

// ready waits until an edge is ready and knows as many edges as there are.
func (p *program) ready(t *testing.T, edges int) {
	t.Helper()
	for end := time.Now().Add(deadline); ; time.Sleep(20 * time.Millisecond) {
		var known []struct{ Address string }
		status, ready := p.page(t, "/readyz")
		_, list := p.page(t, "/edges")
		if err := json.Unmarshal([]byte(list), &known); err != nil {
			t.Fatalf("/edges: %v, %s", err, list)
		}
		if status == http.StatusOK && len(known) == edges {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the edge is not ready: %s; it knows %s", ready, list)
		}
	}
}

// page requests one of the operator's pages.
func (p *program) page(t *testing.T, path string) (int, string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: deadline}
	response, err := client.Get("http://" + p.at.Admin + path)
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Error(err)
	}
	return response.StatusCode, string(text)
}

// spread returns what is wrong with the distribution of the clients.
func spread(t *testing.T, edges []*program) string {
	var sessions, upgrades, spliced, failed float64
	for _, e := range edges {
		_, metrics := e.page(t, "/metrics")
		own := value(metrics, "partyline_sessions")
		if own < crowd/10 {
			return fmt.Sprintf("an edge has %v sessions of %d", own, crowd)
		}
		sessions += own
		upgrades += value(metrics, "partyline_upgrades_total")
		spliced += value(metrics, "partyline_spliced")
		failed += value(metrics, "partyline_forward_failed_total") + value(metrics, "partyline_forwarded_refused_total")
	}
	t.Logf("%v sessions, %v upgraded, %v spliced", sessions, upgrades, spliced)
	if sessions != crowd || upgrades != crowd || spliced < crowd/3 || failed > 0 {
		return fmt.Sprintf("%v sessions, %v upgraded, %v spliced, %v failed or refused", sessions, upgrades, spliced, failed)
	}
	return ""
}

// value returns the value of a metric.
func value(metrics, name string) float64 {
	for line := range strings.Lines(metrics) {
		if text, ok := strings.CutPrefix(line, name+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
			if err == nil {
				return v
			}
		}
	}
	return -1
}
