package docs_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/gateway"
	"partyline/gateway/hook"
	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
	"partyline/rule"
)

// TestGatewayPermissions runs a gateway with the permissions in How to use HTTP, and nothing more.
func TestGatewayPermissions(t *testing.T) {
	server := natsdtest.Start(t, "authorization {users: [{user: edge, password: edge-secret}\n"+
		"{user: gateway, password: gateway-secret, permissions: {\n"+blocks(t, "how-to/http.md", "conf")[0].text+"\n}}]}")
	as := func(user string) string {
		return strings.Replace(server.ClientURL(), "nats://", "nats://"+user+":"+user+"-secret@", 1)
	}
	n := edgetest.Start(t, edgetest.Options{NATS: as("edge"), Namespaces: map[string]rule.Namespace{
		"/chat": {Connect: rule.ConnectService, ConnectTimeout: 20 * time.Second},
	}}).Ready()
	var gone atomic.Bool
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/json")
		switch text := string(body); {
		case strings.Contains(text, `"partyline.connect"`):
			_, _ = io.WriteString(w, `{"rooms":["a"],"data":1}`)
		case strings.Contains(text, `"partyline.disconnect"`):
			gone.Store(true)
		default:
			_, _ = io.WriteString(w, `{"ack":[1],"emit":[{"to":{"room":"a"},"event":["hi"]},{"to":{"all":true},"event":["all"]}]}`)
		}
	}))
	t.Cleanup(app.Close)
	var refused atomic.Pointer[error]
	nc := edgetest.Connect(t, as("gateway"), nats.CustomInboxPrefix("_INBOX.gateway"),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused.Store(&err) }))
	g, err := gateway.New(nc, gateway.Options{Prefix: "sio", Group: "gateway", Log: slog.New(slog.DiscardHandler), Hooks: []hook.Hook{{
		Namespaces: []string{"/chat"}, Events: []string{"connect", "disconnect", "*"}, URLs: []string{app.URL}, Timeout: 5 * time.Second, Concurrency: 8,
	}}})
	if err != nil {
		t.Fatal(err)
	}
	edgetest.Serve(t, g)
	ann := n.Enter("ann", "/chat")
	ann.Emit("1", `["e"]`)
	ann.Acked("1", "[1]")
	ann.Gets(`["hi"]`)
	ann.Gets(`["all"]`)
	ann.Hangup()
	edgetest.Eventually(t, "the disconnect reaches the hook", gone.Load)
	if err := refused.Load(); err != nil {
		t.Errorf("NATS refused the gateway something: %v", *err)
	}
}
