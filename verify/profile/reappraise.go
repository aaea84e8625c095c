package profile

import (
	"time"

	"github.com/poclog/poclog/verify/receipt"
)

// A Reappraiser repeats appraisals by this package's appraiser, for those who check receipts and
// contradictions.
type Reappraiser struct{}

// Reappraise appraises the evidence as the entry says that it was, and returns the leaf that it
// gives.
func (Reappraiser) Reappraise(e receipt.Evidence, appraised time.Time, appraisal uint32) ([]byte, error) {
	a, err := Appraise(Input{
		Bundle: e.Bundle, Envelope: e.Envelope, Collateral: e.Collateral, Policy: e.Policy, Appraised: appraised, Appraisal: appraisal,
	})
	if err != nil {
		return nil, err
	}
	return a.Entry.Marshal()
}
