package tpm

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/binary"
	"math/big"

	"github.com/poclog/poclog/verify"
)

// Object attributes, TPMA_OBJECT (Part 2, §8.3).
const (
	attrFixedTPM            = 1 << 1
	attrFixedParent         = 1 << 4
	attrSensitiveDataOrigin = 1 << 5
	attrUserWithAuth        = 1 << 6
	attrAdminWithPolicy     = 1 << 7
	attrNoDA                = 1 << 10
	attrRestricted          = 1 << 16
	attrDecrypt             = 1 << 17
	attrSign                = 1 << 18

	algRSA  = 0x0001
	algECC  = 0x0023
	algNull = 0x0010

	curveP256 = 0x0003
	curveP384 = 0x0004
)

// Hierarchies whose primary keys an AK may be: TPM_RH_ENDORSEMENT and TPM_RH_OWNER. Keys of the null hierarchy change with every reset.
var hierarchies = []uint32{0x4000000b, 0x40000001}

// A Public is a TPMT_PUBLIC of an RSA or ECC key.
type Public struct {
	raw        []byte
	nameAlg    Alg
	attributes uint32
	authPolicy []byte
	scheme     uint16
	schemeHash Alg
	symmetric  uint16
	key        crypto.PublicKey
}

// ParsePublic parses a TPMT_PUBLIC (Part 2, §12.2.4) without padding. A malformed one is a [verify.Format] error.
func ParsePublic(item []byte) (*Public, error) {
	r := reader{b: item, what: "TPMT_PUBLIC"}
	p := &Public{raw: item}
	kind := r.u16("type")
	p.nameAlg = Alg(r.u16("nameAlg"))
	if r.err == nil && (p.nameAlg.Hash() == 0 || p.nameAlg == SHA1) {
		r.fail("nameAlg %#04x: want SHA-256, SHA-384 or SHA-512", uint16(p.nameAlg))
	}
	p.attributes = r.u32("objectAttributes")
	p.authPolicy = r.sized("authPolicy", 64)
	switch kind {
	case algRSA:
		p.parseRSA(&r)
	case algECC:
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
func (p *Public) parseScheme(r *reader) {
	if p.symmetric = r.u16("symmetric"); p.symmetric != algNull {
		r.u16("symmetric key bits")
		r.u16("symmetric mode")
	}
	if p.scheme = r.u16("scheme"); p.scheme != algNull {
		p.schemeHash = Alg(r.u16("scheme hash"))
	}
}

func (p *Public) parseRSA(r *reader) {
	p.parseScheme(r)
	bits := r.u16("keyBits")
	exponent := r.u32("exponent")
	n := r.sized("modulus", 512)
	if exponent == 0 {
		exponent = 65537 // Part 2, §12.2.3.5
	}
	if r.err == nil && (len(n) != int(bits)/8 || len(n) < 256 || n[0] < 0x80 || exponent != 65537) {
		r.fail("RSA key of %d bits, modulus of %d bytes, exponent %d: want 2048 to 4096 bits and 65537", bits, len(n), exponent)
	}
	p.key = &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(exponent)}
}

func (p *Public) parseECC(r *reader) {
	p.parseScheme(r)
	curve, ok := map[uint16]elliptic.Curve{curveP256: elliptic.P256(), curveP384: elliptic.P384()}[r.u16("curve")]
	if r.err == nil && !ok {
		r.fail("curve: want P-256 or P-384")
	}
	if kdf := r.u16("kdf"); kdf != algNull {
		r.fail("kdf %#04x: want none", kdf)
	}
	x, y := r.sized("x", 48), r.sized("y", 48)
	if r.err != nil {
		return
	}
	size := (curve.Params().BitSize + 7) / 8
	if len(x) != size || len(y) != size {
		r.fail("point of %d and %d bytes: want %d", len(x), len(y), size)
		return
	}
	key, err := ecdsa.ParseUncompressedPublicKey(curve, append(append([]byte{4}, x...), y...))
	if err != nil {
		r.fail("the point is not on the curve")
	}
	p.key = key
}

// Key returns the public key.
func (p *Public) Key() crypto.PublicKey { return p.key }

// AuthPolicy returns the digest of the policy that lets the key be used, or nothing.
func (p *Public) AuthPolicy() []byte { return p.authPolicy }

// NameAlg returns the algorithm of the key's name and policy digest.
func (p *Public) NameAlg() Alg { return p.nameAlg }

// PolicyOnly reports whether nothing but the policy lets the key be used: neither a password nor, as for keys outside the endorsement
// hierarchy's rules, an administrator's.
func (p *Public) PolicyOnly() bool { return p.attributes&attrUserWithAuth == 0 }

// Name returns the key's name: nameAlg ‖ H(TPMT_PUBLIC) (Part 1, §16).
func (p *Public) Name() []byte { return named(p.nameAlg, p.raw) }

func named(alg Alg, parts ...[]byte) []byte {
	h := alg.Hash().New()
	for _, b := range parts {
		h.Write(b)
	}
	return h.Sum(binary.BigEndian.AppendUint16(nil, uint16(alg)))
}

// CheckAKTemplate verifies that a key signs only what its TPM made. It must be restricted (it signs nothing that begins with TPM_GENERATED_VALUE
// but what the TPM itself made), for signing alone, made in the TPM and fixed to it, with one scheme; it must be the certified key; and the
// quote's qualifiedSigner must be its qualified name as a primary key of the endorsement or owner hierarchy. Failures are
// [verify.TPMAKTemplate].
func CheckAKTemplate(p *Public, q *Quote, certified crypto.PublicKey) error {
	const must = attrRestricted | attrSign | attrFixedTPM | attrFixedParent | attrSensitiveDataOrigin
	switch {
	case p.attributes&must != must || p.attributes&attrDecrypt != 0:
		return verify.Failf(verify.TPMAKTemplate, "AK attributes %#08x: want a restricted signing key that the TPM made and holds", p.attributes)
	case p.scheme != algRSASSA && p.scheme != algRSAPSS && p.scheme != algECDSA:
		return verify.Failf(verify.TPMAKTemplate, "AK scheme %#04x: a restricted key has one signing scheme", p.scheme)
	case p.scheme != q.scheme || p.schemeHash != q.hash:
		return verify.Failf(verify.TPMAKTemplate, "the quote is signed by scheme %#04x with %s, the AK's is %#04x with %s", q.scheme, q.hash, p.scheme, p.schemeHash)
	case !equalKeys(p.key, certified):
		return verify.Failf(verify.TPMAKTemplate, "the TPMT_PUBLIC is of another key than the certificate")
	}
	for _, h := range hierarchies {
		if bytes.Equal(q.QualifiedSigner, named(p.nameAlg, binary.BigEndian.AppendUint32(nil, h), p.Name())) {
			return nil
		}
	}
	return verify.Failf(verify.TPMAKTemplate, "qualifiedSigner %x is not the AK's name as a primary key of the endorsement or owner hierarchy", q.QualifiedSigner)
}

func equalKeys(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}

// PolicyPCRDigest returns the authPolicy of a key that only TPM2_PolicyPCR unlocks (Part 3, §23.7): H(0 ‖ TPM_CC_PolicyPCR ‖ selection ‖ H(values)),
// with the values of the selected registers concatenated in the selection's order.
func PolicyPCRDigest(alg Alg, selection []PCRSelection, values []byte) []byte {
	const commandPolicyPCR = 0x0000017f
	h := alg.Hash()
	inner := h.New()
	inner.Write(values)
	d := h.New()
	d.Write(make([]byte, h.Size()))
	d.Write(binary.BigEndian.AppendUint32(nil, commandPolicyPCR))
	d.Write(marshalSelection(selection))
	d.Write(inner.Sum(nil))
	return d.Sum(nil)
}
