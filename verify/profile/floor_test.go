package profile

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/pem"
	"testing"
	"time"

	"crypto"

	"github.com/poclog/poclog"
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

// signatureFloor is the time that the signatures alone take which an appraisal must verify,
// measured now: per TDX quote with collateral nine on P-256 (quote, QE report, PCK, CA, TCB signer,
// TCB info, QE identity, two CRLs); of the TPM's side, the quote's and each certificate's.
func signatureFloor(tb testing.TB, b *poclog.Bundle, c *poclog.Collateral) time.Duration {
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
	floor := time.Duration(p256) * costP256(tb)
	for bits, n := range rsaBits {
		floor += time.Duration(n) * costRSA(tb, bits)
	}
	return floor
}

const floorRuns = 200

func costP256(tb testing.TB) time.Duration {
	tb.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	digest := sha256.Sum256([]byte("x"))
	sig, err := ecdsa.SignASN1(rand.Reader, k, digest[:])
	if err != nil {
		tb.Fatal(err)
	}
	begun := time.Now()
	for range floorRuns {
		if !ecdsa.VerifyASN1(&k.PublicKey, digest[:], sig) {
			tb.Fatal("refused")
		}
	}
	return time.Since(begun) / floorRuns
}

func costEd25519(tb testing.TB) time.Duration {
	tb.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	sig := ed25519.Sign(private, []byte("x"))
	begun := time.Now()
	for range floorRuns {
		if !ed25519.Verify(public, []byte("x"), sig) {
			tb.Fatal("refused")
		}
	}
	return time.Since(begun) / floorRuns
}

func costRSA(tb testing.TB, bits int) time.Duration {
	tb.Helper()
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		tb.Fatal(err)
	}
	digest := sha256.Sum256([]byte("x"))
	sig, err := rsa.SignPKCS1v15(nil, k, crypto.SHA256, digest[:])
	if err != nil {
		tb.Fatal(err)
	}
	begun := time.Now()
	for range floorRuns {
		if err := rsa.VerifyPKCS1v15(&k.PublicKey, crypto.SHA256, digest[:], sig); err != nil {
			tb.Fatal(err)
		}
	}
	return time.Since(begun) / floorRuns
}
