package profile

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/snp"
	"github.com/poclog/poclog/verify/tdx"
)

// StepQuote is the demand that a live connection's TEE quote is of the entry's chip and launch
// measurement.
const StepQuote verify.Check = "quote"

// CompareLive holds a live connection's TEE quote to an entry: the quote, an item of a bundle, is
// genuine at a time, of a TEE that its host cannot read, and has the entry's chip and launch
// measurement. That is not yet the same VM. A failure is a [*verify.Error].
func CompareLive(live *poclog.Bundle, e *poclog.Entry, now time.Time) error {
	authentic := liveTDX
	if e.CVM.Technology == "snp" {
		authentic = liveSNP
	}
	chips, measurement, err := authentic(live, e.Realm, now)
	if err != nil {
		return err
	}
	if !slices.Contains(chips, e.Chip()) {
		return differs("it is of chip %v, the receipt's is %s", chips, e.Chip())
	}
	if !bytes.Equal(measurement, e.CVM.Measurement) {
		return differs("its launch measurement %x is not the receipt's", measurement)
	}
	return nil
}

func differs(format string, args ...any) error {
	return &verify.Error{Check: StepQuote, Detail: fmt.Sprintf(format, args...)}
}

// liveTDX authenticates a TDX quote, and says of which chip it is and what was launched.
func liveTDX(b *poclog.Bundle, realm poclog.Realm, now time.Time) (chips []poclog.Identity, measurement []byte, err error) {
	q, err := tdx.ParseQuote(b.Get(poclog.ItemTDXQuote))
	if err != nil {
		return nil, nil, err
	}
	err = firstOf(q.CheckSignature, func() error { return q.CheckChain(liveRoots(realm, poclog.RootIntelSGX, q.Root.Raw), now) }, q.CheckNoDebug)
	return q.Platform.Identities(), q.Body.MRTD[:], err
}

// liveSNP does so of a SEV-SNP report, by the certificates beside it.
func liveSNP(b *poclog.Bundle, realm poclog.Realm, now time.Time) (chips []poclog.Identity, measurement []byte, err error) {
	r, err := snp.ParseReport(b.Get(poclog.ItemSNPReport))
	if err != nil {
		return nil, nil, err
	}
	c, err := snp.ParseChain(b.Get(poclog.ItemSNPCerts))
	if err != nil {
		return nil, nil, err
	}
	err = firstOf(func() error { return c.CheckChain(r, liveRoots(realm, poclog.RootAMDARK, c.Root.Raw), now) }, func() error { return r.CheckSignature(c) }, r.CheckNoDebug)
	if err != nil {
		return nil, nil, err
	}
	id, ok := c.ChipID(r)
	if !ok {
		return nil, nil, verify.Failf(verify.TEEChain, "the host masks CHIP_ID, and a VLEK names no chip: nobody says which chip this is")
	}
	return []poclog.Identity{id}, r.Measurement[:], nil
}

func firstOf(checks ...func() error) error {
	for _, check := range checks {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// liveRoots returns the roots for a live quote: in production the chip maker's, in the lab the
// quote's own, whose chip is compared next.
func liveRoots(realm poclog.Realm, use poclog.RootUse, own []byte) map[[32]byte]bool {
	roots := make(map[[32]byte]bool)
	if realm == poclog.Lab {
		roots[poclog.Sum(own)] = true
		return roots
	}
	for _, r := range productionRoots {
		if r.Use == use {
			roots[r.SHA256] = true
		}
	}
	return roots
}
