package engine

import (
	"context"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"partyline/wire/eio"
)

// stream is a WebSocket of the client. Its frames are written on a goroutine of its own, since a server that does not
// read lets a write to a pipe wait.
type stream struct {
	conn net.Conn
	out  chan []byte
}

// textOf returns a text frame.
func textOf(text string) []byte { return frames(0, "\x81", text)[1:] }

// dial opens a WebSocket and reads it. It reports whether there is one.
func (c *caller) dial(v *visit, query string) bool {
	d := websocket.Dialer{NetDialContext: c.listener.dial}
	ws, response, err := d.Dial("ws://edge/socket.io/?"+query, nil)
	if err != nil {
		if response != nil {
			c.expect(response.StatusCode)
		}
		return false
	}
	out, ended := make(chan []byte, 1000), make(chan struct{})
	v.ws = &stream{ws.NetConn(), out}
	go func() {
		for {
			select {
			case frame := <-out:
				_, _ = ws.NetConn().Write(frame)
			case <-ended:
				return
			}
		}
	}()
	go func() {
		defer close(ended)
		defer ws.Close()
		for {
			_, data, err := ws.ReadMessage()
			if err != nil {
				return
			}
			if string(data) == "2" {
				out <- textOf("3")
			}
			v.received(&v.streamed, string(data))
		}
	}()
	return true
}

// received notes the number of a message.
func (v *visit) received(where *[]int, packet string) {
	if text, ok := strings.CutPrefix(packet, "4"+mark); ok {
		n, _ := strconv.Atoi(text)
		v.mu.Lock()
		*where = append(*where, n)
		v.mu.Unlock()
	}
}

// expect checks a status.
func (c *caller) expect(status int) {
	if !slices.Contains([]int{101, 200, 400, 413, 500, 503}, status) {
		c.t.Errorf("status %d", status)
	}
}

// exchange makes a request. status is 0 if it has no answer, because the session or the test has ended.
func (c *caller) exchange(ctx context.Context, method, query string, body io.Reader, contentType string) (status int, answer []byte) {
	r, err := http.NewRequestWithContext(ctx, method, "http://edge/socket.io/?"+query, body)
	if err != nil {
		c.t.Error(err)
		return 0, nil
	}
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	response, err := c.client.Do(r)
	if err != nil {
		return 0, nil
	}
	defer response.Body.Close()
	c.expect(response.StatusCode)
	answer, _ = io.ReadAll(response.Body)
	return response.StatusCode, answer
}

func (c *caller) poll(ctx context.Context, v *visit, query string) {
	status, payload := c.exchange(ctx, http.MethodGet, query, nil, "")
	for status == 200 && len(payload) > 0 {
		packet, rest, err := eio.Next(payload)
		if err != nil {
			c.t.Errorf("a poll has %q: %v", payload, err)
			return
		}
		if packet.Type == eio.Message {
			v.received(&v.polled, "4"+string(packet.Data))
		}
		payload = rest
	}
}

func (c *caller) post(v *visit, query string, body io.Reader, numbers []int) {
	if status, _ := c.exchange(context.Background(), http.MethodPost, query, body, "text/plain"); status == 200 {
		v.mu.Lock()
		v.acked = append(v.acked, numbers...)
		v.mu.Unlock()
	}
}

// raw sends bytes on a connection of their own.
func (c *caller) raw(data string) {
	conn, err := c.listener.dial(context.Background(), "", "")
	if err != nil {
		return
	}
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	done := make(chan struct{})
	go func() { _, _ = io.Copy(io.Discard, conn); close(done) }()
	_, _ = io.WriteString(conn, data)
	synctest.Wait()
	_ = conn.Close()
	<-done
}
