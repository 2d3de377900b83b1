// Package flood is the bad neighbour: clients that send to a room as fast as the server reads, and the room's readers.
package flood

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

const (
	// Namespace is where the flood is. Its room is Room.
	Namespace = "/flood"
	Room      = "hall"

	readers  = 200
	senders  = 8
	together = 16 // frames of one write
	beat     = 10 * time.Second
)

// Report is what Main prints, a line of JSON: one when all readers are in the room, and one for each flood.
type Report struct {
	Seconds  float64
	Sent     int64 // messages that the kernel has taken
	Received int64 // bytes, of all readers
	Closed   int64 // connections that the server has closed so far
}

// crowd is all clients.
type crowd struct {
	address          string
	received, closed atomic.Int64
}

// Main floods one server for a time for each line of its standard input, which has a duration.
func Main(address string) error {
	c := &crowd{address: address}
	for range readers {
		conn, err := c.enter()
		if err != nil {
			return fmt.Errorf("a reader of the flood: %w", err)
		}
		go c.read(conn)
		go func() { // answers heartbeats, which read does not look for
			for range time.Tick(beat) {
				_, _ = conn.Write(frame("3")) // closed counts those that fail
			}
		}()
	}
	out := json.NewEncoder(os.Stdout)
	if err := out.Encode(Report{}); err != nil {
		return err
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		lasts, err := time.ParseDuration(lines.Text())
		if err != nil {
			return err
		}
		report, err := c.flood(lasts)
		if err != nil {
			return fmt.Errorf("a sender of the flood: %w", err)
		}
		if err := out.Encode(report); err != nil {
			return err
		}
	}
	return nil
}

// enter connects a client to the room.
func (c *crowd) enter() (net.Conn, error) {
	ws, _, err := websocket.DefaultDialer.Dial("ws://"+c.address+"/socket.io/?EIO=4&transport=websocket", nil)
	if err != nil {
		return nil, err
	}
	for _, step := range [][2]string{
		{"40" + Namespace + ",", `{"sid"`},
		{"42" + Namespace + `,0["join","` + Room + `"]`, `{"ok":true}`},
	} {
		if err := ws.WriteMessage(websocket.TextMessage, []byte(step[0])); err != nil {
			return nil, err
		}
		for text := ""; !strings.Contains(text, Namespace) || !strings.Contains(text, step[1]); {
			_, data, err := ws.ReadMessage()
			if err != nil {
				return nil, err
			}
			text = string(data)
		}
	}
	return ws.NetConn(), nil
}

// read reads and counts what a client receives.
func (c *crowd) read(conn net.Conn) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := conn.Read(buffer)
		c.received.Add(int64(n))
		if err != nil {
			c.closed.Add(1)
			return
		}
	}
}

// flood has new clients write for a time. At the end their connections are reset, so that the server drops what it has
// not read.
func (c *crowd) flood(lasts time.Duration) (report Report, err error) {
	text := "42" + Namespace + `,["message","` + strings.Repeat("x", 100) + `"]`
	frames := []byte(strings.Repeat(string(frame(text)), together))
	var all [senders]net.Conn
	for i := range all {
		if all[i], err = c.enter(); err != nil {
			return report, err
		}
		defer all[i].Close()
		if err := all[i].(*net.TCPConn).SetLinger(0); err != nil {
			return report, err
		}
		go io.Copy(io.Discard, all[i])
	}
	begin, before := time.Now(), c.received.Load()
	var sent atomic.Int64
	var writing sync.WaitGroup
	for _, conn := range all {
		_ = conn.SetWriteDeadline(begin.Add(lasts))
		writing.Go(func() {
			for {
				if _, err := conn.Write(frames); err != nil {
					if !os.IsTimeout(err) {
						c.closed.Add(1)
					}
					return
				}
				sent.Add(together)
			}
		})
	}
	writing.Wait()
	return Report{time.Since(begin).Seconds(), sent.Load(), c.received.Load() - before, c.closed.Load()}, nil
}

// frame is a text frame of a client, with a mask of zeros.
func frame(text string) []byte {
	if len(text) < 126 {
		return append([]byte{0x81, 0x80 | byte(len(text)), 0, 0, 0, 0}, text...)
	}
	return append([]byte{0x81, 0x80 | 126, byte(len(text) >> 8), byte(len(text)), 0, 0, 0, 0}, text...)
}
