package hook

import (
	"fmt"
	"net/netip"
	"syscall"
)

// Addresses of the services that tell a virtual machine its secrets, and that are not link-local.
var metadata = []netip.Addr{
	netip.MustParseAddr("fd00:ec2::254"),   // AWS
	netip.MustParseAddr("fd20:ce::254"),    // Google Cloud
	netip.MustParseAddr("100.100.100.200"), // Alibaba Cloud
	netip.MustParseAddr("168.63.129.16"),   // Azure
	netip.MustParseAddr("192.0.0.192"),     // Oracle Cloud
}

// Ranges that are not public, and that netip does not know as private.
var internal = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("240.0.0.0/4"), netip.MustParsePrefix("fec0::/10"),
	netip.MustParsePrefix("64:ff9b:1::/48"), // of a translator in the own network (RFC 8215)
}

// translated is where IPv6 has the addresses of IPv4 (RFC 6052, 3056, 7915), and at which byte.
var translated = []struct {
	prefix netip.Prefix
	at     int
}{
	{netip.MustParsePrefix("64:ff9b::/96"), 12}, {netip.MustParsePrefix("64:ff9b:1::/48"), 12},
	{netip.MustParsePrefix("2002::/16"), 2}, {netip.MustParsePrefix("::/96"), 12}, {netip.MustParsePrefix("::ffff:0:0:0/96"), 12},
}

// control returns what net.Dialer calls with the address that it connects to, after DNS: so no name can lead to an
// address that is refused.
func control(denyPrivate bool) func(network, address string, _ syscall.RawConn) error {
	return func(_, address string, _ syscall.RawConn) error {
		to, err := netip.ParseAddrPort(address)
		if err != nil {
			return fmt.Errorf("address %s is refused: %w", address, err)
		}
		if why := denied(to.Addr(), denyPrivate); why != "" {
			return fmt.Errorf("address %s is refused: it is %s", to.Addr(), why)
		}
		return nil
	}
}

// denied returns what is wrong with an address, or "".
func denied(a netip.Addr, denyPrivate bool) string {
	a = a.Unmap().WithZone("")
	isMetadata := false
	for _, one := range metadata {
		isMetadata = isMetadata || a == one
	}
	switch {
	case isMetadata:
		return "that of a metadata service"
	case a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified():
		return "link-local, multicast or unspecified"
	case denyPrivate && (a.IsPrivate() || a.IsLoopback()):
		return "private, and the hook has deny_private"
	}
	for _, range_ := range internal {
		if denyPrivate && range_.Contains(a) {
			return "internal, and the hook has deny_private"
		}
	}
	for _, t := range translated {
		if bytes := a.As16(); a.Is6() && !a.IsLoopback() && t.prefix.Contains(a) {
			return denied(netip.AddrFrom4([4]byte(bytes[t.at:t.at+4])), denyPrivate)
		}
	}
	return ""
}
