package listen

import (
	"container/list"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"partyline/internal/address"
)

const (
	// settleTime is how long a connection waits before it may be closed for a new one. Many clients that come at once
	// must not close each other's connections.
	settleTime = time.Second
	// recoverTime is how long the process is not ready after it has refused a connection that it had no place for.
	recoverTime = 10 * time.Second
	// maxEdges bounds the addresses of other edges.
	maxEdges = 1024
)

// table has the connections of a process. Limiter.mu guards it.
type table struct {
	max        int            // connections of the process
	perAddress int            // of one client; 0: no limit
	proxies    []netip.Prefix // static

	open      int
	addresses map[netip.Prefix]int    // connections by client, if perAddress is set
	edges     map[netip.Addr]struct{} // where requests of other edges have come from
	waiting   list.List               // of *conn; the one that has waited longest is first
	full      time.Time               // when a connection was last refused for want of a place
}

// trust notes an address of another edge.
func (t *table) trust(from netip.Addr) {
	if len(t.edges) < maxEdges {
		t.edges[from] = struct{}{}
	}
}

// isTrusted reports whether an address is a proxy's or another edge's.
func (t *table) isTrusted(from netip.Addr) bool {
	_, isEdge := t.edges[from]
	return isEdge || slices.ContainsFunc(t.proxies, func(p netip.Prefix) bool { return p.Contains(from) })
}

// admit counts a connection if there is a place for it, and returns the one that gives way to it, or nil.
func (t *table) admit(c *conn, now time.Time) (why reason, evicted *conn) {
	client := address.Key(c.from)
	c.isCounted = t.perAddress > 0 && !t.isTrusted(c.from)
	if c.isCounted && t.addresses[client] >= t.perAddress {
		return perAddress, nil
	}
	ok, evicted := t.reserve(now)
	if !ok {
		return perProcess, nil
	}
	if c.isCounted {
		t.addresses[client]++
	}
	t.wait(c, now)
	return admitted, evicted
}

// reserve counts a connection against the process if there is a place for it, and returns the one that gives way to
// it, or nil.
func (t *table) reserve(now time.Time) (ok bool, evicted *conn) {
	if t.open >= t.max || t.waiting.Len() >= t.max/2 {
		evicted = t.evict(now)
	}
	if t.open >= t.max {
		t.full = now
		return false, nil
	}
	t.open++
	return true, evicted
}

// evict removes the connection that has waited longest, if it has waited for settleTime. It returns nil otherwise.
func (t *table) evict(now time.Time) *conn {
	first := t.waiting.Front()
	if first == nil || now.Sub(first.Value.(*conn).since) < settleTime {
		return nil
	}
	c := first.Value.(*conn)
	t.remove(c)
	return c
}

// track notes a state that net/http reports, and reports whether the connection may be idle for proxyIdle.
func (t *table) track(c *conn, state http.ConnState, now time.Time) (isKept bool) {
	t.stopWaiting(c)
	if state != http.StateIdle || c.isRemoved {
		return false
	}
	if t.isTrusted(c.from) {
		return true
	}
	t.wait(c, now)
	return false
}

// wait puts a connection that has no request at the end of the waiting ones.
func (t *table) wait(c *conn, now time.Time) {
	c.since = now
	c.waiting = t.waiting.PushBack(c)
}

// stopWaiting takes a connection from the waiting ones.
func (t *table) stopWaiting(c *conn) {
	if c.waiting != nil {
		t.waiting.Remove(c.waiting)
		c.waiting = nil
	}
}

// remove stops counting a connection.
func (t *table) remove(c *conn) {
	if c.isRemoved {
		return
	}
	c.isRemoved = true
	t.open--
	t.stopWaiting(c)
	if client := address.Key(c.from); c.isCounted {
		if t.addresses[client]--; t.addresses[client] == 0 {
			delete(t.addresses, client)
		}
	}
}

// isFull reports whether there is no place for a new connection, or was none within recoverTime.
func (t *table) isFull(now time.Time) bool {
	return t.open >= t.max && t.waiting.Len() == 0 || !t.full.IsZero() && now.Sub(t.full) < recoverTime
}
