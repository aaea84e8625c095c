package importer_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/amd"
	"github.com/poclog/poclog/internal/lab/attack"
	"github.com/poclog/poclog/publish/importer"
	"github.com/poclog/poclog/verify/tcglog"
	"github.com/poclog/poclog/verify/tpm"
)

// acpiTable is the ACPI table of a real TD, which only says where its log is.
func acpiTable(t *testing.T) []byte {
	t.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/google/go-eventlog").Output()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "testdata", "eventlogs", "ccel", "cos-113-intel-tdx.table.bin"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// inEveryForm returns octets raw and as people write them.
func inEveryForm(b []byte) map[string][]byte {
	lines := new(bytes.Buffer)
	for chunk := range strings.SplitSeq(hex.EncodeToString(b), "0000") {
		lines.WriteString(chunk + "0000\n")
	}
	wrapped := strings.TrimSuffix(strings.TrimSuffix(lines.String(), "\n"), "0000")
	return map[string][]byte{
		"raw": b, "hexadecimal": []byte(hex.EncodeToString(b)), "hexadecimal in lines": []byte(wrapped + "\n"), "0x": []byte("0x" + hex.EncodeToString(b)),
		"base64": []byte(base64.StdEncoding.EncodeToString(b) + "\n"), "base64url": []byte(base64.RawURLEncoding.EncodeToString(b)),
	}
}

func TestFilesAreReadInEveryForm(t *testing.T) {
	w := attack.NewWorld()
	b := w.Honest()
	snpWorld := attack.NewWorldOf(poclog.SNP)
	report := snpWorld.Honest()
	quote := b.Get(poclog.ItemTDXQuote)
	padded := append(bytes.Clone(quote), make([]byte, 8000-len(quote))...)
	for form, file := range inEveryForm(padded) {
		if im, err := importer.TDX(file); err != nil || !bytes.Equal(im.Bundle.Get(poclog.ItemTDXQuote), quote) {
			t.Errorf("a TDX quote in %s: %v", form, err)
		}
	}
	certs := pemOf(amd.Certificates(report.Get(poclog.ItemSNPCerts))...)
	for form, file := range inEveryForm(report.Get(poclog.ItemSNPReport)) {
		if im, err := importer.SNP(file, certs); err != nil || !bytes.Equal(im.Bundle.Get(poclog.ItemSNPReport), report.Get(poclog.ItemSNPReport)) || len(im.Bundle.Items()) != 2 {
			t.Errorf("an SNP report in %s: %v", form, err)
		}
	}
	public := b.Get(poclog.ItemTPMAK)
	sized := append(binary.BigEndian.AppendUint16(nil, uint16(len(public))), public...) // TPM2B_PUBLIC
	for _, written := range [][]byte{public, sized} {
		for form, file := range inEveryForm(written) {
			if got, err := importer.ReadPublic(file); err != nil || !bytes.Equal(got, public) {
				t.Errorf("a public area in %s: %v", form, err)
			}
		}
	}
	for form, file := range inEveryForm(b.Get(poclog.ItemCCEL)) {
		if got, err := importer.ReadEventLog(tcglog.CCEL, file); err != nil || !bytes.Equal(got, b.Get(poclog.ItemCCEL)) {
			t.Errorf("an event log in %s: %v", form, err)
		}
	}
}

func TestCertificatesAreReadInEveryForm(t *testing.T) {
	chain, err := tpm.ParseChain(attack.NewWorld().VM.TPM.Chain)
	if err != nil {
		t.Fatal(err)
	}
	var want, padded []byte
	var inPEM []byte
	for _, c := range chain {
		want = append(want, c.Raw...)
		inPEM = append(inPEM, pemOf(append(bytes.Clone(c.Raw), make([]byte, 100)...))...)
	}
	padded = append(bytes.Clone(want), make([]byte, 4096)...)
	forms := inEveryForm(padded)
	forms["PEM of padded ones"] = inPEM
	for form, file := range forms {
		if got, err := importer.Certificates(file); err != nil || !bytes.Equal(bytes.Join(got, nil), want) {
			t.Errorf("%s: %d certificates: %v", form, len(got), err)
		}
	}
	for name, file := range map[string][]byte{
		"nothing": nil, "zeros": make([]byte, 100), "garbage": []byte("garbage"), "another SEQUENCE": {0x30, 0x03, 0x02, 0x01, 0x01},
		"a key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: chain[0].Raw}), "octets after them": append(bytes.Clone(want), 1),
		"text after PEM": append(pemOf(chain[0].Raw), "garbage"...), "too many": bytes.Repeat(chain[0].Raw, 40),
	} {
		if got, err := importer.Certificates(file); err == nil {
			t.Errorf("%s: %x", name, got)
		}
	}
}

// What is given for another file is named, by what it is and by what is wanted.
func TestFilesThatAreMistakenAreNamed(t *testing.T) {
	b := attack.NewWorld().Honest()
	azure := attack.NewWorldOf(poclog.AzureSNPvTPM).Honest()
	quote, hcl := b.Get(poclog.ItemTDXQuote), azure.Get(poclog.ItemHCLReport)
	sgx := bytes.Clone(quote)
	binary.LittleEndian.PutUint16(sgx, 3)
	binary.LittleEndian.PutUint32(sgx[4:], 0)
	dcap, _ := dcapFile(t)
	crl, err := hex.DecodeString(dcap["pck_crl"])
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := b.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	cert := pemOf(amd.Certificates(azure.Get(poclog.ItemSNPCerts))[0])
	asQuote := func(file []byte) error { _, err := importer.TDX(file); return err }
	asReport := func(file []byte) error { _, err := importer.SNP(file); return err }
	asExtra := func(put func(*importer.Extras, []byte)) func([]byte) error {
		return func(file []byte) error {
			var x importer.Extras
			put(&x, file)
			return (&importer.Import{Bundle: new(poclog.Bundle)}).Add(x)
		}
	}
	asCCEL := asExtra(func(x *importer.Extras, b []byte) { x.CCEL = b })
	asTPMLog := asExtra(func(x *importer.Extras, b []byte) { x.TCGLog = b })
	asAK := asExtra(func(x *importer.Extras, b []byte) { x.AK = b })
	asChallenge := asExtra(func(x *importer.Extras, b []byte) { x.Challenge = b })
	for name, c := range map[string]struct {
		read func([]byte) error
		file []byte
		want importer.Kind
		is   importer.Kind
	}{
		"the ACPI table as CCEL":        {asCCEL, acpiTable(t), importer.KindCCEL, importer.KindACPITable},
		"the TPM's log as CCEL":         {asCCEL, b.Get(poclog.ItemTCGLog), importer.KindCCEL, importer.KindTPMLog},
		"CCEL as the TPM's log":         {asTPMLog, b.Get(poclog.ItemCCEL), importer.KindTPMLog, importer.KindCCEL},
		"an SGX quote":                  {asQuote, sgx, importer.KindTDXQuote, importer.KindSGXQuote},
		"an SGX quote in hexadecimal":   {asQuote, []byte(hex.EncodeToString(sgx)), importer.KindTDXQuote, importer.KindSGXQuote},
		"a TDREPORT":                    {asQuote, append([]byte{0x81}, make([]byte, 1023)...), importer.KindTDXQuote, importer.KindTDReport},
		"an SNP report as TDX quote":    {asQuote, azure.Get(poclog.ItemSNPReport), importer.KindTDXQuote, importer.KindSNPReport},
		"a TDX quote as SNP report":     {asReport, quote, importer.KindSNPReport, importer.KindTDXQuote},
		"an HCL report as quote":        {asQuote, hcl, importer.KindTDXQuote, importer.KindHCLReport},
		"a TPM quote as quote":          {asQuote, b.Get(poclog.ItemTPMQuote), importer.KindTDXQuote, importer.KindTPMQuote},
		"a bundle as quote":             {asQuote, bundle, importer.KindTDXQuote, importer.KindBundle},
		"dstack's answer as quote":      {asQuote, []byte(`{"quote":"00","event_log":"[]"}`), importer.KindTDXQuote, importer.KindDstack},
		"a certificate as AK":           {asAK, cert, importer.KindTPMPublic, importer.KindCertificate},
		"a CRL as AK":                   {asAK, crl, importer.KindTPMPublic, importer.KindCRL},
		"a policy as challenge":         {asChallenge, []byte(`{"v":1,"realm":"lab","admit":[]}`), importer.KindChallenge, importer.KindPolicy},
		"Intel's TCB info as quote":     {asQuote, []byte(`{"tcbInfo":{},"signature":""}`), importer.KindTDXQuote, importer.KindTCBInfo},
		"Intel's QE identity as quote":  {asQuote, []byte(`{"enclaveIdentity":{},"signature":""}`), importer.KindTDXQuote, importer.KindQEIdentity},
		"collateral of dcap-qvl":        {asQuote, asJSON(t, dcap), importer.KindTDXQuote, importer.KindDCAP},
		"a quote cut short":             {asQuote, quote[:700], importer.KindTDXQuote, importer.KindTDXQuote},
		"what nobody knows":             {asQuote, []byte("what is this?"), importer.KindTDXQuote, ""},
		"the answer of Azure's service": {asReport, []byte(`{"vcekCert":"","certificateChain":""}`), importer.KindSNPReport, importer.KindTHIM},
	} {
		err := c.read(c.file)
		var wrong *importer.WrongFileError
		if !errors.As(err, &wrong) || wrong.Want != c.want || wrong.Is != c.is {
			t.Errorf("%s: %v: %+v", name, err, wrong)
			continue
		}
		if named := strings.Contains(err.Error(), string(c.is)+": want "+string(c.want)); named != (c.is != "" && c.is != c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzKindOf(f *testing.F) {
	b := attack.NewWorld().Honest()
	for _, item := range b.Items() {
		f.Add(b.Get(item)[:min(len(b.Get(item)), 600)])
	}
	f.Fuzz(func(_ *testing.T, file []byte) {
		_ = importer.KindOf(file) // it must not panic
		_, _ = importer.ReadPublic(file)
		_, _ = importer.ReadQuote(file)
	})
}
