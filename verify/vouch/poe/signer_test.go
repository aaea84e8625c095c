package poe

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"github.com/poclog/poclog/internal/lab/endorser"
	"github.com/poclog/poclog/verify/chain"
)

// The signer's key is on P-384, as the profile says, and its certificate lets it sign.
func TestSignersKeyIsForSignaturesOnP384(t *testing.T) {
	at := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	owner := endorser.NewOwner("signer", "owner.test", at.AddDate(-1, 0, 0))
	e, err := Parse(owner.Endorse(owner.Statement([]byte("0123456789abcdef"), at)).Body)
	if err != nil {
		t.Fatal(err)
	}
	certs, err := e.certificates(nil)
	if err != nil {
		t.Fatal(err)
	}
	p256, err := ecdsa.GenerateKey(elliptic.P256(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*x509.Certificate)
		why    string
	}{
		"as it is":            {func(*x509.Certificate) {}, ""},
		"of any usage":        {func(c *x509.Certificate) { c.KeyUsage = 0 }, ""},
		"of more usages":      {func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageKeyAgreement }, ""},
		"for agreement alone": {func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyAgreement }, "want a key for signatures"},
		"on P-256":            {func(c *x509.Certificate) { c.PublicKey = p256.Public() }, "not on P-384"},
		"RSA":                 {func(c *x509.Certificate) { c.PublicKey = &rsa.PublicKey{} }, "not on P-384"},
	} {
		leaf := *certs[0]
		c.change(&leaf)
		if err := e.verify(&leaf); c.why == "" && err != nil || c.why != "" && (err == nil || !strings.Contains(err.Error(), c.why)) {
			t.Errorf("%s: %v: want %q", name, err, c.why)
		}
	}
	e.signature = bytes.Clone(e.signature)
	e.signature[95] ^= 1
	if err := e.verify(certs[0]); err == nil {
		t.Error("another signature")
	}
	// As many certificates as a chain can have are looked at.
	e.chain = nil
	for len(e.chain) < chain.MaxCertificates {
		e.chain = append(e.chain, certs[1].Raw)
	}
	if got, err := e.certificates(nil); err != nil || len(got) != chain.MaxCertificates {
		t.Errorf("six certificates: %v", err)
	}
	e.chain = append(e.chain, certs[1].Raw)
	if _, err := e.certificates(nil); err == nil || !strings.Contains(err.Error(), "of 7 certificates") {
		t.Errorf("seven certificates: %v", err)
	}
	e.chain = [][]byte{append(bytes.Clone(certs[1].Raw), 0)}
	if _, err := e.certificates(nil); err == nil {
		t.Error("a byte after a certificate")
	}
}
