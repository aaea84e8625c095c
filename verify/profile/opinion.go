package profile

import (
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify/snp"
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
	s, err := teeOf(bundle)
	if err != nil {
		return err
	}
	if s.report != nil {
		c := s.snpChain
		key := keyOf("snp opinion", nil, s.bundle.Get(poclog.ItemSNPCerts), s.report.Frame())
		return k.once(key, validity(c.Leaf, c.CA, c.Root), at, func() error { return snp.SecondOpinion(s.report, c, at) })
	}
	q := s.quote
	return k.once(keyOf("tdx opinion", nil, q.Frame()), validity(q.PCK, q.CA, q.Root), at, func() error { return q.SecondOpinion(at) })
}

// teeOf parses what the TEE and its maker signed.
func teeOf(b *poclog.Bundle) (*subject, error) {
	if _, err := Of(b); err != nil {
		return nil, err
	}
	s := &subject{bundle: b}
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
