package tpm

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// An Attestation is what a TPM puts into a quote: for laboratories and tests, which make what a TPM
// would.
type Attestation struct {
	AK           *Public
	ExtraData    []byte
	Clock        uint64
	ResetCount   uint32
	RestartCount uint32
	Safe         bool
	Firmware     uint64
	Selection    []PCRSelection
	Values       []byte // of the selected registers, concatenated
}

// Marshal returns the TPMS_ATTEST, as a primary key of the endorsement hierarchy signs it. The AK
// must have a signing scheme.
func (a *Attestation) Marshal() []byte {
	q := Quote{
		QualifiedSigner: a.AK.primaryName(hierarchyEndorsement), ExtraData: a.ExtraData,
		Clock: a.Clock, ResetCount: a.ResetCount, RestartCount: a.RestartCount, Safe: a.Safe, Firmware: a.Firmware,
		Selection: a.Selection, hash: a.AK.schemeHash,
	}
	q.PCRDigest = q.sum(a.Values)
	return q.marshalAttest()
}

// marshalAttest writes TPMS_ATTEST of a quote (Part 2, §10.12.8) from its fields.
func (q *Quote) marshalAttest() []byte {
	u32, u64 := binary.BigEndian.AppendUint32, binary.BigEndian.AppendUint64
	b := append16(u32(nil, generatedValue), attestQuote)
	b = appendSized(appendSized(b, q.QualifiedSigner), q.ExtraData)
	b = u32(u32(u64(b, q.Clock), q.ResetCount), q.RestartCount)
	safe := byte(0)
	if q.Safe {
		safe = 1
	}
	b = u64(append(b, safe), q.Firmware)
	b = append(b, marshalSelection(q.Selection)...)
	return appendSized(b, q.PCRDigest)
}

// Marshal returns the quote's item, TPM2B_ATTEST ‖ TPMT_SIGNATURE, written from its fields: for a
// parsed quote, the same bytes.
func (q *Quote) Marshal() []byte {
	b := append16(appendSized(nil, q.marshalAttest()), q.scheme, uint16(q.hash))
	if q.scheme == algECDSA {
		return appendSized(appendSized(b, q.r), q.s)
	}
	return appendSized(b, q.sig)
}

func append16(b []byte, v ...uint16) []byte {
	for _, u := range v {
		b = binary.BigEndian.AppendUint16(b, u)
	}
	return b
}

// appendSized appends a TPM2B: a length and as many bytes.
func appendSized(b, v []byte) []byte { return append(append16(b, uint16(len(v))), v...) }

func marshalSelection(selection []PCRSelection) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(selection)))
	for _, sel := range selection {
		var mask [sizeofSelect]byte
		for _, pcr := range sel.PCRs {
			mask[pcr/8] |= 1 << (pcr % 8)
		}
		b = append(append16(b, uint16(sel.Alg)), sizeofSelect)
		b = append(b, mask[:]...)
	}
	return b
}

// SignQuote signs a TPMS_ATTEST with SHA-256, as RSASSA or ECDSA, and returns the quote's item.
// ECDSA signatures are deterministic.
func SignQuote(attest []byte, key crypto.Signer) ([]byte, error) {
	digest := sha256.Sum256(attest)
	var source io.Reader = rand.Reader
	_, isECDSA := key.Public().(*ecdsa.PublicKey)
	if isECDSA {
		source = nil
	}
	sig, err := key.Sign(source, digest[:], crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("sign TPM quote: %w", err)
	}
	item := appendSized(nil, attest)
	if !isECDSA {
		return appendSized(append16(item, algRSASSA, algSHA256), sig), nil
	}
	var r, s []byte
	in := cryptobyte.String(sig)
	if !in.ReadASN1(&in, asn1.SEQUENCE) || !in.ReadASN1Integer(&r) || !in.ReadASN1Integer(&s) {
		return nil, errors.New("sign TPM quote: malformed ECDSA signature")
	}
	return appendSized(appendSized(append16(item, algECDSA, algSHA256), r), s), nil
}

// AKPublic returns the TPMT_PUBLIC of a restricted attestation key around an RSA-2048 or P-256 key,
// with SHA-256 throughout. With a policy, a SHA-256 digest, nothing but the policy lets it be used.
func AKPublic(key crypto.PublicKey, authPolicy []byte) ([]byte, error) {
	p := &Public{
		nameAlg: SHA256, attributes: attrRestricted | attrSign | attrFixedTPM | attrFixedParent | attrSensitiveDataOrigin,
		authPolicy: authPolicy, symmetric: symmetric{alg: algNull}, scheme: algRSASSA, schemeHash: SHA256, key: key,
	}
	switch k := key.(type) {
	case *rsa.PublicKey:
		if n := k.N.BitLen(); n != 2048 {
			return nil, fmt.Errorf("AK public with a key of %d bits: want RSA-2048", n)
		}
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() {
			return nil, errors.New("AK public with a key on another curve: want P-256")
		}
		p.scheme = algECDSA
	default:
		return nil, fmt.Errorf("AK public of type %T: want RSA or ECDSA", key)
	}
	switch len(authPolicy) {
	case 0:
		p.attributes |= attrUserWithAuth
	case sha256.Size:
		p.attributes |= attrAdminWithPolicy
	default:
		return nil, fmt.Errorf("AK public with a policy of %d bytes: want none or 32", len(authPolicy))
	}
	return p.Marshal(), nil
}
