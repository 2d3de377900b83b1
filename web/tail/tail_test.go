package tail

import (
	"bufio"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"partyline/internal/edgetest"
	"partyline/internal/natsd"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stage is a NATS server, a tail of it behind HTTP, and a NATS client.
type stage struct {
	*testing.T
	url string
	nc  *nats.Conn
	h   *Handler
}

func begin(t *testing.T) *stage {
	t.Helper()
	server, err := natsd.Start(natsd.Config{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Shutdown)
	nc, err := nats.Connect(server.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	h := New(Settings{NATS: server, Prefix: "sio", Log: slog.New(slog.DiscardHandler)})
	web := httptest.NewServer(h)
	t.Cleanup(web.Close)
	t.Cleanup(h.Close)
	return &stage{t, web.URL, nc, h}
}

// get sends a request with headers in pairs. The test closes the response.
func (s *stage) get(headers ...string) *http.Response {
	s.Helper()
	r, err := http.NewRequestWithContext(s.Context(), http.MethodGet, s.url, nil)
	if err != nil {
		s.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	if host := r.Header.Get("Host"); host != "" {
		r.Host = host
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(r)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { _ = response.Body.Close() })
	return response
}

func TestAReaderGetsWhatPasses(t *testing.T) {
	s := begin(t)
	response := s.get("Origin", s.url)
	if kind := response.Header.Get("Content-Type"); response.StatusCode != 200 || kind != "text/event-stream" {
		t.Fatalf("%s, %s", response.Status, kind)
	}
	long := strings.Repeat("x", maxShown+1)
	for _, m := range []*nats.Msg{
		{Subject: "other.subject", Data: []byte("not below the prefix")},
		{Subject: "sio.chat.emit.all", Reply: "sio.chat.emit.socket.a.b", Data: []byte(`["message","hi\n"]`), Header: nats.Header{"Sio-User": {"ann"}}},
		{Subject: "sio.chat.emit.all", Data: []byte(long)},
	} {
		if err := s.nc.PublishMsg(m); err != nil {
			t.Fatal(err)
		}
	}
	lines := bufio.NewScanner(response.Body)
	for _, want := range []Message{
		{Subject: "sio.chat.emit.all", Reply: "sio.chat.emit.socket.a.b", Body: `["message","hi\n"]`, Size: 18, Header: nats.Header{"Sio-User": {"ann"}}},
		{Subject: "sio.chat.emit.all", Body: long[:maxShown], Size: len(long), Cut: true},
	} {
		if got := next(t, lines); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%v, want %v", got, want)
		}
	}
}

// next reads the next message.
func next(t *testing.T, lines *bufio.Scanner) (m Message) {
	t.Helper()
	for lines.Scan() {
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			if err := json.Unmarshal([]byte(data), &m); err != nil {
				t.Fatalf("%s: %v", data, err)
			}
			return m
		}
	}
	t.Fatalf("the tail ended: %v", lines.Err())
	return m
}

func TestOnlyTheOwnPageReads(t *testing.T) {
	s := begin(t)
	for _, headers := range [][]string{
		{"Host", "evil.example"}, {"Origin", "http://evil.example"}, {"Origin", "null"}, {"Sec-Fetch-Site", "cross-site"},
		{"Origin", "http://localhost:1"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", strings.Replace(s.url, "http:", "https:", 1)},
	} {
		if response := s.get(headers...); response.StatusCode != http.StatusForbidden {
			t.Errorf("%q: %s", headers, response.Status)
		}
	}
	r := httptest.NewRequest(http.MethodGet, "http://localhost/", nil)
	r.RemoteAddr = "192.0.2.1:1234"
	w := httptest.NewRecorder()
	if s.h.ServeHTTP(w, r); w.Code != http.StatusForbidden {
		t.Errorf("from another machine: %d", w.Code)
	}
	r.Method = http.MethodPost
	w = httptest.NewRecorder()
	if s.h.ServeHTTP(w, r); w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", w.Code)
	}
}

func TestReadersAreFew(t *testing.T) {
	s := begin(t)
	var first *http.Response
	for range maxReaders {
		response := s.get("Sec-Fetch-Site", "same-origin")
		if response.StatusCode != http.StatusOK {
			t.Fatal(response.Status)
		}
		first = response
	}
	if response := s.get(); response.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("one more: %s", response.Status)
	}
	_ = first.Body.Close()
	edgetest.Eventually(t, "there is a place again", func() bool { return len(s.h.readers) < maxReaders })
}

// What passes faster than a browser can show it is dropped, and the reader has the number.
func TestASlowReaderMissesMessages(t *testing.T) {
	s := begin(t)
	response := s.get()
	const all = 5000
	for n := range all {
		if err := s.nc.Publish("sio.chat.emit.all", fmt.Append(nil, n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	got, dropped := 0, 0
	for lines := bufio.NewScanner(response.Body); got+dropped < all && lines.Scan(); {
		data, isData := strings.CutPrefix(lines.Text(), "data: ")
		switch {
		case strings.HasPrefix(data, "{"):
			got++
		case isData:
			if err := json.Unmarshal([]byte(data), &dropped); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got+dropped != all || dropped == 0 {
		t.Errorf("%d and %d dropped, of %d", got, dropped, all)
	}
}

func TestCloseEndsReaders(t *testing.T) {
	s := begin(t)
	response := s.get()
	s.h.Close()
	if lines := bufio.NewScanner(response.Body); lines.Scan() {
		t.Errorf("a line after the end: %s", lines.Text())
	}
}
