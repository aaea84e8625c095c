package main

import (
	"fmt"
	"net/netip"
	"os"
	"runtime/debug"
	"strconv"

	"github.com/spf13/pflag"

	"github.com/poclog/poclog/internal/httpd"
)

// registerHTTP adds the flags of a service's limits for strangers. Zero is no value: the defaults
// are right for a small public service.
func registerHTTP(f *pflag.FlagSet, c *httpd.Config) {
	f.Var((*proxyFlag)(&c.TrustedProxies), "trusted-proxy", "address or CIDR of a proxy whose X-Forwarded-For or Forwarded names the client; can be given more than once")
	f.IntVar(&c.Connections, "connections", httpd.DefaultConnections, "connections that are open at a time")
	f.IntVar(&c.Reads, "reads", httpd.DefaultReads, "requests that only read and are answered at a time")
	f.IntVar(&c.Writes, "writes", httpd.DefaultWrites, "requests that cost work and are answered at a time")
	f.IntVar(&c.Waiting, "waiting", httpd.DefaultWaiting, "requests whose work is done, and that wait for others, at a time")
	c.Memory = httpd.DefaultMemory
	f.Var((*mibFlag)(&c.Memory), "memory", "MiB that the process should stay within; bodies that are being read and judged get half of it")
	f.Int64Var(&c.LeastRate, "least-rate", httpd.DefaultLeastRate, "bytes a second below which a body or an answer is cut off")
}

// mibFlag is a number of bytes, given in MiB.
type mibFlag int64

func (m *mibFlag) String() string { return strconv.FormatInt(int64(*m)>>20, 10) }
func (m *mibFlag) Type() string   { return "MiB" }
func (m *mibFlag) Set(text string) error {
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil || n < leastMemory {
		return fmt.Errorf("%q: want MiB, at least %d", text, leastMemory)
	}
	*m = mibFlag(n << 20)
	return nil
}

const leastMemory = 128 // MiB

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

// outsideHeap is what a process takes beside what Go's collector manages: its program, and a
// database's pages.
const outsideHeap = 64 << 20

// limitHTTP refuses limits that are no limits, and holds the process to its memory: the collector
// works harder as the process comes near it, instead of letting garbage grow to the size of what
// lives.
func limitHTTP(c *httpd.Config) error {
	for name, v := range map[string]float64{
		"connections": float64(c.Connections), "reads": float64(c.Reads), "writes": float64(c.Writes), "waiting": float64(c.Waiting), "least-rate": float64(c.LeastRate),
	} {
		if v < 1 {
			return usagef("--%s %v: want at least 1", name, v)
		}
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(c.Memory - outsideHeap)
	}
	return nil
}
