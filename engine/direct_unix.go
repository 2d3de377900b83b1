//go:build unix

package engine

import (
	"errors"
	"syscall"
)

// write is what the connection's descriptor is lent for. It always says that it is done: to say no would be to wait.
func (w *directWriter) write(fd uintptr) bool {
	for {
		n, err := syscall.Write(int(fd), w.data)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EAGAIN):
		case err != nil:
			w.err = err
		default:
			w.n = n
		}
		return true
	}
}

// directly says whether connections can be written to without waiting.
const directly = true
