package log

import (
	"context"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/httpd"
)

// A budget holds chips, keys and instances to a number of entries an hour. Who shares one shares
// its budget, by address: a co-tenant of a chip does not lock the others out.
type budget struct {
	off      bool
	entries  *httpd.Budget
	evidence *httpd.Budget
	http     *httpd.Server
}

func newBudget(c *Config, s *httpd.Server) *budget {
	return &budget{off: c.UnsafeUnlimited, entries: httpd.NewBudget(float64(c.Budget)), evidence: httpd.NewBudget(float64(c.Evidence)), http: s}
}

// spend spends one entry of every identity that it names but its quote.
func (b *budget) spend(ctx context.Context, e *poclog.Entry, now time.Time) error {
	if b.off {
		return nil
	}
	var names []string
	for _, id := range e.Identities() {
		if id.Kind() != poclog.QuoteKind {
			names = append(names, string(id))
		}
	}
	if name := b.entries.Spend(now, httpd.ClientOf(ctx), 1, names...); name != "" {
		b.http.Limited("budget")
		return refuse(httpd.KindTooMany, "entries of %s: this address has had its share of %g an hour", name, b.entries.PerHour())
	}
	return nil
}

// disk takes an address's share of what the log keeps in an hour.
func (b *budget) disk(ctx context.Context, size int, now time.Time) error {
	if b.off || b.evidence.Spend(now, httpd.ClientOf(ctx), float64(size), "disk") == "" {
		return nil
	}
	b.http.Limited("evidence")
	return refuse(httpd.KindTooMany, "%d bytes of evidence: this address has had its share of %d MiB an hour", size, int64(b.evidence.PerHour())>>20)
}
