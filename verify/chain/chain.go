// Package chain reads and verifies certificate chains, whoever's they are: chip makers', clouds',
// owners'. It is the one place that does.
//
// A chain has one accepted form: from the leaf to the self-issued root, each certificate issued by
// the next, none twice and none that is not needed. A root is trusted by the SHA-256 of its DER
// alone. Signatures are verified from the root down, so that each is by a key that is trusted
// already, and only once nothing else is wrong with any certificate. With bounded keys and a
// bounded number of certificates, a chain that nobody certified costs one verification by the
// root's key at most.
//
// Rules follow RFC 5280, §6.1, and are stricter: a critical extension must be one that is judged
// here, or say nothing that limits. Extended key usages are not judged, for CAs carry their own;
// nor is revocation. What a technology demands of its own certificates its package adds ([Also]).
// The package is pure.
package chain

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"github.com/poclog/poclog/verify"
)

// Limits of a chain.
const (
	MaxBytes        = 1 << 14
	MaxCertificates = 6
)

// Limits of keys. P-256 and P-384 are the curves.
const (
	minRSA      = 2048 // bits
	maxRSA      = 4096
	maxExponent = 65537
)

// Roots are the root certificates that may judge, by SHA-256 of their DER.
type Roots = map[[32]byte]bool

// Also is what a caller demands of each certificate beside the common rules; below is how many
// certificates stand below it. It verifies no signature.
type Also func(c *x509.Certificate, below int) error

// Parse parses 1 to 6 certificates in DER, concatenated, of at most 16 KiB together.
func Parse(der []byte) ([]*x509.Certificate, error) {
	if len(der) > MaxBytes {
		return nil, fmt.Errorf("certificate chain of %d bytes: want at most %d", len(der), MaxBytes)
	}
	var certs []*x509.Certificate
	for rest := der; len(rest) > 0; {
		if len(certs) == MaxCertificates {
			return nil, fmt.Errorf("certificate chain of over %d certificates", MaxCertificates)
		}
		n, err := Length(rest)
		if err != nil {
			return nil, fmt.Errorf("certificate %d of the chain is not DER: %w", len(certs), err)
		}
		c, err := x509.ParseCertificate(rest[:n])
		if err != nil {
			return nil, fmt.Errorf("certificate %d of the chain: %w", len(certs), err)
		}
		certs, rest = append(certs, c), rest[n:]
	}
	if len(certs) == 0 {
		return nil, errors.New("empty certificate chain")
	}
	return certs, nil
}

// Length returns the length of the DER value at the start of b.
func Length(b []byte) (int, error) {
	var v asn1.RawValue
	rest, err := asn1.Unmarshal(b, &v)
	if err != nil {
		return 0, err
	}
	return len(b) - len(rest), nil
}

// ParsePEM parses up to 6 certificates in at most 16 KiB of PEM, with nothing but white space
// before, between and after them.
func ParsePEM(text []byte) ([]*x509.Certificate, error) {
	if len(text) > MaxBytes {
		return nil, fmt.Errorf("%d bytes of PEM: want at most %d", len(text), MaxBytes)
	}
	var certs []*x509.Certificate
	for rest := text; ; {
		rest = bytes.TrimLeft(rest, "\n\r \t")
		if len(rest) == 0 {
			return certs, nil
		}
		if !bytes.HasPrefix(rest, []byte("-----BEGIN ")) {
			return nil, fmt.Errorf("%.20q between certificates", rest)
		}
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil || block.Type != "CERTIFICATE" || len(block.Headers) > 0 || len(certs) == MaxCertificates {
			return nil, fmt.Errorf("PEM block %d: want at most %d of type CERTIFICATE", len(certs), MaxCertificates)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", len(certs), err)
		}
		certs = append(certs, c)
	}
}

// Root parses the one certificate, in PEM, that stands beside a signed statement as its root's.
func Root(beside []byte) (*x509.Certificate, error) {
	root, err := ParsePEM(beside)
	switch {
	case err != nil:
		return nil, fmt.Errorf("the root beside it: %w", err)
	case len(root) != 1:
		return nil, fmt.Errorf("%d certificates beside it: want the root's", len(root))
	}
	return root[0], nil
}

// Validity returns the span in which all certificates are valid.
func Validity(certs ...*x509.Certificate) (s verify.Span) {
	for _, c := range certs {
		s = s.And(c.NotBefore, c.NotAfter)
	}
	return s
}

// Revoked returns the entry of a certificate in a list, by its serial number, or nil.
func Revoked(list *x509.RevocationList, c *x509.Certificate) *x509.RevocationListEntry {
	for i := range list.RevokedCertificateEntries {
		if e := &list.RevokedCertificateEntries[i]; e.SerialNumber.Cmp(c.SerialNumber) == 0 {
			return e
		}
	}
	return nil
}

// Check verifies that a leaf, an end entity, leads to one of the roots, with all certificates valid
// at a time. The leaf comes first, the root last. Also may be nil.
func Check(certs []*x509.Certificate, roots Roots, at time.Time, also Also) error {
	if len(certs) < 2 {
		return fmt.Errorf("chain of %d certificates: want an end entity's, and its root's", len(certs))
	}
	return check(certs, roots, at, also, false)
}

// CheckAuthorities is Check for CAs alone: one that signed a list, say, or a root by itself.
func CheckAuthorities(certs []*x509.Certificate, roots Roots, at time.Time, also Also) error {
	if len(certs) < 1 {
		return errors.New("empty certificate chain")
	}
	return check(certs, roots, at, also, true)
}

func check(certs []*x509.Certificate, roots Roots, at time.Time, also Also, authorities bool) error {
	last := len(certs) - 1
	root := certs[last]
	if last >= MaxCertificates {
		return fmt.Errorf("certificate chain of over %d certificates", MaxCertificates)
	}
	if sum := sha256.Sum256(root.Raw); !roots[sum] {
		return fmt.Errorf("root certificate %q with digest %x is not one that the policy lists, or not the one that must judge", root.Subject, sum)
	}
	// Nothing here costs a public-key operation.
	for i := last; i >= 0; i-- {
		issuer := certs[min(i+1, last)]
		err := checkOne(certs[i], issuer, i, at, i > 0 || authorities)
		if err == nil && i < last && bytes.Equal(certs[i].RawIssuer, certs[i].RawSubject) {
			err = errors.New("it issued itself: want that of the root alone, and once")
		}
		if err == nil && also != nil {
			err = also(certs[i], i)
		}
		if err != nil {
			return inChain(certs[i], i, err)
		}
	}
	for i := last - 1; i >= 0; i-- {
		if err := certs[i].CheckSignatureFrom(certs[i+1]); err != nil {
			return inChain(certs[i], i, fmt.Errorf("not signed by %q: %w", certs[i+1].Subject, err))
		}
	}
	return nil
}

// inChain says of which certificate an error is.
func inChain(c *x509.Certificate, i int, err error) error {
	return fmt.Errorf("certificate %d of the chain, %q: %w", i, c.Subject, err)
}

// checkOne makes the checks of one certificate that need no key; below is the number of
// certificates below it.
func checkOne(c, issuer *x509.Certificate, below int, at time.Time, authority bool) error {
	if err := Validity(c).Check(at); err != nil {
		return err
	}
	if !bytes.Equal(c.RawIssuer, issuer.RawSubject) {
		return fmt.Errorf("its issuer %q is not the next certificate, %q", c.Issuer, issuer.Subject)
	}
	if err := checkKey(c); err != nil {
		return err
	}
	if err := checkExtensions(c, below == 0); err != nil {
		return err
	}
	if !authority {
		return checkEndEntity(c)
	}
	if !c.IsCA {
		return errors.New("not a CA")
	}
	// A path length does not count the end entity. Where there is none x509 reads −1.
	if cas := below - 1; c.MaxPathLen >= 0 && cas > c.MaxPathLen {
		return fmt.Errorf("path length %d: %d CAs are below it", c.MaxPathLen, cas)
	}
	return nil
}

// checkKey bounds what a verification by a key can cost.
func checkKey(c *x509.Certificate) error {
	switch key := c.PublicKey.(type) {
	case *rsa.PublicKey:
		if n := key.N.BitLen(); n < minRSA || n > maxRSA || key.E < 3 || key.E > maxExponent {
			return fmt.Errorf("RSA key of %d bits with exponent %d: want %d to %d bits, and an exponent of 3 to %d", n, key.E, minRSA, maxRSA, maxExponent)
		}
	case *ecdsa.PublicKey:
		if key.Curve != elliptic.P256() && key.Curve != elliptic.P384() {
			return fmt.Errorf("key on %s: want P-256 or P-384", key.Curve.Params().Name)
		}
	default:
		return fmt.Errorf("key of type %T: want RSA or ECDSA", key)
	}
	return nil
}

// Extensions (RFC 5280, §4.2.1).
var (
	oidKeyUsage         = asn1.ObjectIdentifier{2, 5, 29, 15}
	oidSAN              = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidBasicConstraints = asn1.ObjectIdentifier{2, 5, 29, 19}
	oidPolicies         = asn1.ObjectIdentifier{2, 5, 29, 32}
	oidExtKeyUsage      = asn1.ObjectIdentifier{2, 5, 29, 37}
)

// checkExtensions refuses critical extensions whose limits nothing here would enforce: so a CA that
// is constrained to names is refused.
func checkExtensions(c *x509.Certificate, leaf bool) error {
	for _, e := range c.Extensions {
		switch {
		case !e.Critical, e.Id.Equal(oidKeyUsage), e.Id.Equal(oidBasicConstraints), e.Id.Equal(oidPolicies), e.Id.Equal(oidExtKeyUsage):
		case leaf && e.Id.Equal(oidSAN):
			// EK and AK certificates name the TPM in a critical subjectAltName, of forms that x509
			// does not read.
		default:
			return fmt.Errorf("unknown critical extension %s", e.Id)
		}
	}
	return nil
}

// checkEndEntity refuses a CA's certificate in the leaf's place, and a key that is not for signing
// or, as an EK, for encryption.
func checkEndEntity(c *x509.Certificate) error {
	if c.IsCA {
		return errors.New("a CA: want an end entity")
	}
	const usable = x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment | x509.KeyUsageKeyAgreement
	if c.KeyUsage != 0 && c.KeyUsage&usable == 0 {
		return fmt.Errorf("key usage %v: want a key for signatures or for encryption", c.KeyUsage)
	}
	return nil
}
