package witness

import (
	"crypto"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"filippo.io/mldsa"
	"filippo.io/torchwood"
	"github.com/poclog/poclog"
	"golang.org/x/crypto/cryptobyte"
)

// A Cosigner makes the cosignatures of one name and key: Ed25519 (type 0x04) or ML-DSA-44 (type
// 0x06), as https://c2sp.org/tlog-cosignature describes them. The time is the caller's, which is
// what the signers of other modules lack and what lets a witness keep its timestamps from going
// backwards.
//
// A Cosigner signs what it is given: whether that may be signed is decided before. It is safe for
// concurrent use if its key is.
type Cosigner struct {
	key      crypto.Signer
	verifier *torchwood.CosignatureVerifier
}

// NewCosigner returns the cosigner of an ed25519 or ML-DSA-44 key under a name without spaces and
// pluses.
func NewCosigner(name string, key crypto.Signer) (*Cosigner, error) {
	v, err := torchwood.NewCosignatureVerifierFromKey(name, key.Public())
	if err != nil {
		return nil, fmt.Errorf("cosigner %q: %w", name, err)
	}
	if len(name) > maxOrigin {
		return nil, fmt.Errorf("cosigner name of %d bytes: want at most %d", len(name), maxOrigin)
	}
	return &Cosigner{key: key, verifier: v}, nil
}

// vkey returns the verifier key, as policies and clients take it.
func (s *Cosigner) vkey() string { return s.verifier.String() }

// covers reports whether this cosigner's statement can cover the checkpoint. ML-DSA-44 cosignatures
// do not cover extension lines: signing such a checkpoint would let anybody exchange the lines
// below the signature.
func (s *Cosigner) covers(c torchwood.Checkpoint) bool {
	_, mayExtend := s.verifier.PublicKey().(ed25519.PublicKey)
	return mayExtend || c.Extension == ""
}

// Cosign returns the signature line, with its newline, on a checkpoint at a time, which must be
// after 1970.
func (s *Cosigner) Cosign(c torchwood.Checkpoint, at time.Time) ([]byte, error) {
	if at.Unix() <= 0 {
		return nil, fmt.Errorf("cosign at %v: want a time after 1970", at)
	}
	t := uint64(at.Unix())
	msg, err := s.message(c, t)
	if err != nil {
		return nil, err
	}
	sig, err := s.key.Sign(nil, msg, crypto.Hash(0))
	if err != nil {
		return nil, fmt.Errorf("cosign with %s: %w", s.verifier.Name(), err)
	}
	raw := binary.BigEndian.AppendUint32(nil, s.verifier.KeyHash())
	raw = binary.BigEndian.AppendUint64(raw, t)
	raw = append(raw, sig...)
	return fmt.Appendf(nil, "— %s %s\n", s.verifier.Name(), base64.StdEncoding.EncodeToString(raw)), nil
}

func (s *Cosigner) message(c torchwood.Checkpoint, t uint64) ([]byte, error) {
	if !s.covers(c) {
		return nil, errors.New("an ML-DSA-44 cosignature does not cover extension lines")
	}
	if _, ok := s.verifier.PublicKey().(*mldsa.PublicKey); ok {
		return cosignedMessage(s.verifier.Name(), c, t)
	}
	return fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", t, c), nil
}

// statement signs a message that is no checkpoint, as docs/format.md §9.1 says: with neither time
// nor name in it. Its first line must say what it is, and be none with which a cosigned checkpoint
// begins.
func (s *Cosigner) statement(message []byte) (poclog.NoteSignature, error) {
	sig, err := s.key.Sign(nil, message, crypto.Hash(0))
	if err != nil {
		return poclog.NoteSignature{}, fmt.Errorf("sign with %s: %w", s.verifier.Name(), err)
	}
	out := poclog.NoteSignature{Sig: sig}
	binary.BigEndian.PutUint32(out.ID[:], s.verifier.KeyHash())
	return out, nil
}

// cosignedMessage encodes the cosigned_message of tlog-cosignature for a whole tree.
func cosignedMessage(name string, c torchwood.Checkpoint, t uint64) ([]byte, error) {
	b := cryptobyte.NewBuilder(nil)
	b.AddBytes([]byte("subtree/v1\n\x00"))
	b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte(name)) })
	b.AddUint64(t)
	b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte(c.Origin)) })
	b.AddUint64(0)
	b.AddUint64(uint64(c.N))
	b.AddBytes(c.Hash[:])
	return b.Bytes()
}
