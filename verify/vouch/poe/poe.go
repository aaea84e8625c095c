// Package poe reads Intel's Platform Ownership Endorsements: statements, by the owner of a platform
// or by who deploys it for him, that the platform instance with a PIID is his. They are COSE_Sign1
// (RFC 9052) by ECDSA over P-384 with SHA-384, around a CoRIM of the profile
// tag:intel.com,2026:tee.poe#1 (draft-bzb-rats-intel-poe-endorsements-02, which profiles
// draft-ietf-rats-corim-10).
//
// Intel does not sign them: a root that the policy lists does, for one owner. An endorsement says
// whose the machine is, not where it stands, and nothing revokes it before its end.
//
// The profile bids verifiers to ignore what they do not know. That is done where nothing depends on
// it; what would narrow the endorsement's condition, or what nobody signed, is refused instead. All
// CBOR must be in deterministic encoding, as its generator makes it, so that an endorsement has one
// form. The package is pure; FuzzParse, the vectors in testdata and TestOtherCOSEImplementation are
// the evidence.
package poe

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha512"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/chain"
)

// maxEndorsement is the size of the largest endorsement, in bytes: certificates are most of it.
const maxEndorsement = 1 << 14

// Algorithms (RFC 9053, §2.1; RFC 9864, §2.1): two code points of one operation.
const (
	algES384  = -35 // ECDSA with SHA-384; the profile says on which curve
	algESP384 = -51 // ECDSA with SHA-384 on P-384
)

// An Endorsement is what an owner signed.
type Endorsement struct {
	PIID      []byte    // of the platform instance: 16 or 32 octets
	Owner     string    // tee.owner-name: 1 to 255 bytes of printable ASCII, a DNS name as a rule
	NotBefore time.Time // rim-validity, both included; whole seconds
	NotAfter  time.Time

	chain     [][]byte // x5chain in DER, from the signer up
	protected []byte   // what is signed
	payload   []byte
	signature []byte // r ‖ s
}

// Parse parses an endorsement. It believes nothing of it: [Check] does. Failures are
// [verify.EndorseOwner].
func Parse(body []byte) (e *Endorsement, err error) {
	defer func() {
		if r := recover(); r != nil {
			e, err = nil, verify.Failf(verify.EndorseOwner, "ownership endorsement: the decoder fails on it: %.200v", r)
		}
	}()
	if len(body) > maxEndorsement {
		return nil, verify.Failf(verify.EndorseOwner, "ownership endorsement of %d bytes: want at most %d", len(body), maxEndorsement)
	}
	e = new(Endorsement)
	if err := e.envelope(body); err != nil {
		return nil, verify.Failf(verify.EndorseOwner, "ownership endorsement: %w", err)
	}
	if err := e.corim(e.payload); err != nil {
		return nil, verify.Failf(verify.EndorseOwner, "ownership endorsement: CoRIM: %w", err)
	}
	return e, nil
}

const (
	labelKeyID   = 4
	labelX5Chain = 33
	tagSign1     = 18
)

// envelope reads COSE_Sign1 (RFC 9052, §4.2).
func (e *Endorsement) envelope(body []byte) error {
	if err := checkDeterministic(body); err != nil {
		return err
	}
	inner, err := tagged(body, tagSign1)
	if err != nil {
		return err
	}
	parts, err := list(inner, 4)
	if err != nil {
		return err
	}
	for i, dst := range []*[]byte{&e.protected, nil, &e.payload, &e.signature} {
		if dst == nil {
			continue
		}
		b, err := part[cbor.ByteString](parts[i])
		if err != nil {
			return err
		}
		*dst = []byte(b)
	}
	if len(e.signature) != 96 {
		return fmt.Errorf("signature of %d bytes: want 96", len(e.signature))
	}
	if err := checkProtected(e.protected); err != nil {
		return fmt.Errorf("protected header: %w", err)
	}
	unprotected, err := part[map[int64]cbor.RawMessage](parts[1])
	if err != nil {
		return fmt.Errorf("unprotected header: %w", err)
	}
	for label := range unprotected {
		if label != labelKeyID && label != labelX5Chain {
			return fmt.Errorf("unprotected header: %d, which nobody signed", label)
		}
	}
	if kid, ok := unprotected[labelKeyID]; ok {
		if _, err := part[cbor.ByteString](kid); err != nil {
			return fmt.Errorf("unprotected header: kid: %w", err)
		}
	}
	if err := e.x5chain(unprotected[labelX5Chain]); err != nil {
		return fmt.Errorf("x5chain: %w", err)
	}
	return nil
}

// checkProtected reads the protected header. The issuer's name in its CWT claims is for people:
// whose the signature is, the certificates say.
func checkProtected(b []byte) error {
	h, err := item[struct {
		Alg         cbor.RawMessage `cbor:"1,keyasint"`
		Crit        cbor.RawMessage `cbor:"2,keyasint"`
		ContentType cbor.RawMessage `cbor:"3,keyasint"`
		Claims      cbor.RawMessage `cbor:"15,keyasint"`
	}](b)
	if err != nil {
		return err
	}
	// What cannot be read is none of the values that are wanted.
	if alg, _ := part[int64](h.Alg); alg != algES384 && alg != algESP384 {
		return fmt.Errorf("alg %d: want ES384 or ESP384", alg)
	}
	if h.Crit != nil {
		return errors.New("crit: what it names is not known here")
	}
	if typ, _ := part[string](h.ContentType); typ != "application/rim+cbor" {
		return fmt.Errorf("content type %.60q: want application/rim+cbor", typ)
	}
	c, err := part[struct {
		Issuer cbor.RawMessage `cbor:"1,keyasint"`
		Expiry cbor.RawMessage `cbor:"4,keyasint"`
		Start  cbor.RawMessage `cbor:"5,keyasint"`
	}](h.Claims)
	if err != nil {
		return fmt.Errorf("CWT claims: %w", err)
	}
	if iss, _ := part[string](c.Issuer); iss == "" || c.Expiry != nil || c.Start != nil {
		return errors.New("CWT claims: want iss, and neither exp nor nbf")
	}
	return nil
}

// x5chain reads COSE_X509 (RFC 9360, §2): one certificate, or an array of two and more.
func (e *Endorsement) x5chain(b cbor.RawMessage) error {
	if len(b) == 0 {
		return errors.New("missing")
	}
	certificates := []cbor.RawMessage{b}
	if b[0]>>5 == majorArray {
		var err error
		if certificates, err = part[[]cbor.RawMessage](b); err != nil {
			return err
		}
		if len(certificates) < 2 {
			return errors.New("an array of one certificate")
		}
	}
	for _, c := range certificates {
		der, err := part[cbor.ByteString](c)
		if err != nil {
			return err
		}
		e.chain = append(e.chain, []byte(der))
	}
	return nil
}

// A Signed is an endorsement whose signature was verified, with who signed it and when that holds.
type Signed struct {
	*Endorsement
	Root   poclog.Digest // SHA-256 of the root certificate
	Signer string        // subject of the signing certificate

	verify.Span // in which endorsement and certificates are all valid
}

// Check verifies an endorsement under one of the roots, which are named by SHA-256 of their DER, at
// a time. Where the endorsement leaves out the root's certificate the item's chain carries it, in
// PEM. Failures are [verify.EndorseOwner].
func Check(item *poclog.CollateralItem, roots map[[32]byte]bool, at time.Time) (*Signed, error) {
	e, err := Parse(item.Body)
	if err != nil {
		return nil, err
	}
	s, err := e.check(item.Chain, roots, at)
	if err != nil {
		return nil, verify.Failf(verify.EndorseOwner, "ownership endorsement: %w", err)
	}
	return s, nil
}

func (e *Endorsement) check(root []byte, roots map[[32]byte]bool, at time.Time) (*Signed, error) {
	certs, err := e.certificates(root)
	if err != nil {
		return nil, err
	}
	if err := chain.Check(certs, roots, at, nil); err != nil {
		return nil, err
	}
	if err := e.verify(certs[0]); err != nil {
		return nil, err
	}
	s := &Signed{Endorsement: e, Root: poclog.Sum(certs[len(certs)-1].Raw), Signer: certs[0].Subject.String(),
		Span: chain.Validity(certs...).And(e.NotBefore, e.NotAfter)}
	if err := s.Span.Check(at); err != nil {
		return nil, fmt.Errorf("it is %w", err)
	}
	return s, nil
}

// certificates parses the chain, with the root that stands beside it. Where the endorsement carries
// its own the chain has the root twice, which is refused.
func (e *Endorsement) certificates(root []byte) ([]*x509.Certificate, error) {
	if len(e.chain) > chain.MaxCertificates {
		return nil, fmt.Errorf("x5chain of %d certificates: want at most %d", len(e.chain), chain.MaxCertificates)
	}
	var certs []*x509.Certificate
	for _, der := range e.chain {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("x5chain: %w", err)
		}
		certs = append(certs, c)
	}
	if len(root) == 0 {
		return certs, nil
	}
	beside, err := chain.Root(root)
	return append(certs, beside), err
}

// verify checks the signature: of Sig_structure (RFC 9052, §4.4), by the leaf's key.
func (e *Endorsement) verify(leaf *x509.Certificate) error {
	key, ok := leaf.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P384() {
		return errors.New("the signer's key is not on P-384")
	}
	if leaf.KeyUsage != 0 && leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		return fmt.Errorf("the signer's certificate has key usage %v: want a key for signatures", leaf.KeyUsage)
	}
	signed, err := cbor.Marshal([]any{"Signature1", e.protected, []byte{}, e.payload})
	if err != nil {
		return err
	}
	sum := sha512.Sum384(signed)
	r, s := new(big.Int).SetBytes(e.signature[:48]), new(big.Int).SetBytes(e.signature[48:])
	if !ecdsa.Verify(key, sum[:], r, s) {
		return errors.New("its signature is not by the certified key")
	}
	return nil
}

// CheckPlatform holds an endorsement to the platform instance that it must be about, all octets of
// it.
func (e *Endorsement) CheckPlatform(piid []byte) error {
	if !bytes.Equal(e.PIID, piid) {
		return verify.Failf(verify.EndorseOwner, "ownership endorsement: it is for platform instance %x, the quote is by %x", e.PIID, piid)
	}
	return nil
}
