package tdx_test

import (
	"errors"
	"math/big"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/chip"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/tdx"
)

// withRootChain adds the chain that the maker's root CRL comes without.
func withRootChain(m *chip.Maker, c *poclog.Collateral) *poclog.Collateral {
	it := *c.Get(poclog.IntelRootCRL)
	it.Chain = m.RootPEM()
	return c.With(it)
}

func standingOf(t *testing.T, quote []byte) *tdx.Standing {
	t.Helper()
	q, err := tdx.ParseQuote(quote)
	if err != nil {
		t.Fatal(err)
	}
	return q.Standing()
}

// What is kept of a quote is judged as the quote is, whatever Intel says.
func TestAStandingIsJudgedAsItsQuote(t *testing.T) {
	m := chip.NewMaker("standings", labStart)
	trusted := tdx.Roots{poclog.Sum(m.Root()): true}
	current := m.NewPlatform("current", nil).Quote(chip.TD{})
	behind := m.NewPlatform("behind", func(p *chip.Platform) { p.PCESVN = 10 }).Quote(chip.TD{})
	for _, quote := range [][]byte{current, behind} {
		for _, status := range []string{"UpToDate", "SWHardeningNeeded", "OutOfDate", "Revoked"} {
			for _, module := range []string{"UpToDate", "OutOfDate", "Revoked"} {
				for _, qe := range []string{"UpToDate", "OutOfDate"} {
					col := published(m, chip.CollateralOptions{Status: status, Module: module, QE: qe, Advisories: []string{"INTEL-SA-00001"}})
					want, wantErr := judge(quote, col, trusted, labNow)
					newer, err := tdx.OpenTCB(col.Get(poclog.TDXTCBInfo), col.Get(poclog.TDXQEIdentity), trusted, labNow)
					if err != nil {
						t.Fatal(err)
					}
					kept, err := tdx.ParseStanding(standingOf(t, quote).Marshal())
					if err != nil || *kept != *standingOf(t, quote) {
						t.Fatalf("%+v, %v", kept, err)
					}
					got, err := newer.Judge(kept)
					if (err == nil) != (wantErr == nil) || err != nil && err.Error() != wantErr.Error() {
						t.Fatalf("%s, %s, %s: %v: the quote gives %v", status, module, qe, err, wantErr)
					}
					if err == nil && (got.Status != want.Status || got.Evaluation != want.Evaluation || !got.Date.Equal(want.Date) || len(got.Advisories) != len(want.Advisories)) {
						t.Errorf("%s, %s, %s: %+v: the quote gives %+v", status, module, qe, got, want)
					}
				}
			}
		}
	}
	if _, err := judge(behind, published(m, chip.CollateralOptions{}), trusted, labNow); err == nil {
		t.Error("the platform that is behind reaches a level: the comparison cannot fail")
	}
}

func TestCollateralJudgesNoOtherPlatforms(t *testing.T) {
	one, two := chip.NewMaker("one root", labStart), chip.NewMaker("another root", labStart)
	both := tdx.Roots{poclog.Sum(one.Root()): true, poclog.Sum(two.Root()): true}
	open := func(m *chip.Maker, o chip.CollateralOptions) *tdx.Collateral {
		t.Helper()
		col := published(m, o)
		c, err := tdx.OpenTCB(col.Get(poclog.TDXTCBInfo), col.Get(poclog.TDXQEIdentity), both, labNow)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	s := standingOf(t, one.NewPlatform("host", nil).Quote(chip.TD{}))
	for name, c := range map[string]*tdx.Collateral{
		"of another root":   open(two, chip.CollateralOptions{Status: "Revoked"}),
		"of another family": open(one, chip.CollateralOptions{Status: "Revoked", FMSPC: [6]byte{1}}),
	} {
		if _, err := c.Judge(s); !errors.Is(err, tdx.ErrOtherPlatform) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if tcb, err := open(one, chip.CollateralOptions{Status: "Revoked"}).Judge(s); err != nil || tcb.Status != "Revoked" {
		t.Errorf("its own: %+v, %v", tcb, err)
	}
	// TCB info of one root with a QE identity of another is nobody's word.
	a, b := published(one, chip.CollateralOptions{}), published(two, chip.CollateralOptions{})
	_, err := tdx.OpenTCB(a.Get(poclog.TDXTCBInfo), b.Get(poclog.TDXQEIdentity), both, labNow)
	wantCheck(t, err, verify.Collateral)
	for name, at := range map[string]time.Time{"expired": labNow.AddDate(0, 0, 40), "of the future": labNow.AddDate(0, 0, -3)} {
		_, err := tdx.OpenTCB(a.Get(poclog.TDXTCBInfo), a.Get(poclog.TDXQEIdentity), both, at)
		if wantCheck(t, err, verify.Collateral); err == nil {
			t.Error(name)
		}
	}
	_, err = tdx.OpenTCB(nil, a.Get(poclog.TDXQEIdentity), both, labNow)
	wantCheck(t, err, verify.Collateral)
}

func TestRevocationsAreOfThePlatformsOwnIssuer(t *testing.T) {
	m, other := chip.NewMaker("revocations", labStart), chip.NewMaker("other revocations", labStart)
	both := tdx.Roots{poclog.Sum(m.Root()): true, poclog.Sum(other.Root()): true}
	bad, good := m.NewPlatform("bad", nil), m.NewPlatform("good", nil)
	open := func(m *chip.Maker, kind poclog.CollateralKind, o chip.CollateralOptions) *tdx.Revocations {
		t.Helper()
		r, err := tdx.OpenRevocations(withRootChain(m, published(m, o)).Get(kind), both, labNow)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	badStanding, goodStanding := standingOf(t, bad.Quote(chip.TD{})), standingOf(t, good.Quote(chip.TD{}))
	lists := map[string]struct {
		list         *tdx.Revocations
		bad, revoked bool
	}{
		"the chip's":            {open(m, poclog.IntelPCKCRL, chip.CollateralOptions{Revoked: []*chip.Platform{bad}}), true, false},
		"nobody's":              {open(m, poclog.IntelPCKCRL, chip.CollateralOptions{}), false, false},
		"another maker's":       {open(other, poclog.IntelPCKCRL, chip.CollateralOptions{Revoked: []*chip.Platform{bad}}), false, false},
		"its CA's":              {open(m, poclog.IntelRootCRL, chip.CollateralOptions{RevokeCA: true}), true, true},
		"no CA's":               {open(m, poclog.IntelRootCRL, chip.CollateralOptions{}), false, false},
		"the CA of another":     {open(other, poclog.IntelRootCRL, chip.CollateralOptions{RevokeCA: true}), false, false},
		"the chip's in a wrong": {open(m, poclog.IntelRootCRL, chip.CollateralOptions{Revoked: []*chip.Platform{bad}}), false, false},
	}
	for name, c := range lists {
		what, at := c.list.Revoked(badStanding)
		if (what != "") != c.bad || c.bad && at.IsZero() {
			t.Errorf("%s: %q, %s", name, what, at)
		}
		if what, _ := c.list.Revoked(goodStanding); (what != "") != c.revoked {
			t.Errorf("%s, of the other chip: %q", name, what)
		}
		if c.list.Number.Cmp(big.NewInt(0)) <= 0 || c.list.Until.Before(labNow) {
			t.Errorf("%s: %+v", name, c.list.Facts)
		}
	}
	if _, err := tdx.ParseStanding(badStanding.Marshal()[1:]); err == nil {
		t.Error("a standing without its first byte is taken")
	}
	_, err := tdx.OpenRevocations(published(m, chip.CollateralOptions{}).Get(poclog.TDXTCBInfo), both, labNow)
	wantCheck(t, err, verify.Collateral)
	_, err = tdx.OpenRevocations(nil, both, labNow)
	wantCheck(t, err, verify.Collateral)
	_, err = tdx.OpenRevocations(withRootChain(m, published(m, chip.CollateralOptions{})).Get(poclog.IntelRootCRL), tdx.Roots{}, labNow)
	wantCheck(t, err, verify.Collateral)
}
