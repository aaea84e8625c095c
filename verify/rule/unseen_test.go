package rule_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify/rule"
)

// A log can publish an entry with anybody's key in it. Whoever did not see the evidence of both
// sides accuses nobody but a log of what it signed itself.
func TestWithoutEvidenceNobodyIsImplicated(t *testing.T) {
	pair := func(changes ...change) *rule.Finding {
		e, f := proof(poclog.GCETDXvTPM, 0), proof(poclog.GCETDXvTPM, hour)
		f.Index = 9
		for _, c := range changes {
			c(f)
		}
		found := rule.Compare(e, f)
		if len(found) != 1 {
			t.Fatalf("%d findings", len(found))
		}
		return found[0]
	}
	forked := pair(firmware("other"))
	if !slices.Equal(forked.Implicated, []string{string(akA)}) {
		t.Fatalf("%+v", forked)
	}
	before := *forked
	for _, c := range []struct {
		origins  []string
		withheld []string
	}{
		{[]string{"a.test"}, []string{"a.test"}},
		{[]string{"b.test", "a.test"}, []string{"a.test", "b.test"}},
		{[]string{"a.test", "a.test"}, []string{"a.test"}},
	} {
		got := forked.Unseen(c.origins...)
		if got.Severity != rule.Alert || got.Implicated != nil || !slices.Contains(got.Affected, akA) || !slices.IsSorted(got.Affected) || !slices.Equal(got.Withheld, c.withheld) {
			t.Errorf("%v: %+v", c.origins, got)
		}
		if got.Seen != forked.Seen || !strings.Contains(got.Meaning, strings.Join(c.withheld, " and ")) {
			t.Errorf("%q, %q", got.Seen, got.Meaning)
		}
		checkFinding(t, got)
	}
	if !reflect.DeepEqual(*forked, before) {
		t.Errorf("the finding itself was changed: %+v", forked)
	}
	if got := forked.Unseen(); got != forked {
		t.Errorf("with all evidence seen: %+v", got)
	}
	// Nobody is implicated by a place; without evidence it is no contradiction either.
	if got := pair(by(akB), zone("us-east1-b"), entry(func(e *poclog.Entry) { e.Instance = vm2 })).Unseen("a.test"); got.Severity != rule.Alert || got.Rule != "chip-in-two-places" {
		t.Errorf("%+v", got)
	}
	// A CA that is implicated is no identity.
	if got := pair(entry(func(e *poclog.Entry) { e.Chassis = []poclog.Identity{piidX, chipY} })).Unseen("a.test"); got.Rule != "piid-on-two-ppids" || got.Implicated != nil || got.Severity != rule.Alert {
		t.Errorf("%+v", got)
	}
}

func TestWhatALogSignedItselfNeedsNoEvidence(t *testing.T) {
	e, f := proof(poclog.GCETDXvTPM, 0), proof(poclog.GCETDXvTPM, hour)
	f.Index = 9
	evaluation(16)(f)
	for _, found := range rule.Compare(e, f) {
		if got := found.Unseen("a.test"); got != found || got.Severity != rule.Contradiction {
			t.Errorf("%+v", got)
		}
	}
	in(6, 0)(f)
	on(chipY)(f)
	f.Entry.Quote = quoteQ
	for _, found := range rule.Compare(e, f) {
		if found.Severity == rule.Information && found.Unseen("a.test") != found {
			t.Errorf("%+v", found)
		}
	}
}
