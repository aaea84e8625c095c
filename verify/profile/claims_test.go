package profile_test

import (
	"slices"
	"testing"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/attack"
	"github.com/poclog/poclog/internal/lab/chip"
	"github.com/poclog/poclog/internal/lab/metal"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/profile"
	"github.com/poclog/poclog/verify/receipt"
)

// appraised is the entry of a world's bundle, judged now. The world's policy has to admit it.
func appraised(t *testing.T, w *attack.World, b *poclog.Bundle) *poclog.Entry {
	t.Helper()
	in := profile.Input{Appraised: attack.Now, Appraisal: poclog.Appraisal}
	var err error
	if in.Bundle, err = b.Marshal(); err != nil {
		t.Fatal(err)
	}
	if in.Collateral, err = w.Collateral.Marshal(); err != nil {
		t.Fatal(err)
	}
	if in.Policy, err = w.Policy.Marshal(); err != nil {
		t.Fatal(err)
	}
	a, err := profile.Appraise(in)
	if err != nil {
		t.Fatal(err)
	}
	return &a.Entry
}

// unmet holds that an entry does not meet a demand.
func unmet(t *testing.T, what string, e *poclog.Entry, d receipt.Demands) {
	t.Helper()
	d.UnsafeRealm = poclog.Lab
	err := d.CheckEntry(e)
	if err == nil {
		t.Errorf("%s: an entry of level %d with place %+v meets %+v", what, e.Level, e.Place, d)
		return
	}
	t.Logf("%s: %v", what, err)
}

// A host that relays writes MROWNER as the cloud's hosts would. That it agrees with the AK certificate is no check of its own that a reader
// could take for a proof of place, and no source of place. The provider's register of chips is both.
func TestMROWNERProvesNothing(t *testing.T) {
	w := attack.NewWorld()
	w.Policy.Registries = nil
	e := appraised(t, w, w.Assemble(attack.Mix{Chip: w.Cloud.Maker.NewPlatform("at home", nil), TD: func(td *chip.TD) {
		td.MROwner = w.VM.TPM.Instance.PZID()
	}}))
	for _, c := range []poclog.Claim{e.Place.Provider, e.Place.Region, e.Place.Zone} {
		if !slices.Equal(c.By, []string{poclog.ByAKCertificate}) {
			t.Errorf("%s is authenticated by %v", c.Value, c.By)
		}
	}
	unmet(t, "a relay without a register", e, receipt.Demands{Require: []string{string(verify.PlaceRegistry)}})
	unmet(t, "a check of MROWNER", e, receipt.Demands{Require: []string{"bind.instance"}})
	if slices.Contains(verify.Checks(), "bind.instance") {
		t.Error("MROWNER has a check of its own")
	}
	e.Place.Zone.By = []string{"pzid"}
	unmet(t, "a zone by MROWNER alone", e, receipt.Demands{Place: "gce/" + attack.Zone})
}

// Whoever lists a bare-metal provider gives it a name. The names of the managed clouds are not among those that a reader can be fooled with.
func TestNamesakesOfManagedCloudsPlaceNothing(t *testing.T) {
	for _, name := range []string{poclog.ProviderGCE, poclog.ProviderAzure, "a-garage"} {
		w := attack.NewWorldOf(poclog.BareMetalTDXTPM)
		w.Metal = metal.New("a garage", name, attack.Now.AddDate(-1, 0, 0), w.Cloud.Maker)
		w.Policy = w.Metal.Policy(w.Policy.ChallengePolicy, attack.RegistryURL)
		w.Machine = w.List(w.Metal.NewMachine("us-central1-a", true))
		e := appraised(t, w, w.Honest())
		d := receipt.Demands{Place: name + "/us-central1-a", Require: []string{string(verify.PlaceRegistry)}}
		if name == "a-garage" {
			d.UnsafeRealm = poclog.Lab
			if err := d.CheckEntry(e); err != nil || e.ProvenPlace().Zone.Value != "us-central1-a" {
				t.Errorf("%s: %v, place %+v", name, err, e.ProvenPlace())
			}
			continue
		}
		unmet(t, name, e, d)
		if p := e.ProvenPlace(); p.Provider.Value != "" || p.Zone.Value != "" {
			t.Errorf("a machine of a garage's stands in %+v", p)
		}
	}
}
