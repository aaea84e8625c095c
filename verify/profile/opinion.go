package profile

import (
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify/snp"
	"github.com/poclog/poclog/verify/tdx"
)

// SecondOpinion asks another implementation whether it accepts the TEE quote of a bundle that was
// appraised at a time, too: go-tdx-guest, or go-sev-guest. Failures are [verify.SecondOpinion]:
// where two implementations differ, a log believes neither.
//
// It is no part of an appraisal. What those libraries refuse depends on their versions, which the
// number of an appraisal does not fix. So a log asks before it admits, and nobody asks again: else
// an upgrade could convict an honest log. A platform that was accepted is not asked about again
// while its certificates are valid. The remembered parts are all that the libraries judge but what
// is signed.
func (k *Known) SecondOpinion(bundle *poclog.Bundle, at time.Time) error {
	s, err := k.teeOf(bundle, at)
	if err != nil {
		return err
	}
	if s.report != nil {
		c := s.snpChain
		key := keyOf("snp opinion", nil, s.bundle.Get(poclog.ItemSNPCerts), s.report.Frame())
		return k.once(key, validity(c.Leaf, c.CA, c.Root), at, func() error { return snp.SecondOpinion(s.report, c, at) })
	}
	q := s.quote
	if err := k.once(keyOf("tdx opinion", nil, q.Frame()), validity(q.PCK, q.CA, q.Root), at, func() error { return q.SecondOpinion(at) }); err != nil {
		return err
	}
	parsed := q.Chain
	parsed.Text = nil // which is the submission's
	k.put(keyOf("tdx opinion chain", nil, q.Text), always(&parsed), at)
	return nil
}

// teeOf parses what the TEE and its maker signed, but not certificates of which there was an
// opinion before: what they say does not depend on the time.
func (k *Known) teeOf(b *poclog.Bundle, at time.Time) (*subject, error) {
	if _, err := Of(b); err != nil {
		return nil, err
	}
	s := &subject{bundle: b, chains: func(text []byte) *tdx.Chain {
		v, _ := k.get(keyOf("tdx opinion chain", nil, text), at)
		c, _ := v.(*tdx.Chain)
		return c
	}}
	return s, s.parse(poclog.ItemTDXQuote, poclog.ItemSNPReport, poclog.ItemSNPCerts)
}

// once makes a check whose success holds for a time, unless it is remembered.
func (k *Known) once(key [32]byte, holds known, at time.Time, check func() error) error {
	if _, ok := k.get(key, at); ok {
		return nil
	}
	if err := check(); err != nil {
		return err
	}
	k.put(key, holds, at)
	return nil
}
