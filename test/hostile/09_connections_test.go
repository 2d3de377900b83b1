package hostile

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"partyline/internal/edgetest"
)

// house with a page, which is answered without a session.
const houseWithPage = house + "page: true\n"

// hold opens connections and keeps them until the test ends. Each sends a request, or nothing.
func hold(t *testing.T, url string, connections int, request string) (held []net.Conn) {
	t.Helper()
	for range connections {
		conn, err := net.Dial("tcp", strings.TrimPrefix(strings.TrimPrefix(url, "http://"), "nats://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		_, _ = io.WriteString(conn, request) // an edge may have closed the connection
		held = append(held, conn)
	}
	return held
}

// expectEnds waits until the program has closed each of some connections.
func expectEnds(t *testing.T, what string, conns []net.Conn, within time.Duration) {
	t.Helper()
	end := time.Now().Add(within)
	for i, conn := range conns {
		_ = conn.SetReadDeadline(end)
		if _, err := io.Copy(io.Discard, conn); err != nil && strings.Contains(err.Error(), "timeout") {
			t.Fatalf("%s: connection %d is open", what, i)
		}
	}
}

// openConnections waits until a number of connections count.
func (p *program) openConnections(want int) {
	p.t.Helper()
	edgetest.Eventually(p.t, fmt.Sprintf("%d connections are open", want), func() bool {
		return p.figure("partyline_connections") == want
	})
}

// refusals returns the log lines about refused connections.
func (p *program) refusals() (lines []string) {
	for _, line := range p.Logged() {
		if strings.Contains(line, "refused a connection") {
			lines = append(lines, line)
		}
	}
	return lines
}

// readyz returns the page and its status.
func (p *program) readyz() (status int, text string) {
	p.t.Helper()
	response, err := http.Get(p.Admin + "/readyz")
	text, err = body(response, err)
	if err != nil {
		p.t.Fatal(err)
	}
	return response.StatusCode, text
}

// A client that was thrown out and does not close its connection loses it, and does not fill the edge with others.
func TestThrownOutClientsLoseTheirConnections(t *testing.T) {
	t.Parallel()
	const head = " HTTP/1.1\r\nHost: localhost\r\n"
	p := run(t, "embedded", house+"limits: {sessions_per_address: 20}\n")
	pair := talk(t, p.URL, edgetest.Connect(t, p.NATS))
	socket := "GET /socket.io/?EIO=4&transport=websocket" + head + upgrade + "\r\n"
	for name, request := range map[string]string{
		"a packet that does not exist": socket + string(textFrame("9")),
		"a ping":                       socket + string(textFrame("2")),
		"a frame that is not masked":   socket + "\x81\x01a",
		"a namespace twice":            socket + string(textFrame("40/chat,")) + string(textFrame("40/chat,")),
		"no Socket.IO":                 socket + string(textFrame("4x")),
		"a refused handshake":          "GET /socket.io/?EIO=3&transport=polling" + head + "\r\n",
		"a refused upgrade":            "GET /socket.io/?EIO=3&transport=websocket" + head + upgrade + "\r\n",
		"an unknown session":           "GET " + polling + "&sid=x" + head + "\r\n",
		"a page that does not exist":   "GET /x" + head + "\r\n",
		"half of a refused body":       "POST " + polling + head + "Content-Length: 1000\r\n\r\nx",
		"101 header lines":             "GET " + polling + head + strings.Repeat("X-A: b\r\n", 101) + "\r\n",
	} {
		held := hold(t, p.URL, 5, request)
		expectEnds(t, name, held, 8*time.Second) // it is one second; headers without an end get 10
	}
	p.openConnections(2)

	// They count until they are closed.
	held := hold(t, p.URL, 300, socket+string(textFrame("2")))
	most := 0
	for range 20 {
		most = max(most, p.figure("partyline_connections"))
	}
	if most > 4*20+16 {
		t.Errorf("one address has %d connections with 20 sessions", most)
	}
	expectEnds(t, "300 sessions", held, 8*time.Second)
	p.openConnections(2)
	pair.check()
}

// Connections without a session neither keep clients out nor make the edge unready.
func TestIdleConnections(t *testing.T) {
	t.Parallel()
	const head = " HTTP/1.1\r\nHost: localhost\r\n"
	for name, request := range map[string]string{
		"kept alive": "GET /" + head + "\r\n", "silent": "", "half a header": "GET /" + head, "half a line": "GET ",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := runWith(t, 1024, "embedded", houseWithPage)
			pair := talk(t, p.URL, edgetest.Connect(t, p.NATS))
			held := hold(t, p.URL, 1100, request)
			edgetest.Eventually(t, "a client is served", func() bool {
				_, err := body(http.Get(p.URL + polling))
				return err == nil
			})
			if most := p.figure("partyline_connections_most"); most < 900 || most >= 1024 {
				t.Errorf("%d connections are allowed of 1024 descriptors", most)
			}
			edgetest.Eventually(t, "the edge is ready", func() bool {
				status, _ := p.readyz()
				return status == http.StatusOK
			})
			expectEnds(t, "1100 connections", held, edgetest.Patience)
			pair.check()
		})
	}
}

// Sessions that take all connections make the edge unready. NATS and the operator's pages go on.
func TestAllConnectionsAreTaken(t *testing.T) {
	t.Parallel()
	p := runWith(t, 256, "embedded", house)
	pair := talk(t, p.URL, edgetest.Connect(t, p.NATS))
	most := p.figure("partyline_connections_most")
	var all []*raw
	for range most - p.figure("partyline_connections") {
		all = append(all, dialRaw(t, p.URL))
	}
	expectEnds(t, "too many", hold(t, p.URL, 20, ""), edgetest.Patience)
	if status, text := p.readyz(); status != http.StatusServiceUnavailable || !strings.Contains(text, "out of connections") {
		t.Errorf("/readyz is %d %s", status, text)
	}
	if n := p.figure(`partyline_connections_refused_total{limit="process"}`); n != 20 {
		t.Errorf("%d connections were refused, want 20", n)
	}
	if lines := p.refusals(); len(lines) != 1 {
		t.Errorf("the log has %s", strings.Join(lines, "\n"))
	}
	edgetest.Connect(t, p.NATS) // another service
	for _, r := range all {
		r.hangup()
	}
	edgetest.Eventually(t, "the edge is ready", func() bool {
		status, _ := p.readyz()
		return status == http.StatusOK
	})
	dialRaw(t, p.URL)
	pair.check()
}

// If the system has no descriptor left, connections are refused, not left without an answer.
func TestNoDescriptorIsLeft(t *testing.T) {
	t.Parallel()
	p := runWith(t, 256, "embedded", house)
	pair := talk(t, p.URL, edgetest.Connect(t, p.NATS))
	services := hold(t, p.NATS, 100, "")
	for range 200 {
		hold(t, p.URL, 1, "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: localhost\r\n"+upgrade+"\r\n")
	}
	edgetest.Eventually(t, "a connection is refused", func() bool {
		for _, line := range p.refusals() {
			if strings.Contains(line, `"limit":"descriptors"`) {
				return true
			}
		}
		return false
	})
	expectEnds(t, "too many", hold(t, p.URL, 20, ""), edgetest.Patience)
	for _, conn := range services {
		_ = conn.Close()
	}
	edgetest.Eventually(t, "a client is served", func() bool {
		response, err := http.Get(p.URL + polling)
		_, err = body(response, err)
		return err == nil
	})
	pair.check()
}
