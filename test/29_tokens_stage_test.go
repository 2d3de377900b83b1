package test

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"partyline/engine/enginetest"
	"partyline/internal/edgetest"
)

// talker is a client whose packets are given, and received, as those of JSON clients without the digit of Engine.IO:
// `2/chat,["x"]`. So one test plays all transports and parsers.
type talker interface {
	say(packet string)
	hear() (packet string, open bool) // open is false once the server has ended the transport
	drop()                            // ends the transport, and no namespace before
}

// way is a transport and a parser.
type way struct {
	name string
	open func(s *stage, query string, header http.Header) talker
}

// ways are all transports with all parsers.
var ways = []way{
	{"JSON over WebSocket", func(s *stage, query string, header http.Header) talker {
		return &framed{s.t, enginetest.Dial(s.t, s.Talk, "a", s.URL+"?"+query, header), false}
	}},
	{"msgpack over WebSocket", func(s *stage, query string, header http.Header) talker {
		return &framed{s.t, enginetest.Dial(s.t, s.Talk, "a", s.URL+"?"+query, header), true}
	}},
	{"JSON over polling", func(s *stage, query string, header http.Header) talker { return polling(s, query, header, false) }},
	{"msgpack over polling", func(s *stage, query string, header http.Header) talker { return polling(s, query, header, true) }},
}

// everyWay plays a test over all transports and parsers, on one stage.
func everyWay(s *stage, play func(s *stage, w way)) {
	for _, w := range ways {
		s.t.Run(w.name, func(t *testing.T) { play(&stage{s.Stage, t}, w) })
	}
}

// framed is a client over WebSocket.
type framed struct {
	t *testing.T
	*enginetest.Client
	msgpack bool
}

func (f *framed) say(packet string) {
	if f.msgpack {
		f.SendBinary(packed(f.t, packet))
	} else {
		f.Send("4" + packet)
	}
}

func (f *framed) hear() (string, bool) {
	f.t.Helper()
	frame, open := f.Await()
	return decoded(f.t, frame, f.msgpack), open
}

func (f *framed) drop() { f.Hangup() }

// decoded returns the packet in a message: `4…` of JSON clients, and b with bytes of the others.
func decoded(t *testing.T, message string, msgpack bool) string {
	t.Helper()
	packet, binary := strings.CutPrefix(message, "b")
	if binary && msgpack {
		return unpacked(t, packet)
	}
	return strings.TrimPrefix(message, "4")
}

// polled is a client over HTTP long-polling.
type polled struct {
	t       *testing.T
	http    *http.Client
	url     string
	header  http.Header
	msgpack bool
	waiting []string // packets that the last poll brought, and hear has not returned
}

func polling(s *stage, query string, header http.Header, msgpack bool) *polled {
	s.t.Helper()
	transport := &http.Transport{DisableCompression: true}
	s.t.Cleanup(transport.CloseIdleConnections)
	p := &polled{t: s.t, http: &http.Client{Transport: transport, Timeout: edgetest.Patience}, header: header, msgpack: msgpack,
		url: s.URL + "/socket.io/?EIO=4&transport=polling&" + query}
	status, body := p.request(http.MethodGet, "")
	var open struct{ SID string }
	if status != http.StatusOK || json.Unmarshal([]byte(strings.TrimPrefix(body, "0")), &open) != nil {
		s.t.Fatalf("the handshake was answered %d %q", status, body)
	}
	p.url += "&sid=" + open.SID
	return p
}

func (p *polled) request(method, body string) (int, string) {
	p.t.Helper()
	request, err := http.NewRequest(method, p.url, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	request.Header = p.header.Clone()
	response, err := p.http.Do(request)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

func (p *polled) say(packet string) {
	p.t.Helper()
	if p.msgpack {
		packet = "b" + base64.StdEncoding.EncodeToString(packed(p.t, packet))
	} else {
		packet = "4" + packet
	}
	p.request(http.MethodPost, packet) // what comes of it shows in the next poll
}

func (p *polled) hear() (string, bool) {
	p.t.Helper()
	for {
		for len(p.waiting) == 0 {
			status, body := p.request(http.MethodGet, "")
			if status != http.StatusOK {
				return "", false
			}
			p.waiting = strings.Split(body, "\x1e")
		}
		message := p.waiting[0]
		p.waiting = p.waiting[1:]
		switch {
		case message == "2":
			p.request(http.MethodPost, "3")
		case message == "1":
			return "", false
		case message == "6":
		case strings.HasPrefix(message, "b"):
			data, err := base64.StdEncoding.DecodeString(message[1:])
			if err != nil {
				p.t.Fatalf("a poll brought %q", message)
			}
			return decoded(p.t, "b"+string(data), p.msgpack), true
		default:
			return decoded(p.t, message, p.msgpack), true
		}
	}
}

func (p *polled) drop() { p.request(http.MethodPost, "1") }

// guest is a talker in one namespace.
type guest struct {
	talker
	t    *testing.T
	head string // "/chat,"
	id   string
	acks int
}

// gets expects a packet.
func (g *guest) gets(want string) {
	g.t.Helper()
	if got, open := g.hear(); got != want || !open {
		g.t.Fatalf("got %q (open: %v), want %q", got, open, want)
	}
}

// ends expects that the server ends the transport, and nothing before.
func (g *guest) ends() {
	g.t.Helper()
	if got, open := g.hear(); open && got != "1" {
		g.t.Fatalf("got %q instead of the end of the transport", got)
	}
}

// emit sends an event with an ack, and returns the ack's arguments.
func (g *guest) emit(event string) string {
	g.t.Helper()
	g.acks++
	id := string(rune('0' + g.acks%10))
	g.say("2" + g.head + id + event)
	got, _ := g.hear()
	ack, ok := strings.CutPrefix(got, "3"+g.head+id)
	if !ok {
		g.t.Fatalf("got %q instead of the ack to %s", got, event)
	}
	return ack
}

// does expects an ack without an error; refused expects the error.
func (g *guest) does(event string) {
	g.t.Helper()
	if ack := g.emit(event); ack != `[{"ok":true}]` {
		g.t.Fatalf("%s was answered %s", event, ack)
	}
}

func (g *guest) refused(event, what string) {
	g.t.Helper()
	if ack := g.emit(event); ack != `[{"error":"not allowed: `+what+`"}]` {
		g.t.Fatalf("%s was answered %s, want that %s is not allowed", event, ack, what)
	}
}

// present opens a session in some way, and connects it to a namespace with a token in auth. answer is the first packet
// of the namespace.
func (s *stage) present(w way, namespace, token string) (g *guest, answer string) {
	s.t.Helper()
	g = &guest{talker: w.open(s, "", nil), t: s.t, head: namespace + ","}
	g.connect(token)
	answer, _ = g.hear()
	return g, answer
}

// connect sends a CONNECT with a token.
func (g *guest) connect(token string) {
	g.t.Helper()
	auth, _ := json.Marshal(map[string]string{"token": token})
	g.say("0" + g.head + string(auth))
}

// admit is present with a token that is good.
func (s *stage) admit(w way, namespace, token string) *guest {
	s.t.Helper()
	g, answer := s.present(w, namespace, token)
	g.connected(answer)
	return g
}

// events hears what clients emit in a namespace, without the notices of sockets.
type events struct{ *ear }

func (s *stage) events(token string) events {
	s.t.Helper()
	return events{s.hear("sio." + token + ".on.>")}
}

func (e events) next() *nats.Msg {
	e.T.Helper()
	for {
		if m := e.Next(); !strings.HasSuffix(m.Subject, ".on.connect") && !strings.HasSuffix(m.Subject, ".on.disconnect") {
			return m
		}
	}
}

// connected reads a CONNECT.
func (g *guest) connected(answer string) {
	g.t.Helper()
	var connect struct{ SID string }
	body, ok := strings.CutPrefix(answer, "0"+g.head)
	if !ok || json.Unmarshal([]byte(body), &connect) != nil || connect.SID == "" {
		g.t.Fatalf("%q came instead of a CONNECT", answer)
	}
	g.id = connect.SID
}
