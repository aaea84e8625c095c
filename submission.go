package poclog

import (
	"bytes"
	"fmt"
	"time"
)

// MaxSubmission is the largest submission, in bytes: a bundle and collateral of the greatest size, in base64url.
const MaxSubmission = (MaxBundle+MaxCollateral)*4/3 + 1<<10

// Media types of what is sent to a log.
const (
	BundleType     = "application/vnd.poclog.bundle+json"
	SubmissionType = "application/vnd.poclog.submission+json"
	ReceiptType    = "text/x.tlog-proof"
)

// A Submission is a bundle with the collateral that its publisher has at hand, docs/format.md §11.
type Submission struct {
	Bundle     []byte    // the bundle's file
	Collateral []byte    // a collateral file, or empty
	Judged     time.Time // historical evidence: the time at which it asks to be judged, whole seconds; zero otherwise

	// Envelope is the envelope that the submission came in, or empty. It is not part of the submission's file.
	Envelope []byte
}

// Marshal returns the submission's file.
func (s *Submission) Marshal() ([]byte, error) {
	if len(s.Bundle) == 0 || len(s.Bundle) > MaxBundle || len(s.Collateral) > MaxCollateral {
		return nil, fmt.Errorf("submission: bundle of %d and collateral of %d bytes: want 1 to %d, and at most %d",
			len(s.Bundle), len(s.Collateral), MaxBundle, MaxCollateral)
	}
	e := encoder{buf: []byte(`{"v":1`)}
	e.base64("bundle", s.Bundle)
	if len(s.Collateral) > 0 {
		e.base64("collateral", s.Collateral)
	}
	if !s.Judged.IsZero() {
		e.time("judged", s.Judged)
	}
	e.char('}')
	return e.buf, nil
}

// ParseSubmission parses a submission. It looks neither into the bundle nor into the collateral.
func ParseSubmission(file []byte) (*Submission, error) {
	if len(file) > MaxSubmission {
		return nil, fmt.Errorf("submission of %d bytes: want at most %d", len(file), MaxSubmission)
	}
	s := new(Submission)
	d := decoder{b: file}
	d.lit(`{"v":1`)
	d.name("bundle")
	s.Bundle = d.base64(MaxBundle)
	if d.has("collateral") {
		s.Collateral = d.base64(MaxCollateral)
	}
	if d.has("judged") {
		if s.Judged = d.bareTime(); s.Judged.IsZero() {
			d.fail("judged: the zero time is left out")
		}
	}
	d.lit("}")
	if err := d.end(); err != nil {
		return nil, fmt.Errorf("parse submission: %w", err)
	}
	return s, nil
}

// IsSubmission reports whether a file looks like a submission rather than a bundle.
func IsSubmission(file []byte) bool { return bytes.HasPrefix(file, []byte(`{"v":1,"bundle":`)) }
