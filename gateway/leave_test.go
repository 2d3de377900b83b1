package gateway_test

import (
	"context"
	"net/http"
	"testing"

	"partyline/internal/edgetest"
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
