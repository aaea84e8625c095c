package tpm

import (
	"crypto/x509"
	"time"

	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/chain"
)

// ParseChain parses 1 to 6 certificates in DER, concatenated from the leaf to the root, in at most
// 16 KiB. Failures are [verify.Format].
func ParseChain(item []byte) ([]*x509.Certificate, error) {
	certs, err := chain.Parse(item)
	if err != nil {
		return nil, verify.Failf(verify.Format, "%w", err)
	}
	return certs, nil
}

// TrimCertificate cuts what an NV index holds after a certificate in DER: zeros, or what was left
// of an earlier one. What is cut is not judged, and neither is the certificate. What does not start
// with a DER value is a [verify.Format] error.
func TrimCertificate(padded []byte) ([]byte, error) {
	n, err := chain.Length(padded)
	if err != nil {
		return nil, verify.Failf(verify.Format, "certificate: %w", err)
	}
	return padded[:n:n], nil
}

// CheckChain verifies a chain under one of the roots, which are named by SHA-256 of their DER, at a
// time, as [chain.Check] does, and returns its leaf, an end entity. A malformed chain is a
// [verify.Format] error; the others are of the check given.
func CheckChain(check verify.Check, item []byte, roots chain.Roots, at time.Time) (*x509.Certificate, error) {
	certs, err := ParseChain(item)
	if err != nil {
		return nil, err
	}
	if err := chain.Check(certs, roots, at, nil); err != nil {
		return nil, verify.Failf(check, "%w", err)
	}
	return certs[0], nil
}
