package cluster_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"partyline/internal/edgetest"
)

// The session's edge checks an Origin against the information of the first edge, and nothing more: an untrusted proxy
// may have terminated TLS.
func TestOriginsThroughAnotherEdge(t *testing.T) {
	for _, trusted := range []bool{false, true} {
		s := begin(t, 2, trustThisMachine(trusted))
		a, b := s.nodes[0], s.nodes[1]
		sid := s.open(a)
		for _, c := range []struct {
			header          []string
			unknown, wanted int // for an edge that does not trust the proxy, and for one that does
		}{
			{[]string{"Host: h", "Origin: https://h"}, 200, 200},
			{[]string{"Host: h", "Origin: http://h"}, 200, 200},
			{[]string{"Host: h:443", "Origin: wss://h"}, 200, 200},
			{[]string{"Host: h", "Origin: http://h", "X-Forwarded-Proto: https"}, 200, 403},
			{[]string{"Host: h", "Origin: https://h", "X-Forwarded-Proto: https"}, 200, 200},
			{[]string{"Host: h", "Origin: https://h", "X-Forwarded-Proto: http"}, 200, 403},
			{[]string{"Host: h", "Origin: http://h:8080", "X-Forwarded-Port: 8080"}, 403, 200},
			{[]string{"Host: inner", "Origin: https://h:8443", "X-Forwarded-Host: h:8443"}, 403, 200},
			{[]string{"Host: inner", "Origin: https://h:8443", `Forwarded: host="h:8443";proto=https`}, 403, 200},
			{[]string{"Host: h", "Origin: https://evil"}, 403, 403},
		} {
			want := c.unknown
			if trusted {
				want = c.wanted
			}
			for name, n := range map[string]*edgetest.Node{"its edge": a, "the other edge": b} {
				if got := s.ask(n, http.MethodPost, sid, "3", c.header...); got.status != want {
					t.Errorf("trusted %t, %s: %v is answered with %d %s, want %d", trusted, name, c.header, got.status, got.body,
						want)
				}
			}
		}
	}
}

// A subprotocol is also chosen through another edge.
func TestSubprotocolsThroughAnotherEdge(t *testing.T) {
	s := begin(t, 2)
	sid := s.open(s.nodes[0])
	for _, c := range []struct {
		offered string
		status  int
		want    string
	}{{"a,a", 400, ""}, {"my-app, other", 101, "my-app"}} {
		url := fmt.Sprintf("ws%s/socket.io/?EIO=4&transport=websocket&sid=%s", strings.TrimPrefix(s.nodes[1].URL, "http"),
			sid)
		ws, answer, err := websocket.DefaultDialer.Dial(url, http.Header{"Sec-WebSocket-Protocol": {c.offered}})
		if answer == nil {
			t.Fatal(err)
		}
		if got := answer.Header.Get("Sec-WebSocket-Protocol"); answer.StatusCode != c.status || got != c.want {
			t.Errorf("%q: %d with %q, want %d with %q", c.offered, answer.StatusCode, got, c.status, c.want)
		}
		if err == nil {
			_ = ws.Close()
		}
	}
}
