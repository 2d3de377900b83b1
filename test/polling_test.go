package test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"partyline/internal/edgetest"
)

// poller is a session over HTTP long-polling. Between two polls it is busy, like a slow client.
type poller struct {
	t    *testing.T
	http *http.Client
	url  string
}

// poll opens a session over polling.
func (s *stage) poll() *poller {
	s.t.Helper()
	transport := &http.Transport{DisableCompression: true}
	s.t.Cleanup(transport.CloseIdleConnections)
	p := &poller{s.t, &http.Client{Transport: transport, Timeout: edgetest.Patience}, s.URL + "/socket.io/?EIO=4&transport=polling"}
	var open struct{ SID string }
	if err := json.Unmarshal([]byte(p.get()[1:]), &open); err != nil {
		s.t.Fatal(err)
	}
	p.url += "&sid=" + open.SID
	return p
}

// enter connects to a namespace and returns the socket's id.
func (p *poller) enter(namespace string) string {
	p.t.Helper()
	p.post("40" + namespace + ",")
	got := p.get()
	id, ok := strings.CutPrefix(got, "40"+namespace+`,{"sid":"`)
	if !ok {
		p.t.Fatalf("a poll brought %q", got)
	}
	return strings.TrimSuffix(id, `"}`)
}

func (p *poller) get() string {
	p.t.Helper()
	_, body := p.fetch(nil)
	return body
}

// fetch polls with headers.
func (p *poller) fetch(header http.Header) (http.Header, string) {
	p.t.Helper()
	request, err := http.NewRequest(http.MethodGet, p.url, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	request.Header = header
	return p.do(request)
}

func (p *poller) post(payload string) {
	p.t.Helper()
	request, err := http.NewRequest(http.MethodPost, p.url, strings.NewReader(payload))
	if err != nil {
		p.t.Fatal(err)
	}
	p.do(request)
}

func (p *poller) do(request *http.Request) (http.Header, string) {
	p.t.Helper()
	response, err := p.http.Do(request)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		p.t.Fatalf("%s: status %d, %q, %v", request.Method, response.StatusCode, body, err)
	}
	return response.Header, string(body)
}
