package edge_test

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"partyline/config"
	"partyline/engine"
	"partyline/engine/enginetest"
	"partyline/internal/edgetest"
	"partyline/internal/natsd/natsdtest"
)

// FuzzSession sends arbitrary packets to an edge in any state of a session: while polling, while upgrading, over
// WebSocket, before and after CONNECT. The edge must not panic, and two clients beside it must go on talking.
//
// The input is a program. Its first byte chooses how the session begins. Each line that follows is a packet, and its
// first byte chooses the action.
func FuzzSession(f *testing.F) {
	for _, seed := range []string{
		"w\nt40\nt42[\"message\",1]\nt420[\"join\",\"room\"]", "w\nt40/chat,{\"a\":1}\nt41/chat,\nt40/chat,",
		"w\nt40\nt451-[\"x\",{\"_placeholder\":true,\"num\":0}]\nb\x01\x02", "w\nt40\nt452-[\"x\"]\nt42[\"y\"]", "w\nt2\nt3\nt5\nt6\nt1",
		"p\np40\ng\np42[\"message\"]\x1ebAAAA\np1", "p\np40\x1e40/a,\x1e41\ng\nu\nt2probe\nt5\nt42[\"message\"]", "u\nt2probe\nt2probe\nt4x",
		"w\nb\x82\xa4type\x00\xa3nsp\xa1/\nb\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x92\xa7message\xc4\x01a", "p\npbgqR0eXBlAKNuc3ChLw==\ng\np42[\"x\"]",
		"w\nt40\nt42[\"leave\",\"room\"]\nt43[]\nt44{}\nt4", "p\np\xff\ng\ng", "w\nt40\nt42[\"a.b\"]\nt42[\"\"]\nt42[\"connect\"]", "x",
		"w\nt40\nr\x81\x80\x00\x00\x00\x00\nr\x01\x81\x00\x00\x00\x004\nr\x80\x81\x00\x00\x00\x00x\nr\x88\x80", "w\nr\xff\xff\xff\nt40",
		"p\np40\x1e40\np42[\"x\"]\ng\ng\nu\nt2probe\nt5",
	} {
		f.Add([]byte(seed))
	}
	server := natsdtest.Start(f)
	n := edgetest.Start(f, edgetest.Options{
		NATS: server.ClientURL(), Namespaces: edgetest.Open(), Limits: config.Limits{RoomsPerSocket: 5, NamespacesPerSession: 3},
		Engine: engine.Config{
			PingInterval: time.Second, PingTimeout: time.Second, UpgradeTimeout: 50 * time.Millisecond, MaxPayload: 2000,
			Transports: []string{"polling", "websocket"},
		},
	}).Ready()
	silent := enginetest.NewConversation(f)
	ann := enginetest.Dial(f, silent, "ann", n.URL, nil)
	bob := enginetest.Dial(f, silent, "bob", n.URL, nil)
	ann.Connect("/beside", "")
	bob.Connect("/beside", "")
	client := &http.Client{Timeout: 50 * time.Millisecond}
	f.Fuzz(func(t *testing.T, program []byte) {
		s := &fuzzed{base: n.URL, http: client}
		defer s.close()
		lines := bytes.Split(program, []byte("\n"))
		if len(lines) > 12 {
			return
		}
		s.begin(lines[0])
		for _, line := range lines[1:] {
			if len(line) > 0 {
				s.do(line[0], line[1:])
			}
		}
		ann.Send(`42/beside,["message","still here"]`)
		if got, ok := bob.Await(); !ok || got != `42/beside,["message","still here"]` {
			t.Fatalf("the two clients no longer receive from each other: %q %v", got, ok)
		}
	})
}

// fuzzed is the session of one run. Errors are caused by the fuzzer and are ignored.
type fuzzed struct {
	base string
	http *http.Client
	sid  string
	ws   *websocket.Conn
}

func (s *fuzzed) begin(how []byte) {
	if len(how) > 0 && how[0] == 'w' {
		s.dial("")
		return
	}
	body := s.request("GET", "", nil)
	if _, rest, ok := strings.Cut(body, `"sid":"`); ok {
		s.sid, _, _ = strings.Cut(rest, `"`)
	}
	if len(how) > 0 && how[0] == 'u' {
		s.dial(s.sid)
	}
}

func (s *fuzzed) do(what byte, rest []byte) {
	switch what {
	case 'g':
		s.request("GET", s.sid, nil)
	case 'p':
		s.request("POST", s.sid, rest)
	case 'u':
		s.dial(s.sid)
	case 'r':
		if s.ws != nil {
			_, _ = s.ws.NetConn().Write(rest) // invalid frames
		}
	case 'b':
		s.send(websocket.BinaryMessage, rest)
	case 'h':
		s.close()
	default:
		s.send(websocket.TextMessage, rest)
	}
}

func (s *fuzzed) dial(sid string) {
	url := "ws" + strings.TrimPrefix(s.base, "http") + "/socket.io/?EIO=4&transport=websocket"
	if sid != "" {
		url += "&sid=" + sid
	}
	s.close()
	if ws, _, err := websocket.DefaultDialer.Dial(url, nil); err == nil {
		s.ws = ws
	}
}

func (s *fuzzed) send(kind int, data []byte) {
	if s.ws != nil {
		_ = s.ws.WriteMessage(kind, data)
	}
}

func (s *fuzzed) request(method, sid string, body []byte) string {
	url := s.base + "/socket.io/?EIO=4&transport=polling"
	if sid != "" {
		url += "&sid=" + sid
	}
	r, err := http.NewRequest(method, url, bytes.NewReader(body))
	if err != nil {
		return ""
	}
	response, err := s.http.Do(r)
	if err != nil {
		return ""
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(response.Body)
	return string(text)
}

func (s *fuzzed) close() {
	if s.ws != nil {
		_ = s.ws.Close()
		s.ws = nil
	}
}
