package tpm

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	casn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
)

// Purposes of certificates ("TCG EK Credential Profile for TPM Family 2.0"), and the attributes by
// which an EK certificate names its TPM.
var (
	OIDEKCertificate = asn1.ObjectIdentifier{2, 23, 133, 8, 1} // tcg-kp-EKCertificate
	OIDAKCertificate = asn1.ObjectIdentifier{2, 23, 133, 8, 3} // tcg-kp-AIKCertificate

	OIDTPMManufacturer = asn1.ObjectIdentifier{2, 23, 133, 2, 1}
	OIDTPMModel        = asn1.ObjectIdentifier{2, 23, 133, 2, 2}
	OIDTPMVersion      = asn1.ObjectIdentifier{2, 23, 133, 2, 3}
)

// A Device is how an EK certificate names its TPM: printable text of 1 to 64 bytes each, such as
// "id:49465800", "SLB 9672" and "id:1002".
type Device struct{ Manufacturer, Model, Version string }

// CheckEKCertificate verifies that the leaf of a chain is an endorsement key's certificate: for the
// purpose tcg-kp-EKCertificate, with a key that decrypts (RSA of 2,048 to 4,096 bits) or agrees
// (P-256 or P-384) and signs nothing, and with the TPM's manufacturer, model and version in its
// subjectAltName, which may be critical. The chain is for [CheckChain]. Failures are of the check
// given.
func CheckEKCertificate(check verify.Check, c *x509.Certificate) (*Device, error) {
	d, err := checkEK(c)
	if err != nil {
		return nil, verify.Failf(check, "EK certificate: %w", err)
	}
	return d, nil
}

func checkEK(c *x509.Certificate) (*Device, error) {
	if err := checkPurpose(c, OIDEKCertificate); err != nil {
		return nil, err
	}
	var want x509.KeyUsage
	switch key := c.PublicKey.(type) {
	case *rsa.PublicKey:
		if n := key.N.BitLen(); n < 2048 || n > 4096 || key.E != defaultExponent {
			return nil, fmt.Errorf("RSA key of %d bits with exponent %d: want 2048 to 4096 bits and 65537", n, key.E)
		}
		want = x509.KeyUsageKeyEncipherment
	case *ecdsa.PublicKey:
		if key.Curve != elliptic.P256() && key.Curve != elliptic.P384() {
			return nil, fmt.Errorf("key on %s: want P-256 or P-384", key.Curve.Params().Name)
		}
		want = x509.KeyUsageKeyAgreement
	default:
		return nil, fmt.Errorf("key of type %T: want RSA or ECC", key)
	}
	const signs = x509.KeyUsageDigitalSignature | x509.KeyUsageContentCommitment | x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	if c.KeyUsage&want == 0 || c.KeyUsage&signs != 0 {
		return nil, fmt.Errorf("key usage %v: want that of a key which decrypts or agrees, and does not sign", c.KeyUsage)
	}
	return deviceOf(c)
}

// checkPurpose demands an extended key usage.
func checkPurpose(c *x509.Certificate, purpose asn1.ObjectIdentifier) error {
	if slices.ContainsFunc(c.UnknownExtKeyUsage, purpose.Equal) {
		return nil
	}
	return fmt.Errorf("extended key usage %v: want %s", c.UnknownExtKeyUsage, purpose)
}

// Tags of GeneralName (RFC 5280, §4.2.1.6).
const (
	tagDirectoryName = 4
	tagURI           = 6
)

// oidSAN is the extension subjectAltName.
var oidSAN = asn1.ObjectIdentifier{2, 5, 29, 17}

// eachName calls f with each name of a certificate's subjectAltName: its tag's number, and its
// contents.
func eachName(c *x509.Certificate, f func(tag int, value []byte) error) error {
	for _, e := range c.Extensions {
		if !e.Id.Equal(oidSAN) {
			continue
		}
		outer := cryptobyte.String(e.Value)
		var names cryptobyte.String
		if !outer.ReadASN1(&names, casn1.SEQUENCE) || !outer.Empty() {
			return errors.New("subjectAltName: malformed")
		}
		for !names.Empty() {
			var value cryptobyte.String
			var tag casn1.Tag
			if !names.ReadAnyASN1(&value, &tag) || tag&0xc0 != 0x80 {
				return errors.New("subjectAltName: malformed")
			}
			if err := f(int(tag&0x1f), value); err != nil {
				return err
			}
		}
	}
	return nil
}

// deviceOf reads the TPM's attributes from the directory name, each of which must stand there once.
func deviceOf(c *x509.Certificate) (*Device, error) {
	d := new(Device)
	fields := []struct {
		oid   asn1.ObjectIdentifier
		value *string
	}{{OIDTPMManufacturer, &d.Manufacturer}, {OIDTPMModel, &d.Model}, {OIDTPMVersion, &d.Version}}
	err := eachName(c, func(tag int, value []byte) error {
		if tag != tagDirectoryName {
			return nil
		}
		return eachAttribute(value, func(oid asn1.ObjectIdentifier, text string) error {
			for _, f := range fields {
				if !f.oid.Equal(oid) {
					continue
				}
				if *f.value != "" || !isLabel(text) {
					return fmt.Errorf("TPM attribute %s %.80q: want one, of 1 to 64 bytes of printable ASCII", oid, text)
				}
				*f.value = text
			}
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	if d.Manufacturer == "" || d.Model == "" || d.Version == "" {
		return nil, errors.New("its subjectAltName does not name the TPM's manufacturer, model and version")
	}
	return d, nil
}

// eachAttribute walks a Name (RFC 5280, §4.1.2.4).
func eachAttribute(name []byte, f func(oid asn1.ObjectIdentifier, text string) error) error {
	malformed := errors.New("directory name: malformed")
	outer := cryptobyte.String(name)
	var rdns cryptobyte.String
	if !outer.ReadASN1(&rdns, casn1.SEQUENCE) || !outer.Empty() {
		return malformed
	}
	for !rdns.Empty() {
		var set cryptobyte.String
		if !rdns.ReadASN1(&set, casn1.SET) {
			return malformed
		}
		for !set.Empty() {
			var pair, text cryptobyte.String
			var oid asn1.ObjectIdentifier
			var tag casn1.Tag
			if !set.ReadASN1(&pair, casn1.SEQUENCE) || !pair.ReadASN1ObjectIdentifier(&oid) || !pair.ReadAnyASN1(&text, &tag) || !pair.Empty() {
				return malformed
			}
			if err := f(oid, string(text)); err != nil {
				return err
			}
		}
	}
	return nil
}

func isLabel(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return len(s) > 0 && len(s) <= 64
}

// URIs in the subjectAltName of a bare-metal provider's AK certificate, docs/format.md §8.1. The
// first form is the one that CAs use already which certify attestation keys by credential
// activation; the others are this project's.
const (
	uriEK    = "urn:ek:sha256:"
	uriOurs  = "tag:poclog.dev,2026:"
	uriPlace = uriOurs + "place:"
	uriChip  = uriOurs + "chip:"
)

// Platform is what a bare-metal provider's AK certificate says of the machine that holds the key.
type Platform struct {
	EK                     poclog.Digest   // SHA-256 of the SubjectPublicKeyInfo of the same TPM's EK
	Provider, Region, Zone string          // where the machine stands: 1 to 64 of a–z, 0–9 and "-" each
	Chip                   poclog.Identity // its PPID, or "" where the provider does not say
}

// CheckAKCertificate verifies that the leaf of a chain is an attestation key's certificate, for the
// purpose tcg-kp-AIKCertificate, which names the EK whose certificate is given: that both keys are
// in one TPM is what the issuer says by it. Failures are [verify.TPMAKChain].
func CheckAKCertificate(ak, ek *x509.Certificate) error {
	if err := checkPurpose(ak, OIDAKCertificate); err != nil {
		return verify.Failf(verify.TPMAKChain, "AK certificate: %w", err)
	}
	named, err := nameOf(ak, uriEK)
	if err != nil {
		return verify.Failf(verify.TPMAKChain, "AK certificate: %w", err)
	}
	spki, err := x509.MarshalPKIXPublicKey(ek.PublicKey)
	if err != nil {
		return verify.Failf(verify.TPMAKChain, "EK certificate: %w", err)
	}
	sum := sha256.Sum256(spki)
	if have := base64.StdEncoding.EncodeToString(sum[:]); have != named {
		return verify.Failf(verify.TPMAKChain, "the AK certificate names the EK %q: the one shown is %q", named, have)
	}
	return nil
}

// ParsePlatform reads what an AK certificate says of the machine. A certificate that does not name
// its EK and its place once each, or that has a name of this project's which is unknown, is a
// [verify.PlaceCert] error.
func ParsePlatform(ak *x509.Certificate) (*Platform, error) {
	p, err := parsePlatform(ak)
	if err != nil {
		return nil, verify.Failf(verify.PlaceCert, "AK certificate: %w", err)
	}
	return p, nil
}

func parsePlatform(ak *x509.Certificate) (*Platform, error) {
	if err := checkOurs(ak); err != nil {
		return nil, err
	}
	p := new(Platform)
	ek, err := nameOf(ak, uriEK)
	if err != nil {
		return nil, err
	}
	sum, err := base64.StdEncoding.Strict().DecodeString(ek)
	if err != nil || len(sum) != len(p.EK) {
		return nil, fmt.Errorf("%s%.80s: want a SHA-256 in base64", uriEK, ek)
	}
	p.EK = poclog.Digest(sum)
	place, err := nameOf(ak, uriPlace)
	if err != nil {
		return nil, err
	}
	parts := strings.Split(place, ":")
	if len(parts) != 3 || slices.ContainsFunc(parts, func(s string) bool { return !IsPlace(s) }) {
		return nil, fmt.Errorf("%s%.100s: want provider:region:zone", uriPlace, place)
	}
	p.Provider, p.Region, p.Zone = parts[0], parts[1], parts[2]
	chip, err := nameOf(ak, uriChip)
	if errors.As(err, new(*unnamedError)) {
		return p, nil
	}
	if err != nil {
		return nil, err
	}
	if p.Chip, err = poclog.ParseIdentity(chip); err != nil {
		return nil, err
	}
	if p.Chip.Kind() != poclog.IntelPPID {
		return nil, fmt.Errorf("%s%.100s: want a PPID", uriChip, chip)
	}
	return p, nil
}

// checkOurs refuses what a later version might add to say less than what this one reads.
func checkOurs(ak *x509.Certificate) error {
	return eachName(ak, func(tag int, value []byte) error {
		uri := string(value)
		if tag == tagURI && strings.HasPrefix(uri, uriOurs) && !strings.HasPrefix(uri, uriPlace) && !strings.HasPrefix(uri, uriChip) {
			return fmt.Errorf("unknown name %.100q", uri)
		}
		return nil
	})
}

// An unnamedError says that a certificate has no name of a form.
type unnamedError struct{ prefix string }

func (e *unnamedError) Error() string {
	return fmt.Sprintf("its subjectAltName has no URI %s…", e.prefix)
}

// nameOf returns the rest of the one URI with a prefix. None is an unnamedError.
func nameOf(c *x509.Certificate, prefix string) (string, error) {
	found := ""
	err := eachName(c, func(tag int, value []byte) error {
		rest, ok := strings.CutPrefix(string(value), prefix)
		if tag != tagURI || !ok {
			return nil
		}
		if found != "" || rest == "" {
			return fmt.Errorf("URI %.100q: want one %s…", value, prefix)
		}
		found = rest
		return nil
	})
	if err != nil {
		return "", err
	}
	if found == "" {
		return "", &unnamedError{prefix}
	}
	return found, nil
}

// IsPlace reports whether s can stand in an entry as the name of a region or zone.
func IsPlace(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return len(s) > 0 && len(s) <= 64
}

// URIs returns the names for the subjectAltName of an AK certificate: for a parsed platform, those
// that it was parsed from.
func (p *Platform) URIs() []string {
	uris := []string{
		uriEK + base64.StdEncoding.EncodeToString(p.EK[:]),
		uriPlace + p.Provider + ":" + p.Region + ":" + p.Zone,
	}
	if p.Chip != "" {
		uris = append(uris, uriChip+string(p.Chip))
	}
	return uris
}
