package importer_test

import (
	"bytes"
	"cmp"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-tdx-guest/abi"
	tdxpb "github.com/google/go-tdx-guest/proto/tdx"
	quotes "github.com/google/go-tdx-guest/testing/testdata"
	"github.com/google/go-tpm-tools/client"
	"github.com/google/go-tpm-tools/proto/attest"
	tpmpb "github.com/google/go-tpm-tools/proto/tpm"
	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpmutil"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/attack"
	"github.com/poclog/poclog/internal/swtpm"
	"github.com/poclog/poclog/publish/importer"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/profile"
	"github.com/poclog/poclog/verify/tcglog"
	"github.com/poclog/poclog/verify/tpm"
)

// realGoTPM reads an attestation of a real VM from the module's own test data.
func realGoTPM(t testing.TB) []byte {
	t.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/google/go-tpm-tools").Output()
	if err != nil {
		t.Skipf("skipped: the folder of go-tpm-tools is not known: %v", err)
	}
	b, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "internal/test/attestations/gce-cos-85-nonce9009.pb"))
	if err != nil {
		t.Skipf("skipped: go-tpm-tools has no attestation here: %v", err)
	}
	return b
}

// productionQuote is go-tdx-guest's quote; its authors appended a newline and text.
var productionQuote = quotes.RawQuote[:4935]

// labGoTPM is what `gotpm attest` would write on a VM of the laboratory, with its chain apart.
func labGoTPM(t testing.TB, w *attack.World, nonce []byte, banks ...tpm.Alg) (a *attest.Attestation, chain [][]byte) {
	t.Helper()
	v := w.VM.TPM
	a = &attest.Attestation{AkPub: v.Public, EventLog: w.VM.Config.Image.TCGLog}
	for _, alg := range banks {
		sel := tpm.PCRSelection{Alg: alg, PCRs: tcglog.CheckedPCRs}
		item, values, err := v.QuoteOf(nonce, attack.Now, []tpm.PCRSelection{sel})
		if err != nil {
			t.Fatal(err)
		}
		q, err := tpm.ParseQuote(item)
		if err != nil {
			t.Fatal(err)
		}
		pcrs := &tpmpb.PCRs{Hash: tpmpb.HashAlgo(alg), Pcrs: make(map[uint32][]byte)}
		for i, n := range sel.PCRs {
			size := alg.Hash().Size()
			pcrs.Pcrs[uint32(n)] = values[i*size:][:size]
		}
		a.Quotes = append(a.Quotes, &tpmpb.Quote{Quote: q.Attest, RawSig: item[2+len(q.Attest):], Pcrs: pcrs})
	}
	certs, err := tpm.ParseChain(v.Chain)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range certs {
		chain = append(chain, c.Raw)
	}
	a.AkCert = chain[0]
	return a, chain[1:]
}

func pemOf(ders ...[]byte) (out []byte) {
	for _, der := range ders {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return out
}

func mustMarshal(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// states returns what becomes of an import's checks.
func states(t testing.TB, im *importer.Import) (map[verify.Check]profile.Prospect, int) {
	t.Helper()
	o, err := profile.Look(im.Profile, im.Bundle)
	if err != nil {
		t.Fatal(err)
	}
	m := make(map[verify.Check]profile.Prospect)
	for _, p := range o.Checks {
		m[p.Check] = p
		if p.State != profile.Carried && p.Why == "" {
			t.Errorf("%s is %s, and nothing says why", p.Check, p.State)
		}
	}
	return m, o.Level
}

func TestRealGoTPMAttestationImportsInEveryForm(t *testing.T) {
	file := realGoTPM(t)
	a := new(attest.Attestation)
	if err := proto.Unmarshal(file, a); err != nil {
		t.Fatal(err)
	}
	text, err := prototext.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	json, err := protojson.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	for form, b := range map[string][]byte{"binary": file, "text": text, "JSON": json} {
		im, err := importer.GoTPM(b)
		if err != nil {
			t.Fatalf("%s: %v", form, err)
		}
		if !bytes.Equal(im.Bundle.Get(poclog.ItemTPMAK), a.GetAkPub()) || !im.Bundle.Has(poclog.ItemTCGLog) {
			t.Errorf("%s: the AK or the event log is lost: %v", form, im.Bundle.Items())
		}
		notes := strings.Join(im.Notes, "\n")
		for _, want := range []string{"the AK's chain is left out", "the quote over the SHA256 bank is left out"} {
			if !strings.Contains(notes, want) {
				t.Errorf("%s: notes lack %q:\n%s", form, want, notes)
			}
		}
		// What its missing TEE quote means is said.
		have, level := states(t, im)
		if !strings.Contains(have[verify.TEESignature].Why, "no TDX quote") || !slices.Equal(have[verify.TEESignature].Lacks, []poclog.Item{poclog.ItemTDXQuote}) {
			t.Errorf("%s: %+v", form, have[verify.TEESignature])
		}
		if level != profile.LevelNone || have[verify.TEESignature].State != profile.Lost || have[verify.BindTEEInTPM].State != profile.Lost {
			t.Errorf("%s: level %d: %+v", form, level, have)
		}
		// It quotes one bank at a time, and the one that the event log needs is not the one whose
		// firmware digests are compared.
		if p := have[verify.TPMPCRDigest]; p.State != profile.Lost || !strings.Contains(p.Why, "SHA-256 bank") {
			t.Errorf("%s: %+v", form, p)
		}
	}
}

func TestGoTPMRefusesWhatIsNoAttestation(t *testing.T) {
	for _, b := range [][]byte{nil, []byte("{}"), []byte("garbage"), make([]byte, importer.MaxFile+1)} {
		if im, err := importer.GoTPM(b); err == nil {
			t.Errorf("%.20q: imported %v", b, im.Bundle.Items())
		}
	}
}

// The TD quote of an attestation is the one that the chip made, octet for octet; whether the TPM
// saw it is compared.
func TestGoTPMCarriesTheTDQuote(t *testing.T) {
	q, err := abi.QuoteToProto(productionQuote)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(productionQuote)
	for name, c := range map[string]struct {
		nonce []byte
		state profile.State
	}{
		"the TPM quotes its hash":         {sum[:], profile.Carried},
		"gotpm's order: TPM, then the TD": {[]byte("a nonce of 32 octets, shared by both quotes")[:32], profile.Lost},
	} {
		a, chain := labGoTPM(t, attack.NewWorld(), c.nonce, tpm.SHA256)
		a.TeeAttestation = &attest.Attestation_TdxAttestation{TdxAttestation: q.(*tdxpb.QuoteV4)}
		im, err := importer.GoTPM(mustMarshal(t, a), pemOf(chain...))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !bytes.Equal(im.Bundle.Get(poclog.ItemTDXQuote), productionQuote) {
			t.Errorf("%s: the quote is another", name)
		}
		have, level := states(t, im)
		if have[verify.BindTEEInTPM].State != c.state || have[verify.TEESignature].State != profile.Carried || level != poclog.LevelChip {
			t.Errorf("%s: level %d, %+v", name, level, have[verify.BindTEEInTPM])
		}
		// One quote over one bank: without SHA-384 the logs prove nothing, and both say so.
		if notes := strings.Join(im.Notes, "\n"); !strings.Contains(notes, "no quote covers the SHA-384 bank") {
			t.Errorf("%s: %s", name, notes)
		}
	}
	broken := q.(*tdxpb.QuoteV4)
	broken.Header = nil
	a, _ := labGoTPM(t, attack.NewWorld(), sum[:], tpm.SHA384)
	a.TeeAttestation = &attest.Attestation_TdxAttestation{TdxAttestation: broken}
	if im, err := importer.GoTPM(mustMarshal(t, a)); err == nil {
		t.Errorf("a quote without a header is imported: %v", im.Bundle.Items())
	}
}

// Only an issuer that is not there leaves the chain out: whatever is wrong with one is an error.
func TestGoTPMChainsAreWholeOrRefused(t *testing.T) {
	w := attack.NewWorld()
	a, chain := labGoTPM(t, w, []byte("nonce"), tpm.SHA384)
	other, err := w.Cloud.Certify(w.VM.TPM.AK.Public(), w.VM.TPM.Instance)
	if err != nil {
		t.Fatal(err)
	}
	imported := func(leaf []byte, inside [][]byte, certs ...[]byte) (*importer.Import, error) {
		b := proto.Clone(a).(*attest.Attestation)
		b.AkCert, b.IntermediateCerts = leaf, inside
		return importer.GoTPM(mustMarshal(t, b), certs...)
	}
	leaf, ca, root := other[:len(a.AkCert)], chain[0], chain[1]
	whole := [][]byte{pemOf(root, ca)} // in any order
	if im, err := imported(leaf, nil, whole...); err != nil || !bytes.Equal(im.Bundle.Get(poclog.ItemTPMAKChain), w.VM.TPM.Chain) {
		t.Errorf("a whole chain: %v", err)
	}
	if im, err := imported(leaf, [][]byte{ca}, pemOf(root)); err != nil || !im.Bundle.Has(poclog.ItemTPMAKChain) {
		t.Errorf("the attestation's own intermediate: %v", err)
	}
	for name, certs := range map[string][][]byte{"no root": {pemOf(ca)}, "no intermediate": {pemOf(root)}, "neither": nil} {
		im, err := imported(leaf, nil, certs...)
		if err != nil || im.Bundle.Has(poclog.ItemTPMAKChain) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		have, _ := states(t, im)
		if have[verify.TPMAKChain].State != profile.Lost || len(im.Missing) != 1 || !errors.As(im.Missing[0], new(importer.MissingIssuer)) {
			t.Errorf("%s: %+v, %v", name, have[verify.TPMAKChain], im.Notes)
		}
	}
	forged := bytes.Clone(leaf)
	forged[len(forged)-1] ^= 1
	forgedCA := bytes.Clone(ca)
	forgedCA[len(forgedCA)-1] ^= 1
	for name, c := range map[string]struct {
		leaf  []byte
		certs [][]byte
	}{
		"a forged leaf":            {forged, whole},
		"a forged CA":              {leaf, [][]byte{pemOf(forgedCA, root)}},
		"the CA in the AK's place": {ca, [][]byte{pemOf(root)}},
		"garbage in the AK's":      {[]byte("garbage"), whole},
		"garbage beside":           {leaf, [][]byte{[]byte("garbage")}},
		"garbage in PEM":           {leaf, [][]byte{pemOf([]byte("garbage"))}},
		"a key in PEM":             {leaf, [][]byte{pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: root})}},
	} {
		if im, err := imported(c.leaf, nil, c.certs...); err == nil {
			t.Errorf("%s: imported with notes %v", name, im.Notes)
		}
	}
}

// The recipe that the importer gives, followed with go-tpm-tools' own library and a TPM: every
// check is carried but tpm.pcr-digest, so that the level is 0. gotpm quotes each bank apart, a
// bundle has one quote, and the one over SHA-384 lacks the firmware's registers in SHA-256.
func TestGotpmRecipeCarriesEveryCheck(t *testing.T) {
	for name, isRSA := range map[string]bool{"RSA": true, "ECC": false} {
		t.Run(name, func(t *testing.T) { gotpmRecipe(t, isRSA) })
	}
}

func gotpmRecipe(t *testing.T, isRSA bool) {
	v := swtpm.Start(t)
	w := attack.NewWorld()
	img := w.VM.Config.Image
	measure(t, v, img.TCGLog)
	// The provider leaves template and certificate of the AK in the TPM, as Compute Engine does.
	template := swtpm.Template(isRSA, nil)
	ak := v.Create(template)
	public, err := tpm.ParsePublic(ak.Public)
	if err != nil {
		t.Fatal(err)
	}
	chain, err := w.Cloud.Certify(public.Key(), w.VM.TPM.Instance)
	if err != nil {
		t.Fatal(err)
	}
	certs, err := tpm.ParseChain(chain)
	if err != nil {
		t.Fatal(err)
	}
	ak.Flush()
	index, templateIndex, open := importer.NVGCEAKCertECC, importer.NVGCEAKTemplateECC, client.GceAttestationKeyECC
	if isRSA {
		index, templateIndex, open = importer.NVGCEAKCertRSA, importer.NVGCEAKTemplateRSA, client.GceAttestationKeyRSA
	}
	v.DefineNV(index, certs[0].Raw)
	v.DefineNV(templateIndex, tpm2.Marshal(template))
	rw := tpmutil.NewEmulatorReadWriteCloser(v.Socket)
	key, err := open(rw)
	if err != nil {
		t.Fatal(err)
	}
	defer key.Close()
	attested := func(nonce []byte) []byte {
		a, err := key.Attest(client.AttestOpts{Nonce: nonce, TCGEventLog: img.TCGLog, SkipTeeAttestation: true})
		if err != nil {
			t.Fatal(err)
		}
		return mustMarshal(t, a)
	}

	first, err := importer.GoTPM(attested([]byte{0}))
	if err != nil {
		t.Fatal(err)
	}
	quote := w.VM.Platform().Quote(w.VM.TD(w.Challenge.ReportData(first.Bundle.Get(poclog.ItemTPMAK))))
	nonce := sha256.Sum256(quote)
	challenge, err := w.Challenge.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	im, err := importer.GoTPM(attested(nonce[:]), pemOf(certs[1].Raw, certs[2].Raw))
	if err != nil {
		t.Fatal(err)
	}
	padded := append(bytes.Clone(quote), make([]byte, 8000-len(quote))...)
	if err := im.Add(importer.Extras{TDXQuote: padded, CCEL: img.CCEL, Challenge: challenge}); err != nil {
		t.Fatal(err)
	}
	have, level := states(t, im)
	// gotpm quotes one bank at a time, and level 2 needs two: one whose firmware digests everybody
	// compares, and the event log's.
	for check, p := range have {
		if (p.State == profile.Carried) == (check == verify.TPMPCRDigest) {
			t.Errorf("%s is %s: %s", check, p.State, p.Why)
		}
	}
	w.Policy.Admit = append(w.Policy.Admit, poclog.Admission{Profile: poclog.GCETDXvTPM})
	slices.SortFunc(w.Policy.Admit, func(a, b poclog.Admission) int {
		return cmp.Or(cmp.Compare(a.Profile, b.Profile), cmp.Compare(a.Level, b.Level))
	})
	if a := appraise(t, w, im.Bundle); level != poclog.LevelChip || a.Entry.Level != poclog.LevelChip || !slices.Equal(a.Entry.Absent, []string{string(verify.TPMPCRDigest)}) {
		t.Errorf("level %d of %d, absent %v", a.Entry.Level, level, a.Entry.Absent)
	}

	// The hash of the padded quote is not that of what a bundle holds, and the table says what went
	// wrong.
	nonce = sha256.Sum256(padded)
	if im, err = importer.GoTPM(attested(nonce[:])); err != nil {
		t.Fatal(err)
	}
	if err := im.Add(importer.Extras{TDXQuote: padded}); err != nil {
		t.Fatal(err)
	}
	if have, _ = states(t, im); !im.QuotesPadding() || have[verify.BindTEEInTPM].State == profile.Carried {
		t.Errorf("%+v", have[verify.BindTEEInTPM])
	}
}

// appraise judges a bundle in the laboratory.
func appraise(t *testing.T, w *attack.World, b *poclog.Bundle) *verify.Appraisal {
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
	return a
}

// measure has a TPM see the boot that a log tells.
func measure(t *testing.T, v *swtpm.TPM, log []byte) {
	t.Helper()
	const evNoAction = 3
	l, err := tcglog.Parse(tcglog.TPM, log)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range l.Events {
		if e.Type == evNoAction {
			continue
		}
		digests := make(map[tpm2.TPMAlgID][]byte)
		for i, alg := range l.Algs {
			digests[tpm2.TPMAlgID(alg)] = e.Digests[i]
		}
		v.ExtendDigests(e.Index, digests)
	}
}

// FuzzGotpm holds the importer to its word: it never panics, and what it emits parses and can be
// described.
func FuzzGotpm(f *testing.F) {
	w := attack.NewWorld()
	a, chain := labGoTPM(f, w, []byte("nonce"), tpm.SHA256, tpm.SHA384)
	a.EventLog = a.EventLog[:min(len(a.EventLog), 512)]
	a.IntermediateCerts = chain
	if q, err := abi.QuoteToProto(productionQuote); err == nil {
		a.TeeAttestation = &attest.Attestation_TdxAttestation{TdxAttestation: q.(*tdxpb.QuoteV4)}
	}
	f.Add(mustMarshal(f, a))
	a.EventLog = nil
	f.Add(mustMarshal(f, a))
	f.Add([]byte(prototext.Format(a)))
	f.Add([]byte(protojson.Format(a)))
	f.Add(realGoTPM(f))
	f.Fuzz(func(t *testing.T, file []byte) {
		im, err := importer.GoTPM(file)
		sound(t, im, err)
	})
}

// An attestation with an AK that no certificate is of says where the machine has it, and takes the
// file.
func TestGoTPMWithoutTheAKsCertificateSaysWhereItIs(t *testing.T) {
	w := attack.NewWorld()
	a, chain := labGoTPM(t, w, []byte("nonce"), tpm.SHA384)
	leaf := a.AkCert
	a.AkCert = nil
	im, err := importer.GoTPM(mustMarshal(t, a))
	var missing importer.MissingAKError
	if err != nil || len(im.Missing) != 1 || !errors.As(im.Missing[0], &missing) {
		t.Fatalf("missing %v: %v", im.Missing, err)
	}
	if _, isRSA := w.VM.TPM.AK.Public().(*rsa.PublicKey); isRSA != (missing.NV == importer.NVGCEAKCertRSA) {
		t.Errorf("NV index %#x of an AK on RSA: %v", missing.NV, isRSA)
	}
	padded := append(bytes.Clone(leaf), make([]byte, 1000)...)
	if im, err = importer.GoTPM(mustMarshal(t, a), pemOf(chain...), padded); err != nil || !bytes.Equal(im.Bundle.Get(poclog.ItemTPMAKChain), w.VM.TPM.Chain) {
		t.Errorf("with the index: %v, %v", im.Missing, err)
	}
}
