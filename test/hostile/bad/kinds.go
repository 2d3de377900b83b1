package main

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// pings sends empty WebSocket pings and reads no pong. Half of these clients join no namespace.
func pings(c *client) {
	namespace := ""
	if c.number%2 == 0 {
		namespace = "/flood"
	}
	repeat(c.enter(namespace, "", true), func(dst []byte, _ int) []byte { return frame(dst, true, opPing, "") })
}

// events floods services with events.
func events(c *client) { repeat(c.enter("/flood", "", false), say(`42/flood,["event-%d","x"]`)) }

// relayed floods a room in which all clients of this kind, and the deaf ones, are.
func relayed(c *client) { repeat(c.enter("/flood", "crowd", false), say(`42/flood,["message",%d]`)) }

// large sends events of nearly the largest size.
func large(c *client) {
	repeat(c.enter("/flood", "", false), say(`42/flood,["message","`+strings.Repeat("x", 900_000)+`"]`))
}

// connects asks for namespaces that do not exist.
func connects(c *client) { repeat(c.enter("", "", false), say("40/none-%d,")) }

// auth fills the session with authentication data, and stays.
func auth(c *client) {
	conn := c.enter("", "", false)
	if conn == nil {
		return
	}
	defer func() { _ = conn.Close() }()
	data := `{"a":"` + strings.Repeat("x", 900_000) + `"}`
	for i := range 100 {
		if _, err := conn.Write(text(fmt.Sprintf("40/extra-%d,%s", i, data))); err != nil {
			return
		}
	}
	stay(c, conn)
}

// stay answers heartbeats until the connection ends.
func stay(c *client, conn net.Conn) {
	for c.ctx.Err() == nil {
		if _, err := conn.Write(text("3")); err != nil {
			return
		}
		c.pause(time.Second)
	}
}

// joins joins ever more rooms.
func joins(c *client) { repeat(c.enter("/flood", "", false), say(`42/flood,1["join","room-%d"]`)) }

// comings joins rooms and leaves them.
func comings(c *client) {
	repeat(c.enter("/flood", "", false), func(dst []byte, i int) []byte {
		return frame(dst, true, opText, fmt.Sprintf(`42/flood,["%s","brief-%d"]`, []string{"join", "leave"}[i%2], i/2))
	})
}

// churn comes, enters a namespace and a room, and goes.
func churn(c *client) {
	if conn := c.enter("/flood", "crowd", false); conn != nil {
		c.pause(time.Duration(rand.IntN(20)) * time.Millisecond)
		_ = conn.Close()
	}
}

// deaf is in the room that is flooded, causes answers of its own, and never reads.
func deaf(c *client) { repeat(c.enter("/flood", "crowd", true), say(`42/flood,1["join"]`)) }

// attachments sends nine of ten attachments, and stays.
func attachments(c *client) {
	conn := c.enter("/flood", "", false)
	if conn == nil {
		return
	}
	defer func() { _ = conn.Close() }()
	placeholders := make([]string, 10)
	for i := range placeholders {
		placeholders[i] = fmt.Sprintf(`{"_placeholder":true,"num":%d}`, i)
	}
	_, _ = conn.Write(text(`4510-/flood,["file",` + strings.Join(placeholders, ",") + "]"))
	for range 9 {
		_, _ = conn.Write(frame(nil, true, opBinary, strings.Repeat("x", 100_000)))
	}
	stay(c, conn)
}

// fragments sends a message that never ends, in empty parts.
func fragments(c *client) {
	conn := c.enter("/flood", "", false)
	if conn != nil {
		_, _ = conn.Write(frame(nil, false, opText, "42"))
	}
	var buf []byte
	for range 1000 {
		buf = frame(buf, false, opMore, "")
	}
	for conn != nil {
		if _, err := conn.Write(buf); err != nil {
			_ = conn.Close()
			return
		}
	}
}

// halves sends half a request, byte by byte: of its head, or of its body.
func halves(c *client) {
	conn := c.connect()
	if conn == nil {
		return
	}
	defer func() { _ = conn.Close() }()
	request := "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\nX-Slow: " + strings.Repeat("x", 1000)
	if c.number%2 == 0 {
		if query := session(conn, bufio.NewReader(conn)); query != "" {
			request = "POST /socket.io/?EIO=4&" + query + " HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n4" + strings.Repeat("x", 1000)
		}
	}
	_ = conn.SetDeadline(time.Time{})
	for _, b := range []byte(request) {
		if _, err := conn.Write([]byte{b}); err != nil || c.ctx.Err() != nil {
			return
		}
		c.pause(50 * time.Millisecond)
	}
}

// idle opens many connections without a session.
func idle(c *client) {
	var all []net.Conn
	for range 40 {
		if conn := c.connect(); conn != nil {
			all = append(all, conn)
			_, _ = io.WriteString(conn, "OPTIONS /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\n\r\n")
		}
	}
	for _, conn := range all {
		_, _ = io.Copy(io.Discard, conn) // until the edge closes it
		_ = conn.Close()
	}
}

// broken ends its session with a bad packet, and leaves the connection to the edge.
func broken(c *client) {
	conn, in := c.upgrade("", "")
	if conn == nil {
		return
	}
	defer func() { _ = conn.Close() }()
	bad := [][]byte{
		text("9"), text("4"), text("2"), text("b!"), text("42/flood,[\"x\""), text(`42/flood,` + strings.Repeat("9", 400) + `["x"]`),
		text("4510-/flood,[]"), frame(nil, true, opBinary, "x"), frame(nil, true, 0x3, "x"), {0xff, 0xff, 0xff, 0xff}, {0x81, 1, '3'},
		frame(nil, false, opPing, "x"), text(`42/flood,["x",` + strings.Repeat("[", 100_000)), text("42/flood,[\"\xff\"]"), frame(nil, true, opMore, "x"),
	}
	_, _ = conn.Write(text("40/flood,"))
	_, _ = in.ReadString('}') // the open packet
	_, _ = in.ReadString('}') // CONNECT
	_, _ = conn.Write(bad[rand.IntN(len(bad))])
	_, _ = io.Copy(io.Discard, in) // until the edge closes it
}

// forged claims to be a proxy, another edge, and a page of another origin.
func forged(c *client) {
	address := fmt.Sprintf("10.%d.%d.%d", rand.IntN(256), rand.IntN(256), rand.IntN(256))
	header := "X-Forwarded-For: " + address + "\r\nX-Forwarded-Host: evil.example\r\nForwarded: for=" + address + "\r\nOrigin: http://evil.example\r\n"
	if rand.IntN(2) == 0 {
		header = "Partyline-Forwarded: at=1&by=other&for=" + address + "&host=x&proto=https\r\nPartyline-Signature: 00\r\n"
	}
	query := []string{"", "&sid=otheredge.aaaaaaaaaaaaaaaaaaaa", "&sid=" + strings.Repeat("x", 5000)}[rand.IntN(3)]
	if conn, _ := c.upgrade(query, header); conn != nil {
		_ = conn.Close()
	}
}

// polls breaks the rules of polling: two polls, two POSTs, no packets.
func polls(c *client) {
	conn, second := c.connect(), c.connect()
	if conn == nil || second == nil {
		return
	}
	defer func() { _, _ = conn.Close(), second.Close() }()
	in := bufio.NewReader(conn)
	query := session(conn, in)
	if query == "" {
		c.pause(100 * time.Millisecond)
		return
	}
	for _, body := range []string{"40/flood,", "42/flood,[\"x\"]\x1e42/flood,[\"y\"]", strings.Repeat("4", 900_000), "", "bAAAA"} {
		if status, _ := ask(conn, in, "POST", query, "Content-Type: text/plain\r\n", body); status == 0 {
			return
		}
	}
	go func() { _, _ = ask(second, bufio.NewReader(second), "GET", query, "", "") }()
	_, _ = ask(conn, in, "GET", query, "", "")
	_, _ = ask(conn, in, "GET", query, "", "")
}

// probes begins upgrades and probes without end.
func probes(c *client) {
	conn := c.connect()
	if conn == nil {
		return
	}
	query := session(conn, bufio.NewReader(conn))
	_ = conn.Close()
	if query == "" {
		c.pause(100 * time.Millisecond)
		return
	}
	_, sid, _ := strings.Cut(query, "sid=")
	ws, in := c.upgrade("&sid="+sid, "")
	if ws == nil {
		return
	}
	go func() { _, _ = io.Copy(io.Discard, in) }()
	repeat(ws, say("2probe"))
}

// handshakes begins sessions, and does not go on.
func handshakes(c *client) {
	conn := c.connect()
	if conn == nil {
		return
	}
	defer func() { _ = conn.Close() }()
	for in := bufio.NewReader(conn); ; {
		if status, _ := ask(conn, in, "GET", "transport=polling", "", ""); status == 0 || c.ctx.Err() != nil {
			return
		}
	}
}

// neighbours are NATS clients that ask without end, ask for statistics, and invent edges.
func neighbours(c *client) {
	nc, err := nats.Connect(c.nats, nats.MaxReconnects(0), nats.NoReconnect(), nats.Timeout(10*time.Second))
	if err != nil {
		c.pause(time.Second)
		return
	}
	defer nc.Close()
	inbox := nats.NewInbox()
	for i := 0; c.ctx.Err() == nil; i++ {
		for j := range 100 {
			m := &nats.Msg{Reply: inbox, Header: nats.Header{}}
			switch c.number % 5 {
			case 0:
				m.Subject, m.Data = "sio.flood.ask.all", []byte(`["ready?"]`)
				m.Header.Set("Sio-Timeout", "600000")
			case 1:
				m.Subject, m.Reply = fmt.Sprintf("sio.$edge.invented%d.beat", 100*i+j), ""
				m.Data = fmt.Appendf(nil, `[{"edge":"invented%d","at":%d,"every":1000,"sockets":1}]`, 100*i+j, time.Now().UnixMilli())
			case 2:
				m.Subject = "$SRV.STATS"
			case 3:
				m.Subject = "sio.flood.fetch.all"
			case 4:
				m.Subject, m.Reply, m.Data = "sio.flood.emit.room.crowd", "sio.chat.emit.all", []byte(`["message","pair",`)
			}
			if nc.PublishMsg(m) != nil {
				return
			}
		}
		if nc.FlushTimeout(10*time.Second) != nil {
			return
		}
		c.pause(50 * time.Millisecond)
	}
}
