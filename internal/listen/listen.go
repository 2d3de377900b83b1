// Package listen bounds the TCP connections of a process, so that no client takes the file descriptors of the others.
//
// Every connection counts from the moment it is accepted, or dialled with Limiter.Dial, until it is closed: against
// the process, and against its client's address unless that is a proxy's or another edge's. What is over a bound is
// closed at once. A connection without a request, because none came yet or none comes any more, waits. Waiting
// connections give way: beyond half of the process's bound, and at that bound, the one that has waited longest is
// closed for a new one.
package listen

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"partyline/internal/tally"
	"partyline/internal/throttle"
)

// ErrFull is returned by Dial when the process has as many connections as it may have.
var ErrFull = errors.New("no connection is free: limits.connections, or the limit of open files, is reached")

// Settings is what a Limiter needs.
type Settings struct {
	Connections int            // of the process; 0, or more than there are descriptors for: as many as these allow
	PerAddress  int            // of one client (see address.Key); 0: no limit
	Proxies     []netip.Prefix // whose connections count against the process only
	Log         *slog.Logger
}

// Limiter bounds the connections of a process. It is safe for concurrent use.
type Limiter struct {
	log        *slog.Logger
	complaints *throttle.Logger
	cut        atomic.Bool // see Cut

	mu    sync.Mutex
	table table // guarded by mu

	stats struct {
		refused [reasons]tally.Counter
		evicted tally.Counter
	}
}

// reason is why a connection was refused.
type reason uint8

const (
	admitted    reason = iota
	perAddress         // its client has as many as limits.connections_per_address allows
	perProcess         // the process has as many as limits.connections allows
	descriptors        // the system gave no descriptor
	reasons
)

var reasonWords = [reasons]string{perAddress: "address", perProcess: "process", descriptors: "descriptors"}

// New makes a Limiter. If set.Connections is more than the descriptors allow, it logs that.
func New(set Settings) *Limiter {
	l := &Limiter{log: set.Log, complaints: throttle.New(set.Log)}
	l.table = table{
		proxies: set.Proxies, addresses: make(map[netip.Prefix]int), edges: make(map[netip.Addr]struct{}),
	}
	l.SetLimits(set.Connections, set.PerAddress)
	return l
}

// SetLimits replaces Settings.Connections and Settings.PerAddress. Connections that there are go on; they count for
// their addresses if they came with a limit for these.
func (l *Limiter) SetLimits(connections, perAddress int) {
	most := mostConnections()
	if connections > most {
		l.log.Warn("limits.connections is more than the limit of open files allows: raise that (ulimit -n)",
			"limits.connections", connections, "used", most)
	}
	if connections == 0 || connections > most {
		connections = most
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.table.max, l.table.perAddress = connections, perAddress
}

// spare returns how many of a number of descriptors are not for connections. They are for NATS, the operator's pages,
// the log, and files.
func spare(descriptors int) int { return min(max(descriptors/16, 64), 1024, descriptors/2) }

// Max returns how many connections the process may have.
func (l *Limiter) Max() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.table.max
}

// Trust notes that another edge's requests come from an address, with a port. Its connections count against the
// process only.
func (l *Limiter) Trust(remote string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.table.trust(addressOf(remote))
}

// addressOf returns the address of address:port, or the zero Addr.
func addressOf(remote string) netip.Addr {
	from, _ := netip.ParseAddrPort(remote)
	return from.Addr().Unmap().WithZone("")
}

// admit counts a connection, or returns nil if there is no place for it.
func (l *Limiter) admit(tcp *net.TCPConn) *conn {
	c := &conn{TCPConn: tcp, limiter: l, from: addressOf(tcp.RemoteAddr().String())}
	l.mu.Lock()
	why, evicted := l.table.admit(c, time.Now())
	l.mu.Unlock()
	l.closeEvicted(evicted)
	if why != admitted {
		l.refuse(why, "address", c.from)
		return nil
	}
	return c
}

// closeEvicted closes a connection that has given way, if there is one.
func (l *Limiter) closeEvicted(c *conn) {
	if c != nil {
		l.stats.evicted.Inc()
		_ = c.TCPConn.Close() // does not wait, since it is below TLS
	}
}

// refuse counts and logs a connection that was refused.
func (l *Limiter) refuse(why reason, attributes ...any) {
	l.stats.refused[why].Inc()
	attributes = append(attributes, "limit", reasonWords[why], "connections", l.Max())
	l.complaints.Log(slog.LevelWarn, "refused a connection", reasonWords[why], "", attributes...)
}

// Track is http.Server.ConnState of the servers behind Listen.
func (l *Limiter) Track(socket net.Conn, state http.ConnState) {
	if secure, ok := socket.(interface{ NetConn() net.Conn }); ok {
		socket = secure.NetConn()
	}
	c, ok := socket.(*conn)
	if !ok || state == http.StateNew { // admit has counted it
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if isKept := l.table.track(c, state, time.Now()); isKept {
		c.isKept.Store(true)
	}
}

// Dial opens a connection that counts against the process. Its error is ErrFull if there is no place for it.
func (l *Limiter) Dial(ctx context.Context, dialer *net.Dialer, network, address string) (net.Conn, error) {
	l.mu.Lock()
	ok, evicted := l.table.reserve(time.Now())
	l.mu.Unlock()
	l.closeEvicted(evicted)
	if !ok {
		return nil, ErrFull
	}
	c := &conn{limiter: l}
	dialled, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		l.remove(c)
		return nil, err
	}
	c.TCPConn = dialled.(*net.TCPConn)
	return c, nil
}

// remove stops counting a connection.
func (l *Limiter) remove(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.table.remove(c)
}

// Cut makes all writes fail from now on. Then the end of a TLS connection, which writes a last record, does not wait
// for a client that does not read.
func (l *Limiter) Cut() { l.cut.Store(true) }

// Ready returns why clients should go elsewhere; nil if there are connections for them.
func (l *Limiter) Ready() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.table.isFull(time.Now()) {
		return nil
	}
	return []string{fmt.Sprintf("out of connections: %d are open of %d, which limits.connections or the limit of open files "+
		"(ulimit -n) allows", l.table.open, l.table.max)}
}

// Metrics returns what the limiter counts.
func (l *Limiter) Metrics() *tally.Set {
	set := &tally.Set{}
	figure := func(read func() int) func() float64 {
		return func() float64 {
			l.mu.Lock()
			defer l.mu.Unlock()
			return float64(read())
		}
	}
	set.Func(tally.KindGauge, "connections", "TCP connections of clients and other edges, also those to other edges.",
		figure(func() int { return l.table.open }))
	set.Func(tally.KindGauge, "connections_waiting", "Those of clients that have no request under way and no WebSocket.",
		figure(func() int { return l.table.waiting.Len() }))
	set.Func(tally.KindGauge, "connections_most", "TCP connections that the process may have.",
		func() float64 { return float64(l.Max()) })
	set.Counter(&l.stats.evicted, "connections_evicted_total", "Connections without a request that were closed for new ones.")
	for i := perAddress; i < reasons; i++ {
		set.LabelledCounter(&l.stats.refused[i], "connections_refused_total",
			"Connections closed as soon as they were accepted, by the limit that was reached.", "limit", reasonWords[i])
	}
	l.complaints.Metrics(set, "listen")
	return set
}
