package profile

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"encoding/pem"
	"testing"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/cputime"
	"github.com/poclog/poclog/verify/tpm"
)

func decodePEM(t testing.TB, text []byte) []byte {
	t.Helper()
	block, _ := pem.Decode(text)
	if block == nil {
		t.Fatal("no PEM")
		return nil
	}
	return block.Bytes
}

// signatureFloor verifies as many signatures as an appraisal must: per TDX quote with collateral
// nine on P-256 (quote, QE report, PCK, CA, TCB signer, TCB info, QE identity, two CRLs); of the
// TPM's side, the quote's and each certificate's.
func signatureFloor(tb testing.TB, b *poclog.Bundle, c *poclog.Collateral) func() {
	tb.Helper()
	p256 := 4
	if c != nil {
		p256 = 9
	}
	rsaBits := map[int]int{}
	if b.Has(poclog.ItemTPMAKChain) {
		chain, err := tpm.ParseChain(b.Get(poclog.ItemTPMAKChain))
		if err != nil {
			tb.Fatal(err)
		}
		for i := range chain {
			// Certificate i's key signed the one below it, and the AK the quote; the root's digest
			// is pinned.
			switch k := chain[i].PublicKey.(type) {
			case *rsa.PublicKey:
				rsaBits[k.N.BitLen()]++
			case *ecdsa.PublicKey:
				p256++
			}
		}
	}
	floor := cputime.Several(tb, p256, cputime.P256)
	for bits, n := range rsaBits {
		floor = cputime.All(floor, cputime.Several(tb, n, cputime.RSA(bits)))
	}
	return floor
}

// appraises measures an appraisal beside its floor.
func appraises(b *testing.B, in Input, floor func()) {
	b.Helper()
	cputime.Ratio(b, floor, func() {
		if _, err := Appraise(in); err != nil {
			b.Fatal(err)
		}
	})
}
