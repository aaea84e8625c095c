package dossier

import (
	"crypto/sha256"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/receipt"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

// A moment is a checkpoint that entries refer to.
type moment struct {
	digest poclog.Digest
	size   uint64           // of its tree
	view   *tlogpolicy.View // nil where the policy does not vouch for it
	own    bool             // it is one of the log, and of one history with the receipt's checkpoint
	why    string           // there is no view
}

// bound finds t1 and t2 of each entry. What the file does not show stays unknown, which clears
// nothing; what it shows wrongly is refused.
func (k *checking) bound() error {
	k.own = make(map[poclog.Digest]tlogpolicy.Checkpoint)
	answers := k.answer.Entries
	for i := range k.file.Pages {
		p := &k.file.Pages[i]
		if err := k.boundPage(p, answers[:len(p.Entries)]); err != nil {
			return err
		}
		answers = answers[len(p.Entries):]
	}
	return nil
}

func (k *checking) boundPage(p *poclog.DossierPage, answers []Entry) error {
	moments := make([]moment, len(p.Checkpoints))
	for i := range p.Checkpoints {
		m, err := k.moment(&p.Checkpoints[i])
		if err != nil {
			return verify.Failf(StepTimes, "checkpoint %d: %w", i+1, err)
		}
		moments[i] = m
	}
	for i := range p.Entries {
		if err := k.boundEntry(&answers[i], &p.Entries[i], moments); err != nil {
			return err
		}
	}
	return nil
}

func (k *checking) moment(c *poclog.DossierCheckpoint) (moment, error) {
	body, err := tlogpolicy.ParseCheckpoint(c.Checkpoint)
	if err != nil {
		return moment{}, err
	}
	m := moment{digest: poclog.Sum(c.Checkpoint), size: body.Size}
	if body.Origin == k.answer.Origin && consistent(body, k.head, c.Consistency) == nil {
		m.own = true
		k.own[m.digest] = body
	}
	view, err := k.policy.Open(c.Checkpoint)
	if err != nil {
		m.why = "the policy does not vouch for the checkpoint: " + err.Error()
		return m, nil
	}
	m.view = view
	return m, nil
}

// consistent is an error for a tree that is larger than the head's. An empty one is of every
// history.
func consistent(older tlogpolicy.Checkpoint, head *receipt.Verdict, hashes [][sha256.Size]byte) error {
	return proof.VerifyConsistency(rfc6962.DefaultHasher, older.Size, head.Size, verify.HashSlices(hashes), older.Root[:], head.Root[:])
}

func (k *checking) boundEntry(out *Entry, e *poclog.DossierEntry, moments []moment) error {
	if int(e.Challenge) > len(moments) || int(e.First) > len(moments) {
		return verify.Failf(StepTimes, "entry %d refers to checkpoint %d of %d", e.Number, max(e.Challenge, e.First), len(moments))
	}
	var err error
	if out.T1, err = k.made(out, e, moments); err != nil {
		return err
	}
	out.T2 = receipt.Bound{Why: "the file has no checkpoint that covered it first"}
	if e.First == 0 {
		return nil
	}
	m := moments[e.First-1]
	switch {
	case !m.own:
		return verify.Failf(StepTimes, "entry %d: checkpoint %d is not shown to be of the log's history", e.Number, e.First)
	case m.size <= e.Number:
		return verify.Failf(StepTimes, "entry %d is not covered by checkpoint %d, of size %d", e.Number, e.First, m.size)
	case m.view == nil:
		out.T2 = receipt.Bound{Why: m.why}
	default:
		out.T2 = receipt.NotAfter(m.view)
	}
	return nil
}

// made returns when the evidence was made at the earliest: after the checkpoint that its challenge
// has.
func (k *checking) made(out *Entry, e *poclog.DossierEntry, moments []moment) (receipt.Bound, error) {
	if e.Challenge == 0 {
		return receipt.Bound{Why: "the file does not have the challenge's checkpoint"}, nil
	}
	p := out.Leaf().Proof
	if p == nil || p.Fresh == nil {
		return receipt.Bound{}, verify.Failf(StepTimes, "entry %d answers no challenge, and refers to checkpoint %d as one", e.Number, e.Challenge)
	}
	m := moments[e.Challenge-1]
	if m.digest != p.Fresh.Checkpoint {
		return receipt.Bound{}, verify.Failf(StepTimes, "entry %d: checkpoint %d has digest %s: the entry names %s", e.Number, e.Challenge, m.digest, p.Fresh.Checkpoint)
	}
	if m.view == nil {
		return receipt.Bound{Why: m.why}, nil
	}
	return receipt.NotBefore(m.view), nil
}

// rooted reports whether an entry's challenge is known to be of the log's history: then its tree
// shows which entries came before.
func (k *checking) rooted(p *poclog.Entry) bool {
	return p.Fresh != nil && k.own[p.Fresh.Checkpoint] == tlogpolicy.Checkpoint{Origin: p.Fresh.Origin, Size: p.Fresh.Size, Root: p.Fresh.Root}
}
