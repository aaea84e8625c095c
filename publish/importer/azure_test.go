package importer_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/attack"
	"github.com/poclog/poclog/internal/lab/guest"
	"github.com/poclog/poclog/internal/realdata"
	"github.com/poclog/poclog/internal/swtpm"
	"github.com/poclog/poclog/publish/importer"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/tdx"
	"github.com/poclog/poclog/verify/tpm"
)

const azureDir = "azure-tdx-2026-06-08"

func TestAzureFilesSayWhatTheyCarry(t *testing.T) {
	im, err := importer.Azure(realdata.File(t, azureDir, "evidence.json"), realdata.File(t, azureDir, "azure-virtual-tpm-root-ca-2023.pem"))
	if err != nil {
		t.Fatal(err)
	}
	have, level := states(t, im)
	for check, want := range map[verify.Check]string{
		verify.TEESignature: importer.Carried, verify.TPMSignature: importer.Carried, verify.TPMPCRDigest: importer.Carried, verify.TPMAKChain: importer.Carried,
		verify.BindAKInTEE: importer.Carried, verify.PlaceAgree: importer.Carried,
		verify.TPMAKTemplate: importer.Lost, verify.BindTEEInTPM: importer.Lost, verify.FreshChallenge: importer.Lost, verify.PlaceCert: importer.Lost,
	} {
		if have[check].State != want {
			t.Errorf("want %s: %+v", want, have[check])
		}
	}
	if level != poclog.LevelChip || !strings.Contains(strings.Join(im.How, "\n"), "--live") {
		t.Errorf("level %d, how %v", level, im.How)
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

// azureMachine is a TPM with a real VM's report and certificate in it, and an AK of its own where Azure keeps one.
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
	var f struct {
		Inter []string `json:"ak_inter"`
	}
	if err := json.Unmarshal(realdata.File(t, azureDir, "evidence.json"), &f); err != nil {
		t.Fatal(err)
	}
	return append([]byte(strings.Join(f.Inter, "\n")+"\n"), realdata.File(t, azureDir, "azure-virtual-tpm-root-ca-2023.pem")...)
}

// Everything is read from the machine: report and certificate of a real VM out of a TPM, its real quote from the replayed service. The TPM's own AK
// is not that VM's, and the table says so.
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
	for check, want := range map[verify.Check]string{
		verify.BindTEEInTPM: importer.Carried, verify.TPMPCRDigest: importer.Carried, verify.TPMAKChain: importer.Carried,
		verify.TPMSignature: importer.Refused, verify.TPMAKTemplate: importer.Refused,
	} {
		if have[check].State != want {
			t.Errorf("want %s: %+v", want, have[check])
		}
	}
	if level != importer.LevelNone {
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
	// The service makes the quote of the report that it knows: the TDREPORT is not changed by this paravisor.
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
		if have, _ := states(t, im); have[verify.FreshChallenge].State != importer.Carried {
			t.Errorf("%+v", have[verify.FreshChallenge])
		}
		challenge.Salt[0]++
		want = challenge.HCLUserData()
	}
}

// An AK whose parent nobody knows is carried without its TPMT_PUBLIC: with it every judge would refuse the bundle.
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
