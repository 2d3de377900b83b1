package hostile

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
)

// house is the configuration of a real program, with the pair's namespace in it.
const house = `
engine: {ping_interval: 1s, ping_timeout: 10s, max_payload: 100000}
namespaces:
  "/chat": {connect: open, rooms: ["*"], relay: [{event: message, to: rooms}]}
  "/other": {connect: open}
`

const polling = "/socket.io/?EIO=4&transport=polling"

// upgrade is the header of a request for a WebSocket, behind its first lines.
const upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

// ask sends bytes over a connection of their own and returns the answer, or an error if there is none that HTTP knows.
// The test may look at what follows in the reader.
func ask(t *testing.T, url, request string) (*http.Response, string, error) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(edgetest.Patience))
	go func() { _, _ = io.WriteString(conn, request) }() // the answer may come before all of it is read
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return nil, "", err
	}
	text, err := io.ReadAll(response.Body)
	return response, string(text), err
}

// open begins a session over polling and returns the path of its further requests.
func open(t *testing.T, url string) string {
	t.Helper()
	begin := get(t, http.DefaultClient, url+polling, http.StatusOK)
	sid, _, _ := strings.Cut(strings.TrimPrefix(begin, `0{"sid":"`), `"`)
	return polling + "&sid=" + sid
}

func TestBadRequests(t *testing.T) {
	t.Parallel()
	p := run(t, "embedded", house)
	pair := talk(t, p.URL, edgetest.Connect(t, p.NATS))
	said := len(p.Logged())
	head := " HTTP/1.1\r\nHost: localhost\r\n"
	session := open(t, p.URL)
	socketID := strings.TrimSuffix(strings.TrimPrefix(connectByPolling(t, p.URL+session), `40/chat,{"sid":"`), `"}`)
	for name, c := range map[string]struct {
		request string
		status  int
		body    string // part
	}{
		"1 MB of headers":            {"GET " + polling + head + "Cookie: " + strings.Repeat("x", 1<<20) + "\r\n\r\n", 431, ""},
		"1 MB of many headers":       {"GET " + polling + head + strings.Repeat("X-A: b\r\n", 1<<17) + "\r\n", 431, ""},
		"1 MB of a query":            {"GET " + polling + "&x=" + strings.Repeat("x", 1<<20) + head + "\r\n", 431, ""},
		"a header that is none":      {"GET " + polling + head + "what is this\r\n\r\n", 400, ""},
		"no host":                    {"GET " + polling + " HTTP/1.1\r\n\r\n", 400, ""},
		"TLS":                        {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, ""},
		"a length that is none":      {"POST " + session + head + "Content-Length: -1\r\n\r\n", 400, ""},
		"two lengths":                {"POST " + session + head + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx", 400, ""},
		"another HTTP":               {"GET " + polling + " HTTP/9.9\r\nHost: localhost\r\n\r\n", 505, ""},
		"a path elsewhere":           {"GET /socket.io/../../etc/passwd" + head + "\r\n", 307, "/etc/passwd"},
		"a file that is not there":   {"GET /socket.io/x.js" + head + "\r\n", 404, ""},
		"no query":                   {"GET /socket.io/" + head + "\r\n", 400, `{"code":0,"message":"Transport unknown"}`},
		"a query that cannot be":     {"GET /socket.io/?EIO=4&transport=%zz;polling" + head + "\r\n", 400, `{"code":0,"message":"Transport unknown"}`},
		"a sid out of nowhere":       {"GET " + polling + "&sid=nobody" + head + "\r\n", 400, `{"code":1,"message":"Session ID unknown"}`},
		"a sid of zero bytes":        {"GET " + polling + "&sid=%00%00" + head + "\r\n", 400, `{"code":1,"message":"Session ID unknown"}`},
		"a socket's id":              {"GET " + polling + "&sid=" + socketID + head + "\r\n", 400, `{"code":1,"message":"Session ID unknown"}`},
		"a socket's id, with data":   {"POST " + polling + "&sid=" + socketID + head + "Content-Length: 1\r\n\r\n1", 400, `{"code":1,"message":"Session ID unknown"}`},
		"a socket's id, upgrade":     {"GET /socket.io/?EIO=4&transport=websocket&sid=" + socketID + head + upgrade + "\r\n", 400, "Session ID unknown"},
		"a handshake with data":      {"POST " + polling + head + "Content-Length: 2\r\n\r\n40", 400, `{"code":2,"message":"Bad handshake method"}`},
		"an unknown method":          {"EXPLODE " + session + head + "\r\n", 500, ""},
		"half a WebSocket":           {"GET /socket.io/?EIO=4&transport=websocket" + head + "\r\n", 400, `{"code":3,"message":"Bad request"}`},
		"a WebSocket without a key":  {"GET /socket.io/?EIO=4&transport=websocket" + head + "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n", 400, ""},
		"a WebSocket of another age": {"GET /socket.io/?EIO=4&transport=websocket" + head + strings.Replace(upgrade, "13", "8", 1) + "\r\n", 400, ""},
		"an old protocol":            {"GET /socket.io/?EIO=3&transport=polling" + head + "\r\n", 400, `{"code":5,"message":"Unsupported protocol version"}`},
		"a payload over the limit":   {"POST " + session + head + "Content-Length: 100001\r\n\r\n" + strings.Repeat("x", 100_001), 413, ""},
		"the same in chunks":         {"POST " + session + head + "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat("2710\r\n"+strings.Repeat("x", 10_000)+"\r\n", 11) + "0\r\n\r\n", 413, ""},
	} {
		response, text, err := ask(t, p.URL, c.request)
		if err != nil || response.StatusCode != c.status || !strings.Contains(text, c.body) {
			t.Errorf("%s: %v, %v, %q, want status %d and %q", name, response, err, text, c.status, c.body)
		}
	}
	if _, err := body(http.Post(p.URL+session, "text/plain", strings.NewReader("41/chat,"))); err != nil {
		t.Errorf("the session is gone: %v", err)
	}
	get(t, http.DefaultClient, p.URL+session, http.StatusOK) // a heartbeat
	if lines := p.Logged()[said:]; len(lines) > 0 {
		t.Errorf("the log has %s", strings.Join(lines, "\n"))
	}
	pair.check()
}

// connectByPolling connects a session to /chat.
func connectByPolling(t *testing.T, session string) string {
	t.Helper()
	if _, err := body(http.Post(session, "text/plain", strings.NewReader("40/chat,"))); err != nil {
		t.Fatal(err)
	}
	return get(t, http.DefaultClient, session, http.StatusOK)
}

// Bad packets over polling end the session as those over a WebSocket do. Of a payload, what stands before the bad one
// counts.
func TestBadPayloads(t *testing.T) {
	t.Parallel()
	p := run(t, "embedded", house)
	nc := edgetest.Connect(t, p.NATS)
	pair := talk(t, p.URL, nc)
	life := edgetest.Hear(t, nc, subject+"disconnect")
	good := edgetest.Hear(t, nc, subject+"good")
	const before = `42/chat,["good"]` + "\x1e"
	for name, c := range map[string]struct{ payload, contentType, reason, says string }{
		"nothing":           {"", "text/plain", parse, "eio: packet is empty"},
		"an empty packet":   {before + "\x1e", "text/plain", parse, "eio: packet is empty"},
		"an unknown type":   {before + "x", "text/plain", parse, "eio: packet"},
		"bad base64":        {before + "b*", "text/plain", parse, "not base64"},
		"a ping":            {before + "2", "text/plain", transport, "ping from the client"},
		"not UTF-8":         {before + "42/chat,[\"\xff\"]", "text/plain", forced, "not valid UTF-8"},
		"no JSON":           {before + "42/chat,[\x1e" + before, "text/plain", forced, "not valid JSON"},
		"out of turn":       {before + "40/chat,", "text/plain", outOfTurn, "out of turn"},
		"binary out of it":  {before + "bAAAA", "text/plain", forced, "without a packet that announces it"},
		"of an old version": {"x", "application/octet-stream", transport, "octet-stream"},
	} {
		session := open(t, p.URL)
		connectByPolling(t, p.URL+session)
		said := len(p.Logged())
		_, _ = body(http.Post(p.URL+session, c.contentType, strings.NewReader(c.payload)))
		if strings.HasPrefix(c.payload, before) {
			if _, err := good.NextMsg(edgetest.Patience); err != nil {
				t.Errorf("%s: what stood before it did not count: %v", name, err)
			}
		}
		m, err := life.NextMsg(edgetest.Patience)
		if err != nil || string(m.Data) != `["disconnect",{"reason":"`+c.reason+`","rooms":[]}]` {
			t.Errorf("%s: the notice is %v, %v, want %q", name, m, err, c.reason)
		}
		edgetest.Eventually(t, name+": the log says why", func() bool { return len(p.Logged()) > said })
		if lines := p.Logged()[said:]; len(lines) != 1 || !strings.Contains(lines[0], c.says) || !strings.Contains(lines[0], `"address":"127.0.0.1"`) {
			t.Errorf("%s: the log has %s, want one line with %q", name, strings.Join(lines, "\n"), c.says)
		}
		// Whoever polls once more gets the end, or is told that there is no such session any more.
		_, text, err := ask(t, p.URL, "GET "+session+" HTTP/1.1\r\nHost: localhost\r\n\r\n")
		if err != nil || text != "1" && text != "6\x1e1" && !strings.Contains(text, "Session ID unknown") {
			t.Errorf("%s: the next poll brought %q, %v", name, text, err)
		}
	}
	if m, err := good.NextMsg(time.Millisecond); err == nil {
		t.Errorf("what stood behind a bad packet counted: %s", m.Data)
	}
	pair.check()
}

// Half a request and then silence holds a connection for some seconds, and nothing else.
func TestHalfARequest(t *testing.T) {
	t.Parallel()
	p := run(t, "embedded", house)
	pair := talk(t, p.URL, edgetest.Connect(t, p.NATS))
	goroutines := p.figure("go_goroutines")
	head := " HTTP/1.1\r\nHost: localhost\r\n"
	sent := map[string]string{
		"nothing":               "",
		"half a line":           "GET /sock",
		"half a header":         "GET " + polling + head + "Cookie: x",
		"no end of the header":  "GET " + polling + head,
		"half an upgrade":       "GET /socket.io/?EIO=4&transport=websocket" + head + "Connection: Upgr",
		"no body":               "POST " + polling + "&sid=x" + head + "Content-Length: 10\r\n\r\n",
		"half a body":           "POST /" + head + "Content-Length: 10\r\n\r\nabc",
		"half a chunk":          "POST /" + head + "Transfer-Encoding: chunked\r\n\r\n10\r\nab",
		"a poll with half body": "GET /" + head + "Content-Length: 10\r\n\r\nabc",
	}
	conns := map[string]net.Conn{}
	for name, request := range sent {
		for i := range 30 {
			conn, err := net.Dial("tcp", strings.TrimPrefix(p.URL, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, request); err != nil {
				t.Fatal(err)
			}
			conns[fmt.Sprint(name, " ", i)] = conn
		}
	}
	session := open(t, p.URL) // and half a body for a session, which has its own time
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST %s%sContent-Length: 10\r\n\r\n42", session, head)
	conns["half a packet"] = conn
	for name, conn := range conns {
		_ = conn.SetReadDeadline(time.Now().Add(edgetest.Patience))
		if _, err := io.Copy(io.Discard, conn); err != nil {
			t.Errorf("%s: the connection does not end: %v", name, err)
		}
	}
	edgetest.Eventually(t, "the goroutines are back", func() bool { return p.figure("go_goroutines") <= goroutines+10 })
	pair.check()
}

// Pages of other origins are refused over both transports, and the log names each once, with the key that would let it
// in.
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
	// Origins without end: the log names some, and the memory for them ends.
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

// In the open development mode only this machine's own names are served: a page elsewhere can send the browser here
// under a name of its own.
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
	// Where it is, with what kind of request.
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
			continue // a WebSocket, which has no end
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

// What a proxy says of a client counts only if the proxy is trusted, and only as much of it as it can know.
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

// The limits of the configuration hold in the real program.
func TestConfiguredLimits(t *testing.T) {
	t.Parallel()
	p := run(t, "embedded", house+"limits: {rooms_per_socket: 2, namespaces_per_session: 1, sessions: 5, sessions_per_address: 4}\ntrusted_proxies: [127.0.0.1]\n")
	pair := talk(t, p.URL, edgetest.Connect(t, p.NATS))
	ws := friend(t, p.URL, "greedy") // in one room already
	defer ws.Close()
	expect(t, ws, `42/chat,1["join","b"]`, `43/chat,1[{"ok":true}]`)
	expect(t, ws, `42/chat,2["join","c"]`, `43/chat,2[{"error":"too many rooms: the limit is 2"}]`)
	expect(t, ws, "40/other,", `44/other,{"message":"too many namespaces"}`)
	fourth := open(t, p.URL) // with the pair
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
