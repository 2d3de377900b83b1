package bus

import (
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"

	"partyline/internal/direct"
)

// link is the connection to a NATS server, under nats.go.
//
// nats.go reads from it on one goroutine. When it reads again, all messages of the read before are in the channel. The
// bus handles them then: on the same goroutine, as one batch. Waking another goroutine costs more than the work under
// a light load: with package direct, a third of the edge's part of an ack from a service (docs/performance.md).
type link struct {
	net.Conn
	bus   *Bus
	raw   syscall.RawConn // Conn, for calls that do not wait; nil if it has none; static
	in    *direct.Reader  // owned by the reader
	out   *direct.Writer  // owned by the writer, which holds the lock of nats.go, or of TLS above it
	until atomic.Int64    // unix nanoseconds of the deadline of writes that wait; 0: none
}

func (b *Bus) newLink(conn net.Conn) *link {
	b.state.dials.Add(1)
	const name = "connection to NATS"
	return &link{Conn: conn, bus: b, raw: direct.Conn(conn), in: direct.NewReader(name), out: direct.NewWriter(name)}
}

// Read is called by nats.go after it has processed all earlier bytes.
func (l *link) Read(p []byte) (n int, err error) {
	l.bus.inbox.deliver()
	if l.raw == nil || len(p) == 0 {
		n, err = l.Conn.Read(p)
	} else {
		n, err = l.in.Read(l.raw, p)
	}
	l.bus.inbox.full.Store(n == len(p))
	l.bus.hear(p[:n])
	return n, err
}

// Write first tries without waiting, which is enough unless the server reads slowly.
func (l *link) Write(p []byte) (int, error) {
	written := 0
	if l.raw != nil && len(p) > 0 {
		n, err := l.out.TryWrite(l.raw, p)
		if err != nil {
			l.lastWords()
		}
		if err != nil || n == len(p) {
			return n, err
		}
		written = n
	}
	if err := l.Conn.SetWriteDeadline(at(l.until.Load())); err != nil {
		return written, err
	}
	n, err := l.Conn.Write(p[written:])
	_ = l.Conn.SetWriteDeadline(time.Time{}) // the next one is tried without waiting
	return written + n, err
}

// lastWords reads the error that NATS sent before it closed the connection. A server with too many connections sends
// one and closes at once. nats.go then fails to write, and does not read it.
func (l *link) lastWords() {
	if l.bus.state.online.Load() {
		return
	}
	var words [512]byte
	_ = l.raw.Read(func(fd uintptr) bool {
		n, _ := direct.Read(fd, words[:])
		l.bus.hear(words[:max(n, 0)])
		return true
	})
}

// SetWriteDeadline is called by nats.go before and after each write. It counts only for a write that waits: to set it
// on Conn costs more than most writes.
func (l *link) SetWriteDeadline(t time.Time) error {
	var until int64
	if !t.IsZero() {
		until = t.UnixNano()
	}
	l.until.Store(until)
	return nil
}

// linker makes nats.go connect by links.
type linker struct {
	bus    *Bus
	server nats.InProcessConnProvider // nil: NATS is elsewhere
	dialer nats.CustomDialer          // for that
}

// Dial is called by nats.go for each attempt to connect to a NATS server elsewhere.
func (l linker) Dial(network, address string) (net.Conn, error) {
	l.bus.state.words.Store(nil)
	conn, err := l.dialer.Dial(network, address)
	if err != nil {
		return nil, err
	}
	return l.bus.newLink(conn), nil
}

// InProcessConn is called by nats.go for each attempt to connect to a NATS server in this process.
func (l linker) InProcessConn() (net.Conn, error) {
	conn, err := l.server.InProcessConn()
	if err != nil {
		return nil, err
	}
	return l.bus.newLink(conn), nil
}
