package engine

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// FuzzRequests is a client that polls, posts, upgrades and goes away in any order, and at any time, while the server
// sends, stops reading and closes. The server must not panic and must leave no goroutine (the bubble of synctest
// checks that). Its statuses must be those of Engine.IO. Each session must end once. Numbered messages must arrive in
// order and at most once, in both directions; and all of them, if the session lives and the client did not give up a
// request.
//
// The input is a program: each line is a step. Its first byte chooses what happens, the rest is the argument.
func FuzzRequests(f *testing.F) {
	for _, seed := range []string{
		"n\ng\ns1\ng\np2\nx", "n\ns3\ng\np1\ng\ns1\nu\ng\n5\nw3\ns3\nc", "n\ng\ng", "n\np1\nS\np1\np2\nt50\nR\np1", "n\ng\nS\nt200\nR\nt30\ng",
		"N\nw3\ns3\nf\x81\x80\x00\x00\x00\x00\nw1", "n\nu\nt110\n5", "n\nu\nW2probe\nW5\nw1", "n\nS\np3\nu\n5\nw2\nR\nw1", "n\nP20\nu\n5\nw1\nt30\ns2",
		"n\ns2\nd\ng\ng\ng", "n\ng\nd\ns1\ng", "n\nr4close\ng", "N\nW4close\ns1", "n\nr4stop\x1e4after\np1\nR\ng", "n\nr1\ng\ng", "n\nr\ng\nr\xff", "n\no4x",
		"n\nmPUT\nmOPTIONS\nmHEAD\nmDELETE", "n\ng\na\ng", "n\nn\nn\nn\nn", "n\nr" + strings.Repeat("4", 3000), "n\nu\nu\n5\nc\nu", "n\ng\nt25\nt20\ng",
		"hGET /?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\n\r\nGET", "hPOST /?EIO=4&transport=polling&sid=x HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n4",
		"n\ns3\ng", "n\ng\ns1\ng\ns5\nu\n5\ns3", "n\ni3\np2\nR\np1", "n\ni5\nu\n5\nw2\nR\nw2", "n\ng\nu\ns1\n5\ns1\nd",
		"n\nu\nd\n5\ng", "N\nd\nw1\nt31",
		"n\nS\nS\nr4a\x1e4b\nu\n5\nd\nR\nR\nc", "n\ng\nu\nt1\ng\nt1\ng\n5\ng\ns1", "N\nS\nw5\nt60\nR\nw1\ns1", "n\nP1\nP2\nt3", "n\nP5\nx\nt9\ng",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, program []byte) {
		lines := bytes.Split(program, []byte("\n"))
		if len(lines) > 24 || len(program) > 4000 {
			return
		}
		var s *stage
		playAlone(t, narrowSettings, func(t *testing.T, begun *stage) {
			s = begun
			c := &caller{stage: s, t: t, over: make(chan struct{})}
			for _, line := range lines {
				if len(line) > 0 {
					c.do(line[0], string(line[1:]))
					synctest.Wait()
				}
			}
			c.finish()
			close(c.over)
		})
		for _, r := range s.sessions {
			if len(r.ends) != 1 {
				t.Errorf("a session ended %d times: %v", len(r.ends), r.ends)
			}
		}
	})
}

// narrowSettings makes a server with low limits, whose receivers close or stop the session on request.
func narrowSettings(set *Settings) {
	set.MaxPayload, set.MaxSessions, set.QueueBytes = 2000, 4, 20_000
	record := set.Handler
	set.Handler = func(s *Session, o *Opening) Receiver {
		r := record(s, o).(*recorder)
		r.onData = func(data []byte, _ bool) {
			switch string(data) {
			case "close":
				s.Close(ForcedServerClose)
			case "stop":
				s.StopReading()
			}
		}
		return r
	}
}

// mark begins the messages that are counted.
const mark = "#"

// caller is the client of one run. Its steps run on the test's goroutine, its requests on goroutines of their own.
type caller struct {
	*stage
	t    *testing.T
	over chan struct{} // closed at the end
	*visit
}

// visit is a session as its client sees it.
type visit struct {
	session *Session // nil before its handshake
	ws      *stream  // the newest, or nil
	cancel  context.CancelFunc
	gaveUp  bool // a request was given up, or a WebSocket closed: what was under way may be lost
	sent    int  // counted messages of the client
	queued  int  // counted messages of the server that were queued

	mu       sync.Mutex
	acked    []int // guarded by mu: numbers in POSTs that were answered with 200
	polled   []int // guarded by mu: numbers in polls
	streamed []int // guarded by mu: numbers in WebSockets
}

// do makes one step of the program.
func (c *caller) do(what byte, arg string) {
	if strings.Contains(arg, mark) {
		return
	}
	switch what {
	case 'n', 'N':
		c.open(what == 'N')
	case 't':
		time.Sleep(time.Duration(number(arg, 600)) * 100 * time.Millisecond)
	case 'h':
		c.raw(arg)
	default:
		if c.visit != nil {
			c.ask(what, arg)
			c.speak(what, arg)
			c.serve(what, arg)
		}
	}
}

// number reads the argument of a step.
func number(arg string, most int) int {
	n, _ := strconv.Atoi(arg)
	return max(1, min(n, most))
}

// ask makes a request of the session.
func (c *caller) ask(what byte, arg string) {
	query, v := pollingQuery+"&sid="+c.session.ID(), c.visit
	switch what {
	case 'g':
		var ctx context.Context
		ctx, v.cancel = context.WithCancel(context.Background())
		go c.poll(ctx, v, query)
	case 'a':
		if v.cancel != nil {
			v.gaveUp = true
			v.cancel()
		}
	case 'p':
		body, numbers := v.numbers(number(arg, 9))
		go c.post(v, query, strings.NewReader(body), numbers)
	case 'i': // reading stops at the first message
		body, numbers := v.numbers(number(arg, 9))
		go c.post(v, query, strings.NewReader("4stop\x1e"+body), numbers)
	case 'P': // the second half comes later
		in, out := io.Pipe()
		go func() {
			_, _ = io.WriteString(out, "4x\x1e")
			select {
			case <-time.After(time.Duration(number(arg, 60)) * time.Second):
				_, _ = io.WriteString(out, "4y")
				_ = out.Close()
			case <-c.over:
				_ = out.CloseWithError(io.ErrUnexpectedEOF)
			}
		}()
		go c.post(v, query, in, nil)
	case 'r':
		go c.post(v, query, strings.NewReader(arg), nil)
	case 'x':
		go c.post(v, query, strings.NewReader("1"), nil)
	case 'o':
		go c.exchange(context.Background(), http.MethodPost, query, strings.NewReader(arg), "application/octet-stream")
	case 'm':
		if slices.Contains([]string{"PUT", "OPTIONS", "HEAD", "DELETE"}, arg) {
			go c.exchange(context.Background(), arg, query, nil, "")
		}
	case 'u':
		if c.dial(v, "EIO=4&transport=websocket&sid="+v.session.ID()) {
			v.ws.out <- textOf("2probe")
		}
	}
}

// speak uses the newest WebSocket of the session.
func (c *caller) speak(what byte, arg string) {
	if c.ws == nil {
		return
	}
	switch what {
	case '5':
		c.ws.out <- textOf("5")
	case 'W':
		c.ws.out <- textOf(arg)
	case 'w':
		for range number(arg, 9) {
			body, _ := c.numbers(1)
			c.ws.out <- textOf(body)
		}
	case 'f':
		c.ws.out <- []byte(arg)
	case 'c':
		c.gaveUp = true
		_ = c.ws.conn.Close()
	}
}

// serve does what a receiver does with the session.
func (c *caller) serve(what byte, arg string) {
	switch what {
	case 's':
		for range number(arg, 9) {
			if c.session.Send(message(mark+strconv.Itoa(c.queued+1))) == Queued {
				c.queued++
			}
		}
	case 'S':
		c.session.StopReading()
	case 'R':
		c.session.ResumeReading()
	case 'd':
		c.session.Close(ForcedServerClose)
	}
}

// numbers returns a payload of counted messages.
func (v *visit) numbers(n int) (payload string, numbers []int) {
	var packets []string
	for range n {
		v.sent++
		packets, numbers = append(packets, "4"+mark+strconv.Itoa(v.sent)), append(numbers, v.sent)
	}
	return strings.Join(packets, "\x1e"), numbers
}

// open begins a session, which is the one that all further steps are about.
func (c *caller) open(overWebSocket bool) {
	v, before := &visit{}, len(c.sessions)
	if overWebSocket {
		c.dial(v, "EIO=4&transport=websocket")
	} else {
		c.exchange(context.Background(), http.MethodGet, pollingQuery, nil, "")
	}
	if len(c.sessions) > before {
		v.session = c.last().session
		c.visit = v
	}
}

// finish lets the session deliver all it has, if it is still open, and compares what was sent with what arrived.
func (c *caller) finish() {
	v := c.visit
	if v == nil {
		return
	}
	for v.session.gate.Load() != nil {
		v.session.ResumeReading()
		synctest.Wait()
	}
	if v.session.currentTransport().kind() == kindPolling && v.session.Waiting() > 0 {
		go c.poll(context.Background(), v, pollingQuery+"&sid="+v.session.ID())
		synctest.Wait()
	}
	up := v.arrived()
	v.mu.Lock()
	defer v.mu.Unlock()
	increasing(c.t, "of the client", up)
	increasing(c.t, "to the client", append(v.polled, v.streamed...)) // a WebSocket comes after the last poll
	if v.gaveUp || v.session.currentState() != open {
		return
	}
	for _, n := range v.acked {
		if !slices.Contains(up, n) {
			c.t.Errorf("message %d was acknowledged and did not arrive: %v", n, up)
		}
	}
	if down := len(v.polled) + len(v.streamed); down != v.queued {
		c.t.Errorf("the server queued %d messages, %v arrived in polls and %v over WebSocket", v.queued, v.polled, v.streamed)
	}
}

// arrived returns the numbers that the receiver got.
func (v *visit) arrived() (numbers []int) {
	r := v.session.receiver.(*recorder)
	for _, got := range r.messages() {
		if text, ok := strings.CutPrefix(got, mark); ok {
			n, _ := strconv.Atoi(text)
			numbers = append(numbers, n)
		}
	}
	return numbers
}

// increasing expects no number twice, and none after a larger one.
func increasing(t *testing.T, what string, numbers []int) {
	for i := 1; i < len(numbers); i++ {
		if numbers[i] <= numbers[i-1] {
			t.Errorf("the messages %s came as %v", what, numbers)
			return
		}
	}
}
