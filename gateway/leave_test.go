package gateway_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"partyline/gateway"
	"partyline/gateway/api"
	"partyline/internal/edgetest"
	"partyline/internal/natsd/proxytest"
)

// A gateway that stops while a request is under way finishes what has come, in order. Another one goes on, and repeats
// nothing.
func TestGatewayStopsWhileARequestIsUnderWay(t *testing.T) {
	s := begin(t)
	over := make(chan struct{})
	e := newEndpoint(t, nil)
	e.handle = func(w http.ResponseWriter, r *request) {
		switch r.name() {
		case "connect":
			answer(w, 200, "{}")
			return
		case "slow":
			<-over
		}
		answer(w, 200, `{"ack":["`+r.name()+`"]}`)
	}
	first := s.gateway(hooked(e.URL))
	so := s.Enter("ann", "/chat")
	so.Emit("1", `["slow"]`)
	so.Emit("2", `["second"]`)
	e.gets(1, "slow")
	second := s.gateway(hooked(e.URL))
	edgetest.Eventually(t, "both are ready", func() bool { return len(first.Ready())+len(second.Ready()) == 0 })
	closed := make(chan error, 1)
	go func() { closed <- first.Close(context.WithoutCancel(t.Context())) }()
	edgetest.Eventually(t, "it is stopping", func() bool { return len(first.Ready()) > 0 })
	so.Emit("3", `["third"]`)
	close(over)
	so.Acked("1", `["slow"]`)
	so.Acked("2", `["second"]`)
	so.Acked("3", `["third"]`)
	if err := <-closed; err != nil {
		t.Error(err)
	}
	so.Emit("4", `["fourth"]`)
	so.Acked("4", `["fourth"]`)
	so.Client.Hangup()
	e.gets(1, "disconnect")
	for _, name := range []string{"connect", "slow", "second", "third", "fourth", "disconnect"} {
		if n := len(e.about(name)); n != 1 {
			t.Errorf("%s came %d times", name, n)
		}
	}
}

// A gateway that is cut off from NATS does not go on with what it could not deliver: another one has the socket.
func TestGatewayIsCutOffWhileItTriesAgain(t *testing.T) {
	s := begin(t)
	proxy := proxytest.Start(t, s.nats.ClientURL())
	e := newEndpoint(t, nil)
	e.handle = func(w http.ResponseWriter, r *request) {
		if r.name() != "first" {
			answer(w, 200, "{}")
			return
		}
		if len(e.about("second")) > 0 {
			t.Error("an event came behind the next one of its socket")
		}
		w.WriteHeader(http.StatusInternalServerError)
	}
	cutOff := s.gatewayAt(proxy.URL(), hooked(e.URL))
	so := s.Enter("ann", "/chat")
	other := s.gateway(hooked(e.URL))
	so.Emit("", `["first"]`)
	e.gets(1, "first")
	proxy.Stop()
	edgetest.Eventually(t, "another one has the socket", func() bool { return figure(other, "gateway_sockets", "") == 1 })
	so.Emit("", `["second"]`)
	e.gets(1, "second")
	edgetest.Eventually(t, "it is given up", func() bool { return figure(cutOff, "hook_given_up_total", "stopped") == 1 })
	proxy.Mend()
	edgetest.Eventually(t, "it is back", func() bool { return len(cutOff.Ready()) == 0 })
}

// Requests that come before the gateway has started get 503, and leave nothing behind.
func TestRequestsBeforeStart(t *testing.T) {
	s := begin(t)
	g, err := gateway.New(edgetest.Connect(t, s.nats.ClientURL()), gateway.Options{
		Prefix: "sio", Group: "gateway", Log: slog.New(slog.NewTextHandler(noteWriter{s.Talk}, nil)),
		Keys: []api.Key{{Name: "k", Hash: api.HashKey("key"), Namespaces: []string{"/x*"}, Verbs: []string{"emit"}, May: []string{"all"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	emit := func() int {
		r := httptest.NewRequest(http.MethodPost, "/v1/emit", strings.NewReader(`{"namespace":"/xy","to":{"all":true},"event":["e"]}`))
		r.Header.Set("Authorization", "Bearer key")
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		g.Handler().ServeHTTP(w, r)
		return w.Code
	}
	if got := emit(); got != http.StatusServiceUnavailable {
		t.Errorf("before the start: %d", got)
	}
	edgetest.Serve(t, g)
	if got := emit(); got != http.StatusAccepted {
		t.Errorf("afterwards: %d", got)
	}
}
