package profile

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/attack"
	"github.com/poclog/poclog/internal/lab/endorser"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/receipt"
	"github.com/poclog/poclog/verify/tpm"
)

// opened is a bundle of the world after parsing, before any check.
func opened(t *testing.T, w *world, b *poclog.Bundle) *subject {
	t.Helper()
	s, err := open(judging(t, w, b))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.choose(); err != nil {
		t.Fatal(err)
	}
	if err := s.parse(); err != nil {
		t.Fatal(err)
	}
	return s
}

func honest(t *testing.T, p poclog.Profile) (*world, *subject) {
	t.Helper()
	w := attack.NewWorldOf(p)
	return w, opened(t, w, w.Honest())
}

// wantSaid wants an error that names a check and says something; or, with neither, none.
func wantSaid(t *testing.T, name string, err error, check verify.Check, say string) {
	t.Helper()
	if got, _ := verify.CheckOf(err); got != check || (err == nil) != (check == "") || err != nil && !strings.Contains(err.Error(), say) {
		t.Errorf("%s: %v: want %q, %q", name, err, check, say)
	}
}

// A profile follows from the items: a TPM's beside an SNP report, which no profile of SEV-SNP
// takes, makes no TDX profile of it.
func TestProfilesFollowFromItems(t *testing.T) {
	for _, c := range []struct {
		items []poclog.Item
		want  poclog.Profile
	}{
		{[]poclog.Item{poclog.ItemTDXQuote}, poclog.TDX},
		{[]poclog.Item{poclog.ItemTDXQuote, poclog.ItemTPMQuote}, poclog.GCETDXvTPM},
		{[]poclog.Item{poclog.ItemTDXQuote, poclog.ItemTPMAK}, poclog.GCETDXvTPM},
		{[]poclog.Item{poclog.ItemTDXQuote, poclog.ItemTPMAKChain}, poclog.GCETDXvTPM},
		{[]poclog.Item{poclog.ItemTDXQuote, poclog.ItemTPMPCRs}, poclog.GCETDXvTPM},
		{[]poclog.Item{poclog.ItemTDXQuote, poclog.ItemTPMEKChain}, poclog.BareMetalTDXTPM},
		{[]poclog.Item{poclog.ItemTDXQuote, poclog.ItemHCLReport}, poclog.AzureTDXvTPM},
		{[]poclog.Item{poclog.ItemSNPReport, poclog.ItemHCLReport}, poclog.AzureSNPvTPM},
		{[]poclog.Item{poclog.ItemSNPReport}, poclog.SNP},
		{[]poclog.Item{poclog.ItemSNPReport, poclog.ItemTPMEKChain}, poclog.SNP},
		{[]poclog.Item{poclog.ItemSNPReport, poclog.ItemTPMQuote}, poclog.SNP},
		{[]poclog.Item{poclog.ItemSNPReport, poclog.ItemTDXQuote}, ""},
		{nil, ""},
	} {
		b := new(poclog.Bundle)
		for _, item := range c.items {
			b.Set(item, []byte{1})
		}
		if got, err := Of(b); got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%v: %q, %v: want %q", c.items, got, err, c.want)
		}
	}
}

// A second opinion is of the TEE's quote: nothing else of the bundle is read for it.
func TestSecondOpinionReadsTheTEEsItemsAlone(t *testing.T) {
	w := newWorld(t)
	b := w.Honest()
	b.Set(poclog.ItemTPMQuote, []byte("rubbish"))
	if err := NewKnown().SecondOpinion(b, labNow); err != nil {
		t.Error(err)
	}
}

// Under Azure's paravisor REPORTDATA is the hash, and zeros after it: else whoever makes the report
// has 32 bytes of his choice beside the AK.
func TestReportDataEndsInZerosUnderTheParavisor(t *testing.T) {
	_, s := honest(t, poclog.AzureTDXvTPM)
	wantSaid(t, "TDX", checkHCL(s), "", "")
	s.quote.Body.ReportData[32] = 1
	wantSaid(t, "TDX, with a byte more", checkHCL(s), verify.BindAKInTEE, "is not the hash of the HCL JSON")
	_, s = honest(t, poclog.AzureSNPvTPM)
	wantSaid(t, "SNP", checkSNPHCL(s), "", "")
	s.report.ReportData[63] = 1
	wantSaid(t, "SNP, with a byte more", checkSNPHCL(s), verify.BindAKInTEE, "is not the hash of the HCL JSON")
}

func TestRegionsInAIAAddressesAreNames(t *testing.T) {
	for address, want := range map[string]string{
		"http://azurevtpmicapki.westeurope.backup.windows.net/x": "westeurope",
		"http://azurevtpmicapki.West_Europe.windows.net/x":       "",
		"http://azurevtpmicapki/x":                               "",
		"http://other.westeurope.windows.net/x":                  "",
		"://":                                                    "",
	} {
		if got := azureRegion([]string{address}); got != want {
			t.Errorf("%s: %q, want %q", address, got, want)
		}
	}
}

// What stands in the EK's place is an EK's certificate: any other of a root that certifies EKs,
// such as a signing key's, would let its owner pass for a TPM.
func TestChainOfTheEKEndsInAnEK(t *testing.T) {
	w, s := honest(t, poclog.BareMetalTDXTPM)
	s.in.Known = NewKnown()
	for range 2 { // the second time by what is known
		wantSaid(t, "an EK's", s.checkEKChain(), "", "")
	}
	s.policy.Roots = append(s.policy.Roots, poclog.Root{Use: poclog.RootTPMEK, SHA256: poclog.Sum(w.Metal.CA.Root()), Name: "its provider"})
	s.bundle.Set(poclog.ItemTPMEKChain, w.Machine.AKChain)
	s.ekChain = s.akChain
	for range 2 {
		wantSaid(t, "an AK's", s.checkEKChain(), verify.TPMAKChain, "EK certificate: ")
	}
}

// Whether the quote shows no launch, or one that the policy does not list, is told apart.
func TestLaunchesThatAreNotShownAndNotListedAreToldApart(t *testing.T) {
	w := newMetalWorld(t)
	w.Policy.TXT = nil
	s := opened(t, w, w.Honest())
	wantSaid(t, "not listed", checkTXT(s), verify.BindTXT, "the policy lists no such launch")
	w.Machine.TPM.Selection = []tpm.PCRSelection{{Alg: tpm.SHA256, PCRs: []int{0, 7}}}
	s = opened(t, w, w.Honest())
	wantSaid(t, "not shown", checkTXT(s), verify.BindTXT, "in no bank of SHA-256 or SHA-384")
}

// A root speaks for a provider, or an owner, if it is listed for that and under that name: neither
// another root of the name nor the same one for other uses will do.
func TestRootsSpeakInTheirUseAlone(t *testing.T) {
	_, s := honest(t, poclog.BareMetalTDXTPM)
	wantSaid(t, "listed", checkBareMetalPlace(s), "", "")
	var own poclog.Root
	for i, r := range s.policy.Roots {
		if r.Use == poclog.RootProviderAK {
			own = r
			s.policy.Roots[i].Name = "better-metal"
		}
	}
	another, elsewhere := own, own
	another.SHA256, elsewhere.Use = poclog.Sum([]byte("another root")), poclog.RootTPMEK
	listed := s.policy.Roots
	for name, r := range map[string]poclog.Root{"another root of the name": another, "the root, for TPMs": elsewhere} {
		s.policy.Roots = append(slices.Clone(listed), r)
		wantSaid(t, name, checkBareMetalPlace(s), verify.PlaceCert, "does not list its root as that provider's")
	}
	s.policy.Roots = []poclog.Root{{Use: poclog.RootTPMEK, SHA256: own.SHA256, Name: "a maker"}, {Use: poclog.RootPlatformOwner, SHA256: own.SHA256, Name: "an owner"}}
	if got := s.ownerOf(own.SHA256); got != "an owner" {
		t.Errorf("the root speaks for %q", got)
	}
}

// An owner may have two roots.
func TestOneOwnerMayEndorseUnderTwoRoots(t *testing.T) {
	w := newWorld(t)
	for i, o := range []*endorser.Owner{w.Owner(), endorser.NewOwner("profile test, again", attack.OwnerName, labNow.AddDate(-1, 0, 0))} {
		w.AskOwner(o)
		it := o.Endorse(o.Statement(w.VM.Platform().PIID[:], labNow.AddDate(0, -1, 0)))
		it.URL = fmt.Sprintf("https://owner.test/%d", i)
		w.Bring(it)
	}
	a, err := Appraise(judging(t, w, w.Honest()))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(a.Entry.Endorsements); n != 2 {
		t.Errorf("%d endorsements: want 2", n)
	}
}

func TestChallengesAreInTimeToTheSecond(t *testing.T) {
	w := newWorld(t)
	limit := time.Duration(w.Policy.MaxChallengeAge) * time.Second
	for _, c := range []struct {
		age time.Duration
		say string
	}{{limit, ""}, {limit + time.Second, "old: want at most"}, {-verify.MaxSkew, ""}, {-verify.MaxSkew - time.Second, "after the time of appraisal"}} {
		w.Challenge = w.ChallengeAt(labNow.Add(-c.age))
		_, err := Appraise(judging(t, w, w.Honest()))
		check := verify.FreshChallenge
		if c.say == "" {
			check = ""
		}
		wantSaid(t, "an age of "+c.age.String(), err, check, c.say)
	}
}

func TestRegistrysAnswersAreInTimeToTheSecondAndBounded(t *testing.T) {
	address := func(s *subject) string {
		return s.policy.Registries[0].Address(hex.EncodeToString(s.quote.Platform.PPID[:]))
	}
	good := []byte(`{"zone":"` + attack.Zone + `"}`)
	for _, c := range []struct {
		name   string
		change func(it *poclog.CollateralItem)
		say    string // of a failure
		absent string // of an absence
	}{
		{name: "now"},
		{name: "an hour ago", change: func(it *poclog.CollateralItem) { it.Time = labNow.Add(-maxObservation) }},
		{name: "over an hour ago", change: func(it *poclog.CollateralItem) { it.Time = labNow.Add(-maxObservation - time.Second) }, say: "the answer was received at"},
		{name: "a minute ahead", change: func(it *poclog.CollateralItem) { it.Time = labNow.Add(verify.MaxSkew) }},
		{name: "over a minute ahead", change: func(it *poclog.CollateralItem) { it.Time = labNow.Add(verify.MaxSkew + time.Second) }, say: "the answer was received at"},
		{name: "of 16 KiB", change: func(it *poclog.CollateralItem) { it.Body = append(bytes.Repeat([]byte(" "), 1<<14-len(good)), good...) }},
		{name: "over 16 KiB", change: func(it *poclog.CollateralItem) {
			it.Body = append(bytes.Repeat([]byte(" "), 1<<14-len(good)+1), good...)
		}, absent: "cannot be read"},
		{name: "of another kind at the address", change: func(it *poclog.CollateralItem) { it.Kind = poclog.IntelRootCRL }, absent: "did not answer"},
		{name: "to another question", change: func(it *poclog.CollateralItem) { it.URL += "0" }, say: "the answer is to"},
	} {
		_, s := honest(t, poclog.GCETDXvTPM)
		it := poclog.CollateralItem{Kind: poclog.ChipRegistry, URL: address(s), Time: labNow, Status: 200, Body: good}
		if c.change != nil {
			c.change(&it)
		}
		s.collateral = &poclog.Collateral{Items: []poclog.CollateralItem{it}}
		err := s.checkRegistry(poclog.ProviderGCE)
		if c.absent != "" {
			if _, failed := verify.CheckOf(err); err == nil || failed || !strings.Contains(err.Error(), c.absent) {
				t.Errorf("%s: %v: want an absence, %q", c.name, err, c.absent)
			}
			continue
		}
		check := verify.PlaceRegistry
		if c.say == "" {
			check = ""
		}
		wantSaid(t, c.name, err, check, c.say)
	}
}

// The registry's word stands beside a zone only if it names that zone.
func TestZonesAreObservedWhereTheRegistryNamesThem(t *testing.T) {
	for _, p := range []poclog.Profile{poclog.GCETDXvTPM, poclog.BareMetalTDXTPM} {
		for zone, want := range map[string]bool{attack.Zone: true, "lab-south1-b": false, "": false} {
			_, s := honest(t, p)
			for i := range s.collateral.Items {
				if it := &s.collateral.Items[i]; it.Kind == poclog.ChipRegistry {
					it.Body = []byte(`{"zone":"` + zone + `"}`)
				}
			}
			if p == poclog.GCETDXvTPM {
				claimGCE(s)
			} else {
				claimBareMetal(s)
			}
			if got := slices.Contains(s.entry.Place.Zone.By, poclog.ByLogObserved); got != want {
				t.Errorf("%s, %q: observed %t", p, zone, got)
			}
		}
	}
}

// A chain is good while all its certificates are.
func TestChainsHoldWhileAllTheirCertificatesDo(t *testing.T) {
	at := func(day int) time.Time { return labNow.AddDate(0, 0, day) }
	cert := func(from, to int) *x509.Certificate { return &x509.Certificate{NotBefore: at(from), NotAfter: at(to)} }
	for _, certs := range [][]*x509.Certificate{
		{cert(1, 9), cert(0, 8), cert(-5, 20)}, {cert(-5, 20), cert(1, 9), cert(0, 8)}, {cert(0, 8), cert(-5, 20), cert(1, 9)}, {cert(1, 8)},
	} {
		if got := validity(certs...); !got.Issued.Equal(at(1)) || !got.Until.Equal(at(8)) {
			t.Errorf("%s to %s", got.Issued, got.Until)
		}
	}
}

func TestLiveQuotesInProductionAreUnderTheirMakersRoots(t *testing.T) {
	for _, use := range []poclog.RootUse{poclog.RootIntelSGX, poclog.RootAMDARK} {
		roots := liveRoots(poclog.Production, use, []byte("its own"))
		for _, r := range productionRoots {
			if roots[r.SHA256] != (r.Use == use) {
				t.Errorf("%s: %q: %t", use, r.Name, roots[r.SHA256])
			}
		}
	}
}

func TestProspectsSayWhatIsWrongInWords(t *testing.T) {
	w := newWorld(t)
	b := w.Honest()
	quote := bytes.Clone(b.Get(poclog.ItemTDXQuote))
	quote[0x90] ^= 1
	b.Set(poclog.ItemTDXQuote, quote)
	o, err := Look(poclog.GCETDXvTPM, b)
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	for _, c := range o.Checks {
		if c.State == Refused {
			refused++
			if c.Why == "" || strings.HasPrefix(c.Why, string(c.Check)+": ") {
				t.Errorf("%s: %q: want the reason without the check's name", c.Check, c.Why)
			}
		}
	}
	if refused == 0 || o.Level != LevelNone {
		t.Errorf("%d checks refuse, level %d", refused, o.Level)
	}
	for want, items := range map[string][]poclog.Item{
		"TDX quote":                       {poclog.ItemTDXQuote},
		"TPM quote and no PCR values":     {poclog.ItemTPMQuote, poclog.ItemTPMPCRs},
		"item challenge and no TDX quote": {poclog.ItemChallenge, poclog.ItemTDXQuote},
	} {
		if got := words(items); got != want {
			t.Errorf("%q: want %q", got, want)
		}
	}
}

// A refusal by the policy says which evidence it is that is not admitted.
func TestRefusalsByThePolicySayOfWhat(t *testing.T) {
	w := attack.NewWorldOf(poclog.TDX)
	b := w.Honest()
	w.Policy.Admit = []poclog.Admission{{Profile: poclog.GCETDXvTPM, Level: poclog.LevelBound}}
	_, err := Appraise(judging(t, w, b))
	wantSaid(t, "fresh", err, verify.Policy, "does not admit profile tdx at level 0")
	b.Set(poclog.ItemChallenge, nil)
	_, err = Appraise(judging(t, w, b))
	wantSaid(t, "historical", err, verify.Policy, "does not admit historical evidence of profile tdx at level 0")
}

// An entry names the files that there were, and its evidence gives it again.
func TestEntriesNameTheirFilesAndAreGivenAgain(t *testing.T) {
	w := attack.NewWorldOf(poclog.TDX)
	in := judging(t, w, w.Honest())
	for _, collateral := range [][]byte{in.Collateral, nil} {
		in.Collateral = collateral
		a, err := Appraise(in)
		if err != nil {
			t.Fatal(err)
		}
		want := poclog.Blob{}
		if collateral != nil {
			want = poclog.BlobOf(collateral)
		}
		if a.Entry.Evidence.Collateral != want || a.Entry.Evidence.Envelope != (poclog.Blob{}) {
			t.Errorf("%+v", a.Entry.Evidence)
		}
		leaf, err := a.Entry.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		e := receipt.Evidence{Bundle: in.Bundle, Collateral: collateral, Policy: in.Policy}
		if again, err := (Reappraiser{}).Reappraise(e, in.Appraised, in.Appraisal); err != nil || !bytes.Equal(again, leaf) {
			t.Errorf("again: %d bytes, %v: want %d", len(again), err, len(leaf))
		}
		e.Bundle = []byte("rubbish")
		if again, err := (Reappraiser{}).Reappraise(e, in.Appraised, in.Appraisal); err == nil || again != nil {
			t.Errorf("of rubbish: %d bytes, %v", len(again), err)
		}
	}
}

func TestReservedNamesAreReservedForWhatSpeaksOfPlaces(t *testing.T) {
	for name, c := range map[string]struct {
		change func(p *poclog.Policy)
		check  verify.Check
		say    string
	}{
		"a maker of TPMs by a cloud's name": {change: func(p *poclog.Policy) {
			p.Roots = append(p.Roots, poclog.Root{Use: poclog.RootTPMEK, SHA256: poclog.Sum([]byte("TPMs")), Name: poclog.ProviderGCE})
		}},
		"a maker of TPMs by a name in other letters": {change: func(p *poclog.Policy) {
			p.Roots = append(p.Roots, poclog.Root{Use: poclog.RootTPMEK, SHA256: poclog.Sum([]byte("TPMs")), Name: "Möbius"})
		}},
		"an owner by a name in other letters": {change: func(p *poclog.Policy) {
			p.Roots = append(p.Roots, poclog.Root{Use: poclog.RootPlatformOwner, SHA256: poclog.Sum([]byte("owner")), Name: "Möbius"})
		}, check: verify.Policy, say: "want the owner's name"},
		"a register of Google's chips": {change: func(p *poclog.Policy) {
			p.Registries = []poclog.Registry{{Provider: poclog.ProviderGCE, URL: "https://garage.example/"}}
		}, check: verify.Realm, say: "want \"https://storage.googleapis.com/"},
		"a register of Azure's chips": {change: func(p *poclog.Policy) {
			p.Registries = []poclog.Registry{{Provider: poclog.ProviderAzure, URL: "https://garage.example/"}}
		}, check: verify.Realm, say: "which has no register"},
	} {
		p := DefaultPolicy(false)
		c.change(p)
		wantSaid(t, name, CheckPolicy(p), c.check, c.say)
	}
}

// A launch is endorsed by what the policy lists for this profile, or by Google for its own VMs.
func TestLaunchesAreEndorsedForTheirProfile(t *testing.T) {
	snp := func(p poclog.Profile, change func(s *subject, measurement, key string)) (string, error) {
		_, s := honest(t, p)
		s.policy.Launch, s.policy.IDKeys = nil, nil
		s.report.GuestSVN = 7
		s.report.IDKeyDigest[0] = 0x1d
		change(s, hex.EncodeToString(s.report.Measurement[:]), hex.EncodeToString(s.report.IDKeyDigest[:]))
		err := checkSNPLaunch(s)
		return s.entry.CVM.EndorsedBy, err
	}
	zeros := strings.Repeat("0", 96)
	for name, c := range map[string]struct {
		launch []poclog.Launch
		keys   []poclog.IDKey
		by     string
		say    string
	}{
		"the measurement":                     {launch: []poclog.Launch{{Profile: poclog.AzureSNPvTPM, Measurement: "M"}}, by: "policy"},
		"the measurement, of another profile": {launch: []poclog.Launch{{Profile: poclog.SNP, Measurement: "M"}}, say: "nobody vouches"},
		"another measurement":                 {launch: []poclog.Launch{{Profile: poclog.AzureSNPvTPM, Measurement: zeros}}, say: "nobody vouches"},
		"the key":                             {keys: []poclog.IDKey{{Profile: poclog.AzureSNPvTPM, Digest: "K", GuestSVN: 7}}, by: "policy"},
		"the key, from an older SVN on":       {keys: []poclog.IDKey{{Profile: poclog.AzureSNPvTPM, Digest: "K", GuestSVN: 6}}, by: "policy"},
		"the key, from a newer SVN on":        {keys: []poclog.IDKey{{Profile: poclog.AzureSNPvTPM, Digest: "K", GuestSVN: 8}}, say: "wants at least 8"},
		"the key, of another profile":         {keys: []poclog.IDKey{{Profile: poclog.SNP, Digest: "K"}}, say: "nobody vouches"},
		"another key":                         {keys: []poclog.IDKey{{Profile: poclog.AzureSNPvTPM, Digest: zeros}}, say: "nobody vouches"},
	} {
		by, err := snp(poclog.AzureSNPvTPM, func(s *subject, measurement, key string) {
			for _, l := range c.launch {
				l.Measurement = strings.ReplaceAll(l.Measurement, "M", measurement)
				s.policy.Launch = append(s.policy.Launch, l)
			}
			for _, k := range c.keys {
				k.Digest = strings.ReplaceAll(k.Digest, "K", key)
				s.policy.IDKeys = append(s.policy.IDKeys, k)
			}
		})
		if by != c.by || (err == nil) != (c.say == "") || err != nil && !strings.Contains(err.Error(), c.say) {
			t.Errorf("%s: endorsed by %q, %v: want %q, %q", name, by, err, c.by, c.say)
		}
	}

	w, s := honest(t, poclog.GCETDXvTPM)
	wantSaid(t, "Google's VM", checkLaunch(s), "", "")
	mrtd := hex.EncodeToString(s.quote.Body.MRTD[:])
	endorsement := *w.Collateral.Get(poclog.LaunchEndorsement)
	for p, want := range map[poclog.Profile]string{poclog.GCETDXvTPM: "policy", poclog.TDX: ""} {
		s.policy.Launch, s.collateral = []poclog.Launch{{Profile: p, Measurement: mrtd}}, new(poclog.Collateral)
		s.entry.CVM.EndorsedBy = ""
		if err := checkLaunch(s); s.entry.CVM.EndorsedBy != want || (err == nil) != (want != "") {
			t.Errorf("listed for %s: endorsed by %q, %v", p, s.entry.CVM.EndorsedBy, err)
		}
	}
	s.entry.CVM.EndorsedBy = ""
	s.name, s.policy.Launch, s.collateral = poclog.TDX, nil, new(poclog.Collateral).With(endorsement)
	if err := checkLaunch(s); err == nil || s.entry.CVM.EndorsedBy != "" {
		t.Errorf("Google's endorsement of a TD that is none of its VMs: %v, endorsed by %q", err, s.entry.CVM.EndorsedBy)
	}
}

// A bank tells the firmware's story where it has all its registers, and nothing else is in it.
func TestFirmwaresStoryIsOfItsRegistersAlone(t *testing.T) {
	w := newMetalWorld(t)
	first := []int{0, 1, 2, 3, 4, 5, 6, 7}
	for name, c := range map[string]struct {
		pcrs []int
		told bool
	}{
		"exactly":                {first, true},
		"and more":               {append(slices.Clone(first), 8, 17, 18), true},
		"without the last":       {[]int{0, 1, 2, 3, 4, 5, 6}, false},
		"another in place of it": {[]int{0, 1, 2, 3, 4, 5, 6, 8, 9}, false},
	} {
		w.Machine.TPM.Selection = []tpm.PCRSelection{{Alg: tpm.SHA256, PCRs: append(slices.Clone(first), 17, 18)}, {Alg: tpm.SHA384, PCRs: c.pcrs}}
		s := opened(t, w, w.Honest())
		claimTPM(s)
		story := sha256.New()
		for n := range firmwarePCRs {
			v, _ := s.pcrs.Get(tpm.SHA384, n)
			story.Write(v)
		}
		got := s.entry.TPM.PCRs[1].Firmware
		if (got != nil) != c.told || c.told && *got != poclog.Digest(story.Sum(nil)) {
			t.Errorf("%s: %v: want %t, %x", name, got, c.told, story.Sum(nil))
		}
		if fmt.Sprint(s.entry.TPM.PCRs[1].Selected) != fmt.Sprint(c.pcrs) {
			t.Errorf("%s: %v", name, s.entry.TPM.PCRs[1].Selected)
		}
	}
}

func TestKeysThatDoNotCompareDiffer(t *testing.T) {
	_, s := honest(t, poclog.GCETDXvTPM)
	if !tpm.EqualKeys(s.ak(), s.ak()) || tpm.EqualKeys(s.ak(), nil) || tpm.EqualKeys("a key", s.ak()) || tpm.EqualKeys(nil, nil) {
		t.Error("keys are compared by more or less than what they are")
	}
}
