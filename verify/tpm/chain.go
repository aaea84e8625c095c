package tpm

import (
	"crypto/x509"

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
