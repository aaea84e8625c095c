package profile

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/attack"
	"github.com/poclog/poclog/internal/realdata"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/tpm"
)

// judgement returns the input for a bundle under the default policy with historical evidence
// admitted.
func judgement(t testing.TB, b *poclog.Bundle, c *poclog.Collateral, at time.Time) Input {
	t.Helper()
	in := Input{Appraised: at, Appraisal: poclog.Appraisal}
	var err error
	if in.Bundle, err = b.Marshal(); err != nil {
		t.Fatal(err)
	}
	if c != nil {
		if in.Collateral, err = c.Marshal(); err != nil {
			t.Fatal(err)
		}
	}
	if in.Policy, err = DefaultPolicy(true).Marshal(); err != nil {
		t.Fatal(err)
	}
	return in
}

func wantCheck(t *testing.T, name string, err error, want verify.Check) {
	t.Helper()
	if got, ok := verify.CheckOf(err); !ok || got != want {
		t.Errorf("%s: refused by %q (%v): want %q", name, got, err, want)
	}
}

func TestRealAzureBundleIsAGenuineChipAtAnUnprovenPlace(t *testing.T) {
	b, c := realdata.Azure(t)
	a, err := Appraise(judgement(t, b, c, realdata.AzureTime))
	if err != nil {
		t.Fatal(err)
	}
	e := &a.Entry
	if e.Profile != poclog.AzureTDXvTPM || e.Level != poclog.LevelChip || e.Fresh != nil {
		t.Errorf("profile %s, level %d, fresh %v", e.Profile, e.Level, e.Fresh)
	}
	absent := []string{"tee.launch", "tpm.ak-template", "bind.tee-in-tpm", "bind.pcr-rtmr", "place.certificate", "place.registry", "fresh.challenge"}
	if !slices.Equal(e.Absent, absent) {
		t.Errorf("absent %v: want %v", e.Absent, absent)
	}
	if e.Chip() != "intel:tdx:ppid:bc81a278aaa2257b4dbe15bbfb1537a0" || e.Instance != "" || len(e.Keys) != 0 || e.Place != nil || e.TPM != nil || e.Boot != nil {
		t.Errorf("chip %s, instance %s, keys %v, place %+v, boot %v: no TPM signed for the TEE's quote", e.Chip(), e.Instance, e.Keys, e.Place, e.Boot)
	}
	for _, why := range absent {
		if a.Notes[verify.Check(why)] == "" {
			t.Errorf("no reason is given for the absence of %s", why)
		}
	}
}

// An entry is a function of what it names: anybody computes the same bytes.
func TestEntryIsRecomputedByteForByte(t *testing.T) {
	b, c := realdata.Azure(t)
	in := judgement(t, b, c, realdata.AzureTime)
	a, err := Appraise(in)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := a.Entry.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	e, err := poclog.ParseEntry(leaf)
	if err != nil {
		t.Fatal(err)
	}
	if e.Evidence.Bundle != poclog.BlobOf(in.Bundle) || e.Evidence.Collateral != poclog.BlobOf(in.Collateral) || e.Evidence.Policy != poclog.BlobOf(in.Policy) {
		t.Error("the entry does not name its evidence")
	}
	in.Appraised, in.Appraisal = e.Appraised, e.Appraisal
	again, err := Appraise(in)
	if err != nil {
		t.Fatal(err)
	}
	if second, err := again.Entry.Marshal(); err != nil || !bytes.Equal(second, leaf) {
		t.Errorf("another entry (%v)", err)
	}
	in.Appraisal = poclog.Appraisal + 1
	_, err = Appraise(in)
	wantCheck(t, "an appraisal specification of the future", err, verify.Format)
}

func TestReplacedPartsAreRefusedByTheRightCheck(t *testing.T) {
	azure, c := realdata.Azure(t)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	q, err := tpm.ParseQuote(azure.Get(poclog.ItemTPMQuote))
	if err != nil {
		t.Fatal(err)
	}
	resigned, err := tpm.SignQuote(q.Attest, key)
	if err != nil {
		t.Fatal(err)
	}
	quotes := realdata.Quotes()
	for _, r := range []struct {
		name  string
		item  poclog.Item
		value []byte
		want  verify.Check
	}{
		{"a TPM quote by another key", poclog.ItemTPMQuote, resigned, verify.TPMSignature},
		{"an HCL report that names another AK (hcl-forged)", poclog.ItemHCLReport, withAK(t, azure.Get(poclog.ItemHCLReport), &key.PublicKey), verify.BindAKInTEE},
		{"the AK certificate of a Compute Engine VM", poclog.ItemTPMAKChain, gceChain(t), verify.TPMAKChain},
		{"another machine's TD quote", poclog.ItemTDXQuote, quotes[1], verify.TEETCB},
	} {
		b := azure.Clone()
		b.Set(r.item, r.value)
		col := c
		if r.item == poclog.ItemTDXQuote {
			col = nil
			r.want = verify.BindAKInTEE
		}
		_, err := Appraise(judgement(t, b, col, realdata.AzureTime))
		wantCheck(t, r.name, err, r.want)
	}
	extra := azure.Clone()
	extra.Set(poclog.ItemCCEL, []byte("x"))
	_, err = Appraise(judgement(t, extra, c, realdata.AzureTime))
	wantCheck(t, "an item that the profile does not appraise", err, verify.Profile)
	less := azure.Clone()
	less.Set(poclog.ItemTPMPCRs, nil)
	_, err = Appraise(judgement(t, less, c, realdata.AzureTime))
	wantCheck(t, "an item less", err, verify.Profile)
}

// withAK replaces the modulus of HCLAkPub in an HCL report.
func withAK(t *testing.T, report []byte, key *rsa.PublicKey) []byte {
	t.Helper()
	h, err := tpm.ParseHCL(report)
	if err != nil {
		t.Fatal(err)
	}
	encode := func(k *rsa.PublicKey) []byte { return []byte(base64.RawURLEncoding.EncodeToString(k.N.Bytes())) }
	forged := bytes.Replace(report, encode(h.AK.(*rsa.PublicKey)), encode(key), 1)
	if bytes.Equal(forged, report) {
		t.Fatal("nothing was replaced")
	}
	return forged
}

func gceChain(t *testing.T) []byte {
	t.Helper()
	var chain []byte
	for _, name := range []string{"akcert.pem", "ak_intermediate.pem", "ak_root.pem"} {
		chain = append(chain, decodePEM(t, realdata.File(t, "gce-ak-2024", name))...)
	}
	return chain
}

func TestPolicyDecidesWhatIsAdmitted(t *testing.T) {
	azure, c := realdata.Azure(t)
	in := judgement(t, azure, c, realdata.AzureTime)
	strict, err := DefaultPolicy(false).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	in.Policy = strict
	_, err = Appraise(in)
	wantCheck(t, "historical evidence under a policy of level 2", err, verify.TEELaunch)

	p := DefaultPolicy(true)
	p.TCB = []string{"OutOfDate"}
	if in.Policy, err = p.Marshal(); err != nil {
		t.Fatal(err)
	}
	_, err = Appraise(in)
	wantCheck(t, "a status that the policy does not accept", err, verify.TEETCB)

	p = DefaultPolicy(true)
	p.Roots[0].SHA256[0] ^= 1
	if in.Policy, err = p.Marshal(); err != nil {
		t.Fatal(err)
	}
	_, err = Appraise(in)
	wantCheck(t, "a root that is not production's", err, verify.Realm)

	p = DefaultPolicy(true)
	p.Realm = poclog.Lab
	if in.Policy, err = p.Marshal(); err != nil {
		t.Fatal(err)
	}
	_, err = Appraise(in)
	wantCheck(t, "production's roots in the lab", err, verify.Realm)

	p = DefaultPolicy(true)
	p.Launch = []poclog.Launch{{Profile: poclog.AzureTDXvTPM, Measurement: fmt.Sprintf("%x", entryOf(t, azure, c).CVM.Measurement), Name: "as seen"}}
	if in.Policy, err = p.Marshal(); err != nil {
		t.Fatal(err)
	}
	a, err := Appraise(in)
	if err != nil || a.Entry.CVM.EndorsedBy != "policy" || !slices.Contains(a.Entry.Checks, "tee.launch") {
		t.Errorf("a listed measurement: %v", err)
	}
	if a.Entry.Instance != "" || len(a.Entry.Keys) != 0 {
		t.Errorf("instance %s, keys %v: the measurement is listed, but no TPM signed for the TEE's quote", a.Entry.Instance, a.Entry.Keys)
	}
}

func entryOf(t *testing.T, b *poclog.Bundle, c *poclog.Collateral) *poclog.Entry {
	t.Helper()
	a, err := Appraise(judgement(t, b, c, realdata.AzureTime))
	if err != nil {
		t.Fatal(err)
	}
	return &a.Entry
}

// unprotected says of each byte of an item why nothing protects it, or "" where something does.
// Offsets of the HCL report are those of verify/tpm.
func unprotected(b *poclog.Bundle, item poclog.Item, offset int) string {
	switch item {
	case poclog.ItemTDXQuote:
		quote := b.Get(item)
		if chain := bytes.Index(quote, []byte("-----BEGIN")); offset >= chain {
			return "white space of PEM"
		}
	case poclog.ItemHCLReport:
		const hardware, fields = 32, 32 + 1184
		switch {
		case offset >= 4 && offset < hardware:
			return "header of the HCL report: nobody signs it, and nothing is read from it"
		case offset >= hardware && offset < hardware+32, offset >= hardware+192 && offset < hardware+256:
			return "REPORTMACSTRUCT's type, CPUSVN, reserved bytes and MAC: only the chip itself can check them"
		case offset >= hardware+256+239 && offset < hardware+512:
			return "reserved bytes of the TDREPORT"
		case offset >= hardware+1024 && offset < fields:
			return "room for a longer report"
		case offset >= fields && offset < fields+8:
			return "data size and version of the HCL report: nothing is read from them"
		}
	}
	return ""
}

// Each byte of the real bundle is changed in turn: it is refused with a check, or listed as
// unprotected, with the reason.
func TestEveryByteOfARealBundleIsProtectedOrListed(t *testing.T) {
	b, c := realdata.Azure(t)
	in := judgement(t, b, c, realdata.AzureTime)
	var mu sync.Mutex
	accepted := make(map[string]int)
	var wg sync.WaitGroup
	work := make(chan func())
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for f := range work {
				f()
			}
		})
	}
	stride := 1
	if testing.Short() || raceEnabled {
		stride = 7 // prime to every field's size: all kinds of bytes are met
	}
	for _, item := range b.Items() {
		for offset := 0; offset < len(b.Get(item)); offset += stride {
			work <- func() {
				changed := bytes.Clone(b.Get(item))
				changed[offset] ^= 0x07 // makes a line feed a carriage return
				forged := b.Clone()
				forged.Set(item, changed)
				one := in
				var err error
				if one.Bundle, err = forged.Marshal(); err != nil {
					t.Error(err)
					return
				}
				_, err = Appraise(one)
				why := unprotected(b, item, offset)
				_, named := verify.CheckOf(err)
				switch {
				case err != nil && !named:
					t.Errorf("%s byte %d: %v: no check is named", item, offset, err)
				case err == nil && why == "":
					t.Errorf("%s byte %d: changed, accepted, and not listed", item, offset)
				case err == nil:
					mu.Lock()
					accepted[why]++
					mu.Unlock()
				}
			}
		}
	}
	close(work)
	wg.Wait()
	for why, n := range accepted {
		t.Logf("%4d bytes: %s", n, why)
	}
}

func BenchmarkAppraise(b *testing.B) {
	azure, c := realdata.Azure(b)
	bare := new(poclog.Bundle)
	bare.Set(poclog.ItemTDXQuote, azure.Get(poclog.ItemTDXQuote))
	for _, bench := range []struct {
		name   string
		bundle *poclog.Bundle
	}{{"azure-tdx-vtpm", azure}, {"tdx", bare}} {
		b.Run(bench.name, func(b *testing.B) {
			appraises(b, judgement(b, bench.bundle, c, realdata.AzureTime), signatureFloor(b, bench.bundle, c))
		})
	}
}

// Whether evidence is genuine is asked before its collateral is at hand: of profiles that the
// policy admits, and no check is left out.
func TestGenuineEvidencePassesAtAnyLevel(t *testing.T) {
	w := newWorld(t)
	w.Collateral = new(poclog.Collateral)
	in := judging(t, w, w.Honest())
	_, err := Appraise(in)
	wantCheck(t, "without collateral", err, verify.TEERevocation)
	for name, genuine := range map[string]func(Input) (*verify.Appraisal, error){"": genuine, " with what is known": NewKnown().Genuine} {
		if a, err := genuine(in); err != nil || a.Entry.Level != poclog.LevelChip {
			t.Errorf("genuine evidence%s: %v", name, err)
		}
	}
	old := in
	b := w.Honest()
	b.Set(poclog.ItemChallenge, nil)
	if old.Bundle, err = b.Marshal(); err != nil {
		t.Fatal(err)
	}
	if _, err := genuine(old); err != nil {
		t.Errorf("historical evidence: %v", err)
	}
	forged := in
	b = w.Assemble(attack.Mix{Quote: func(q []byte) { q[48+584+4+20] ^= 1 }})
	if forged.Bundle, err = b.Marshal(); err != nil {
		t.Fatal(err)
	}
	_, err = genuine(forged)
	wantCheck(t, "a forged quote", err, verify.TEESignature)
	w.Policy.Admit = []poclog.Admission{{Profile: poclog.TDX, Level: poclog.LevelChip, Historical: true}}
	if in.Policy, err = w.Policy.Marshal(); err != nil {
		t.Fatal(err)
	}
	_, err = genuine(in)
	wantCheck(t, "a profile that the policy does not admit", err, verify.Policy)
}
