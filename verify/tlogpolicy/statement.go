package tlogpolicy

import (
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"slices"

	"filippo.io/mldsa"
	fnote "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
)

// A KeySignature is a signature by the key with an id.
type KeySignature struct {
	ID  [4]byte
	Sig []byte
}

// Statement verifies signatures over a message that is no checkpoint, by keys that the policy's witness lines name. Such a statement has a key name of its own
// (tlog-cosignature); of is the name of the keys in whose place it stands. It returns the witnesses with a key of that name and of the algorithm of a key that
// signed. A signature of a known key that is wrong is an error; those of keys that the policy does not name are passed over.
func (p *Policy) Statement(name, of string, message []byte, signatures []KeySignature) (witnesses []string, err error) {
	var signed []byte
	for _, s := range signatures {
		i := slices.IndexFunc(p.witnesses, func(w Witness) bool {
			return w.KeyName == name && w.verifier.KeyHash() == binary.BigEndian.Uint32(s.ID[:])
		})
		if i < 0 {
			continue
		}
		if !p.witnesses[i].verifies(message, s.Sig) {
			return nil, fmt.Errorf("the signature of %s+%x is wrong", name, s.ID)
		}
		signed = append(signed, p.witnesses[i].alg)
	}
	for _, w := range p.witnesses {
		if w.KeyName == of && slices.Contains(signed, w.alg) {
			witnesses = append(witnesses, w.Name)
		}
	}
	return witnesses, nil
}

// verifies reports whether a signature over a message, and nothing else, is by the witness's key.
func (w *Witness) verifies(message, sig []byte) bool {
	if w.alg == ed25519Cosignature {
		return len(w.public) == ed25519.PublicKeySize && ed25519.Verify(w.public, message, sig)
	}
	key, err := mldsa.NewPublicKey(mldsa.MLDSA44(), w.public)
	return err == nil && mldsa.Verify(key, message, sig, nil) == nil
}

// algOf is the type of a witness's key.
func algOf(v note.Verifier) byte {
	if _, ok := v.(*fnote.SubtreeVerifier); ok {
		return mldsa44
	}
	return ed25519Cosignature
}
