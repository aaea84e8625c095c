package main

import (
	"fmt"
	"net/netip"

	"github.com/spf13/pflag"

	"github.com/poclog/poclog/internal/httpd"
)

// registerHTTP adds the flags of a service's limits for strangers. Zero is no value: the defaults are right for a small public service.
func registerHTTP(f *pflag.FlagSet, c *httpd.Config) {
	f.Var((*proxyFlag)(&c.TrustedProxies), "trusted-proxy", "address or CIDR of a proxy whose X-Forwarded-For or Forwarded names the client; can be given more than once")
	f.IntVar(&c.Connections, "connections", httpd.DefaultConnections, "connections that are open at a time")
	f.IntVar(&c.Reads, "reads", httpd.DefaultReads, "requests that only read and are answered at a time")
	f.IntVar(&c.Writes, "writes", httpd.DefaultWrites, "requests that cost work and are answered at a time")
	f.Int64Var(&c.LeastRate, "least-rate", httpd.DefaultLeastRate, "bytes a second below which a body or an answer is cut off")
}

// proxyFlag collects trusted proxies.
type proxyFlag []netip.Prefix

func (p *proxyFlag) String() string { return "" }
func (p *proxyFlag) Type() string   { return "cidr" }
func (p *proxyFlag) Set(text string) error {
	prefix, err := httpd.ParseProxy(text)
	if err != nil {
		return fmt.Errorf("%q is no address and no CIDR prefix", text)
	}
	*p = append(*p, prefix)
	return nil
}

// checkHTTP refuses limits that are no limits.
func checkHTTP(c *httpd.Config) error {
	for name, v := range map[string]float64{
		"connections": float64(c.Connections), "reads": float64(c.Reads), "writes": float64(c.Writes), "least-rate": float64(c.LeastRate),
	} {
		if v < 1 {
			return usagef("--%s %v: want at least 1", name, v)
		}
	}
	return nil
}
