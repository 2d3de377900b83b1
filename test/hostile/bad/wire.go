package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// Opcodes of WebSocket frames (RFC 6455, section 5.2).
const (
	opMore   = 0x0
	opText   = 0x1
	opBinary = 0x2
	opPing   = 0x9
)

// frame appends a client's frame. Its mask is zero, which changes nothing.
func frame(dst []byte, final bool, opcode byte, payload string) []byte {
	if final {
		opcode |= 0x80
	}
	switch n := len(payload); {
	case n < 126:
		dst = append(dst, opcode, 0x80|byte(n))
	case n < 1<<16:
		dst = binary.BigEndian.AppendUint16(append(dst, opcode, 0x80|126), uint16(n))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, opcode, 0x80|127), uint64(n))
	}
	return append(append(dst, 0, 0, 0, 0), payload...)
}

func text(payload string) []byte { return frame(nil, true, opText, payload) }

// upgrade opens a WebSocket, or returns nil. header are further lines of the request. The buffer that it reads with
// may have the first frames.
func (c *client) upgrade(query, header string) (net.Conn, *bufio.Reader) {
	conn := c.connect()
	if conn == nil {
		return nil, nil
	}
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	_, err := io.WriteString(conn, "GET /socket.io/?EIO=4&transport=websocket"+query+" HTTP/1.1\r\nHost: "+c.edge+
		"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"+header+"\r\n")
	if err == nil {
		in := bufio.NewReader(conn)
		var response *http.Response
		if response, err = http.ReadResponse(in, nil); err == nil && response.StatusCode == http.StatusSwitchingProtocols {
			_ = conn.SetDeadline(time.Time{})
			return conn, in
		}
	}
	_ = conn.Close()
	c.pause(100 * time.Millisecond)
	return nil, nil
}

// enter opens a session, connects it to a namespace and joins a room, if these are not "". It reads and discards what
// comes, unless the client is deaf.
func (c *client) enter(namespace, room string, isDeaf bool) net.Conn {
	conn, in := c.upgrade("", "")
	if conn == nil {
		return nil
	}
	if namespace != "" {
		_, _ = conn.Write(text("40" + namespace + ","))
		for said := ""; !strings.Contains(said, namespace); {
			var err error
			if said, err = in.ReadString('}'); err != nil {
				_ = conn.Close()
				return nil
			}
		}
	}
	if !isDeaf {
		go func() { _, _ = io.Copy(io.Discard, in) }() // ends with the connection
	} else if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetReadBuffer(4 << 10)
	}
	if room != "" {
		_, _ = conn.Write(text(fmt.Sprintf(`42%s,["join","%s"]`, namespace, room)))
	}
	return conn
}

// repeat writes what next appends, many frames at once, until the connection ends.
func repeat(conn net.Conn, next func(dst []byte, i int) []byte) {
	if conn == nil {
		return
	}
	defer func() { _ = conn.Close() }()
	var buf []byte
	for i := 0; ; i++ {
		if buf = next(buf, i); len(buf) < 32<<10 {
			continue
		}
		buf = append(buf, text("3")...) // a pong, in case there was a ping
		if _, err := conn.Write(buf); err != nil {
			return
		}
		buf = buf[:0]
	}
}

// say returns frames of one text after the other.
func say(format string) func([]byte, int) []byte {
	return func(dst []byte, i int) []byte {
		if !strings.Contains(format, "%") {
			return frame(dst, true, opText, format)
		}
		return frame(dst, true, opText, fmt.Sprintf(format, i))
	}
}

// ask makes a request on a connection, and returns the response and its body.
func ask(conn net.Conn, in *bufio.Reader, method, query, header, body string) (status int, answer string) {
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	_, err := fmt.Fprintf(conn, "%s /socket.io/?EIO=4&%s HTTP/1.1\r\nHost: x\r\n%sContent-Length: %d\r\n\r\n%s", method, query, header, len(body), body)
	if err != nil {
		return 0, ""
	}
	response, err := http.ReadResponse(in, nil)
	if err != nil {
		return 0, ""
	}
	defer func() { _ = response.Body.Close() }()
	all, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(all)
}

// session opens a session by polling on a connection, and returns the query of its requests, or "".
func session(conn net.Conn, in *bufio.Reader) string {
	_, answer := ask(conn, in, "GET", "transport=polling", "", "")
	_, rest, _ := strings.Cut(answer, `"sid":"`)
	sid, _, ok := strings.Cut(rest, `"`)
	if !ok {
		return ""
	}
	return "transport=polling&sid=" + sid
}
