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

// readNow reads what is there; n is below 0 when nothing is, and 0 at the end.
func readNow(fd uintptr, p []byte) (n int, err error) {
	for {
		n, err = syscall.Read(int(fd), p)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EAGAIN):
			return -1, nil
		}
		return n, err
	}
}

// directly says whether connections can be read and written without waiting.
const directly = true
