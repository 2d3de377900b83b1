// Package limit is a bare WebSocket broadcaster, which shows what the library and the kernel allow. It has no
// protocol and no rooms; what a client sends goes to all others.
package limit

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"sync"

	"github.com/gorilla/websocket"
)

// member is a client: a goroutine that reads, and one that writes.
type member struct {
	ws *websocket.Conn

	mu      sync.Mutex
	pending []byte // frames that wait, joined; guarded by mu
	closed  bool   // guarded by mu
	wake    sync.Cond
}

// buffers are for writing, so that an idle client has none.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// push queues a frame for the writer.
func (m *member) push(frame []byte) {
	m.mu.Lock()
	if m.pending == nil {
		m.pending = (*buffers.Get().(*[]byte))[:0]
	}
	wasEmpty := len(m.pending) == 0
	m.pending = append(m.pending, frame...)
	m.mu.Unlock()
	if wasEmpty {
		m.wake.Signal()
	}
}

// write sends all queued frames in one write, until the client goes.
func (m *member) write() {
	conn := m.ws.NetConn()
	for {
		m.mu.Lock()
		for len(m.pending) == 0 && !m.closed {
			m.wake.Wait()
		}
		if m.closed {
			m.mu.Unlock()
			return
		}
		frames := m.pending
		m.pending = nil
		m.mu.Unlock()
		_, err := conn.Write(frames)
		buffers.Put(&frames)
		if err != nil {
			_ = conn.Close() // the reader notices
			return
		}
	}
}

func (m *member) close() {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.wake.Signal()
	_ = m.ws.Close()
}

// hall is all clients.
type hall struct {
	upgrader websocket.Upgrader

	mu      sync.Mutex
	members []*member // a new slice at each change; guarded by mu
	places  map[*member]int
}

func (h *hall) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ws, err := h.upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // the upgrader has responded
	}
	m := &member{ws: ws}
	m.wake.L = &m.mu
	h.enter(m)
	go h.read(m) // not here: the goroutine of the request has a larger stack, and keeps the request
	go m.write()
}

// read broadcasts what a client sends.
func (h *hall) read(m *member) {
	defer h.leave(m)
	for {
		_, data, err := m.ws.ReadMessage()
		if err != nil {
			return
		}
		frame := frameOf(data)
		h.mu.Lock()
		members := h.members
		h.mu.Unlock()
		for _, other := range members {
			if other != m {
				other.push(frame)
			}
		}
	}
}

func (h *hall) enter(m *member) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.places[m] = len(h.members)
	h.members = append(h.members, m) // readers of the old slice do not read beyond its end
}

func (h *hall) leave(m *member) {
	m.close()
	h.mu.Lock()
	defer h.mu.Unlock()
	members := append([]*member(nil), h.members...)
	last := len(members) - 1
	place := h.places[m]
	members[place] = members[last]
	h.places[members[place]] = place
	h.members = members[:last]
	delete(h.places, m)
}

// frameOf returns a server's text frame, shared by all receivers.
func frameOf(data []byte) []byte {
	frame := make([]byte, 0, len(data)+10)
	switch n := len(data); {
	case n < 126:
		frame = append(frame, 0x81, byte(n))
	case n < 1<<16:
		frame = append(frame, 0x81, 126, byte(n>>8), byte(n))
	default:
		frame = binary.BigEndian.AppendUint64(append(frame, 0x81, 127), uint64(n))
	}
	return append(frame, data...)
}

// Main serves until the process is killed.
func Main() error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	h := &hall{
		upgrader: websocket.Upgrader{
			ReadBufferSize: 1024, WriteBufferSize: 1024, WriteBufferPool: &sync.Pool{},
			CheckOrigin: func(*http.Request) bool { return true },
		},
		places: map[*member]int{},
	}
	if err := json.NewEncoder(os.Stderr).Encode(map[string]string{"msg": "listening",
		"address": listener.Addr().String()}); err != nil {
		return fmt.Errorf("say where it listens: %w", err)
	}
	server := &http.Server{Handler: h, ErrorLog: log.New(os.Stderr, "", 0)}
	return server.Serve(listener)
}
