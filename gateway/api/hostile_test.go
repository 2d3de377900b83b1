package api

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"partyline/internal/edgetest"
)

// TestBodiesThatAreRefused sends what is no command. Nothing of it reaches a client, and the answer says where.
func TestBodiesThatAreRefused(t *testing.T) {
	s := begin(t)
	ann := s.Enter("ann", "/chat")
	id := ann.ID
	const to, event = `"to":{"all":true}`, `"event":["x"]`
	for _, c := range []struct{ verb, body, detail string }{
		{"emit", ``, ""},
		{"emit", `{`, ""},
		{"emit", `null`, ""},
		{"emit", `[]`, ""},
		{"emit", "\xef\xbb\xbf{}", ""},
		{"emit", `{"namespace":"/chat",` + to + `,` + event + `} x`, ""},
		{"emit", `{"namespace":"/chat",` + to + `,` + event + `,"colour":"red"}`, "/colour"},
		{"emit", `{"namespace":"/chat",` + to + `,` + event + `,"Except":[]}`, "/Except"},
		{"emit", `{"namespace":"/chat",` + to + `,` + event + `,"rooms":["a"]}`, "/rooms"},
		{"emit", `{"namespace":"/chat",` + to + `,` + event + `,"verb":"emit"}`, "/verb"},
		{"emit", `{"namespace":"/chat",` + to + `,` + event + `,"event":["y"]}`, "/event"},
		{"emit", `{"namespace":"/chat",` + to + `,"event":["x",{"a":1,"a":2}]}`, "/event/1/a"},
		{"emit", `{"namespace":"/chat","to":{"all":true,"room":"a"},` + event + `}`, "2 members"},
		{"emit", `{"namespace":"/chat","to":{"room":"a","rooms":["b"]},` + event + `}`, "2 members"},
		{"emit", `{"namespace":"/chat","to":{"everyone":true},` + event + `}`, "/to/everyone"},
		{"emit", `{"namespace":"/chat","to":{},` + event + `}`, "0 members"},
		{"emit", `{"namespace":"/chat","to":null,` + event + `}`, "to is missing"},
		{"emit", `{"namespace":"/chat","to":{"all":false},` + event + `}`, "all must be true"},
		{"emit", `{"namespace":"/chat","to":{"rooms":[]},` + event + `}`, "0 rooms"},
		{"emit", `{"namespace":"/chat","to":{"rooms":null},` + event + `}`, "0 members"},
		{"emit", `{"namespace":"/chat","to":{"room":7},` + event + `}`, "/to/room"},
		{"emit", `{"namespace":"/chat","to":{"room":"` + id + `"},` + event + `}`, "form of a socket's id"},
		{"emit", `{"namespace":"/chat","to":{"rooms":["a","` + id + `"]},` + event + `}`, "form of a socket's id"},
		{"emit", `{"namespace":"/chat","to":{"socket":"all"},` + event + `}`, "not the id of a socket"},
		{"emit", `{"namespace":"/chat","to":{"socket":"` + id[:8] + `.*"},` + event + `}`, "not the id of a socket"},
		{"emit", `{"namespace":"/chat","to":{"socket":"` + id + `.x"},` + event + `}`, "not the id of a socket"},
		{"emit", `{"namespace":"/chat","to":{"user":""},` + event + `}`, "user is empty"},
		{"emit", `{"namespace":"/chat","to":{"room":"` + strings.Repeat("r", 513) + `"},` + event + `}`, "512"},
		{"emit", `{"namespace":"/chat","to":{"room":"` + strings.Repeat("r.", 16) + `r"},` + event + `}`, "16 tokens"},
		{"emit", `{"namespace":"/chat","to":{"rooms":["` + strings.Repeat(`a","`, 1000) + `b"]},` + event + `}`, "more than 1000"},
		{"emit", `{"namespace":"/chat",` + to + `,"except":["` + strings.Repeat(`a","`, 1000) + `b"],` + event + `}`, "more than 1000"},
		{"emit", "{\"namespace\":\"/chat\",\"to\":{\"room\":\"\xff\xfe\"}," + event + `}`, "UTF-8"},
		{"emit", `{"namespace":"/chat","to":{"room":"\ud800"},` + event + `}`, "surrogate"},
		{"emit", `{"namespace":"",` + to + `,` + event + `}`, "namespace"},
		{"emit", `{` + to + `,` + event + `}`, "namespace"},
		{"emit", `{"namespace":"chat",` + to + `,` + event + `}`, "namespace"},
		{"emit", `{"namespace":"/ten*",` + to + `,` + event + `}`, "namespace"},
		{"emit", `{"namespace":"/` + strings.Repeat("n", 600) + `",` + to + `,` + event + `}`, "namespace"},
		{"emit", `{"namespace":"/chat",` + to + `}`, "event must be"},
		{"emit", `{"namespace":"/chat",` + to + `,"event":[]}`, "event must be"},
		{"emit", `{"namespace":"/chat",` + to + `,"event":[7]}`, "event must be"},
		{"emit", `{"namespace":"/chat",` + to + `,"event":["x"` + strings.Repeat(",0", 1000) + `]}`, "/event\": it has more than 1000"},
		{"emit", `{"namespace":"/chat",` + to + `,"event":"x"}`, "/event"},
		{"emit", `{"namespace":"/chat",` + to + `,"event":["connect"]}`, "reserved"},
		{"emit", `{"namespace":"/chat",` + to + `,"event":["disconnecting"]}`, "reserved"},
		{"emit", `{"namespace":"/chat",` + to + `,"event":["\ud800"]}`, "surrogate"},
		{"emit", `{"namespace":"/chat",` + to + `,"event":["` + strings.Repeat("e", 513) + `"]}`, "512"},
		{"emit", `{"namespace":"/chat",` + to + `,"event":["x",` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + `]}`, "depth"},
		{"broadcast", `{"namespace":"/chat",` + to + `,` + event + `}`, "sender"},
		{"broadcast", `{"namespace":"/chat",` + to + `,` + event + `,"sender":"lobby"}`, "sender"},
		{"ask", `{"namespace":"/chat",` + to + `,` + event + `,"timeout":0}`, "1 to 60000"},
		{"ask", `{"namespace":"/chat",` + to + `,` + event + `,"timeout":60001}`, "1 to 60000"},
		{"ask", `{"namespace":"/chat",` + to + `,` + event + `,"timeout":1.5}`, "/timeout"},
		{"ask", `{"namespace":"/chat",` + to + `,` + event + `,"timeout":99999999999999999999}`, "/timeout"},
		{"join", `{"namespace":"/chat",` + to + `}`, "0 rooms"},
		{"join", `{"namespace":"/chat",` + to + `,"rooms":[]}`, "0 rooms"},
		{"join", `{"namespace":"/chat",` + to + `,"rooms":["` + id + `"]}`, "form of a socket's id"},
		{"disconnect", `{"namespace":"/chat",` + to + `,"session":1}`, "/session"},
		{"grant", `{"namespace":"/chat",` + to + `}`, "grant is missing"},
		{"grant", `{"namespace":"/chat",` + to + `,"grant":{"user":""}}`, "user is empty"},
		{"grant", `{"namespace":"/chat",` + to + `,"grant":{"data":{}}}`, "/grant/data"},
		{"grant", `{"namespace":"/chat",` + to + `,"grant":{"emit":["` + strings.Repeat(`a","`, 100) + `b"]}}`, "100"},
		{"grant", `{"namespace":"/chat",` + to + `,"grant":{"user":" ann"}}`, "user"},
		{"data", `{"namespace":"/chat",` + to + `}`, "data is missing"},
	} {
		got := s.post(c.verb, c.body)
		if s.isProblem(got, badRequest, c.detail); len(got.body) > 2000 {
			t.Errorf("the answer has %d bytes", len(got.body))
		}
	}
	s.isProblem(s.post("data", `{"namespace":"/chat",`+to+`,"data":"`+strings.Repeat("d", 70_000)+`"}`), tooLarge, "65536")
	s.isProblem(s.post("grant", `{"namespace":"/chat","to":{"socket":"`+id+`"},"grant":{"rooms":["user:eve"]}}`), refused, "user_room")
	// As deep as the contract allows, with the array of the event and the object around it.
	deep := strings.Repeat("[", 9_998) + strings.Repeat("]", 9_998)
	s.answers("emit", `{"namespace":"/chat",`+to+`,"event":["deep",`+deep+`]}`, 202, "{}")
	ann.Gets(`["deep",` + deep + `]`)
}

func TestRequestsThatAreRefused(t *testing.T) {
	s := begin(t)
	const body = `{"namespace":"/chat","to":{"all":true},"event":["x"]}`
	s.isProblem(s.do(http.MethodGet, "/v1/sing", theKey, ""), noOperation, "/v1/sing")
	s.isProblem(s.do(http.MethodGet, "/emit", theKey, ""), noOperation, "")
	s.isProblem(s.do(http.MethodPost, "/v1/emit/", theKey, body), noOperation, "")
	s.isProblem(s.do(http.MethodPost, "/v1//emit", theKey, body), noOperation, "")
	for method, path := range map[string]string{http.MethodGet: "/v1/emit", http.MethodOptions: "/v1/emit", http.MethodPut: "/v1/batch", http.MethodPost: "/v1/rooms", http.MethodDelete: "/openapi.json"} {
		got := s.do(method, path, theKey, "")
		if s.isProblem(got, badMethod, ""); got.header.Get("Allow") == "" {
			t.Errorf("%s %s has no Allow", method, path)
		}
		for name := range got.header {
			if strings.HasPrefix(name, "Access-Control-") {
				t.Errorf("%s: %s", path, name)
			}
		}
	}
	for _, kind := range []string{"", "text/plain", "application/x-www-form-urlencoded", "application/problem+json", "application/json;;"} {
		s.isProblem(s.do(http.MethodPost, "/v1/emit", theKey, body, "Content-Type", kind), notJSON, "")
	}
	if got := s.post("emit", body, "Content-Type", "Application/JSON; charset=utf-8"); got.status != 202 {
		t.Error(got)
	}
	s.isProblem(s.post("emit", `{"namespace":"/chat","to":{"all":true},"event":["`+strings.Repeat("x", 1<<20)+`"]}`), tooLarge, "1048576 bytes")
	// Less than a body may have, and more than NATS takes with the headers.
	s.isProblem(s.post("emit", `{"namespace":"/chat","to":{"rooms":["`+strings.Repeat("a", 500)+strings.Repeat(`","`+strings.Repeat("%", 500), 999)+`"]},"event":["`+strings.Repeat("x", 500)+`"]}`), tooLarge, "NATS")
	for _, id := range []string{"a b", strings.Repeat("k", 256), "é"} {
		s.isProblem(s.post("emit", body, "Idempotency-Key", id), badRequest, "visible characters")
	}
	s.isProblem(s.post("join", body, "Idempotency-Key", "1"), badRequest, "leave it out")
	s.isProblem(s.post("emit", body, "Idempotency-Key", "1"), badRequest, "neither recovery nor rewind")
}

// TestASlowBody sends a body byte by byte, and one that never ends.
func TestASlowBody(t *testing.T) {
	if testing.Short() {
		t.Skip("it waits for bodyTime")
	}
	t.Parallel()
	s := begin(t)
	c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_, _ = fmt.Fprintf(c, "POST /v1/emit HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{", theKey)
	response, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(response.Body)
	s.isProblem(reply{response.StatusCode, response.Header, string(text)}, tooSlow, "10s")
	_ = c.SetReadDeadline(time.Now().Add(edgetest.Patience))
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the connection stays open: %v", err)
	}
}

// TestALongAskOutlivesTheTimeOfTheBody holds an ask for longer than its body could take.
func TestALongAskOutlivesTheTimeOfTheBody(t *testing.T) {
	if testing.Short() {
		t.Skip("it waits for bodyTime")
	}
	t.Parallel()
	s := begin(t)
	ann := s.Enter("ann", "/chat")
	s.isProblem(s.post("ask", fmt.Sprintf(`{"namespace":"/chat","to":{"socket":%q},"event":["x"],"timeout":%d}`, ann.ID, bodyTime.Milliseconds()+500)), noAnswer, "the client did not answer")
}

// What one client acks is JSON, and does not spoil the answers of the others.
func TestAcksOfHostileClients(t *testing.T) {
	s := begin(t)
	acks := []string{`["yes"]`, `[{"a":1,"a":2}]`, `["\\ud83d"]`, strings.Repeat("[", 9_999) + strings.Repeat("]", 9_999)}
	var clients []*edgetest.Socket
	for i := range acks {
		clients = append(clients, s.Enter(fmt.Sprint("client ", i), "/chat"))
	}
	answered := make(chan reply)
	go func() { answered <- s.post("ask", `{"namespace":"/chat","to":{"all":true},"event":["all?"]}`) }()
	for i, so := range clients {
		so.Expect(`42/chat,1["all?"]`)
		so.Acks("1", acks[i])
	}
	got := <-answered
	for i, so := range clients {
		if want := `{"socket":"` + so.ID + `","ack":` + acks[i] + `}`; !strings.Contains(got.body, want) {
			t.Errorf("%d %.300s has no %.100s", got.status, got.body, want)
		}
	}
	if end := `,"missing":[],"silent":[]}`; got.status != 200 || !strings.HasSuffix(got.body, end) {
		t.Errorf("%d, and it does not end with %s", got.status, end)
	}
}

func TestWithoutNATS(t *testing.T) {
	s := begin(t)
	ann := s.Enter("ann", "/chat")
	s.NATS.Stop()
	edgetest.Eventually(t, "the API says that NATS is away", func() bool {
		return s.post("emit", `{"namespace":"/chat","to":{"all":true},"event":["x"]}`).status == 503
	})
	for _, got := range []reply{
		s.post("emit", `{"namespace":"/chat","to":{"all":true},"event":["x"]}`),
		s.post("ask", fmt.Sprintf(`{"namespace":"/chat","to":{"socket":%q},"event":["x"]}`, ann.ID)),
		s.post("join", fmt.Sprintf(`{"namespace":"/chat","to":{"socket":%q},"rooms":["x"]}`, ann.ID)),
		s.do(http.MethodGet, "/v1/sockets?namespace=/chat&to=all", theKey, ""),
	} {
		if s.isProblem(got, offline, "NATS is away"); got.header.Get("Retry-After") != "1" {
			t.Errorf("%v", got.header)
		}
	}
	s.NATS.Restart()
	edgetest.Eventually(t, "NATS is back", func() bool {
		return s.post("emit", `{"namespace":"/chat","to":{"all":true},"event":["x"]}`).status == 202
	})
}

// TestAnswersCountUntilTheyAreSent has a holder of a key ask many, and not read what they answer.
func TestAnswersCountUntilTheyAreSent(t *testing.T) {
	s := begin(t)
	holder := s.now.Load().holders[0]
	nothing := func() bool {
		return s.API.answers.Load() == 0 && holder.answers.Load() == 0 && holder.underWay.Load() == 0
	}
	const ask, one = `{"namespace":"/chat","to":{"all":true},"event":["all?"],"timeout":60000}`, `{"namespace":"/chat","to":{"room":"none"},"event":["x"]}`
	const many, each = 8, 800_000 // together more than the buffers of a connection have
	var clients []*edgetest.Socket
	for i := range many {
		clients = append(clients, s.Enter(fmt.Sprint("client ", i), "/chat"))
	}
	c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	_ = c.(*net.TCPConn).SetReadBuffer(4096) // what waits in the kernel does not count
	_, _ = fmt.Fprintf(c, "POST /v1/ask HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", theKey, len(ask), ask)
	for _, so := range clients {
		so.Expect(`42/chat,1["all?"]`)
		so.Acks("1", `["`+strings.Repeat("x", each)+`"]`)
	}
	edgetest.Eventually(t, "all answers count", func() bool { return s.API.answers.Load() >= many*each })
	edgetest.Eventually(t, "the answer has begun", func() bool {
		_ = c.SetReadDeadline(time.Now().Add(time.Second))
		n, _ := c.Read(make([]byte, 1))
		return n == 1
	})
	if holder.answers.Load() < many*each || holder.underWay.Load() != 1 {
		t.Errorf("an answer that is not read: %d bytes of %d requests count", holder.answers.Load(), holder.underWay.Load())
	}
	if got := s.post("ask", one); got.status != 200 {
		t.Errorf("another ask meanwhile: %d %s", got.status, got.body)
	}
	for what, count := range map[string]struct {
		of   *atomic.Int64
		most int64
	}{"all": {&s.API.answers, mostAnswers}, "of this key": {&holder.answers, mostOfKey}} {
		before := count.of.Load()
		count.of.Store(count.most - 10)
		for _, got := range []reply{s.post("ask", one), s.post("join", `{"namespace":"/chat","to":{"socket":"`+clients[0].ID+`"},"rooms":["r"]}`),
			s.do(http.MethodGet, "/v1/rooms?namespace=/chat&to=all", theKey, ""), s.do(http.MethodGet, "/v1/sockets?namespace=/chat&to=all", theKey, "")} {
			if s.isProblem(got, busy, "answers under way"); got.header.Get("Retry-After") != "1" {
				t.Errorf("%s: %v", what, got.header)
			}
		}
		count.of.Store(before)
	}
	_ = c.Close()
	edgetest.Eventually(t, "nothing is under way", nothing)

	// What fails in a batch does not count, and one request, which may be a batch, has a bound of its own.
	s.API.answers.Store(mostAnswers - 10)
	got := s.post("batch", `{"commands":[{"verb":"ask",`+one[1:]+`,{"verb":"ask",`+one[1:]+`]}`)
	if n := strings.Count(got.body, `{"status":503`); got.status != 200 || n != 2 || s.API.answers.Load() != mostAnswers-10 {
		t.Errorf("%d %s; %d bytes count", got.status, got.body, s.API.answers.Load())
	}
	s.API.answers.Store(0)
	q := &request{API: s.API, holder: holder}
	if err := q.keep(mostOfRequest); err != nil {
		t.Error(err)
	}
	if err := asProblem(q.keep(1)); err.kind != busy {
		t.Error(err)
	}
	q.forget(0)
	if !nothing() {
		t.Error("something is under way")
	}
}

// The arguments of acks count, too: short ones take many times their text.
func TestArgumentsOfAcksCount(t *testing.T) {
	s := begin(t)
	ann := s.Enter("ann", "/chat")
	s.API.answers.Store(mostAnswers - 100_000)
	defer s.API.answers.Store(0)
	answered := make(chan reply)
	go func() { answered <- s.post("ask", `{"namespace":"/chat","to":{"all":true},"event":["all?"]}`) }()
	ann.Expect(`42/chat,1["all?"]`)
	ann.Acks("1", "[0"+strings.Repeat(",0", 2000)+"]") // 4 KB
	s.isProblem(<-answered, busy, "answers under way")
}
