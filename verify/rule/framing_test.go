package rule_test

import (
	"crypto/sha256"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/amd"
	"github.com/poclog/poclog/internal/lab/attack"
	"github.com/poclog/poclog/internal/lab/azure"
	"github.com/poclog/poclog/internal/lab/chip"
	"github.com/poclog/poclog/internal/lab/gce"
	"github.com/poclog/poclog/verify/profile"
	"github.com/poclog/poclog/verify/rule"
)

// A stage is where somebody tries to frame the owner of an honest VM: a world whose logs admit
// whatever passes, fresh or historical, at any level.
type stage struct {
	*attack.World
	t      *testing.T
	claims []*rule.Claim
}

func newStage(t *testing.T, p poclog.Profile) *stage {
	s := &stage{World: attack.NewWorldOf(p), t: t}
	s.Policy.Registries = nil
	admit := []poclog.Profile{poclog.AzureSNPvTPM, poclog.AzureTDXvTPM, poclog.BareMetalTDXTPM, poclog.GCETDXvTPM, poclog.SNP, poclog.TDX}
	s.Policy.Admit = nil
	for _, p := range admit {
		s.Policy.Admit = append(s.Policy.Admit, poclog.Admission{Profile: p, Level: poclog.LevelChip, Historical: true})
	}
	return s
}

// logged appraises a bundle and puts its entry into a log, with an interval. It reports whether the
// log admits it.
func (s *stage) logged(origin string, b *poclog.Bundle, t1, t2 time.Duration) bool {
	s.t.Helper()
	in := profile.Input{Appraised: attack.Now, Appraisal: poclog.Appraisal}
	var err error
	if in.Bundle, in.Collateral, in.Policy, err = s.Files(b); err != nil {
		s.t.Fatal(err)
	}
	a, err := profile.Appraise(in)
	if err != nil {
		s.t.Logf("refused: %v", err)
		return false
	}
	c := &rule.Claim{Origin: origin, Index: uint64(len(s.claims)), Entry: &a.Entry, T1: attack.Now.Add(t1), T2: attack.Now.Add(t2), Rooted: true}
	if a.Entry.Fresh == nil {
		c.T1 = time.Time{}
	}
	s.claims = append(s.claims, c)
	return true
}

// findings runs every rule over all that was logged.
func (s *stage) findings() (found []*rule.Finding) {
	for i, e := range s.claims {
		for _, f := range s.claims[:i] {
			found = append(found, rule.Compare(f, e)...)
		}
		found = append(found, rule.Judge(e)...)
	}
	return found
}

// must puts an entry into a log that has to admit it, or the attempt would show nothing.
func (s *stage) must(origin string, b *poclog.Bundle) {
	s.t.Helper()
	if !s.logged(origin, b, -5*time.Second, 5*time.Second) {
		s.t.Fatal("not admitted")
	}
}

// anotherHost is one of the cloud's, with a chip of AMD's.
func (s *stage) anotherHost() *azure.Host {
	return s.Azure.NewHost(s.Azure.Regions[0], "Milan")
}

// reported is a bundle of a SEV-SNP report alone, which answers the challenge.
func (s *stage) reported(report, certs []byte) *poclog.Bundle {
	s.t.Helper()
	item, err := s.Challenge.Marshal()
	if err != nil {
		s.t.Fatal(err)
	}
	b := new(poclog.Bundle)
	b.Set(poclog.ItemSNPReport, report)
	b.Set(poclog.ItemSNPCerts, certs)
	b.Set(poclog.ItemChallenge, item)
	return b
}

func drop(b *poclog.Bundle, items ...poclog.Item) *poclog.Bundle {
	b = b.Clone()
	for _, i := range items {
		b.Set(i, nil)
	}
	return b
}

// With each attempt the framer controls all but the victim's machine and keys: he picks out of
// public bundles, rents VMs, owns chips, runs logs. The victims are everything that the honest VM's
// entry names, and nothing of it is implicated; where not even a stranger did wrong, there is no
// contradiction at all.
var framings = []struct {
	name    string
	profile poclog.Profile
	stage   func(s *stage)
	wronged bool // somebody did wrong: a contradiction may be found, which must not implicate the victims
}{
	{"a public bundle submitted again, to two logs", poclog.GCETDXvTPM, func(s *stage) {
		b := s.Honest()
		s.must("a.test", b)
		s.must("b.test", b)
		s.must("b.test", b.Clone())
	}, false},
	{"without its challenge, so that it is of no time", poclog.GCETDXvTPM, func(s *stage) {
		b := s.Honest()
		s.must("a.test", b)
		s.must("b.test", drop(b, poclog.ItemChallenge))
	}, false},
	{"in parts", poclog.GCETDXvTPM, func(s *stage) {
		b := s.Honest()
		s.must("a.test", b)
		s.must("b.test", drop(b, poclog.ItemTPMAK))
		s.must("b.test", drop(b, poclog.ItemTCGLog))
		bare := new(poclog.Bundle)
		bare.Set(poclog.ItemTDXQuote, b.Get(poclog.ItemTDXQuote))
		s.must("b.test", bare)
	}, false},
	{"a rented TPM quotes the victim's TD quote", poclog.GCETDXvTPM, func(s *stage) {
		s.VM.Config.NoPZID = true
		b := s.Honest()
		s.must("a.test", b)
		rented := s.NewVM(gce.VMConfig{NoPZID: true})
		sum := sha256.Sum256(b.Get(poclog.ItemTDXQuote))
		item, values, err := rented.TPM.Quote(sum[:], attack.Now)
		if err != nil {
			s.t.Fatal(err)
		}
		// Its own key does not stand in REPORTDATA: without the key's TPMT_PUBLIC nobody looks.
		stolen := drop(b, poclog.ItemTPMAK)
		stolen.Set(poclog.ItemTPMQuote, item)
		stolen.Set(poclog.ItemTPMPCRs, values)
		stolen.Set(poclog.ItemTPMAKChain, rented.TPM.Chain)
		s.must("b.test", stolen)
		s.must("b.test", drop(stolen, poclog.ItemChallenge))
	}, false},
	{"a TD at home names the victim's key, beside the victim's TPM quote", poclog.GCETDXvTPM, func(s *stage) {
		b := s.Honest()
		s.must("a.test", b)
		home := s.Cloud.Maker.NewPlatform("at home", nil)
		td := s.VM.TD(s.Challenge.ReportData(s.VM.TPM.Public))
		fake := drop(b, poclog.ItemChallenge)
		fake.Set(poclog.ItemTDXQuote, home.Quote(td))
		s.must("b.test", fake)
	}, false},
	{"a tenant binds a key that he rents elsewhere to the host that he shares", poclog.GCETDXvTPM, func(s *stage) {
		s.must("a.test", s.Honest())
		away, err := s.Cloud.NewHost(s.Cloud.Zones[2], 1)
		if err != nil {
			s.t.Fatal(err)
		}
		rented, err := away.NewVM(0, gce.VMConfig{NoPZID: true})
		if err != nil {
			s.t.Fatal(err)
		}
		s.Challenge.Salt[1]++
		s.must("a.test", s.Assemble(attack.Mix{TPM: rented.TPM, TD: func(td *chip.TD) { td.MROwner = [48]byte{} }}))
	}, true},
	{"a stranger asks the VM one challenge before and after a restart", poclog.GCETDXvTPM, func(s *stage) {
		first := s.Honest()
		s.must("a.test", first)
		if err := s.VM.Reboot(); err != nil {
			s.t.Fatal(err)
		}
		// The quoting enclave signs anew: s is another. Here its negative will do.
		s.must("a.test", s.Assemble(attack.Mix{Quote: func(q []byte) { copy(q, attack.NegateS(q)) }}))
	}, false},
	{"the VM is moved, and what was before it is logged last", poclog.GCETDXvTPM, func(s *stage) {
		before := s.Honest()
		if err := s.VM.Move(s.Host, 1); err != nil {
			s.t.Fatal(err)
		}
		s.Challenge.Salt[1]++
		s.must("a.test", s.Honest())
		s.must("a.test", before)
	}, false},
	{"the chip's PIID changed at re-provisioning", poclog.GCETDXvTPM, func(s *stage) {
		s.must("a.test", s.Honest())
		s.Challenge.Salt[1]++
		anew := s.Cloud.Maker.NewPlatform("anew", func(p *chip.Platform) { p.PPID = s.VM.Platform().PPID })
		s.must("a.test", s.Assemble(attack.Mix{Chip: anew}))
	}, false},
	{"a provider of the framer's certifies the victim's machine elsewhere", poclog.BareMetalTDXTPM, func(s *stage) {
		b := s.Honest()
		s.must("a.test", b)
		// The operator of a log lists whom he likes as a provider, by whatever name: here the
		// victim's own.
		place := s.Machine.Place
		place.Region, place.Zone = "lab-south1", "lab-south1-a"
		evil := b.Clone()
		evil.Set(poclog.ItemTPMAKChain, s.Metal.CA.CertifyAK(s.Machine.TPM.Key(), place))
		s.must("b.test", evil)
	}, true},
	{"and under another's EK", poclog.BareMetalTDXTPM, func(s *stage) {
		b := s.Honest()
		s.must("a.test", b)
		other := s.NewMachine(false)
		place := other.Place
		evil := b.Clone()
		evil.Set(poclog.ItemTPMAKChain, s.Metal.CA.CertifyAK(s.Machine.TPM.Key(), place))
		evil.Set(poclog.ItemTPMEKChain, other.EKChain)
		s.must("b.test", evil)
	}, true},
	{"a SEV-SNP VM's public bundle submitted again, without its challenge and in parts", poclog.AzureSNPvTPM, func(s *stage) {
		b := s.Honest()
		s.must("a.test", b)
		s.must("b.test", b)
		s.must("b.test", drop(b, poclog.ItemTPMAK))
		s.must("b.test", drop(b, poclog.ItemChallenge))
		bare := new(poclog.Bundle)
		bare.Set(poclog.ItemSNPReport, b.Get(poclog.ItemSNPReport))
		bare.Set(poclog.ItemSNPCerts, b.Get(poclog.ItemSNPCerts))
		s.must("b.test", bare)
	}, false},
	{"a SEV-SNP VM is moved, and what was before it is logged last", poclog.AzureSNPvTPM, func(s *stage) {
		before := s.Honest()
		s.AzureVM.Move(s.anotherHost())
		s.Challenge.Salt[1]++
		s.must("a.test", s.Honest())
		s.must("a.test", before)
	}, false},
	{"a rented TPM quotes the victim's SEV-SNP report", poclog.AzureSNPvTPM, func(s *stage) {
		b := s.Honest()
		s.must("a.test", b)
		rented := s.anotherHost().NewVM(azure.VMConfig{})
		sum := sha256.Sum256(b.Get(poclog.ItemSNPReport))
		item, values, err := rented.TPM.QuoteOf(sum[:], attack.Now, azure.Selection)
		if err != nil {
			s.t.Fatal(err)
		}
		stolen := drop(b, poclog.ItemTPMAK, poclog.ItemChallenge)
		stolen.Set(poclog.ItemTPMQuote, item)
		stolen.Set(poclog.ItemTPMPCRs, values)
		// The HCL report names the victim's key: without the rented key's certificate nobody takes
		// it, with it nobody binds it.
		if s.logged("b.test", stolen, 0, 0) {
			s.t.Error("a stranger's TPM quote passes under the victim's certificate")
		}
		stolen.Set(poclog.ItemTPMAKChain, rented.TPM.Chain)
		if s.logged("b.test", stolen, 0, 0) {
			s.t.Error("a stranger's TPM quote passes beside the victim's HCL report")
		}
	}, false},
	{"a SEV-SNP chip at home names the victim's key, beside the victim's TPM quote", poclog.AzureSNPvTPM, func(s *stage) {
		b := s.Honest()
		s.must("a.test", b)
		// Firmware of his own says what he likes; all else is the victim's, with its AK's
		// TPMT_PUBLIC and without.
		fake := s.Compose(attack.AzureMix{Host: s.anotherHost(), Guest: func(g *amd.Guest) { g.Measurement[0] ^= 1 }})
		fake.Set(poclog.ItemTPMQuote, b.Get(poclog.ItemTPMQuote))
		for _, items := range [][]poclog.Item{{poclog.ItemChallenge}, {poclog.ItemChallenge, poclog.ItemTPMAK}} {
			s.must("b.test", drop(fake, items...))
			if e := s.claims[len(s.claims)-1].Entry; len(e.Keys) > 0 || e.Instance != "" || e.Place != nil {
				s.t.Errorf("it names %v, %s and %+v", e.Keys, e.Instance, e.Place)
			}
		}
	}, false},
	{"who has a cloud's VLEK names the victim's chip as one of another product", poclog.SNP, func(s *stage) {
		victim := amd.NewMaker("AMD", "Milan", attack.Now.AddDate(-1, 0, 0))
		s.Policy.Roots = append(s.Policy.Roots, poclog.Root{Use: poclog.RootAMDARK, SHA256: poclog.Sum(victim.Root()), Name: "ARK-Milan"})
		slices.SortFunc(s.Policy.Roots, func(a, b poclog.Root) int {
			return strings.Compare(string(a.Use)+a.SHA256.String(), string(b.Use)+b.SHA256.String())
		})
		for _, kind := range []string{"vcek", "vlek"} {
			s.Collateral = s.Collateral.With(victim.CRL(amd.CRLOptions{At: attack.Now.AddDate(0, 0, -3), Kind: kind}))
		}
		guest, his := amd.Guest{ReportData: s.Challenge.ReportData(nil)}, victim.NewChip("the victim's", [8]byte{})
		s.must("a.test", s.reported(his.Report(guest, nil), his.Certs()))
		cloud := s.Azure.AMD["Genoa"]
		key, own := cloud.NewCloudKey("azure", [8]byte{}), cloud.NewChip("the framer's", [8]byte{})
		report := own.Report(guest, key)
		copy(report[0x1a0:], his.ID[:])
		own.Sign(report, key)
		s.must("b.test", s.reported(report, key.Certs()))
	}, true},
	{"a host's firmware says under the cloud's VLEK that the VM is on another chip", poclog.AzureSNPvTPM, func(s *stage) {
		key := s.Azure.AMD["Milan"].NewCloudKey("azure", [8]byte{})
		s.must("a.test", s.Compose(attack.AzureMix{Loaded: key}))
		s.Challenge.Salt[1]++
		s.must("a.test", s.Compose(attack.AzureMix{Loaded: key, Host: s.anotherHost()}))
	}, false},
	{"two VMs on two sockets of a host", poclog.GCETDXvTPM, func(s *stage) {
		s.must("a.test", s.Honest())
		vm, err := s.Host.NewVM(1, gce.VMConfig{})
		if err != nil {
			s.t.Fatal(err)
		}
		s.VM = vm
		s.must("a.test", s.Honest())
	}, false},
	{"the RSA and the ECC key of one instance", poclog.GCETDXvTPM, func(s *stage) {
		s.must("a.test", s.Honest())
		s.Challenge.Salt[1]++
		s.must("a.test", s.Honest())
		rsa := *s.claims[1].Entry
		tpm := *rsa.TPM
		tpm.KeyType = "rsa-2048"
		rsa.TPM, rsa.Keys = &tpm, []poclog.Identity{akB}
		s.claims[1].Entry = &rsa
	}, false},
}

func TestNobodyIsFramed(t *testing.T) {
	for _, f := range framings {
		t.Run(f.name, func(t *testing.T) {
			s := newStage(t, f.profile)
			f.stage(s)
			var victims []string
			for _, id := range s.claims[0].Entry.Identities() {
				victims = append(victims, string(id))
			}
			for _, found := range s.findings() {
				t.Logf("%s (%s): %s %s implicated %v", found.Rule, found.Severity, found.Seen, found.Meaning, found.Implicated)
				if found.Severity == rule.Contradiction && !f.wronged {
					t.Errorf("a contradiction of honest entries")
				}
				for _, who := range found.Implicated {
					if slices.Contains(victims, who) || who == "provider:"+attack.MetalName || who == "maker:amd" {
						t.Errorf("%s is framed by rule %s", who, found.Rule)
					}
				}
			}
		})
	}
}
