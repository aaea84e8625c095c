package rule

import (
	"fmt"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
)

// intervalInverted: a log publishes evidence that its own witnesses say was made after it was
// logged, or that it says it judged before it was made or after it was logged. It backdates, or
// signs for entries that it does not have yet.
//
// Honest operation: t1 ≤ appraised ≤ t2, and clocks of logs and witnesses differ by less than
// [verify.MaxSkew]. A presenter can only make t2 later, which widens the interval. Historical
// evidence has no interval.
//
// Implicated: the log. Affected: nobody. Severity: contradiction.
var intervalInverted = Rule{
	ID: "interval-inverted",
	Alone: func(c *Claim) *Finding {
		if c.Entry.Fresh == nil {
			return nil
		}
		at, seen := c.Entry.Appraised, ""
		switch { // a T1 that is unknown, zero, is before all
		case !c.T2.IsZero() && c.T1.After(c.T2.Add(verify.MaxSkew)):
			seen = fmt.Sprintf("it answers a challenge of %s, and was in the log by %s", verify.Stamp(c.T1), verify.Stamp(c.T2))
		case at.Add(verify.MaxSkew).Before(c.T1):
			seen = fmt.Sprintf("the log says that it judged it at %s, and it answers a challenge of %s", verify.Stamp(at), verify.Stamp(c.T1))
		case !c.T2.IsZero() && at.After(c.T2.Add(verify.MaxSkew)):
			seen = fmt.Sprintf("it was in the log by %s, which says that it judged it at %s", verify.Stamp(c.T2), verify.Stamp(at))
		default:
			return nil
		}
		return &Finding{
			Rule: "interval-inverted", Severity: Contradiction, Implicated: []string{"log:" + c.Origin},
			Seen:    fmt.Sprintf("Entry %d of %s is out of its time: %s.", c.Index, c.Origin, seen),
			Meaning: "The log misstates when it judged evidence, or had its tree signed for entries that came later.",
		}
	},
}

// collateralRegressed: a log judges a platform by older collateral than before, so that a known
// hole passes.
//
// Honest operation: a log judges fresh evidence by the newest collateral that it knows. Two
// admissions at once may know different ones, so that only what the log says it judged over
// [verify.MaxSkew] later counts. Historical evidence brings its own collateral. Other logs may know
// other collateral.
//
// Implicated: the log. Affected: the chip whose standing is too good. Severity: contradiction:
// docs/format.md §11 says what a log promises.
var collateralRegressed = Rule{
	ID: "collateral-regressed",
	Facets: func(v *View, put func(Facet)) {
		if v.Fresh && len(v.Family) > 0 {
			put(Facet{Key: [3][]byte{v.Origin, v.Family}, Rank: v.Evaluation})
		}
	},
	Rising:   true,
	ByNumber: true,
	Check: func(e, f *Claim, _ Limits) *Finding {
		e, f = ordered(e, f)
		if e.Origin != f.Origin || !sameFamily(e.Entry, f.Entry) {
			return nil
		}
		was, is := e.Entry.CVM.TCB.Evaluation, f.Entry.CVM.TCB.Evaluation
		if is >= was || !f.Entry.Appraised.After(e.Entry.Appraised.Add(verify.MaxSkew)) {
			return nil
		}
		return &Finding{
			Rule: "collateral-regressed", Severity: Contradiction, Implicated: []string{"log:" + e.Origin}, Affected: ids(f.Entry.Chip()),
			Seen: fmt.Sprintf("%s judged %s by evaluation %d in entry %d, and by evaluation %d in entry %d, %s later.", e.Origin, family(e.Entry), was,
				e.Index, is, f.Index, f.Entry.Appraised.Sub(e.Entry.Appraised)),
			Meaning: "The log forgot or withheld what the chip maker had published: a platform with a known hole may have passed.",
		}
	},
}

func sameFamily(e, f *poclog.Entry) bool {
	return e.Fresh != nil && f.Fresh != nil && e.CVM.TCB != nil && f.CVM.TCB != nil && len(e.CVM.FMSPC) > 0 && family(e) == family(f)
}

// family names the platforms for which one piece of collateral is: those of an FMSPC. A laboratory
// may have several makers of chips, each with numbers of its own: there it is one chip.
func family(e *poclog.Entry) string {
	if e.Realm == poclog.Production {
		return "FMSPC " + hexOf(e.CVM.FMSPC)
	}
	return string(e.Chip())
}

// entryNotReproducible: a log publishes an entry that its own evidence does not give. Whoever has
// the evidence repeats the appraisal: [NotReproducible] makes the finding.
//
// Honest operation: an appraisal is a function of bundle, collateral, policy, time and number of
// the specification, all of which the entry names. Evidence of another digest, and specifications
// that the judge does not know, show nothing.
//
// Implicated: the log. Affected: whoever the entry speaks of. Severity: contradiction.
var entryNotReproducible = Rule{ID: "entry-not-reproducible"}

// NotReproducible is the finding that an entry's evidence does not give it. The entry is nil if its
// leaf is malformed, which no evidence gives.
func NotReproducible(origin string, index uint64, e *poclog.Entry, why string) *Finding {
	f := &Finding{
		Rule: entryNotReproducible.ID, Severity: Contradiction, Implicated: []string{"log:" + origin},
		Seen:    fmt.Sprintf("Entry %d of %s is not what its evidence gives: %s.", index, origin, why),
		Meaning: "The log published what it did not appraise, or changed it.",
	}
	if e != nil {
		f.Subject, f.Affected = e.Quote, ids(e.Identities()...)
	}
	return f
}
