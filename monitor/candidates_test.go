//go:build !race

package monitor

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/poclog/poclog/verify/rule"
)

// Whatever the rules say are candidates, the index's facets say, too: records leave nothing out
// that a rule looks at. Terms are numbered differently by the two logs.
func TestEveryCandidateOfTheRulesIsOneOfTheRecords(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	x := newIndex()
	ours, theirs := newTerms(), newTerms()
	for _, text := range []string{"south", "north-a", "ecc-p256"} {
		theirs.id([]byte(text))
	}
	here, there := newKeyer(x, ours, "l"), newKeyer(x, theirs, "l")
	pairs := make(map[string]int)
	for range 60_000 {
		e, f := randomEntry(r), randomEntry(r)
		if e.Realm != f.Realm {
			continue
		}
		one, two := rowOf(t, e, ours), rowOf(t, f, theirs)
		mine := candidates(here.facets(&one), there.facets(&two))
		c, d := &rule.Claim{Origin: "l", Index: 1, Entry: e}, &rule.Claim{Origin: "l", Index: 2, Entry: f}
		for _, rule := range rule.All() {
			if rule.Facets == nil || !shared(facetsOf(&rule, c), facetsOf(&rule, d)) {
				continue
			}
			if pairs[rule.ID]++; !mine {
				t.Fatalf("%s: the records of\n%+v\nand\n%+v\nare no candidates", rule.ID, e, f)
			}
		}
	}
	for _, rule := range rule.All() {
		if rule.Facets != nil && pairs[rule.ID] < 20 {
			t.Errorf("%s: %d candidates: the entries do not try it", rule.ID, pairs[rule.ID])
		}
	}
}

func shared(a, b []rule.Facet) bool {
	for _, x := range a {
		for _, y := range b {
			if slices.EqualFunc(x.Key[:], y.Key[:], bytes.Equal) && (x.Rank != y.Rank || !slices.EqualFunc(x.Value[:], y.Value[:], bytes.Equal)) {
				return true
			}
		}
	}
	return false
}

func facetsOf(r *rule.Rule, c *rule.Claim) (list []rule.Facet) {
	r.Facets(c.View(), func(f rule.Facet) { list = append(list, f) })
	return list
}

// candidates reports whether two rows' facets share a key and differ in its value.
func candidates(a, b []facet) bool {
	for _, x := range a {
		for _, y := range b {
			if x.key == y.key && x.value != y.value {
				return true
			}
		}
	}
	return false
}
