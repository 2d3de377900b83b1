package permissions

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"partyline/gateway"
	"partyline/gateway/api"
	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
	"partyline/rule"
)

// beginGateway starts a gateway as a user with the permissions for publishing in docs/how-to/http.md; another test has those
// for hooks.
func beginGateway(t *testing.T, o gateway.Options) (*stage, *user, *gateway.Gateway) {
	t.Helper()
	text, err := os.ReadFile("../../docs/how-to/http.md")
	if err != nil {
		t.Fatal(err)
	}
	lists := regexp.MustCompile("(?ms)^```hcl\n(.*?)^```$").FindStringSubmatch(string(text))
	if lists == nil {
		t.Fatal("http.md has no permissions for publishing")
	}
	entry := "users: [\n{user: gateway, password: gateway-secret, permissions: {" + lists[1] + "}}\n"
	log := fmt.Sprintf("jetstream { store_dir: %q }\n", t.TempDir())
	s := &stage{t: t, server: natsdtest.Start(t, log+strings.Replace(documented(t), "users: [", entry, 1))}
	s.Node = edgetest.Start(t, edgetest.Options{NATS: s.url("admin"), Namespaces: map[string]rule.Namespace{
		"/chat": {Connect: rule.ConnectOpen, Recovery: rule.Recovery{For: time.Minute}},
	}}).Ready()
	u := s.as("gateway")
	o.Prefix, o.Group, o.Log = "sio", "gateway", slog.New(slog.DiscardHandler)
	g, err := gateway.New(u.NC, o)
	if err != nil {
		t.Fatal(err)
	}
	edgetest.Serve(t, g)
	return s, u, g
}

// With the documented permissions keys publish, move and read, and NATS refuses nothing.
func TestHTTPAPI(t *testing.T) {
	verbs := []string{"emit", "broadcast", "ask", "join", "leave", "grant", "data", "disconnect"}
	s, u, g := beginGateway(t, gateway.Options{Keys: []api.Key{{
		Name: "k", Hash: api.HashKey("key"), Namespaces: []string{"/*"}, Rooms: []string{"*"}, Verbs: verbs, May: []string{"all", "socket", "user", "read"},
	}}})
	ann := s.Enter("ann", "/chat")
	id, _, _ := strings.Cut(ann.ID, `"`) // the pid is behind it
	do := func(method, path, body string, header ...string) (int, string) {
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer key")
		r.Header.Set("Content-Type", "application/json")
		for i := 0; i+1 < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		w := httptest.NewRecorder()
		g.Handler().ServeHTTP(w, r)
		return w.Code, w.Body.String()
	}
	for _, verb := range verbs {
		members := map[string]string{"emit": `,"event":["e"]`, "broadcast": `,"event":["e"],"sender":"` + id + `"`, "ask": `,"event":["e"],"timeout":1`,
			"join": `,"rooms":["a"]`, "leave": `,"rooms":["a"]`, "grant": `,"grant":{"emit":["x"]}`, "data": `,"data":1`}
		for _, path := range []string{"/v1/sockets?namespace=/chat&to=all", "/v1/rooms?namespace=/chat&to=all"} {
			if status, body := do(http.MethodGet, path, ""); status != 200 {
				t.Errorf("%s: %d %s", path, status, body)
			}
		}
		if status, body := do(http.MethodPost, "/v1/"+verb, `{"namespace":"/chat","to":{"all":true}`+members[verb]+`}`); status >= 300 {
			t.Errorf("%s: %d %s", verb, status, body)
		}
	}
	if status, body := do(http.MethodPost, "/v1/emit", `{"namespace":"/chat","to":{"all":true},"event":["e"]}`, "Idempotency-Key", "1"); status != 200 {
		t.Errorf("with an Idempotency-Key: %d %s", status, body)
	}
	u.unhindered()
	do(http.MethodPost, "/v1/emit", `{"namespace":"/secret","to":{"all":true},"event":["e"]}`)
	u.mayNot("publish", "sio.secret.emit.all")
}
