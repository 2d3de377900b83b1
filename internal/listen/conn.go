package listen

import (
	"container/list"
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"partyline/internal/turn"
)

// conn is a connection that counts.
type conn struct {
	*net.TCPConn
	limiter   *Limiter      // static
	from      netip.Addr    // static; zero for one that was dialled
	isCounted bool          // static once it is admitted; against its address
	isKept    atomic.Bool   // it has just become idle, and may be so for proxyIdle
	isRemoved bool          // guarded by Limiter.mu: it counts no more
	waiting   *list.Element // guarded by Limiter.mu: its place among the waiting ones, or nil
	since     time.Time     // guarded by Limiter.mu: when it began to wait
}

// Close closes the connection, which counts no more.
func (c *conn) Close() error {
	err := c.TCPConn.Close()
	c.limiter.remove(c)
	return err
}

// Write fails after Limiter.Cut.
func (c *conn) Write(p []byte) (int, error) {
	if c.limiter.cut.Load() {
		return 0, net.ErrClosed
	}
	return c.TCPConn.Write(p)
}

// SetReadDeadline is called by net/http with its IdleTimeout just after the connection has become idle.
func (c *conn) SetReadDeadline(t time.Time) error {
	if c.isKept.Load() && c.isKept.Swap(false) && !t.IsZero() {
		t = time.Now().Add(proxyIdle)
	}
	return c.TCPConn.SetReadDeadline(t)
}

// proxyIdle is how long a connection of a proxy or of another edge may wait. They keep theirs for a minute, and a
// request must not come to one that is just being closed.
const proxyIdle = 2 * time.Minute

// retryAfter is how long to wait for a descriptor if there is not even the reserve.
const retryAfter = 50 * time.Millisecond

// listener accepts connections that count.
type listener struct {
	net.Listener
	limiter *Limiter
	reserve *os.File // owned by the goroutine that accepts: a descriptor to refuse with when there are none; or nil
}

// Listen returns a listener whose connections count. What is over a bound is closed at once and not returned. inner
// must accept TCP. One goroutine must call Accept until it fails.
func (l *Limiter) Listen(inner net.Listener) net.Listener {
	reserve, _ := os.Open(os.DevNull) // without it a connection that has no descriptor waits
	return &listener{Listener: inner, limiter: l, reserve: reserve}
}

// Accept returns the next connection that there is a place for.
func (l *listener) Accept() (net.Conn, error) {
	for {
		accepted, err := l.Listener.Accept()
		switch {
		case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
			l.makeRoom(err)
			continue
		case err != nil:
			if errors.Is(err, net.ErrClosed) && l.reserve != nil {
				_ = l.reserve.Close()
				l.reserve = nil
			}
			return nil, err
		}
		turn.Connections.GiveWay(context.Background(), turn.Newcomer) // or hundreds at once would be ready
		if c := l.limiter.admit(accepted.(*net.TCPConn)); c != nil {
			return c, nil
		}
		_ = accepted.Close()
	}
}

// makeRoom is called when a connection could not be accepted because the system gives no descriptor. It closes one
// that waits, or refuses the new one with the reserve: otherwise its client would wait for an answer.
func (l *listener) makeRoom(err error) {
	l.limiter.mu.Lock()
	evicted := l.limiter.table.evict(time.Now())
	if evicted == nil {
		l.limiter.table.full = time.Now()
	}
	l.limiter.mu.Unlock()
	if evicted != nil {
		l.limiter.closeEvicted(evicted)
		return
	}
	l.limiter.refuse(descriptors, "error", err)
	if l.reserve != nil {
		_ = l.reserve.Close()
		if refused, err := l.Listener.Accept(); err == nil {
			_ = refused.Close()
		}
	}
	if l.reserve, err = os.Open(os.DevNull); err != nil { // os.Open returns a nil file then
		time.Sleep(retryAfter)
	}
}
