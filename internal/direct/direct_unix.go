//go:build unix && !linux

package direct

import "syscall"

const possible = true

// Read reads what has arrived. n is negative if nothing has, and 0 at the end. The descriptor must be non-blocking.
func Read(fd uintptr, p []byte) (int, error) { return call(syscall.Read, fd, p) }

// Write writes what the socket takes. n is negative if it takes nothing now. The descriptor must be non-blocking.
func Write(fd uintptr, p []byte) (int, error) { return call(syscall.Write, fd, p) }

func call(do func(int, []byte) (int, error), fd uintptr, p []byte) (int, error) {
	for {
		n, err := do(int(fd), p)
		switch err {
		case nil:
			return n, nil
		case syscall.EINTR:
		case syscall.EAGAIN:
			return -1, nil
		default:
			return 0, err // n is negative
		}
	}
}
