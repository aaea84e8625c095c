package attest_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-configfs-tsm/configfs/configfsi"
	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/attack"
	"github.com/poclog/poclog/internal/lab/guest"
	"github.com/poclog/poclog/internal/lab/metal"
	"github.com/poclog/poclog/internal/lab/metal/discrete"
	"github.com/poclog/poclog/internal/swtpm"
	"github.com/poclog/poclog/publish/attest"
	"github.com/poclog/poclog/publish/importer"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/profile"
)

// A stage is an honest machine in the world of the attacks, from inside.
type stage struct {
	w *attack.World
	g *guest.Guest
	m *attest.Machine
	o *attest.Options
}

func machineOf(g *guest.Guest) *attest.Machine {
	return &attest.Machine{Root: g.Root, TSM: g.TSM, TPM: g.TPM, IMDS: &importer.IMDS{URL: g.IMDS}}
}

func ders(g *guest.Guest, chain []byte) (list [][]byte) {
	for _, c := range g.Certificates(chain) {
		list = append(list, c.Raw)
	}
	return list
}

func managed(t *testing.T, rsa bool) *stage {
	t.Helper()
	w := attack.NewWorld()
	g := guest.Managed(t, w.Cloud, w.VM, rsa)
	return &stage{w, g, machineOf(g), &attest.Options{AKCerts: ders(g, g.Chain)[1:]}}
}

func metalMachine(t *testing.T, d discrete.Options) *stage {
	t.Helper()
	w := attack.NewWorldOf(poclog.BareMetalTDXTPM)
	m := discrete.New(t, w.Metal, attack.Zone, d)
	w.Machine = w.List(m.Machine)
	g := guest.Metal(t, m)
	o := &attest.Options{AKHandle: guest.MetalAK, AKCerts: ders(g, g.Chain), EKCerts: ders(g, g.EKChain)[1:]}
	return &stage{w, g, machineOf(g), o}
}

// take attests under the world's challenge.
func (s *stage) take(t *testing.T) (*importer.Import, error) {
	t.Helper()
	return s.m.Attest(t.Context(), s.o, func(_ context.Context, p poclog.Profile) (*poclog.Challenge, error) {
		if p != s.w.Challenge.Profile {
			t.Errorf("a challenge for %s is asked for: want %s", p, s.w.Challenge.Profile)
		}
		return s.w.Challenge, nil
	})
}

func (s *stage) appraise(t *testing.T, im *importer.Import) *verify.Appraisal {
	t.Helper()
	in := profile.Input{Appraised: attack.Now, Appraisal: poclog.Appraisal}
	var err error
	if in.Bundle, in.Collateral, in.Policy, err = s.w.Files(im.Bundle); err != nil {
		t.Fatal(err)
	}
	a, err := profile.Appraise(in)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// wantLevel2 holds that a judge gives what the import promises: level 2, with nothing absent but
// what the profile never has.
func (s *stage) wantLevel2(t *testing.T, im *importer.Import, absent int) {
	t.Helper()
	o, err := profile.Look(im.Profile, im.Bundle)
	if err != nil || o.Level != poclog.LevelBound {
		t.Errorf("level %d is promised (%v): %+v", o.Level, err, o.Checks)
	}
	a := s.appraise(t, im)
	if a.Entry.Level != poclog.LevelBound || len(a.Entry.Absent) != absent || a.Entry.Fresh == nil {
		t.Errorf("level %d, absent %v, fresh %+v", a.Entry.Level, a.Entry.Absent, a.Entry.Fresh)
	}
	for _, p := range o.Checks {
		if carried := slices.Contains(a.Entry.Checks, string(p.Check)); carried != (p.State == profile.Carried) {
			t.Errorf("%s is said to be %s, the judge lists it: %v", p.Check, p.State, carried)
		}
	}
	if loaded := s.g.V.Loaded(); len(loaded) > 0 {
		t.Errorf("the TPM still holds %x", loaded)
	}
}

func TestManagedVMProvesItsPlace(t *testing.T) {
	for name, rsa := range map[string]bool{"ECC": false, "RSA": true} {
		t.Run(name, func(t *testing.T) {
			s := managed(t, rsa)
			im, err := s.take(t)
			if err != nil {
				t.Fatal(err)
			}
			if im.Profile != poclog.GCETDXvTPM {
				t.Errorf("profile %s", im.Profile)
			}
			s.wantLevel2(t, im, 0)
			a := s.appraise(t, im)
			var banks []string
			for _, b := range a.Entry.TPM.PCRs {
				banks = append(banks, b.Alg)
			}
			if strings.Join(banks, " ") != "sha1 sha256 sha384" {
				t.Errorf("banks %v: want those of the event log", banks)
			}
		})
	}
}

func TestBareMetalMachineProvesItsPlace(t *testing.T) {
	for name, c := range map[string]struct {
		rsa    bool
		change func(s *stage)
	}{
		"persistent AK":      {},
		"persistent RSA AK":  {rsa: true},
		"AK from its public": {change: func(s *stage) { s.o.AKHandle, s.o.AKTemplate = 0, s.g.Template }},
		"AK from a template": {change: func(s *stage) {
			w := s.w.Metal.Launch.AuthPolicy(11)
			s.o.AKHandle, s.o.AKTemplate = 0, tpm2.Marshal(swtpm.Template(false, w))
		}},
		"with the host's event log": {change: func(s *stage) { s.g.Write(guest.TCGLog, s.w.Metal.Boot.TCGLog) }},
	} {
		t.Run(name, func(t *testing.T) {
			s := metalMachine(t, discrete.Options{RSA: c.rsa})
			if c.change != nil {
				c.change(s)
			}
			im, err := s.take(t)
			if err != nil {
				t.Fatal(err)
			}
			s.wantLevel2(t, im, 1)
			if c.change == nil && (im.Bundle.Has(poclog.ItemTCGLog) || !im.Bundle.Has(poclog.ItemCCEL)) {
				t.Errorf("items %v", im.Bundle.Items())
			}
		})
	}
}

// A log of another machine's would have the bundle refused: it is left out, and the notes say so.
func TestBareMetalMachineLeavesOutForeignLogs(t *testing.T) {
	s := metalMachine(t, discrete.Options{})
	s.g.Write(guest.TCGLog, attack.NewWorld().VM.Config.Image.TCGLog)
	s.g.Write(guest.CCEL, attack.NewWorld().VM.Config.Image.CCEL)
	im, err := s.take(t)
	if err != nil {
		t.Fatal(err)
	}
	if len(im.Notes) != 3 || im.Bundle.Has(poclog.ItemTCGLog) || im.Bundle.Has(poclog.ItemCCEL) {
		t.Errorf("items %v, notes %q", im.Bundle.Items(), im.Notes)
	}
	s.wantLevel2(t, im, 1)
}

// An Azure VM's nonce goes through the paravisor into its report, and all that a judge binds there
// is carried.
func TestAzureVMsAreBound(t *testing.T) {
	for _, p := range []poclog.Profile{poclog.AzureTDXvTPM, poclog.AzureSNPvTPM} {
		t.Run(string(p), func(t *testing.T) {
			s := azureStage(t, p)
			im, err := s.take(t)
			if err != nil {
				t.Fatal(err)
			}
			o, err := profile.Look(im.Profile, im.Bundle)
			if err != nil || o.Level != poclog.LevelBound || im.Profile != p {
				t.Errorf("profile %s, level %d is promised (%v): %+v", im.Profile, o.Level, err, o.Checks)
			}
			if a := s.appraise(t, im); a.Entry.Level != poclog.LevelBound || a.Entry.Fresh == nil || a.Entry.Profile != p {
				t.Errorf("entry %+v", a.Entry)
			}
			r := s.m.Check(t.Context(), s.o, nil)
			if r.Cloud != attest.Azure || r.Profile != p || slices.ContainsFunc(r.Requirements, func(q attest.Requirement) bool { return !q.OK && q.Name != attest.PieceLog }) {
				t.Errorf("%+v", r)
			}
			s.o.AKCerts = nil
			wantMissing(t, s, attest.PieceAKChain, "Virtual TPM")
			s.g.V.UndefineNV(importer.NVAzureAKCert)
			wantMissing(t, s, attest.PieceAK, "AK certificate")
		})
	}
	s := managed(t, false)
	s.g.Write("sys/class/dmi/id/product_name", []byte("Virtual Machine\n"))
	s.g.Write("sys/class/dmi/id/chassis_asset_tag", []byte("7783-7084-3265-9085-8269-3286-77\n"))
	var m *attest.MissingError
	if _, err := s.take(t); !errors.As(err, &m) || m.Piece != attest.PieceTEE || m.How != attest.RunInAzure {
		t.Errorf("an Azure VM without a paravisor: %v", err)
	}
}

func azureStage(t *testing.T, p poclog.Profile) *stage {
	t.Helper()
	w := attack.NewWorldOf(p)
	g := guest.Azure(t, w.Azure, w.AzureVM)
	return &stage{w, g, machineOf(g), &attest.Options{AKCerts: ders(g, g.Chain)[1:]}}
}

// A persistent AK is made once, is the same key, and is found again.
func TestAKIsKeptOnlyWhereAsked(t *testing.T) {
	const handle tpm2.TPMHandle = 0x81010010
	s := managed(t, false)
	first, err := s.take(t)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (tpm2.ReadPublic{ObjectHandle: handle}).Execute(s.g.V); err == nil {
		t.Error("an AK is persistent that nobody asked for")
	}
	s.o.Persist = handle
	for range 2 {
		im, err := s.take(t)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(im.Bundle.Get(poclog.ItemTPMAK), first.Bundle.Get(poclog.ItemTPMAK)) {
			t.Error("another AK")
		}
		s.wantLevel2(t, im, 0)
	}
	if _, err := (tpm2.ReadPublic{ObjectHandle: handle}).Execute(s.g.V); err != nil {
		t.Errorf("the AK is not persistent: %v", err)
	}
	other := s.g.V.CreateIn(tpm2.TPMRHOwner, swtpm.Template(false, nil))
	other.Persist(handle + 1)
	other.Flush()
	s.o.Persist = handle + 1
	var m *attest.MissingError
	if _, err := s.take(t); !errors.As(err, &m) || m.Piece != attest.PieceAK || m.How != attest.ChooseHandle {
		t.Errorf("another key's handle: %v", err)
	}
}

func TestChipAloneProvesNoPlace(t *testing.T) {
	w := attack.NewWorld()
	g := guest.Managed(t, w.Cloud, w.VM, false)
	g.Write("sys/class/dmi/id/product_name", []byte("Somebody's cloud\n"))
	im, err := machineOf(g).Attest(t.Context(), new(attest.Options), func(_ context.Context, p poclog.Profile) (*poclog.Challenge, error) {
		ch := *w.Challenge
		ch.Profile = p
		return &ch, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	o, err := profile.Look(im.Profile, im.Bundle)
	if im.Profile != poclog.TDX || err != nil || o.Level != poclog.LevelChip || len(im.Bundle.Items()) != 2 {
		t.Errorf("profile %s, level %d, %v, items %v: %v", im.Profile, o.Level, o.Checks, im.Bundle.Items(), err)
	}
}

func wantMissing(t *testing.T, s *stage, piece, why string) {
	t.Helper()
	_, err := s.take(t)
	var m *attest.MissingError
	if !errors.As(err, &m) || m.Piece != piece || !strings.Contains(err.Error(), why) || m.How == "" || strings.Contains(err.Error(), "\n") {
		t.Errorf("%v: want %s with %q, and how to get it", err, piece, why)
	}
	r := s.m.Check(t.Context(), s.o, nil)
	i := slices.IndexFunc(r.Requirements, func(q attest.Requirement) bool { return q.Name == piece })
	if i < 0 || r.Requirements[i].OK || r.Requirements[i].How != m.How {
		t.Errorf("the check says %+v", r.Requirements)
	}
	if loaded := s.g.V.Loaded(); len(loaded) > 0 {
		t.Errorf("the TPM still holds %x", loaded)
	}
}

func TestWhatIsMissingSaysHowToGetIt(t *testing.T) {
	remove := func(path string) func(*stage) {
		return func(s *stage) { _ = os.Remove(filepath.Join(s.g.Root, path)) }
	}
	undefine := func(index tpm2.TPMHandle) func(*stage) {
		return func(s *stage) { s.g.V.UndefineNV(index) }
	}
	for name, c := range map[string]struct {
		change func(s *stage)
		piece  string
		why    string
	}{
		"no TSM":          {func(s *stage) { s.m.TSM = nil }, attest.PieceTEE, "no configfs-tsm"},
		"no permission":   {func(s *stage) { s.m.TSM = func() (configfsi.Client, error) { return nil, fs.ErrPermission } }, attest.PieceTEE, "permission denied"},
		"no TPM":          {func(s *stage) { s.m.TPM = func() (transport.TPMCloser, error) { return importer.OpenTPM("/dev/none") } }, attest.PieceTPM, "/dev/none"},
		"no certificate":  {undefine(importer.NVGCEAKCertECC), attest.PieceAK, "no AK certificate"},
		"no template":     {undefine(importer.NVGCEAKTemplateECC), attest.PieceAK, "AK template"},
		"template broken": {func(s *stage) { s.redefine(importer.NVGCEAKTemplateECC, []byte{1, 2, 3}) }, attest.PieceAK, "AK template"},
		"other template": {func(s *stage) {
			other := swtpm.Template(false, nil)
			other.ObjectAttributes.NoDA = true
			s.redefine(importer.NVGCEAKTemplateECC, tpm2.Marshal(other))
		}, attest.PieceAK, "another key than the certificate is for"},
		"no issuers":      {func(s *stage) { s.o.AKCerts = nil }, attest.PieceAKChain, "EK/AK CA Intermediate"},
		"no root":         {func(s *stage) { s.o.AKCerts = s.o.AKCerts[:1] }, attest.PieceAKChain, "EK/AK CA Root"},
		"no TPM log":      {remove(guest.TCGLog), attest.PieceLogs, "binary_bios_measurements"},
		"no TD log":       {remove(guest.CCEL), attest.PieceLogs, "CCEL"},
		"TPM log garbage": {func(s *stage) { s.g.Write(guest.TCGLog, []byte("garbage")) }, attest.PieceLogs, "tcg-log"},
		"TD log too long": {func(s *stage) { s.g.Write(guest.CCEL, make([]byte, 1<<20+1)) }, attest.PieceLogs, "over 1048576 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			s := managed(t, false)
			c.change(s)
			wantMissing(t, s, c.piece, c.why)
		})
	}
}

func (s *stage) redefine(index tpm2.TPMHandle, b []byte) {
	s.g.V.UndefineNV(index)
	s.g.V.DefineNV(index, b)
}

func TestWhatABareMetalMachineLacksSaysHowToGetIt(t *testing.T) {
	for name, c := range map[string]struct {
		options discrete.Options
		change  func(t *testing.T, s *stage)
		piece   string
		why     string
	}{
		"no AK":             {discrete.Options{}, func(_ *testing.T, s *stage) { s.o.AKHandle, s.o.Profile = 0, poclog.BareMetalTDXTPM }, attest.PieceAK, "no attestation key is named"},
		"no AK certificate": {discrete.Options{}, func(_ *testing.T, s *stage) { s.o.AKCerts = nil }, attest.PieceAK, "no certificate of the provider"},
		"empty handle":      {discrete.Options{}, func(_ *testing.T, s *stage) { s.o.AKHandle = 0x81019999 }, attest.PieceAK, "0x81019999"},
		"another's certificate": {discrete.Options{}, func(_ *testing.T, s *stage) {
			s.o.AKCerts = ders(s.g, s.w.NewMachine(true).AKChain)
		}, attest.PieceAK, "none of 3 certificates is of the key"},
		"another template": {discrete.Options{}, func(_ *testing.T, s *stage) {
			s.o.AKHandle, s.o.AKTemplate = 0, tpm2.Marshal(swtpm.Template(false, nil))
		}, attest.PieceAK, "none of 3 certificates"},
		"another launch": {discrete.Options{}, func(_ *testing.T, s *stage) {
			discrete.Launch(s.g.V, metal.NewLaunch("the tenant's own"))
		}, attest.PieceAK, "another stack was launched"},
		"no policy":      {discrete.Options{Free: true}, nil, attest.PieceAK, "without a policy"},
		"no issuers":     {discrete.Options{}, func(_ *testing.T, s *stage) { s.o.AKCerts = s.o.AKCerts[:1] }, attest.PieceAKChain, "Laboratory AK of"},
		"no EK":          {discrete.Options{}, func(_ *testing.T, s *stage) { s.g.V.UndefineNV(0x01c0000a) }, attest.PieceEKChain, "none of 2 certificates is of the EK"},
		"no EK at all":   {discrete.Options{}, func(_ *testing.T, s *stage) { s.g.V.UndefineNV(0x01c0000a); s.o.EKCerts = nil }, attest.PieceEKChain, "no EK certificate"},
		"no EK issuers":  {discrete.Options{}, func(_ *testing.T, s *stage) { s.o.EKCerts = nil }, attest.PieceEKChain, "Laboratory TPM Maker"},
		"a broken chain": {discrete.Options{}, func(_ *testing.T, s *stage) { s.o.EKCerts = [][]byte{{1}} }, attest.PieceEKChain, "certificate 0"},
	} {
		t.Run(name, func(t *testing.T) {
			s := metalMachine(t, c.options)
			if c.change != nil {
				c.change(t, s)
			}
			wantMissing(t, s, c.piece, c.why)
		})
	}
}

// A quote over other data than was asked for, another technology's or garbage is not passed on.
func TestTheTDsAnswerIsHeldToTheQuestion(t *testing.T) {
	s := managed(t, false)
	right, err := s.m.TSM()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ attr, answer, why string }{
		"another technology": {"provider", "sev_guest\n", "sev_guest"},
		"garbage":            {"outblob", "garbage", "tee"},
	} {
		s.m.TSM = func() (configfsi.Client, error) { return answering{right, c.attr, []byte(c.answer)}, nil }
		if _, err := s.take(t); err == nil || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: %v", name, err)
		}
	}
	old := s.w.VM.Platform().Quote(s.w.VM.TD([64]byte{1}))
	s.m.TSM = func() (configfsi.Client, error) { return answering{right, "outblob", old}, nil }
	if _, err := s.take(t); err == nil || !strings.Contains(err.Error(), "REPORTDATA") {
		t.Errorf("a quote over other data: %v", err)
	}
}

// answering answers for one attribute.
type answering struct {
	configfsi.Client
	attr   string
	answer []byte
}

func (a answering) ReadFile(name string) ([]byte, error) {
	b, err := a.Client.ReadFile(name)
	if err == nil && strings.HasSuffix(name, "/"+a.attr) {
		return a.answer, nil
	}
	return b, err
}

// --check takes evidence to try, by the appraiser's own checks: what contradicts itself shows
// before anything is published, and nothing stays in the TPM.
func TestReportSaysWhetherTheEvidenceFitsTogether(t *testing.T) {
	for name, s := range map[string]*stage{"Compute Engine": managed(t, false), "bare metal": metalMachine(t, discrete.Options{})} {
		r := s.m.Check(t.Context(), s.o, nil)
		if r.Outlook == nil || r.Contradicts() || len(r.Outlook.Missing) > 0 {
			t.Fatalf("%s: %+v", name, r)
		}
		for _, c := range r.Outlook.Checks {
			if c.State == profile.Lost && c.Check != verify.FreshChallenge && c.Check != verify.BindPCRRTMR {
				t.Errorf("%s: %+v", name, c)
			}
		}
		if loaded := s.g.V.Loaded(); len(loaded) > 0 {
			t.Errorf("%s: the TPM still holds %x", name, loaded)
		}
	}
	s := managed(t, false)
	s.g.V.Extend(9, []byte("what no log tells"))
	r := s.m.Check(t.Context(), s.o, nil)
	i := slices.IndexFunc(r.Outlook.Checks, func(c profile.Prospect) bool { return c.Check == verify.BindPCRRTMR })
	if !r.Contradicts() || r.OK() || r.Outlook.Checks[i].State != profile.Refused {
		t.Errorf("%+v", r.Outlook.Checks[i])
	}
}

func TestReportSaysWhatIsAtHand(t *testing.T) {
	s := managed(t, false)
	r := s.m.Check(t.Context(), s.o, nil)
	if r.Cloud != attest.GCE || r.Profile != poclog.GCETDXvTPM || r.OK() {
		t.Errorf("%+v", r)
	}
	var names []string
	for _, q := range r.Requirements {
		names = append(names, q.Name)
		if q.OK != (q.Name != attest.PieceLog) || q.Detail == "" || q.OK != (q.How == "") {
			t.Errorf("%+v", q)
		}
	}
	if got := strings.Join(names, " "); got != "machine tee event-logs tpm ak ak-chain log" {
		t.Errorf("pieces %s", got)
	}
	m := metalMachine(t, discrete.Options{})
	if r := m.m.Check(t.Context(), m.o, nil); len(r.Requirements) != 8 || slices.ContainsFunc(r.Requirements[:7], func(q attest.Requirement) bool { return !q.OK }) {
		t.Errorf("%+v", r)
	}
}
