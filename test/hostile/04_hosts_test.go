package hostile

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
)

// Pages of other origins are refused over both transports. The log names each once, with the config key that would
// allow it.
func TestForeignOrigins(t *testing.T) {
	t.Parallel()
	p := run(t, "embedded", house+"cors: {origins: [\"https://friend.example\"]}\n")
	pair := talk(t, p.URL, edgetest.Connect(t, p.NATS))
	host := strings.TrimPrefix(p.URL, "http://")
	said := len(p.Logged())
	for _, origin := range []string{"https://evil.example", "http://" + host + ".evil.example", "null", "http://localhost:1", "https://friend.example.evil.example", "file://", "%", "javascript:alert(1)"} {
		before := len(p.Logged())
		for range 20 {
			head := " HTTP/1.1\r\nHost: " + host + "\r\nOrigin: " + origin + "\r\n"
			response, text, err := ask(t, p.URL, "GET "+polling+head+"\r\n")
			if err != nil || response.StatusCode != 403 || text != `{"code":4,"message":"Forbidden"}` || response.Header.Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("%s: %v, %s, %v", origin, response, text, err)
			}
			response, text, err = ask(t, p.URL, "GET /socket.io/?EIO=4&transport=websocket"+head+upgrade+"\r\n")
			if err != nil || response.StatusCode != 400 || text != "Forbidden" {
				t.Errorf("%s, WebSocket: %v, %s, %v", origin, response, text, err)
			}
		}
		if lines := p.Logged()[before:]; len(lines) != 1 || !strings.Contains(lines[0], "cors.origins") || !strings.Contains(lines[0], origin) {
			t.Errorf("%s: the log has %s, want one line", origin, strings.Join(lines, "\n"))
		}
	}
	for _, origin := range []string{"https://friend.example", p.URL} {
		if response, text, err := ask(t, p.URL, "GET "+polling+" HTTP/1.1\r\nHost: "+host+"\r\nOrigin: "+origin+"\r\n\r\n"); err != nil || response.StatusCode != 200 {
			t.Errorf("%s: %v, %s, %v", origin, response, text, err)
		}
	}
	// Unlimited origins: the log names only some, and the memory for them is bounded.
	for i := range 1500 {
		if response, _, err := ask(t, p.URL, fmt.Sprintf("GET %s HTTP/1.1\r\nHost: %s\r\nOrigin: http://%d.example\r\n\r\n", polling, host, i)); err != nil || response.StatusCode != 403 {
			t.Fatalf("%v, %v", response, err)
		}
	}
	if lines := len(p.Logged()) - said; lines > 1000 {
		t.Errorf("%d lines in the log", lines)
	}
	pair.check()
}

// In the open development mode only this machine's own names are served. A page elsewhere can make the browser connect
// here under a name of its own.
func TestDevelopmentModeServesItsOwnNamesOnly(t *testing.T) {
	t.Parallel()
	p := run(t, "embedded", "")
	pair := talk(t, p.URL, edgetest.Connect(t, p.NATS))
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(p.URL, "http://"))
	ours := []string{"localhost", "LOCALHOST:" + port, "127.0.0.1:" + port, "127.0.0.1", "[::1]:" + port, "[::1]"}
	foreign := []string{
		"evil.example", "evil.example:" + port, "localhost.evil.example", "127.0.0.1.evil.example", "127.0.0.2", "0.0.0.0", "2130706433",
		"localhost.", "[::ffff:127.0.0.1]", "evil.example:localhost", "localhost:evil.example:1", "",
	}
	// All paths, by kind of request.
	paths := []string{"/", polling, "/socket.io/socket.io.js", "/socket.io"}
	for _, host := range append(ours, foreign...) {
		mine := host != "" && strings.Contains(strings.Join(ours, " ")+" ", host+" ")
		for _, path := range paths {
			response, text, err := ask(t, p.URL, "GET "+path+" HTTP/1.1\r\nHost: "+host+"\r\nX-Forwarded-Host: localhost\r\n\r\n")
			if err != nil || (response.StatusCode == 403) == mine || !mine && !strings.Contains(text, "development server") {
				t.Errorf("%s of %q: %v, %v, %.100s", path, host, response, err, text)
			}
		}
		response, _, err := ask(t, p.URL, "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: "+host+"\r\n"+upgrade+"\r\n")
		if mine {
			continue // a WebSocket, whose response has no end
		}
		if err != nil || response.StatusCode != 403 {
			t.Errorf("a WebSocket of %q: %v, %v", host, response, err)
		}
	}
	if response, _, err := ask(t, p.URL, "GET http://evil.example"+polling+" HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil || response.StatusCode != 403 {
		t.Errorf("a whole URL: %v, %v", response, err)
	}
	pair.check()
}

// Forwarded headers count only from a trusted proxy, and only the part that this proxy can know.
func TestTrustedProxies(t *testing.T) {
	t.Parallel()
	nats := natsdtest.Start(t)
	for _, trusted := range []bool{true, false} {
		config := house
		if trusted {
			config += "trusted_proxies: [127.0.0.1, 10.0.0.0/8]\n"
		}
		p := run(t, "edge", config, "--nats.url="+nats.ClientURL())
		nc := edgetest.Connect(t, nats.ClientURL())
		pair := talk(t, p.URL, nc)
		host := strings.TrimPrefix(p.URL, "http://")
		notices := edgetest.Hear(t, nc, subject+"connect")
		for name, c := range map[string]struct {
			header        http.Header
			address, host string
			secure        bool
		}{
			"nothing":            {http.Header{}, "127.0.0.1", host, false},
			"all":                {http.Header{"X-Forwarded-For": {"192.0.2.7"}, "X-Forwarded-Host": {"chat.example"}, "X-Forwarded-Proto": {"https"}}, "192.0.2.7", "chat.example", true},
			"a client that lies": {http.Header{"X-Forwarded-For": {"192.0.2.1, 192.0.2.7"}}, "192.0.2.7", host, false},
			"two proxies":        {http.Header{"X-Forwarded-For": {"192.0.2.1, 192.0.2.7, 10.1.2.3"}}, "192.0.2.7", host, false},
			"two headers":        {http.Header{"X-Forwarded-For": {"192.0.2.1", "192.0.2.7"}}, "192.0.2.7", host, false},
			"nonsense":           {http.Header{"X-Forwarded-For": {"192.0.2.7, <script>"}, "X-Forwarded-Proto": {"gopher"}}, "127.0.0.1", host, false},
			"no address":         {http.Header{"X-Forwarded-For": {", ,"}, "X-Forwarded-Host": {""}}, "127.0.0.1", host, false},
			"1,000 proxies":      {http.Header{"X-Forwarded-For": {"192.0.2.7" + strings.Repeat(", 10.0.0.1", 1000)}}, "192.0.2.7", host, false},
			"IPv6":               {http.Header{"X-Forwarded-For": {"2001:db8::7"}, "X-Forwarded-Proto": {"wss"}}, "2001:db8::7", host, true},
			"a port":             {http.Header{"X-Forwarded-For": {"192.0.2.7:1001"}}, "192.0.2.7", host, false},
			"IPv6 with a port":   {http.Header{"X-Forwarded-For": {"[2001:db8::7]:4711"}}, "2001:db8::7", host, false},
			"Forwarded":          {http.Header{"Forwarded": {`for="[2001:db8::7]:4711";host="chat.example:8443";proto=https`}}, "2001:db8::7", "chat.example:8443", true},
			"both":               {http.Header{"X-Forwarded-For": {"192.0.2.7"}, "Forwarded": {"for=192.0.2.1"}}, "192.0.2.7", host, false},
			"half of Forwarded":  {http.Header{"Forwarded": {`for="192.0.2.7`, `;;=;host="`}}, "127.0.0.1", host, false},
			"IPv6 of IPv4":       {http.Header{"X-Forwarded-For": {"192.0.2.7, ::ffff:10.0.0.1"}}, "192.0.2.7", host, false},
		} {
			if !trusted {
				c.address, c.host, c.secure = "127.0.0.1", host, false
			}
			ws, _, err := websocket.DefaultDialer.Dial("ws://"+host+"/socket.io/?EIO=4&transport=websocket", c.header)
			if err == nil {
				err = ws.WriteMessage(websocket.TextMessage, []byte("40/chat,"))
			}
			if err != nil {
				t.Fatal(err)
			}
			m := notices.Next()
			var body []json.RawMessage
			var got struct {
				Address string
				Secure  bool
				Headers struct{ Host string }
			}
			if err := json.Unmarshal(m.Data, &body); err != nil || len(body) != 2 || json.Unmarshal(body[1], &got) != nil {
				t.Fatalf("%s: the notice is %s", name, m.Data)
			}
			if got.Address != c.address || got.Secure != c.secure || got.Headers.Host != c.host {
				t.Errorf("%s, trusted %t: %+v, want %s, %t, %s", name, trusted, got, c.address, c.secure, c.host)
			}
			_ = ws.Close()
		}
		pair.check()
		pair.hangUp()
	}
}

// The limits of the configuration apply in the real program.
func TestConfiguredLimits(t *testing.T) {
	t.Parallel()
	p := run(t, "embedded", house+"limits: {rooms_per_socket: 2, namespaces_per_session: 1, sessions: 5, sessions_per_address: 4}\ntrusted_proxies: [127.0.0.1]\n")
	pair := talk(t, p.URL, edgetest.Connect(t, p.NATS))
	ws := friend(t, p.URL, "greedy") // it is in one room already
	defer ws.Close()
	expect(t, ws, `42/chat,1["join","b"]`, `43/chat,1[{"ok":true}]`)
	expect(t, ws, `42/chat,2["join","c"]`, `43/chat,2[{"error":"too many rooms: the limit is 2"}]`)
	expect(t, ws, "40/other,", `44/other,{"message":"too many namespaces"}`)
	fourth := open(t, p.URL) // the pair has two
	get(t, http.DefaultClient, p.URL+polling, http.StatusServiceUnavailable)
	head := " HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: "
	if response, text, err := ask(t, p.URL, "GET "+polling+head+"192.0.2.1\r\n\r\n"); err != nil || response.StatusCode != 200 {
		t.Errorf("another address: %v, %v, %s", response, err, text)
	}
	if response, text, err := ask(t, p.URL, "GET "+polling+head+"192.0.2.2:4711\r\n\r\n"); err != nil || response.StatusCode != 503 || response.Header.Get("Retry-After") == "" {
		t.Errorf("a sixth session: %v, %v, %s", response, err, text)
	}
	if got := p.figure("partyline_sessions_refused_total"); got != 2 {
		t.Errorf("%d refused sessions are counted, want 2", got)
	}
	if response, err := http.Post(p.URL+fourth, "text/plain", strings.NewReader("1")); err != nil {
		t.Error(err)
	} else {
		response.Body.Close()
	}
	get(t, http.DefaultClient, p.URL+polling, http.StatusOK) // there is room again
	said := len(p.Logged())
	if err := ws.WriteMessage(websocket.TextMessage, make([]byte, 100_001)); err != nil {
		t.Fatal(err)
	}
	edgetest.Eventually(t, "the log says why", func() bool { return len(p.Logged()) > said })
	if lines := p.Logged()[said:]; len(lines) != 1 || !strings.Contains(lines[0], "read limit") {
		t.Errorf("the log has %s", strings.Join(lines, "\n"))
	}
	pair.check()
}

// expect sends a packet and wants an answer.
func expect(t *testing.T, ws *websocket.Conn, packet, want string) {
	t.Helper()
	err := ws.WriteMessage(websocket.TextMessage, []byte(packet))
	if err == nil {
		err = hears(ws, want, "")
	}
	if err != nil {
		t.Fatalf("%s: %v, want %s", packet, err, want)
	}
}
