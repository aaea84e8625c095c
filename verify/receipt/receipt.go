// Package receipt checks receipts, offline: that a log and its witnesses vouch for an entry, when
// the entry's evidence was made, and whether the entry is what the client demands. The algorithm is
// docs/format.md §10, in numbered steps.
//
// [Check] needs a receipt's file, the client's C2SP tlog-policy (https://c2sp.org/tlog-policy) and
// the time. There is no network, file, clock or global state, and neither Tessera nor a parser of
// quotes below it: TestImports holds that. What it refuses is a [*verify.Error] that names the step
// or the demand. By default only entries of the production realm at level 2 pass.
//
// A receipt says that the log published an entry and, as far as the verdict goes, who repeated its
// appraisal. It does not say that the VM is still running, and a proof of cloud does not prove what
// docs/threat-model.md lists.
package receipt

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

// ErrNoPolicy says that there is no verdict: nobody said whose signatures count.
var ErrNoPolicy = errors.New("no tlog-policy: say whose signatures count")

// The steps, in order, after [verify.Format]: the file is a receipt, and its leaf well-formed. A
// demand has an id, too: the name of the command's flag.
const (
	StepCheckpoint  verify.Check = "checkpoint"  // the receipt's checkpoint has a listed log's signature and the policy's quorum
	StepInclusion   verify.Check = "inclusion"   // the entry is in the checkpoint's tree
	StepFirst       verify.Check = "first"       // so it is in the first covering checkpoint's, of the same log and not larger
	StepChallenge   verify.Check = "challenge"   // the challenge checkpoint is the one that the entry names
	StepExceptions  verify.Check = "exceptions"  // auditors' notes are on the receipt's checkpoint, and signed
	StepInterval    verify.Check = "interval"    // t1 − 60 s ≤ appraised ≤ t2 + 60 s
	StepReappraisal verify.Check = "reappraisal" // the evidence at hand is the entry's and gives the entry again
	StepConsistency verify.Check = "consistency" // of a split view: no tree has both checkpoints
)

// Check verifies a receipt's file under the client's policy and holds it to the client's demands at
// a time. A failed step is a [*verify.Error]. Demands that are not met are an [*Unmet], in which
// [errors.As] finds the first as a [*verify.Error]. Without a policy the error is [ErrNoPolicy].
func Check(file []byte, policy *tlogpolicy.Policy, now time.Time, demands Demands) (*Verdict, error) {
	if err := demands.Validate(); err != nil {
		return nil, verify.Failf("demands", "%w", err)
	}
	v, err := Open(file, policy)
	if err != nil {
		return nil, err
	}
	if err := v.repeat(demands.Reappraise, demands.Evidence, v.Receipt.Entry); err != nil {
		return nil, err
	}
	v.askAuditors(demands.AuditGroup)
	if err := demands.check(v, now); err != nil {
		return nil, err
	}
	return v, nil
}

// Open verifies a receipt's file under a policy and says what it proves, of whatever kind, level
// and realm the entry is. It makes no demand: use [Check] to rely on a receipt.
func Open(file []byte, policy *tlogpolicy.Policy) (*Verdict, error) {
	v, err := parse(file, policy)
	if err == nil {
		err = v.malformed
	}
	if err == nil {
		err = v.publish()
	}
	if err == nil {
		err = v.checkInterval()
	}
	if err != nil {
		return nil, err
	}
	return v, nil
}

// OpenAs is [Open] that also says whether the policy's group of auditors vouches for the entry; ""
// is [DefaultAuditGroup].
func OpenAs(file []byte, policy *tlogpolicy.Policy, auditGroup string) (*Verdict, error) {
	v, err := Open(file, policy)
	if err == nil {
		v.askAuditors(auditGroup)
	}
	return v, err
}

// openAny is Open for entries that may be malformed, or out of their interval: what a log published
// so, it published.
func openAny(file []byte, policy *tlogpolicy.Policy) (*Verdict, error) {
	v, err := parse(file, policy)
	if err == nil {
		err = v.publish()
	}
	if err != nil {
		return nil, err
	}
	return v, nil
}

// parse reads a receipt and its leaf, which may be malformed.
func parse(file []byte, policy *tlogpolicy.Policy) (*Verdict, error) {
	if policy == nil {
		return nil, ErrNoPolicy
	}
	r, err := poclog.ParseReceipt(file)
	if err != nil {
		return nil, verify.Failf(verify.Format, "%w", err)
	}
	leaf, malformed := poclog.ParseLeaf(r.Entry)
	if malformed != nil {
		leaf, malformed = poclog.Leaf{}, verify.Failf(verify.Format, "%w", malformed)
	}
	return &Verdict{
		V: 1, Verdict: Logged, Index: r.Index, LeafHash: LeafHash(r.Entry), Entry: leaf.Proof, Config: leaf.Config, IndexEntry: leaf.Index, Statement: leaf.Statement,
		Receipt: r, policy: policy, malformed: malformed,
	}, nil
}

// publish finds what the log published, and when.
func (v *Verdict) publish() error {
	r := v.Receipt
	cp, err := v.policy.Open(r.Inclusion.Checkpoint)
	if err != nil {
		return verify.Failf(StepCheckpoint, "%w", err)
	}
	if err := included(v.LeafHash, r.Index, &r.Inclusion, cp); err != nil {
		return verify.Failf(StepInclusion, "%w", err)
	}
	v.Origin, v.Size, v.Root, v.Checkpoint = cp.Origin, cp.Size, cp.Root, cp
	v.describe()
	if err := v.bound(r, v.policy); err != nil {
		return err
	}
	return v.readNotes(r.Exceptions)
}

// LeafHash is the hash of a leaf: SHA-256(0x00 ‖ leaf), RFC 6962 §2.1.
func LeafHash(leaf []byte) [sha256.Size]byte {
	return [sha256.Size]byte(rfc6962.DefaultHasher.HashLeaf(leaf))
}

func included(leaf [sha256.Size]byte, index uint64, in *poclog.Inclusion, cp *tlogpolicy.View) error {
	if index >= cp.Size {
		return fmt.Errorf("entry %d of a log of size %d", index, cp.Size)
	}
	root, err := proof.RootFromInclusionProof(rfc6962.DefaultHasher, index, cp.Size, leaf[:], verify.HashSlices(in.Hashes))
	if err != nil {
		return fmt.Errorf("entry %d in size %d: %w", index, cp.Size, err)
	}
	if !bytes.Equal(root, cp.Root[:]) {
		return fmt.Errorf("entry %d is not in the tree of size %d: the proof leads to another root", index, cp.Size)
	}
	return nil
}

// bound finds t1 and t2.
func (v *Verdict) bound(r *poclog.Receipt, policy *tlogpolicy.Policy) error {
	first, err := v.firstCovering(r, policy)
	if err != nil {
		return err
	}
	v.T2 = earliest(NotAfter(first), NotAfter(v.Checkpoint))
	v.Seen = NotBefore(v.Checkpoint)
	v.T1, err = v.challenged(r.Challenge, policy)
	return err
}

// checkInterval holds the entry's own time, by the log's clock, to t1 and t2, by the witnesses'.
func (v *Verdict) checkInterval() error {
	if v.Entry == nil {
		return nil
	}
	at := v.Entry.Appraised
	// Where t1 is not known its time is zero, and nothing is before it.
	if at.Add(verify.MaxSkew).Before(v.T1.Time) {
		return verify.Failf(StepInterval, "appraised at %s, over %s before its evidence was made (not before %s)", verify.Stamp(at), verify.MaxSkew, verify.Stamp(v.T1.Time))
	}
	if v.T2.Known && at.After(v.T2.Time.Add(verify.MaxSkew)) {
		return verify.Failf(StepInterval, "appraised at %s, over %s after a checkpoint covered it (%s)", verify.Stamp(at), verify.MaxSkew, verify.Stamp(v.T2.Time))
	}
	return nil
}

// firstCovering returns the checkpoint that covered the entry first: the receipt's own, unless the
// receipt was moved.
func (v *Verdict) firstCovering(r *poclog.Receipt, policy *tlogpolicy.Policy) (*tlogpolicy.View, error) {
	if r.First == nil {
		return v.Checkpoint, nil
	}
	// The first checkpoint needs no quorum: before witnesses have signed it, it still shows order,
	// and t2 is the later checkpoint's.
	first, err := policy.OpenLogged(r.First.Checkpoint)
	if err != nil {
		return nil, verify.Failf(StepFirst, "%w", err)
	}
	if first.Origin != v.Origin || first.Size > v.Size {
		return nil, verify.Failf(StepFirst, "checkpoint of %q at size %d: want one of %q at size %d or less", first.Origin, first.Size, v.Origin, v.Size)
	}
	if err := included(v.LeafHash, v.Index, r.First, first); err != nil {
		return nil, verify.Failf(StepFirst, "%w", err)
	}
	if first.Size == v.Size && first.Root != v.Root {
		return nil, verify.Failf(StepFirst, "another root than the receipt's checkpoint has at size %d: the log signed two histories", v.Size)
	}
	return first, nil
}

// challenged checks the challenge checkpoint against the entry, and says when the evidence was made
// at the earliest. What a malformed leaf, or one of an unknown kind, has to do with a challenge,
// nobody knows.
func (v *Verdict) challenged(challenge []byte, policy *tlogpolicy.Policy) (Bound, error) {
	var fresh *poclog.Fresh
	if v.Entry != nil {
		fresh = v.Entry.Fresh
	}
	switch {
	case v.Kind == "unknown" || v.Kind == "malformed":
		return Bound{Why: "the leaf is of no known kind"}, nil
	case fresh == nil && len(challenge) > 0:
		return Bound{}, verify.Failf(StepChallenge, "the receipt has a challenge checkpoint, its entry none")
	case fresh == nil:
		return Bound{Why: "historical evidence: it answers no challenge"}, nil
	case len(challenge) == 0:
		return Bound{}, verify.Failf(StepChallenge, "the receipt lacks the challenge checkpoint that its entry names")
	case poclog.Sum(challenge) != fresh.Checkpoint:
		return Bound{}, verify.Failf(StepChallenge, "checkpoint has digest %s: the entry names %s", poclog.Sum(challenge), fresh.Checkpoint)
	}
	body, err := tlogpolicy.ParseCheckpoint(challenge)
	if err != nil {
		return Bound{}, verify.Failf(StepChallenge, "%w", err)
	}
	if body.Origin != fresh.Origin || body.Size != fresh.Size || body.Root != fresh.Root {
		return Bound{}, verify.Failf(StepChallenge, "checkpoint of %q at size %d: the entry names %q at size %d, or another root", body.Origin, body.Size, fresh.Origin, fresh.Size)
	}
	cp, err := policy.Open(challenge)
	if err != nil {
		return Bound{Why: "the policy does not vouch for the challenge's checkpoint: " + err.Error()}, nil
	}
	return NotBefore(cp), nil
}
