package profile

import (
	"bytes"
	"slices"
	"testing"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/attack"
	"github.com/poclog/poclog/internal/lab/chip"
	"github.com/poclog/poclog/internal/lab/metal"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/tpm"
)

func newMetalWorld(t testing.TB) *world { t.Helper(); return attack.NewWorldOf(poclog.BareMetalTDXTPM) }

func TestHonestMachineIsBoundToItsPlace(t *testing.T) {
	w := newMetalWorld(t)
	a, err := Appraise(judging(t, w, w.Honest()))
	if err != nil {
		t.Fatal(err)
	}
	e := &a.Entry
	if e.Level != poclog.LevelBound || !slices.Equal(e.Absent, []string{"bind.pcr-rtmr"}) || e.CVM.EndorsedBy != "policy" || e.Instance != "" {
		t.Errorf("level %d, absent %v, endorsed by %q, instance %q", e.Level, e.Absent, e.CVM.EndorsedBy, e.Instance)
	}
	ek, err := poclog.KeyIdentity(poclog.TPMEK, w.Machine.TPM.EK)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(e.Chassis, ek) || len(e.Chassis) != 3 || len(e.Keys) != 1 || e.Keys[0].Kind() != poclog.TPMAK {
		t.Errorf("chassis %v, keys %v: want the EK with the chassis", e.Chassis, e.Keys)
	}
	p := e.Place
	if p == nil || p.Provider.Value != attack.MetalName || p.Region.Value != "lab-north1" || p.Zone.Value != attack.Zone || !slices.Equal(p.Zone.By, []string{"ak-certificate", "log-observed"}) {
		t.Errorf("place %+v", p)
	}
	if a.Notes[verify.BindTXT] != `launched "td-host 1.0"` {
		t.Errorf("note %q", a.Notes[verify.BindTXT])
	}
	leaf, err := e.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if back, err := poclog.ParseEntry(leaf); err != nil || back.Chip() != w.Machine.Place.Chip {
		t.Errorf("entry of %d bytes: %v", len(leaf), err)
	}
}

// What stands in no certificate is absent, and the entry says so: level 2 does not depend on it.
func TestMachineWhoseChipNobodyNamesIsBoundByItsLaunchAlone(t *testing.T) {
	w := newMetalWorld(t)
	w.Policy.Registries = nil
	w.Machine = w.NewMachine(false)
	a, err := Appraise(judging(t, w, w.Honest()))
	if err != nil || a.Entry.Level != poclog.LevelBound || !slices.Equal(a.Entry.Absent, []string{"bind.pcr-rtmr", "bind.chassis", "place.registry"}) {
		t.Errorf("%v, absent %v", err, a)
	}
}

func TestWithoutLogsAMachineIsBoundAlike(t *testing.T) {
	w := newMetalWorld(t)
	for _, items := range [][]poclog.Item{{poclog.ItemTCGLog}, {poclog.ItemCCEL}, {poclog.ItemTCGLog, poclog.ItemCCEL}} {
		b := w.Honest()
		for _, item := range items {
			b.Set(item, nil)
		}
		a, err := Appraise(judging(t, w, b))
		if err != nil || a.Entry.Level != poclog.LevelBound {
			t.Errorf("without %v: %v", items, err)
		}
	}
}

func TestWhatAMachineLacksIsNamed(t *testing.T) {
	for name, c := range map[string]struct {
		change func(w *world, b *poclog.Bundle)
		check  verify.Check
	}{
		"without collateral":                 {func(w *world, _ *poclog.Bundle) { w.Collateral = new(poclog.Collateral) }, verify.TEERevocation},
		"an unlisted MRTD":                   {func(w *world, _ *poclog.Bundle) { w.Policy.Launch = nil }, verify.TEELaunch},
		"no challenge":                       {func(_ *world, b *poclog.Bundle) { b.Set(poclog.ItemChallenge, nil) }, verify.FreshChallenge},
		"no TPMT_PUBLIC":                     {func(_ *world, b *poclog.Bundle) { b.Set(poclog.ItemTPMAK, nil) }, verify.Profile},
		"no AK certificate":                  {func(_ *world, b *poclog.Bundle) { b.Set(poclog.ItemTPMAKChain, nil) }, verify.Profile},
		"no EK certificate":                  {func(_ *world, b *poclog.Bundle) { b.Set(poclog.ItemTPMEKChain, nil) }, verify.TPMAKChain}, // a managed VM's, by its items
		"no listed launch":                   {func(w *world, _ *poclog.Bundle) { w.Policy.TXT = nil }, verify.BindTXT},
		"no provider's root":                 {func(w *world, _ *poclog.Bundle) { w.Policy.Roots = slices.Delete(w.Policy.Roots, 1, 2) }, verify.TPMAKChain},
		"no TPM maker's root":                {func(w *world, _ *poclog.Bundle) { w.Policy.Roots = slices.Delete(w.Policy.Roots, 2, 3) }, verify.TPMAKChain},
		"a root without its provider's name": {func(w *world, _ *poclog.Bundle) { w.Policy.Roots[1].Name = "Lab Metal, Inc." }, verify.Policy},
		"another provider's root":            {func(w *world, _ *poclog.Bundle) { w.Policy.Roots[1].Name = "better-metal" }, verify.PlaceCert},
		"an HCL report":                      {func(_ *world, b *poclog.Bundle) { b.Set(poclog.ItemHCLReport, []byte("HCLA")) }, verify.Profile},
	} {
		w := newMetalWorld(t)
		b := w.Honest()
		c.change(w, b)
		_, err := Appraise(judging(t, w, b))
		wantCheck(t, name, err, c.check)
	}
}

// An AK certificate says what it must, once and in its one form.
func TestAKCertificateNamesItsMachineInOneForm(t *testing.T) {
	for name, c := range map[string]struct {
		change func(p *tpm.Platform)
		check  verify.Check
	}{
		"another EK":    {func(p *tpm.Platform) { p.EK[0] ^= 1 }, verify.TPMAKChain},
		"no provider":   {func(p *tpm.Platform) { p.Provider = "" }, verify.PlaceCert},
		"no zone":       {func(p *tpm.Platform) { p.Zone = "" }, verify.PlaceCert},
		"a fourth part": {func(p *tpm.Platform) { p.Zone += ":x" }, verify.PlaceCert},
		"upper case":    {func(p *tpm.Platform) { p.Region = "Lab" }, verify.PlaceCert},
		"a chip of AMD's": {func(p *tpm.Platform) {
			p.Chip = poclog.Identity("amd:snp:chipid:" + string(bytes.Repeat([]byte("1"), 128)))
		}, verify.PlaceCert},
		"no chip at all": {func(p *tpm.Platform) { p.Chip = "intel:tdx:ppid:00000000000000000000000000000000" }, verify.PlaceCert},
		"another chip":   {func(p *tpm.Platform) { p.Chip = "intel:tdx:ppid:11111111111111111111111111111111" }, verify.BindChassis},
	} {
		w := newMetalWorld(t)
		place := w.Machine.Place
		c.change(&place)
		w.Machine.AKChain = w.Metal.CA.CertifyAK(w.Machine.TPM.Key(), place)
		_, err := Appraise(judging(t, w, w.Honest()))
		wantCheck(t, name, err, c.check)
	}
}

// The launch is judged in the bank that holds the AK: what other banks show says nothing of when it
// signs.
func TestLaunchIsJudgedInTheBankThatHoldsTheAK(t *testing.T) {
	both := []tpm.PCRSelection{{Alg: tpm.SHA256, PCRs: []int{0, 1, 2, 3, 4, 5, 6, 7, 17, 18}}, {Alg: tpm.SHA384, PCRs: []int{17, 18}}}
	w := newMetalWorld(t)
	m := w.Machine
	m.TPM.Selection = both
	m.TPM.NewAK(w.Metal.Seed, "held in SHA-384", w.Metal.Launch.AuthPolicy(tpm.SHA384))
	m.AKChain = w.Metal.CA.CertifyAK(m.TPM.Key(), m.Place)
	b := w.Honest()
	b.Set(poclog.ItemTCGLog, nil)
	_, err := Appraise(judging(t, w, b))
	wantCheck(t, "an allowed launch in the bank that does not hold the AK", err, verify.BindTXT)
	w.Policy.TXT = []poclog.TXTLaunch{w.Metal.Launch.TXT(tpm.SHA384)}
	if _, err = Appraise(judging(t, w, b)); err != nil {
		t.Errorf("an allowed launch in the bank that holds it: %v", err)
	}
	for name, selection := range map[string][]tpm.PCRSelection{
		"neither":      {{Alg: tpm.SHA384, PCRs: []int{0, 7}}},
		"PCR 17 alone": {{Alg: tpm.SHA384, PCRs: []int{17}}},
		"one in each":  {{Alg: tpm.SHA256, PCRs: []int{17}}, {Alg: tpm.SHA384, PCRs: []int{18}}},
		"SHA-1":        {{Alg: tpm.SHA1, PCRs: []int{17, 18}}},
	} {
		m.TPM.Selection = selection
		b := w.Honest()
		b.Set(poclog.ItemTCGLog, nil)
		_, err := Appraise(judging(t, w, b))
		wantCheck(t, name, err, verify.TPMAKPolicy)
	}
}

// A launch of one machine's policy is not another's: PCR 17 of one and PCR 18 of the other are no
// launch.
func TestLaunchesAreNotMixed(t *testing.T) {
	w := newMetalWorld(t)
	one, two := w.Metal.Launch.TXT(tpm.SHA256), metal.NewLaunch("another").TXT(tpm.SHA256)
	one.PCR18, two.PCR18 = two.PCR18, one.PCR18
	w.Policy.TXT = []poclog.TXTLaunch{two, one}
	_, err := Appraise(judging(t, w, w.Honest()))
	wantCheck(t, "PCR 17 and 18 of two launches", err, verify.BindTXT)
}

func TestEveryByteOfAMachinesBundleIsProtectedOrListed(t *testing.T) {
	w := newMetalWorld(t)
	everyByte(t, w, w.Honest(), ofLogs)
}

func TestRevokedChipIsRefusedOnBareMetalWhereItIsKnown(t *testing.T) {
	k := NewKnown()
	w := newMetalWorld(t)
	b := w.Honest()
	in := judging(t, w, b)
	in.Known = k
	first := leafOf(t, in)
	if !bytes.Equal(first, leafOf(t, in)) {
		t.Error("what is known changes the entry")
	}
	w.Publish(chip.CollateralOptions{Revoked: []*chip.Platform{w.Machine.Chip}})
	in = judging(t, w, b)
	in.Known = k
	_, err := Appraise(in)
	wantCheck(t, "newly revoked", err, verify.TEERevocation)
	// Another policy's roots do not inherit what this one's verified.
	w = newMetalWorld(t)
	w.Policy.Roots[2].SHA256[0] ^= 1
	in = judging(t, w, b)
	in.Known = k
	_, err = Appraise(in)
	wantCheck(t, "another policy's TPM makers", err, verify.TPMAKChain)
}
