package gateway_test

import (
	"log/slog"
	"net/http"
	"testing"

	"partyline/backend"
	"partyline/gateway/hook"
	"partyline/internal/edgetest"
	"partyline/rule"
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
