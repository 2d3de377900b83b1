package cluster

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
)

// errOutside is the error of an address of an edge that is not in Settings.Within.
var errOutside = errors.New("its address lies outside edges.networks")

// Within reports whether an address lies in one of some networks. Any address does if there are none.
func Within(networks []netip.Prefix, address netip.Addr) bool {
	address = address.Unmap().WithZone("")
	return len(networks) == 0 || slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Contains(address) })
}

// checkAnnounced returns errOutside for an address outside the networks. A name passes: mayDial checks what it stands
// for.
func (c *Cluster) checkAnnounced(hostPort string) error {
	host, _, _ := net.SplitHostPort(hostPort)
	if address, err := netip.ParseAddr(host); err == nil && !Within(c.set.Within, address) {
		return errOutside
	}
	return nil
}

// mayDial returns an error for an address outside the networks, before a connection to it is made. It is the Control
// of a net.Dialer, so it sees the addresses that names resolve to.
func (c *Cluster) mayDial(_, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil || !Within(c.set.Within, to.Addr()) {
		c.stats.outside.Inc()
		return fmt.Errorf("%s: %w", address, errOutside)
	}
	return nil
}
