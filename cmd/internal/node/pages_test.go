package node

import (
	"net"
	"net/http"
	"testing"

	"partyline/cmd/internal/program"
)

// askAs is ask with a Host and a token, without the body.
func askAs(t *testing.T, url, host, token string) int {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: deadline}
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Host = host
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	return response.StatusCode
}

// The operator's pages are for the operator: pages of strangers and programs without the token do not get them. Probes
// do, and --health.
func TestTheOperatorsPagesAreGuarded(t *testing.T) {
	environment := []string{"PARTYLINE_ADMIN_TOKEN=s3cret-token"}
	where, _ := backgroundWith(t, edgeFlavour, environment, freePorts[0], "--admin.listen=0.0.0.0:0", "--admin.hosts=edge-1",
		"--admin.pprof", "--nats.url=nats://127.0.0.1:1")
	_, port, err := net.SplitHostPort(where.Admin)
	if err != nil {
		t.Fatal(err)
	}
	admin := "http://127.0.0.1:" + port
	for _, page := range []string{"/", "/edges", "/metrics", "/debug/pprof/"} {
		for _, c := range []struct {
			host, token string
			want        int
		}{{"", "", 401}, {"", "s3cret", 401}, {"", "s3cret-token", 200}, {"edge-1:3001", "", 401}, {"localhost", "", 401},
			{"evil.example", "", 403}, {"evil.example", "s3cret-token", 200}} {
			if got := askAs(t, admin+page, c.host, c.token); got != c.want {
				t.Errorf("%s with Host %q and the token %q: %d, want %d", page, c.host, c.token, got, c.want)
			}
		}
	}
	if got := askAs(t, admin+"/healthz", "edge-1", ""); got != 200 {
		t.Errorf("a probe gets %d", got)
	}
	if got := askAs(t, admin+"/readyz", "evil.example", ""); got != 403 {
		t.Errorf("/readyz under a name that is not listed: %d", got)
	}
	status, _, stderr := run(t, edgeFlavour, "--health", "--admin.insecure", "--admin.listen=:"+port)
	if status != program.ExitOK {
		t.Errorf("--health: %d, %s", status, stderr)
	}
}
