package poclog

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/base64"
	"fmt"
)

// EnvelopeType is the media type of an envelope.
const EnvelopeType = "application/vnd.dsse.envelope.v1+json"

// Limits of an envelope.
const (
	// MaxEnvelope is the largest envelope, in bytes: a submission of the greatest size in base64, and its signatures.
	MaxEnvelope   = (MaxSubmission+2)/3*4 + 8<<10
	MaxSignatures = 16 // of an envelope
	maxKeyID      = 64
	maxSignature  = 160 // ECDSA on P-384 in ASN.1 has at most 104
)

// An Envelope is a DSSE envelope (https://github.com/secure-systems-lab/dsse, version 1): a bundle or a submission with signatures of its
// publishers, docs/format.md §11.
//
//	{"payloadType":"application/vnd.poclog.bundle+json","payload":"…","signatures":[{"keyid":"SHA256:…","sig":"…"}]}
//
// Members stand in this order, and payload and signatures are base64 with padding: the form that sigstore writes.
type Envelope struct {
	PayloadType string // BundleType or SubmissionType
	Payload     []byte // the file that is signed
	Signatures  []Signature
}

// A Signature is one of an envelope's, over the DSSE pre-authentication encoding of payload type and payload.
type Signature struct {
	KeyID string // the key's fingerprint as OpenSSH writes it, "SHA256:…": it says which key to try, and proves nothing
	Sig   []byte // Ed25519: 64 bytes; ECDSA: ASN.1
}

// Marshal returns the envelope's file.
func (v *Envelope) Marshal() ([]byte, error) {
	e := encoder{buf: []byte{'{'}}
	e.str("payloadType", v.PayloadType)
	e.std64("payload", v.Payload)
	e.open("signatures", '[')
	for _, s := range v.Signatures {
		e.sep()
		e.char('{')
		e.str("keyid", s.KeyID)
		e.std64("sig", s.Sig)
		e.char('}')
	}
	e.buf = append(e.buf, "]}"...)
	// The decoder knows every rule: what it refuses is not written.
	if _, err := ParseEnvelope(e.buf); err != nil {
		return nil, fmt.Errorf("encode envelope: %w", err)
	}
	return e.buf, nil
}

// ParseEnvelope parses an envelope. It verifies no signature, and looks into the payload no further than [Envelope.Submission].
func ParseEnvelope(file []byte) (*Envelope, error) {
	if len(file) > MaxEnvelope {
		return nil, fmt.Errorf("envelope of %d bytes: want at most %d", len(file), MaxEnvelope)
	}
	v := new(Envelope)
	d := decoder{b: file}
	d.lit("{")
	d.enum("payloadType", &v.PayloadType, []string{BundleType, SubmissionType})
	d.name("payload")
	v.Payload = d.std64(MaxSubmission)
	d.open("signatures", '[')
	for d.next() {
		if len(v.Signatures) == MaxSignatures {
			d.fail("signatures: more than %d", MaxSignatures)
			break
		}
		v.Signatures = append(v.Signatures, d.signature())
	}
	d.lit("}")
	if d.err == nil && len(v.Signatures) == 0 {
		d.fail("signatures: none")
	}
	if err := d.end(); err != nil {
		return nil, fmt.Errorf("parse envelope: %w", err)
	}
	if _, err := v.Submission(); err != nil {
		return nil, fmt.Errorf("parse envelope: %w", err)
	}
	return v, nil
}

func (d *decoder) signature() (s Signature) {
	d.lit("{")
	if s.KeyID = d.str("keyid", maxKeyID); s.KeyID == "" {
		d.fail("keyid: want the key's fingerprint")
	}
	d.name("sig")
	s.Sig = d.std64(maxSignature)
	d.lit("}")
	return s
}

// Submission returns what is signed. Its envelope is not set.
func (v *Envelope) Submission() (*Submission, error) {
	if v.PayloadType == SubmissionType {
		return ParseSubmission(v.Payload)
	}
	if len(v.Payload) > MaxBundle {
		return nil, fmt.Errorf("bundle of %d bytes: want at most %d", len(v.Payload), MaxBundle)
	}
	return &Submission{Bundle: v.Payload}, nil
}

// IsEnvelope reports whether a file looks like an envelope.
func IsEnvelope(file []byte) bool { return bytes.HasPrefix(file, []byte(`{"payloadType":`)) }

// std64 writes a member in base64 with padding, as DSSE has it.
func (e *encoder) std64(name string, b []byte) {
	e.name(name)
	e.buf = append(e.buf, '"')
	e.buf = base64.StdEncoding.AppendEncode(e.buf, b)
	e.buf = append(e.buf, '"')
}

// std64 reads a non-empty string in base64 with padding, of at most max bytes when decoded.
func (d *decoder) std64(max int) []byte {
	raw, escaped := d.raw(base64.StdEncoding.EncodedLen(max))
	if d.err != nil {
		return nil
	}
	if escaped || len(raw) == 0 {
		d.fail("want base64")
		return nil
	}
	out := make([]byte, base64.StdEncoding.DecodedLen(len(raw)))
	n, err := base64.StdEncoding.Strict().Decode(out, raw)
	if err != nil {
		d.fail("%w", err)
		return nil
	}
	if n > max {
		d.fail("%d bytes: want at most %d", n, max)
		return nil
	}
	return out[:n]
}

// publishers writes the digests of publishers' keys, if there are any.
func (e *encoder) publishers(list []Digest) {
	if len(list) == 0 {
		return
	}
	e.open("publishers", '[')
	for i := range list {
		e.sep()
		e.bareHex(list[i][:])
	}
	e.char(']')
}

func (d *decoder) publishers() []Digest {
	if !d.has("publishers") {
		return nil
	}
	var list []Digest
	d.lit("[")
	for d.next() {
		if len(list) == MaxSignatures {
			d.fail("publishers: more than %d", MaxSignatures)
			return nil
		}
		var x Digest
		if d.hexInto(x[:]); len(list) > 0 && bytes.Compare(list[len(list)-1][:], x[:]) >= 0 {
			d.fail("publishers: %s after %s: want ascending order without repeats", x, list[len(list)-1])
		}
		list = append(list, x)
	}
	if d.err == nil && len(list) == 0 {
		d.fail("publishers: an empty list is left out")
	}
	return list
}

// A PublisherKey is a publisher's public key.
type PublisherKey struct {
	Public any    // ed25519.PublicKey, or *ecdsa.PublicKey on P-256 or P-384
	Digest Digest // SHA-256 of the DER SubjectPublicKeyInfo: the key's name in entries
	text   string
}

// String gives the DER SubjectPublicKeyInfo in base64 with padding, as a policy lists it.
func (k *PublisherKey) String() string { return k.text }

// NewPublisherKey returns the key that an ed25519.PublicKey or *ecdsa.PublicKey is.
func NewPublisherKey(public any) (*PublisherKey, error) {
	switch k := public.(type) {
	case ed25519.PublicKey:
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() && k.Curve != elliptic.P384() {
			return nil, fmt.Errorf("publisher's key on curve %s: want Ed25519, or ECDSA on P-256 or P-384", k.Curve.Params().Name)
		}
	default:
		return nil, fmt.Errorf("publisher's key of type %T: want Ed25519, or ECDSA on P-256 or P-384", public)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("publisher's key: %w", err)
	}
	return &PublisherKey{Public: public, Digest: Sum(der), text: base64.StdEncoding.EncodeToString(der)}, nil
}

// ParsePublisherKey parses a key as a policy lists it. A key has one form: what [PublisherKey.String] would not write is refused.
func ParsePublisherKey(text string) (*PublisherKey, error) {
	if len(text) > 512 {
		return nil, fmt.Errorf("publisher's key of %d bytes: want at most 512", len(text))
	}
	der, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("publisher's key %.40q: %w", text, err)
	}
	public, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, fmt.Errorf("publisher's key %.40q: %w", text, err)
	}
	k, err := NewPublisherKey(public)
	if err != nil {
		return nil, err
	}
	if k.text != text {
		return nil, fmt.Errorf("publisher's key %.40q: want its one form, %s", text, k.text)
	}
	return k, nil
}
