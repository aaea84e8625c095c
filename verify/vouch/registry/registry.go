// Package registry verifies statements of registrars (docs/format.md §18): who signed one, whether
// it may follow the registrar's others on its subject, and what all of them say of the subject at
// a time.
//
// The package is pure. Registrars are those of a log's policy, or those that a reader pins: a
// reader's thresholds are computed again, and what a reader did not pin is passed over. A statement
// changes no proof's level and places nothing.
//
// It does not say that a registrar is right. TestVectors is the evidence of what is refused.
package registry

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"github.com/sigstore/sigstore/pkg/signature"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/vouch/dsse"
)

// The checks of statements.
const (
	CheckRegistrar verify.Check = "statement.registrar" // its registrar is listed
	CheckSignature verify.Check = "statement.signature" // enough of the registrar's members signed it
	CheckOrigin    verify.Check = "statement.origin"    // it is for this log
	CheckSerial    verify.Check = "statement.serial"    // its serial is above the registrar's last on the subject
	CheckSubject   verify.Check = "statement.subject"   // there is what it revokes or thaws
	CheckDocument  verify.Check = "statement.document"  // the documents that a log is to keep came with it, or are there
	CheckStated    verify.Check = "statement.entry"     // policy, signers and time in the entry are right
	CheckOpening   verify.Check = "statement.opening"   // an opening is of a commitment
)

// A Line is one registrar's statements on one subject: each is judged by those before it.
type Line struct {
	Registrar string
	Subject   poclog.Identity // empty: its commitments
}

// LineOf returns the line of a statement.
func LineOf(s *poclog.Statement) Line { return Line{s.Registrar, s.Subject} }

// Registrars are those whose statements count. It may be used concurrently.
type Registrars struct{ list map[string]*registrar }

type registrar struct {
	listed     poclog.Registrar
	thresholds poclog.Thresholds
	keys       map[string]*poclog.PublisherKey // by key id
}

// New returns registrars by a policy's or a reader's list. No two have one name.
func New(list []poclog.Registrar) (*Registrars, error) {
	out := &Registrars{list: make(map[string]*registrar)}
	for _, r := range list {
		if r.Name == "" || out.list[r.Name] != nil {
			return nil, verify.Failf(verify.Policy, "registrars: name %.80q is empty or listed twice", r.Name)
		}
		one := &registrar{listed: r, thresholds: r.Thresholds, keys: make(map[string]*poclog.PublisherKey)}
		for _, text := range r.Keys {
			k, err := poclog.ParsePublisherKey(text)
			if err != nil {
				return nil, verify.Failf(verify.Policy, "registrar %.80q: %w", r.Name, err)
			}
			id, err := dsse.KeyID(k)
			if err != nil {
				return nil, verify.Failf(verify.Policy, "registrar %.80q: %w", r.Name, err)
			}
			if one.keys[id] != nil {
				return nil, verify.Failf(verify.Policy, "registrar %.80q: key %s is listed twice", r.Name, id)
			}
			one.keys[id] = k
		}
		most := min(len(one.keys), poclog.MaxSignatures)
		t := r.Thresholds
		for _, n := range []int{t.Endorse, t.Revoke, t.Move, t.Freeze, t.Commit} {
			if n < 1 || n > most {
				return nil, verify.Failf(verify.Policy, "registrar %.80q: threshold %d: want 1 to %d", r.Name, n, most)
			}
		}
		out.list[r.Name] = one
	}
	return out, nil
}

// Names returns the registrars' names, ascending.
func (r *Registrars) Names() []string {
	return slices.Sorted(maps.Keys(r.list))
}

// Listed returns a registrar as it is listed, or nil.
func (r *Registrars) Listed(name string) *poclog.Registrar {
	if one := r.list[name]; one != nil {
		return &one.listed
	}
	return nil
}

// need is how many members must have signed a statement. Renews says that it is a freeze after a
// freeze.
func (r *registrar) need(t poclog.StatementType, renews bool) int {
	switch {
	case t == poclog.Revoke:
		return r.thresholds.Revoke
	case t == poclog.Move:
		return r.thresholds.Move
	case t == poclog.Commit:
		return r.thresholds.Commit
	case t == poclog.Freeze && !renews:
		return r.thresholds.Freeze
	}
	return r.thresholds.Endorse
}

// Admit verifies a statement's envelope for a log, and that it may follow what is there. It returns
// the digests of the keys that signed, ascending. Each signature must be good and of a listed
// member, and no member signs twice: nothing that was not judged stands in an entry. A threshold
// that is not met is told by how many signatures are missing.
func (r *Registrars) Admit(v *poclog.StatementEnvelope, origin string, h *History) ([]poclog.Digest, error) {
	signers, err := r.Signed(v, origin)
	if err != nil {
		return nil, err
	}
	return signers, r.Follows(v, h)
}

// Signed makes those checks of [Registrars.Admit] that need no history: log, registrar and
// signatures. It returns the digests of the keys that signed, ascending.
func (r *Registrars) Signed(v *poclog.StatementEnvelope, origin string) ([]poclog.Digest, error) {
	s := &v.Statement
	if s.Origin != origin {
		return nil, verify.Failf(CheckOrigin, "the statement is for log %q: this is %q", s.Origin, origin)
	}
	by := r.list[s.Registrar]
	if by == nil {
		return nil, verify.Failf(CheckRegistrar, "registrar %q is not listed", s.Registrar)
	}
	for i, sig := range v.Signatures {
		if by.keys[sig.KeyID] == nil {
			return nil, verify.Failf(CheckSignature, "signed by key %q, which is no member's of %q", sig.KeyID, s.Registrar)
		}
		if slices.ContainsFunc(v.Signatures[:i], func(o poclog.Signature) bool { return o.KeyID == sig.KeyID }) {
			return nil, verify.Failf(CheckSignature, "signed by key %q twice: a member counts once", sig.KeyID)
		}
	}
	signers, err := by.signers(v)
	if err != nil {
		return nil, err
	}
	if len(signers) < len(v.Signatures) {
		return nil, verify.Failf(CheckSignature, "%d of %d signatures are wrong", len(v.Signatures)-len(signers), len(v.Signatures))
	}
	return signers, nil
}

// Follows makes the other checks, of a statement that passed [Registrars.Signed]: it may come after
// what its registrar stated of the subject before, and as many members signed as that needs.
func (r *Registrars) Follows(v *poclog.StatementEnvelope, h *History) error {
	s := &v.Statement
	if err := h.Admits(s); err != nil {
		return err
	}
	if s.Serial-h.serial > MaxGap+1 {
		return verify.Failf(CheckSerial, "serial %d on %s: the registrar's last is %d, want at most %d more", s.Serial, subjectOf(s), h.serial, MaxGap+1)
	}
	by := r.list[s.Registrar]
	if by == nil {
		return verify.Failf(CheckRegistrar, "registrar %q is not listed", s.Registrar)
	}
	if n, want := len(v.Signatures), by.need(s.Type, h.frozen); n < want {
		return verify.Failf(CheckSignature, "signed by %d of %q: %d signatures are missing, of %d that a statement of type %s needs here", n, s.Registrar, want-n, want, s.Type)
	}
	return nil
}

// CheckEntry holds an entry to its envelope, the policy in force, and what its registrar stated of
// the subject before it: the registrars are that policy's. The error is a [*verify.Error].
func (r *Registrars) CheckEntry(e *poclog.StatementEntry, inForce poclog.Blob, origin string, h *History) error {
	if e.Policy != inForce {
		return verify.Failf(CheckStated, "admitted by policy %s: policy %s was in force", e.Policy.SHA256, inForce.SHA256)
	}
	signers, err := r.Admit(&e.Envelope, origin, h)
	if err != nil {
		return err
	}
	if !slices.Equal(signers, e.Signers) {
		return verify.Failf(CheckStated, "it names other signers than those who signed")
	}
	if e.Time.Before(h.Last()) {
		return verify.Failf(CheckStated, "taken at %s: the statement before it was taken at %s", verify.Stamp(e.Time), verify.Stamp(h.Last()))
	}
	return nil
}

// counts reports whether a statement has the signatures that it needs of the members that are
// listed. Signatures of others, and wrong ones, are passed over: the reader's list may be another
// than the log's.
func (r *registrar) counts(v *poclog.StatementEnvelope, renews bool) bool {
	signers, err := r.signers(v)
	return err == nil && len(signers) >= r.need(v.Statement.Type, renews)
}

// signers returns the listed keys whose signatures are good, each once, ascending by digest.
func (r *registrar) signers(v *poclog.StatementEnvelope) ([]poclog.Digest, error) {
	payload, err := v.Statement.Marshal()
	if err != nil {
		return nil, verify.Failf(verify.Format, "%w", err)
	}
	message := Message(payload)
	var list []poclog.Digest
	for _, sig := range v.Signatures {
		k := r.keys[sig.KeyID]
		if k != nil && !slices.Contains(list, k.Digest) && good(k, sig.Sig, message) {
			list = append(list, k.Digest)
		}
	}
	slices.SortFunc(list, func(a, b poclog.Digest) int { return bytes.Compare(a[:], b[:]) })
	return list, nil
}

// good reports whether a signature verifies. What it is given is a stranger's, and the verifier is
// not ours.
func good(k *poclog.PublisherKey, sig, message []byte) (ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	v, err := signature.LoadVerifier(k.Public, dsse.Hash(k))
	return err == nil && v.VerifySignature(bytes.NewReader(sig), bytes.NewReader(message)) == nil
}

// Message returns what members sign: DSSE's pre-authentication encoding of a statement's file.
func Message(payload []byte) []byte {
	return fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(poclog.StatementPayloadType), poclog.StatementPayloadType, len(payload), payload)
}
