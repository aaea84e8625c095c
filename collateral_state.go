package poclog

import "time"

// A CollateralState is what is known of one piece of collateral. Its JSON is part of stable
// schemas: a log's /health and `poclog collateral show`.
type CollateralState struct {
	Kind       CollateralKind `json:"kind"`
	For        string         `json:"for,omitempty"`               // FMSPC, "platform" or "processor", launch measurement; empty where there is one for all
	Issuer     string         `json:"issuer,omitempty"`            // common name of who signed it
	Issued     time.Time      `json:"issued,omitzero"`             // zero where there is none
	NextUpdate time.Time      `json:"next_update,omitzero"`        // after it nothing is judged by it
	Evaluation string         `json:"evaluation_number,omitempty"` // tcbEvaluationDataNumber
	CRLNumber  string         `json:"crl_number,omitempty"`        // decimal
	DaysLeft   float64        `json:"days_left"`                   // negative after next_update
	Valid      bool           `json:"valid"`                       // now
	Missing    bool           `json:"missing,omitempty"`           // the issuer says that there is none
	Failures   int            `json:"failures,omitempty"`          // of the last attempts to refresh it, in a row
	Error      string         `json:"error,omitempty"`             // of the last one
	Failing    time.Time      `json:"failing_since,omitzero"`      // the first of them
	Next       time.Time      `json:"asked_again_at,omitzero"`     // not before
}
