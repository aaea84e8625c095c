package profile

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/attack"
	"github.com/poclog/poclog/internal/lab/azure"
	"github.com/poclog/poclog/internal/lab/chip"
	"github.com/poclog/poclog/internal/realdata/amddata"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/tpm"
)

var azureProfiles = []poclog.Profile{poclog.AzureTDXvTPM, poclog.AzureSNPvTPM}

func TestHonestAzureVMIsBoundToItsProvider(t *testing.T) {
	for _, p := range azureProfiles {
		w := attack.NewWorldOf(p)
		a, err := Appraise(judging(t, w, w.Honest()))
		if err != nil {
			t.Fatal(err)
		}
		e := &a.Entry
		if e.Profile != p || e.Level != poclog.LevelBound || !slices.Equal(e.Absent, []string{"bind.pcr-rtmr", "place.certificate", "place.registry"}) || e.CVM.EndorsedBy != "policy" {
			t.Errorf("%s: level %d, absent %v, endorsed by %q", p, e.Level, e.Absent, e.CVM.EndorsedBy)
		}
		if len(e.Keys) != 2 || e.Instance != poclog.Identity("azure:vm:"+w.AzureVM.ID) || e.Chip() == "" || e.Fresh == nil {
			t.Errorf("%s: keys %v, instance %s, chip %s, fresh %v", p, e.Keys, e.Instance, e.Chip(), e.Fresh)
		}
		if pl := e.Place; pl == nil || pl.Provider.Value != "azure" || pl.Region.Value != w.Azure.Regions[0] || !slices.Equal(pl.Region.By, []string{"aia-hint"}) {
			t.Errorf("%s: place %+v", p, pl)
		}
		if leaf, err := e.Marshal(); err != nil {
			t.Error(err)
		} else if back, err := poclog.ParseEntry(leaf); err != nil || back.Chip() != e.Chip() {
			t.Errorf("%s: entry of %d bytes: %v", p, len(leaf), err)
		}
	}
}

// Honest VMs pass on every line of processors, with reports and quotes of every version, masked
// chips, and a cloud's key.
func TestHonestAzureFleetPasses(t *testing.T) {
	w := attack.NewWorldOf(poclog.AzureSNPvTPM)
	w.Azure = azure.New("azure fleet", labNow.AddDate(-1, 0, 0), azure.Products...)
	w.Azure.Advance(labNow.Sub(w.Azure.Now))
	w.Policy = w.Azure.Policy(w.Policy.ChallengePolicy)
	w.Collateral = w.Azure.Collateral(chip.CollateralOptions{At: labNow.AddDate(0, 0, -3)})
	known, n := NewKnown(), 0
	for i, product := range append([]string{""}, azure.Products...) {
		hosts := []*azure.Host{w.Azure.NewHost(w.Azure.Regions[0], product), w.Azure.NewHost(w.Azure.Regions[1], product)}
		vm := hosts[0].NewVM(azure.VMConfig{})
		for version := 2; version <= 5; version++ {
			for _, how := range []string{"", "masked", "a cloud's key", "moved"} {
				if product == "" && (version < 4 || how == "masked" || how == "a cloud's key") {
					continue
				}
				vm.Config = azure.VMConfig{Image: w.Azure.Images[version%2], Version: version, Masked: how == "masked"}
				if how == "a cloud's key" {
					vm.Config.Loaded = w.Azure.AMD[product].NewCloudKey("Azure", [8]byte{})
				}
				if how == "moved" {
					vm.Move(hosts[1])
				}
				ch := *w.Challenge
				ch.Profile = azureProfiles[min(i, 1)]
				ch.Salt = poclog.Sum(fmt.Appendf(nil, "%d", n))
				b, err := vm.Prove(&ch)
				if err != nil {
					t.Fatal(err)
				}
				in := judging(t, w, b)
				in.Known = known
				a, err := Appraise(in)
				if err != nil || a.Entry.Level != poclog.LevelBound {
					t.Errorf("%q, version %d, %s: %v", product, version, how, err)
				} else if how == "a cloud's key" && !slices.Equal(a.Entry.Place.Provider.By, []string{"ak-certificate", "vlek"}) {
					t.Errorf("%q, %s: place %+v", product, how, a.Entry.Place)
				}
				n++
			}
		}
	}
	t.Logf("%d honest proofs", n)
}

// What names VM and EK is the paravisor's word: of firmware that nobody vouches for the entry takes
// neither, or a stranger could put another's names beside his own chip.
func TestNamesByUnknownFirmwareEnterNoEntry(t *testing.T) {
	for _, p := range azureProfiles {
		w := attack.NewWorldOf(p)
		victim := w.AzureVM
		w.Policy.Admit = []poclog.Admission{{Profile: p, Level: poclog.LevelChip}}
		w.Policy.Launch = nil
		stranger := w.Azure.NewHost(w.Azure.Regions[0], map[poclog.Profile]string{poclog.AzureSNPvTPM: "Milan"}[p]).NewVM(azure.VMConfig{})
		w.AzureVM = stranger
		a, err := Appraise(judging(t, w, w.Compose(attack.AzureMix{Claims: func(c *azure.Claims) { c.EK, c.VMID = victim.EK, victim.ID }})))
		if err != nil {
			t.Fatal(err)
		}
		if e := &a.Entry; e.Level != poclog.LevelChip || e.Instance != "" || len(e.Keys) != 1 || e.Keys[0].Kind() != poclog.TPMAK {
			t.Errorf("%s: level %d, instance %q, keys %v", p, e.Level, e.Instance, e.Keys)
		}
	}
}

func TestWhatAnAzureVMLacksIsNamed(t *testing.T) {
	for name, c := range map[string]struct {
		change func(w *world, b *poclog.Bundle)
		check  verify.Check
	}{
		"without collateral":           {func(w *world, _ *poclog.Bundle) { w.Collateral = new(poclog.Collateral) }, verify.TEERevocation},
		"an unlisted measurement":      {func(w *world, _ *poclog.Bundle) { w.Policy.Launch = nil }, verify.TEELaunch},
		"no challenge":                 {func(_ *world, b *poclog.Bundle) { b.Set(poclog.ItemChallenge, nil) }, verify.FreshChallenge},
		"no TPMT_PUBLIC":               {func(_ *world, b *poclog.Bundle) { b.Set(poclog.ItemTPMAK, nil) }, verify.TPMAKTemplate},
		"no AK certificate":            {func(_ *world, b *poclog.Bundle) { b.Set(poclog.ItemTPMAKChain, nil) }, verify.Profile},
		"no root of the provider's":    {func(w *world, _ *poclog.Bundle) { w.Policy.Roots = withoutUse(w.Policy.Roots, poclog.RootAzureAK) }, verify.TPMAKChain},
		"an event log, which is no TD": {func(_ *world, b *poclog.Bundle) { b.Set(poclog.ItemCCEL, []byte("x")) }, verify.Profile},
	} {
		for _, p := range azureProfiles {
			w := attack.NewWorldOf(p)
			b := w.Honest()
			c.change(w, b)
			_, err := Appraise(judging(t, w, b))
			wantCheck(t, string(p)+", "+name, err, c.check)
		}
	}
	w := attack.NewWorldOf(poclog.AzureSNPvTPM)
	b := w.Honest()
	w.Policy.SNPTCB = nil
	_, err := Appraise(judging(t, w, b))
	wantCheck(t, "a policy that says nothing of firmware", err, verify.TEETCB)
	w.Policy.Roots = withoutUse(w.Policy.Roots, poclog.RootAMDARK)
	_, err = Appraise(judging(t, w, b))
	wantCheck(t, "a policy without AMD's roots", err, verify.TEEChain)
}

func withoutUse(roots []poclog.Root, use poclog.RootUse) []poclog.Root {
	return slices.DeleteFunc(slices.Clone(roots), func(r poclog.Root) bool { return r.Use == use })
}

// freelyWritten says of each byte of an HCL report why nothing protects it, or "" where something
// does.
func freelyWritten(p poclog.Profile, offset int) string {
	const hardware, fields = 32, 32 + 1184
	switch {
	case offset >= 4 && offset < hardware:
		return "header of the HCL report: nobody signs it, and nothing is read from it"
	case offset >= fields && offset < fields+8:
		return "data size and version of the HCL report: nothing is read from them"
	case p == poclog.AzureSNPvTPM:
		return ""
	case offset >= hardware && offset < hardware+32, offset >= hardware+192 && offset < hardware+256:
		return "REPORTMACSTRUCT's type, CPUSVN, reserved bytes and MAC: only the chip itself can check them"
	case offset >= hardware+256+239 && offset < hardware+512:
		return "reserved bytes of the TDREPORT"
	case offset >= hardware+1024 && offset < fields:
		return "room for a longer report"
	}
	return ""
}

func TestEveryByteOfAnSNPOrAzureBundleIsProtectedOrListed(t *testing.T) {
	for _, p := range []poclog.Profile{poclog.AzureTDXvTPM, poclog.AzureSNPvTPM, poclog.SNP} {
		t.Run(string(p), func(t *testing.T) {
			t.Parallel()
			w := attack.NewWorldOf(p)
			everyByte(t, w, w.Honest(), func(item poclog.Item, offset int) (why string, all bool) {
				if item == poclog.ItemHCLReport {
					why = freelyWritten(p, offset)
				}
				return why, why != ""
			})
		})
	}
}

// The one real report that comes with go-sev-guest verifies under snp up to its policy: the guest
// ran under debug, which its host could read.
func TestRealSNPReportIsAGenuineChips(t *testing.T) {
	in := judgement(t, amddata.Bundle(), nil, amddata.Time)
	_, err := Appraise(in)
	wantCheck(t, "a real report of a guest under debug", err, verify.TEENoDebug)
	a, err := appraise(in, map[verify.Check]bool{verify.TEENoDebug: true})
	if err != nil {
		t.Fatal(err)
	}
	e := &a.Entry
	if e.Level != poclog.LevelChip || e.Realm != poclog.Production || e.CVM.SNP == nil || e.CVM.SNP.Product != "Milan" || e.CVM.SNP.Signer != "vcek" || len(e.Chassis) != 1 ||
		!slices.Equal(e.Checks, []string{"tee.signature", "tee.chain", "tee.no-debug"}) {
		t.Errorf("level %d, %+v, chassis %v, checks %v", e.Level, e.CVM.SNP, e.Chassis, e.Checks)
	}
	in.Appraised = amddata.Time.AddDate(-3, 0, 0)
	_, err = Appraise(in)
	wantCheck(t, "the same before its certificate", err, verify.TEEChain)
}

// An HCL report is of one kind: what says that it is AMD's holds no TDREPORT.
func TestHCLReportIsOfItsTEEsKind(t *testing.T) {
	for p, other := range map[poclog.Profile]byte{poclog.AzureTDXvTPM: tpm.HCLTypeSNP, poclog.AzureSNPvTPM: tpm.HCLTypeTDX} {
		w := attack.NewWorldOf(p)
		b := w.Honest()
		hcl := bytes.Clone(b.Get(poclog.ItemHCLReport))
		hcl[32+1184+8] = other
		b.Set(poclog.ItemHCLReport, hcl)
		_, err := Appraise(judging(t, w, b))
		wantCheck(t, string(p), err, verify.BindAKInTEE)
	}
}
