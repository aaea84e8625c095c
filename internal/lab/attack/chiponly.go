package attack

import (
	"crypto/elliptic"
	"math/big"
	"slices"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/amd"
	"github.com/poclog/poclog/internal/lab/chip"
	"github.com/poclog/poclog/internal/lab/gce"
	"github.com/poclog/poclog/internal/must"
	"github.com/poclog/poclog/verify"
)

// newChipWorld builds the world of profile tdx: a bare quote of the managed VM.
func newChipWorld() *World {
	w := NewWorld()
	w.Profile = poclog.TDX
	w.Collateral = w.Cloud.Maker.Collateral(chip.CollateralOptions{At: Now.AddDate(0, 0, -3)})
	w.Policy = w.Cloud.Policy(challengePolicy, "")
	w.Policy.Admit = []poclog.Admission{{Profile: poclog.TDX, Level: poclog.LevelChip, Historical: true}}
	w.Challenge = w.ChallengeAt(Now.Add(-challengeAge))
	return w
}

// bare is a bundle of a TD quote alone, which answers the challenge.
func (w *World) bare(t twist) *poclog.Bundle {
	td := w.VM.TD(w.Challenge.ReportData(nil))
	if t.td != nil {
		t.td(&td)
	}
	quote := w.VM.Platform().Quote(td)
	if t.quote != nil {
		t.quote(quote)
	}
	return w.quoted(quote)
}

func (w *World) quoted(quote []byte) *poclog.Bundle {
	return must.Get((&gce.Evidence{TDXQuote: quote, Challenge: w.Challenge}).Bundle())
}

// chipOnly are the attacks of one bundle under the profiles tdx and snp, which a check must refuse.
var chipOnly = slices.Concat(
	under(poclog.TDX, slices.Concat([]Attack{
		quoteForged,
		{Name: "enclave-own", Check: verify.TEESignature, Stage: func(w *World) *poclog.Bundle {
			// Intel's collateral knows its enclave: whoever judges by none would not.
			w.Collateral = new(poclog.Collateral)
			own := w.VM.Platform().WithEnclave(func(report []byte) { report[128] ^= 1 })
			return w.quoted(own.Quote(w.VM.TD(w.Challenge.ReportData(nil))))
		}},
		{Name: "lab-root-in-production", Check: verify.TEEChain, Stage: func(w *World) *poclog.Bundle {
			own := chip.NewMaker("a garage", start)
			w.Collateral = own.Collateral(chip.CollateralOptions{At: Now.AddDate(0, 0, -3)})
			return w.quoted(own.NewPlatform("home", nil).Quote(w.VM.TD(w.Challenge.ReportData(nil))))
		}},
		debugTD,
		{Name: "nonce-framed", Check: verify.FreshChallenge, Stage: func(w *World) *poclog.Bundle {
			return w.twisted(twist{td: func(td *chip.TD) { td.ReportData[0] = 1 }})
		}},
	}, onIntel, challenged, tokens[:2], owners[:2])),
	under(poclog.SNP, slices.Concat([]Attack{
		{Name: "nonce-framed", Check: verify.FreshChallenge, Stage: func(w *World) *poclog.Bundle {
			return w.Compose(AzureMix{Guest: func(g *amd.Guest) { g.ReportData[0] = 1 }})
		}},
	}, onAMD, challenged, tokens[:2])),
)

// chipOnlyOverTime are the attacks under the profiles tdx and snp that only time exposes.
var chipOnlyOverTime = []OverTime{
	{Name: "bundle-rewrapped", Rule: ExistingReceipt, Profile: poclog.TDX, Stage: rewrapped},
	{Name: "bundle-rewrapped", Rule: ExistingReceipt, Profile: poclog.SNP, Stage: rewrapped},
	{Name: "malleated-quote", Rule: ExistingReceipt, Profile: poclog.TDX, Stage: func(w *World) []*poclog.Bundle {
		// ECDSA's s and its negative both verify, and nothing covers a bare quote's signature.
		b := w.Honest()
		other := b.Clone()
		other.Set(poclog.ItemTDXQuote, NegateS(b.Get(poclog.ItemTDXQuote)))
		return []*poclog.Bundle{b, other}
	}},
	{Name: "malleated-quote", Rule: ExistingReceipt, Profile: poclog.SNP, Stage: func(w *World) []*poclog.Bundle {
		b := w.Honest()
		other := b.Clone()
		other.Set(poclog.ItemSNPReport, negateReport(b.Get(poclog.ItemSNPReport)))
		return []*poclog.Bundle{b, other}
	}},
}

// rewrapped is another's public bundle, submitted again.
func rewrapped(w *World) []*poclog.Bundle {
	b := w.Honest()
	return []*poclog.Bundle{b, b.Clone()}
}

// negateReport replaces s by n − s in the signature of an SNP report: 48 of 72 bytes,
// little-endian.
func negateReport(report []byte) []byte {
	const at, size = 0x2a0 + 72, 48
	out := slices.Clone(report)
	s := out[at : at+size]
	slices.Reverse(s)
	new(big.Int).Sub(elliptic.P384().Params().N, new(big.Int).SetBytes(s)).FillBytes(s)
	slices.Reverse(s)
	return out
}
