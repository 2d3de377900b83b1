package direct

import (
	"io"
	"os"
	"syscall"
)

// transfer is a read or write in progress. It is kept for the next one: a closure for each would be an allocation.
type transfer struct {
	attempt func(fd uintptr) bool // the callback of RawConn, bound once; static
	p       []byte
	n       int // negative: nothing can be read or written now
	err     error
}

// run makes a transfer of p: call calls attempt with the descriptor, until that returns true.
func (t *transfer) run(call func(func(uintptr) bool) error, p []byte) (int, error) {
	t.p, t.n, t.err = p, 0, nil // an earlier result is not returned again if nothing can be read
	err := call(t.attempt)
	t.p = nil
	if err == nil {
		err = t.err
	}
	return max(t.n, 0), err
}

// Reader reads from connections. It belongs to one goroutine at a time.
type Reader struct{ transfer }

// NewReader makes a Reader. name begins the errors of system calls.
func NewReader(name string) *Reader {
	r := &Reader{}
	r.attempt = func(fd uintptr) bool {
		n, err := Read(fd, r.p)
		r.n, r.err = n, os.NewSyscallError(name, err)
		return n >= 0 // else RawConn waits
	}
	return r
}

// Read waits until something has arrived, and reads it. At the end the error is io.EOF. p must not be empty.
func (r *Reader) Read(conn syscall.RawConn, p []byte) (int, error) {
	n, err := r.run(conn.Read, p)
	if n == 0 && err == nil {
		err = io.EOF
	}
	return n, err
}

// Writer writes to connections. It belongs to one goroutine at a time.
type Writer struct{ transfer }

// NewWriter makes a Writer. name begins the errors of system calls.
func NewWriter(name string) *Writer {
	w := &Writer{}
	w.attempt = func(fd uintptr) bool {
		n, err := Write(fd, w.p)
		w.n, w.err = n, os.NewSyscallError(name, err)
		return true
	}
	return w
}

// TryWrite writes as much of p as the connection takes at once. p must not be empty.
func (w *Writer) TryWrite(conn syscall.RawConn, p []byte) (int, error) { return w.run(conn.Write, p) }
