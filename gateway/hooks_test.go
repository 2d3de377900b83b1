package gateway_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"partyline/gateway/hook"
	"partyline/internal/edgetest"
	"partyline/rule"
)

// admitting answers connects with a grant, and everything else with a body.
func admitting(grant, otherwise string) func(http.ResponseWriter, *request) {
	return func(w http.ResponseWriter, r *request) {
		if r.Type == "partyline.connect" {
			answer(w, 200, grant)
			return
		}
		answer(w, 200, otherwise)
	}
}

func TestHookAdmitsAcksAndEmits(t *testing.T) {
	s := begin(t)
	e := newEndpoint(t, admitting(`{"user":"ann","rooms":["a"],"data":{"plan":"pro"}}`, `{"ack":["yes",1.50],"emit":[{"to":{"room":"a"},"event":["message","hi"]}]}`))
	s.gateway(hooked(e.URL))
	c := s.Dial("ann")
	so := edgetest.Enter(c, "/chat", `{"token":"x"}`)
	connect := e.gets(1, "connect")[0]
	if connect.Source != "/chat" || connect.Socket != so.ID || connect.Data.Handshake.SID != so.ID || connect.Data.Handshake.Auth["token"] != "x" {
		t.Errorf("connect: %+v", connect)
	}
	so.Emit("7", `["sum",1,{"a":2}]`)
	so.Acked("7", `["yes",1.50]`)
	so.Gets(`["message","hi"]`)
	event := e.gets(1, "sum")[0]
	if event.Socket != so.ID || event.User != "ann" || !event.WantsAck || event.Subject != "sum" || len(event.Data.Event) != 3 {
		t.Errorf("event: %+v", event)
	}
	c.Hangup()
	gone := e.gets(1, "disconnect")[0]
	if gone.Data.Reason != "transport close" || len(gone.Data.Rooms) != 1 || gone.Data.Rooms[0] != "a" || gone.User != "ann" {
		t.Errorf("disconnect: %+v", gone)
	}
}

func TestHookRefuses(t *testing.T) {
	s := begin(t)
	e := newEndpoint(t, func(w http.ResponseWriter, r *request) { answer(w, 402, `{"message":"please pay","data":{"code":7}}`) })
	s.gateway(hooked(e.URL))
	c := s.Dial("bob")
	c.Send("40/chat,")
	c.Expect(`44/chat,{"message":"please pay","data":{"code":7}}`)
}

// What a client sees of each wrong answer to an event, and that the socket lives on.
func TestHookAnswersToEvents(t *testing.T) {
	s := begin(t)
	const unusable, nothing = `[{"error":"no usable answer"}]`, ""
	away := make(chan struct{})
	var answers = map[string]struct {
		handle func(w http.ResponseWriter, r *http.Request)
		ack    string // "": none
		why    string // it is counted; "": it is not
	}{
		"nothing": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, nothing, ""},
		"empty":   {func(w http.ResponseWriter, _ *http.Request) {}, nothing, ""},
		"ack":     {func(w http.ResponseWriter, _ *http.Request) { answer(w, 200, `{"ack":[{"a":[1,"<&>"]},null]}`) }, `[{"a":[1,"<&>"]},null]`, ""},
		"type": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = w.Write([]byte(`{"ack":[1]}`))
		}, unusable, "bad answer"},
		"html":     {func(w http.ResponseWriter, _ *http.Request) { answer(w, 200, "<html>") }, unusable, "bad answer"},
		"array":    {func(w http.ResponseWriter, _ *http.Request) { answer(w, 200, "[1]") }, unusable, "bad answer"},
		"member":   {func(w http.ResponseWriter, _ *http.Request) { answer(w, 200, `{"acks":[1]}`) }, unusable, "bad answer"},
		"no-array": {func(w http.ResponseWriter, _ *http.Request) { answer(w, 200, `{"ack":1}`) }, unusable, "bad answer"},
		"placeholder": {func(w http.ResponseWriter, _ *http.Request) {
			answer(w, 200, `{"ack":[{"_placeholder":true,"num":0}]}`)
		}, unusable, "bad answer"},
		"emit-nowhere": {func(w http.ResponseWriter, _ *http.Request) {
			answer(w, 200, `{"ack":[1],"emit":[{"to":{},"event":["m"]}]}`)
		}, unusable, "bad answer"},
		"emit-reserved": {func(w http.ResponseWriter, _ *http.Request) {
			answer(w, 200, `{"ack":[1],"emit":[{"to":{"all":true},"event":["disconnect"]}]}`)
		}, unusable, "bad answer"},
		"emit-nameless": {func(w http.ResponseWriter, _ *http.Request) {
			answer(w, 200, `{"ack":[1],"emit":[{"to":{"all":true},"event":[]}]}`)
		}, unusable, "bad answer"},
		"emit-long-room": {func(w http.ResponseWriter, _ *http.Request) {
			answer(w, 200, `{"ack":[1],"emit":[{"to":{"rooms":["a","`+strings.Repeat("x", 600)+`"]},"event":["m"]}]}`)
		}, unusable, "bad answer"},
		"except-long": {func(w http.ResponseWriter, _ *http.Request) {
			answer(w, 200, `{"ack":[1],"emit":[{"to":{"all":true},"except":["`+strings.Repeat("x", 600)+`"],"event":["m"]}]}`)
		}, unusable, "bad answer"},
		"emit-no-socket": {func(w http.ResponseWriter, _ *http.Request) {
			answer(w, 200, `{"ack":[1],"emit":[{"to":{"socket":"a"},"event":["m"]}]}`)
		}, unusable, "bad answer"},
		"emit-second": {func(w http.ResponseWriter, _ *http.Request) {
			answer(w, 200, `{"ack":[1],"emit":[{"to":{"all":true},"event":["m"]},{"to":{"all":true},"event":["`+strings.Repeat("x", 600)+`"]}]}`)
		}, unusable, "bad answer"},
		"emit-placeholder": {func(w http.ResponseWriter, _ *http.Request) {
			answer(w, 200, `{"ack":[1],"emit":[{"to":{"all":true},"event":["m",{"_placeholder":true,"num":0}]}]}`)
		}, unusable, "bad answer"},
		"emit-surrogate": {func(w http.ResponseWriter, _ *http.Request) {
			answer(w, 200, `{"ack":[1],"emit":[{"to":{"all":true},"event":["\ud800"]}]}`)
		}, unusable, "bad answer"},
		"emit-many": {func(w http.ResponseWriter, _ *http.Request) {
			answer(w, 200, `{"ack":[1],"emit":[`+strings.Repeat(`{"to":{"all":true},"event":["m"]},`, 1000)+`{"to":{"all":true},"event":["m"]}]}`)
		}, unusable, "bad answer"},
		"emit-many-rooms": {func(w http.ResponseWriter, _ *http.Request) {
			answer(w, 200, `{"ack":[1],"emit":[{"to":{"rooms":["a"`+strings.Repeat(`,"`+strings.Repeat("%", 500)+`"`, 1000)+`]},"event":["m"]}]}`)
		}, unusable, "bad answer"},
		"emit-large": {func(w http.ResponseWriter, _ *http.Request) { // 400 KB here, 1.2 MB for NATS
			answer(w, 200, `{"ack":[1],"emit":[{"to":{"all":true},"event":["m"]},{"to":{"rooms":["a"`+strings.Repeat(`,"`+strings.Repeat("%", 500)+`"`, 800)+`]},"event":["m"]}]}`)
		}, unusable, "bad answer"},
		"emit-deep": {func(w http.ResponseWriter, _ *http.Request) {
			answer(w, 200, `{"ack":[1],"emit":[{"to":{"room":"`+strings.Repeat("r.", 16)+`r"},"event":["m"]}]}`)
		}, unusable, "bad answer"},
		"ack-large": {func(w http.ResponseWriter, _ *http.Request) { // 1 MB here, 2 MB when they are escaped
			answer(w, 200, `{"ack":["`+strings.Repeat("\u2028", 340_000)+`"],"emit":[{"to":{"all":true},"event":["m"]}]}`)
		}, unusable, "bad answer"},
		"twice":      {func(w http.ResponseWriter, _ *http.Request) { answer(w, 200, `{"ack":[1],"ack":[2]}`) }, unusable, "bad answer"},
		"twice-else": {func(w http.ResponseWriter, _ *http.Request) { answer(w, 200, `{"ack":[1],"Ack":[2]}`) }, unusable, "bad answer"},
		"twice-event": {func(w http.ResponseWriter, _ *http.Request) {
			answer(w, 200, `{"ack":[1],"emit":[{"to":{"all":true},"event":["m"],"event":["n"]}]}`)
		}, unusable, "bad answer"},
		"twice-inside": {func(w http.ResponseWriter, _ *http.Request) { answer(w, 200, `{"ack":[{"a":1,"a":2}]}`) }, unusable, "bad answer"},
		"two-targets": {func(w http.ResponseWriter, _ *http.Request) {
			answer(w, 200, `{"ack":[1],"emit":[{"to":{"all":true,"room":""},"event":["m"]}]}`)
		}, unusable, "bad answer"},
		"not-all": {func(w http.ResponseWriter, _ *http.Request) {
			answer(w, 200, `{"ack":[1],"emit":[{"to":{"all":false},"event":["m"]}]}`)
		}, unusable, "bad answer"},
		"half":  {func(w http.ResponseWriter, _ *http.Request) { answer(w, 200, `{"ack":["\ud83d"]}`) }, `["\ud83d"]`, ""}, // as in a text cut off by JavaScript
		"latin": {func(w http.ResponseWriter, _ *http.Request) { answer(w, 200, "{\"ack\":[\"\xe9\"]}") }, unusable, "bad answer"},
		"huge": {func(w http.ResponseWriter, _ *http.Request) {
			answer(w, 200, `{"ack":["`+strings.Repeat("x", 1<<20)+`"]}`)
		}, unusable, "bad answer"},
		"redirect":    {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", 307) }, unusable, "redirect"},
		"refused":     {func(w http.ResponseWriter, _ *http.Request) { answer(w, 404, `{}`) }, unusable, "refused"},
		"busy":        {func(w http.ResponseWriter, _ *http.Request) { answer(w, 429, `{}`) }, nothing, "busy"},
		"unavailable": {func(w http.ResponseWriter, _ *http.Request) { answer(w, 503, `{}`) }, nothing, "busy"},
		"failing":     {func(w http.ResponseWriter, _ *http.Request) { answer(w, 500, `{}`) }, nothing, "failing"},
		"broken":      {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, nothing, "broken"},
		"slow":        {func(_ http.ResponseWriter, r *http.Request) { <-away }, nothing, "timeout"},
	}
	e := newEndpoint(t, nil)
	e.handle = func(w http.ResponseWriter, r *request) {
		switch r.name() {
		case "connect", "sync":
			answer(w, 200, `{}`)
		default:
			answers[r.name()].handle(w, r.http)
		}
	}
	t.Cleanup(func() { close(away) })
	h := hooked(e.URL)
	h.Events = []string{hook.Connect, "*"}
	h.Timeout = time.Second
	g := s.gateway(h)
	so := s.Enter("ann", "/chat")
	for name, a := range answers {
		before := 0
		if a.why != "" {
			before = figure(g, "hook_given_up_total", a.why)
		}
		so.Emit("1", `["`+name+`"]`)
		if a.ack != "" {
			so.Acked("1", a.ack)
		}
		e.gets(1, name)
		if a.why != "" {
			edgetest.Eventually(t, name+" is counted as "+a.why, func() bool { return figure(g, "hook_given_up_total", a.why) == before+1 })
		}
	}
	so.Emit("2", `["ack"]`) // nothing else came, and the socket is in order
	so.Acked("2", answers["ack"].ack)
	for name := range answers {
		if n := len(e.about(name)); n > 1 && name != "ack" {
			t.Errorf("%s was posted %d times, and its client wants an ack", name, n)
		}
	}
}

// A connect waits while its endpoint gives no usable answer. All tries have one id.
func TestHookAnswersToConnects(t *testing.T) {
	for name, handle := range map[string]func(http.ResponseWriter, *http.Request){
		"busy":        func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Retry-After", "1"); answer(w, 503, "") },
		"no content":  func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) },
		"not found":   func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no such page", 404) },
		"lying":       func(w http.ResponseWriter, _ *http.Request) { answer(w, 200, "<html>") },
		"twice":       func(w http.ResponseWriter, _ *http.Request) { answer(w, 200, `{"user":"eve","user":"bob"}`) },
		"twice no":    func(w http.ResponseWriter, _ *http.Request) { answer(w, 402, `{"message":"pay","message":"more"}`) },
		"no grant":    func(w http.ResponseWriter, _ *http.Request) { answer(w, 200, `{"rooms":"a"}`) },
		"redirecting": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", 302) },
		"broken":      func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			s := begin(t)
			e := newEndpoint(t, nil)
			e.handle = func(w http.ResponseWriter, r *request) {
				if len(e.about("connect")) < 3 {
					handle(w, r.http)
					return
				}
				answer(w, 200, `{"user":"ann"}`)
			}
			s.gateway(hooked(e.URL))
			s.Enter("ann", "/chat")
			requests := e.gets(3, "connect")
			for i, r := range requests[1:] {
				if r.ID != requests[0].ID {
					t.Errorf("the tries have the ids %s and %s", requests[0].ID, r.ID)
				}
				if at := "Webhook-Timestamp"; r.http.Header.Get(at) <= requests[i].http.Header.Get(at) {
					t.Error("a try has the timestamp of the one before, so it looks like its recording")
				}
			}
		})
	}
}

// A refusal without a message.
func TestHookForbids(t *testing.T) {
	s := begin(t)
	e := newEndpoint(t, func(w http.ResponseWriter, r *request) { http.Error(w, "go away", 403) })
	s.gateway(hooked(e.URL))
	c := s.Dial("bob")
	c.Send("40/chat,")
	c.Expect(`44/chat,{"message":"not admitted"}`)
}

// Events whose client wants no ack are tried again, and later ones of the socket wait. Other sockets do not.
func TestHookTriesAgainInOrder(t *testing.T) {
	s := begin(t)
	var works atomic.Bool
	e := newEndpoint(t, nil)
	e.handle = func(w http.ResponseWriter, r *request) {
		if r.name() == "fails" && !works.Load() {
			answer(w, 503, "")
			return
		}
		answer(w, 200, "{}")
	}
	s.gateway(hooked(e.URL))
	ann, bob := s.Enter("ann", "/chat"), s.Enter("bob", "/chat")
	ann.Emit("", `["fails"]`)
	ann.Emit("", `["later"]`)
	ann.Client.Hangup()
	e.gets(3, "fails")
	bob.Emit("", `["other"]`)
	e.gets(1, "other")
	if len(e.about("later"))+len(e.about("disconnect")) > 0 {
		t.Error("a later event has overtaken one that is tried again")
	}
	works.Store(true)
	e.gets(1, "later")
	e.gets(1, "disconnect")
	for _, r := range e.about("fails")[1:] {
		if r.ID != e.about("fails")[0].ID {
			t.Error("a try has another id")
		}
	}
}

// 429 is about one client: the requests of others do not wait for its Retry-After.
func TestTooManyRequestsOfOneClient(t *testing.T) {
	s := begin(t)
	e := newEndpoint(t, nil)
	e.handle = func(w http.ResponseWriter, r *request) {
		if r.name() == "flood" {
			w.Header().Set("Retry-After", "120")
			answer(w, 429, "")
			return
		}
		admitting("{}", `{"ack":["yes"]}`)(w, r)
	}
	g := s.gateway(hooked(e.URL))
	eve := s.Enter("eve", "/chat")
	eve.Emit("", `["flood"]`)
	e.gets(1, "flood")
	edgetest.Eventually(t, "it is given up", func() bool { return figure(g, "hook_given_up_total", "busy") == 1 }) // 120 s are more than it may wait
	began := time.Now()
	bob := s.Enter("bob", "/chat")
	bob.Emit("1", `["e"]`)
	bob.Acked("1", `["yes"]`)
	if took := time.Since(began); took > time.Minute {
		t.Errorf("others waited for %s", took)
	}
}

// Of several endpoints those that answer are used in turn.
func TestHookHasSeveralEndpoints(t *testing.T) {
	s := begin(t)
	one, two := newEndpoint(t, admitting("{}", `{"ack":[1]}`)), newEndpoint(t, admitting("{}", `{"ack":[1]}`))
	gone := httptest.NewServer(nil)
	gone.Close()
	s.gateway(hooked(one.URL, gone.URL, two.URL))
	so := s.Enter("ann", "/chat")
	const events = 30
	for range events {
		so.Emit("1", `["e"]`)
		so.Acked("1", `[1]`)
	}
	if a, b := len(one.about("e")), len(two.about("e")); a+b != events || a < events/4 || b < events/4 {
		t.Errorf("the endpoints got %d and %d of %d events", a, b, events)
	}
}

// An emit of an answer goes to sockets, rooms and users of its own namespace.
func TestHookEmits(t *testing.T) {
	s := begin(t, func(o *edgetest.Options) {
		o.Namespaces["/other"] = rule.Namespace{Connect: rule.ConnectService, ConnectTimeout: 20 * time.Second}
		chat := o.Namespaces["/chat"]
		chat.UserRoom = "user:"
		o.Namespaces["/chat"] = chat
	})
	var to atomic.Pointer[string]
	e := newEndpoint(t, nil)
	e.handle = func(w http.ResponseWriter, r *request) {
		if r.Type == "partyline.connect" {
			answer(w, 200, `{"user":"`+r.Data.Handshake.Auth["name"].(string)+`","rooms":["both"]}`)
			return
		}
		answer(w, 200, *to.Load())
	}
	h := hooked(e.URL)
	h.Namespaces = []string{"/chat", "/oth*"}
	s.gateway(h)
	ann, bob := edgetest.Enter(s.Dial("ann"), "/chat", `{"name":"ann"}`), edgetest.Enter(s.Dial("bob"), "/chat", `{"name":"bob"}`)
	other := edgetest.Enter(s.Dial("other"), "/other", `{"name":"ann"}`)
	for _, c := range []struct {
		to         string
		ann, isBob bool
	}{
		{`"to":{"all":true}`, true, true},
		{`"to":{"room":"both"}`, true, true},
		{`"to":{"rooms":["x","both"]}`, true, true},
		{`"to":{"socket":"` + bob.ID + `"}`, false, true},
		{`"to":{"user":"ann"}`, true, false},
		{`"to":{"room":"both"},"except":["` + ann.ID + `"]`, false, true},
		{`"to":{"all":true},"except":["user:bob"]`, true, false},
	} {
		text := `{"ack":[],"emit":[{` + c.to + `,"event":["said",1]},{"to":{"all":true},"event":["end"]}]}`
		to.Store(&text)
		ann.Emit("1", `["go"]`)
		ann.Acked("1", `[]`)
		for so, gets := range map[*edgetest.Socket]bool{ann: c.ann, bob: c.isBob} {
			if gets {
				so.Gets(`["said",1]`)
			}
			so.Gets(`["end"]`)
		}
	}
	if other.Pending() > 0 {
		t.Error("an answer has reached another namespace")
	}
}

// Binary arguments, and names that need escapes.
func TestHookGetsBinaryArguments(t *testing.T) {
	s := begin(t)
	e := newEndpoint(t, admitting("{}", `{"ack":["got it"]}`))
	s.gateway(hooked(e.URL))
	so := s.Enter("ann", "/chat")
	so.Send(`451-/chat,7["a photo/of <me>",{"_placeholder":true,"num":0}]`)
	so.SendBinary([]byte("xyz"))
	so.Acked("7", `["got it"]`)
	r := e.gets(1, "a photo/of <me>")[0]
	if len(r.Data.Attachments) != 1 || string(r.Data.Attachments[0]) != "xyz" {
		t.Errorf("attachments: %q", r.Data.Attachments)
	}
}
