package attack

import (
	"fmt"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/testlog"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

// Appraise makes the leaf of evidence that is judged at a time, as package profile does.
type Appraise func(bundle, collateral, policy []byte, at time.Time) (leaf []byte, err error)

// Submit has a station's log judge a bundle five seconds after its challenge, keep the evidence,
// and append the entry. It returns when it was judged.
func (w *World) Submit(s *testlog.Station, b *poclog.Bundle, appraise Appraise) (at time.Time, err error) {
	bundle, collateral, policy, err := w.Files(b)
	if err != nil {
		return at, err
	}
	if at, err = submittedAt(s, b); err != nil {
		return at, err
	}
	leaf, err := appraise(bundle, collateral, policy, at)
	if err != nil {
		return at, err
	}
	s.Keep(bundle, collateral, policy)
	s.Add(leaf)
	return at, nil
}

// Files are a bundle and what it is judged by.
func (w *World) Files(b *poclog.Bundle) (bundle, collateral, policy []byte, err error) {
	var files [3][]byte
	for i, f := range []interface{ Marshal() ([]byte, error) }{b, w.Collateral, w.Policy} {
		if files[i], err = f.Marshal(); err != nil {
			return nil, nil, nil, err
		}
	}
	return files[0], files[1], files[2], nil
}

func submittedAt(s *testlog.Station, b *poclog.Bundle) (at time.Time, err error) {
	if !b.Has(poclog.ItemChallenge) {
		return Now, nil
	}
	c, err := b.Challenge()
	if err != nil {
		return at, err
	}
	policy, err := tlogpolicy.Parse([]byte(s.Policy))
	if err != nil {
		return at, err
	}
	v, err := policy.Open(c.Checkpoint)
	if err != nil {
		return at, err
	}
	at, ok := v.NotBefore()
	if !ok {
		return at, fmt.Errorf("the challenge has no time")
	}
	return at.Add(5 * time.Second), nil
}
