package test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"partyline/config"
	"partyline/internal/edgetest"
)

// raw sends a request unchanged, headers and all, and returns the answer with its connection.
func (s *stage) raw(query string, headers ...string) (*http.Response, net.Conn) {
	s.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(edgetest.Patience))
	lines := append([]string{"GET /socket.io/?EIO=4&" + query + " HTTP/1.1"}, headers...)
	if _, err := fmt.Fprint(conn, strings.Join(lines, "\r\n")+"\r\n\r\n"); err != nil {
		s.t.Fatal(err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer, conn
}

var upgrade = []string{"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: YWFhYWFhYWFhYWFhYWFhYQ=="}

// known connects a WebSocket with a query and headers to the main namespace, and returns the handshake that services
// receive.
func (s *stage) known(query string, headers ...string) (handshake struct {
	Address, URL string
	Query        map[string]string
	Headers      map[string]string
}) {
	s.t.Helper()
	notices := s.Hear("sio._.on.connect")
	defer func() { _ = notices.Unsubscribe() }()
	answer, conn := s.raw("transport=websocket"+query, append(append([]string{"Host: chat.example"}, upgrade...), headers...)...)
	if answer.StatusCode != http.StatusSwitchingProtocols {
		s.t.Fatalf("%s %q: %s", query, headers, answer.Status)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte{0x81, 0x82, 0, 0, 0, 0, '4', '0'}); err != nil { // a masked text frame
		s.t.Fatal(err)
	}
	m := notices.Next()
	var body []json.RawMessage
	if err := json.Unmarshal(m.Data, &body); err != nil || len(body) != 2 {
		s.t.Fatalf("the notice is %s", m.Data)
	}
	if err := json.Unmarshal(body[1], &handshake); err != nil {
		s.t.Fatalf("the notice is %s: %v", m.Data, err)
	}
	return handshake
}

func TestServicesKnowTheQueryAndTheHeaders(t *testing.T) {
	s := begin(t, usual())
	if got := s.known("&a=x;y&b=50%&c=1&c=2&d=%E9"); got.Query["a"] != "x;y" || got.Query["b"] != "50%" || got.Query["c"] != "2" || got.Query["d"] != "\uFFFD" ||
		!strings.HasSuffix(got.URL, "&a=x;y&b=50%&c=1&c=2&d=%E9") {
		t.Errorf("the handshake is %+v", got)
	}
	if got := s.known("", "X-Name: J\xfcrgen", "X-More: \xc3\xbc", "X-More: b"); got.Headers["x-name"] != "Jürgen" || got.Headers["x-more"] != "Ã¼, b" {
		t.Errorf("the headers are %q", got.Headers)
	}
}

func TestASubprotocolIsChosen(t *testing.T) {
	s := begin(t, usual())
	answer, _ := s.raw("transport=websocket", append([]string{"Host: chat.example", "Sec-WebSocket-Protocol: my-app, other"}, upgrade...)...)
	if got := answer.Header.Get("Sec-WebSocket-Protocol"); answer.StatusCode != http.StatusSwitchingProtocols || got != "my-app" {
		t.Errorf("%s, subprotocol %q", answer.Status, got)
	}
	answer, _ = s.raw("transport=websocket", append([]string{"Host: chat.example", "Sec-WebSocket-Protocol: a,a"}, upgrade...)...)
	if answer.StatusCode != http.StatusBadRequest {
		t.Errorf("a subprotocol twice: %s", answer.Status)
	}
}

// Sessions are counted by the client's address, not by its port, and not by the proxy's.
func TestAddressesWithPorts(t *testing.T) {
	s := begin(t, usual(), func(o *edgetest.Options) {
		o.Trusted, o.Limits = []string{"127.0.0.0/8"}, config.DefaultLimits()
		o.Limits.SessionsPerAddress = 2
	})
	if got := s.known("", "X-Forwarded-For: 203.0.113.3:1003").Address; got != "203.0.113.3" {
		t.Errorf("the address is %s", got)
	}
	if got := s.known("", "X-Forwarded-For: [2001:db8::1]:4711").Address; got != "2001:db8::1" {
		t.Errorf("the address is %s", got)
	}
	for i, want := range []int{101, 101, 503} {
		header := fmt.Sprintf("X-Forwarded-For: 203.0.113.9:%d", 1000+i)
		if answer, _ := s.raw("transport=websocket", append([]string{"Host: chat.example", header}, upgrade...)...); answer.StatusCode != want {
			t.Errorf("session %d of an address: %s, want %d", i, answer.Status, want)
		}
	}
}

// Both transports accept the origins of pages and of native clients.
func TestOriginsThatClientsSend(t *testing.T) {
	s := begin(t, usual(), func(o *edgetest.Options) {
		o.Origins = []string{"file://", "https://*.preview.example.com"}
	})
	for _, c := range []struct {
		host, origin string
		allowed      bool
	}{
		{"chat.example.com:443", "wss://chat.example.com", true},
		{"chat.example.com:80", "ws://chat.example.com", true},
		{"chat.example.com:8080", "http://chat.example.com:8080", true},
		{"chat.example.com", "http://chat.example.com:8080", false},
		{"chat.example.com", "file://", true},
		{"chat.example.com", "https://a.preview.example.com", true},
		{"chat.example.com", "https://evil-preview.example.com", false},
		{"h", "x://h/evil", false},
		{"h", "//h", false},
	} {
		lines := []string{"Host: " + c.host, "Origin: " + c.origin}
		socket, _ := s.raw("transport=websocket", append(lines, upgrade...)...)
		poll, _ := s.raw("transport=polling", lines...)
		want := map[bool][2]int{true: {101, 200}, false: {400, 403}}[c.allowed]
		if socket.StatusCode != want[0] || poll.StatusCode != want[1] {
			t.Errorf("%s at %s: %d and %d, want %v", c.origin, c.host, socket.StatusCode, poll.StatusCode, want)
		}
	}
}
