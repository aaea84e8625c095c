package tpm

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"encoding/binary"
	"fmt"
	"io"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// An Attestation is what a TPM puts into a quote: for laboratories and tests, which make what a TPM would.
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

// Marshal returns the TPMS_ATTEST, as a primary key of the endorsement hierarchy signs it.
func (a *Attestation) Marshal() []byte {
	u16, u32, u64 := binary.BigEndian.AppendUint16, binary.BigEndian.AppendUint32, binary.BigEndian.AppendUint64
	sized := func(b, v []byte) []byte { return append(u16(b, uint16(len(v))), v...) }
	h := a.AK.schemeHash.Hash().New()
	h.Write(a.Values)
	b := u16(u32(nil, generatedValue), attestQuote)
	b = sized(b, named(a.AK.nameAlg, u32(nil, hierarchies[0]), a.AK.Name()))
	b = sized(b, a.ExtraData)
	b = u32(u32(u64(b, a.Clock), a.ResetCount), a.RestartCount)
	safe := byte(0)
	if a.Safe {
		safe = 1
	}
	b = u64(append(b, safe), a.Firmware)
	b = append(b, marshalSelection(a.Selection)...)
	return sized(b, h.Sum(nil))
}

func marshalSelection(selection []PCRSelection) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(selection)))
	for _, sel := range selection {
		var mask [3]byte
		for _, pcr := range sel.PCRs {
			mask[pcr/8] |= 1 << (pcr % 8)
		}
		b = append(binary.BigEndian.AppendUint16(b, uint16(sel.Alg)), 3)
		b = append(b, mask[:]...)
	}
	return b
}

// SignQuote signs a TPMS_ATTEST with SHA-256, as RSASSA or ECDSA, and returns the quote's item. ECDSA signatures are deterministic.
func SignQuote(attest []byte, key crypto.Signer) ([]byte, error) {
	d := crypto.SHA256.New()
	d.Write(attest)
	item := append(binary.BigEndian.AppendUint16(nil, uint16(len(attest))), attest...)
	var source io.Reader = rand.Reader
	scheme := uint16(algRSASSA)
	if _, ok := key.Public().(*ecdsa.PublicKey); ok {
		scheme, source = algECDSA, nil
	}
	sig, err := key.Sign(source, d.Sum(nil), crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("sign TPM quote: %w", err)
	}
	item = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(item, scheme), algSHA256)
	if scheme == algRSASSA {
		return append(binary.BigEndian.AppendUint16(item, uint16(len(sig))), sig...), nil
	}
	var r, s []byte
	in := cryptobyte.String(sig)
	if !in.ReadASN1(&in, asn1.SEQUENCE) || !in.ReadASN1Integer(&r) || !in.ReadASN1Integer(&s) {
		return nil, fmt.Errorf("sign TPM quote: malformed ECDSA signature")
	}
	for _, v := range [][]byte{r, s} {
		item = append(binary.BigEndian.AppendUint16(item, uint16(len(v))), v...)
	}
	return item, nil
}

// AKPublic returns the TPMT_PUBLIC of a restricted attestation key around an RSA-2048 or P-256 key, with SHA-256 throughout. With a policy,
// nothing but the policy lets it be used.
func AKPublic(key crypto.PublicKey, authPolicy []byte) ([]byte, error) {
	u16, u32 := binary.BigEndian.AppendUint16, binary.BigEndian.AppendUint32
	attributes := uint32(attrRestricted | attrSign | attrFixedTPM | attrFixedParent | attrSensitiveDataOrigin)
	if len(authPolicy) == 0 {
		attributes |= attrUserWithAuth
	} else {
		attributes |= attrAdminWithPolicy
	}
	head := func(kind uint16) []byte {
		b := u32(u16(u16(nil, kind), algSHA256), attributes)
		b = append(u16(b, uint16(len(authPolicy))), authPolicy...)
		return u16(b, algNull)
	}
	switch k := key.(type) {
	case *rsa.PublicKey:
		n := k.N.Bytes()
		b := u16(u16(head(algRSA), algRSASSA), algSHA256)
		b = u32(u16(b, uint16(8*len(n))), 0)
		return append(u16(b, uint16(len(n))), n...), nil
	case *ecdsa.PublicKey:
		b := u16(u16(head(algECC), algECDSA), algSHA256)
		b = u16(u16(b, curveP256), algNull)
		raw, err := k.Bytes()
		if err != nil || len(raw) != 65 {
			return nil, fmt.Errorf("AK public: want a key on P-256: %w", err)
		}
		b = append(u16(b, 32), raw[1:33]...)
		return append(u16(b, 32), raw[33:]...), nil
	}
	return nil, fmt.Errorf("AK public of type %T: want RSA or ECDSA", key)
}
