// Package openapi_test holds the OpenAPI document of the gateway's HTTP API against its handlers. It is a module of its
// own, because the validator brings dependencies that nothing else needs.
package openapi_test

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"

	"partyline/backend"
	"partyline/gateway/api"
	"partyline/internal/edgetest"
	"partyline/rule"
)

const key = "partyline_test"

// judge has the handlers, and what the document says about them.
type judge struct {
	validator.Validator
	t   *testing.T
	url string
}

func begin(t *testing.T) (*judge, *edgetest.Stage) {
	t.Helper()
	document, err := libopenapi.NewDocument(api.Document)
	if err != nil {
		t.Fatal(err)
	}
	v, errs := validator.NewValidator(document)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	if ok, errs := v.ValidateDocument(); !ok {
		t.Fatalf("the document is no OpenAPI 3.1: %v", errs)
	}
	s := edgetest.Begin(t, map[string]rule.Namespace{"/chat": {Connect: rule.ConnectOpen, Rooms: []string{"*"}, UserRoom: "user:"}})
	service, err := backend.New(edgetest.Connect(t, s.NATS.ClientURL()), "gateway", backend.Logger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	edgetest.Serve(t, service)
	handler, err := api.New(service, api.Options{
		Keys: []api.Key{{
			Name: "all", Hash: api.HashKey(key), Namespaces: []string{"*"}, Rooms: []string{"*"}, May: []string{"all", "socket", "user", "read", "session"},
			Verbs: []string{"emit", "broadcast", "ask", "join", "leave", "disconnect", "grant", "data"},
		}},
		UserRoom: "user:", Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return &judge{v, t, server.URL}, s
}

// request is one to the handlers, and the status of its answer.
type request struct {
	method, path, body string
	status             int
}

// judges sends a request. The document must allow it exactly if the handler does, and the answer must be as the
// document says.
func (j *judge) judges(c request) string {
	j.t.Helper()
	send := func() *http.Request {
		r, err := http.NewRequest(c.method, j.url+c.path, strings.NewReader(c.body))
		if err != nil {
			j.t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+key)
		if c.body != "" {
			r.Header.Set("Content-Type", "application/json")
		}
		return r
	}
	isFit, errs := j.ValidateHttpRequest(send())
	if isFit != (c.status != http.StatusBadRequest) {
		j.t.Errorf("%s %s %.200s: the handler answers %d, and the document has %v", c.method, c.path, c.body, c.status, texts(errs))
	}
	response, err := http.DefaultTransport.RoundTrip(send())
	if err != nil {
		j.t.Fatal(err)
	}
	text, err := io.ReadAll(response.Body)
	if err != nil {
		j.t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != c.status {
		j.t.Errorf("%s %s %.200s: %d %s, want %d", c.method, c.path, c.body, response.StatusCode, text, c.status)
	}
	response.Body = io.NopCloser(strings.NewReader(string(text)))
	if ok, errs := j.ValidateHttpResponse(send(), response); !ok {
		j.t.Errorf("%s %s %.200s: %d %s is not in the document: %v", c.method, c.path, c.body, response.StatusCode, text, texts(errs))
	}
	return string(text)
}

func texts(errs any) string { return fmt.Sprintf("%+v", errs) }

func TestHandlersDoWhatTheDocumentSays(t *testing.T) {
	j, s := begin(t)
	ann := s.Enter("ann", "/chat")
	post := func(verb, more string, status int) {
		t.Helper()
		j.judges(request{"POST", "/v1/" + verb, more, status})
	}
	one := fmt.Sprintf(`"namespace":"/chat","to":{"socket":%q}`, ann.ID)
	const all = `"namespace":"/chat","to":{"all":true}`
	for _, to := range []string{`{"all":true}`, `{"room":""}`, `{"room":"a b"}`, `{"rooms":["a","b"]}`, fmt.Sprintf(`{"socket":%q}`, ann.ID), `{"user":"ann"}`} {
		post("emit", `{"namespace":"/chat","to":`+to+`,"event":["x",{"a":[1,null]}],"volatile":true,"except":["c"]}`, 202)
	}
	for _, bad := range []string{
		`[]`, `{}`, `{` + all + `}`, `{"namespace":"/chat","event":["x"]}`, `{"to":{"all":true},"event":["x"]}`,
		`{"namespace":"chat","to":{"all":true},"event":["x"]}`, `{"namespace":"/c*","to":{"all":true},"event":["x"]}`,
		`{` + all + `,"event":[]}`, `{` + all + `,"event":[1]}`, `{` + all + `,"event":"x"}`, `{` + all + `,"event":["x"],"colour":1}`,
		`{` + all + `,"event":["x"],"verb":"emit"}`, `{` + all + `,"event":["x"],"volatile":1}`, `{` + all + `,"event":["x"],"except":"a"}`,
		`{"namespace":"/chat","to":{"all":false},"event":["x"]}`, `{"namespace":"/chat","to":{"all":true,"room":"a"},"event":["x"]}`,
		`{"namespace":"/chat","to":{},"event":["x"]}`, `{"namespace":"/chat","to":{"rooms":[]},"event":["x"]}`, `{"namespace":"/chat","to":{"socket":"x"},"event":["x"]}`,
		`{"namespace":"/chat","to":{"user":""},"event":["x"]}`, `{"namespace":"/chat","to":{"everyone":true},"event":["x"]}`,
	} {
		post("emit", bad, 400)
	}
	post("broadcast", fmt.Sprintf(`{%s,"event":["x"],"sender":%q}`, all, ann.ID), 202)
	post("broadcast", `{`+all+`,"event":["x"]}`, 400)
	post("broadcast", `{`+all+`,"event":["x"],"sender":"ann"}`, 400)
	post("ask", `{"namespace":"/chat","to":{"room":"none"},"event":["x"]}`, 200)
	post("ask", `{`+all+`,"event":["x"],"timeout":20}`, 200)
	post("ask", `{`+one+`,"event":["x"],"timeout":20}`, 504)
	post("ask", `{`+all+`,"event":["x"],"timeout":0}`, 400)
	post("ask", `{`+all+`,"event":["x"],"timeout":60001}`, 400)
	for _, verb := range []string{"join", "leave"} {
		post(verb, `{`+one+`,"rooms":["a","b"]}`, 200)
		post(verb, `{`+one+`,"rooms":[]}`, 400)
		post(verb, `{`+one+`}`, 400)
	}
	post("join", `{`+one+`,"rooms":["c"]}`, 200)
	post("grant", `{`+one+`,"grant":{"user":"ann","rooms":["d"],"join":["x-*"],"leave":[],"emit":["*"],"expires":4102444800}}`, 200)
	post("grant", `{`+one+`,"grant":{"user":null,"rooms":null,"join":null,"leave":null,"emit":null,"expires":null}}`, 200)
	post("grant", `{`+one+`,"grant":{}}`, 200)
	post("grant", `{`+one+`,"grant":{"user":""}}`, 400)
	post("grant", `{`+one+`,"grant":{"data":1}}`, 400)
	post("grant", `{`+one+`}`, 400)
	post("data", `{`+one+`,"data":null}`, 200)
	post("data", `{`+one+`,"data":{"a":[1]}}`, 200)
	post("data", `{`+one+`}`, 400)
	results := j.judges(request{"POST", "/v1/batch", `{"commands":[{"verb":"emit",` + all + `,"event":["x"]},{"verb":"join",` + one + `,"rooms":["a"]},
		{"verb":"ask",` + one + `,"event":["x"],"timeout":5},{"verb":"leave","namespace":"/chat","to":{"socket":"k3f9a0zz.Q2hhdHR5LXNvY2tldC0x"},"rooms":["a"]}]}`, 200})
	if !strings.Contains(results, `"status":404`) {
		t.Errorf("the batch: %s", results)
	}
	post("batch", `{"commands":[]}`, 400)
	post("batch", `{}`, 400)
	for path, status := range map[string]int{
		"sockets?namespace=/chat&to=all": 200, "sockets?namespace=/chat&to=room:c&limit=1&cursor=a": 200, "rooms?namespace=/chat&to=all&limit=1": 200,
		"sockets?namespace=/chat&to=socket:k3f9a0zz.Q2hhdHR5LXNvY2tldC0x": 404, "sockets?namespace=/chat": 400, "sockets?to=all": 400,
		"rooms?namespace=/chat&to=some": 400, "rooms?namespace=/chat&to=all&limit=0": 400, "rooms?namespace=/chat&to=all&limit=1001": 400,
		"rooms?namespace=/chat&to=user:ann": 200,
	} {
		j.judges(request{"GET", "/v1/" + path, "", status})
	}
	post("disconnect", `{`+all+`,"session":1}`, 400)
	post("disconnect", `{`+all+`,"session":true}`, 200)
	post("join", `{`+one+`,"rooms":["a"]}`, 404)
}

// TestEveryOperationIsInTheDocument asks for each path of the document, and for each verb of the handlers.
func TestEveryOperationIsInTheDocument(t *testing.T) {
	j, _ := begin(t)
	for _, path := range []string{"emit", "broadcast", "ask", "join", "leave", "disconnect", "grant", "data", "batch"} {
		j.judges(request{"POST", "/v1/" + path, `{}`, 400})
	}
	document, err := libopenapi.NewDocument(api.Document)
	if err != nil {
		t.Fatal(err)
	}
	model, err := document.BuildV3Model()
	if err != nil {
		t.Fatal(err)
	}
	paths := 0
	for path := range model.Model.Paths.PathItems.KeysFromOldest() {
		response, err := http.Get(j.url + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if paths++; response.StatusCode == http.StatusNotFound {
			t.Errorf("no handler has %s", path)
		}
	}
	if paths != 11 {
		t.Errorf("the document has %d paths", paths)
	}
}
