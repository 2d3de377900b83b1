package api

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"partyline/internal/edgetest"
)

// in moves a client into a room, by the API.
func (s *stage) in(so *edgetest.Socket, rooms ...string) {
	s.t.Helper()
	s.answers("join", fmt.Sprintf(`{"namespace":"/chat","to":{"socket":%q},"rooms":["%s"]}`, so.ID, strings.Join(rooms, `","`)), 200, `{"sockets":1}`)
}

func TestEventsReachTheirTargets(t *testing.T) {
	s := begin(t)
	ann, bob, eve := s.Enter("ann", "/chat"), s.Enter("bob", "/chat"), s.Enter("eve", "/chat")
	s.in(ann, "a b.*>\\u0000", "order.7")
	s.in(bob, "order.7")
	s.in(eve, "vip")
	for _, c := range []struct {
		verb, body string
		event      string
		to         []*edgetest.Socket
	}{
		{"emit", `{"namespace":"/chat","to":{"all":true},"event":["all",{"n":1.50,"z":null,"a":"<&>"}]}`, `["all",{"n":1.50,"z":null,"a":"<&>"}]`, []*edgetest.Socket{ann, bob, eve}},
		{"emit", `{"namespace":"/chat","to":{"room":"order.7"},"event":["room"]}`, `["room"]`, []*edgetest.Socket{ann, bob}},
		{"emit", `{"namespace":"/chat","to":{"room":"a b.*>\u0000"},"event":["odd"]}`, `["odd"]`, []*edgetest.Socket{ann}},
		{"emit", `{"namespace":"/chat","to":{"rooms":["order.7","vip"]},"except":["a b.*>\u0000"],"event":["rooms"]}`, `["rooms"]`, []*edgetest.Socket{bob, eve}},
		{"emit", fmt.Sprintf(`{"namespace":"/chat","to":{"socket":%q},"event":["socket","é😀"],"volatile":true}`, eve.ID), `["socket","é😀"]`, []*edgetest.Socket{eve}},
		{"emit", fmt.Sprintf(`{"namespace":"/chat","to":{"all":true},"except":[%q,"vip"],"event":["but"]}`, ann.ID), `["but"]`, []*edgetest.Socket{bob}},
		{"broadcast", fmt.Sprintf(`{"namespace":"/chat","to":{"room":"order.7"},"sender":%q,"event":["typing"]}`, ann.ID), `["typing"]`, []*edgetest.Socket{bob}},
		{"emit", `{"namespace":"/chat","to":{"all":true},"event":["file",{"_placeholder":true,"num":0}]}`, `["file",{"_placeholder":true,"num":0}]`, []*edgetest.Socket{ann, bob, eve}},
	} {
		s.answers(c.verb, c.body, 202, "{}")
		for _, so := range c.to {
			so.Gets(c.event)
		}
	}
	s.answers("emit", `{"namespace":"/chat","to":{"all":true},"event":["end"]}`, 202, "{}")
	for _, so := range []*edgetest.Socket{ann, bob, eve} {
		so.Gets(`["end"]`) // and nothing before it
	}
}

func TestAsk(t *testing.T) {
	s := begin(t)
	ann, bob := s.Enter("ann", "/chat"), s.Enter("bob", "/chat")
	answer := make(chan reply, 1)
	go func() {
		answer <- s.post("ask", fmt.Sprintf(`{"namespace":"/chat","to":{"socket":%q},"event":["ready?",1]}`, ann.ID))
	}()
	ann.Expect(`42/chat,1["ready?",1]`)
	ann.Acks("1", `["yes",{"n":1.0}]`)
	want := fmt.Sprintf(`{"expected":1,"answers":[{"socket":%q,"ack":["yes",{"n":1.0}]}],"missing":[],"silent":[]}`, ann.ID)
	if got := edgetest.Await(t, answer); got.status != 200 || got.body != want {
		t.Errorf("%d %s, want %s", got.status, got.body, want)
	}
	go func() {
		answer <- s.post("ask", `{"namespace":"/chat","to":{"all":true},"event":["all?"],"timeout":1500}`)
	}()
	ann.Expect(`42/chat,2["all?"]`)
	bob.Expect(`42/chat,2["all?"]`)
	ann.Acks("2", `[]`)
	want = fmt.Sprintf(`{"expected":2,"answers":[{"socket":%q,"ack":[]}],"missing":[{"socket":%q,"reason":"no answer"}],"silent":[]}`, ann.ID, bob.ID)
	if got := edgetest.Await(t, answer); got.status != 200 || got.body != want {
		t.Errorf("%d %s, want %s", got.status, got.body, want)
	}
	s.isProblem(s.post("ask", fmt.Sprintf(`{"namespace":"/chat","to":{"socket":%q},"event":["silent?"],"timeout":20}`, ann.ID)), noAnswer, "did not answer")
	s.isProblem(s.post("ask", fmt.Sprintf(`{"namespace":"/chat","to":{"socket":%q},"event":["x"]}`, ann.ID[:8]+".aaaaaaaaaaaaaaaaaaaa")), unknownSocket, "")
	s.isProblem(s.post("ask", `{"namespace":"/chat","to":{"socket":"k3f9a0zz.Q2hhdHR5LXNvY2tldC0x"},"event":["x"]}`), unknownSocket, "")
	s.answers("ask", `{"namespace":"/chat","to":{"room":"nobody"},"event":["x"]}`, 200, `{"expected":0,"answers":[],"missing":[],"silent":[]}`)
}

func TestChangesOfSockets(t *testing.T) {
	s := begin(t)
	ann, bob := s.Enter("ann", "/chat"), s.Enter("bob", "/chat")
	one := fmt.Sprintf(`{"namespace":"/chat","to":{"socket":%q},`, ann.ID)
	s.answers("join", one+`"rooms":["a","b"]}`, 200, `{"sockets":1}`)
	s.answers("leave", one+`"rooms":["b"]}`, 200, `{"sockets":1}`)
	s.answers("leave", `{"namespace":"/chat","to":{"room":"nobody"},"rooms":["b"]}`, 200, `{"sockets":0}`)
	s.answers("data", one+`"data":{"plan":"pro","n":1.0}}`, 200, `{"sockets":1}`)
	s.answers("grant", one+`"grant":{"user":"ann","emit":["hello"],"join":[],"expires":4102444800}}`, 200, `{"sockets":1}`)
	ann.Emit("1", `["order",7]`)
	ann.Acked("1", `[{"error":"not allowed: order"}]`)
	s.answers("emit", `{"namespace":"/chat","to":{"user":"ann"},"event":["to ann"]}`, 202, "{}")
	ann.Gets(`["to ann"]`)
	list := s.do(http.MethodGet, "/v1/sockets?namespace=/chat&to=room:a", theKey, "")
	for _, want := range []string{`"id":"` + ann.ID, `"user":"ann"`, `"rooms":["a","user:ann"]`, `"data":{"plan":"pro","n":1.0}`, `"transport":"websocket"`, `"address":"127.0.0.1"`} {
		if !strings.Contains(list.body, want) {
			t.Errorf("%s has no %s", list.body, want)
		}
	}
	s.answers("grant", one+`"grant":{"user":null,"emit":null,"join":null,"rooms":null,"expires":null}}`, 200, `{"sockets":1}`)
	s.answers("data", one+`"data":null}`, 200, `{"sockets":1}`)
	s.answers("disconnect", one+`"session":false}`, 200, `{"sockets":1}`)
	ann.Expect("41/chat,")
	s.isProblem(s.post("join", one+`"rooms":["a"]}`), unknownSocket, "")
	s.answers("disconnect", `{"namespace":"/chat","to":{"all":true},"session":true}`, 200, `{"sockets":1}`)
	bob.ExpectEnd()
}

func TestBatch(t *testing.T) {
	s := begin(t)
	ann := s.Enter("ann", "/chat")
	got := s.post("batch", fmt.Sprintf(`{"commands":[
		{"verb":"join","namespace":"/chat","to":{"socket":%q},"rooms":["a"]},
		{"verb":"emit","namespace":"/chat","to":{"room":"a"},"event":["first"]},
		{"verb":"emit","namespace":"/secret","to":{"room":"a"},"event":["no"]},
		{"verb":"sing"}, 7, {"verb":"emit","namespace":"/chat","to":{"room":"a"},"event":["last"],"colour":1},
		{"verb":"emit","namespace":"/chat","to":{"room":"a"},"event":["last"]}]}`, ann.ID))
	ann.Gets(`["first"]`)
	ann.Gets(`["last"]`)
	for _, want := range []string{`{"results":[{"status":200,"result":{"sockets":1}},{"status":202},{"status":403,"problem":{"type":"urn:partyline:problem:not-allowed"`,
		`{"status":400,"problem":{"type":"urn:partyline:problem:bad-request"`, `/colour`, `,{"status":202}]}`} {
		if got.status != 200 || !strings.Contains(got.body, want) {
			t.Errorf("%d %s has no %s", got.status, got.body, want)
		}
	}
	command := `{"verb":"emit","namespace":"/chat","to":{"room":"a"},"event":["x"]}`
	s.isProblem(s.post("batch", `{"commands":[]}`), badRequest, "1 to 1000")
	s.isProblem(s.post("batch", `{"commands":[`+strings.Repeat(command+",", 1000)+command+`]}`), badRequest, "more than 1000")
	full := s.post("batch", `{"commands":[`+strings.Repeat(command+",", 999)+command+`]}`)
	if n := strings.Count(full.body, `{"status":202}`); n != 1000 {
		t.Errorf("%d of 1000 commands are on their way: %.500s", n, full.body)
	}
	for range 1000 {
		ann.Gets(`["x"]`)
	}
}

func TestPages(t *testing.T) {
	s := begin(t)
	ids := map[string]bool{}
	for i := range 7 {
		so := s.Enter(fmt.Sprint("client", i), "/chat")
		s.in(so, fmt.Sprint("room-", i), "every room")
		ids[so.ID] = true
	}
	for read, most := range map[string]int{"sockets": 7, "rooms": 8} {
		next, seen, pages := "", 0, 0
		for more := true; more; pages++ {
			got := s.do(http.MethodGet, "/v1/"+read+"?namespace=/chat&to=all&limit=3"+next, theKey, "")
			seen += strings.Count(got.body, `"id":`) + strings.Count(got.body, `"room":`)
			_, rest, found := strings.Cut(got.body, `"next":"`)
			if more = found; found {
				next = "&cursor=" + strings.ReplaceAll(rest[:strings.Index(rest, `"`)], " ", "%20")
			}
			if got.status != 200 || pages > 9 {
				t.Fatalf("%d %s", got.status, got.body)
			}
		}
		if seen != most || pages != 3 {
			t.Errorf("%s: %d on %d pages", read, seen, pages)
		}
	}
	s.isProblem(s.do(http.MethodGet, "/v1/sockets?namespace=/chat", theKey, ""), badRequest, "to is missing")
	for _, query := range []string{"limit=0", "limit=1001", "limit=x", "to=room:a", "colour=red", "%zz", "cursor=a&cursor=b"} {
		s.isProblem(s.do(http.MethodGet, "/v1/sockets?namespace=/chat&to=all&"+query, theKey, ""), badRequest, "")
	}
	if got := s.do(http.MethodGet, "/v1/sockets?namespace=/chat&to=room:none", theKey, ""); got.body != `{"sockets":[]}` {
		t.Error(got.body)
	}
	s.isProblem(s.do(http.MethodGet, "/v1/sockets?namespace=/chat&to=socket:k3f9a0zz.Q2hhdHR5LXNvY2tldC0x", theKey, ""), unknownSocket, "")
}
