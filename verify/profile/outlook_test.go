package profile

import (
	"maps"
	"slices"
	"testing"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/attack"
	"github.com/poclog/poclog/verify"
)

// What Look says of an honest bundle is what a judge makes of it who lists everything: no second
// appraiser drifts away.
func TestAnOutlookIsWhatAJudgeMakesOfIt(t *testing.T) {
	for _, p := range profiles {
		w := attack.NewWorldOf(p.name)
		b := w.Honest()
		o, err := Look(p.name, b)
		if err != nil {
			t.Fatalf("%s: %v", p.name, err)
		}
		a, err := Appraise(judging(t, w, b))
		if err != nil {
			t.Fatalf("%s: %v", p.name, err)
		}
		if o.Level != int(a.Entry.Level) || len(o.Missing) > 0 {
			t.Errorf("%s: level %d, missing %v: a judge gives %d", p.name, o.Level, o.Missing, a.Entry.Level)
		}
		for _, c := range o.Checks {
			if passed := slices.Contains(a.Entry.Checks, string(c.Check)); passed && c.State != Carried || c.State == Refused {
				t.Errorf("%s: %+v: a judge passes it: %v", p.name, c, passed)
			}
			if absent := slices.Contains(a.Entry.Absent, string(c.Check)); absent && c.State == Carried && c.Why == "" {
				t.Errorf("%s: %s is carried without a judge, and absent", p.name, c.Check)
			}
		}
	}
}

// Whatever items are missing, Look says so, and makes nothing of what is not there.
func TestAnOutlookOfPartsNamesWhatIsMissing(t *testing.T) {
	for _, p := range profiles {
		whole := attack.NewWorldOf(p.name).Honest()
		items := whole.Items()
		for subset := range 1 << len(items) {
			b := new(poclog.Bundle)
			for i, item := range items {
				if subset>>i&1 == 1 {
					b.Set(item, whole.Get(item))
				}
			}
			if b.Has(poclog.ItemTPMPCRs) && !b.Has(poclog.ItemTPMQuote) {
				continue // values that nothing selects do not parse
			}
			o, err := Look(p.name, b)
			if err != nil {
				t.Fatalf("%s, %v: %v", p.name, b.Items(), err)
			}
			complete := true
			for _, item := range p.required {
				if !b.Has(item) {
					complete = false
					if !slices.Contains(o.Missing, item) {
						t.Errorf("%s, %v: missing %v", p.name, b.Items(), o.Missing)
					}
				}
			}
			if complete != (o.Level != LevelNone) {
				t.Errorf("%s, %v: level %d", p.name, b.Items(), o.Level)
			}
			for _, c := range o.Checks {
				if c.State == Lost && c.Why == "" || c.State == Refused {
					t.Errorf("%s, %v: %+v", p.name, b.Items(), c)
				}
				for _, item := range c.Lacks {
					if b.Has(item) && len(c.Lacks) == 1 {
						t.Errorf("%s, %v: %+v: it has it", p.name, b.Items(), c)
					}
				}
			}
		}
	}
}

// What Look refuses, a judge refuses: of every attack.
func TestAnOutlookRefusesWhatContradictsItself(t *testing.T) {
	refused := make(map[verify.Check]bool)
	for _, a := range attack.All() {
		w := a.NewWorld()
		b := a.Stage(w)
		name, err := Of(b)
		if err != nil {
			continue
		}
		o, err := Look(name, b)
		if err != nil {
			continue
		}
		_, judged := Appraise(judging(t, w, b))
		for _, c := range o.Checks {
			if c.State != Refused {
				continue
			}
			refused[c.Check] = true
			if judged == nil {
				t.Errorf("%s: %+v: a judge accepts it", a.ID(), c)
			}
		}
	}
	for _, c := range []verify.Check{verify.TEESignature, verify.TEENoDebug, verify.TPMSignature, verify.TPMPCRDigest, verify.BindAKInTEE, verify.BindTEEInTPM, verify.FreshChallenge} {
		if !refused[c] {
			t.Errorf("no attack is refused by %s: %v", c, slices.Sorted(maps.Keys(refused)))
		}
	}
}
