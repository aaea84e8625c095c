package profile

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/chip"
	"github.com/poclog/poclog/internal/lab/provider"
	"github.com/poclog/poclog/internal/testlog"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/tcglog"
)

var (
	labStart  = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	labNow    = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	labOrigin = "lab.log.test"
	labLog    = testlog.LogKey(labOrigin)
	labW      = testlog.WitnessKey("w.test")
)

const registryURL = "https://registry.lab.test/"

// A world is a cloud, a log that challenges, and one honest VM.
type world struct {
	cloud *provider.Cloud
	host  *provider.Host
	vm    *provider.VM
	log   *testlog.Log

	collateral *poclog.Collateral
	policy     *poclog.Policy
	challenge  *poclog.Challenge
}

// zone is where the honest VM stands.
const zone = "lab-north1-a"

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{cloud: provider.New("profile test", labStart), log: &testlog.Log{Origin: labOrigin, Leaves: [][]byte{{1}, {2}}}}
	w.cloud.Advance(labNow.Sub(labStart))
	var err error
	if w.host, err = w.cloud.NewHost(zone, 2); err != nil {
		t.Fatal(err)
	}
	w.vm = w.newVM(t, provider.VMConfig{})
	if w.collateral, err = w.cloud.Collateral(chip.CollateralOptions{At: labNow.AddDate(0, 0, -3)}); err != nil {
		t.Fatal(err)
	}
	w.observe(w.vm.Platform())
	w.policy = w.cloud.Policy([]string{"log " + labLog.VKey, "witness w " + labW.VKey, "quorum w"}, registryURL)
	w.challenge = w.challengeAt(labNow.Add(-5 * time.Second))
	return w
}

func (w *world) newVM(t testing.TB, cfg provider.VMConfig) *provider.VM {
	t.Helper()
	vm, err := w.host.NewVM(0, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return vm
}

// observe puts the register's true answer on a chip into the collateral.
func (w *world) observe(p *chip.Platform) {
	w.collateral = w.collateral.With(w.cloud.Registry.Observe(registryURL, p.PPID, labNow))
}

// challengeAt is a challenge whose checkpoint the witness cosigned at a time.
func (w *world) challengeAt(at time.Time) *poclog.Challenge {
	return &poclog.Challenge{
		Profile: poclog.GCETDXvTPM, UserData: poclog.Sum([]byte("tls key")), Salt: [32]byte{7},
		Checkpoint: w.log.Checkpoint(2, testlog.Cosigner{Signer: labLog, At: at}, testlog.Cosigner{Signer: labW, At: at}),
	}
}

// A mix is evidence put together: whose chip, whose TPM, what the TD's report says. Zero fields are the honest VM's.
type mix struct {
	chip   *chip.Platform
	td     func(*chip.TD)
	tpm    *provider.TPM
	image  *provider.Image // of the TD; the TPM has its own
	ak     []byte          // what REPORTDATA names
	quote  func([]byte)    // changes the TD quote before the TPM covers it
	sealed []byte          // the TPM's extraData, if not the hash of the TD quote
}

func (w *world) assemble(t testing.TB, m mix) *poclog.Bundle {
	t.Helper()
	if m.chip == nil {
		m.chip = w.vm.Platform()
	}
	if m.tpm == nil {
		m.tpm = w.vm.TPM
	}
	if m.ak == nil {
		m.ak = m.tpm.Public
	}
	td := w.vm.TD(w.challenge.ReportData(m.ak))
	ccel := w.vm.Config.Image.CCEL
	if m.image != nil {
		td.RTMRs, ccel = m.image.RTMRs, m.image.CCEL
	}
	if m.td != nil {
		m.td(&td)
	}
	quote := m.chip.Quote(td)
	if m.quote != nil {
		m.quote(quote)
	}
	if m.sealed == nil {
		sum := sha256.Sum256(quote)
		m.sealed = sum[:]
	}
	item, values, err := m.tpm.Quote(m.sealed, labNow)
	if err != nil {
		t.Fatal(err)
	}
	b, err := (&provider.Evidence{
		TDXQuote: quote, TPMQuote: item, PCRs: values, AK: m.tpm.Public, AKChain: m.tpm.Chain, TCGLog: m.tpm.Image.TCGLog, CCEL: ccel, Challenge: w.challenge,
	}).Bundle()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (w *world) honest(t testing.TB) *poclog.Bundle { t.Helper(); return w.assemble(t, mix{}) }

func (w *world) input(t testing.TB, b *poclog.Bundle) Input {
	t.Helper()
	in := Input{Appraised: labNow, Appraisal: poclog.Appraisal}
	var err error
	if in.Bundle, err = b.Marshal(); err != nil {
		t.Fatal(err)
	}
	if in.Collateral, err = w.collateral.Marshal(); err != nil {
		t.Fatal(err)
	}
	if in.Policy, err = w.policy.Marshal(); err != nil {
		t.Fatal(err)
	}
	return in
}

func TestHonestManagedVMIsBoundToItsPlace(t *testing.T) {
	w := newWorld(t)
	a, err := Appraise(w.input(t, w.honest(t)))
	if err != nil {
		t.Fatal(err)
	}
	e := &a.Entry
	if e.Level != poclog.LevelBound || len(e.Absent) != 0 || e.Fresh == nil || e.Fresh.Origin != labOrigin || e.CVM.EndorsedBy != "provider" {
		t.Errorf("level %d, absent %v, fresh %v, endorsed by %q", e.Level, e.Absent, e.Fresh, e.CVM.EndorsedBy)
	}
	if p := e.Place; p == nil || p.Zone.Value != "lab-north1-a" || p.Region.Value != "lab-north1" || !slices.Equal(p.Zone.By, []string{"ak-certificate", "log-observed", "pzid"}) {
		t.Errorf("place %+v", p)
	}
	leaf, err := e.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("entry of %d bytes, %s", len(leaf), a.Notes[verify.BindPCRRTMR])
}

func TestRealBootLogsPassInTheLab(t *testing.T) {
	images, err := provider.RealImages()
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	w.vm = w.newVM(t, provider.VMConfig{Image: images[0]})
	a, err := Appraise(w.input(t, w.honest(t)))
	if err != nil {
		t.Fatal(err)
	}
	if note := a.Notes[verify.BindPCRRTMR]; !strings.Contains(note, "30/39/86") {
		t.Errorf("%s: want 30/39/86", note)
	}
}

// An attack is evidence that must be refused by a check, and would pass without it.
type attack struct {
	name  string
	check verify.Check
	stage func(t *testing.T, w *world) *poclog.Bundle
}

// ownImage is what an attacker boots.
var ownImage = sync.OnceValue(func() *provider.Image { return provider.SyntheticImage("the attacker's own") })

var gceAttacks = []attack{
	{"quote-forged", verify.TEESignature, func(t *testing.T, w *world) *poclog.Bundle {
		return w.assemble(t, mix{quote: func(q []byte) { q[48+584+4+20] ^= 1 }})
	}},
	{"lab-root-in-production", verify.TEEChain, func(t *testing.T, w *world) *poclog.Bundle {
		// A maker of one's own, with its CRLs beside the true maker's TCB info.
		own := chip.NewMaker("a garage", labStart)
		home := own.NewPlatform("home", nil)
		forged := own.Collateral(chip.CollateralOptions{At: labNow.AddDate(0, 0, -3)})
		w.collateral = w.collateral.With(*forged.Get(poclog.IntelPCKCRL), *forged.Get(poclog.IntelRootCRL))
		w.answer(home, 200, zone)
		return w.assemble(t, mix{chip: home})
	}},
	{"pck-revoked", verify.TEERevocation, func(t *testing.T, w *world) *poclog.Bundle {
		w.maker(chip.CollateralOptions{Revoked: []*chip.Platform{w.vm.Platform()}})
		return w.honest(t)
	}},
	{"tcb-revoked", verify.TEETCB, func(t *testing.T, w *world) *poclog.Bundle {
		w.maker(chip.CollateralOptions{Status: "Revoked"})
		return w.honest(t)
	}},
	{"tcb-out-of-date", verify.TEETCB, func(t *testing.T, w *world) *poclog.Bundle {
		w.maker(chip.CollateralOptions{Status: "OutOfDate", Advisories: []string{"LAB-SA-1"}})
		return w.honest(t)
	}},
	{"debug-td", verify.TEENoDebug, func(t *testing.T, w *world) *poclog.Bundle {
		return w.assemble(t, mix{td: func(td *chip.TD) { td.Debug = true }})
	}},
	{"firmware-own", verify.TEELaunch, func(t *testing.T, w *world) *poclog.Bundle {
		return w.assemble(t, mix{td: func(td *chip.TD) { td.MRTD[0] ^= 1 }})
	}},
	{"tpm-quote-forged", verify.TPMSignature, func(t *testing.T, w *world) *poclog.Bundle {
		b := w.honest(t)
		item := bytes.Clone(b.Get(poclog.ItemTPMQuote))
		item[len(item)-1] ^= 1
		b.Set(poclog.ItemTPMQuote, item)
		return b
	}},
	{"pcr-unselected", verify.TPMPCRDigest, func(t *testing.T, w *world) *poclog.Bundle {
		// The rented TPM saw one boot, the TD had another: the other's values stand beside a quote that does not cover them.
		b := w.assemble(t, mix{image: ownImage()})
		b.Set(poclog.ItemTCGLog, ownImage().TCGLog)
		var values []byte
		for _, s := range provider.Selection {
			values = append(values, ownImage().PCRs(s.Alg, s.PCRs)...)
		}
		b.Set(poclog.ItemTPMPCRs, values)
		return b
	}},
	{"ak-unrestricted", verify.TPMAKTemplate, func(t *testing.T, w *world) *poclog.Bundle {
		free := *w.vm.TPM
		free.Public = bytes.Clone(free.Public)
		free.Public[5] &^= 1 // objectAttributes: restricted
		return w.assemble(t, mix{tpm: &free})
	}},
	{"ak-uncertified", verify.TPMAKChain, func(t *testing.T, w *world) *poclog.Bundle {
		rogue := *w.vm.TPM
		var err error
		if rogue.Chain, err = provider.New("another provider", labStart).Certify(rogue.AK.Public(), rogue.Instance); err != nil {
			t.Fatal(err)
		}
		return w.assemble(t, mix{tpm: &rogue})
	}},
	{"other-technology", verify.TPMTechnology, func(t *testing.T, w *world) *poclog.Bundle {
		w.vm = w.newVM(t, provider.VMConfig{Image: otherTechnology(t, w.vm.Config.Image)})
		return w.honest(t)
	}},
	{"ak-swap", verify.BindAKInTEE, func(t *testing.T, w *world) *poclog.Bundle {
		// X's TD quote names X's AK; Y's TPM quotes it, and Y's key and certificate stand beside it (relay-mix).
		y := w.newVM(t, provider.VMConfig{})
		return w.assemble(t, mix{tpm: y.TPM, ak: w.vm.TPM.Public, td: noPZID})
	}},
	{"nonce-shared", verify.BindTEEInTPM, func(t *testing.T, w *world) *poclog.Bundle {
		nonce := w.challenge.Nonce()
		return w.assemble(t, mix{sealed: nonce[:]})
	}},
	{"relay-tpm", verify.BindTEEInTPM, func(t *testing.T, w *world) *poclog.Bundle {
		// Another TD quote under the same challenge beside the TPM quote.
		b := w.honest(t)
		other := w.assemble(t, mix{td: func(td *chip.TD) { td.Version = 5 }})
		b.Set(poclog.ItemTDXQuote, other.Get(poclog.ItemTDXQuote))
		return b
	}},
	{"rtmr-forged", verify.BindPCRRTMR, func(t *testing.T, w *world) *poclog.Bundle { return w.assemble(t, mix{image: ownImage()}) }},
	{"log-swapped", verify.BindPCRRTMR, func(t *testing.T, w *world) *poclog.Bundle {
		b := w.honest(t)
		b.Set(poclog.ItemCCEL, ownImage().CCEL)
		return b
	}},
	{"log-truncated", verify.BindPCRRTMR, func(t *testing.T, w *world) *poclog.Bundle {
		b := w.honest(t)
		l, err := tcglog.Parse(tcglog.CCEL, b.Get(poclog.ItemCCEL))
		if err != nil {
			t.Fatal(err)
		}
		last := len(l.Events[len(l.Events)-1].Data) + 4 + 2 + 48 + 12
		b.Set(poclog.ItemCCEL, b.Get(poclog.ItemCCEL)[:len(b.Get(poclog.ItemCCEL))-last])
		return b
	}},
	{"pzid-copied", verify.BindInstance, func(t *testing.T, w *world) *poclog.Bundle {
		y := w.newVM(t, provider.VMConfig{})
		return w.assemble(t, mix{td: func(td *chip.TD) { td.MROwner = y.TPM.Instance.PZID() }})
	}},
	{"not-production", verify.PlaceCert, func(t *testing.T, w *world) *poclog.Bundle {
		test := *w.vm.TPM
		test.Instance.Production = false
		var err error
		if test.Chain, err = w.cloud.Certify(test.AK.Public(), test.Instance); err != nil {
			t.Fatal(err)
		}
		return w.assemble(t, mix{tpm: &test})
	}},
	{"relay-vtpm", verify.PlaceRegistry, func(t *testing.T, w *world) *poclog.Bundle {
		// A genuine chip at home, whose host forwards TPM commands to a rented vTPM.
		home := w.cloud.Maker.NewPlatform("at home", nil)
		w.observe(home)
		return w.assemble(t, mix{chip: home, td: noPZID})
	}},
	{"registry-forged", verify.PlaceRegistry, func(t *testing.T, w *world) *poclog.Bundle {
		// Another chip's true answer stands under its own address.
		return w.assemble(t, mix{chip: w.cloud.Maker.NewPlatform("at home", nil), td: noPZID})
	}},
	{"zone-lie", verify.PlaceAgree, func(t *testing.T, w *world) *poclog.Bundle {
		w.answer(w.vm.Platform(), 200, "lab-west9-c")
		return w.honest(t)
	}},
	{"nonce-old", verify.FreshChallenge, func(t *testing.T, w *world) *poclog.Bundle {
		w.challenge = w.challengeAt(labNow.Add(-time.Hour))
		return w.honest(t)
	}},
	{"nonce-foreign", verify.FreshChallenge, func(t *testing.T, w *world) *poclog.Bundle {
		l := &testlog.Log{Origin: "foreign.test", Leaves: [][]byte{{1}}}
		w.challenge.Checkpoint = l.Checkpoint(1, testlog.Cosigner{Signer: testlog.LogKey("foreign.test")}, testlog.Cosigner{Signer: labW, At: labNow})
		return w.honest(t)
	}},
	{"nonce-unsigned", verify.FreshChallenge, func(t *testing.T, w *world) *poclog.Bundle {
		w.challenge.Checkpoint = w.log.Checkpoint(2, testlog.Cosigner{Signer: labW, At: labNow})
		return w.honest(t)
	}},
	{"nonce-stripped", verify.FreshChallenge, func(t *testing.T, w *world) *poclog.Bundle {
		w.challenge.Checkpoint = w.log.Checkpoint(2, testlog.Cosigner{Signer: labLog})
		return w.honest(t)
	}},
	{"nonce-other-salt", verify.FreshChallenge, func(t *testing.T, w *world) *poclog.Bundle {
		b := w.honest(t)
		w.challenge.Salt[0] ^= 1
		item, err := w.challenge.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		b.Set(poclog.ItemChallenge, item)
		return b
	}},
	{"nonce-of-the-future", verify.FreshChallenge, func(t *testing.T, w *world) *poclog.Bundle {
		w.challenge = w.challengeAt(labNow.Add(time.Hour))
		return w.honest(t)
	}},
}

func noPZID(td *chip.TD) { td.MROwner = [48]byte{} }

// otherTechnology is an image whose firmware says that it runs on SEV-SNP.
func otherTechnology(t *testing.T, img *provider.Image) *provider.Image {
	t.Helper()
	raw := bytes.Clone(img.TCGLog)
	said := []byte("GCE NonHostInfo\x00\x03")
	at := bytes.Index(raw, said)
	if at < 0 {
		t.Fatal("no NonHostInfo")
	}
	size := int(binary.LittleEndian.Uint32(raw[at-4:]))
	data := raw[at : at+size]
	data[len(said)-1] = tcglog.GCETechnologySNP
	d1, d256, d384 := sha1.Sum(data), sha256.Sum256(data), sha512.Sum384(data)
	copy(raw[at-4-48:], d384[:])
	copy(raw[at-4-48-2-32:], d256[:])
	copy(raw[at-4-48-2-32-2-20:], d1[:])
	other, err := provider.ImageOf("other technology", raw, img.CCEL)
	if err != nil {
		t.Fatal(err)
	}
	return other
}

// maker publishes other collateral, valid now.
func (w *world) maker(o chip.CollateralOptions) {
	o.At = labNow.AddDate(0, 0, -3)
	w.collateral = w.collateral.With(w.cloud.Maker.Collateral(o).Items...)
}

// answer is what someone says that the register answered on a chip.
func (w *world) answer(p *chip.Platform, status uint32, zone string) {
	w.collateral = w.collateral.With(poclog.CollateralItem{
		Kind: poclog.ChipRegistry, URL: fmt.Sprintf("%s%x", registryURL, p.PPID), Time: labNow, Status: status, Body: fmt.Appendf(nil, `{"zone":%q}`, zone),
	})
}

// No check is decoration: each attack is refused by its check, and passes without it.
func TestRemovalOfACheckLetsItsAttackPass(t *testing.T) {
	stopped := make(map[verify.Check]bool)
	for _, a := range gceAttacks {
		t.Run(a.name, func(t *testing.T) {
			w := newWorld(t)
			in := w.input(t, a.stage(t, w))
			if a.name == "registry-forged" {
				// The other chip's answer stands under its own address, and is not this chip's.
				_, err := Appraise(in)
				wantCheck(t, a.name, err, a.check)
				return
			}
			_, err := Appraise(in)
			wantCheck(t, a.name, err, a.check)
			got, err := appraise(in, map[verify.Check]bool{a.check: true})
			if err != nil {
				t.Errorf("without %s it is still refused: %v", a.check, err)
				return
			}
			if got.Entry.Level != poclog.LevelBound {
				t.Errorf("without %s it has level %d", a.check, got.Entry.Level)
			}
			stopped[a.check] = true
		})
	}
	for _, st := range gceTDX.steps {
		if !stopped[st.check] {
			t.Errorf("no attack shows what %s is for", st.check)
		}
	}
}

func TestWhatIsAbsentKeepsAProofFromLevelTwo(t *testing.T) {
	for name, c := range map[string]struct {
		change func(w *world, b *poclog.Bundle)
		check  verify.Check
	}{
		"without collateral": {func(w *world, _ *poclog.Bundle) {
			w.collateral = new(poclog.Collateral).With(*w.collateral.Get(poclog.LaunchEndorsement))
		}, verify.TEERevocation},
		"without endorsement": {func(w *world, _ *poclog.Bundle) {
			w.collateral = w.cloud.Maker.Collateral(chip.CollateralOptions{At: labNow})
		}, verify.TEELaunch},
		"without the AK":        {func(_ *world, b *poclog.Bundle) { b.Set(poclog.ItemTPMAK, nil) }, verify.TPMAKTemplate},
		"without the TPM's log": {func(_ *world, b *poclog.Bundle) { b.Set(poclog.ItemTCGLog, nil) }, verify.BindPCRRTMR},
		"without a challenge":   {func(_ *world, b *poclog.Bundle) { b.Set(poclog.ItemChallenge, nil) }, verify.FreshChallenge},
	} {
		w := newWorld(t)
		b := w.honest(t)
		c.change(w, b)
		_, err := Appraise(w.input(t, b))
		wantCheck(t, name, err, c.check)
		w.policy.Admit = append(w.policy.Admit[:0], poclog.Admission{Profile: poclog.GCETDXvTPM, Level: poclog.LevelChip, Historical: true})
		a, err := Appraise(w.input(t, b))
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
			w.maker(chip.CollateralOptions{})
			w.collateral = without(w.collateral, poclog.ChipRegistry)
		},
		"garbage":   func(w *world) { w.answer(w.vm.Platform(), 200, `"}`) },
		"a failure": func(w *world) { w.answer(w.vm.Platform(), 500, "x") },
	} {
		w := newWorld(t)
		change(w)
		a, err := Appraise(w.input(t, w.honest(t)))
		if err != nil || a.Entry.Level != poclog.LevelBound || !slices.Contains(a.Entry.Absent, "place.registry") {
			t.Errorf("%s: %v", name, err)
		}
	}
	w := newWorld(t)
	old := w.cloud.Registry.Observe(registryURL, w.vm.Platform().PPID, labNow.Add(-2*time.Hour))
	w.collateral = w.collateral.With(old)
	_, err := Appraise(w.input(t, w.honest(t)))
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
	var hosts []*provider.Host
	for i := range 8 {
		h, err := w.cloud.NewHost(w.cloud.Zones[i%2], 1+i%2)
		if err != nil {
			t.Fatal(err)
		}
		hosts = append(hosts, h)
	}
	base := without(w.collateral, poclog.ChipRegistry)
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
		vm, err := h.NewVM(i%len(h.Sockets), provider.VMConfig{
			Image: w.cloud.Images[i%len(w.cloud.Images)], Version: 4 + i%2, BodyType: 2 + (i/2)%2, NoPZID: i%3 == 0,
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
		ch := *w.challenge
		ch.Salt = poclog.Sum(fmt.Appendf(nil, "%d", i))
		b, err := vm.Prove(&ch)
		if err != nil {
			t.Fatal(err)
		}
		one := *w
		one.collateral = base.With(w.cloud.Registry.Observe(registryURL, vm.Platform().PPID, labNow))
		work <- func() {
			a, err := Appraise(one.input(t, b))
			if err != nil || a.Entry.Level != poclog.LevelBound {
				t.Errorf("VM %d: %v", i, err)
			}
		}
	}
	close(work)
	wg.Wait()
	t.Logf("%d honest proofs", n)
}

// Bytes of a fresh bundle are changed in turn: every eleventh, or with POCLOG_EVERY_BYTE each. What is accepted is data that nobody hashes into a register, or PEM's white space.
func TestEveryByteOfAFreshBundleIsProtectedOrListed(t *testing.T) {
	w := newWorld(t)
	b := w.honest(t)
	stride := 11
	if os.Getenv("POCLOG_EVERY_BYTE") != "" {
		stride = 1
	}
	if raceEnabled || testing.Short() {
		stride = 61
	}
	accepted := make(map[string]int)
	for _, item := range b.Items() {
		for offset := 0; offset < len(b.Get(item)); offset += stride {
			changed := bytes.Clone(b.Get(item))
			changed[offset] ^= 0x07
			forged := b.Clone()
			forged.Set(item, changed)
			_, err := Appraise(w.input(t, forged))
			if err != nil {
				if _, ok := verify.CheckOf(err); !ok {
					t.Errorf("%s byte %d: %v: no check is named", item, offset, err)
				}
				continue
			}
			switch item {
			case poclog.ItemTCGLog, poclog.ItemCCEL:
				accepted["data of events, which registers hold only the digests of, and digests of banks that the quote does not cover"]++
			case poclog.ItemTDXQuote:
				accepted["white space of PEM"]++
				t.Errorf("quote byte %d: the TPM's quote covers it", offset)
			default:
				t.Errorf("%s byte %d: changed and accepted", item, offset)
			}
		}
	}
	for why, n := range accepted {
		t.Logf("%d bytes: %s", n, why)
	}
}

func BenchmarkAppraiseManagedVM(b *testing.B) {
	w := newWorld(b)
	in := w.input(b, w.honest(b))
	bundle, err := poclog.ParseBundle(in.Bundle)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := Appraise(in); err != nil {
			b.Fatal(err)
		}
	}
	mean := b.Elapsed() / time.Duration(b.N)
	floor := signatureFloor(b, bundle, w.collateral) + 2*costRSA(b, 2048) + 40*time.Microsecond // the endorsement's two, the challenge's two Ed25519
	b.ReportMetric(float64(mean)/float64(floor), "×floor")
}
