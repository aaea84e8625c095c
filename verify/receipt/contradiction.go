package receipt

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/rule"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

// The steps of checking a contradiction, beside those of its receipts.
const (
	StepClaims verify.Check = "claims" // the receipts are of two entries that can be compared
	StepOrder  verify.Check = "order"  // the entry that is said to be older is in the tree of the other's challenge
	StepRule   verify.Check = "rule"   // the rule finds what the file says
)

// Terms are on what a reader judges a contradiction, beside his tlog-policy. The zero value is
// safe; with it a file with evidence is refused.
type Terms struct {
	UnsafeRealm poclog.Realm // accept entries of another realm than production
	Reappraise  Reappraiser
	Limits      rule.Limits
	AuditGroup  string // the policy's group of auditors; "" is DefaultAuditGroup
}

// A ContradictionVerdict says what a contradiction's file shows. Its JSON is a stable schema,
// version V.
type ContradictionVerdict struct {
	V int `json:"v"`
	rule.Finding
	Verdict Standing   `json:"verdict"` // the weakest of the entries': on "logged", the log says that it appraised both
	Entries []*Verdict `json:"entries"`
}

// CheckContradiction verifies a contradiction's file under the reader's policy: the receipts, the
// appraisals as far as the evidence is in the file, and the rule, which is run again. Whatever does
// not show what it says is a [*verify.Error]. The verdict may be an alert, which calls for an
// explanation; see its Severity. Without the evidence of both entries it is one, about the logs
// that withhold it: an auditor's word that an entry is sound is not enough to implicate a key.
func CheckContradiction(file []byte, policy *tlogpolicy.Policy, terms Terms) (*ContradictionVerdict, error) {
	if policy == nil {
		return nil, ErrNoPolicy
	}
	c, err := poclog.ParseContradiction(file)
	if err != nil {
		return nil, verify.Failf(verify.Format, "%w", err)
	}
	r, known := rule.Lookup(c.Rule)
	if !known {
		return nil, verify.Failf(StepRule, "there is no rule %q", c.Rule)
	}
	if want := claimsOf(&r); len(c.Claims) != want {
		return nil, verify.Failf(StepClaims, "%d entries: rule %s takes %d", len(c.Claims), r.ID, want)
	}
	if len(c.Claims) == 1 && len(c.Claims[0].Covered) > 0 {
		return nil, verify.Failf(StepOrder, "there is no other entry that its challenge could cover")
	}
	k := &checking{file: c, policy: policy, terms: terms, rule: r, files: make(map[poclog.Blob][]byte), used: make(map[poclog.Blob]bool)}
	for _, f := range c.Evidence {
		k.files[poclog.BlobOf(f)] = f
	}
	for i := range c.Claims {
		if err := k.open(i); err != nil {
			return nil, err
		}
	}
	finding, err := k.find()
	if err != nil {
		return nil, err
	}
	if err := k.allUsed(); err != nil {
		return nil, err
	}
	if err := k.ofRealm(); err != nil {
		return nil, err
	}
	return k.verdict(finding), nil
}

func claimsOf(r *rule.Rule) int {
	if r.Check != nil {
		return 2
	}
	return 1
}

// checking is a file on its way through the check.
type checking struct {
	file   *poclog.Contradiction
	policy *tlogpolicy.Policy
	terms  Terms
	rule   rule.Rule

	verdicts []*Verdict
	evidence []*Evidence // nil where the file lacks it
	claims   []*rule.Claim
	files    map[poclog.Blob][]byte
	used     map[poclog.Blob]bool
}

// within says of which entry a refusal is.
func (k *checking) within(i int, err error) error {
	if e, ok := errors.AsType[*verify.Error](err); ok {
		return &verify.Error{Check: e.Check, Detail: fmt.Sprintf("entry %d of the file: %s", i+1, e.Detail), Err: err}
	}
	return fmt.Errorf("entry %d of the file: %w", i+1, err)
}

// open verifies a receipt, and takes its evidence out of the file.
func (k *checking) open(i int) error {
	v, err := openAny(k.file.Claims[i].Receipt, k.policy)
	if err != nil {
		return k.within(i, err)
	}
	k.verdicts = append(k.verdicts, v)
	c := &rule.Claim{Origin: v.Origin, Index: v.Index, Entry: v.Entry, T1: v.T1.Time, T2: v.T2.Time}
	k.claims = append(k.claims, c)
	k.evidence = append(k.evidence, k.evidenceOf(v.Entry))
	return nil
}

// evidenceOf returns what an entry names, if all of it is in the file.
func (k *checking) evidenceOf(e *poclog.Entry) *Evidence {
	if e == nil {
		return nil
	}
	out := new(Evidence)
	var found []poclog.Blob
	for _, p := range out.parts(&e.Evidence) {
		if p.blob == (poclog.Blob{}) {
			continue
		}
		if *p.file = k.files[p.blob]; *p.file == nil {
			return nil
		}
		found = append(found, p.blob)
	}
	for _, b := range found {
		k.used[b] = true
	}
	return out
}

// allUsed refuses files that show nothing.
func (k *checking) allUsed() error {
	for b := range k.files {
		if !k.used[b] {
			return verify.Failf(StepReappraisal, "file %s is no evidence of an entry whose evidence is all here", b.SHA256)
		}
	}
	return nil
}

// ofRealm demands entries of the realm that the reader asks about: what a laboratory's entries
// show, they show of a laboratory.
func (k *checking) ofRealm() error {
	want := poclog.Production
	if k.terms.UnsafeRealm != "" {
		want = k.terms.UnsafeRealm
	}
	for i, c := range k.claims {
		if c.Entry != nil && c.Entry.Realm != want {
			return k.within(i, verify.Failf("realm", "it is of realm %s, want %s", c.Entry.Realm, want))
		}
	}
	return nil
}

// find makes the checks that the rule presumes, and runs it.
func (k *checking) find() (*rule.Finding, error) {
	if k.rule.Check == nil && k.rule.Alone == nil {
		return k.notReproducible()
	}
	for i, v := range k.verdicts {
		if err := k.sound(v, i); err != nil {
			return nil, k.within(i, err)
		}
	}
	if k.rule.Alone != nil {
		if f := k.rule.Alone(k.claims[0]); f != nil {
			return f, nil
		}
		return nil, verify.Failf(StepRule, "rule %s finds nothing against entry %d of %s", k.rule.ID, k.claims[0].Index, k.claims[0].Origin)
	}
	if err := k.comparable(); err != nil {
		return nil, err
	}
	return k.compare()
}

// sound demands of an entry what a reader of its receipt would, but no level and no realm; of
// evidence in the file, that it gives the entry.
func (k *checking) sound(v *Verdict, i int) error {
	switch {
	case v.malformed != nil:
		return v.malformed
	case v.Entry == nil:
		return verify.Failf(StepClaims, "entry of kind %s: %w", v.Kind, ErrNotProof)
	}
	if k.rule.Alone == nil {
		if err := v.checkInterval(); err != nil {
			return err
		}
	}
	return v.repeat(k.terms.Reappraise, k.evidence[i], k.verdicts[i].Receipt.Entry)
}

// comparable holds two entries to what the rules presume, and proves the order that the file
// claims.
func (k *checking) comparable() error {
	e, f := k.claims[0], k.claims[1]
	switch {
	case e.Origin == f.Origin && e.Index == f.Index:
		return verify.Failf(StepClaims, "entry %d of %s twice", e.Index, e.Origin)
	case f.Origin < e.Origin || f.Origin == e.Origin && f.Index < e.Index:
		return verify.Failf(StepClaims, "entry %d of %s before entry %d of %s: want them by origin and number", e.Index, e.Origin, f.Index, f.Origin)
	case e.Entry.Realm != f.Entry.Realm:
		return verify.Failf(StepClaims, "entries of realm %s and of realm %s: realms are not compared", e.Entry.Realm, f.Entry.Realm)
	}
	if err := k.covered(0, 1); err != nil {
		return err
	}
	return k.covered(1, 0)
}

// covered checks the proof that another entry is in the tree of an entry's challenge. The
// challenge's nonce hashes that tree's root, so that nobody, the log's operator included, can make
// it up.
func (k *checking) covered(i, other int) error {
	hashes := k.file.Claims[i].Covered
	if len(hashes) == 0 {
		return nil
	}
	fresh, older := k.claims[i].Entry.Fresh, k.verdicts[other]
	if fresh == nil || fresh.Origin != older.Origin {
		return k.within(i, verify.Failf(StepOrder, "its challenge is not of %s, the other entry's log", older.Origin))
	}
	tree := &tlogpolicy.View{Checkpoint: tlogpolicy.Checkpoint{Origin: fresh.Origin, Size: fresh.Size, Root: fresh.Root}}
	if err := included(older.LeafHash, older.Index, &poclog.Inclusion{Hashes: hashes}, tree); err != nil {
		return k.within(i, verify.Failf(StepOrder, "the other entry is not in its challenge's tree: %w", err))
	}
	k.claims[i].Rooted = true
	return nil
}

// compare runs the rule of two entries.
func (k *checking) compare() (*rule.Finding, error) {
	e, f := k.claims[0], k.claims[1]
	finding := k.rule.Run(e, f, k.terms.Limits)
	switch {
	case finding == nil:
		return nil, verify.Failf(StepRule, "rule %s finds nothing between entry %d of %s and entry %d of %s%s", k.rule.ID, e.Index, e.Origin, f.Index, f.Origin, k.others())
	case finding.Severity == rule.Information:
		return nil, verify.Failf(StepRule, "no contradiction: %s %s", finding.Seen, finding.Meaning)
	}
	return finding.Unseen(k.unseen()...), nil
}

// unseen are the origins of the entries of which the file has no evidence. Where it has it, it gave
// the entry.
func (k *checking) unseen() (origins []string) {
	for i, v := range k.verdicts {
		if k.evidence[i] == nil {
			origins = append(origins, v.Origin)
		}
	}
	return origins
}

// others says which rules would find something.
func (k *checking) others() string {
	for _, f := range k.terms.Limits.Compare(k.claims[0], k.claims[1]) {
		if f.Severity != rule.Information {
			return "; rule " + f.Rule + " does"
		}
	}
	return ": they agree"
}

// notReproducible repeats an appraisal that must not give the entry.
func (k *checking) notReproducible() (*rule.Finding, error) {
	v, leaf := k.verdicts[0], k.verdicts[0].Receipt.Entry
	if v.malformed != nil {
		if !OfKnownSpecification(leaf) {
			return nil, verify.Failf(StepRule, "the leaf is not of a specification that this software knows: it may be well-formed by a later one")
		}
		v.Verdict = Reappraised
		return rule.NotReproducible(v.Origin, v.Index, nil, "it is malformed, and no evidence gives it: "+v.malformed.Error()), nil
	}
	switch {
	case v.Entry == nil:
		return nil, verify.Failf(StepClaims, "entry of kind %s: %w", v.Kind, ErrNotProof)
	case v.Entry.Appraisal > poclog.Appraisal:
		return nil, verify.Failf(StepRule, "the entry was appraised by specification %d: this software knows 1 to %d", v.Entry.Appraisal, poclog.Appraisal)
	case k.evidence[0] == nil:
		return nil, verify.Failf(StepReappraisal, "the file lacks the entry's evidence, or a part of it: whether it gives the entry is not shown")
	case k.terms.Reappraise == nil:
		return nil, verify.Failf(StepReappraisal, "there is nobody to repeat the appraisal")
	}
	again, err := k.terms.Reappraise.Reappraise(*k.evidence[0], v.Entry.Appraised, v.Entry.Appraisal)
	check, refused := verify.CheckOf(err)
	v.Verdict = Reappraised
	switch {
	case err != nil && !refused:
		return nil, verify.Failf(StepReappraisal, "the appraisal could not be repeated: %w", err)
	case refused:
		return rule.NotReproducible(v.Origin, v.Index, v.Entry, fmt.Sprintf("check %s refuses it", check)), nil
	case bytes.Equal(again, leaf):
		return nil, verify.Failf(StepRule, "the evidence gives the entry")
	}
	return rule.NotReproducible(v.Origin, v.Index, v.Entry, "it gives another entry"), nil
}

// OfKnownSpecification reports whether a leaf that is malformed says it is a proof by a
// specification that this software knows, so that it has no excuse.
func OfKnownSpecification(leaf []byte) bool {
	n, isProof := specificationOf(leaf)
	return isProof && n <= poclog.Appraisal
}

// specificationOf reads the number of the appraisal specification at the beginning of a proof's
// leaf; a number that cannot be read is 0, which no specification has.
func specificationOf(leaf []byte) (n uint64, isProof bool) {
	rest, isProof := bytes.CutPrefix(leaf, []byte(`{"v":1,"kind":"proof"`))
	rest, ok := bytes.CutPrefix(rest, []byte(`,"appraisal":`))
	for i := 0; ok && i < len(rest) && i < 10 && rest[i] >= '0' && rest[i] <= '9'; i++ {
		n = 10*n + uint64(rest[i]-'0')
	}
	return n, isProof
}

// verdict says on whose word the finding stands: the weakest.
func (k *checking) verdict(f *rule.Finding) *ContradictionVerdict {
	out := &ContradictionVerdict{V: 1, Finding: *f, Verdict: Reappraised, Entries: k.verdicts}
	for _, v := range k.verdicts {
		v.askAuditors(k.terms.AuditGroup)
		if slices.Index(standings, v.Verdict) < slices.Index(standings, out.Verdict) {
			out.Verdict = v.Verdict
		}
	}
	return out
}
