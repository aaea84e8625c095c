package profile

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/cputime"
	"github.com/poclog/poclog/internal/lab/attack"
	"github.com/poclog/poclog/internal/lab/chip"
	"github.com/poclog/poclog/internal/lab/gce"
	"github.com/poclog/poclog/verify"
)

var (
	labStart  = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	labNow    = attack.Now
	labOrigin = attack.Origin
	labLog    = attack.LogKey
	labW      = attack.WitnessKey
)

const registryURL = attack.RegistryURL

type world = attack.World

func newWorld(t testing.TB) *world { t.Helper(); return attack.NewWorld() }

// judging is the world's bundle with its collateral and policy, judged now.
func judging(t testing.TB, w *world, b *poclog.Bundle) Input {
	t.Helper()
	in := Input{Appraised: labNow, Appraisal: poclog.Appraisal}
	var err error
	if in.Bundle, in.Collateral, in.Policy, err = w.Files(b); err != nil {
		t.Fatal(err)
	}
	return in
}

func TestHonestManagedVMIsBoundToItsPlace(t *testing.T) {
	w := newWorld(t)
	a, err := Appraise(judging(t, w, w.Honest()))
	if err != nil {
		t.Fatal(err)
	}
	e := &a.Entry
	if e.Level != poclog.LevelBound || len(e.Absent) != 0 || e.Fresh == nil || e.Fresh.Origin != labOrigin || e.CVM.EndorsedBy != "provider" {
		t.Errorf("level %d, absent %v, fresh %v, endorsed by %q", e.Level, e.Absent, e.Fresh, e.CVM.EndorsedBy)
	}
	if p := e.Place; p == nil || p.Zone.Value != "lab-north1-a" || p.Region.Value != "lab-north1" || !slices.Equal(p.Zone.By, []string{"ak-certificate", "log-observed"}) {
		t.Errorf("place %+v", p)
	}
	leaf, err := e.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("entry of %d bytes, %s", len(leaf), a.Notes[verify.BindPCRRTMR])
}

func TestRealBootLogsPassInTheLab(t *testing.T) {
	images, err := gce.RealImages()
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	w.VM = w.NewVM(gce.VMConfig{Image: images[0]})
	a, err := Appraise(judging(t, w, w.Honest()))
	if err != nil {
		t.Fatal(err)
	}
	if note := a.Notes[verify.BindPCRRTMR]; !strings.Contains(note, "30/39/86") {
		t.Errorf("%s: want 30/39/86", note)
	}
}

func TestWhatIsAbsentKeepsAProofFromLevelTwo(t *testing.T) {
	for name, c := range map[string]struct {
		change func(w *world, b *poclog.Bundle)
		check  verify.Check
	}{
		"without collateral": {func(w *world, _ *poclog.Bundle) {
			w.Collateral = new(poclog.Collateral).With(*w.Collateral.Get(poclog.LaunchEndorsement))
		}, verify.TEERevocation},
		"without endorsement": {func(w *world, _ *poclog.Bundle) {
			w.Collateral = w.Cloud.Maker.Collateral(chip.CollateralOptions{At: labNow})
		}, verify.TEELaunch},
		"without the AK":        {func(_ *world, b *poclog.Bundle) { b.Set(poclog.ItemTPMAK, nil) }, verify.TPMAKTemplate},
		"without the TPM's log": {func(_ *world, b *poclog.Bundle) { b.Set(poclog.ItemTCGLog, nil) }, verify.BindPCRRTMR},
		"without a challenge":   {func(_ *world, b *poclog.Bundle) { b.Set(poclog.ItemChallenge, nil) }, verify.FreshChallenge},
	} {
		w := newWorld(t)
		b := w.Honest()
		c.change(w, b)
		_, err := Appraise(judging(t, w, b))
		wantCheck(t, name, err, c.check)
		w.Policy.Admit = append(w.Policy.Admit[:0], poclog.Admission{Profile: poclog.GCETDXvTPM, Level: poclog.LevelChip, Historical: true})
		a, err := Appraise(judging(t, w, b))
		if err != nil {
			t.Errorf("%s, admitted at level 0: %v", name, err)
		} else if a.Entry.Level != poclog.LevelChip || !slices.Contains(a.Entry.Absent, string(c.check)) {
			t.Errorf("%s: level %d, absent %v", name, a.Entry.Level, a.Entry.Absent)
		}
	}
}

func TestRegistrySilenceIsAbsenceAndGarbageToo(t *testing.T) {
	for name, change := range map[string]func(w *world){
		"silence": func(w *world) {
			w.Publish(chip.CollateralOptions{})
			w.Collateral = without(w.Collateral, poclog.ChipRegistry)
		},
		"garbage":   func(w *world) { w.Answer(w.VM.Platform(), 200, `"}`) },
		"a failure": func(w *world) { w.Answer(w.VM.Platform(), 500, "x") },
	} {
		w := newWorld(t)
		change(w)
		a, err := Appraise(judging(t, w, w.Honest()))
		if err != nil || a.Entry.Level != poclog.LevelBound || !slices.Contains(a.Entry.Absent, "place.registry") {
			t.Errorf("%s: %v", name, err)
		}
	}
	w := newWorld(t)
	old := w.Cloud.Registry.Observe(registryURL, w.VM.Platform().PPID, labNow.Add(-2*time.Hour))
	w.Collateral = w.Collateral.With(old)
	_, err := Appraise(judging(t, w, w.Honest()))
	wantCheck(t, "an answer of hours ago", err, verify.PlaceRegistry)
}

func without(c *poclog.Collateral, kind poclog.CollateralKind) *poclog.Collateral {
	out := new(poclog.Collateral)
	for _, it := range c.Items {
		if it.Kind != kind {
			out = out.With(it)
		}
	}
	return out
}

// Honest machines of every kind pass: POCLOG_HONEST of them, or 400.
func TestHonestFleetPasses(t *testing.T) {
	n, err := strconv.Atoi(os.Getenv("POCLOG_HONEST"))
	if err != nil {
		n = 400
	}
	if raceEnabled || testing.Short() {
		n = min(n, 60)
	}
	w := newWorld(t)
	var hosts []*gce.Host
	for i := range 8 {
		h, err := w.Cloud.NewHost(w.Cloud.Zones[i%2], 1+i%2)
		if err != nil {
			t.Fatal(err)
		}
		hosts = append(hosts, h)
	}
	base := without(w.Collateral, poclog.ChipRegistry)
	var wg sync.WaitGroup
	work := make(chan func())
	for range 4 {
		wg.Go(func() {
			for f := range work {
				f()
			}
		})
	}
	for i := range n {
		h := hosts[i%len(hosts)]
		vm, err := h.NewVM(i%len(h.Sockets), gce.VMConfig{
			Image: w.Cloud.Images[i%len(w.Cloud.Images)], Version: 4 + i%2, BodyType: 2 + (i/2)%2, NoPZID: i%3 == 0,
		})
		if err != nil {
			t.Fatal(err)
		}
		switch i % 5 {
		case 1:
			err = vm.Reboot()
		case 2:
			err = vm.Move(hosts[(i+2)%len(hosts)], 0)
		}
		if err != nil {
			t.Fatal(err)
		}
		ch := *w.Challenge
		ch.Salt = poclog.Sum(fmt.Appendf(nil, "%d", i))
		b, err := vm.Prove(&ch)
		if err != nil {
			t.Fatal(err)
		}
		one := *w
		one.Collateral = base.With(w.Cloud.Registry.Observe(registryURL, vm.Platform().PPID, labNow))
		work <- func() {
			a, err := Appraise(judging(t, &one, b))
			if err != nil || a.Entry.Level != poclog.LevelBound {
				t.Errorf("VM %d: %v", i, err)
			}
		}
	}
	close(work)
	wg.Wait()
	t.Logf("%d honest proofs", n)
}

// everyByte changes bytes of a bundle in turn: every eleventh, or with POCLOG_EVERY_BYTE each. The
// change is refused by a check, unless the byte is listed: with the reason why nothing protects it,
// and whether that is so of all such bytes or of some.
func everyByte(t *testing.T, w *world, b *poclog.Bundle, listed func(item poclog.Item, offset int) (why string, all bool)) {
	t.Helper()
	stride := 11
	switch {
	case os.Getenv("POCLOG_EVERY_BYTE") != "":
		stride = 1
	case raceEnabled || testing.Short():
		stride = 61
	}
	accepted := make(map[string]int)
	for _, item := range b.Items() {
		for offset := 0; offset < len(b.Get(item)); offset += stride {
			changed := bytes.Clone(b.Get(item))
			changed[offset] ^= 0x07
			forged := b.Clone()
			forged.Set(item, changed)
			_, err := Appraise(judging(t, w, forged))
			why, all := listed(item, offset)
			_, named := verify.CheckOf(err)
			switch {
			case err != nil && !named:
				t.Errorf("%s byte %d: %v: no check is named", item, offset, err)
			case err != nil && all:
				t.Errorf("%s byte %d: listed as unprotected (%s), and refused: %v", item, offset, why, err)
			case err == nil && why == "":
				t.Errorf("%s byte %d: changed, accepted, and not listed", item, offset)
			case err == nil:
				accepted[why]++
			}
		}
	}
	for why, n := range accepted {
		t.Logf("%4d bytes: %s", n, why)
	}
}

// ofLogs lists what nobody hashes into a register.
func ofLogs(item poclog.Item, _ int) (why string, all bool) {
	if item == poclog.ItemTCGLog || item == poclog.ItemCCEL {
		return "types and data of events, which registers hold only the digests of, and digests of banks that the quote does not cover", false
	}
	return "", false
}

func TestEveryByteOfAFreshBundleIsProtectedOrListed(t *testing.T) {
	w := newWorld(t)
	everyByte(t, w, w.Honest(), ofLogs)
}

func BenchmarkAppraiseManagedVM(b *testing.B) {
	w := newWorld(b)
	bundle := w.Honest()
	floor := cputime.All(signatureFloor(b, bundle, w.Collateral),
		cputime.Several(b, 2, cputime.RSA(2048)), // the endorsement's
		cputime.Several(b, 2, cputime.Ed25519))   // the challenge's: log and witness
	appraises(b, judging(b, w, bundle), floor)
}

// RTMR3 is the guest's: what runs in it may be measured there at any time, and no event log says
// so. The firmware's, boot loader's and kernel's registers are held to the log, each of them.
func TestGuestsThatExtendRTMR3AreBound(t *testing.T) {
	w := newWorld(t)
	for i := range 3 {
		w.VM.Extend([48]byte{byte(i), 1})
		w.Challenge.Salt[1]++
		a, err := Appraise(judging(t, w, w.Honest()))
		if err != nil {
			t.Fatal(err)
		}
		if e := &a.Entry; e.Level != poclog.LevelBound || len(e.CVM.RTMRs) != 4 || e.CVM.RTMRs[3] != w.VM.RTMR3 || e.CVM.RTMRs[3] == [48]byte{} {
			t.Errorf("level %d, RTMRs %x: want RTMR3 %x", e.Level, e.CVM.RTMRs, w.VM.RTMR3)
		}
	}
	if err := w.VM.Reboot(); err != nil || w.VM.RTMR3 != ([48]byte{}) {
		t.Errorf("after a reboot RTMR3 is %x: %v", w.VM.RTMR3, err)
	}
	m := attack.NewWorldOf(poclog.BareMetalTDXTPM)
	m.Machine.RTMR3 = [48]byte{1}
	if a, err := Appraise(judging(t, m, m.Honest())); err != nil || a.Entry.Level != poclog.LevelBound {
		t.Errorf("bare metal: %v", err)
	}
	for i := range 3 {
		change := func(td *chip.TD) { td.RTMRs[i][0] ^= 1 }
		_, err := Appraise(judging(t, w, w.Assemble(attack.Mix{TD: change})))
		wantCheck(t, fmt.Sprintf("another RTMR%d", i), err, verify.BindPCRRTMR)
		_, err = Appraise(judging(t, m, m.Seal(attack.MetalMix{TD: change})))
		wantCheck(t, fmt.Sprintf("bare metal: another RTMR%d", i), err, verify.BindPCRRTMR)
	}
}
