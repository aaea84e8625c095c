package tdx_test

import (
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/chip"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/tdx"
)

var (
	labStart = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	labNow   = labStart.AddDate(0, 1, 1)
)

// published is what a laboratory's maker publishes a day before it is judged by.
func published(m *chip.Maker, o chip.CollateralOptions) *poclog.Collateral {
	o.At = labNow.AddDate(0, 0, -1)
	return m.Collateral(o)
}

// The status of a platform is that of its worst part. Of two that Intel does not rank neither hides
// the other: the platform is refused, whatever a policy accepts.
func TestNoStatusHidesAnother(t *testing.T) {
	m := chip.NewMaker("statuses", labStart)
	quote, trusted := m.NewPlatform("host", nil).Quote(chip.TD{}), tdx.Roots{poclog.Sum(m.Root()): true}
	const (
		up, out, revoked, hard, conf = "UpToDate", "OutOfDate", "Revoked", "SWHardeningNeeded", "ConfigurationNeeded"
		refused                      = ""
	)
	for _, c := range []struct{ platform, module, qe, want string }{
		{up, up, up, up},
		{hard, up, up, hard},
		{up, hard, up, hard},
		{up, up, conf, conf},
		{hard, hard, hard, hard},
		{conf, out, up, "OutOfDateConfigurationNeeded"},
		{hard, up, out, out},
		{up, revoked, up, revoked},
		{conf, up, revoked, revoked},
		{revoked, hard, up, revoked},
		{conf, hard, up, refused},
		{hard, conf, up, refused},
		{hard, up, conf, refused},
		{up, hard, conf, refused},
		{out, hard, up, refused},
		{conf, up, "SomethingNew", refused},
	} {
		tcb, err := judge(quote, published(m, chip.CollateralOptions{Status: c.platform, Module: c.module, QE: c.qe}), trusted, labNow)
		switch {
		case c.want == refused:
			wantCheck(t, err, verify.TEETCB)
		case err != nil || tcb.Status != c.want:
			t.Errorf("%s, module %s, quoting enclave %s: %+v, %v: want %s", c.platform, c.module, c.qe, tcb, err, c.want)
		}
	}
}

// A policy may list two roots of Intel's. What one of them signed says nothing of the other's
// chips.
func TestCollateralIsOfTheQuotesOwnRoot(t *testing.T) {
	one, two := chip.NewMaker("one root", labStart), chip.NewMaker("another root", labStart)
	quote := one.NewPlatform("host", nil).Quote(chip.TD{})
	both := tdx.Roots{poclog.Sum(one.Root()): true, poclog.Sum(two.Root()): true}
	own, other := published(one, chip.CollateralOptions{}), published(two, chip.CollateralOptions{})
	if _, err := judge(quote, own, both, labNow); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []poclog.CollateralKind{poclog.TDXTCBInfo, poclog.TDXQEIdentity, poclog.IntelPCKCRL, poclog.IntelRootCRL} {
		_, err := judge(quote, own.With(*other.Get(kind)), both, labNow)
		wantCheck(t, err, verify.Collateral)
	}
}
