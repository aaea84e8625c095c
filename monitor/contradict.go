package monitor

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/receipt"
	"github.com/poclog/poclog/verify/rule"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

// prove writes the contradiction's file of a finding and names it in the alert. If something is
// missing the alert has none for now, and the pair is looked at again later. Until the evidence of
// all entries was seen the alert implicates nobody but a log. The finding does not stand, and
// whoever it names is not to be blamed, if an entry turns out to be the log's invention.
func (j *judging) prove(ctx context.Context, f *rule.Finding, a *Alert) (stands bool, err error) {
	pieces, all := make([]receipt.Piece, len(j.sides)), true
	for i, s := range j.sides {
		ok, err := j.piece(ctx, s, j.other(i), &pieces[i])
		if err != nil {
			return false, err
		}
		all = all && ok
	}
	*a = alertOf(f.Unseen(j.unseen(pieces)...), j.refs())
	if !all {
		return true, nil
	}
	file, err := j.file(f.Rule, pieces...)
	switch {
	case err != nil && refusedAt(err, receipt.StepReappraisal):
		return j.invented(ctx, pieces)
	case err != nil && refusedAt(err, receipt.StepInterval) && j.outOfTime():
		return false, nil
	case err != nil:
		j.r.m.cfg.Logger.Error("a contradiction does not verify", "rule", f.Rule, "entries", a.Entries, "error", err)
		j.incomplete = true
		return true, nil
	}
	return true, j.keep(ctx, a, contradictionsDir, contradictionSuffix, file)
}

// unseen are the logs whose evidence is missing, or of which nobody here can say what it gives.
func (j *judging) unseen(pieces []receipt.Piece) (origins []string) {
	for i, s := range j.sides {
		if pieces[i].Evidence == nil || j.r.m.cfg.Reappraise == nil {
			origins = append(origins, s.tail.l.origin)
		}
	}
	return origins
}

// origins are the logs of all sides.
func (j *judging) origins() (list []string) {
	for _, s := range j.sides {
		list = append(list, s.tail.l.origin)
	}
	return list
}

// invented raises an alert for each side that its evidence does not give. What contradicts stands
// if there is none.
func (j *judging) invented(ctx context.Context, pieces []receipt.Piece) (stands bool, err error) {
	before := len(j.alerts)
	for i, s := range j.sides {
		if err := j.notReproducible(ctx, s, pieces[i]); err != nil {
			return false, err
		}
	}
	return len(j.alerts) == before, nil
}

const contradictionSuffix = ".contradiction.json"

func (j *judging) keep(ctx context.Context, a *Alert, folder, suffix string, file []byte) error {
	if err := j.r.m.keep(context.WithoutCancel(ctx), a, folder, suffix, file); err != nil {
		return &folderError{err}
	}
	return nil
}

// other is the side that a side is compared with, or nil.
func (j *judging) other(i int) *side {
	if len(j.sides) < 2 {
		return nil
	}
	return j.sides[1-i]
}

// file puts a contradiction's file together, and checks it as its readers will.
func (j *judging) file(ruleID string, pieces ...receipt.Piece) ([]byte, error) {
	text := j.policy()
	file, err := receipt.AssembleContradiction(ruleID, []byte(text), pieces...)
	if err != nil {
		return nil, err
	}
	policy, err := tlogpolicy.Parse([]byte(text))
	if err != nil {
		return nil, err
	}
	_, err = receipt.CheckContradiction(file, policy, receipt.Terms{Reappraise: j.r.m.cfg.Reappraise, Limits: j.r.m.cfg.Limits, UnsafeRealm: j.realm()})
	if err != nil && !(j.r.m.cfg.Reappraise == nil && refusedAt(err, receipt.StepReappraisal)) {
		return nil, err
	}
	return file, nil
}

// realm is that of the entries: which realms a reader relies on is the reader's to say.
func (j *judging) realm() poclog.Realm {
	if e := j.sides[0].entry(); e != nil {
		return e.Realm
	}
	return ""
}

// refusedAt reports whether readers refuse a contradiction's file in a step.
func refusedAt(err error, step verify.Check) bool {
	var refused *verify.Error
	return errors.As(err, &refused) && refused.Check == step
}

// outOfTime has the sides judged alone whose times the log made up, and reports whether there are
// any: readers refuse what is said about such an entry, but for what it says about the log.
func (j *judging) outOfTime() (found bool) {
	for i, s := range j.sides {
		if len(rule.Judge(&s.claim)) > 0 {
			me := []ref{j.pair.a, j.pair.b}[i]
			j.more, found = append(j.more, pair{me, me}), true
		}
	}
	return found
}

// piece makes what a contradiction's file holds of an entry. It is false if there is no receipt
// without what the log does not give.
func (j *judging) piece(ctx context.Context, s, other *side, out *receipt.Piece) (ok bool, err error) {
	if err := s.fetchBundle(ctx); err != nil {
		return false, err
	}
	if s.first == nil {
		if err := s.bound(ctx, other); err != nil {
			return false, err
		}
	}
	if s.entry() != nil && s.entry().Fresh != nil && len(s.challenge) == 0 {
		j.withheld(s)
		j.unanswered(s)
		return false, nil
	}
	in := client.ReceiptFor{Leaf: s.leaf, Index: s.index, Challenge: s.challenge, Under: s.tail.l.checkpoint, First: s.first, Published: true}
	if out.Receipt, err = s.tail.cl.Receipt(ctx, in); err != nil {
		return false, &logError{s.tail, err}
	}
	if out.Covered, err = s.covered(ctx, other); err != nil {
		return false, err
	}
	if out.Evidence, err = s.evidence(ctx); err != nil {
		return false, err
	}
	j.withheld(s)
	return true, nil
}

// unanswered raises an alert if the evidence is there and has not the challenge that the entry says
// it answers. No receipt can be made of such an entry, and so no file that shows it.
func (j *judging) unanswered(s *side) {
	if s.bundle == nil {
		return
	}
	f := rule.NotReproducible(s.tail.l.origin, s.index, s.entry(), "it has not the challenge that the entry answers")
	f.Severity = rule.Alert
	j.add(alertOf(f, []EntryRef{s.ref()}))
}

// covered proves that another entry is in the tree of this one's challenge, if it is.
func (s *side) covered(ctx context.Context, other *side) ([][sha256.Size]byte, error) {
	if other == nil || s.entry() == nil || s.entry().Fresh == nil || !s.claim.Rooted {
		return nil, nil
	}
	f := s.entry().Fresh
	if f.Origin != other.tail.l.origin || f.Size <= other.index {
		return nil, nil
	}
	hashes, err := other.tail.cl.Inclusion(ctx, other.leaf, other.index, client.Tree{Origin: f.Origin, Size: f.Size, Root: f.Root})
	if err != nil {
		return nil, &logError{other.tail, err}
	}
	return hashes, nil
}

// evidence fetches what an entry names, or returns nil if the log does not give all of it.
func (s *side) evidence(ctx context.Context) (*receipt.Evidence, error) {
	if s.entry() == nil || s.bundle == nil {
		return nil, nil
	}
	e, out := &s.entry().Evidence, &receipt.Evidence{Bundle: s.bundle}
	for _, f := range []struct {
		blob poclog.Blob
		file *[]byte
	}{{e.Envelope, &out.Envelope}, {e.Collateral, &out.Collateral}, {e.Policy, &out.Policy}} {
		var err error
		if *f.file, err = s.fetch(ctx, f.blob); err != nil || s.missing != nil {
			return nil, err
		}
	}
	return out, nil
}

// reproduce repeats the appraisal of an entry that looks odd, if there is somebody who can.
func (j *judging) reproduce(ctx context.Context, s *side) error {
	var piece receipt.Piece
	ok, err := j.piece(ctx, s, nil, &piece)
	if err != nil || !ok {
		return err
	}
	return j.notReproducible(ctx, s, piece)
}

// notReproducible raises an alert if an entry's evidence does not give it.
func (j *judging) notReproducible(ctx context.Context, s *side, piece receipt.Piece) error {
	if j.r.m.cfg.Reappraise == nil || piece.Evidence == nil {
		return nil
	}
	piece.Covered = nil // there is nothing to compare with
	f := rule.NotReproducible(s.tail.l.origin, s.index, s.entry(), "its appraisal, repeated, gives another")
	file, err := j.file(f.Rule, piece)
	if err != nil {
		return nil // it is what its evidence gives
	}
	a := alertOf(f, []EntryRef{s.ref()})
	if err := j.keep(ctx, &a, contradictionsDir, contradictionSuffix, file); err != nil {
		return err
	}
	j.alerts = append(j.alerts, a)
	return nil
}

// policy is a tlog-policy that lists the logs of all sides. It is for whoever reads a
// contradiction's file and has none: readers judge by their own.
func (j *judging) policy() string {
	first := j.sides[0].tail
	for _, t := range j.tails() {
		if t != first {
			return joinPolicies(j.tails())
		}
	}
	return first.l.policyText
}

// tails are the logs of all sides and of their challenges.
func (j *judging) tails() (list []*tail) {
	add := func(t *tail) {
		for _, have := range list {
			if have == t {
				return
			}
		}
		if t != nil {
			list = append(list, t)
		}
	}
	for _, s := range j.sides {
		add(s.tail)
		add(j.r.tailOf(s.challengeOrigin()))
	}
	return list
}

// joinPolicies lists the logs and witnesses of several policies. Logs with one and the same rule
// for their witnesses keep it; otherwise a checkpoint needs any one of the witnesses, for a witness
// may stand in one group only.
func joinPolicies(tails []*tail) string {
	var logs, rest []string
	same := true
	for _, t := range tails {
		mine, others := splitPolicy(t.l.policyText)
		logs = append(logs, mine...)
		if same = same && (rest == nil || strings.Join(rest, "\n") == strings.Join(others, "\n")); rest == nil {
			rest = others
		}
	}
	if same {
		return strings.Join(append(logs, rest...), "\n") + "\n"
	}
	var names []string
	seen := make(map[string]bool)
	for _, t := range tails {
		for _, w := range t.l.policy.Witnesses() {
			if !seen[w.VKey] {
				seen[w.VKey] = true
				names = append(names, fmt.Sprintf("w%d", len(names)+1))
				logs = append(logs, "witness "+names[len(names)-1]+" "+w.VKey)
			}
		}
	}
	if len(names) == 0 {
		return strings.Join(append(logs, "quorum none"), "\n") + "\n"
	}
	return strings.Join(append(logs, "group any-witness any "+strings.Join(names, " "), "quorum any-witness"), "\n") + "\n"
}

// splitPolicy tells a policy's log lines from its other lines. Comments and empty lines are left
// out.
func splitPolicy(text string) (logs, others []string) {
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		switch {
		case len(words) == 0 || strings.HasPrefix(words[0], "#"):
		case words[0] == "log":
			logs = append(logs, strings.Join(words, " "))
		default:
			others = append(others, strings.Join(words, " "))
		}
	}
	return logs, others
}
