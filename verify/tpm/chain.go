package tpm

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"time"

	"github.com/poclog/poclog/verify"
)

// Limits of a chain.
const (
	maxChain        = 1 << 14 // bytes
	maxCertificates = 6
)

// ParseChain parses 1 to 6 certificates in DER, concatenated from the leaf to the root, in at most 16 KiB. Failures are [verify.Format].
func ParseChain(item []byte) ([]*x509.Certificate, error) {
	if len(item) > maxChain {
		return nil, verify.Failf(verify.Format, "certificate chain of %d bytes: want at most %d", len(item), maxChain)
	}
	var chain []*x509.Certificate
	for rest := item; len(rest) > 0; {
		if len(chain) == maxCertificates {
			return nil, verify.Failf(verify.Format, "certificate chain of over %d certificates", maxCertificates)
		}
		n, err := derLength(rest)
		if err != nil {
			return nil, verify.Failf(verify.Format, "certificate %d of the chain is not DER: %w", len(chain), err)
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

// derLength returns the length of the DER value at the start of b.
func derLength(b []byte) (int, error) {
	var v asn1.RawValue
	rest, err := asn1.Unmarshal(b, &v)
	if err != nil {
		return 0, err
	}
	return len(b) - len(rest), nil
}

// TrimCertificate cuts what an NV index holds after a certificate in DER: zeros, or what was left of an earlier one. What is cut is not judged, and
// neither is the certificate. What does not start with a DER value is a [verify.Format] error.
func TrimCertificate(padded []byte) ([]byte, error) {
	n, err := derLength(padded)
	if err != nil {
		return nil, verify.Failf(verify.Format, "certificate: %w", err)
	}
	return padded[:n:n], nil
}

// Extensions (RFC 5280, §4.2.1).
var (
	oidKeyUsage         = asn1.ObjectIdentifier{2, 5, 29, 15}
	oidSAN              = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidBasicConstraints = asn1.ObjectIdentifier{2, 5, 29, 19}
	oidPolicies         = asn1.ObjectIdentifier{2, 5, 29, 32}
	oidExtKeyUsage      = asn1.ObjectIdentifier{2, 5, 29, 37}
)

// CheckChain verifies a chain under one of the roots, which are named by SHA-256 of their DER, at a time, and returns its leaf, an end
// entity. Each certificate is signed by the next, valid at that time, and but for the leaf a CA's, within its path length; the last is
// self-signed. An extension that is critical must be one of those that are judged here, or say nothing that limits: so a CA that is constrained
// to names is refused. Extended key usages are not judged, as providers' CAs carry their own; nor is revocation. A malformed chain is a
// [verify.Format] error; the others are of the check given.
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
	if err := checkExtensions(c, depth == 0); err != nil {
		return err
	}
	if depth == 0 {
		return checkEndEntity(c)
	}
	if !c.IsCA || !c.BasicConstraintsValid {
		return errors.New("not a CA")
	}
	// depth counts the leaf, which a path length does not.
	if (c.MaxPathLen > 0 || c.MaxPathLenZero) && depth-1 > c.MaxPathLen {
		return fmt.Errorf("path length %d: %d CAs are below it", c.MaxPathLen, depth-1)
	}
	return nil
}

// checkExtensions refuses critical extensions whose limits nothing here would enforce.
func checkExtensions(c *x509.Certificate, leaf bool) error {
	for _, e := range c.Extensions {
		switch {
		case !e.Critical, e.Id.Equal(oidKeyUsage), e.Id.Equal(oidBasicConstraints), e.Id.Equal(oidPolicies), e.Id.Equal(oidExtKeyUsage):
		case leaf && e.Id.Equal(oidSAN):
			// EK and AK certificates name the TPM in a critical subjectAltName, of forms that x509 does not read.
		default:
			return fmt.Errorf("unknown critical extension %s", e.Id)
		}
	}
	return nil
}

// checkEndEntity refuses a CA's certificate in the leaf's place, and a key that is not for signing or, as an EK, for encryption.
func checkEndEntity(c *x509.Certificate) error {
	if c.IsCA {
		return errors.New("a CA: want an end entity")
	}
	const usable = x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment | x509.KeyUsageKeyAgreement
	if c.KeyUsage != 0 && c.KeyUsage&usable == 0 {
		return fmt.Errorf("key usage %#x: want a key for signatures or for encryption", c.KeyUsage)
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
