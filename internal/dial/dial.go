// Package dial says which network addresses a stranger may have us connect to: public ones. Whoever
// chooses an address, such as a log that redirects or a certificate that nobody has verified yet,
// would otherwise reach what only this machine can reach.
package dial

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"
)

// ErrNotPublic says that an address is not public.
var ErrNotPublic = errors.New("is not a public address")

// reserved are networks that are not public and of which net/netip does not say so (RFC 6890):
// carriers' NAT, benchmarks, protocol assignments, and addresses in which an IPv4 address hides.
var reserved = prefixes("0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "198.18.0.0/15", "240.0.0.0/4",
	"64:ff9b::/96", "64:ff9b:1::/48", "2001::/32", "2002::/16")

func prefixes(list ...string) (out []netip.Prefix) {
	for _, p := range list {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

// IsPublic reports whether an address is one of the Internet's.
func IsPublic(ip netip.Addr) bool {
	ip = ip.Unmap()
	if !ip.IsGlobalUnicast() || ip.IsPrivate() {
		return false
	}
	for _, p := range reserved {
		if p.Contains(ip.WithZone("")) {
			return false
		}
	}
	return true
}

// PublicOnly refuses to connect to addresses that are not public, whatever names resolve to them,
// with an error that wraps [ErrNotPublic]. It is a net.Dialer's Control.
func PublicOnly(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	if !IsPublic(at.Addr()) {
		return fmt.Errorf("%s %w", at.Addr(), ErrNotPublic)
	}
	return nil
}
