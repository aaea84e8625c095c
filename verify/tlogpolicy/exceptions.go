package tlogpolicy

import (
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"filippo.io/mldsa"
	"github.com/poclog/poclog"
	fnote "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
)

// Excepted verifies an auditor's note of exceptions, and returns the witnesses that it stands for
// (docs/format.md §10): those with a key of the auditor's own name, and of the type of a key for
// exceptions that signed. A wrong signature of a key that the policy names is an error; those of
// other keys are ignored.
func (p *Policy) Excepted(e *poclog.Exceptions) (witnesses []string, err error) {
	message, err := e.Message()
	if err != nil {
		return nil, err
	}
	var signed []byte
	for _, s := range e.Signatures {
		i := slices.IndexFunc(p.witnesses, func(w Witness) bool {
			return w.KeyName == e.Auditor && w.verifier.KeyHash() == binary.BigEndian.Uint32(s.ID[:])
		})
		if i < 0 {
			continue
		}
		if !p.witnesses[i].verifies(message, s.Sig) {
			return nil, fmt.Errorf("the signature of %s+%x is wrong", e.Auditor, s.ID)
		}
		signed = append(signed, p.witnesses[i].alg)
	}
	for _, w := range p.witnesses {
		if w.KeyName == strings.TrimSuffix(e.Auditor, poclog.ExceptSuffix) && slices.Contains(signed, w.alg) {
			witnesses = append(witnesses, w.Name)
		}
	}
	return witnesses, nil
}

// verifies reports whether a signature over a message, and nothing else, is by the witness's key.
func (w *Witness) verifies(message, sig []byte) bool {
	if w.alg == ed25519Cosignature {
		return ed25519.Verify(w.public, message, sig) // Parse took the key: it has its length
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
