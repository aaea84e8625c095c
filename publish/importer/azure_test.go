package importer_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"go.yaml.in/yaml/v3"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/attack"
	"github.com/poclog/poclog/internal/lab/guest"
	"github.com/poclog/poclog/internal/realdata"
	"github.com/poclog/poclog/internal/swtpm"
	"github.com/poclog/poclog/publish/importer"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/profile"
	"github.com/poclog/poclog/verify/tdx"
	"github.com/poclog/poclog/verify/tpm"
)

const azureDir = "azure-tdx-2026-06-08"

// original is a real VM's evidence as attested-tls publishes it.
type original struct {
	Quote  string `yaml:"tdx_quote_base64" json:"tdx_quote_base64"`
	Report string `yaml:"hcl_report_base64" json:"hcl_report_base64"`
	TPM    struct {
		Cert  string   `yaml:"ak_certificate_pem" json:"ak_certificate_pem"`
		Inter []string `yaml:"ak_intermediate_certificates_pem" json:"ak_intermediate_certificates_pem"`
		Quote struct {
			Signature []int   `yaml:"signature" json:"signature"`
			Message   []int   `yaml:"message" json:"message"`
			PCRs      [][]int `yaml:"pcrs" json:"pcrs"`
		} `yaml:"quote" json:"quote"`
		EventLog []int `yaml:"event_log" json:"event_log"`
	} `yaml:"tpm_attestation" json:"tpm_attestation"`
}

func azureOriginal(t *testing.T) (f original) {
	t.Helper()
	if err := yaml.Unmarshal(realdata.File(t, azureDir, "original.yaml"), &f); err != nil {
		t.Fatal(err)
	}
	return f
}

func octetsOf(list []int) (b []byte) {
	for _, n := range list {
		b = append(b, byte(n))
	}
	return b
}

// containersFile is the same evidence as Confidential Containers write it, which has no certificate
// of the AK.
func containersFile(t *testing.T, f original) map[string]any {
	t.Helper()
	q := f.TPM.Quote
	var pcrs []string
	for _, p := range q.PCRs {
		pcrs = append(pcrs, hex.EncodeToString(octetsOf(p)))
	}
	return map[string]any{
		"version": 1, "hcl_report": f.Report, "td_quote": f.Quote,
		"tpm_quote": map[string]any{"signature": hex.EncodeToString(octetsOf(q.Signature)), "message": hex.EncodeToString(octetsOf(q.Message)), "pcrs": pcrs},
	}
}

// azureRoot is the root of Azure's virtual TPMs.
func azureRoot(t *testing.T) []byte {
	t.Helper()
	return realdata.File(t, azureDir, "azure-virtual-tpm-root-ca-2023.pem")
}

// One VM's evidence in every form in which tools write it, padded and not, makes one bundle.
func TestAzureFilesAreReadInEveryForm(t *testing.T) {
	f := azureOriginal(t)
	root := azureRoot(t)
	want, err := importer.Azure(realdata.File(t, azureDir, "original.yaml"), root)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode([]byte(f.TPM.Cert))
	padded := f
	padded.Quote = base64.URLEncoding.EncodeToString(append(base64URL(t, f.Quote), make([]byte, 3000)...))
	padded.Report = base64.URLEncoding.EncodeToString(append(base64URL(t, f.Report), make([]byte, 500)...))
	paddedAK := append(bytes.Clone(block.Bytes), make([]byte, 4096-len(block.Bytes))...)
	padded.TPM.Cert = string(pemOf(paddedAK))
	numbers := map[string]any{
		"td_quote": ints(base64URL(t, f.Quote)), "hcl_report": ints(base64URL(t, f.Report)),
		"tpm_quote": map[string]any{"signature": f.TPM.Quote.Signature, "message": f.TPM.Quote.Message, "pcrs": f.TPM.Quote.PCRs},
	}
	inter := []byte(strings.Join(f.TPM.Inter, "\n"))
	containers := asJSON(t, containersFile(t, f))
	withAK := containersFile(t, padded)
	withAK["ak_certificate"] = base64.RawURLEncoding.EncodeToString(paddedAK)
	asYAML, err := yaml.Marshal(padded)
	if err != nil {
		t.Fatal(err)
	}
	for form, files := range map[string][][]byte{
		"attested-tls in JSON":                  {asJSON(t, f), root},
		"padded, in JSON":                       {asJSON(t, padded), root},
		"padded, in YAML":                       {asYAML, root},
		"in a wrapper":                          {asJSON(t, map[string]any{"platform": "azure-tdx", "evidence": f}), root},
		"in a wrapper as text":                  {asJSON(t, map[string]any{"platform": "azure-tdx", "evidence": string(asJSON(t, f))}), root},
		"containers, with the AK's certificate": {containers, []byte(f.TPM.Cert), inter, root},
		"containers, in another order":          {containers, root, inter, []byte(f.TPM.Cert)},
		"containers, with the NV index":         {containers, paddedAK, inter, root},
		"containers, with the AK's within":      {asJSON(t, withAK), inter, root},
		"containers, in a wrapper":              {asJSON(t, map[string]any{"platform": "az-tdx-vtpm", "evidence": containersFile(t, f)}), paddedAK, inter, root},
		"containers of version 0":               {asJSON(t, numbers), paddedAK, inter, root},
	} {
		im, err := importer.Azure(files[0], files[1:]...)
		if err != nil {
			t.Errorf("%s: %v", form, err)
			continue
		}
		if len(im.Missing) > 0 {
			t.Errorf("%s: missing %v", form, im.Missing)
		}
		for _, item := range want.Bundle.Items() {
			if !bytes.Equal(im.Bundle.Get(item), want.Bundle.Get(item)) {
				t.Errorf("%s: item %s is another", form, item)
			}
		}
	}
	if !slices.Equal(want.Bundle.Items(), []poclog.Item{poclog.ItemTDXQuote, poclog.ItemTPMQuote, poclog.ItemTPMPCRs, poclog.ItemTPMAKChain, poclog.ItemHCLReport}) {
		t.Errorf("items %v", want.Bundle.Items())
	}
}

func ints(b []byte) (list []int) {
	for _, c := range b {
		list = append(list, int(c))
	}
	return list
}

// Evidence without the AK's certificate is read, and says which NV index has it.
func TestAzureFilesWithoutTheAKsCertificateSayWhereItIs(t *testing.T) {
	f := azureOriginal(t)
	without := f
	without.TPM.Cert = ""
	for form, file := range map[string][]byte{"containers": asJSON(t, containersFile(t, f)), "attested-tls": asJSON(t, without)} {
		im, err := importer.Azure(file, azureRoot(t))
		if err != nil {
			t.Fatalf("%s: %v", form, err)
		}
		var missing importer.MissingAKError
		if len(im.Missing) != 1 || !errors.As(im.Missing[0], &missing) || missing.NV != importer.NVAzureAKCert || im.Bundle.Has(poclog.ItemTPMAKChain) {
			t.Errorf("%s: missing %v", form, im.Missing)
		}
	}
}

func TestAzureFilesThatAreNoneAreRefused(t *testing.T) {
	f := azureOriginal(t)
	changed := func(change func(map[string]any)) []byte {
		m := containersFile(t, f)
		change(m)
		return asJSON(t, m)
	}
	quote := func(m map[string]any) map[string]any { return m["tpm_quote"].(map[string]any) }
	anchors := "a: &a [1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\ntpm_quote: [*b,*b,*b,*b,*b,*b,*b,*b]\n"
	for name, c := range map[string]struct {
		file []byte
		say  string
	}{
		"nothing":              {nil, "neither JSON nor YAML"},
		"text":                 {[]byte("hello"), "want names with values"},
		"another tool's":       {[]byte(`{"quote":"0400","event_log":"[]"}`), `["event_log" "quote"]`},
		"no HCL report":        {changed(func(m map[string]any) { delete(m, "hcl_report") }), "no member hcl_report"},
		"no TD quote":          {changed(func(m map[string]any) { delete(m, "td_quote") }), "no TD quote beside"},
		"no signature":         {changed(func(m map[string]any) { delete(quote(m), "signature") }), "no member signature"},
		"a signature of words": {changed(func(m map[string]any) { quote(m)["signature"] = "%" }), "signature: neither hexadecimal nor base64"},
		"23 PCRs":              {changed(func(m map[string]any) { quote(m)["pcrs"] = quote(m)["pcrs"].([]string)[:23] }), "PCR 23"},
		"a member twice":       {append([]byte(`{"Version":2,`), asJSON(t, containersFile(t, f))[1:]...), "twice"},
		"a name twice in YAML": {[]byte("tpm_quote: {}\ntpm_quote: {}\n"), "twice"},
		"anchors":              {[]byte(anchors), "an anchor"},
		"deep YAML":            {[]byte("a: " + strings.Repeat("[", 100) + strings.Repeat("]", 100)), "levels"},
		"two documents":        {[]byte("a: 1\n---\nb: 1\n"), "more than one document"},
		"much YAML":            {append([]byte("a: "), bytes.Repeat([]byte("x"), 1<<18)...), "want at most"},
	} {
		if _, err := importer.Azure(c.file); err == nil || !strings.Contains(err.Error(), c.say) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzAzure(f *testing.F) {
	f.Add([]byte(`{"version":1,"tpm_quote":{"signature":"00","message":"00","pcrs":["00"]},"hcl_report":"AA","td_quote":"AA"}`))
	f.Add([]byte("tdx_quote_base64: >-\n  AA\nhcl_report_base64: AA\ntpm_attestation:\n  quote:\n    signature: [1]\n    message: [1]\n    pcrs: [[1]]\n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		im, err := importer.Azure(file)
		if err != nil {
			return
		}
		if _, err := profile.Look(im.Profile, im.Bundle); err != nil {
			t.Errorf("its outlook: %v", err)
		}
	})
}

func TestAzureFilesSayWhatTheyCarry(t *testing.T) {
	im, err := importer.Azure(realdata.File(t, azureDir, "original.yaml"), azureRoot(t))
	if err != nil {
		t.Fatal(err)
	}
	have, level := states(t, im)
	for check, want := range map[verify.Check]profile.State{
		verify.TEESignature: profile.Carried, verify.TPMSignature: profile.Carried, verify.TPMPCRDigest: profile.Carried, verify.TPMAKChain: profile.Carried,
		verify.BindAKInTEE: profile.Carried, verify.PlaceAgree: profile.Carried,
		verify.TPMAKTemplate: profile.Lost, verify.BindTEEInTPM: profile.Lost, verify.FreshChallenge: profile.Lost, verify.PlaceCert: profile.Lost,
	} {
		if have[check].State != want {
			t.Errorf("want %s: %+v", want, have[check])
		}
	}
	if level != poclog.LevelChip {
		t.Errorf("level %d", level)
	}
}

// withUserData puts 64 bytes into an HCL report's JSON.
func withUserData(report, user []byte) []byte {
	report = bytes.Clone(report)
	const name = `"user-data":"`
	at := bytes.Index(report, []byte(name)) + len(name)
	copy(report[at:], strings.ToUpper(hex.EncodeToString(user)))
	return report
}

// azureMachine is a TPM with a real VM's report and certificate in it, and an AK of its own where
// Azure keeps one.
func azureMachine(t *testing.T) (v *guest.Paravisor, quote, hcl, cert []byte) {
	t.Helper()
	quote, report, cert := azureCapture(t)
	hcl, err := tpm.TrimHCL(report)
	if err != nil {
		t.Fatal(err)
	}
	v = guest.NewParavisor(swtpm.Start(t), hcl, func(user []byte) []byte { return withUserData(hcl, user) })
	v.DefineNV(importer.NVAzureAKCert, append(bytes.Clone(cert), make([]byte, guest.IndexSize-len(cert))...))
	return v, quote, hcl, cert
}

func withAK(v *guest.Paravisor) *guest.Paravisor {
	ak := v.Create(swtpm.Template(true, nil))
	ak.Persist(importer.AzureAKHandle)
	ak.Flush()
	return v
}

func azureCerts(t *testing.T) []byte {
	t.Helper()
	return append([]byte(strings.Join(azureOriginal(t).TPM.Inter, "\n")+"\n"), azureRoot(t)...)
}

// Everything is read from the machine: report and certificate of a real VM out of a TPM, its real
// quote from the replayed service. The TPM's own AK is not that VM's, and the table says so.
func TestLiveAzureEvidenceIsReadFromTheMachine(t *testing.T) {
	v, quote, hcl, cert := azureMachine(t)
	service := azureService(t, quote, hcl[32:][:1024])
	vm := importer.AzureVM{TPM: withAK(v), IMDS: &importer.IMDS{URL: service.URL}}
	im, err := vm.Import(t.Context(), azureCerts(t))
	if err != nil {
		t.Fatal(err)
	}
	trimmed, err := tdx.TrimQuote(quote)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(im.Bundle.Get(poclog.ItemTDXQuote), trimmed) || !bytes.Equal(im.Bundle.Get(poclog.ItemHCLReport), hcl) ||
		!bytes.HasPrefix(im.Bundle.Get(poclog.ItemTPMAKChain), cert) {
		t.Errorf("quote, report or chain is another: %v", im.Bundle.Items())
	}
	q, err := tpm.ParseQuote(im.Bundle.Get(poclog.ItemTPMQuote))
	if err != nil {
		t.Fatal(err)
	}
	if sum := sha256.Sum256(trimmed); !bytes.Equal(q.ExtraData, sum[:]) || len(q.Selection) != 1 || len(q.Selection[0].PCRs) != 24 {
		t.Errorf("extraData %x, selection %v", q.ExtraData, q.Selection)
	}
	have, level := states(t, im)
	for check, want := range map[verify.Check]profile.State{
		verify.BindTEEInTPM: profile.Carried, verify.TPMPCRDigest: profile.Carried, verify.TPMAKChain: profile.Carried,
		verify.TPMSignature: profile.Refused, verify.TPMAKTemplate: profile.Refused,
	} {
		if have[check].State != want {
			t.Errorf("want %s: %+v", want, have[check])
		}
	}
	if level != profile.LevelNone {
		t.Errorf("level %d", level)
	}
	if _, err := vm.Import(t.Context()); err != nil {
		t.Errorf("without the chain: %v", err)
	}
	service.Close()
	if _, err := vm.Import(t.Context()); err == nil {
		t.Error("imported without the service")
	}
}

// A challenge's nonce goes into the report before the quote is taken.
func TestLiveAzureEvidenceCarriesTheChallenge(t *testing.T) {
	v, quote, hcl, _ := azureMachine(t)
	if !bytes.Contains(hcl, []byte(`"user-data":"`)) {
		t.Fatal("the captured report has no user data")
	}
	challenge := *attack.NewWorld().Challenge
	challenge.Profile = poclog.AzureTDXvTPM
	want := challenge.HCLUserData()
	// The service makes the quote of the report that it knows: the TDREPORT is not changed by this
	// paravisor.
	vm := importer.AzureVM{TPM: withAK(v), IMDS: &importer.IMDS{URL: azureService(t, quote, hcl[32:][:1024]).URL}, Challenge: &challenge}
	for range 2 { // the index is defined the first time, and written again the second
		im, err := vm.Import(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		report, err := tpm.ParseHCL(im.Bundle.Get(poclog.ItemHCLReport))
		if err != nil || report.UserData != want {
			t.Errorf("user data %x: %v", report.UserData, err)
		}
		item, err := challenge.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if err := im.Add(importer.Extras{Challenge: item}); err != nil {
			t.Fatal(err)
		}
		if have, _ := states(t, im); have[verify.FreshChallenge].State != profile.Carried {
			t.Errorf("%+v", have[verify.FreshChallenge])
		}
		challenge.Salt[0]++
		want = challenge.HCLUserData()
	}
}

// An AK whose parent nobody knows is carried without its TPMT_PUBLIC: with it every judge would
// refuse the bundle.
func TestLiveAzureAKsOfUnknownParentsAreLeftOut(t *testing.T) {
	v, quote, hcl, _ := azureMachine(t)
	parent := v.CreateIn(tpm2.TPMRHOwner, tpm2.ECCSRKTemplate)
	v.CreateUnder(parent, swtpm.Template(false, nil)).Persist(importer.AzureAKHandle)
	parent.Flush()
	vm := importer.AzureVM{TPM: v, IMDS: &importer.IMDS{URL: azureService(t, quote, hcl[32:][:1024]).URL}}
	im, err := vm.Import(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if im.Bundle.Has(poclog.ItemTPMAK) || !strings.Contains(strings.Join(im.Notes, "\n"), "TPMT_PUBLIC is left out") {
		t.Errorf("%v: %v", im.Bundle.Items(), im.Notes)
	}
}

func TestLiveAzureRefusesAMachineThatIsNone(t *testing.T) {
	vm := importer.AzureVM{TPM: swtpm.Start(t), IMDS: &importer.IMDS{URL: "http://127.0.0.1:1"}}
	if _, err := vm.Import(t.Context()); err == nil || !strings.Contains(err.Error(), "HCL report: NV index 0x01400001") {
		t.Errorf("%v", err)
	}
}
