//go:build !race

package monitor

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/poclog/poclog/verify/rule"
)

// What records decide is what the rules say of the entries, whatever else is true of them: when
// they were made, within what the log may say of it, and whether their challenges hold.
func TestWhatRecordsDecideIsWhatTheRulesSay(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	x := newIndex()
	tails := []*tail{{l: &logState{origin: "a"}, terms: newTerms()}, {l: &logState{origin: "b"}, terms: newTerms()}}
	tails[1].terms.id([]byte("south"))
	for _, t := range tails {
		t.keyer = newKeyer(x, t.terms, t.l.origin)
	}
	decided, moved, asked := 0, 0, 0
	for range 40_000 {
		var sides [2]recorded
		var claims [2]*rule.Claim
		for i := range sides {
			e := randomEntry(r)
			e.Appraised = e.Appraised.Add(time.Duration(r.IntN(3)) * time.Hour)
			row, of := rowOf(t, e, tails[0].terms), tails[0]
			if r.IntN(2) == 0 {
				row, of = rowOf(t, e, tails[1].terms), tails[1]
			}
			sides[i] = recorded{of, uint64(10*i + r.IntN(10)), &row}
			claims[i] = &rule.Claim{Origin: of.l.origin, Index: sides[i].index, Entry: e}
		}
		got, ok := byRecords(rule.Limits{}, sides[0], sides[1])
		if !ok {
			asked++
			continue
		}
		decided++
		if len(got) > 0 {
			moved++
		}
		for range 10 {
			for _, c := range claims {
				timed(r, c)
			}
			if want := rule.Compare(claims[0], claims[1]); told(got) != told(want) {
				t.Fatalf("%+v\n%+v\nby records: %s\nby entries: %s", claims[0], claims[1], told(got), told(want))
			}
		}
	}
	if decided < 5000 || moved < 500 || asked < 500 {
		t.Errorf("%d decided, %d of them moved, %d not: the entries do not try it", decided, moved, asked)
	}
}

// timed gives a claim times that its log's own time allows: t1 - 60 s <= appraised <= t2 + 60 s, or
// none.
func timed(r *rand.Rand, c *rule.Claim) {
	c.T1, c.T2, c.Rooted = time.Time{}, time.Time{}, false
	late := func() time.Duration { return time.Duration(r.IntN(pick(r, 4*3600, 20))-60) * time.Second }
	if c.Entry.Fresh != nil {
		c.Rooted = r.IntN(2) == 0
		if r.IntN(4) > 0 {
			c.T1 = c.Entry.Appraised.Add(-late())
		}
	}
	if r.IntN(4) > 0 {
		c.T2 = c.Entry.Appraised.Add(late())
	}
}

func told(found []*rule.Finding) (s string) {
	for _, f := range found {
		s += fmt.Sprintln(f.Rule, f.Severity, f.Subject, f.Seen, f.Implicated, len(f.Affected))
	}
	return s
}
