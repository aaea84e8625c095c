package importer_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/attack"
	"github.com/poclog/poclog/publish/importer"
)

// dcapFile is a laboratory's collateral in the form of dcap-qvl.
func dcapFile(t *testing.T) (file map[string]string, want *poclog.Collateral) {
	t.Helper()
	want = new(poclog.Collateral)
	file = make(map[string]string)
	all := attack.NewWorld().Collateral
	for kind, name := range map[poclog.CollateralKind]string{
		poclog.TDXTCBInfo: "tcb_info", poclog.TDXQEIdentity: "qe_identity", poclog.IntelPCKCRL: "pck_crl", poclog.IntelRootCRL: "root_ca_crl",
	} {
		it := *all.Get(kind)
		it.URL = ""
		if kind == poclog.IntelRootCRL {
			it.Chain = nil
		} else {
			file[name+"_issuer_chain"] = string(it.Chain)
		}
		want = want.With(it)
		if kind == poclog.IntelPCKCRL || kind == poclog.IntelRootCRL {
			file[name] = hex.EncodeToString(it.Body)
			continue
		}
		var signed map[string]json.RawMessage
		if err := json.Unmarshal(it.Body, &signed); err != nil {
			t.Fatal(err)
		}
		file[name+"_signature"] = strings.Trim(string(signed["signature"]), `"`)
		delete(signed, "signature")
		for _, body := range signed {
			file[name] = string(body)
		}
	}
	return file, want
}

func TestCollateralIsReadInEveryForm(t *testing.T) {
	file, want := dcapFile(t)
	asYAML, err := yaml.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	written := func(write func([]byte) string) []byte {
		f, _ := dcapFile(t)
		for _, name := range []string{"pck_crl", "root_ca_crl"} {
			der, err := hex.DecodeString(f[name])
			if err != nil {
				t.Fatal(err)
			}
			f[name] = write(der)
		}
		return asJSON(t, f)
	}
	for form, b := range map[string][]byte{
		"JSON": asJSON(t, file), "YAML": asYAML,
		"CRLs in base64": written(base64.StdEncoding.EncodeToString),
		"CRLs in PEM": written(func(der []byte) string {
			return string(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}))
		}),
	} {
		got, err := importer.Collateral(b)
		if err != nil {
			t.Errorf("%s: %v", form, err)
			continue
		}
		for _, it := range want.Items {
			if g := got.Get(it.Kind); g == nil || !bytes.Equal(g.Body, it.Body) || !bytes.Equal(g.Chain, it.Chain) {
				t.Errorf("%s: %s is another", form, it.Kind)
			}
		}
	}
}

func TestCollateralThatIsNoneIsRefused(t *testing.T) {
	for name, say := range map[string]string{
		"tcb_info": "no member tcb_info", "tcb_info_signature": "no member tcb_info_signature", "pck_crl": "no member pck_crl", "root_ca_crl": "no member root_ca_crl",
	} {
		file, _ := dcapFile(t)
		delete(file, name)
		if _, err := importer.Collateral(asJSON(t, file)); err == nil || !strings.Contains(err.Error(), say) {
			t.Errorf("without %s: %v", name, err)
		}
	}
	file, _ := dcapFile(t)
	file["pck_crl"] = hex.EncodeToString([]byte("something else"))
	if _, err := importer.Collateral(asJSON(t, file)); err == nil || !strings.Contains(err.Error(), "pck_crl: no CRL") {
		t.Errorf("%v", err)
	}
}
