package hostile

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"partyline/internal/edgetest"
)

// house is the configuration of a real program, including the pair's namespace.
const house = `
engine: {ping_interval: 1s, ping_timeout: 10s, max_payload: 100000}
namespaces:
  "/chat": {connect: open, rooms: ["*"], relay: [{event: message, to: rooms}]}
  "/other": {connect: open}
`

const polling = "/socket.io/?EIO=4&transport=polling"

// upgrade is the header of a WebSocket request, after its first lines.
const upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

// ask sends bytes over a new connection and returns the answer, or an error if it is not HTTP. The test may read what
// follows from the reader.
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
		"a path elsewhere":           {"GET /socket.io/../../etc/passwd" + head + "\r\n", 404, ""},
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

// Bad packets over polling end the session, as those over a WebSocket do. The packets before the bad one of a payload
// count.
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
		// Another poll gets the end of the session, or the error that it is unknown.
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

// Half a request followed by silence uses a connection for some seconds, and nothing else.
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
	session := open(t, p.URL) // and half a body for a session, which has a separate timeout
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
