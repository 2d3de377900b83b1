package engine

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"partyline/wire/eio"
)

// FuzzFrames sends arbitrary bytes as the WebSocket frames of a client, in arbitrary pieces, some of them with the
// request. The messages must arrive in order, each once, up to the first fault, as a second and simpler reader of the
// same bytes finds them. The session must end, once, and leave no goroutine, and its queue must stay within its limit.
//
// The first byte of the input chooses how the bytes are sent (see cuts), the rest are the bytes.
func FuzzFrames(f *testing.F) {
	for how := range byte(32) {
		f.Add(frames(how, "\x81", "4hello", "\x82", "\x04\x00binary", "\x01", "4in ", "\x00", "three ", "\x80", "parts", "\x88", "\x03\xe8bye"))
	}
	for how, seed := range [][]string{
		{"\x89", "ping", "\x8a", "pong", "\x89", "", "\x81", "4after"}, {"\x81", "3", "\x81", "6", "\x81", "2probe", "\x81", "4never"},
		{"\x01", "4", "\x89", "between", "\x80", "안녕", "\x81", "4"}, {"\x01", "4\xec\x95", "\x80", "\x88", "\x81", "4\xff"},
		{"\x80", "continues nothing"}, {"\x01", "4a", "\x81", "4b"}, {"\x09", "ping in parts"}, {"\xc1", "4reserved"}, {"\x83", "unknown"}, {"\x88", "\x03"},
		{"\x81", strings.Repeat("4", 126)}, {"\x81", "4" + strings.Repeat("x", fuzzedPayload-1)}, {"\x81", strings.Repeat("4", fuzzedPayload+1)},
		{"\x81", "bgqR0"}, {"\x81", "b!"}, {"\x81", ""}, {"\x81", "9"}, {"\x82", ""}, {"\x81", "1", "\x81", "4x"}, {"\x89", strings.Repeat("p", 126)},
	} {
		f.Add(frames(byte(how), seed...))
	}
	f.Add([]byte("\x00\x81\x01unmasked"))
	f.Add([]byte("\x01\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00"))
	f.Add([]byte("\x02\x81\xfe\x00\x02\x00\x00\x00\x0042"))
	f.Add(append([]byte("\x03"), bytes.Repeat([]byte("\x89\x80\x00\x00\x00\x00"), 500)...))
	f.Add(append([]byte("\x05\x01\x81\x00\x00\x00\x004"), bytes.Repeat([]byte("\x00\x80\x00\x00\x00\x00"), 500)...))

	stage := newFramesStage(f)
	f.Fuzz(func(t *testing.T, input []byte) {
		if len(input) == 0 || len(input) > 64<<10 {
			return
		}
		stage.play(t, input[0], input[1:])
	})
}

// fuzzedPayload is the largest message, in bytes.
const fuzzedPayload = 1024

// frames returns an input of FuzzFrames: pairs of a first byte and a payload of at most 65,535 bytes, each as a frame
// with a mask.
func frames(how byte, pairs ...string) []byte {
	input := []byte{how}
	for i := 0; i < len(pairs); i += 2 {
		payload := pairs[i+1]
		input = append(input, pairs[i]...)
		if len(payload) < 126 {
			input = append(input, 0x80|byte(len(payload)))
		} else {
			input = binary.BigEndian.AppendUint16(append(input, 0x80|126), uint16(len(payload)))
		}
		mask := [4]byte{1, 2, 3, byte(i)}
		input = append(input, mask[:]...)
		for j := range len(payload) {
			input = append(input, payload[j]^mask[j%4])
		}
	}
	return input
}

// framesStage is a server that all inputs of a process share.
type framesStage struct {
	server   *Server
	conns    chan net.Conn
	accepted chan *recorder
}

func newFramesStage(f *testing.F) *framesStage {
	s := &framesStage{conns: make(chan net.Conn), accepted: make(chan *recorder, 1)}
	set := Settings{Config: DefaultConfig(), EdgeID: "edgeedge", Log: slog.New(slog.DiscardHandler), QueueBytes: 64 << 10}
	set.MaxPayload = fuzzedPayload
	set.Handler = func(session *Session, _ *Opening) Receiver {
		r := &recorder{session: session}
		s.accepted <- r
		return r
	}
	s.server = NewServer(set)
	listener := &pipeListener{conns: s.conns, closed: make(chan struct{})}
	site := &http.Server{Handler: s.server}
	done := make(chan struct{})
	go func() { _ = site.Serve(listener); close(done) }()
	f.Cleanup(func() {
		s.server.Leave()
		s.server.Abort()
		_ = site.Close()
		<-done
	})
	return s
}

// cuts says how bytes are sent.
type cuts struct {
	pipe  bool // over a connection without a descriptor
	early bool // the first piece comes with the request
	deaf  bool // the client does not read
	size  int  // of the largest piece
}

func cutsOf(how byte) cuts {
	return cuts{how&1 != 0, how&2 != 0, how&4 != 0, []int{1, 3, 11, 200, 5000, 64 << 10}[how>>3%6]}
}

// connect returns both ends of a connection.
func (c cuts) connect(t *testing.T) (client, server net.Conn) {
	t.Helper()
	if c.pipe {
		client, server = net.Pipe()
		return client, closedPipe{server}
	}
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]net.Conn
	for i, fd := range pair {
		file := os.NewFile(uintptr(fd), "")
		if ends[i], err = net.FileConn(file); err != nil {
			t.Fatal(err)
		}
		_ = file.Close()
	}
	return ends[0], ends[1]
}

// closedPipe is an end of a pipe that says that it is closed as a network connection does.
type closedPipe struct{ net.Conn }

func (p closedPipe) Read(b []byte) (int, error) {
	n, err := p.Conn.Read(b)
	if errors.Is(err, io.ErrClosedPipe) {
		err = net.ErrClosed
	}
	return n, err
}

// pieces cuts bytes.
func (c cuts) pieces(data []byte) (all [][]byte) {
	random := rand.New(rand.NewPCG(uint64(len(data)), uint64(c.size)))
	for len(data) > 0 {
		n := min(len(data), 1+random.IntN(c.size))
		all, data = append(all, data[:n]), data[n:]
	}
	return all
}

func (s *framesStage) play(t *testing.T, how byte, data []byte) {
	c := cutsOf(how)
	client, server := c.connect(t)
	defer func() { _ = client.Close() }()
	s.conns <- server
	_ = client.SetDeadline(time.Now().Add(time.Minute))
	heard := make(chan struct{})
	if c.deaf {
		close(heard)
	} else {
		go func() { _, _ = io.Copy(io.Discard, client); close(heard) }()
	}
	pieces := c.pieces(data)
	first := upgradeRequest
	if c.early && len(pieces) > 0 {
		first, pieces = first+string(pieces[0]), pieces[1:]
	}
	go func() {
		_, err := io.WriteString(client, first)
		for _, piece := range pieces {
			if err == nil {
				_, err = client.Write(piece)
			}
		}
		if half, ok := client.(*net.UnixConn); ok && !c.deaf { // or what is on its way would be lost
			_ = half.CloseWrite()
			return
		}
		_ = client.Close()
	}()
	r := <-s.accepted
	s.ended(t, r)
	<-heard
	s.check(t, r, data, c)
}

// ended waits until a session has ended and has left nothing behind.
func (s *framesStage) ended(t *testing.T, r *recorder) {
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Microsecond) {
		if n := r.session.Waiting(); n > s.server.set().QueueBytes+2*eio.FrameCost {
			t.Fatalf("%d bytes wait for the client", n)
		}
		r.mu.Lock()
		ends := len(r.ends)
		r.mu.Unlock()
		s.server.mu.Lock()
		left := len(s.server.conns) + len(s.server.sessions)
		s.server.mu.Unlock()
		if ends > 0 && left == 0 {
			return
		}
		if time.Now().After(end) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("the session has ended %d times, and %d sessions and connections are left\n%s",
				ends, left, stacks[:runtime.Stack(stacks, true)])
		}
	}
}

// check compares what arrived with what a plain reader finds in the bytes.
func (s *framesStage) check(t *testing.T, r *recorder, data []byte, c cuts) {
	want, end := plainly(data)
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.ends) != 1 {
		t.Fatalf("the session ended %d times: %v", len(r.ends), r.ends)
	}
	if len(r.got) > len(want) || !slices.Equal(r.got, want[:len(r.got)]) {
		t.Fatalf("arrived: %q, want %q", r.got, want)
	}
	got := r.ends[0]
	switch {
	case c.deaf, got == QueueOverflow && bytes.Count(data, []byte("\x89")) > 100:
		return
	case got == TransportError && bytes.Count(data, []byte("\x00\x80")) > 16: // cut: empty parts without end
		return
	}
	if got != end || len(r.got) != len(want) {
		t.Fatalf("the session ended with %q after %q, want %q after %q", got, r.got, end, want)
	}
}

// plainly reads frames (RFC 6455, section 5) and the Engine.IO packets in them. It returns the messages, as recorder
// has them, up to the end of the session, and the reason of that.
func plainly(data []byte) (messages []string, end Reason) {
	var message []byte
	var kind byte // opcode of the message that has begun; 0 for none
	for {
		f, rest, ok, valid := plainFrame(data, kind != 0, len(message))
		switch {
		case !valid:
			return messages, TransportError
		case !ok:
			return messages, TransportClose
		case f.opcode == 8 && !validClose(f.payload):
			return messages, TransportError
		case f.opcode == 8:
			return messages, TransportClose
		}
		if data = rest; f.opcode > 8 {
			continue
		}
		if f.opcode != 0 {
			kind, message = f.opcode, nil
		}
		if message = append(message, f.payload...); !f.final {
			continue
		}
		p, err := eio.Packet{Type: eio.Message, Binary: true, Data: message}, error(nil)
		if kind == 1 {
			if !utf8.Valid(message) {
				return messages, TransportError
			}
			p, err = eio.Parse(message)
		}
		switch kind = 0; {
		case err != nil:
			return messages, ParseError
		case p.Type == eio.Ping:
			return messages, TransportError
		case p.Type == eio.Message && p.Binary:
			messages = append(messages, "b:"+string(p.Data))
		case p.Type == eio.Message:
			messages = append(messages, string(p.Data))
		}
		message = nil
	}
}

// plain is a frame of a client.
type plain struct {
	opcode  byte
	final   bool
	payload []byte // without its mask
}

// plainFrame reads the first frame. ok is false if it is not complete. begun reports whether a message has begun, of
// which there are size bytes.
func plainFrame(data []byte, begun bool, size int) (f plain, rest []byte, ok, valid bool) {
	if len(data) < 2 {
		return f, nil, false, true
	}
	f.opcode, f.final = data[0]&0x0f, data[0]&0x80 != 0
	length, isControl := uint64(data[1]&0x7f), f.opcode >= 8
	switch {
	case data[0]&0x70 != 0, data[1]&0x80 == 0, f.opcode > 10, f.opcode > 2 && f.opcode < 8,
		isControl && (length > 125 || !f.final), !isControl && begun != (f.opcode == 0):
		return f, nil, false, false
	}
	rest = data[2:]
	if length >= 126 {
		wide := 2 + 6*int(length-126) // 126: two bytes, 127: eight
		if len(rest) < wide {
			return f, nil, false, true
		}
		length = binary.BigEndian.Uint64(append(make([]byte, 8-wide), rest[:wide]...))
		rest = rest[wide:]
	}
	switch {
	case length > math.MaxInt64:
		return f, nil, false, false
	case len(rest) < 4:
		return f, nil, false, true
	case !isControl && length > uint64(fuzzedPayload-size):
		return f, nil, false, false
	case uint64(len(rest)-4) < length:
		return f, nil, false, true
	}
	mask := rest[:4]
	for i, b := range rest[4 : 4+length] {
		f.payload = append(f.payload, b^mask[i%4])
	}
	return f, rest[4+length:], true, true
}

// validClose reports whether a client may send a close frame with that payload. gorilla/websocket accepts one byte.
func validClose(payload []byte) bool {
	if len(payload) < 2 {
		return true
	}
	code := binary.BigEndian.Uint16(payload)
	listed := code >= 1000 && code <= 1003 || code >= 1007 && code <= 1013 || code >= 3000 && code <= 4999
	return listed && utf8.Valid(payload[2:])
}
