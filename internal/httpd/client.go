package httpd

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
)

// proxies are those whose word on a client's address counts.
type proxies struct {
	trusted []netip.Prefix
	hidden  atomic.Bool // clients came through a proxy on this machine that is not trusted
}

func (p *proxies) trusts(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return slices.ContainsFunc(p.trusted, func(t netip.Prefix) bool { return t.Contains(a) })
}

// ParseProxy parses an address or a CIDR prefix of a trusted proxy.
func ParseProxy(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	return p.Masked(), err
}

// client returns whose share a request counts to.
func (s *Server) client(r *http.Request) string {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr // a Unix socket
	}
	addr := peer.Addr()
	if !s.proxies.trusts(addr) {
		if addr.IsLoopback() && (len(r.Header["X-Forwarded-For"]) > 0 || len(r.Header["Forwarded"]) > 0) && !s.proxies.hidden.Swap(true) {
			s.cfg.Logger.Warn(hiddenClients)
		}
		return network(addr)
	}
	return network(s.proxies.forwarded(addr, r.Header))
}

const hiddenClients = "requests come through a proxy on this machine, which is not trusted: all clients behind it share one address's limits; trust it with --trusted-proxy 127.0.0.1 (and ::1)"

// Warnings are what an operator should change, for /health.
func (s *Server) Warnings() []string {
	if s.proxies.hidden.Load() {
		return []string{hiddenClients}
	}
	return nil
}

// forwarded returns the address of a client behind trusted proxies: the rightmost that is not a
// proxy's, for everything to the left of it is the client's own word. Where the two headers
// disagree one of them is not the proxy's: then all are the proxy itself.
func (p *proxies) forwarded(peer netip.Addr, h http.Header) netip.Addr {
	x, hasX := p.rightmost(peer, h["X-Forwarded-For"], func(e string) string { return e })
	f, hasF := p.rightmost(peer, h["Forwarded"], forParameter)
	switch {
	case hasX && hasF && x != f:
		return peer
	case hasX:
		return x
	case hasF:
		return f
	}
	return peer
}

// rightmost goes through a header's list from its end, while the addresses are proxies'. What is no
// address ends it: then the proxy that wrote it is the client.
func (p *proxies) rightmost(peer netip.Addr, lines []string, address func(string) string) (netip.Addr, bool) {
	if len(lines) == 0 {
		return peer, false
	}
	for _, e := range slices.Backward(strings.Split(strings.Join(lines, ","), ",")) {
		a, ok := parseAddr(address(strings.TrimSpace(e)))
		if !ok {
			break
		}
		if peer = a; !p.trusts(a) {
			break
		}
	}
	return peer, true
}

// forParameter returns the for parameter of an element of Forwarded (RFC 7239, section 4).
func forParameter(element string) string {
	for part := range strings.SplitSeq(element, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		if strings.EqualFold(name, "for") {
			return strings.Trim(value, `"`)
		}
	}
	return ""
}

// parseAddr parses an address with or without brackets and port.
func parseAddr(text string) (netip.Addr, bool) {
	if ap, err := netip.ParseAddrPort(text); err == nil {
		return ap.Addr(), true
	}
	a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(text, "["), "]"))
	return a, err == nil
}

// network is whose share an address counts to: itself, or its /64, of which one customer has all
// addresses.
func network(a netip.Addr) string {
	a = a.Unmap().WithZone("")
	if p, err := a.Prefix(64); err == nil && a.Is6() {
		return p.String()
	}
	return a.String()
}
