package gateway_test

import (
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"partyline/backend"
	"partyline/config"
	"partyline/gateway/adminui"
	"partyline/gateway/hook"
	"partyline/internal/edgetest"
	"partyline/rule"
	"partyline/token"
)

// In namespaces where the edge itself admits, hooks get the events of all sockets, in order, and need no connect.
func TestHooksOfOpenNamespaces(t *testing.T) {
	s := begin(t, func(o *edgetest.Options) { o.Namespaces["/chat"] = rule.Namespace{Connect: rule.ConnectOpen} })
	e := newEndpoint(t, admitting(`{"rooms":["a"]}`, `{"ack":["yes"]}`))
	h := hooked(e.URL)
	h.Events = []string{hook.Disconnect, "*"}
	s.gateway(h)
	so := s.Enter("ann", "/chat")
	for range 20 {
		so.Emit("1", `["e"]`)
		so.Acked("1", `["yes"]`)
	}
	so.Hangup()
	if gone := e.gets(1, "disconnect")[0]; gone.Socket != so.ID {
		t.Errorf("disconnect of %s", gone.Socket)
	}
	if n := len(e.about("connect")); n > 0 {
		t.Errorf("%d connects were posted to a hook that does not name them", n)
	}
}

// A hook may name the connects of an open namespace: a grant counts, and a refusal disconnects.
func TestConnectHookOfOpenNamespace(t *testing.T) {
	s := begin(t, func(o *edgetest.Options) { o.Namespaces["/chat"] = rule.Namespace{Connect: rule.ConnectOpen} })
	e := newEndpoint(t, nil)
	e.handle = func(w http.ResponseWriter, r *request) {
		if r.Data.Handshake.Auth["name"] == "eve" {
			answer(w, 403, `{"message":"go away"}`)
			return
		}
		admitting(`{"user":"ann","rooms":["a"]}`, `{"emit":[{"to":{"room":"a"},"event":["hi"]}]}`)(w, r)
	}
	s.gateway(hooked(e.URL))
	eve := s.Dial("eve")
	edgetest.Enter(eve, "/chat", `{"name":"eve"}`)
	eve.Expect("41/chat,")
	ann := edgetest.Enter(s.Dial("ann"), "/chat", `{"name":"ann"}`)
	ann.Emit("", `["e"]`)
	ann.Gets(`["hi"]`)
	if r := e.gets(1, "e")[0]; r.User != "ann" {
		t.Errorf("the event is of user %q", r.User)
	}
}

// With connect: token the edge admits, and the socket gets its owner behind that: its events wait for the hook's answer to
// the connect, which changes what the token has given.
func TestHooksOfTokenNamespaces(t *testing.T) {
	key := edgetest.HMACKey(t)
	issuer := token.Default()
	issuer.Name, issuer.Issuer, issuer.Audience = "main", edgetest.TokenIssuer, edgetest.TokenAudience
	issuer.HMACSecretFile, issuer.Algorithms = key.SecretFile(), []string{key.Alg}
	s := begin(t, func(o *edgetest.Options) {
		o.Namespaces["/chat"] = rule.Namespace{Connect: rule.ConnectToken, Tokens: []string{"main"}, UserRoom: "user:"}
		o.Tokens, o.Token = []token.Issuer{issuer}, config.Default(config.FlavourEdge).Token
	})
	auth := func(user string) string {
		grant := edgetest.Claims{"rooms": []string{"team"}}
		return `{"token":"` + key.Sign(edgetest.Subject(user, time.Hour, edgetest.Claims{"partyline": grant}), nil) + `"}`
	}
	decide := make(chan struct{})
	e := newEndpoint(t, nil)
	e.handle = func(w http.ResponseWriter, r *request) {
		switch {
		case r.name() != "connect":
			answer(w, 200, `{"ack":["yes"],"emit":[{"to":{"user":"ann"},"event":["hi"]}]}`)
		case r.User == "eve":
			answer(w, 403, "")
		default:
			<-decide
			answer(w, 200, `{"rooms":["vip"],"emit":["one","two"]}`)
		}
	}
	s.gateway(hooked(e.URL))
	ann := edgetest.Enter(s.Dial("ann"), "/chat", auth("ann"))
	ann.Emit("1", `["one"]`)
	ann.Emit("2", `["two"]`)
	connect := e.gets(1, "connect")[0]
	if connect.User != "ann" || len(connect.Data.Handshake.Auth) > 0 {
		t.Errorf("the connect is of %q, and shows %v", connect.User, connect.Data.Handshake.Auth)
	}
	s.Counts("events_held_total", "", 2)
	if len(e.about("one")) > 0 {
		t.Error("an event did not wait for the answer to the connect")
	}
	close(decide)
	ann.Acked("1", `["yes"]`)
	ann.Gets(`["hi"]`)
	ann.Acked("2", `["yes"]`)
	ann.Gets(`["hi"]`)
	ann.Emit("3", `["three"]`) // the hook's grant counts
	ann.Acked("3", `[{"error":"not allowed: three"}]`)
	ann.Hangup()
	gone := e.gets(1, "disconnect")[0]
	if gone.User != "ann" || !slices.Contains(gone.Data.Rooms, "vip") || e.about("one")[0].User != "ann" {
		t.Errorf("disconnect: %+v", gone)
	}
	edgetest.Enter(s.Dial("eve"), "/chat", auth("eve")).Expect("41/chat,")
}

// Without a hook for connects, another service decides in a namespace with connect: service, and hooks get nothing.
func TestNoHookForConnects(t *testing.T) {
	s := begin(t)
	e := newEndpoint(t, admitting("{}", `{"ack":["a hook"]}`))
	h := hooked(e.URL)
	h.Events = []string{"*"}
	g := s.gateway(h)
	other, err := backend.New(edgetest.Connect(t, s.nats.ClientURL()), "other", backend.Logger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	other.Of("/chat", backend.Owned()).On("e", func() string { return "a service" })
	edgetest.Serve(t, other)
	so := s.Enter("ann", "/chat")
	so.Emit("1", `["e"]`)
	so.Acked("1", `["a service"]`)
	edgetest.Eventually(t, "the gateway reports the other service", func() bool { return figure(g, "gateway_rivals_total", "") > 0 })
}

// Hooks of all namespaces get nothing of the Admin UI: passwords are in the connects of its pages.
func TestHooksOfAllNamespacesLeaveTheAdminUIOut(t *testing.T) {
	s := begin(t, func(o *edgetest.Options) {
		o.Namespaces[adminui.Namespace] = rule.Namespace{Connect: rule.ConnectService, Unavailable: rule.UnavailableRefuse, ConnectTimeout: time.Second}
	})
	e := newEndpoint(t, admitting("{}", `{"ack":["yes"]}`))
	h := hooked(e.URL)
	h.Namespaces = []string{"*", "/*"}
	s.gateway(h)
	s.Enter("ann", "/chat")
	c := s.Dial("bob")
	c.Send(`40/admin,{"username":"bob","password":"open sesame"}`)
	if got := c.Next(); !strings.HasPrefix(got, `44/admin,`) {
		t.Errorf("the page was answered %s", got)
	}
	if got := e.about("connect"); len(got) != 1 || got[0].Source != "/chat" {
		t.Errorf("the hook was asked about %d connects, the last one of %s", len(got), got[len(got)-1].Source)
	}
}
