package log

import (
	"slices"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/profile"
)

// A reading is a submission on its way into the log: its files, and what they say. Each file is
// parsed once.
type reading struct {
	poclog.Submission
	bundle     *poclog.Bundle
	digest     poclog.Digest      // of the bundle
	challenge  *poclog.Challenge  // nil: the evidence is historical, or the appraisal says what is wrong with it
	offered    *poclog.Collateral // what its submitter brought; nil: none
	collateral *poclog.Collateral // what judges; nil: none
	file       []byte             // of the collateral that judges; empty: none
	charged    bool               // its budgets were taken
	parsed     func(what string)  // is told what was parsed
}

// read parses a submission's files. What its submitter could have chosen to be judged by is
// refused.
func (s *Service) read(sub *poclog.Submission) (*reading, error) {
	r := &reading{Submission: *sub, digest: poclog.Sum(sub.Bundle), parsed: s.parsed}
	var err error
	r.parsed("bundle")
	if r.bundle, err = poclog.ParseBundle(sub.Bundle); err != nil {
		return nil, verify.Failf(verify.Format, "%w", err)
	}
	if r.bundle.Has(poclog.ItemChallenge) {
		r.parsed("challenge")
		r.challenge, _ = r.bundle.Challenge() // the appraisal refuses what it is not
	}
	if len(sub.Collateral) > 0 {
		r.parsed("collateral")
		if r.offered, err = poclog.ParseCollateral(sub.Collateral); err != nil {
			return nil, verify.Failf(verify.Format, "%w", err)
		}
		r.collateral, r.file = r.offered, sub.Collateral
	}
	return r, profile.CheckSubmitted(r.bundle, r.offered, sub.Judged)
}

// takeCollateral has other collateral judge.
func (r *reading) takeCollateral(c *poclog.Collateral) (err error) {
	r.collateral, r.file = nil, nil
	if len(c.Items) == 0 {
		return nil
	}
	if r.file, err = c.Marshal(); err != nil {
		return verify.Failf(verify.Collateral, "%w", err)
	}
	r.collateral = c
	return nil
}

// input is what an appraisal of it depends on, under the log's policy and now.
func (s *Service) input(r *reading) profile.Input {
	return profile.Input{
		Bundle: r.Bundle, Envelope: r.Envelope, Collateral: r.file, Policy: s.rules.file, Appraised: poclog.UnixTime(s.cfg.Now().Unix()), Appraisal: poclog.Appraisal,
		Parsed: profile.Parsed{Bundle: r.bundle, Challenge: r.challenge, Collateral: r.collateral, Policy: s.rules.policy},
	}
}

// covered returns the checkpoint that the evidence's challenge covers, or nothing.
func (r *reading) covered() []byte {
	if r.challenge == nil {
		return nil
	}
	return r.challenge.Checkpoint
}

// files are what the log keeps of it, the bundle first.
func (r *reading) files() [][]byte {
	return slices.DeleteFunc([][]byte{r.Bundle, r.Envelope, r.file}, func(b []byte) bool { return len(b) == 0 })
}

// drop lets go of its files, whose memory is given back while it waits to be published.
func (r *reading) drop() {
	*r = reading{digest: r.digest, challenge: r.challenge, charged: r.charged, parsed: r.parsed}
}
