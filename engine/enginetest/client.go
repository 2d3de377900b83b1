// Package enginetest is a bare Engine.IO client for tests: it sends and expects packets as they are on the wire, and
// prints the conversation of a test that fails.
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

// patience is how long a test waits for what must come.
const patience = 40 * time.Second

// Client is one WebSocket session. It belongs to the test's goroutine.
type Client struct {
	t    testing.TB
	name string
	ws   *websocket.Conn
	in   chan frame // closed when reading ends
	done chan struct{}
	talk *Conversation
	// writing is held while a frame is written: the reader answers pings beside the test.
	writing sync.Mutex
	deaf    atomic.Bool // forget what comes
	Open    string      // the data of the open packet
}

type frame struct {
	text   string
	binary bool
	err    error
}

// Conversation is what clients and servers said in a test, printed if it fails. It is safe for several goroutines.
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

// Dial opens a session over WebSocket; base is the server's http URL. The session ends with the test.
func Dial(t testing.TB, talk *Conversation, name, base string, header http.Header) *Client {
	t.Helper()
	url := "ws" + strings.TrimPrefix(base, "http") + "/socket.io/?EIO=4&transport=websocket"
	ws, response, err := websocket.DefaultDialer.Dial(url, header)
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

// Send sends one text frame. Failures show in what does not come back.
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

// Await is Next for where the test cannot be failed; ok is false when nothing came or the connection ended.
func (c *Client) Await() (text string, ok bool) {
	select {
	case f, open := <-c.in:
		return f.text, open && f.err == nil
	case <-time.After(patience):
		return "", false
	}
}

// Next waits for the next frame; pings are answered on the way. A binary frame has the letter b in front.
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
		c.t.Fatalf("%s: nothing came within %s", c.name, patience)
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

// ExpectEnd waits until the server has ended the connection; frames that come before are given to the conversation only.
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

// Ignore makes the client read and forget all that comes from now on, but pings.
func (c *Client) Ignore() { c.deaf.Store(true) }

// Pending is how many frames have come and were not looked at.
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

// Hangup ends the connection without a word and waits for its reader.
func (c *Client) Hangup() {
	_ = c.ws.Close()
	<-c.done
}
