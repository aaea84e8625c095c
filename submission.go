package poclog

import (
	"fmt"
	"time"

	"github.com/poclog/poclog/internal/canon"
)

// MaxSubmission is the largest submission, in bytes: a bundle and collateral of the greatest size,
// in base64url.
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

	// Envelope is the envelope that the submission came in, or empty. It is not part of the
	// submission's file.
	Envelope []byte
}

// Marshal returns the submission's file.
func (s *Submission) Marshal() ([]byte, error) {
	file, err := canon.Write(MaxSubmission, s.code)
	if err != nil {
		return nil, fmt.Errorf("encode submission: %w", err)
	}
	return file, nil
}

func (s *Submission) code(c *canon.Codec) {
	c.Lit(`{"v":1`)
	c.Member("bundle").Base64(&s.Bundle, MaxBundle)
	c.OptionalBase64("collateral", &s.Collateral, MaxCollateral)
	c.OptionalTime("judged", &s.Judged)
	c.Lit("}")
}

// ParseSubmission parses a submission. It looks neither into the bundle nor into the collateral.
func ParseSubmission(file []byte) (*Submission, error) {
	if len(file) > MaxSubmission {
		return nil, fmt.Errorf("submission of %d bytes: want at most %d", len(file), MaxSubmission)
	}
	s := new(Submission)
	if err := canon.Read(file, s.code); err != nil {
		return nil, fmt.Errorf("parse submission: %w", err)
	}
	return s, nil
}
