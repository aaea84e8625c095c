package profile_test

import (
	"crypto/sha256"
	"slices"
	"testing"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/attack"
	"github.com/poclog/poclog/internal/lab/chip"
	"github.com/poclog/poclog/internal/lab/gce"
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
	if in.Bundle, in.Collateral, in.Policy, err = w.Files(b); err != nil {
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

// A host that relays writes MROWNER as the cloud's hosts would. That it agrees with the AK
// certificate is no check of its own that a reader could take for a proof of place, and no source
// of place. The provider's register of chips is both.
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

// Whoever lists a bare-metal provider gives it a name. The names of the managed clouds are not
// among those that a reader can be fooled with.
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

// glued are bundles whose parts are not bound to each other: what a stranger can put together from
// public bundles, a chip of his own and a rented VM.
var glued = []struct {
	name    string
	profile poclog.Profile
	stage   func(w *attack.World) *poclog.Bundle
}{
	{"another's TPM evidence beside his own quote", poclog.GCETDXvTPM, func(w *attack.World) *poclog.Bundle {
		b := historical(w.Assemble(attack.Mix{}))
		b.Set(poclog.ItemTDXQuote, w.Cloud.Maker.NewPlatform("at home", nil).Quote(w.VM.TD([64]byte{1})))
		return b
	}},
	{"his TD names another's key, beside that TPM's published quote", poclog.GCETDXvTPM, func(w *attack.World) *poclog.Bundle {
		b := historical(w.Assemble(attack.Mix{}))
		b.Set(poclog.ItemTDXQuote, w.Cloud.Maker.NewPlatform("at home", nil).Quote(w.VM.TD(w.Challenge.ReportData(w.VM.TPM.Public))))
		return b
	}},
	{"his TPM quotes another's TD quote, without the key that it does not name", poclog.GCETDXvTPM, func(w *attack.World) *poclog.Bundle {
		w.VM.Config.NoPZID = true
		rented := w.NewVM(gce.VMConfig{})
		b := w.Assemble(attack.Mix{TPM: rented.TPM, AK: w.VM.TPM.Public})
		b.Set(poclog.ItemTPMAK, nil)
		return b
	}},
	{"a key that signs anything, which nothing shows to be restricted", poclog.AzureTDXvTPM, withoutAK},
	{"the same", poclog.AzureSNPvTPM, withoutAK},
	{"another's TPM quote beside a report that names its key", poclog.AzureTDXvTPM, otherSealed},
	{"the same", poclog.AzureSNPvTPM, otherSealed},
	{"another's TPM evidence beside his own quote", poclog.BareMetalTDXTPM, func(w *attack.World) *poclog.Bundle {
		nothing := sha256.Sum256(nil)
		return historical(w.Seal(attack.MetalMix{Sealed: nothing[:], AK: []byte("another's")}))
	}},
	{"his TD names another's key", poclog.BareMetalTDXTPM, func(w *attack.World) *poclog.Bundle {
		nothing := sha256.Sum256(nil)
		return historical(w.Seal(attack.MetalMix{Sealed: nothing[:]}))
	}},
	{"his TPM quotes another's TD quote", poclog.BareMetalTDXTPM, func(w *attack.World) *poclog.Bundle {
		return historical(w.Seal(attack.MetalMix{AK: []byte("another's")}))
	}},
}

func historical(b *poclog.Bundle) *poclog.Bundle {
	b.Set(poclog.ItemChallenge, nil)
	return b
}

func withoutAK(w *attack.World) *poclog.Bundle {
	b := w.Honest()
	b.Set(poclog.ItemTPMAK, nil)
	return b
}

func otherSealed(w *attack.World) *poclog.Bundle {
	nothing := sha256.Sum256(nil)
	return historical(w.Compose(attack.AzureMix{Sealed: nothing[:]}))
}

// An entry names only what is bound: of a bundle whose parts are not, the chip and its quote alone.
// The same evidence, bound, names all of it.
func TestEvidenceThatIsNotBoundNamesTheChipAlone(t *testing.T) {
	for _, g := range glued {
		t.Run(string(g.profile)+" "+g.name, func(t *testing.T) {
			w := attack.NewWorldOf(g.profile)
			w.Policy.Registries = nil
			w.Policy.Admit = []poclog.Admission{{Profile: g.profile, Level: poclog.LevelChip, Historical: true}}
			e := appraised(t, w, g.stage(w))
			if e.Level != poclog.LevelChip || e.Joined() || e.Chip() == "" {
				t.Errorf("level %d, joined %v, chip %q", e.Level, e.Joined(), e.Chip())
			}
			if len(e.Keys) > 0 || e.Instance != "" || e.Place != nil || e.TPM != nil || e.Boot != nil {
				t.Errorf("keys %v, instance %q, place %+v, TPM %+v, boot %v", e.Keys, e.Instance, e.Place, e.TPM, e.Boot)
			}
			for _, id := range e.Identities() {
				if !id.IsChip() && id.Kind() != poclog.IntelPIID && id.Kind() != poclog.QuoteKind {
					t.Errorf("it names %s", id)
				}
			}
			if leaf, err := e.Marshal(); err != nil {
				t.Error(err)
			} else if _, err := poclog.ParseEntry(leaf); err != nil {
				t.Error(err)
			}
		})
	}
}

// Historical evidence that is bound keeps what it has: its level is 0, and its place unproven.
func TestHistoricalEvidenceThatIsBoundKeepsItsNames(t *testing.T) {
	for _, p := range []poclog.Profile{poclog.GCETDXvTPM, poclog.AzureTDXvTPM, poclog.AzureSNPvTPM, poclog.BareMetalTDXTPM} {
		w := attack.NewWorldOf(p)
		w.Policy.Admit = []poclog.Admission{{Profile: p, Level: poclog.LevelChip, Historical: true}}
		e := appraised(t, w, historical(w.Honest()))
		if e.Level != poclog.LevelChip || !e.Joined() || len(e.Keys) == 0 || e.Place == nil || e.TPM == nil || e.Boot == nil {
			t.Errorf("%s: level %d, keys %v, place %+v, boot %v", p, e.Level, e.Keys, e.Place, e.Boot)
		}
		if got := e.ProvenPlace(); got.Provider.Value != "" || got.Zone.Value != "" {
			t.Errorf("%s: it proves %+v", p, got)
		}
	}
}
