// Package address says which addresses count as one client.
package address

import "net/netip"

// Key returns the network whose addresses count as one client: an IPv4 address alone, and the /64 of an IPv6 address,
// of which one host may use every address. An invalid address has the zero Prefix.
func Key(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits) // its error is an invalid address
	return p
}
