package dossier

import (
	"slices"
	"strings"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/index"
	"github.com/poclog/poclog/verify/receipt"
	"github.com/poclog/poclog/verify/rule"
)

// demand holds the answer to what the reader asks.
func (k *checking) demand(now time.Time) error {
	d, a := &k.demands, k.answer
	for _, n := range d.Names {
		if !slices.ContainsFunc(a.Names, func(have Name) bool { return have.Name == n }) {
			return verify.Failf("names", "it says nothing of %s", n)
		}
	}
	if d.Standing == receipt.Audited && a.Verdict == receipt.Logged {
		return verify.Failf("verdict", "that the lists are complete stands on the log's word: want auditors'")
	}
	if d.Standing == receipt.Reappraised {
		return verify.Failf("verdict", "a list stands on %q or %q: nobody repeats an appraisal of it", receipt.Logged, receipt.Audited)
	}
	if err := k.young(now); err != nil {
		return err
	}
	return k.sinceAsked()
}

// young holds the index to the age that was asked for.
func (k *checking) young(now time.Time) error {
	seen := k.answer.Seen
	switch age := now.Sub(seen.Time); {
	case k.demands.MaxAge == 0:
	case !seen.Known:
		return verify.Failf("max-age", "the age of the lists is unknown: %s", seen.Why)
	case age > k.demands.MaxAge:
		return verify.Failf("max-age", "the lists are %s old, want at most %s", age.Truncate(time.Second), k.demands.MaxAge)
	case age < -verify.MaxSkew:
		return verify.Failf("max-age", "the lists are of %s, %s after now", verify.Stamp(seen.Time), (-age).Truncate(time.Second))
	}
	return nil
}

// sinceAsked holds the lists to the time from which on the reader wants everything: it is the
// reader's demand, not the maker's choice.
func (k *checking) sinceAsked() error {
	a := k.answer
	if a.From == 0 {
		return nil
	}
	switch {
	case k.demands.Since.IsZero():
		return verify.Failf("since", "entries below %d may be left out: say from when on you want them", a.From)
	case !a.Since.Known:
		return verify.Failf("since", "entries below %d may be left out, and their time is unknown: %s", a.From, a.Since.Why)
	case a.Since.Time.After(k.demands.Since):
		return verify.Failf("since", "entries logged before %s may be left out, want all since %s", verify.Stamp(a.Since.Time), verify.Stamp(k.demands.Since))
	}
	return nil
}

// Gravest returns the gravest finding that is more than information, or nil.
func (a *Answer) Gravest() *rule.Finding { return gravest(a.Findings) }

func gravest(findings []*rule.Finding) *rule.Finding {
	for _, s := range []rule.Severity{rule.Contradiction, rule.Alert} {
		if i := slices.IndexFunc(findings, func(f *rule.Finding) bool { return f.Severity == s }); i >= 0 {
			return findings[i]
		}
	}
	return nil
}

// StepDossier says that a dossier does not clear a receipt.
const StepDossier verify.Check = "dossier"

// Clears holds a receipt to a dossier of its log: all identities of its entry are covered, the
// entry is listed, and no rule finds a contradiction or an alert. A receipt that is newer than the
// index is not cleared. If the reader pins registrars, what they stated of these identities has to
// be covered, too: none of them froze or revoked one, and those who are asked for vouch.
func (a *Answer) Clears(v *receipt.Verdict) error {
	switch {
	case v.Entry == nil:
		return verify.Failf(StepDossier, "entry of kind %s: %w", v.Kind, receipt.ErrNotProof)
	case v.Origin != a.Origin:
		return verify.Failf(StepDossier, "it is of log %s, the receipt of %s", a.Origin, v.Origin)
	case v.Index >= a.Size:
		return verify.Failf(StepDossier, "its index ends at entry %d: the receipt is of entry %d, and newer", a.Size, v.Index)
	}
	at := slices.IndexFunc(a.Entries, func(e Entry) bool { return e.Number == v.Index })
	if at < 0 {
		return verify.Failf(StepDossier, "it does not list entry %d", v.Index)
	}
	if err := a.covers(v.Entry, v.Index); err != nil {
		return err
	}
	if f := a.Gravest(); f != nil {
		return verify.Failf(StepDossier, "%s %s: %s", f.Severity, f.Rule, f.Seen)
	}
	return a.stands(v, a.endorsers)
}

// Agrees holds a receipt to a dossier of another log: it covers all identities of the receipt's
// entry, claimed or not, and no rule finds a contradiction or an alert over its entries and the
// receipt's.
func (a *Answer) Agrees(v *receipt.Verdict) error {
	if v.Entry == nil {
		return verify.Failf(StepDossier, "entry of kind %s: %w", v.Kind, receipt.ErrNotProof)
	}
	for _, want := range NamesFor(v.Entry) {
		if !slices.ContainsFunc(a.Names, func(n Name) bool { return n.Name == want }) {
			return verify.Failf(StepDossier, "that of log %s says nothing of %s, which the receipt names", a.Origin, want)
		}
	}
	mine := &rule.Claim{Origin: v.Origin, Index: v.Index, Entry: v.Entry, T1: v.T1.Time, T2: v.T2.Time}
	if f := gravest(a.limits.AcrossSights(append(a.sights(), mine.Sight(len(a.Entries))), a.claims(mine))); f != nil {
		return verify.Failf(StepDossier, "with log %s: %s %s: %s", a.Origin, f.Severity, f.Rule, f.Seen)
	}
	return a.stands(v, nil)
}

// NamesFor returns the names of which a dossier clears an entry: those of its identities, as the
// index has them. Who published it is not one of them.
func NamesFor(e *poclog.Entry) []string {
	return slices.DeleteFunc(index.NamesOf(poclog.Leaf{Proof: e}), func(n string) bool { return strings.HasPrefix(n, index.Publisher) })
}

// covers demands the lists of all identities of an entry.
func (a *Answer) covers(e *poclog.Entry, number uint64) error {
	for _, want := range NamesFor(e) {
		i := slices.IndexFunc(a.Names, func(n Name) bool { return n.Name == want })
		if i < 0 {
			return verify.Failf(StepDossier, "it says nothing of %s, which the receipt names", want)
		}
		if !slices.Contains(a.Names[i].Numbers, number) {
			return verify.Failf(StepDossier, "the list of %s does not have entry %d, which states it: the index is wrong", want, number)
		}
	}
	return nil
}
