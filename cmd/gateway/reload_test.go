package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"partyline/gateway/api"
	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
	"partyline/rule"
)

// endpoint answers hooks with a name, and counts them.
func endpoint(t *testing.T, name string) (url string, events *atomic.Int64) {
	t.Helper()
	events = new(atomic.Int64)
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var event struct{ Type string }
		_ = json.NewDecoder(r.Body).Decode(&event)
		w.Header().Set("Content-Type", "application/json")
		if event.Type == "partyline.connect" {
			_, _ = io.WriteString(w, `{"user":"ann"}`)
			return
		}
		if event.Type == "partyline.event" {
			events.Add(1)
		}
		_, _ = io.WriteString(w, `{"ack":["`+name+`"]}`)
	}))
	t.Cleanup(app.Close)
	return app.URL, events
}

// SIGHUP gives a running gateway other hooks and keys: its sockets stay, and each event goes to one endpoint, also while
// it reloads again and again. What it owns needs a restart.
func TestReload(t *testing.T) {
	server := natsdtest.Start(t)
	edge := edgetest.Start(t, edgetest.Options{NATS: server.ClientURL(), Namespaces: map[string]rule.Namespace{
		"/chat": {Connect: rule.ConnectService, ConnectTimeout: 20 * time.Second},
	}}).Ready()
	first, firstEvents := endpoint(t, "first")
	second, secondEvents := endpoint(t, "second")
	secrets := filepath.Join(t.TempDir(), "secrets")
	if err := os.WriteFile(secrets, []byte("whsec_"+strings.Repeat("QUJD", 11)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	config := func(url, namespace, key, more string) string {
		return `
nats: {url: "` + server.ClientURL() + `"}
admin: {listen: "127.0.0.1:0"}
gateway: {listen: "127.0.0.1:0"}
api: {keys: [{name: a, hash: "` + api.HashKey(key) + `", namespaces: ["*"], may: [read, all]}]` + more + `}
hooks:
  - {namespaces: ["` + namespace + `"], events: [connect, "*"], url: "` + url + `", secrets_file: "` + secrets + `"}
`
	}
	g := run(t, config(first, "/chat", "key-1", ""))
	file := g.Args[len(g.Args)-1]
	reload := func(text string, want int) (said string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		response, err := http.Post("http://"+g.admin+"/reload", "", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, _ := io.ReadAll(response.Body)
		if response.StatusCode != want {
			t.Fatalf("it was answered %s %s", response.Status, body)
		}
		return string(body)
	}
	read := func(key string) int {
		t.Helper()
		request, _ := http.NewRequest(http.MethodGet, "http://"+g.address+"/v1/sockets?namespace=/chat&to=all", nil)
		request.Header.Set("Authorization", "Bearer "+key)
		response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		return response.StatusCode
	}
	edgetest.Eventually(t, "the gateway is ready", func() bool { return g.status("/readyz") == 200 })
	ann := edge.Enter("ann", "/chat")
	ann.Emit("1", `["greet"]`)
	ann.Acked("1", `["first"]`)
	if read("key-1") != 200 || read("key-2") != 401 {
		t.Error("the first key does not count")
	}

	reload(config(second, "/chat", "key-2", ", requests_per_second: 1"), 200)
	ann.Emit("2", `["greet"]`)
	ann.Acked("2", `["second"]`)
	if read("key-1") != 401 || read("key-2") != 200 {
		t.Error("the second key does not count")
	}
	edgetest.Eventually(t, "the rate counts", func() bool { return read("key-2") == 429 })

	if said := reload(config(second, "/other", "key-2", ""), 409); !strings.Contains(said, "hooks: needs a restart: the program owns the sockets of the namespaces /chat") {
		t.Errorf("it says %s", said)
	}
	firstEvents.Store(0)
	secondEvents.Store(0)
	const events = 100
	for i := range events {
		ann.Emit("", `["note"]`)
		if err := os.WriteFile(file, []byte(config([]string{first, second}[i%2], "/chat", "key-2", "")), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := g.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	edgetest.Eventually(t, "all events have come", func() bool { return firstEvents.Load()+secondEvents.Load() >= events })
	ann.Emit("3", `["last"]`)
	ann.Next()
	if n := firstEvents.Load() + secondEvents.Load(); n != events+1 {
		t.Errorf("the endpoints got %d events of %d", n, events+1)
	}
}
