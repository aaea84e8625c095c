package profile

import (
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
)

// CheckSubmission is [CheckSubmitted] of a submission's files.
func CheckSubmission(s *poclog.Submission) error {
	b, err := poclog.ParseBundle(s.Bundle)
	if err != nil {
		return verify.Failf(verify.Format, "%w", err)
	}
	var c *poclog.Collateral
	if len(s.Collateral) > 0 {
		if c, err = poclog.ParseCollateral(s.Collateral); err != nil {
			return verify.Failf(verify.Format, "%w", err)
		}
	}
	return CheckSubmitted(b, c, s.Judged)
}

// CheckSubmitted refuses what the publisher of a submission could have chosen to be judged by
// (docs/format.md §11): collateral that its issuer did not sign, for only the judge asks for that;
// and, beside a challenge, a time. The collateral is nil, and the time zero, where there is none.
func CheckSubmitted(b *poclog.Bundle, c *poclog.Collateral, judged time.Time) error {
	if c != nil {
		for _, it := range c.Items {
			if !it.Kind.Signed() {
				return verify.Failf(verify.Collateral, "%s is unsigned: the judge asks for it itself", it.Kind)
			}
		}
	}
	if !judged.IsZero() && b.Has(poclog.ItemChallenge) {
		return verify.Failf(verify.FreshChallenge, "fresh evidence is judged when it is shown, not at %s", judged.UTC().Format(time.RFC3339))
	}
	return nil
}

// AppraiseAt judges a submission at the time that it asks for, and at in.Appraised, which is now;
// one that asks for none, now alone. Evidence that was good at a time must hold now, as far as it
// can without the collateral of then: keys that expired since may have leaked. [CheckSubmitted]
// goes before.
func AppraiseAt(in Input, asked time.Time, appraise func(Input) (*verify.Appraisal, error)) (*verify.Appraisal, error) {
	now := in.Appraised
	if asked.IsZero() {
		return appraise(in)
	}
	if asked.After(now) {
		return nil, verify.Failf(verify.Format, "judged %s: it is %s now", asked.Format(time.RFC3339), now.Format(time.RFC3339))
	}
	in.Appraised = asked
	a, err := appraise(in)
	if err != nil {
		return nil, err
	}
	in.Appraised, in.Collateral, in.Parsed.Collateral = now, nil, nil
	if _, err := appraise(in); err != nil {
		check, ok := verify.CheckOf(err)
		if !ok {
			return nil, err
		}
		return nil, verify.Failf(check, "at %s it passes, but not now: %w", asked.Format(time.RFC3339), err)
	}
	return a, nil
}
