package tpm

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"time"

	"github.com/poclog/poclog/verify"
)

// Limits of a chain.
const (
	maxChain        = 1 << 14 // bytes
	maxCertificates = 6
)

// ParseChain parses certificates in DER, concatenated from the leaf to the root. Failures are [verify.Format].
func ParseChain(item []byte) ([]*x509.Certificate, error) {
	if len(item) > maxChain {
		return nil, verify.Failf(verify.Format, "certificate chain of %d bytes: want at most %d", len(item), maxChain)
	}
	var chain []*x509.Certificate
	for rest := item; len(rest) > 0; {
		n, err := derLength(rest)
		if err != nil || len(chain) == maxCertificates {
			return nil, verify.Failf(verify.Format, "certificate %d of the chain: want at most %d in DER: %w", len(chain), maxCertificates, orTooMany(err))
		}
		c, err := x509.ParseCertificate(rest[:n])
		if err != nil {
			return nil, verify.Failf(verify.Format, "certificate %d of the chain: %w", len(chain), err)
		}
		chain, rest = append(chain, c), rest[n:]
	}
	if len(chain) == 0 {
		return nil, verify.Failf(verify.Format, "empty certificate chain")
	}
	return chain, nil
}

func orTooMany(err error) error {
	if err == nil {
		return fmt.Errorf("more follow")
	}
	return err
}

// derLength returns the length of the DER value at the start of b.
func derLength(b []byte) (int, error) {
	var v asn1.RawValue
	rest, err := asn1.Unmarshal(b, &v)
	if err != nil {
		return 0, err
	}
	return len(b) - len(rest), nil
}

// TrimCertificate cuts what an NV index holds after a certificate in DER: zeros, or what was left of an earlier one.
func TrimCertificate(padded []byte) ([]byte, error) {
	n, err := derLength(padded)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	return padded[:n:n], nil
}

var oidSAN = asn1.ObjectIdentifier{2, 5, 29, 17}

// CheckChain verifies a chain under one of the roots, which are named by SHA-256 of their DER, at a time, and returns its leaf. Every
// certificate but the leaf must be a CA's. Extended key usages are not judged: providers' CAs carry their own. Failures are of the check
// given.
func CheckChain(check verify.Check, item []byte, roots map[[32]byte]bool, at time.Time) (*x509.Certificate, error) {
	chain, err := ParseChain(item)
	if err != nil {
		return nil, err
	}
	root := chain[len(chain)-1]
	if sum := sha256.Sum256(root.Raw); !roots[sum] {
		return nil, verify.Failf(check, "root certificate %q with digest %x is not one that the policy lists", root.Subject, sum)
	}
	if len(chain) < 2 {
		return nil, verify.Failf(check, "the chain is the root certificate alone")
	}
	for i, c := range chain {
		issuer := root
		if i+1 < len(chain) {
			issuer = chain[i+1]
		}
		if err := checkLink(c, issuer, i, at); err != nil {
			return nil, verify.Failf(check, "certificate %d of the chain, %q: %w", i, c.Subject, err)
		}
	}
	return chain[0], nil
}

// checkLink verifies one certificate; depth is its number of certificates below it.
func checkLink(c, issuer *x509.Certificate, depth int, at time.Time) error {
	if at.Before(c.NotBefore) || at.After(c.NotAfter) {
		return fmt.Errorf("valid from %s to %s, not at %s", stamp(c.NotBefore), stamp(c.NotAfter), stamp(at))
	}
	if !bytes.Equal(c.RawIssuer, issuer.RawSubject) {
		return fmt.Errorf("its issuer %q is not the next certificate, %q", c.Issuer, issuer.Subject)
	}
	if err := c.CheckSignatureFrom(issuer); err != nil {
		return fmt.Errorf("not signed by %q: %w", issuer.Subject, err)
	}
	for _, oid := range c.UnhandledCriticalExtensions {
		// EK and AK certificates name the TPM in a critical subjectAltName of forms that x509 does not read.
		if !oid.Equal(oidSAN) || depth > 0 {
			return fmt.Errorf("unknown critical extension %s", oid)
		}
	}
	if depth > 0 && (!c.IsCA || !c.BasicConstraintsValid) {
		return fmt.Errorf("not a CA")
	}
	// depth counts the leaf, which a path length does not.
	if depth > 0 && (c.MaxPathLen > 0 || c.MaxPathLenZero) && depth-1 > c.MaxPathLen {
		return fmt.Errorf("path length %d: %d CAs are below it", c.MaxPathLen, depth-1)
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
