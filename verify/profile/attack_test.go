package profile

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/attack"
	"github.com/poclog/poclog/internal/vectors"
	"github.com/poclog/poclog/verify"
)

// An attackVector is an attack as files: each bundle, what judges it, and the check that refuses it
// or the rule that exposes it.
type attackVector struct {
	Desc       string    `json:"desc"`
	Bundles    [][]byte  `json:"bundles"` // base64
	Collateral []byte    `json:"collateral"`
	Policy     []byte    `json:"policy"`
	Appraised  time.Time `json:"appraised"`
	Expect     string    `json:"expect"` // a check; of attacks over time "rule: …"
}

const attackDir = "../../testdata/attacks"

func makeAttackVectors(t *testing.T) map[string]attackVector {
	t.Helper()
	all := make(map[string]attackVector)
	add := func(name, expect string, w *world, bundles ...*poclog.Bundle) {
		t.Helper()
		v := attackVector{Desc: attack.Describe(name), Appraised: labNow, Expect: expect}
		for _, b := range bundles {
			in := judging(t, w, b)
			v.Bundles, v.Collateral, v.Policy = append(v.Bundles, in.Bundle), in.Collateral, in.Policy
		}
		if v.Desc == "" {
			t.Errorf("%s: nobody says what the attacker does", name)
		}
		all[name] = v
	}
	for _, a := range attack.All() {
		w := a.NewWorld()
		add(a.ID(), string(a.Check), w, a.Stage(w))
	}
	for _, a := range attack.AllSeries() {
		w := a.NewWorld()
		add(a.ID(), "rule: "+a.Rule, w, a.Stage(w)...)
	}
	return all
}

func TestAttackVectors(t *testing.T) {
	if vectors.Updating() {
		vectors.Write(t, attackDir, makeAttackVectors(t))
	}
	vectors.Each(t, attackDir, func(t *testing.T, v attackVector) {
		for i, b := range v.Bundles {
			_, err := Appraise(Input{Bundle: b, Collateral: v.Collateral, Policy: v.Policy, Appraised: v.Appraised, Appraisal: poclog.Appraisal})
			if err := asExpected(v.Expect, err); err != nil {
				t.Errorf("%s: bundle %d: %v", v.Desc, i, err)
			}
		}
	})
}

// asExpected holds an appraisal to a vector. Of attacks over time every piece passes.
func asExpected(expect string, err error) error {
	check, refused := verify.CheckOf(err)
	switch {
	case len(expect) > 5 && expect[:5] == "rule:":
		if refused {
			return fmt.Errorf("refused: %w", err)
		}
		return nil
	case !refused:
		return errors.New("passes")
	case string(check) != expect:
		return fmt.Errorf("want %s: %w", expect, err)
	}
	return nil
}
