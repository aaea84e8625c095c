package rule_test

import (
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify/rule"
)

var noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

func at(d time.Duration) time.Time { return noon.Add(d) }

// claim is entry index of log a.test, made within a minute from d after noon, whose challenge has a
// size of the same log.
func claim(index, size uint64, d time.Duration) *rule.Claim {
	return &rule.Claim{
		Origin: "a.test", Index: index, T1: at(d), T2: at(d + time.Minute), Rooted: true,
		Entry: &poclog.Entry{Realm: poclog.Production, Fresh: &poclog.Fresh{Origin: "a.test", Size: size}, Appraised: at(d + 30*time.Second)},
	}
}

func TestOrderIsProvenByTheTreeOrByTime(t *testing.T) {
	for _, c := range []struct {
		name   string
		e, f   func(c *rule.Claim)
		before bool
	}{
		{"by the tree", nil, nil, true},
		{"the challenge's tree ends at e", nil, func(c *rule.Claim) { c.Entry.Fresh.Size = 5 }, false},
		{"a challenge of another log", nil, func(c *rule.Claim) { c.Entry.Fresh.Origin = "b.test" }, false},
		{"f stands in another log, and answers a challenge of e's", nil, func(c *rule.Claim) { c.Origin = "b.test" }, true},
		{"whose root may be of another history", nil, func(c *rule.Claim) { c.Rooted = false }, false},
		{"historical", nil, func(c *rule.Claim) { c.Entry.Fresh = nil }, false},
		{"by time", nil, func(c *rule.Claim) { c.Rooted, c.T1 = false, at(3*time.Minute) }, true},
		{"by less time than clocks may differ", nil, func(c *rule.Claim) { c.Rooted, c.T1 = false, at(2*time.Minute) }, false},
		{"nobody says when e was made", func(c *rule.Claim) { c.T2 = time.Time{} }, func(c *rule.Claim) { c.Rooted, c.T1 = false, at(time.Hour) }, false},
		{"nobody says when f was made", nil, func(c *rule.Claim) { c.Rooted, c.T1 = false, time.Time{} }, false},
	} {
		e, f := claim(5, 1, 0), claim(9, 6, time.Second)
		if c.e != nil {
			c.e(e)
		}
		if c.f != nil {
			c.f(f)
		}
		if got := rule.Before(e, f); got != c.before {
			t.Errorf("%s: before is %v", c.name, got)
		}
		if rule.Before(f, e) {
			t.Errorf("%s: both ways", c.name)
		}
	}
}

func TestRulesAreKnownByTheirIDs(t *testing.T) {
	want := []string{
		"quote-replayed", "ak-on-two-chips", "ek-on-two-chips", "instance-on-two-chips", "piid-on-two-ppids", "chip-static-changed", "chip-in-two-places",
		"two-aks-for-instance", "two-tpms-on-chassis", "boot-forked", "tpm-rewound", "interval-inverted", "collateral-regressed", "entry-not-reproducible",
	}
	all := rule.All()
	if len(all) != len(want) {
		t.Fatalf("%d rules", len(all))
	}
	for i, id := range want {
		if r, ok := rule.Lookup(id); !ok || all[i].ID != id || r.ID != id {
			t.Errorf("rule %d is %s", i, all[i].ID)
		}
	}
	if _, ok := rule.Lookup("moved"); ok {
		t.Error("a finding that is no rule has one")
	}
}
