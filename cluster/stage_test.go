package cluster_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"partyline/cluster"
	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
	"partyline/wire/msg"
)

func TestMain(m *testing.M) {
	edgetest.SideBySide(8)
	goleak.VerifyTestMain(m)
}

const (
	// secret is shared by the edges of most tests.
	secret = "5ecret"
	// unknown is how the reference server answers for a session that it does not have.
	unknown = `{"code":1,"message":"Session ID unknown"}`
)

// stage is some edges on one NATS server that have found each other.
type stage struct {
	*edgetest.Peer
	t     testing.TB
	nodes []*edgetest.Node
	http  *http.Client
	o     edgetest.Options // of further edges
}

// begin starts edges.
func begin(t testing.TB, edges int, change ...func(*edgetest.Options)) *stage {
	t.Helper()
	server := natsdtest.Start(t)
	transport := &http.Transport{DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	s := &stage{t: t, Peer: edgetest.NewPeer(t, server.ClientURL()),
		http: &http.Client{Transport: transport, Timeout: edgetest.Patience}}
	s.o = edgetest.Options{NATS: server.ClientURL(), Secret: secret}
	for _, c := range change {
		c(&s.o)
	}
	for range edges {
		s.nodes = append(s.nodes, edgetest.Start(t, s.o).Ready())
	}
	s.acquainted()
	return s
}

// acquainted waits until all edges have found each other.
func (s *stage) acquainted() {
	s.t.Helper()
	for _, n := range s.nodes {
		for _, other := range s.nodes {
			s.knows(n, other.ID)
		}
	}
}

// knows waits until an edge has found another one.
func (s *stage) knows(n *edgetest.Node, id string) {
	s.t.Helper()
	edgetest.Eventually(s.t, "the edges know each other", func() bool {
		for _, m := range n.Cluster.Members() {
			if m.ID == id {
				return true
			}
		}
		return false
	})
}

// announce publishes an announcement of an edge.
func (s *stage) announce(id, address string) {
	s.t.Helper()
	m := nats.NewMsg("sio.$edge." + id + ".beat")
	m.Data = msg.EdgeAnnouncement{Edge: id, At: time.Now().UnixMilli(), Every: 1000, Address: address}.Body()
	if s.o.Secret != "" {
		m.Header[msg.HeaderSignature] = []string{msg.Sign(s.o.Secret, id+".beat", string(m.Data))}
	}
	edgetest.Eventually(s.t, "all edges have received it", func() bool {
		if err := s.NC.PublishMsg(m); err != nil { // repeated: an edge that has just started may miss the first
			s.t.Fatal(err)
		}
		for _, n := range s.nodes {
			if !slices.ContainsFunc(n.Cluster.Members(), func(m cluster.Member) bool { return m.ID == id }) {
				return false
			}
		}
		return true
	})
}

// polling returns the path of a request of a polling session; sid may be "".
func polling(sid string) string {
	path := "/socket.io/?EIO=4&transport=polling"
	if sid != "" {
		path += "&sid=" + sid
	}
	return path
}

// answer is the response to a request.
type answer struct {
	status int
	header http.Header
	body   string
}

// ask makes a request of a polling session at an edge. Headers are "Name: value".
func (s *stage) ask(n *edgetest.Node, method, sid, body string, headers ...string) answer {
	s.t.Helper()
	return s.askPath(n, method, polling(sid), body, headers...)
}

func (s *stage) askPath(n *edgetest.Node, method, path, body string, headers ...string) answer {
	s.t.Helper()
	request, err := http.NewRequest(method, n.URL+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if request.Header.Add(name, value); name == "Host" {
			request.Host = value
		}
	}
	response, err := s.http.Do(request)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	return answer{response.StatusCode, response.Header, string(text)}
}

// gets makes a request and checks the answer.
func (s *stage) gets(n *edgetest.Node, method, sid, body string, status int, want string, headers ...string) answer {
	s.t.Helper()
	got := s.ask(n, method, sid, body, headers...)
	if got.status != status || got.body != want {
		s.t.Fatalf("%s: status %d, %.200q, want %d, %.200q", method, got.status, got.body, status, want)
	}
	return got
}

// open begins a polling session at an edge and connects it to a namespace.
func (s *stage) open(n *edgetest.Node) (sid string) {
	s.t.Helper()
	var open struct{ SID string }
	begun := s.ask(n, "GET", "", "")
	if err := json.Unmarshal([]byte(begun.body[1:]), &open); err != nil || !strings.HasPrefix(open.SID, n.ID+".") {
		s.t.Fatalf("the handshake brought %q", begun.body)
	}
	s.gets(n, "POST", open.SID, "40", 200, "ok")
	if got := s.ask(n, "GET", open.SID, ""); !strings.HasPrefix(got.body, `40{"sid":"`) {
		s.t.Fatalf("CONNECT brought %q", got.body)
	}
	return open.SID
}

// webSocket is a connection of a test.
type webSocket struct {
	t testing.TB
	*websocket.Conn
}

// dial opens a WebSocket of a session at an edge.
func (s *stage) dial(n *edgetest.Node, sid string) (webSocket, answer) {
	s.t.Helper()
	url := "ws" + strings.TrimPrefix(n.URL, "http") + "/socket.io/?EIO=4&transport=websocket&sid=" + sid
	ws, response, err := websocket.DefaultDialer.Dial(url, nil)
	if response == nil {
		s.t.Fatal(err)
	}
	if err != nil {
		text, _ := io.ReadAll(response.Body)
		return webSocket{}, answer{response.StatusCode, response.Header, string(text)}
	}
	s.t.Cleanup(func() { _ = ws.Close() })
	_ = ws.SetReadDeadline(time.Now().Add(edgetest.Patience))
	return webSocket{s.t, ws}, answer{response.StatusCode, response.Header, ""}
}

func (w webSocket) send(text string) {
	w.t.Helper()
	if err := w.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		w.t.Fatal(err)
	}
}

func (w webSocket) gets(want string) {
	w.t.Helper()
	_, got, err := w.ReadMessage()
	if err != nil || string(got) != want {
		w.t.Fatalf("a frame: %.100q, %v, want %.100q", got, err, want)
	}
}

// ended waits for the end of the connection.
func (w webSocket) ended() {
	w.t.Helper()
	for {
		if _, _, err := w.ReadMessage(); err != nil {
			if late, ok := err.(net.Error); ok && late.Timeout() {
				w.t.Fatalf("the connection has not ended: %v", err)
			}
			return
		}
	}
}

// upgrade moves a session to a WebSocket through an edge, and returns once it has moved.
func (s *stage) upgrade(n *edgetest.Node, sid string) webSocket {
	s.t.Helper()
	ws, got := s.dial(n, sid)
	if got.status != http.StatusSwitchingProtocols {
		s.t.Fatalf("the upgrade was answered %d %q", got.status, got.body)
	}
	ws.send("2probe")
	ws.gets("3probe")
	ws.send("5")
	ws.send(`420["join","moved"]`)
	for {
		_, got, err := ws.ReadMessage()
		if err != nil {
			s.t.Fatal(err)
		}
		if string(got) == `430[{"ok":true}]` {
			return ws
		}
	}
}

// pollUntilAborted polls until ctx ends.
func (s *stage) pollUntilAborted(ctx context.Context, n *edgetest.Node, sid string) (aborted <-chan error) {
	s.t.Helper()
	request, err := http.NewRequestWithContext(ctx, "GET", n.URL+polling(sid), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		response, err := s.http.Do(request)
		if err == nil {
			text, _ := io.ReadAll(response.Body)
			_ = response.Body.Close()
			err = fmt.Errorf("status %d, %s", response.StatusCode, bytes.TrimSpace(text))
		}
		done <- err
	}()
	return done
}
