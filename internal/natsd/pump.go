package natsd

import (
	"bytes"
	"net"
	"sync"
)

// pumpLimit is how many bytes a pump keeps before the server must wait.
const pumpLimit = 1 << 20

// pump is the client's side of a connection inside the process. nats-server provides a net.Pipe, in which each write
// waits for its reader, so a read would never return more than one write, and the bus would have no batches. A pump
// reads ahead: at full speed a delivery to a large room costs a sixth (docs/performance.md).
type pump struct {
	net.Conn
	done chan struct{} // closed when run has ended

	mu    sync.Mutex
	moved sync.Cond    // signalled when data or err change
	data  bytes.Buffer // guarded by mu: what has been read ahead
	err   error        // guarded by mu: why reading ended
}

func newPump(conn net.Conn) *pump {
	p := &pump{Conn: conn, done: make(chan struct{})}
	p.moved.L = &p.mu
	go p.run()
	return p
}

// run reads ahead until the connection ends. Close waits for it.
func (p *pump) run() {
	defer close(p.done)
	chunk := make([]byte, 32<<10)
	for {
		n, err := p.Conn.Read(chunk)
		p.mu.Lock()
		p.data.Write(chunk[:n])
		if err != nil {
			p.err = err
		}
		p.moved.Broadcast()
		for p.data.Len() > pumpLimit && p.err == nil {
			p.moved.Wait()
		}
		p.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// Read waits for data and returns as much as fits. It ignores deadlines.
func (p *pump) Read(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.data.Len() == 0 {
		if p.err != nil {
			return 0, p.err
		}
		p.moved.Wait()
	}
	p.moved.Broadcast()
	return p.data.Read(b)
}

// Close ends both sides and waits for the goroutine.
func (p *pump) Close() error {
	err := p.Conn.Close()
	p.mu.Lock()
	p.err = net.ErrClosed
	p.moved.Broadcast()
	p.mu.Unlock()
	<-p.done
	return err
}
