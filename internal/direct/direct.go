// Package direct reads from and writes to sockets without waiting, for those who can do something better than wait, or who
// want to wait in a way of their own (see syscall.RawConn).
//
// Where the system allows it the runtime is not told of the call. Go's scheduler would prepare for one that blocks, and
// wake a thread that watches over such calls whenever the process was idle: a tenth of what an edge costs under a light
// load.
package direct

import (
	"net"
	"syscall"
)

// Conn is the raw side of a connection; nil where there is none, or where this system has no calls that do not wait.
func Conn(conn net.Conn) syscall.RawConn {
	socket, ok := conn.(syscall.Conn)
	if !ok || !possible {
		return nil
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}
