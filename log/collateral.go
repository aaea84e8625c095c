package log

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/httpd"
	"github.com/poclog/poclog/verify"
)

// Collateral keeps what manufacturers and providers publish: collateral.Cache. What it returns is
// authentic, valid and never older than what it returned before.
type Collateral interface {
	// Newest returns the newest valid collateral that is known for a bundle, what its submitter
	// offers counted. It asks nobody. complete says that nothing is missing but what its issuer
	// says there is none of.
	Newest(b *poclog.Bundle, offered *poclog.Collateral) (c *poclog.Collateral, complete bool)
	// Fetch asks for what is missing. An error that says how long not to ask has a method
	// RetryAfter.
	Fetch(ctx context.Context, b *poclog.Bundle) error
	// Run refreshes what is known until the context ends.
	Run(ctx context.Context)
	// State returns what is known, what expires first in front.
	State() []poclog.CollateralState
}

// maxStates bounds what /health and /metrics list.
const maxStates = 64

// collateralState is what /health says of collateral.
func (s *Service) collateralState() (states []poclog.CollateralState, warnings []string) {
	if s.cfg.Collateral == nil {
		return nil, nil
	}
	for _, st := range s.cfg.Collateral.State() {
		if len(states) < maxStates {
			states = append(states, st)
		}
		if st.Failures == 0 || len(warnings) == maxStates {
			continue
		}
		until := "none is known"
		if !st.NextUpdate.IsZero() {
			until = "valid until " + st.NextUpdate.Format(time.RFC3339)
		}
		if !st.NextUpdate.IsZero() && !st.Valid {
			until = "expired at " + st.NextUpdate.Format(time.RFC3339)
		}
		warnings = append(warnings, fmt.Sprintf("%s %s is unavailable since %s (%s): %.200s", st.Kind, st.For, st.Failing.Format(time.RFC3339), until, st.Error))
	}
	return states, warnings
}

// withCollateral gives a submission of fresh evidence the newest valid collateral that the log
// knows, and has what is missing fetched. Before that the evidence must be genuine and within its
// budgets, which are then charged: nobody makes the log ask the manufacturer for nothing.
// Historical evidence brings its own.
func (s *Service) withCollateral(ctx context.Context, r *reading) error {
	if s.cfg.Collateral == nil || !r.Judged.IsZero() || !r.bundle.Has(poclog.ItemChallenge) {
		return nil
	}
	newest, complete, err := s.newest(ctx, r)
	if err != nil {
		return err
	}
	_, logged, err := s.duplicates.findBundle(ctx, r.digest)
	if err != nil {
		return err
	}
	if !complete && !logged {
		if err := s.charge(ctx, r); err != nil {
			return err
		}
		unavailable := s.cfg.Collateral.Fetch(ctx, r.bundle)
		if newest, complete, err = s.newest(ctx, r); err != nil {
			return err
		}
		if !complete {
			if newest, err = s.outage(newest, unavailable); err != nil {
				return err
			}
		}
	}
	return r.takeCollateral(newest)
}

// newest is Newest in its turn: what is offered is verified.
func (s *Service) newest(ctx context.Context, r *reading) (*poclog.Collateral, bool, error) {
	done, err := s.turn(ctx)
	if err != nil {
		return nil, false, err
	}
	defer done()
	c, complete := s.cfg.Collateral.Newest(r.bundle, r.offered)
	return c, complete, nil
}

// charge holds evidence to what can be checked without collateral, and takes its budgets.
func (s *Service) charge(ctx context.Context, r *reading) error {
	done, err := s.turn(ctx)
	if err != nil {
		return err
	}
	defer done()
	in := s.input(r)
	in.Collateral, in.Parsed.Collateral = nil, nil
	a, err := s.judgeBy(s.cfg.Genuine, in)
	if err != nil {
		return err
	}
	if err := s.budget.spend(ctx, &a.Entry, s.cfg.Now()); err != nil {
		return err
	}
	r.charged = true
	return nil
}

// standing is the collateral that says whether a chip is revoked or out of date: all of it judges,
// or none.
var standing = []poclog.CollateralKind{poclog.TDXTCBInfo, poclog.TDXQEIdentity, poclog.IntelPCKCRL, poclog.IntelRootCRL, poclog.AMDCRL}

// outage decides what happens where collateral is neither known nor to be had: 503 or, where the
// operator says so, to judge without.
func (s *Service) outage(c *poclog.Collateral, why error) (*poclog.Collateral, error) {
	if why == nil {
		why = errors.New("collateral expired while it was asked for")
	}
	if !s.cfg.UnsafeWithoutCollateral {
		return nil, &httpd.Refusal{Kind: kindCollateral, Err: verify.Failf(verify.Collateral, "%w", why), Detail: why.Error(), Check: string(verify.Collateral)}
	}
	without := new(poclog.Collateral)
	for _, it := range c.Items {
		if !slices.Contains(standing, it.Kind) {
			without = without.With(it)
		}
	}
	return without, nil
}
