// Package direct reads from and writes to sockets without waiting, for callers that have better to do than wait, or
// that wait in another way (see syscall.RawConn).
//
// Where the system allows it, Go's runtime is not involved in the call. Its scheduler would prepare for a call that
// blocks, and wake a thread that watches such calls whenever the process was idle: a tenth of an edge's CPU under a
// light load.
package direct

import (
	"net"
	"syscall"
)

// Conn returns the raw side of a connection. It is nil if the connection has none, or the system cannot read and
// write without waiting.
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
