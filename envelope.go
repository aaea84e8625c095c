package poclog

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/base64"
	"fmt"

	"github.com/poclog/poclog/internal/canon"
)

// EnvelopeType is the media type of an envelope.
const EnvelopeType = "application/vnd.dsse.envelope.v1+json"

// Limits of an envelope.
const (
	// MaxEnvelope is the largest envelope, in bytes: a submission of the greatest size in base64,
	// and its signatures.
	MaxEnvelope   = (MaxSubmission+2)/3*4 + 8<<10
	MaxSignatures = 16 // of an envelope
	maxKeyID      = 64
	maxSignature  = 160 // ECDSA on P-384 in ASN.1 has at most 104
)

// An Envelope is a DSSE envelope (https://github.com/secure-systems-lab/dsse, version 1): a bundle
// or a submission with signatures of its publishers, docs/format.md §11.
//
//	{"payloadType":"application/vnd.poclog.bundle+json","payload":"…","signatures":[{"keyid":"SHA256:…","sig":"…"}]}
//
// Members stand in this order, and payload and signatures are base64 with padding: the form that
// sigstore writes.
type Envelope struct {
	PayloadType string // BundleType or SubmissionType
	Payload     []byte // the file that is signed
	Signatures  []Signature
}

// A Signature is one of an envelope's, over the DSSE pre-authentication encoding of payload type
// and payload.
type Signature struct {
	KeyID string // the key's fingerprint as OpenSSH writes it, "SHA256:…": it says which key to try, and proves nothing
	Sig   []byte // Ed25519: 64 bytes; ECDSA: ASN.1
}

// Marshal returns the envelope's file.
func (v *Envelope) Marshal() ([]byte, error) {
	if err := v.checkPayload(); err != nil {
		return nil, fmt.Errorf("encode envelope: %w", err)
	}
	file, err := canon.Write(MaxEnvelope, v.code)
	if err != nil {
		return nil, fmt.Errorf("encode envelope: %w", err)
	}
	return file, nil
}

func (v *Envelope) code(c *canon.Codec) {
	c.Object(func() {
		canon.OneOf(c.Member("payloadType"), "payloadType", &v.PayloadType, []string{BundleType, SubmissionType})
		c.Member("payload").PaddedBase64(&v.Payload, MaxSubmission)
		codeSignatures(c, &v.Signatures)
	})
}

func codeSignatures(c *canon.Codec, list *[]Signature) {
	canon.List(c.Member("signatures"), "signatures", list, MaxSignatures, func(s *Signature) {
		c.Object(func() {
			canon.Word(c.Member("keyid"), "keyid", &s.KeyID, maxKeyID)
			c.Member("sig").PaddedBase64(&s.Sig, maxSignature)
		})
	})
	c.Check(len(*list) > 0, "signatures: none")
}

func (v *Envelope) checkPayload() error {
	_, err := v.Submission()
	return err
}

// ParseEnvelope parses an envelope. It verifies no signature, and looks into the payload no further
// than [Envelope.Submission].
func ParseEnvelope(file []byte) (*Envelope, error) {
	if len(file) > MaxEnvelope {
		return nil, fmt.Errorf("envelope of %d bytes: want at most %d", len(file), MaxEnvelope)
	}
	v := new(Envelope)
	if err := canon.Read(file, v.code); err != nil {
		return nil, fmt.Errorf("parse envelope: %w", err)
	}
	if err := v.checkPayload(); err != nil {
		return nil, fmt.Errorf("parse envelope: %w", err)
	}
	return v, nil
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

// ParsePublisherKey parses a key as a policy lists it. A key has one form: what
// [PublisherKey.String] would not write is refused.
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
