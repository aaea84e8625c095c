package log

import (
	"errors"
	"io"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	"github.com/poclog/poclog"
)

// maxLimiters bounds the memory of limits: when it is reached, those that have been idle long enough to be full again are forgotten.
const maxLimiters = 1 << 16

// limits hold addresses to a rate, and chips, keys and instances to a budget.
type limits struct {
	off     bool
	clients *limiterSet
	ids     *limiterSet
}

func newLimits(c *Config) *limits {
	return &limits{
		off:     c.UnsafeUnlimited,
		clients: &limiterSet{every: rate.Limit(c.Rate), burst: max(1, int(5*c.Rate)), m: make(map[string]*rate.Limiter)},
		ids:     &limiterSet{every: rate.Limit(float64(c.Budget) / 3600), burst: max(1, c.Budget/4), m: make(map[string]*rate.Limiter)},
	}
}

// client takes one submission of a peer's address and port.
func (l *limits) client(peer string, now time.Time) error {
	if l.off || l.clients.take(now, network(peer)) == "" {
		return nil
	}
	return tooMany("submissions from this address: over %g a second", float64(l.clients.every))
}

// network is whose rate a peer's submissions count to: its IPv4 address, or its /64, of which one customer has all addresses.
func network(peer string) string {
	ap, err := netip.ParseAddrPort(peer)
	if err != nil {
		return peer
	}
	a := ap.Addr().Unmap().WithZone("")
	if a.Is4() {
		return a.String()
	}
	p, err := a.Prefix(64)
	if err != nil {
		return peer
	}
	return p.String()
}

// entry takes one entry of every identity that it names but its quote.
func (l *limits) entry(e *poclog.Entry, now time.Time) error {
	if l.off {
		return nil
	}
	var names []string
	for _, id := range e.Identities() {
		if id.Kind() != poclog.QuoteKind {
			names = append(names, string(id))
		}
	}
	if name := l.ids.take(now, names...); name != "" {
		return tooMany("entries of %s: over %d an hour", name, int(float64(l.ids.every)*3600+0.5))
	}
	return nil
}

type limiterSet struct {
	every rate.Limit
	burst int

	mu sync.Mutex // guards m
	m  map[string]*rate.Limiter
}

// take takes one of each name, or of none: it returns a name that has none left, or "".
func (s *limiterSet) take(now time.Time, names ...string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range names {
		if l := s.m[name]; l != nil && l.TokensAt(now) < 1 {
			return name
		}
	}
	for _, name := range names {
		if s.m[name] == nil {
			if len(s.m) >= maxLimiters {
				s.forget(now)
			}
			s.m[name] = rate.NewLimiter(s.every, s.burst)
		}
		s.m[name].AllowN(now, 1)
	}
	return ""
}

// forget drops limiters that are full: a new one would say the same. If none is, all go: a flood of names must not end in a lack of memory.
func (s *limiterSet) forget(now time.Time) {
	for name, l := range s.m {
		if l.TokensAt(now) >= float64(s.burst) {
			delete(s.m, name)
		}
	}
	if len(s.m) >= maxLimiters {
		clear(s.m)
	}
}

var errMemory = errors.New("too many submissions are being read")

// A meter takes memory for what is read through it from a pool that all submissions share, and ends where there is none. What a slow peer
// promises to send takes nothing.
type meter struct {
	r     io.Reader
	pool  *semaphore.Weighted
	taken int64
}

func (m *meter) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	if n > 0 && !m.pool.TryAcquire(int64(n)) {
		return 0, errMemory
	}
	m.taken += int64(n)
	return n, err
}

func (m *meter) release() {
	m.pool.Release(m.taken)
	m.taken = 0
}
