package direct

import (
	"syscall"
	"unsafe"
)

const possible = true

// Read reads what has arrived. n is negative if nothing has, and 0 at the end. The descriptor must be non-blocking,
// and p not empty.
func Read(fd uintptr, p []byte) (n int, err error) { return call(syscall.SYS_READ, fd, p) }

// Write writes what the socket takes. n is negative if it takes nothing now. The descriptor must be non-blocking, and
// p not empty.
func Write(fd uintptr, p []byte) (n int, err error) { return call(syscall.SYS_WRITE, fd, p) }

func call(trap, fd uintptr, p []byte) (int, error) {
	for {
		n, _, errno := syscall.RawSyscall(trap, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
		switch errno {
		case 0:
			return int(n), nil
		case syscall.EINTR:
		case syscall.EAGAIN:
			return -1, nil
		default:
			return 0, errno
		}
	}
}
