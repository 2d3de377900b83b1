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

// Below returns the connection below TLS, or conn itself if it has none. Its Close does not wait. That of a tls.Conn
// may wait 5 seconds for a client that does not read, since it writes a last record.
func Below(conn net.Conn) net.Conn {
	if secure, ok := conn.(interface{ NetConn() net.Conn }); ok {
		return secure.NetConn()
	}
	return conn
}

// Conn returns the raw side of a connection. It is nil if the connection has none, as TLS, or the system cannot read
// and write without waiting.
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
