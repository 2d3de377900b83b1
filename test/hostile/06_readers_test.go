package hostile

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/engine"
	"partyline/internal/edgetest"
)

// narrow makes an edge with small queues and small kernel buffers. To fill megabytes with short answers takes long on
// a busy machine.
func narrow(o *edgetest.Options) { o.QueueBytes, o.SendBuffer = 200_000, 16<<10 }

// emit publishes events of 10 kB to a subject, with some headers.
func (s *stage) emit(subject string, events int, headers ...string) {
	s.t.Helper()
	m := &nats.Msg{Subject: subject, Data: []byte(`["news","` + strings.Repeat("x", 10_000) + `"]`), Header: nats.Header{}}
	for _, h := range headers {
		m.Header.Set(h, "true")
	}
	for range events {
		s.Send(m)
	}
	s.Flush()
}

// A client that never reads loses its session when its queue is full. Its connection is cut at most half a minute
// later: see TestAClosedSessionWhoseClientDoesNotReadGoes of package engine.
func TestAClientThatNeverReads(t *testing.T) {
	s := begin(t, narrow)
	r := s.enterRaw()
	r.narrow()
	r.write(textFrame(`42/chat,1["join","hall"]`)) // the pair is there
	notices, said := s.Hear(subject+"disconnect"), len(s.Logged())
	s.emit("sio.chat.emit.socket."+r.id, 3000) // 30 MB: more than the kernel buffers
	if m := notices.Next(); string(m.Data) != `["disconnect",{"reason":"queue overflow","rooms":["hall"]}]` {
		t.Errorf("the notice is %s", m.Data)
	}
	s.said("a client that never reads", said, `reason="queue overflow"`, "address=127.0.0.1")
	if got := s.ended("queue overflow"); got != 1 {
		t.Errorf("%d sessions ended with an overflow, want 1", got)
	}
	r.hangup()
}

// Volatile events are dropped first. No number of them ends a session that does not read. The first ordinary events
// do.
func TestAClientThatNeverReadsVolatileEvents(t *testing.T) {
	s := begin(t, narrow)
	r := s.enterRaw()
	r.narrow()
	notices := s.Hear(subject + "disconnect")
	const events = 3000 // 30 MB: more than the kernel buffers
	s.emit("sio.chat.emit.socket."+r.id, events, "Sio-Volatile")
	witness := s.enter("witness")
	s.alive("everything has arrived", witness)
	witness.Hangup()
	notices.Next() // the witness's
	if got := s.ended("queue overflow"); got != 0 {
		t.Fatalf("%d sessions ended because of volatile events", got)
	}
	if got := s.Figure("volatile_dropped_total", ""); got < events/2 {
		t.Errorf("%d of %d volatile events were dropped", got, events)
	}
	said := len(s.Logged())
	s.emit("sio.chat.emit.socket."+r.id, 100) // 1 MB
	if m := notices.Next(); !strings.Contains(string(m.Data), `"reason":"queue overflow"`) {
		t.Errorf("the notice is %s", m.Data)
	}
	s.said("a client that never reads", said, `reason="queue overflow"`)
	r.hangup()
}

// The same for a client that causes the messages to itself.
func TestAClientThatAsksAndNeverReads(t *testing.T) {
	for name, packet := range map[string]string{
		"joins":    `42/chat,1["join"]`,
		"connects": "40/none,",
	} {
		t.Run(name, func(t *testing.T) {
			s := begin(t, narrow)
			r := s.enterRaw()
			r.narrow()
			said := len(s.Logged())
			go func() { // until the connection is cut
				buf := textFrame("3")
				for range 1000 {
					buf = append(buf, textFrame(packet)...)
				}
				for err := error(nil); err == nil; {
					_, err = r.conn.Write(buf)
				}
			}()
			s.said(name, said, `reason="queue overflow"`)
			edgetest.Eventually(s.t, "it is gone", func() bool { return s.Engine.Sessions() == 2 })
			r.hangup()
		})
	}
}

// A client that sends WebSocket pings and reads no answer is a slow reader, even before it joins a namespace. An
// answer counts with its cost in memory, which is much more than its bytes.
func TestPingsWithoutAReader(t *testing.T) {
	for _, c := range []struct {
		name, payload string
		joins         bool
	}{
		{"empty", "", true}, {"full", strings.Repeat("x", 125), true}, {"empty, in no namespace", "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := begin(t, narrow)
			r := dialNarrow(s.t, s.URL) // one that is made narrow later may lose segments, and then write no more
			if c.joins {
				r.write(textFrame("40/chat,"))
				for !strings.HasPrefix(r.next(), "40/chat,{") {
				}
			}
			before, said := heap(), len(s.Logged())
			var buf []byte
			for range 1000 {
				buf = frame(buf, true, opPing, c.payload)
			}
			go func() { // until the connection is cut
				for err := error(nil); err == nil; {
					_, err = r.conn.Write(buf)
				}
			}()
			s.said(c.name, said, `reason="queue overflow"`, "address=127.0.0.1")
			if grown := heap() - before; grown > 8<<20 {
				t.Errorf("the edge holds %d bytes more", grown)
			}
			if got := s.ended("queue overflow"); got != 1 {
				t.Errorf("%d sessions ended with an overflow, want 1", got)
			}
			r.hangup()
		})
	}
}

// openRaw opens a session, in /chat or in no namespace.
func (s *stage) openRaw(joins bool) *raw {
	s.t.Helper()
	if joins {
		return s.enterRaw()
	}
	return dialRaw(s.t, s.URL)
}

// A poll whose answer is not read times out.
func TestAPollThatIsNotRead(t *testing.T) {
	t.Parallel()
	s := begin(t, func(o *edgetest.Options) {
		impatient(o)
		o.Engine.PingInterval, o.QueueBytes = 3*time.Second, 64<<20
	})
	client := &http.Client{Transport: &http.Transport{}, Timeout: edgetest.Patience}
	defer client.CloseIdleConnections()
	poll := s.URL + "/socket.io/?EIO=4&transport=polling"
	sid, _, _ := strings.Cut(strings.TrimPrefix(get(t, client, poll, http.StatusOK), `0{"sid":"`), `"`)
	poll += "&sid=" + sid
	response, err := client.Post(poll, "text/plain", strings.NewReader("40/chat,"))
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	id, _, _ := strings.Cut(strings.TrimPrefix(get(t, client, poll, http.StatusOK), `40/chat,{"sid":"`), `"`)
	s.emit("sio.chat.emit.socket."+id, 1000) // 10 MB: more than the kernel buffers
	witness := s.enter("witness")
	s.alive("everything has arrived", witness)
	witness.Hangup()

	conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.(*net.TCPConn).SetReadBuffer(4 << 10)
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: edge\r\n\r\n", strings.TrimPrefix(poll, s.URL))
	edgetest.Eventually(s.t, "the session has ended", func() bool { return s.ended("ping timeout") == 1 })
	edgetest.Eventually(s.t, "the poll is given up", func() bool { return !running("servePoll") })
}

// running reports whether a goroutine runs a function.
func running(function string) bool {
	stacks := make([]byte, 16<<20)
	return bytes.Contains(stacks[:runtime.Stack(stacks, true)], []byte(function))
}

// A message may arrive in any number of fragments.
func TestTinyFragments(t *testing.T) {
	s := begin(t)
	r := s.enterRaw()
	events, said := s.Hear(subject+"tiny"), len(s.Logged())
	body := `["tiny","` + strings.Repeat("안녕", 3000) + `"]`
	packet := "42/chat," + body
	fragments := func(between string) {
		t.Helper()
		var buf []byte
		for i := range len(packet) {
			opcode := byte(opMore)
			if i == 0 {
				opcode = opText
			}
			buf = frame(buf, i == len(packet)-1, opcode, packet[i:i+1])
			if i < len(packet)-1 {
				buf = append(buf, between...)
			}
		}
		r.write(buf)
		if m := events.Next(); string(m.Data) != body {
			t.Errorf("%d bytes came, want %d", len(m.Data), len(body))
		}
	}
	fragments("")
	fragments(string(frame(nil, false, opMore, "")))  // an empty one between any two
	for _, b := range textFrame(`42/chat,["tiny"]`) { // one byte per segment
		r.write([]byte{b})
	}
	if m := events.Next(); string(m.Data) != `["tiny"]` {
		t.Errorf("%q came", m.Data)
	}
	s.quiet("tiny fragments", said)
	r.hangup()
}

// A message that never ends, in empty fragments, is cut.
func TestAMessageThatNeverEnds(t *testing.T) {
	s := begin(t, impatient)
	r := s.enterRaw()
	r.drain()
	before, said := heap(), len(s.Logged())
	go func() {
		var buf []byte
		for range 1000 {
			buf = frame(buf, false, opMore, "")
		}
		_, err := r.conn.Write(frame(nil, false, opText, "42"))
		for err == nil {
			_, err = r.conn.Write(buf)
		}
	}()
	edgetest.Eventually(s.t, "it is cut", func() bool { return s.ended("transport error") == 1 })
	s.said("empty fragments", said, "too many fragments without content", "address=127.0.0.1")
	if grown := heap() - before; grown > 8<<20 {
		t.Errorf("the edge holds %d bytes more", grown)
	}
	r.hangup()
}

// What violates the framing, or exceeds the limit, ends the session and is logged.
func TestBadFrames(t *testing.T) {
	s := begin(t, func(o *edgetest.Options) {
		o.Engine = engine.DefaultConfig()
		o.Engine.MaxPayload = 10_000
	})
	notices := s.Hear(subject + "disconnect")
	plain := textFrame("3")
	unmasked := []byte{0x81, 1, '3'}
	half := frame(nil, false, opText, strings.Repeat("x", 6_000))
	for name, c := range map[string]struct {
		bytes []byte
		says  string
	}{
		"no mask":                     {unmasked, "bad MASK"},
		"a reserved bit":              {append([]byte{plain[0] | 0x40}, plain[1:]...), "RSV"},
		"an unknown opcode":           {frame(nil, true, 0x3, "x"), "opcode"},
		"an unknown control frame":    {frame(nil, true, 0xB, "x"), "opcode"},
		"a long control frame":        {frame(nil, true, opPing, strings.Repeat("x", 126)), "control"},
		"a control frame in pieces":   {frame(nil, false, opPing, "x"), "control"},
		"a continuation of nothing":   {frame(nil, true, opMore, "x"), "continuation"},
		"two beginnings":              {append(half[:len(half):len(half)], half...), "data before FIN"},
		"past the limit":              {frame(nil, true, opText, strings.Repeat("x", 10_001)), "read limit"},
		"past the limit in fragments": {append(half[:len(half):len(half)], frame(nil, true, opMore, strings.Repeat("x", 6_000))...), "read limit"},
		"an immense length":           {[]byte{0x81, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0}, "read limit"},
		"a negative length":           {[]byte{0x81, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0}, "read limit"},
		"a close frame of bad text":   {frame(nil, true, 0x8, "\x03\xe8\xff"), "close"},
	} {
		said := len(s.Logged())
		r := s.enterRaw()
		r.write(c.bytes)
		if m := notices.Next(); string(m.Data) != `["disconnect",{"reason":"transport error","rooms":[]}]` {
			t.Errorf("%s: the notice is %s", name, m.Data)
		}
		s.said(name, said, c.says)
		_ = r.conn.SetReadDeadline(time.Now().Add(edgetest.Patience))
		if first, err := r.in.ReadByte(); err != io.EOF && first != 0x88 {
			t.Errorf("%s: got %#x, %v, want a close frame or the end", name, first, err)
		}
		r.hangup()
	}
}
