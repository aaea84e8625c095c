// Package rule holds what a monitor looks for over time: entries of which each is valid and that
// cannot all be honest.
//
// A rule is a pure function over claims: entries with their place in a log and the bounds of when
// their evidence was made. It reads nothing but these, so that whoever has two receipts runs it
// again (verify/receipt.CheckContradiction). docs/format.md lists the rules.
//
// A rule judges what entries say. Whether they are what their evidence gives is the judge's to
// know: a log could invent an entry, with anybody's key in it. What a finding is worth without the
// evidence of all its entries [Finding.Unseen] says.
//
// Nobody can frame an honest owner. A rule takes two identities together only where the checks that
// bind them passed ([poclog.Entry.Joined]), an instance, an EK or a place only from level 2, and an
// order only where it is proven ([Before]): whoever presents a file can make an interval wider,
// never narrower, and a wider one proves less. A finding implicates keys that signed both sides,
// whoever certified both, or the log; all others are affected, a submitter never.
// TestNobodyIsFramed tries.
package rule

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
)

// A Severity says what a finding is worth.
type Severity string

// The severities, from grave to slight.
const (
	Contradiction Severity = "contradiction" // the entries cannot all be honest; a file of them convinces anybody
	Alert         Severity = "alert"         // an honest explanation exists, and somebody should give it
	Information   Severity = "information"   // what honest operation does, too
)

// A Claim is an entry where it stands.
type Claim struct {
	Origin string // of the log
	Index  uint64 // the entry's number in it, from 0
	Entry  *poclog.Entry

	// T1 and T2 bound when the evidence was made, under the judge's tlog-policy; zero where nobody
	// says.
	T1, T2 time.Time

	// Rooted says that the challenge's root is known to be of one history with the log of the entry
	// that this one is compared with: then the challenge shows which entries were there before it.
	// Left false, the challenge shows no order.
	Rooted bool
}

// A Finding is what a rule found.
type Finding struct {
	Rule     string   `json:"rule"`
	Severity Severity `json:"severity"`
	Seen     string   `json:"seen"`    // a sentence: what the entries say
	Meaning  string   `json:"meaning"` // a sentence: what may be behind it

	Subject    poclog.Identity   `json:"subject,omitempty"`    // what was claimed twice; empty where it is a log's doing alone
	Implicated []string          `json:"implicated,omitempty"` // keys that signed both sides; "provider:gce" or "maker:<name>", whose CA certified both; "log:<origin>"
	Affected   []poclog.Identity `json:"affected,omitempty"`   // whose owners may be victims
	Withheld   []string          `json:"withheld,omitempty"`   // logs whose evidence of these entries the judge did not see, by origin
}

// Unseen is what a finding is worth to a judge who did not see the evidence of all its entries, or
// whom it does not give them: an alert about the logs that withhold it, named by origin. It
// implicates nobody, for those logs may have invented the entries. What implicates a log stands: it
// signed the entries itself. So does information. With no log it is the finding.
func (f *Finding) Unseen(origins ...string) *Finding {
	byLog := len(f.Implicated) > 0 && !slices.ContainsFunc(f.Implicated, func(who string) bool { return !strings.HasPrefix(who, "log:") })
	if len(origins) == 0 || f.Severity == Information || byLog {
		return f
	}
	out := *f
	out.Severity, out.Implicated = Alert, nil
	out.Affected = slices.Clone(f.Affected)
	for _, who := range f.Implicated {
		if id, err := poclog.ParseIdentity(who); err == nil {
			out.Affected = append(out.Affected, id)
		}
	}
	out.Affected = ids(out.Affected...)
	out.Withheld = slices.Compact(slices.Sorted(slices.Values(origins)))
	out.Meaning = fmt.Sprintf("The evidence was not seen that %s judged: until it is, these entries may be the log's invention.", strings.Join(out.Withheld, " and "))
	return &out
}

// A Rule compares two claims, or judges one.
type Rule struct {
	ID string

	// Facets says under which keys to look for candidates: only claims that share a key and differ
	// in its value can contradict. Values of a rising facet only ever rise, so that a claim need be
	// compared only with the one of the greatest rank so far. What is put is valid until put
	// returns.
	Facets func(v *View, put func(Facet))
	Rising bool

	// ByNumber is for rising rules that find something only of a claim whose number is greater and
	// whose rank is less. Without it, they find something only of claims that are in order
	// ([Before]).
	ByNumber bool

	// Check compares two claims of one realm; nil: they agree. The order of the arguments does not
	// matter. It is nil for rules of one claim.
	Check func(e, f *Claim, l Limits) *Finding

	// Alone judges one claim. It is nil for rules of two, and for [NotReproducible], which needs
	// the evidence.
	Alone func(c *Claim) *Finding
}

// Limits are what the judge presumes of honest operation. The zero value stands for the defaults.
type Limits struct {
	// MoveTime is the least time in which a machine is moved to another place. Two places within
	// less contradict.
	MoveTime time.Duration
	// SwapTime is the least time in which a machine's TPM is replaced and the provider certifies
	// its keys.
	SwapTime time.Duration
}

// Defaults of [Limits].
const (
	DefaultMoveTime = 24 * time.Hour
	DefaultSwapTime = time.Hour
)

func (l Limits) moveTime() time.Duration { return orDefault(l.MoveTime, DefaultMoveTime) }

func (l Limits) swapTime() time.Duration { return orDefault(l.SwapTime, DefaultSwapTime) }

func orDefault(d, def time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return def
}

// Before reports whether e's evidence was certainly made before f's: by the tree, because f's
// challenge hashes a root that covers e's leaf, which hashes e's evidence; or by time, because a
// quorum saw e before another made f's challenge.
//
// Tree and times cannot both be right where they disagree: then neither was made before the other,
// and no rule depends on the order of its arguments.
func Before(e, f *Claim) bool { return precedes(e, f) && !precedes(f, e) }

func precedes(e, f *Claim) bool {
	if c := f.Entry.Fresh; c != nil && f.Rooted && c.Origin == e.Origin && c.Size > e.Index {
		return true
	}
	return !e.T2.IsZero() && e.T2.Add(verify.MaxSkew).Before(f.T1) // never, where T1 is unknown
}

// within reports whether both claims' evidence was certainly made within d of each other.
func within(e, f *Claim, d time.Duration) bool {
	for _, t := range []time.Time{e.T1, e.T2, f.T1, f.T2} {
		if t.IsZero() {
			return false
		}
	}
	return verify.Later(e.T2, f.T2).Sub(verify.Earlier(e.T1, f.T1))+verify.MaxSkew < d
}

// apart reports whether at least d lies between the makings.
func apart(e, f *Claim, d time.Duration) bool {
	gap := func(e, f *Claim) bool { return !e.T2.IsZero() && f.T1.Sub(e.T2) >= d } // below zero, where T1 is unknown
	return gap(e, f) || gap(f, e)
}

var all = []Rule{
	quoteReplayed, akOnTwoChips, ekOnTwoChips, instanceOnTwoChips, piidOnTwoPPIDs, chipStaticChanged, chipInTwoPlaces, twoAKsForInstance, twoTPMsOnChassis,
	bootForked, tpmRewound, intervalInverted, collateralRegressed, entryNotReproducible,
}

// All returns every rule, in the order of docs/format.md.
func All() []Rule { return slices.Clone(all) }

// Lookup returns the rule of an id.
func Lookup(id string) (Rule, bool) {
	i := slices.IndexFunc(all, func(r Rule) bool { return r.ID == id })
	if i < 0 {
		return Rule{}, false
	}
	return all[i], true
}

// Compare runs every rule of two claims, under the default limits.
func Compare(e, f *Claim) []*Finding { return Limits{}.Compare(e, f) }

// Compare runs every rule of two claims. That something moved is found once. Claims of two realms
// are not compared.
func (l Limits) Compare(e, f *Claim) []*Finding {
	var found []*Finding
	moved := false
	for _, r := range all {
		finding := r.Run(e, f, l)
		if finding == nil || finding.Rule == Moved && moved {
			continue
		}
		if finding.Rule == Moved {
			moved = true
		}
		found = append(found, finding)
	}
	return found
}

// Run runs a rule of two claims. Claims of two realms, and a claim and itself, never contradict.
func (r *Rule) Run(e, f *Claim, l Limits) *Finding {
	if r.Check == nil || e.Entry.Realm != f.Entry.Realm || e.Origin == f.Origin && e.Index == f.Index {
		return nil
	}
	return r.Check(e, f, l)
}

// Judge runs every rule of one claim.
func Judge(c *Claim) []*Finding {
	var found []*Finding
	for _, r := range all {
		if r.Alone == nil {
			continue
		}
		if finding := r.Alone(c); finding != nil {
			found = append(found, finding)
		}
	}
	return found
}
