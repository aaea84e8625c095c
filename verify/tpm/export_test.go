package tpm

import (
	"crypto/x509"
	"time"

	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/chain"
)

// CheckChain parses a chain and verifies it as appraisals do, and returns its leaf. A malformed
// chain is a [verify.Format] error; the others are of the check given.
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
