package profile

import (
	"path"
	"strings"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/attack"
	"github.com/poclog/poclog/internal/lab/chip"
	"github.com/poclog/poclog/internal/vectors"
	"github.com/poclog/poclog/verify"
)

// An appraisalVector is everything that an appraisal is a function of, and the leaf that it gives.
type appraisalVector struct {
	Desc       string    `json:"desc"`
	Bundle     []byte    `json:"bundle"` // base64, as the other files
	Envelope   []byte    `json:"envelope,omitempty"`
	Collateral []byte    `json:"collateral,omitempty"`
	Policy     []byte    `json:"policy"`
	Appraised  time.Time `json:"appraised"`
	Appraisal  uint32    `json:"appraisal"`
	Expect     string    `json:"expect"` // the leaf, or the check that refuses
}

const appraisalDir = "../../testdata/appraisals"

func (v *appraisalVector) outcome(t *testing.T) string {
	t.Helper()
	a, err := Appraise(Input{
		Bundle: v.Bundle, Envelope: v.Envelope, Collateral: v.Collateral, Policy: v.Policy, Appraised: v.Appraised, Appraisal: v.Appraisal,
	})
	if check, refused := verify.CheckOf(err); refused {
		return string(check)
	}
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := a.Entry.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return string(leaf)
}

func makeAppraisalVectors(t *testing.T) map[string]appraisalVector {
	t.Helper()
	all := make(map[string]appraisalVector)
	add := func(name, desc string, w *world, b *poclog.Bundle) {
		in := judging(t, w, b)
		v := appraisalVector{Desc: desc, Bundle: in.Bundle, Collateral: in.Collateral, Policy: in.Policy, Appraised: in.Appraised, Appraisal: in.Appraisal}
		v.Expect = v.outcome(t)
		all[name] = v
	}
	admit := func(w *world, p poclog.Profile) {
		w.Policy.Admit = []poclog.Admission{{Profile: p, Level: poclog.LevelChip, Historical: true}}
	}
	for _, p := range poclog.Profiles() {
		w := attack.NewWorldOf(p)
		add(string(p), "an honest machine's evidence", w, w.Honest())
		w = attack.NewWorldOf(p)
		admit(w, p)
		b := w.Honest()
		b.Set(poclog.ItemChallenge, nil)
		add(string(p)+".historical", "without the challenge: historical, at level 0", w, b)
		w = attack.NewWorldOf(p)
		admit(w, p)
		in := judging(t, w, w.Honest())
		bare := appraisalVector{Desc: "without collateral: what it would show is absent", Bundle: in.Bundle, Policy: in.Policy, Appraised: in.Appraised, Appraisal: in.Appraisal}
		bare.Expect = bare.outcome(t)
		all[string(p)+".no-collateral"] = bare
	}
	for _, p := range []poclog.Profile{poclog.GCETDXvTPM, poclog.BareMetalTDXTPM} {
		w, b := endorsedWorld(p)
		add(string(p)+".endorsed", "a registry and an owner vouch for the machine", w, b)
	}
	w := attack.NewWorld()
	w.Publish(chip.CollateralOptions{})
	w.Collateral = without(w.Collateral, poclog.ChipRegistry)
	add("gce-tdx-vtpm.registry-silent", "the provider's registry gave no answer", w, w.Honest())
	w = attack.NewWorld()
	admit(w, poclog.GCETDXvTPM)
	b := w.Honest()
	b.Set(poclog.ItemTCGLog, nil)
	add("gce-tdx-vtpm.no-tcg-log", "without the TPM's event log: level 0, and still joined", w, b)
	w = attack.NewWorld()
	admit(w, poclog.GCETDXvTPM)
	b = w.Assemble(attack.Mix{AK: make([]byte, 100)})
	b.Set(poclog.ItemChallenge, nil)
	add("gce-tdx-vtpm.not-joined", "a TEE that names another AK, historical: the entry names the chip alone", w, b)
	published, keys := publishing(t)
	in := judging(t, published, published.Honest())
	v := appraisalVector{
		Desc: "two publishers signed the submission", Bundle: in.Bundle, Envelope: seal(t, in.Bundle, keys[0], keys[1]),
		Collateral: in.Collateral, Policy: in.Policy, Appraised: in.Appraised, Appraisal: in.Appraisal,
	}
	v.Expect = v.outcome(t)
	all["gce-tdx-vtpm.published"] = v
	v.Desc, v.Envelope = "nobody signed, where the policy lists publishers", nil
	v.Expect = v.outcome(t)
	all["gce-tdx-vtpm.unpublished"] = v
	return all
}

// TestAppraisalVectors holds an appraisal to its result, byte for byte: from bundle, envelope,
// collateral, policy and time to the leaf.
func TestAppraisalVectors(t *testing.T) {
	if vectors.Updating() {
		vectors.Write(t, appraisalDir, makeAppraisalVectors(t))
	}
	levels := make(map[poclog.Profile]map[int]bool)
	vectors.Each(t, appraisalDir, func(t *testing.T, v appraisalVector) {
		if got := v.outcome(t); got != v.Expect {
			t.Errorf("%s: %s, want %s", v.Desc, got, v.Expect)
		}
		name := strings.TrimSuffix(path.Base(t.Name()), ".json")
		if e, err := poclog.ParseEntry([]byte(v.Expect)); err == nil {
			if levels[e.Profile] == nil {
				levels[e.Profile] = make(map[int]bool)
			}
			levels[e.Profile][int(e.Level)] = true
			if !strings.HasPrefix(name, string(e.Profile)) {
				t.Errorf("%s is of profile %s", name, e.Profile)
			}
		}
	})
	for _, p := range poclog.Profiles() {
		if !levels[p][poclog.LevelChip] || p != poclog.TDX && p != poclog.SNP && !levels[p][poclog.LevelBound] {
			t.Errorf("%s: no vector of each of its levels: %v", p, levels[p])
		}
	}
}
