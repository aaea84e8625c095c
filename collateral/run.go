package collateral

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/poclog/poclog"
)

// maxSleep bounds how long Run sleeps: the clock may be set.
const maxSleep = 10 * time.Minute

// Run asks again, until the context ends, for what is due: what is kept, before it expires, and
// what failed.
func (c *Cache) Run(ctx context.Context) {
	for ctx.Err() == nil {
		due, sleep := c.due()
		var wg sync.WaitGroup
		for _, k := range due {
			wg.Go(func() { _ = c.ask(ctx, k) }) // the slot keeps what came of it
		}
		wg.Wait()
		if len(due) > 0 {
			continue
		}
		timer := time.NewTimer(sleep)
		select {
		case <-timer.C:
		case <-c.changed:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// due returns what is to be asked for now, and the time until something is. That the issuer has
// none is not asked again before somebody wants it.
func (c *Cache) due() (keys []Key, sleep time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.cfg.Now()
	sleep = maxSleep
	for k, s := range c.slots {
		if s.none {
			continue
		}
		if wait := s.next.Sub(now); wait > 0 {
			sleep = min(sleep, wait)
		} else {
			keys = append(keys, k)
		}
	}
	return keys, sleep
}

// Refresh asks for all of a list, also for what is valid. Errors are as FetchAll's; what is kept
// stays.
func (c *Cache) Refresh(ctx context.Context, needs []Need) error {
	for _, n := range needs {
		if err := c.ask(ctx, n.Key); err != nil {
			return &UnavailableError{Key: n.Key, Err: err}
		}
	}
	return nil
}

// Collateral returns what is kept and valid of a list.
func (c *Cache) Collateral(needs []Need) *poclog.Collateral {
	out := new(poclog.Collateral)
	for _, n := range needs {
		if it, _ := c.known(n.Key); it != nil {
			out = out.With(*it)
		}
	}
	return out
}

// State returns what is known of every key, what expires first in front.
func (c *Cache) State() []poclog.CollateralState {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.cfg.Now()
	out := make([]poclog.CollateralState, 0, len(c.slots))
	for k, s := range c.slots {
		st := poclog.CollateralState{Kind: k.Kind, For: k.For, Missing: s.none, Failures: s.failures, Failing: s.failing.UTC(), Next: s.next.UTC()}
		if s.err != nil {
			st.Error = s.err.Error()
		}
		if s.item != nil {
			s.facts.describe(k.Kind, &st, now)
		}
		out = append(out, st)
	}
	slices.SortFunc(out, func(a, b poclog.CollateralState) int {
		return cmp.Or(a.NextUpdate.Compare(b.NextUpdate), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.For, b.For))
	})
	return out
}

func (f *Facts) describe(kind poclog.CollateralKind, st *poclog.CollateralState, now time.Time) {
	st.Issuer = f.Issuer
	if kind == poclog.AllianceToken && f.Until.IsZero() {
		st.Valid = true // it has no time of its own: that of its quote counts
		return
	}
	st.Issued, st.NextUpdate = f.Issued.UTC(), f.Until.UTC()
	st.Valid = f.Has(now)
	st.DaysLeft = float64(int(f.Until.Sub(now).Hours()/24*10)) / 10
	switch kind {
	case poclog.TDXTCBInfo, poclog.TDXQEIdentity:
		st.Evaluation = f.mark().number.String()
	case poclog.IntelPCKCRL, poclog.IntelRootCRL:
		st.CRLNumber = f.mark().number.String()
	}
}
