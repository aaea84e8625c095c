package tpm

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/poclog/poclog/verify"
)

// Object attributes, TPMA_OBJECT (Part 2, §8.3).
const (
	attrFixedTPM            = 1 << 1
	attrFixedParent         = 1 << 4
	attrSensitiveDataOrigin = 1 << 5
	attrUserWithAuth        = 1 << 6
	attrAdminWithPolicy     = 1 << 7
	attrRestricted          = 1 << 16
	attrDecrypt             = 1 << 17
	attrSign                = 1 << 18

	attrReserved = 0xfff0f009 // bits 0, 3, 12 to 15 and from 20 on
)

// Algorithms and curves of keys, TPM_ALG_ID and TPM_ECC_CURVE (Part 2, §6.3 and §6.4).
const (
	algRSA  = 0x0001
	algAES  = 0x0006
	algNull = 0x0010
	algECC  = 0x0023

	curveP256 = 0x0003
	curveP384 = 0x0004

	defaultExponent = 65537 // what 0 stands for (Part 2, §12.2.3.5)
)

// A Public is a TPMT_PUBLIC of an RSA or ECC key.
type Public struct {
	nameAlg    Alg
	attributes uint32
	authPolicy []byte
	symmetric  symmetric
	scheme     uint16
	schemeHash Alg
	exponent   uint32 // of RSA, as written
	key        crypto.PublicKey
}

// A symmetric is TPMT_SYM_DEF_OBJECT: what a parent encrypts its children with.
type symmetric struct{ alg, bits, mode uint16 }

// ParsePublic parses a TPMT_PUBLIC (Part 2, §12.2.4) without padding: RSA of 2,048 to 4,096 bits
// with exponent 65537, or ECC on P-256 or P-384. A malformed one is a [verify.Format] error.
func ParsePublic(item []byte) (*Public, error) {
	r := reader{b: item, what: "TPMT_PUBLIC"}
	kind := r.u16("type")
	p := &Public{nameAlg: Alg(r.u16("nameAlg")), attributes: r.u32("objectAttributes")}
	switch p.nameAlg {
	case SHA256, SHA384, SHA512:
	default:
		r.fail("nameAlg %#04x: want SHA-256, SHA-384 or SHA-512", uint16(p.nameAlg))
	}
	if p.attributes&attrReserved != 0 {
		r.fail("objectAttributes %#08x: reserved bits are set", p.attributes)
	}
	p.authPolicy = r.sized("authPolicy", 64)
	if n := len(p.authPolicy); n != 0 && n != p.nameAlg.Hash().Size() {
		r.fail("authPolicy of %d bytes: want none, or a digest by %s", n, p.nameAlg)
	}
	switch kind {
	case algRSA:
		p.parseScheme(&r, algRSASSA, algRSAPSS)
		p.parseRSA(&r)
	case algECC:
		p.parseScheme(&r, algECDSA)
		p.parseECC(&r)
	default:
		r.fail("type %#04x: want RSA or ECC", kind)
	}
	r.end()
	if r.err != nil {
		return nil, r.err
	}
	return p, nil
}

// parseScheme reads the symmetric algorithm and the signing scheme that RSA and ECC have in common.
func (p *Public) parseScheme(r *reader, signing ...uint16) {
	switch p.symmetric.alg = r.u16("symmetric"); p.symmetric.alg {
	case algNull:
	case algAES:
		p.symmetric.bits, p.symmetric.mode = r.u16("symmetric key bits"), r.u16("symmetric mode")
	default:
		r.fail("symmetric algorithm %#04x: want none or AES", p.symmetric.alg)
	}
	p.scheme = r.u16("scheme")
	if p.scheme == algNull {
		return
	}
	if !slices.Contains(signing, p.scheme) {
		r.fail("scheme %#04x: want none or one of %#04x", p.scheme, signing)
	}
	if p.schemeHash = Alg(r.u16("scheme hash")); p.schemeHash.Hash() == 0 {
		r.fail("scheme hash %#04x is unknown", uint16(p.schemeHash))
	}
}

func (p *Public) parseRSA(r *reader) {
	bits := r.u16("keyBits")
	p.exponent = r.u32("exponent")
	n := r.sized("modulus", maxModulus)
	if r.err != nil {
		return
	}
	if p.exponent != 0 && p.exponent != defaultExponent {
		r.fail("exponent %d: want 65537", p.exponent)
	}
	if len(n) < 256 || int(bits) != 8*len(n) || n[0] < 0x80 || n[len(n)-1]&1 == 0 {
		r.fail("RSA key of %d bits with a modulus of %d bytes: want 2048 to 4096 bits, and an odd modulus of that size", bits, len(n))
	}
	p.key = &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: defaultExponent}
}

func (p *Public) parseECC(r *reader) {
	var curve elliptic.Curve
	switch id := r.u16("curve"); id {
	case curveP256:
		curve = elliptic.P256()
	case curveP384:
		curve = elliptic.P384()
	default:
		r.fail("curve %#04x: want P-256 or P-384", id)
	}
	r.want("kdf", uint64(r.u16("kdf")), algNull)
	x, y := r.sized("x", maxScalar), r.sized("y", maxScalar)
	if r.err != nil {
		return
	}
	if size := curve.Params().BitSize / 8; len(x) != size {
		r.fail("point of %d and %d bytes: want %d", len(x), len(y), size)
		return
	}
	// It also holds both together to the curve's size.
	key, err := ecdsa.ParseUncompressedPublicKey(curve, append(append([]byte{4}, x...), y...))
	if err != nil {
		r.fail("the point is not on the curve")
		return
	}
	p.key = key
}

// Marshal returns the TPMT_PUBLIC: for a parsed one, the same bytes.
func (p *Public) Marshal() []byte {
	kind := uint16(algRSA)
	if _, ok := p.key.(*ecdsa.PublicKey); ok {
		kind = algECC
	}
	b := append16(nil, kind, uint16(p.nameAlg))
	b = binary.BigEndian.AppendUint32(b, p.attributes)
	b = append16(appendSized(b, p.authPolicy), p.symmetric.alg)
	if p.symmetric.alg != algNull {
		b = append16(b, p.symmetric.bits, p.symmetric.mode)
	}
	if b = append16(b, p.scheme); p.scheme != algNull {
		b = append16(b, uint16(p.schemeHash))
	}
	switch k := p.key.(type) {
	case *rsa.PublicKey:
		b = binary.BigEndian.AppendUint32(append16(b, uint16(k.N.BitLen())), p.exponent)
		return appendSized(b, k.N.Bytes())
	case *ecdsa.PublicKey:
		curve := uint16(curveP256)
		if k.Curve == elliptic.P384() {
			curve = curveP384
		}
		point, err := k.Bytes()
		if err != nil {
			panic("tpm: Public with a point that no constructor lets through")
		}
		x, y := point[1:1+len(point)/2], point[1+len(point)/2:]
		return appendSized(appendSized(append16(b, curve, algNull), x), y)
	}
	panic("tpm: Public without a key")
}

// Key returns the public key: *rsa.PublicKey or *ecdsa.PublicKey. ParsePublic has seen that it is
// well-formed.
func (p *Public) Key() crypto.PublicKey { return p.key }

// AuthPolicy returns the digest of the policy that lets the key be used, or nothing.
func (p *Public) AuthPolicy() []byte { return p.authPolicy }

// NameAlg returns the algorithm of the key's name and policy digest.
func (p *Public) NameAlg() Alg { return p.nameAlg }

// PolicyOnly reports whether the key signs under its policy alone, and not with a password: it has
// a policy, and userWithAuth is clear (Part 1, §19.2).
func (p *Public) PolicyOnly() bool {
	return len(p.authPolicy) > 0 && p.attributes&attrUserWithAuth == 0
}

// Name returns the key's name: nameAlg ‖ H(TPMT_PUBLIC) (Part 1, §16).
func (p *Public) Name() []byte { return named(p.nameAlg, p.Marshal()) }

func named(alg Alg, parts ...[]byte) []byte {
	h := alg.Hash().New()
	for _, b := range parts {
		h.Write(b)
	}
	return h.Sum(binary.BigEndian.AppendUint16(nil, uint16(alg)))
}

// Hierarchies: a primary key's qualified name is made with the handle of its own (Part 1, §16; Part
// 2, §7.4).
const (
	hierarchyOwner       = 0x40000001
	hierarchyNull        = 0x40000007
	hierarchyEndorsement = 0x4000000b
	hierarchyPlatform    = 0x4000000c
)

// A ParentError says that all but the parent of an AK is as it should be: the quote's
// qualifiedSigner is of no hierarchy's primary key of that name. Either the AK has a parent that
// this package does not know, or another key with a name of its own made the quote. It is inside
// the *verify.Error of [CheckAKTemplate]: find it with errors.As, and go on only if you know the
// parent's qualified name and [Public.QualifiedName] gives this one.
type ParentError struct {
	QualifiedSigner []byte // algorithm ‖ digest, as the TPM signed it
}

// Error says what was compared.
func (e *ParentError) Error() string {
	return fmt.Sprintf("qualifiedSigner %x is not the AK's name as a primary key of any hierarchy", e.QualifiedSigner)
}

// QualifiedName returns the key's qualified name under a parent, of which it takes the qualified
// name, or the four bytes of a hierarchy's handle: nameAlg ‖ H(parent ‖ name) (Part 1, §16).
func (p *Public) QualifiedName(parent []byte) []byte { return named(p.nameAlg, parent, p.Name()) }

// primaryName returns the key's qualified name as a primary key of a hierarchy.
func (p *Public) primaryName(hierarchy uint32) []byte {
	return p.QualifiedName(binary.BigEndian.AppendUint32(nil, hierarchy))
}

// CheckAKTemplate verifies that a key signs only what its TPM made. It must be restricted (it signs
// nothing that begins with TPM_GENERATED_VALUE but what the TPM itself made), for signing alone,
// made in the TPM and fixed to it, with one scheme, which is the quote's; it must be the certified
// key; and the quote's qualifiedSigner must be its qualified name as a primary key of the
// endorsement or owner hierarchy, as the AKs of Compute Engine are. Keys of the null hierarchy die
// with every reset, and those of the platform hierarchy are the firmware's: both are refused. A
// qualifiedSigner of none of the four is refused with a [ParentError] inside. Failures are
// [verify.TPMAKTemplate].
func CheckAKTemplate(p *Public, q *Quote, certified crypto.PublicKey) error {
	if err := p.checkAK(q, certified); err != nil {
		return verify.Failf(verify.TPMAKTemplate, "AK: %w", err)
	}
	return nil
}

func (p *Public) checkAK(q *Quote, certified crypto.PublicKey) error {
	const must = attrRestricted | attrSign | attrFixedTPM | attrFixedParent | attrSensitiveDataOrigin
	switch {
	case p.attributes&must != must || p.attributes&attrDecrypt != 0:
		return fmt.Errorf("attributes %#08x: want a restricted signing key that the TPM made and holds", p.attributes)
	case p.symmetric.alg != algNull:
		return fmt.Errorf("symmetric algorithm %#04x: a signing key has none", p.symmetric.alg)
	case p.scheme == algNull:
		return errors.New("no scheme: a restricted key has one")
	case p.scheme != q.scheme || p.schemeHash != q.hash:
		return fmt.Errorf("the quote is signed by scheme %#04x with %s, the key's is %#04x with %s", q.scheme, q.hash, p.scheme, p.schemeHash)
	case !EqualKeys(p.key, certified):
		return errors.New("the TPMT_PUBLIC is of another key than the certificate")
	}
	switch signer := string(q.QualifiedSigner); signer {
	case string(p.primaryName(hierarchyEndorsement)), string(p.primaryName(hierarchyOwner)):
		return nil
	case string(p.primaryName(hierarchyNull)):
		return errors.New("a primary key of the null hierarchy, which dies with every reset: want one of the endorsement or owner hierarchy")
	case string(p.primaryName(hierarchyPlatform)):
		return errors.New("a primary key of the platform hierarchy, which the firmware holds: want one of the endorsement or owner hierarchy")
	}
	return &ParentError{QualifiedSigner: q.QualifiedSigner}
}

// EqualKeys reports whether two public keys are the same. Of what is no key it is false.
func EqualKeys(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}

// PolicyPCRDigest returns the authPolicy of a key that TPM2_PolicyPCR alone unlocks (Part 3,
// §23.7): H(0 ‖ TPM_CC_PolicyPCR ‖ selection ‖ pcrDigest). The algorithm is the key's nameAlg;
// pcrDigest is its hash of the selected registers' values, concatenated in the selection's order.
// It panics for an unknown algorithm and for registers over 23, which no parsed [Public] and no
// parsed [Quote] have.
func PolicyPCRDigest(alg Alg, selection []PCRSelection, pcrDigest []byte) []byte {
	const commandPolicyPCR = 0x0000017f
	d := alg.Hash().New()
	d.Write(make([]byte, d.Size()))
	d.Write(binary.BigEndian.AppendUint32(nil, commandPolicyPCR))
	d.Write(marshalSelection(selection))
	d.Write(pcrDigest)
	return d.Sum(nil)
}
