// Package profile appraises bundles: it knows which items each profile has, which checks they must pass and in which order, and makes
// the entry that a log keeps.
//
// An appraisal is a pure function of [Input]. docs/format.md §8 specifies it under the number [poclog.Appraisal];
// docs/threat-model.md says what it does not prove.
package profile

import (
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
)

// Input is everything that an appraisal depends on.
type Input struct {
	Bundle     []byte    // a bundle's file
	Collateral []byte    // a collateral file, or nil where there is none
	Policy     []byte    // an appraisal policy's file
	Appraised  time.Time // when validity is judged: whole seconds
	Appraisal  uint32    // the appraisal specification: 1 to poclog.Appraisal
}

// Appraise judges a bundle. A failed check is an [*verify.Error].
func Appraise(in Input) (*verify.Appraisal, error) {
	if in.Appraisal < 1 || in.Appraisal > poclog.Appraisal {
		return nil, verify.Failf(verify.Format, "appraisal specification %d: this software knows 1 to %d", in.Appraisal, poclog.Appraisal)
	}
	return nil, verify.Failf(verify.Profile, "no profile fits the bundle")
}
