package importer_test

import (
	"bytes"
	"crypto/rsa"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-sev-guest/abi"
	"github.com/google/go-sev-guest/proto/sevsnp"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/amd"
	"github.com/poclog/poclog/internal/lab/attack"
	"github.com/poclog/poclog/internal/lab/azure"
	"github.com/poclog/poclog/internal/lab/guest"
	"github.com/poclog/poclog/internal/realdata/amddata"
	"github.com/poclog/poclog/internal/swtpm"
	"github.com/poclog/poclog/publish/importer"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/profile"
	"github.com/poclog/poclog/verify/tpm"
)

// table is a certificate table as hosts give it, with a list of revoked certificates that nobody
// needs here.
func table(ders ...[]byte) []byte {
	header := 24 * (len(ders) + 2)
	out := make([]byte, header)
	for i, der := range append(ders, []byte("no certificate")) {
		e := out[24*i:]
		e[0] = byte(i + 1)
		binary.LittleEndian.PutUint32(e[16:], uint32(len(out)))
		binary.LittleEndian.PutUint32(e[20:], uint32(len(der)))
		out = append(out, der...)
	}
	return out
}

func attestation(t *testing.T, report, certs []byte) *sevsnp.Attestation {
	t.Helper()
	r, err := abi.ReportToProto(report)
	if err != nil {
		t.Fatal(err)
	}
	list := amd.Certificates(certs)
	return &sevsnp.Attestation{Report: r, CertificateChain: &sevsnp.CertificateChain{VcekCert: list[0], AskCert: list[1], ArkCert: list[2]}}
}

// Every form in which tools write a report gives the same bundle: the real one's, and those of the
// laboratory's chips.
func TestSNPReportsInEveryForm(t *testing.T) {
	real, realCerts := amddata.Report()
	m := amd.NewMaker("import test", "Genoa", attack.Now.AddDate(-1, 0, 0))
	chip := m.NewChip("chip", [8]byte{})
	for which, x := range map[string]struct{ report, certs []byte }{
		"real": {real, realCerts}, "lab": {chip.Report(amd.Guest{Version: 5}, nil), chip.Certs()},
	} {
		list := amd.Certificates(x.certs)
		binaryProto, err := proto.Marshal(attestation(t, x.report, x.certs))
		if err != nil {
			t.Fatal(err)
		}
		textProto, err := prototext.Marshal(attestation(t, x.report, x.certs))
		if err != nil {
			t.Fatal(err)
		}
		response := binary.LittleEndian.AppendUint32(make([]byte, 4), uint32(len(x.report)))
		response = append(append(append(response, make([]byte, 24)...), x.report...), make([]byte, 4000-32-len(x.report))...)
		padded := append(bytes.Clone(x.report), make([]byte, 2816)...)
		for form, files := range map[string][][]byte{
			"DER apart":                {x.report, list[0], list[2], list[1]},
			"DER together":             {x.report, x.certs},
			"PEM together":             {x.report, pemOf(list...)},
			"VCEK in DER, CAs in PEM":  {x.report, list[0], pemOf(list[1:]...)},
			"a certificate table":      {x.report, table(list...)},
			"an extended report":       {append(bytes.Clone(x.report), table(list...)...)},
			"the firmware's response":  {response, x.certs},
			"padded":                   {padded, x.certs},
			"go-sev-guest, binary":     {binaryProto},
			"go-sev-guest, text":       {textProto},
			"more than the chain asks": {x.report, x.certs, pemOf(m.Root()), m.NewChip("other", [8]byte{}).Certs()},
		} {
			im, err := importer.SNP(files[0], files[1:]...)
			if err != nil {
				t.Errorf("%s, %s: %v", which, form, err)
				continue
			}
			if !bytes.Equal(im.Bundle.Get(poclog.ItemSNPReport), x.report) || !bytes.Equal(im.Bundle.Get(poclog.ItemSNPCerts), x.certs) {
				t.Errorf("%s, %s: another report or other certificates: %v", which, form, im.Notes)
			}
			have, level := states(t, im)
			if have[verify.TEESignature].State != profile.Carried || have[verify.TEEChain].State != profile.Carried || have[verify.FreshChallenge].State != profile.Lost {
				t.Errorf("%s, %s: %+v", which, form, have)
			}
			// The real guest ran under debug: the table says that no judge takes it.
			if want := map[string]int{"real": profile.LevelNone, "lab": poclog.LevelChip}[which]; level != want {
				t.Errorf("%s, %s: level %d", which, form, level)
			}
		}
	}
}

func TestSNPImportSaysWhatIsMissing(t *testing.T) {
	m := amd.NewMaker("import test", "Milan", attack.Now.AddDate(-1, 0, 0))
	chip, other := m.NewChip("chip", [8]byte{}), m.NewChip("other", [8]byte{})
	report, certs := chip.Report(amd.Guest{}, nil), amd.Certificates(chip.Certs())
	for name, c := range map[string]struct {
		certs [][]byte
		say   string
	}{
		"no certificates":      {nil, "there is no certificate of the vcek"},
		"no CA":                {[][]byte{certs[0], certs[2]}, "issuer"},
		"no root":              {[][]byte{certs[0], certs[1]}, "issuer"},
		"another chip's":       {[][]byte{other.Certs()}, "the report is of chip"},
		"a cloud's key":        {[][]byte{m.NewCloudKey("a cloud", [8]byte{}).Certs()}, "there is no certificate of the vcek"},
		"older firmware's key": {[][]byte{m.NewChip("chip", [8]byte{3, 0, 0, 0, 0, 0, 8, 115}).Certs()}, "TCB version"},
	} {
		im, err := importer.SNP(report, c.certs...)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		have, level := states(t, im)
		if im.Bundle.Has(poclog.ItemSNPCerts) || !strings.Contains(strings.Join(im.Notes, "\n"), c.say) || level != profile.LevelNone || have[verify.TEEChain].State != profile.Lost {
			t.Errorf("%s: level %d, notes %q", name, level, im.Notes)
		}
	}
	for name, files := range map[string][][]byte{
		"nothing":                        {nil},
		"text":                           {[]byte("hello")},
		"a cut report":                   {report[:1000]},
		"a report and text":              {append(bytes.Clone(report), "hello"...)},
		"a response and text":            {append(append(binary.LittleEndian.AppendUint32(make([]byte, 4), 1184), append(make([]byte, 24), report...)...), "x"...)},
		"a table that points beyond":     {report, append(bytes.Repeat([]byte{0xff}, 24), make([]byte, 24)...)},
		"a table without an end":         {report, bytes.Repeat([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0}, 100)},
		"a certificate that is cut":      {report, certs[0][:100]},
		"a key in PEM":                   {report, []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")},
		"too many certificates":          {report, bytes.Repeat(certs[0], 40)},
		"a report with a reserved octet": {append(append(bytes.Clone(report[:0x4c]), 1), report[0x4d:]...)},
	} {
		if _, err := importer.SNP(files[0], files[1:]...); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v: want a refusal in one line", name, err)
		}
	}
}

func TestSNPChallengeIsCarried(t *testing.T) {
	w := attack.NewWorldOf(poclog.SNP)
	b := w.Honest()
	im, err := importer.SNP(b.Get(poclog.ItemSNPReport), b.Get(poclog.ItemSNPCerts))
	if err != nil {
		t.Fatal(err)
	}
	if err := im.Add(importer.Extras{Challenge: b.Get(poclog.ItemChallenge)}); err != nil {
		t.Fatal(err)
	}
	if have, level := states(t, im); have[verify.FreshChallenge].State != profile.Carried || level != poclog.LevelChip {
		t.Errorf("level %d, %+v", level, have[verify.FreshChallenge])
	}
}

// azureSNPFile is an SNP VM's evidence as a file, with the certificates that complete it: of the AK
// and of the chip.
func azureSNPFile(t *testing.T, b *poclog.Bundle) (file, ak, chip []byte) {
	t.Helper()
	chain, err := tpm.ParseChain(b.Get(poclog.ItemTPMAKChain))
	if err != nil {
		t.Fatal(err)
	}
	q, err := tpm.ParseQuote(b.Get(poclog.ItemTPMQuote))
	if err != nil {
		t.Fatal(err)
	}
	item := b.Get(poclog.ItemTPMQuote)
	var pcrs []string
	for value := range slices.Chunk(b.Get(poclog.ItemTPMPCRs), 32) {
		pcrs = append(pcrs, hex.EncodeToString(value))
	}
	if file, err = json.Marshal(map[string]any{
		"version":    1,
		"hcl_report": base64.RawURLEncoding.EncodeToString(append(bytes.Clone(b.Get(poclog.ItemHCLReport)), make([]byte, 50)...)),
		"tpm_quote":  map[string]any{"pcrs": pcrs, "message": hex.EncodeToString(q.Attest), "signature": hex.EncodeToString(item[len(item)-256:])},
	}); err != nil {
		t.Fatal(err)
	}
	certs := amd.Certificates(b.Get(poclog.ItemSNPCerts))
	if chip, err = json.Marshal(map[string]string{"vcekCert": string(pemOf(certs[0])), "tcbm": "DB18000000000004", "certificateChain": string(pemOf(certs[1:]...))}); err != nil {
		t.Fatal(err)
	}
	return file, pemOf(chain[0].Raw, chain[1].Raw, chain[2].Raw), chip
}

func TestAzureSNPFilesCarryEverythingButTheAKsTemplate(t *testing.T) {
	b := attack.NewWorldOf(poclog.AzureSNPvTPM).Honest()
	file, ak, chip := azureSNPFile(t, b)
	inPEM := pemOf(amd.Certificates(b.Get(poclog.ItemSNPCerts))...)
	for name, certs := range map[string][][]byte{"the service's JSON": {ak, chip}, "PEM": {inPEM, ak}} {
		im, err := importer.Azure(file, certs...)
		if err != nil {
			t.Fatal(err)
		}
		if err := im.Add(importer.Extras{Challenge: b.Get(poclog.ItemChallenge)}); err != nil {
			t.Fatal(err)
		}
		have, level := states(t, im)
		if im.Profile != poclog.AzureSNPvTPM || level != poclog.LevelChip || have[verify.TPMAKTemplate].State != profile.Lost {
			t.Errorf("%s: profile %s, level %d", name, im.Profile, level)
		}
		if err := im.Add(importer.Extras{AK: b.Get(poclog.ItemTPMAK)}); err != nil {
			t.Fatal(err)
		}
		if have, level := states(t, im); level != poclog.LevelBound {
			t.Errorf("%s, with the AK: level %d, %+v", name, level, have)
		}
		for _, item := range b.Items() {
			if !bytes.Equal(im.Bundle.Get(item), b.Get(item)) {
				t.Errorf("%s: item %s is another", name, item)
			}
		}
	}
	// Confidential Containers give the chip's own certificate alone: the others come from AMD.
	var members map[string]any
	if err := json.Unmarshal(file, &members); err != nil {
		t.Fatal(err)
	}
	certs := amd.Certificates(b.Get(poclog.ItemSNPCerts))
	members["vcek"] = base64.RawURLEncoding.EncodeToString(certs[0])
	withVCEK, err := importer.Azure(asJSON(t, members), ak, pemOf(certs[1:]...))
	if err != nil || !bytes.Equal(withVCEK.Bundle.Get(poclog.ItemSNPCerts), b.Get(poclog.ItemSNPCerts)) {
		t.Errorf("with vcek: %v", err)
	}
	im, err := importer.Azure(file, ak)
	if err != nil {
		t.Fatal(err)
	}
	if have, level := states(t, im); level != profile.LevelNone || have[verify.TEEChain].State != profile.Lost || !slices.Contains(have[verify.TEEChain].Lacks, poclog.ItemSNPCerts) {
		t.Errorf("without the chip's certificates: level %d, %+v", level, have[verify.TEEChain])
	}
	if _, err := importer.Azure(append([]byte(`{"td_quote":"00",`), file[1:]...), ak, chip); err == nil || !strings.Contains(err.Error(), "a TD quote beside") {
		t.Errorf("a TD quote beside an SNP report: %v", err)
	}
}

// A SEV-SNP VM with a real TPM, whose paravisor is the laboratory's: all is read from the machine,
// and a judge binds it at level 2.
func TestLiveAzureSNPVMIsBound(t *testing.T) {
	w := attack.NewWorldOf(poclog.AzureSNPvTPM)
	v := swtpm.Start(t)
	ak := v.Create(swtpm.Template(true, nil))
	ak.Persist(importer.AzureAKHandle)
	public, err := tpm.ParsePublic(ak.Public)
	if err != nil {
		t.Fatal(err)
	}
	ak.Flush()
	host := w.AzureVM.Host
	make := func(user []byte) []byte {
		claims := w.AzureVM.Claims([64]byte(user))
		claims.AK = public.Key().(*rsa.PublicKey)
		text := claims.JSON()
		return azure.HCL(tpm.HCLTypeSNP, host.SNP.Report(w.AzureVM.Guest(azure.ReportData(text)), nil), text)
	}
	p := guest.NewParavisor(v, make(bytes.Repeat([]byte{0}, 64)), make)
	chain, err := tpm.ParseChain(w.Azure.Certify(public.Key(), host.Region, "0123456789ab"+azure.Confidential))
	if err != nil {
		t.Fatal(err)
	}
	v.DefineNV(importer.NVAzureAKCert, append(bytes.Clone(chain[0].Raw), bytes.Repeat([]byte{0}, guest.IndexSize-len(chain[0].Raw))...))
	certs := amd.Certificates(host.SNP.Certs())
	service := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || r.URL.Path != "/metadata/THIM/amd/certification" || r.Header.Get("Metadata") != "true" {
			http.NotFound(rw, r)
			return
		}
		_ = json.NewEncoder(rw).Encode(map[string]string{"vcekCert": string(pemOf(certs[0])), "certificateChain": string(pemOf(certs[1:]...))}) // the client may be gone
	}))
	defer service.Close()
	vm := importer.AzureVM{TPM: p, IMDS: &importer.IMDS{URL: service.URL}, Challenge: w.Challenge}
	im, err := vm.Import(t.Context(), pemOf(chain[1].Raw, chain[2].Raw))
	if err != nil {
		t.Fatal(err)
	}
	item, err := w.Challenge.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if err := im.Add(importer.Extras{Challenge: item}); err != nil {
		t.Fatal(err)
	}
	if have, level := states(t, im); level != poclog.LevelBound {
		t.Fatalf("level %d: %+v, notes %q", level, have, im.Notes)
	}
	in := profile.Input{Appraised: attack.Now, Appraisal: poclog.Appraisal}
	for _, f := range []struct {
		dst     *[]byte
		marshal func() ([]byte, error)
	}{{&in.Bundle, im.Bundle.Marshal}, {&in.Collateral, w.Collateral.Marshal}, {&in.Policy, w.Policy.Marshal}} {
		if *f.dst, err = f.marshal(); err != nil {
			t.Fatal(err)
		}
	}
	if a, err := profile.Appraise(in); err != nil || a.Entry.Level != poclog.LevelBound || a.Entry.Profile != poclog.AzureSNPvTPM {
		t.Errorf("%v", err)
	}
	service.Close()
	if _, err := vm.Import(t.Context()); err == nil || !strings.Contains(err.Error(), "instance metadata service") {
		t.Errorf("without the service: %v", err)
	}
}

func FuzzSNP(f *testing.F) {
	report, certs := amddata.Report()
	list := amd.Certificates(certs)
	f.Add(report, certs)
	f.Add(append(bytes.Clone(report), table(list...)...), pemOf(list...))
	f.Add([]byte("\x0a\x02\x08\x02"), table(list...))
	f.Fuzz(func(t *testing.T, file, certs []byte) {
		im, err := importer.SNP(file, certs)
		if err != nil {
			return
		}
		if _, err := im.Bundle.Marshal(); err != nil {
			t.Errorf("imported, and no bundle: %v", err)
		}
		if _, err := profile.Look(im.Profile, im.Bundle); err != nil {
			t.Error(err)
		}
	})
}
