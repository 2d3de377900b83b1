package recovery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// dialTime bounds an attempt to reach an edge, which may be stopped.
const dialTime = 3 * time.Second

// transport is one Engine.IO session of a raw client. Only next must not be called by two goroutines.
type transport interface {
	send(packet string) error
	next() (packet string, isBinary bool, err error)
	end()   // closes the connection
	reset() // breaks it off: by a TCP reset, or in the middle of a POST
}

// open is the first packet of a session.
type open struct {
	SID                       string
	PingInterval, PingTimeout int // milliseconds
}

// silence is after how long without a ping a client takes the connection for dead.
func (o open) silence() time.Duration {
	return time.Duration(o.PingInterval+o.PingTimeout) * time.Millisecond
}

func readOpen(packet string) (o open, err error) {
	data, ok := strings.CutPrefix(packet, "0")
	if !ok {
		return o, fmt.Errorf("a session began with %q", packet)
	}
	return o, json.Unmarshal([]byte(data), &o)
}

type socket struct {
	conn *websocket.Conn
	mu   sync.Mutex // held while a frame is written
}

func dialSocket(address string) (transport, open, error) { return dialSocketWithin(address, dialTime) }

func dialSocketWithin(address string, patience time.Duration) (transport, open, error) {
	dialer := websocket.Dialer{HandshakeTimeout: patience, ReadBufferSize: 2048, WriteBufferSize: 512}
	conn, _, err := dialer.Dial("ws://"+address+"/socket.io/?EIO=4&transport=websocket", nil)
	if err != nil {
		return nil, open{}, err
	}
	s := &socket{conn: conn}
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	packet, _, err := s.next()
	var o open
	if err == nil {
		o, err = readOpen(packet)
	}
	if err != nil {
		s.end()
		return nil, o, err
	}
	return s, o, conn.SetReadDeadline(time.Time{})
}

func (s *socket) send(packet string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conn.WriteMessage(websocket.TextMessage, []byte(packet))
}

func (s *socket) next() (string, bool, error) {
	kind, data, err := s.conn.ReadMessage()
	return string(data), kind == websocket.BinaryMessage, err
}

func (s *socket) end() { _ = s.conn.Close() }

func (s *socket) reset() {
	if tcp, ok := s.conn.NetConn().(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	s.end()
}

// poller is a session over polling.
type poller struct {
	address, path string
	http          *http.Client
	ctx           context.Context
	cancel        context.CancelFunc
	waiting       []string // packets of the last poll; next's
}

func dialPolling(address string) (transport, open, error) {
	ctx, cancel := context.WithCancel(context.Background())
	p := &poller{address: address, path: "/socket.io/?EIO=4&transport=polling", ctx: ctx, cancel: cancel, http: &http.Client{
		Transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 2},
	}}
	stop := time.AfterFunc(dialTime, cancel)
	packet, _, err := p.next()
	var o open
	if err == nil {
		o, err = readOpen(packet)
	}
	if err == nil && !stop.Stop() {
		err = errors.New("the edge is silent")
	}
	if err != nil {
		p.end()
		return nil, o, err
	}
	p.path += "&sid=" + o.SID
	return p, o, nil
}

func (p *poller) do(method, body string) (string, error) {
	request, err := http.NewRequestWithContext(p.ctx, method, "http://"+p.address+p.path, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	response, err := p.http.Do(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: status %d: %s", method, response.StatusCode, text)
	}
	return string(text), err
}

func (p *poller) send(packet string) error {
	_, err := p.do(http.MethodPost, packet)
	return err
}

func (p *poller) next() (packet string, isBinary bool, err error) {
	for len(p.waiting) == 0 {
		text, err := p.do(http.MethodGet, "")
		if err != nil {
			return "", false, err
		}
		p.waiting = strings.Split(text, "\x1e")
	}
	packet, p.waiting = p.waiting[0], p.waiting[1:]
	if data, ok := strings.CutPrefix(packet, "b"); ok {
		return data, true, nil
	}
	return packet, false, nil
}

func (p *poller) end() {
	p.cancel()
	p.http.CloseIdleConnections()
}

// reset begins a POST and breaks it off, with the poll.
func (p *poller) reset() {
	if conn, err := net.DialTimeout("tcp", p.address, dialTime); err == nil {
		_, _ = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: text/plain;charset=UTF-8\r\nContent-Length: 100\r\n\r\n42/chat,[\"ev", p.path, p.address)
		_ = conn.Close()
	}
	p.end()
}
