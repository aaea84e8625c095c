// Package dossier checks dossiers, offline: that every entry of a log that states some names is in
// the file, and what these entries say together. docs/format.md §17 has the algorithm, in numbered
// steps.
//
// [Check] needs the file, the reader's C2SP tlog-policy and the time. Like verify/receipt it is
// pure. What it refuses is a [*verify.Error] that names the step or the demand.
//
// A dossier speaks for one log. Completeness stands on the word of the log, unless auditors of the
// reader's policy cosigned the checkpoint that covers the index entry: they recompute the index.
// Nothing here can know what other logs hold.
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
	"github.com/poclog/poclog/verify/tlogpolicy"
	"github.com/poclog/poclog/verify/vouch/registry"
)

// The steps of checking a dossier, in order, beside those of the receipt of its index entry. The
// names of demands are those of the command's flags.
const (
	StepIndex   verify.Check = "index"   // the receipt is of an index entry of an algorithm that the reader knows, and names the checkpoint
	StepMap     verify.Check = index.Map // the map proofs lead to the index entry's root
	StepNumbers verify.Check = "numbers" // the numbers of each name give the value in the map, from the size of the checkpoint "since" on
	StepEntries verify.Check = "entries" // the leaves are those that the names list, and state these names
	StepTree    verify.Check = "tree"    // the leaves are in the tree of the receipt's checkpoint
	StepTimes   verify.Check = "times"   // the checkpoints that entries refer to are theirs
)

// Demands are what a reader asks of a dossier. The zero value asks for complete lists on the log's
// word, of any age.
type Demands struct {
	Names       []string         // all of these must be covered
	Standing    receipt.Standing // at least this: Logged ("") or Audited
	AuditGroup  string           // the policy's group of auditors; "" is receipt.DefaultAuditGroup
	MaxAge      time.Duration    // now − the time by which the index's checkpoint was signed; 0: any
	Since       time.Time        // everything that was logged from then on is listed; zero: everything
	UnsafeRealm poclog.Realm     // look at entries of another realm than production
	Limits      rule.Limits

	Registrars *registry.Registrars // that the reader pins: whose statements count; nil: nobody's
	EndorsedBy []Endorser           // who must vouch for the machine of a receipt that the dossier clears
	Openings   []*poclog.Opening    // of machines of private fleets
}

// An Answer is what a dossier shows. Its JSON is a stable schema, version V.
type Answer struct {
	V        int              `json:"v"`
	Verdict  receipt.Standing `json:"verdict"`            // on whose word the lists are complete
	Auditors []string         `json:"auditors,omitempty"` // if audited: the names of the auditors' keys
	Origin   string           `json:"origin"`
	Size     uint64           `json:"size"`  // the lists are complete for entries below it
	Number   uint64           `json:"index"` // of the index entry
	Seen     receipt.Bound    `json:"seen"`  // the quorum signed the checkpoint of that size at this time or later
	From     uint64           `json:"from"`  // entries below it may be left out: 0 if all are listed
	Since    receipt.Bound    `json:"since"` // all that was logged after it is listed; unknown where From is 0

	Names    []Name          `json:"names"`
	Entries  []Entry         `json:"entries"`
	Findings []*rule.Finding `json:"findings"` // contradictions, alerts and information, of entries of the realm that was asked for

	Subjects []Subject `json:"subjects,omitempty"` // identities whose statements are listed, as the reader's registrars see them

	realm  poclog.Realm // of which the findings were made
	limits rule.Limits

	pins      *registry.Registrars
	stated    []registry.Stated
	endorsers []Endorser
	openings  []*poclog.Opening
	now       time.Time
}

// A Name is what the index has of one name.
type Name struct {
	Name    string   `json:"name"`
	Present bool     `json:"present"`
	Numbers []uint64 `json:"numbers"` // all, or all from Answer.From on and some before
}

// An Entry is a listed entry.
type Entry struct {
	Number uint64        `json:"number"`
	T1     receipt.Bound `json:"not_before"`
	T2     receipt.Bound `json:"not_after"`

	leaf   []byte
	kind   poclog.LeafKind
	proof  *poclog.Projection // of a proof
	rooted bool               // its challenge is known to be of the log's history
}

// Leaf parses the entry.
func (e *Entry) Leaf() poclog.Leaf {
	l, _ := poclog.ParseLeaf(e.leaf) // as it was checked
	return l
}

// Check verifies a dossier's file under the reader's policy, and holds it to the reader's demands
// at a time.
func Check(file []byte, policy *tlogpolicy.Policy, now time.Time, demands Demands) (*Answer, error) {
	if policy == nil {
		return nil, receipt.ErrNoPolicy
	}
	d, err := poclog.ParseDossier(file)
	if err != nil {
		return nil, verify.Failf(verify.Format, "%w", err)
	}
	k := &checking{file: d, policy: policy, demands: demands}
	for _, step := range []func() error{k.openIndex, k.openSince, k.lookUp, k.list, k.included, k.bound} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	k.compare()
	k.stand(now)
	if err := k.demand(now); err != nil {
		return nil, err
	}
	return k.answer, nil
}

// checking is a dossier as far as it was checked.
type checking struct {
	file    *poclog.Dossier
	policy  *tlogpolicy.Policy
	demands Demands

	answer *Answer
	head   *receipt.Verdict                        // of the index entry
	own    map[poclog.Digest]tlogpolicy.Checkpoint // of the log's history, by digest of the signed checkpoint
}

// openIndex checks the receipt of the index entry and the checkpoint that it names.
func (k *checking) openIndex() error {
	v, err := receipt.OpenAs(k.file.Index, k.policy, k.demands.AuditGroup)
	if err != nil {
		return err
	}
	e := v.IndexEntry
	switch {
	case e == nil:
		return verify.Failf(StepIndex, "entry %d is of kind %s: want an index entry", v.Index, v.Kind)
	case e.Algorithm != index.Algorithm:
		return verify.Failf(StepIndex, "index of algorithm %d: this software knows %d", e.Algorithm, index.Algorithm)
	case e.Size > v.Index:
		return verify.Failf(StepIndex, "index of %d entries in entry %d: want at most as many as stand before it", e.Size, v.Index)
	case e.Checkpoint != poclog.Sum(k.file.Checkpoint):
		return verify.Failf(StepIndex, "checkpoint has digest %s: the index entry names %s", poclog.Sum(k.file.Checkpoint), e.Checkpoint)
	}
	cp, err := k.policy.Open(k.file.Checkpoint)
	if err != nil {
		return verify.Failf(StepIndex, "the index entry's checkpoint: %w", err)
	}
	if cp.Origin != v.Origin || cp.Size != e.Size {
		return verify.Failf(StepIndex, "checkpoint of %q at size %d: want one of %q at size %d", cp.Origin, cp.Size, v.Origin, e.Size)
	}
	k.head = v
	k.answer = &Answer{V: 1, Verdict: v.Verdict, Auditors: v.Auditors, Origin: v.Origin, Size: e.Size, Number: v.Index, Seen: receipt.NotBefore(cp)}
	return nil
}

// openSince checks the checkpoint from whose size on everything is listed.
func (k *checking) openSince() error {
	if len(k.file.Since) == 0 {
		k.answer.Since = receipt.Bound{Why: "all entries are listed, from the log's first on"}
		return nil
	}
	cp, err := k.policy.Open(k.file.Since)
	if err != nil {
		return verify.Failf(StepNumbers, "the checkpoint since which entries are listed: %w", err)
	}
	if cp.Origin != k.answer.Origin || cp.Size > k.answer.Size {
		return verify.Failf(StepNumbers, "checkpoint of %q at size %d: want one of %q at size %d or less", cp.Origin, cp.Size, k.answer.Origin, k.answer.Size)
	}
	k.answer.From, k.answer.Since = cp.Size, receipt.NotAfter(cp)
	return nil
}

// lookUp checks each name's map proof, and that its numbers give the value in the map. A list that
// does not begin with the first number must begin below the size of the checkpoint "since": then
// nothing from there on is missing.
func (k *checking) lookUp() error {
	for i := range k.file.Names {
		n := &k.file.Names[i]
		if err := listedUnder(k.head.IndexEntry.Root, n); err != nil {
			return err
		}
		switch last := len(n.Numbers) - 1; {
		case n.Before != nil && index.FromTheFirst(n.Name):
			return verify.Failf(StepNumbers, "%s begins with entry %d: want it from its first entry on", n.Name, n.Numbers[0])
		case last < 0:
		case n.Numbers[last] >= k.answer.Size:
			return verify.Failf(StepNumbers, "%s has number %d in an index of %d entries", n.Name, n.Numbers[last], k.answer.Size)
		case n.Before != nil && n.Numbers[0] >= k.answer.From:
			return verify.Failf(StepNumbers, "%s begins with entry %d: want one below %d, so that none is missing from there on", n.Name, n.Numbers[0], k.answer.From)
		}
		k.answer.Names = append(k.answer.Names, Name{Name: n.Name, Present: len(n.Numbers) > 0, Numbers: append([]uint64{}, n.Numbers...)})
	}
	return nil
}

// list reads the leaves, and holds them to what the names list.
func (k *checking) list() error {
	ahead := make([]listed, len(k.answer.Names))
	for i, n := range k.answer.Names {
		id, isUnproven := strings.CutPrefix(n.Name, index.Unproven)
		ahead[i] = listed{n.Name, []byte(id), !isUnproven, n.Numbers}
	}
	for _, p := range k.file.Pages {
		proofs := make([]poclog.Projection, len(p.Entries))
		for i, e := range p.Entries {
			k.answer.Entries = append(k.answer.Entries, Entry{Number: e.Number, leaf: e.Leaf, proof: &proofs[i]})
			if err := k.answer.Entries[len(k.answer.Entries)-1].listed(ahead); err != nil {
				return err
			}
		}
	}
	for i := range ahead {
		if n := &ahead[i]; len(n.numbers) > 0 {
			return n.missing()
		}
	}
	return nil
}

// A listed is a name with its numbers that no entry had yet.
type listed struct {
	name    string
	id      []byte // the identity, where the name is of one
	proven  bool   // and not of its unproven claims
	numbers []uint64
}

func (n *listed) missing() error {
	return verify.Failf(StepEntries, "entry %d, which %s lists, is missing", n.numbers[0], n.name)
}

// listed reads a leaf, and takes it off the lists of the names that it states.
func (e *Entry) listed(ahead []listed) (err error) {
	if e.kind, err = e.proof.Read(e.leaf); err != nil {
		return verify.Failf(StepEntries, "entry %d: %w", e.Number, err)
	}
	isListed := false
	for i := range ahead {
		n := &ahead[i]
		if len(n.numbers) == 0 || n.numbers[0] > e.Number {
			continue
		}
		if n.numbers[0] < e.Number {
			return n.missing()
		}
		if !e.states(n) {
			return verify.Failf(StepEntries, "entry %d does not state %s, which lists it: the index is wrong", e.Number, n.name)
		}
		n.numbers, isListed = n.numbers[1:], true
	}
	if !isListed {
		return verify.Failf(StepEntries, "entry %d is listed by no name", e.Number)
	}
	return nil
}

// states reports whether an entry states a name (index.NamesOf).
func (e *Entry) states(n *listed) bool {
	if e.kind == poclog.LeafProof && (e.proof.Level >= poclog.LevelBound) == n.proven && e.proof.States(n.id) {
		return true
	}
	return slices.Contains(index.NamesOf(e.Leaf()), n.name)
}

// included checks each page's proof.
func (k *checking) included() error {
	for i, p := range k.file.Pages {
		leaves := make([]Leaf, len(p.Entries))
		for j, e := range p.Entries {
			leaves[j] = Leaf{Number: e.Number, Hash: receipt.LeafHash(e.Leaf)}
		}
		root, err := RootOf(k.head.Size, leaves, p.Proof)
		if err != nil {
			return verify.Failf(StepTree, "page %d: %w", i, err)
		}
		if root != k.head.Root {
			return verify.Failf(StepTree, "page %d: its entries are not in the tree of size %d: the proof leads to another root", i, k.head.Size)
		}
	}
	return nil
}

// compare runs the rules over the entries of the realm that was asked for.
func (k *checking) compare() {
	a := k.answer
	a.realm, a.limits = poclog.Production, k.demands.Limits
	if k.demands.UnsafeRealm != "" {
		a.realm = k.demands.UnsafeRealm
	}
	for i := range a.Entries {
		if e := &a.Entries[i]; len(k.own) > 0 && e.kind == poclog.LeafProof {
			e.rooted = k.rooted(e.Leaf().Proof)
		}
	}
	a.Findings = a.limits.AcrossSights(a.sights(), a.claims(nil))
}

// sights are the proofs of the realm that was asked for, each at its place in the list.
func (a *Answer) sights() []rule.Sight {
	sights := make([]rule.Sight, 0, len(a.Entries)+1)
	for i := range a.Entries {
		e := &a.Entries[i]
		if e.kind == poclog.LeafProof && e.proof.Realm == a.realm {
			dated := !e.T1.Time.IsZero() || !e.T2.Time.IsZero() || e.rooted
			sights = append(sights, rule.Sight{Origin: a.Origin, Index: e.Number, Entry: e.proof, Dated: dated, At: i})
		}
	}
	return sights
}

// claims returns the claims of entries by their places in the list, and another one after them.
func (a *Answer) claims(another *rule.Claim) func(at int) *rule.Claim {
	parsed := make(map[int]*rule.Claim)
	parsed[len(a.Entries)] = another
	return func(at int) *rule.Claim {
		c := parsed[at]
		if c == nil {
			e := &a.Entries[at]
			c = &rule.Claim{Origin: a.Origin, Index: e.Number, Entry: e.Leaf().Proof, T1: e.T1.Time, T2: e.T2.Time, Rooted: e.rooted}
			parsed[at] = c
		}
		return c
	}
}
