// Package enginetest is a bare Engine.IO client for tests. It sends and expects packets as they are on the wire, and
// prints the conversation of a failed test.
package enginetest

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// patience is how long a test waits for an expected frame.
const patience = 40 * time.Second

// Client is one WebSocket session. The test's goroutine owns it.
type Client struct {
	t    testing.TB
	name string
	ws   *websocket.Conn
	in   chan frame // closed when reading ends
	done chan struct{}
	talk *Conversation
	// writing is held while a frame is written: the reader answers pings beside the test.
	writing sync.Mutex
	deaf    atomic.Bool // discard what arrives
	Open    string      // the data of the open packet
}

type frame struct {
	text   string
	binary bool
	err    error
}

// Conversation records what clients and servers said in a test, and is printed if the test fails. It is safe for
// concurrent use.
type Conversation struct {
	mu    sync.Mutex
	lines []string
}

// NewConversation makes a conversation that is printed at the end of a failed test.
func NewConversation(t testing.TB) *Conversation {
	c := &Conversation{}
	t.Cleanup(func() {
		if t.Failed() {
			c.mu.Lock()
			defer c.mu.Unlock()
			t.Log("the conversation:\n" + strings.Join(c.lines, "\n"))
		}
	})
	return c
}

// Note adds a line.
func (c *Conversation) Note(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lines = append(c.lines, time.Now().Format("05.000 ")+fmt.Sprintf(format, args...))
}

// Dial opens a session over WebSocket; base is the server's http URL, and may have a query. The session ends with the
// test.
func Dial(t testing.TB, talk *Conversation, name, base string, header http.Header) *Client {
	t.Helper()
	base, query, _ := strings.Cut(base, "?")
	url := "ws" + strings.TrimPrefix(base, "http") + "/socket.io/?EIO=4&transport=websocket&" + query
	ws, response, err := websocket.DefaultDialer.Dial(strings.TrimSuffix(url, "&"), header)
	if err != nil {
		if response != nil {
			t.Fatalf("%s cannot connect: %v, status %d", name, err, response.StatusCode)
		}
		t.Fatalf("%s cannot connect: %v", name, err)
	}
	c := &Client{t: t, name: name, ws: ws, in: make(chan frame, 10_000), done: make(chan struct{}), talk: talk}
	go c.read()
	t.Cleanup(c.Hangup)
	c.Open = strings.TrimPrefix(c.Next(), "0")
	return c
}

func (c *Client) read() {
	defer close(c.done)
	defer close(c.in)
	for {
		kind, data, err := c.ws.ReadMessage()
		if err != nil {
			c.talk.Note("%s <- (%v)", c.name, err)
			c.in <- frame{err: err}
			return
		}
		c.talk.Note("%s <- %.200q", c.name, data)
		if kind == websocket.TextMessage && string(data) == "2" {
			c.Send("3")
			continue
		}
		if c.deaf.Load() {
			continue
		}
		c.in <- frame{text: string(data), binary: kind == websocket.BinaryMessage}
	}
}

// Send sends one text frame. A failure shows in the missing answer.
func (c *Client) Send(text string) {
	c.talk.Note("%s -> %.200q", c.name, text)
	c.write(websocket.TextMessage, []byte(text))
}

// SendBinary sends one binary frame.
func (c *Client) SendBinary(data []byte) {
	c.talk.Note("%s -> binary %.200q", c.name, data)
	c.write(websocket.BinaryMessage, data)
}

func (c *Client) write(kind int, data []byte) {
	c.writing.Lock()
	defer c.writing.Unlock()
	_ = c.ws.WriteMessage(kind, data)
}

// Await is Next for code that must not fail the test. A binary frame begins with the letter b. ok is false if nothing
// arrived or the connection ended.
func (c *Client) Await() (text string, ok bool) {
	select {
	case f, open := <-c.in:
		if f.binary {
			f.text = "b" + f.text
		}
		return f.text, open && f.err == nil
	case <-time.After(patience):
		return "", false
	}
}

// Next waits for the next frame and answers pings on the way. A binary frame begins with the letter b.
func (c *Client) Next() string {
	c.t.Helper()
	select {
	case f, ok := <-c.in:
		switch {
		case !ok || f.err != nil:
			c.t.Fatalf("%s: the connection ended (%v) where a frame was expected", c.name, f.err)
		case f.binary:
			return "b" + f.text
		}
		return f.text
	case <-time.After(patience):
		c.t.Fatalf("%s: nothing arrived within %s", c.name, patience)
	}
	return ""
}

// Expect waits for the next frame and compares it.
func (c *Client) Expect(want string) {
	c.t.Helper()
	if got := c.Next(); got != want {
		c.t.Fatalf("%s got %q, want %q", c.name, got, want)
	}
}

// ExpectEnd waits until the server has ended the connection. Frames that arrive before it are only noted.
func (c *Client) ExpectEnd() {
	c.t.Helper()
	for {
		select {
		case f, ok := <-c.in:
			if !ok || f.err != nil {
				return
			}
		case <-time.After(patience):
			c.t.Fatalf("%s: the connection did not end within %s", c.name, patience)
		}
	}
}

// Ignore makes the client discard everything that arrives from now on, except pings.
func (c *Client) Ignore() { c.deaf.Store(true) }

// Pending returns how many frames have arrived and were not read.
func (c *Client) Pending() int { return len(c.in) }

// Connect joins a namespace and returns the socket's id.
func (c *Client) Connect(namespace, auth string) string {
	c.t.Helper()
	head := ""
	if namespace != "/" {
		head = namespace + ","
	}
	c.Send("40" + head + auth)
	return c.Connected(namespace)
}

// Connected waits for the CONNECT of a namespace, and returns the socket's id.
func (c *Client) Connected(namespace string) string {
	c.t.Helper()
	head := ""
	if namespace != "/" {
		head = namespace + ","
	}
	got := c.Next()
	id, ok := strings.CutPrefix(got, "40"+head+`{"sid":"`)
	if !ok {
		c.t.Fatalf("%s got %q instead of a CONNECT for %s", c.name, got, namespace)
	}
	return strings.TrimSuffix(id, `"}`)
}

// Hangup ends the connection without a close frame and waits for its reader.
func (c *Client) Hangup() {
	_ = c.ws.Close()
	<-c.done
}

// Upgrade moves a polling session to a WebSocket at url. meanwhile runs after the probe was answered, like a client
// that waits for its polling requests.
func Upgrade(t testing.TB, talk *Conversation, name, url string, meanwhile func()) *Client {
	t.Helper()
	ws, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(url, "http"), nil)
	if err != nil {
		t.Fatalf("%s cannot upgrade: %v", name, err)
	}
	c := &Client{t: t, name: name, ws: ws, in: make(chan frame, 10_000), done: make(chan struct{}), talk: talk}
	go c.read()
	t.Cleanup(c.Hangup)
	c.Send("2probe")
	c.Expect("3probe")
	meanwhile()
	c.Send("5")
	return c
}
