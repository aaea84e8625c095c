package httpd

import (
	"math"
	"sync"
	"time"
)

// unlimited is a capacity that nobody reaches.
const unlimited = math.MaxInt64 / 4

// Shares divide a capacity among strangers: each may hold at most as much as it finds free. One
// alone gets half; with more of them each gets less, and always something is left for the next.
type Shares struct {
	capacity int64

	mu   sync.Mutex // guards what follows
	used int64
	held map[string]int64 // by holder; never zero
}

// NewShares returns the shares of a capacity.
func NewShares(capacity int64) *Shares {
	return &Shares{capacity: capacity, held: make(map[string]int64)}
}

// Take takes n for a holder, or nothing.
func (s *Shares) Take(who string, n int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held[who]+n > s.capacity-s.used {
		return false
	}
	if n > 0 {
		s.used += n
		s.held[who] += n
	}
	return true
}

// Give gives back what was taken.
func (s *Shares) Give(who string, n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used -= n
	if s.held[who] -= n; s.held[who] <= 0 {
		delete(s.held, who)
	}
}

// Used returns how much is taken.
func (s *Shares) Used() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used
}

// maxLevels bounds the memory of a Rate and of a Budget.
const maxLevels = 1 << 16

// A Rate holds each address to a number of requests a second, and five seconds' worth at once. What
// failed can cost more: an address can be in debt.
type Rate struct {
	every, burst float64

	mu sync.Mutex // guards m
	m  map[string]*level
}

// A level is an amount at a time.
type level struct {
	amount float64
	at     time.Time
}

// NewRate returns a limit of so many requests a second.
func NewRate(every float64) *Rate {
	return &Rate{every: every, burst: max(1, 5*every), m: make(map[string]*level)}
}

// Take takes one request, or says that none is left.
func (r *Rate) Take(now time.Time, who string) bool { return r.take(now, who, 1, 0) }

// Charge takes n more, whether they are there or not. Nobody owes more than a burst.
func (r *Rate) Charge(now time.Time, who string, n float64) { r.take(now, who, n, -math.MaxFloat64) }

// take takes n if at least the floor is left after it.
func (r *Rate) take(now time.Time, who string, n, floor float64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.m[who]
	if l == nil {
		if len(r.m) >= maxLevels {
			r.forget(now)
		}
		l = &level{r.burst, now}
		r.m[who] = l
	}
	l.amount, l.at = r.left(l, now), now
	if l.amount-n < floor {
		return false
	}
	l.amount = max(l.amount-n, -r.burst)
	return true
}

func (r *Rate) left(l *level, now time.Time) float64 {
	return min(r.burst, l.amount+r.every*max(0, now.Sub(l.at).Seconds()))
}

// forget drops who could take a full burst: a new one could, too. If there are none, all go: a
// flood of addresses must not end in a lack of memory.
func (r *Rate) forget(now time.Time) {
	for who, l := range r.m {
		if r.left(l, now) >= r.burst {
			delete(r.m, who)
		}
	}
	if len(r.m) >= maxLevels {
		clear(r.m)
	}
}

// budgetMemory is the time in which a budget forgets: what was spent before counts 1/e of it after.
const budgetMemory = time.Hour

// A Budget is an amount that can be spent on a name in an hour, such as entries of a chip.
// Strangers share each name's as they do [Shares]: nobody can spend more than he leaves. Who has
// spent nothing lately finds something, whatever others spend.
type Budget struct {
	perHour float64

	mu sync.Mutex // guards m
	m  map[spent]*level
}

// spent is what was spent on a name, by an address or by all.
type spent struct{ name, who string }

// NewBudget returns a budget of so much an hour for each name.
func NewBudget(perHour float64) *Budget { return &Budget{perHour: perHour, m: make(map[spent]*level)} }

// PerHour is what can be spent on a name.
func (b *Budget) PerHour() float64 { return b.perHour }

// Spend spends n on each name, or on none: it returns a name that has not enough left for this
// address, or "".
func (b *Budget) Spend(now time.Time, who string, n float64, names ...string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, name := range names {
		if b.at(now, spent{name, who})+n > b.perHour-b.at(now, spent{name: name}) {
			return name
		}
	}
	for _, name := range names {
		for _, key := range [...]spent{{name, who}, {name: name}} {
			if b.m[key] == nil && len(b.m) >= maxLevels {
				b.forget(now)
			}
			b.m[key] = &level{b.at(now, key) + n, now}
		}
	}
	return ""
}

func (b *Budget) at(now time.Time, key spent) float64 {
	l := b.m[key]
	if l == nil {
		return 0
	}
	return l.amount * math.Exp(-max(0, now.Sub(l.at).Seconds())/budgetMemory.Seconds())
}

// forget drops what counts less than the average. If that is nothing, all goes.
func (b *Budget) forget(now time.Time) {
	sum := 0.0
	for key := range b.m {
		sum += b.at(now, key)
	}
	mean := sum / float64(len(b.m))
	for key := range b.m {
		if b.at(now, key) < mean {
			delete(b.m, key)
		}
	}
	if len(b.m) >= maxLevels {
		clear(b.m)
	}
}
