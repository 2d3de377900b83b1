package gateway_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"partyline/gateway"
	"partyline/gateway/adminui"
	"partyline/gateway/api"
	"partyline/gateway/hook"
	"partyline/internal/edgetest"
	"partyline/rule"
)

// Keys ask as much as they may, all together. Hooks, the Admin UI and emits go on.
func TestKeysLeaveOthersTheirQuestions(t *testing.T) {
	if testing.Short() {
		t.Skip("it makes thousands of requests")
	}
	s := begin(t, func(o *edgetest.Options) {
		o.Namespaces["/chat"] = rule.Namespace{Connect: rule.ConnectOpen}
		o.Namespaces[adminui.Namespace] = rule.Namespace{Connect: rule.ConnectService, ConnectTimeout: 20 * time.Second}
	})
	e := newEndpoint(t, admitting(`{"rooms":["a"]}`, `{"emit":[{"to":{"room":"a"},"event":["hi"]}]}`))
	o := gateway.Options{
		Prefix: "sio", Group: "gateway", Hooks: []hook.Hook{hooked(e.URL)}, UI: &adminui.Options{Loopback: true}, Log: slog.New(slog.DiscardHandler),
	}
	const keys, each = 5, 1000
	for i := range keys + 1 {
		o.Keys = append(o.Keys, api.Key{
			Name: fmt.Sprint(i), Hash: api.HashKey(fmt.Sprint(i)), Namespaces: []string{"/chat"}, Verbs: []string{"ask", "emit"}, May: []string{"socket"},
		})
	}
	g, err := gateway.New(edgetest.Connect(t, s.nats.ClientURL()), o)
	if err != nil {
		t.Fatal(err)
	}
	edgetest.Serve(t, g)
	ann := s.Enter("ann", "/chat")
	ann.Client.Ignore()
	post := func(verb string, key int, more string) *httptest.ResponseRecorder {
		body := `{"namespace":"/chat","to":{"socket":"` + ann.ID + `"},"event":["x"]` + more + `}`
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/"+verb, strings.NewReader(body))
		r.Header.Set("Authorization", fmt.Sprint("Bearer ", key))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		g.Handler().ServeHTTP(w, r)
		return w
	}
	var busy atomic.Int64
	var running sync.WaitGroup
	t.Cleanup(running.Wait) // t.Context has ended then
	for n := range keys * each {
		running.Go(func() {
			if w := post("ask", n/each, `,"timeout":60000`); w.Code == http.StatusServiceUnavailable && t.Context().Err() == nil {
				busy.Add(1)
			}
		})
	}
	edgetest.Eventually(t, "the others are refused", func() bool { return busy.Load() == keys*each-api.MostQuestions })
	if w := post("emit", keys, ""); w.Code != http.StatusAccepted {
		t.Errorf("an emit: %d %s", w.Code, w.Body)
	}
	bob := s.Enter("bob", "/chat")
	bob.Emit("", `["e"]`)
	bob.Gets(`["hi"]`)
	page := s.Enter("page", adminui.Namespace)
	page.Client.Ignore()
	page.Emit("", `["join","/chat","vip",""]`)
	page.Emit("", `["emit","/chat","vip","hello"]`)
	bob.Gets(`["hello"]`)
	if n := figure(g, "admin_commands_failed_total", "") + figure(g, "admin_fetches_failed_total", ""); n > 0 {
		t.Errorf("%d questions of the Admin UI have failed", n)
	}
}

// A client that sends faster than the endpoint answers is paused, loses nothing, and disturbs no other.
func TestSlowHookPausesItsClient(t *testing.T) {
	s := begin(t)
	const events = 3000
	blocked := make(chan struct{})
	release := sync.OnceFunc(func() { close(blocked) })
	t.Cleanup(release)
	e := newEndpoint(t, nil)
	e.handle = func(w http.ResponseWriter, r *request) {
		if r.name() == "flood" {
			<-blocked
		}
		admitting("{}", `{"ack":["yes"]}`)(w, r)
	}
	h := hooked(e.URL)
	h.Timeout = edgetest.Patience
	g := s.gateway(h)
	ann, bob := s.Enter("ann", "/chat"), s.Enter("bob", "/chat")
	for n := range events {
		ann.Emit("", fmt.Sprintf(`["flood",%d]`, n))
	}
	edgetest.Eventually(t, "the client is paused", func() bool { return figure(g, "gateway_paused", "") == 1 })
	bob.Emit("1", `["e"]`)
	bob.Acked("1", `["yes"]`)
	release()
	for n, r := range e.gets(events, "flood") {
		if int(r.Data.Event[1].(float64)) != n {
			t.Fatalf("event %v is the %dth", r.Data.Event, n)
		}
	}
	edgetest.Eventually(t, "the client is resumed", func() bool { return figure(g, "gateway_paused", "") == 0 })
}
