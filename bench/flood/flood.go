// Package flood is the bad neighbour: clients that send to a room as fast as the server reads, and the room's readers.
package flood

import (
	"bufio"
	"encoding/json"
	"fmt"
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

// Report is what Main prints, a line of JSON: one when all clients are in the room, and one for each flood.
type Report struct {
	Seconds  float64
	Sent     int64 // messages
	Received int64 // bytes, of all readers
	Closed   int64 // connections that the server has closed so far
}

// crowd is all clients.
type crowd struct {
	readers, senders []net.Conn
	received, closed atomic.Int64
}

// Main floods one server for a time for each line of its standard input, which has a duration.
func Main(address string) error {
	c := &crowd{}
	for i := range readers + senders {
		conn, err := enter(address)
		if err != nil {
			return fmt.Errorf("client %d of the flood: %w", i, err)
		}
		go c.read(conn)
		if i < readers {
			c.readers = append(c.readers, conn)
		} else {
			c.senders = append(c.senders, conn)
		}
	}
	go c.beat()
	out := json.NewEncoder(os.Stdout)
	if err := out.Encode(Report{}); err != nil {
		return err
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		lasts, err := time.ParseDuration(lines.Text())
		if err != nil {
			return err
		}
		if err := out.Encode(c.flood(lasts)); err != nil {
			return err
		}
	}
	return nil
}

// enter connects a client to the room.
func enter(address string) (net.Conn, error) {
	ws, _, err := websocket.DefaultDialer.Dial("ws://"+address+"/socket.io/?EIO=4&transport=websocket", nil)
	if err != nil {
		return nil, err
	}
	for _, step := range [][2]string{{"40" + Namespace + ",", `{"sid"`}, {"42" + Namespace + `,0["join","` + Room + `"]`, `{"ok":true}`}} {
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

// beat answers the server's heartbeats, which read does not look for.
func (c *crowd) beat() {
	for range time.Tick(beat) {
		for _, conn := range c.readers {
			_, _ = conn.Write(frame("3")) // closed counts those that fail
		}
	}
}

// flood has all senders write for a time.
func (c *crowd) flood(lasts time.Duration) Report {
	text := "42" + Namespace + `,["message","` + strings.Repeat("x", 100) + `"]`
	frames := []byte(strings.Repeat(string(frame(text)), together))
	begin, before := time.Now(), c.received.Load()
	var sent atomic.Int64
	var writing sync.WaitGroup
	for _, conn := range c.senders {
		writing.Go(func() {
			for time.Since(begin) < lasts {
				if _, err := conn.Write(frames); err != nil {
					return
				}
				sent.Add(together)
			}
			_, _ = conn.Write(frame("3"))
		})
	}
	writing.Wait()
	return Report{time.Since(begin).Seconds(), sent.Load(), c.received.Load() - before, c.closed.Load()}
}

// frame is a text frame of a client, with a mask of zeros.
func frame(text string) []byte {
	if len(text) < 126 {
		return append([]byte{0x81, 0x80 | byte(len(text)), 0, 0, 0, 0}, text...)
	}
	return append([]byte{0x81, 0x80 | 126, byte(len(text) >> 8), byte(len(text)), 0, 0, 0, 0}, text...)
}

