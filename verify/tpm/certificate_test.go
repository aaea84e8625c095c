package tpm_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/chip"
	"github.com/poclog/poclog/internal/lab/metal"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/tpm"
)

var certFrom = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// leafOf parses the first certificate of a chain.
func leafOf(t testing.TB, chain []byte) *x509.Certificate {
	t.Helper()
	certs, err := tpm.ParseChain(chain)
	if err != nil {
		t.Fatal(err)
	}
	return certs[0]
}

// selfSigned makes a certificate of a template, whatever it says.
func selfSigned(t testing.TB, key crypto.Signer, template x509.Certificate) *x509.Certificate {
	t.Helper()
	template.SerialNumber, template.NotBefore, template.NotAfter = big.NewInt(1), certFrom, certFrom.AddDate(1, 0, 0)
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func uris(t testing.TB, list ...string) (out []*url.URL) {
	t.Helper()
	for _, s := range list {
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, u)
	}
	return out
}

// EK certificates that another program makes, in the form of TPM makers, pass; the program is
// swtpm's own CA.
func TestEKCertificatesOfAnotherMakerPass(t *testing.T) {
	bin, err := exec.LookPath("swtpm_setup")
	if err != nil {
		t.Skip("skipped: swtpm_setup, which makes EK certificates, is not installed (Debian: swtpm-tools)")
	}
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	ca := filepath.Join(dir, "ca")
	local := write("localca.conf", fmt.Sprintf("statedir = %s\nsigningkey = %s/signkey.pem\nissuercert = %s/issuercert.pem\ncertserial = %s/certserial\n", ca, ca, ca, ca))
	options := write("localca.options", "--platform-manufacturer laboratory\n--platform-version 1\n--platform-model machine\n")
	tool := filepath.Join(filepath.Dir(bin), "swtpm_localca")
	setup := write("setup.conf", fmt.Sprintf("create_certs_tool = %s\ncreate_certs_tool_config = %s\ncreate_certs_tool_options = %s\n", tool, local, options))
	out, err := exec.Command(bin, "--tpm2", "--tpmstate", dir, "--config", setup, "--create-ek-cert", "--write-ek-cert-files", dir).CombinedOutput()
	if err != nil {
		t.Skipf("skipped: swtpm_setup makes no EK certificate here: %v: %.400s", err, out)
	}
	var issuers []byte
	for _, name := range []string{"issuercert.pem", "swtpm-localca-rootca-cert.pem"} {
		text, err := os.ReadFile(filepath.Join(ca, name))
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(text)
		issuers = append(issuers, block.Bytes...)
	}
	files, err := filepath.Glob(filepath.Join(dir, "ek-*.crt"))
	if err != nil || len(files) < 2 {
		t.Fatalf("EK certificates %v: %v", files, err)
	}
	for _, file := range files {
		der, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		chain, err := tpm.ParseChain(slices.Concat(der, issuers))
		if err != nil {
			t.Fatal(err)
		}
		roots := map[[32]byte]bool{poclog.Sum(chain[2].Raw): true}
		leaf, err := tpm.CheckChain(verify.TPMAKChain, slices.Concat(der, issuers), roots, time.Now())
		if err != nil {
			t.Fatalf("%s: %v", filepath.Base(file), err)
		}
		d, err := tpm.CheckEKCertificate(verify.TPMAKChain, leaf)
		if err != nil || d.Manufacturer != "id:00001014" || d.Model != "swtpm" {
			t.Errorf("%s: %+v, %v", filepath.Base(file), d, err)
		}
	}
}

func TestCertificatesForAnotherPurposeAreNoEKs(t *testing.T) {
	p256 := chip.NewKey("tpm test", "EK")
	p521, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsa2048, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	honest := leafOf(t, metal.NewCA("tpm test", "maker", certFrom).CertifyEK(p256.Public()))
	san := honest.Extensions[slices.IndexFunc(honest.Extensions, func(e pkix.Extension) bool { return e.Id.String() == "2.5.29.17" })]
	purpose := []asn1.ObjectIdentifier{tpm.OIDEKCertificate}
	for name, c := range map[string]struct {
		key      crypto.Signer
		template x509.Certificate
		want     bool
	}{
		"ECC":                     {p256, x509.Certificate{KeyUsage: x509.KeyUsageKeyAgreement, UnknownExtKeyUsage: purpose}, true},
		"RSA":                     {rsa2048, x509.Certificate{KeyUsage: x509.KeyUsageKeyEncipherment, UnknownExtKeyUsage: purpose}, true},
		"RSA that agrees":         {rsa2048, x509.Certificate{KeyUsage: x509.KeyUsageKeyAgreement, UnknownExtKeyUsage: purpose}, false},
		"a curve of no TPM":       {p521, x509.Certificate{KeyUsage: x509.KeyUsageKeyAgreement, UnknownExtKeyUsage: purpose}, false},
		"no key usage":            {p256, x509.Certificate{UnknownExtKeyUsage: purpose}, false},
		"a signing key":           {p256, x509.Certificate{KeyUsage: x509.KeyUsageKeyAgreement | x509.KeyUsageDigitalSignature, UnknownExtKeyUsage: purpose}, false},
		"no purpose":              {p256, x509.Certificate{KeyUsage: x509.KeyUsageKeyAgreement}, false},
		"an AK's purpose":         {p256, x509.Certificate{KeyUsage: x509.KeyUsageKeyAgreement, UnknownExtKeyUsage: []asn1.ObjectIdentifier{tpm.OIDAKCertificate}}, false},
		"a TLS server's":          {p256, x509.Certificate{KeyUsage: x509.KeyUsageKeyAgreement, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, false},
		"any purpose is no EK's":  {p256, x509.Certificate{KeyUsage: x509.KeyUsageKeyAgreement, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}, false},
		"a name, but not a TPM's": {p256, x509.Certificate{KeyUsage: x509.KeyUsageKeyAgreement, UnknownExtKeyUsage: purpose, DNSNames: []string{"tpm.example"}}, false},
	} {
		if len(c.template.DNSNames) == 0 {
			c.template.ExtraExtensions = []pkix.Extension{san}
		}
		_, err := tpm.CheckEKCertificate(verify.TPMAKChain, selfSigned(t, c.key, c.template))
		if (err == nil) != c.want {
			t.Errorf("%s: %v", name, err)
		}
		if check, _ := verify.CheckOf(err); err != nil && check != verify.TPMAKChain {
			t.Errorf("%s: refused by %s", name, check)
		}
	}
}

func TestTPMIsNamedOnceAndInPrint(t *testing.T) {
	rdn := func(attributes ...pkix.AttributeTypeAndValue) pkix.RelativeDistinguishedNameSET { return attributes }
	manufacturer := pkix.AttributeTypeAndValue{Type: tpm.OIDTPMManufacturer, Value: "id:49465800"}
	model := pkix.AttributeTypeAndValue{Type: tpm.OIDTPMModel, Value: "SLB 9672"}
	version := pkix.AttributeTypeAndValue{Type: tpm.OIDTPMVersion, Value: "id:1002"}
	other := pkix.AttributeTypeAndValue{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: "x"}
	terminal := pkix.AttributeTypeAndValue{Type: tpm.OIDTPMModel, Value: "\x1b[2J"}
	for name, c := range map[string]struct {
		rdns pkix.RDNSequence
		want bool
	}{
		"one name of three":    {pkix.RDNSequence{rdn(manufacturer, model, version)}, true},
		"three names of one":   {pkix.RDNSequence{rdn(manufacturer), rdn(model), rdn(version)}, true},
		"another beside":       {pkix.RDNSequence{rdn(manufacturer), rdn(model), rdn(version), rdn(other)}, true},
		"none":                 {pkix.RDNSequence{rdn(other)}, false},
		"no version":           {pkix.RDNSequence{rdn(manufacturer, model)}, false},
		"a manufacturer twice": {pkix.RDNSequence{rdn(manufacturer), rdn(model), rdn(version), rdn(manufacturer)}, false},
		"what moves a cursor":  {pkix.RDNSequence{rdn(manufacturer, terminal, version)}, false},
	} {
		der, err := asn1.Marshal(c.rdns)
		if err != nil {
			t.Fatal(err)
		}
		san, err := asn1.Marshal([]asn1.RawValue{{Class: asn1.ClassContextSpecific, Tag: 4, IsCompound: true, Bytes: der}})
		if err != nil {
			t.Fatal(err)
		}
		cert := selfSigned(t, chip.NewKey("tpm test", "EK"), x509.Certificate{
			KeyUsage: x509.KeyUsageKeyAgreement, UnknownExtKeyUsage: []asn1.ObjectIdentifier{tpm.OIDEKCertificate},
			ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Critical: true, Value: san}},
		})
		if _, err := tpm.CheckEKCertificate(verify.TPMAKChain, cert); (err == nil) != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAKCertificateNamesOneEKOnePlaceAndAtMostOneChip(t *testing.T) {
	ek := leafOf(t, metal.NewCA("tpm test", "maker", certFrom).CertifyEK(chip.NewKey("tpm test", "EK").Public()))
	p := tpm.Platform{EK: metal.EKDigest(ek.PublicKey), Provider: "lab", Region: "north1", Zone: "north1-a"}
	plain := p.URIs()
	p.Chip = "intel:tdx:ppid:00112233445566778899aabbccddeeff"
	full := p.URIs()
	const ours = "tag:poclog.dev,2026:"
	for name, c := range map[string]struct {
		uris  []string
		chain bool // tpm.ak-chain passes
		place bool // place.certificate passes
	}{
		"all":                    {full, true, true},
		"no chip":                {plain, true, true},
		"in another order":       {[]string{full[2], full[1], full[0]}, true, true},
		"another's names beside": {append([]string{"https://example.com/machine", "urn:uuid:0"}, full...), true, true},
		"no EK":                  {full[1:], false, false},
		"no place":               {full[:1], true, false},
		"two EKs":                {append([]string{"urn:ek:sha256:AAAA"}, full...), false, false},
		"the same EK twice":      {append([]string{full[0]}, full...), false, false},
		"two places":             {append([]string{ours + "place:lab:north1:north1-b"}, full...), true, false},
		"two chips":              {append([]string{ours + "chip:intel:tdx:ppid:ff112233445566778899aabbccddeeff"}, full...), true, false},
		"an EK in hexadecimal":   {append([]string{"urn:ek:sha256:" + p.EK.String()}, plain[1:]...), false, false},
		"an EK of 31 octets":     {append([]string{"urn:ek:sha256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=="}, plain[1:]...), false, false},
		"a name of tomorrow":     {append([]string{ours + "until:2027"}, full...), true, false},
		"the scheme in capitals": {append([]string{"URN:ek:sha256:" + plain[0][14:]}, plain[1:]...), false, false},
		"a place in two parts":   {[]string{full[0], ours + "place:lab:north1"}, true, false},
	} {
		key := chip.NewKey("tpm test", "AK")
		template := x509.Certificate{KeyUsage: x509.KeyUsageDigitalSignature, UnknownExtKeyUsage: []asn1.ObjectIdentifier{tpm.OIDAKCertificate}}
		if name == "the scheme in capitals" {
			template.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: sanOf(t, c.uris)}}
		} else {
			template.URIs = uris(t, c.uris...)
		}
		cert := selfSigned(t, key, template)
		if err := tpm.CheckAKCertificate(cert, ek); (err == nil) != c.chain {
			t.Errorf("%s: %v", name, err)
		}
		got, err := tpm.ParsePlatform(cert)
		if (err == nil) != c.place {
			t.Errorf("%s: %v", name, err)
		}
		if check, _ := verify.CheckOf(err); err != nil && check != verify.PlaceCert {
			t.Errorf("%s: refused by %s", name, check)
		}
		if err == nil && !slices.Equal(got.URIs(), full) && !slices.Equal(got.URIs(), plain) {
			t.Errorf("%s: read as %v", name, got.URIs())
		}
	}
	tls := selfSigned(t, chip.NewKey("tpm test", "AK"), x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, URIs: uris(t, full...)})
	if err := tpm.CheckAKCertificate(tls, ek); err == nil {
		t.Error("a TLS server's certificate is an AK's")
	}
}

// sanOf encodes URIs as they are.
func sanOf(t testing.TB, list []string) []byte {
	t.Helper()
	var names []asn1.RawValue
	for _, s := range list {
		names = append(names, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 6, Bytes: []byte(s)})
	}
	der, err := asn1.Marshal(names)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// Whatever stands in a subjectAltName, what is read of it is what stands there: one EK, one place,
// at most one chip, in their one form.
func FuzzPlatform(f *testing.F) {
	p := tpm.Platform{EK: poclog.Sum(nil), Provider: "lab", Region: "north1", Zone: "north1-a", Chip: "intel:tdx:ppid:00112233445566778899aabbccddeeff"}
	f.Add(sanOf(f, p.URIs()))
	f.Add(sanOf(f, p.URIs()[:2]))
	f.Add([]byte{0x30, 0x80})
	f.Fuzz(func(t *testing.T, san []byte) {
		oid := asn1.ObjectIdentifier{2, 5, 29, 17}
		cert := &x509.Certificate{Extensions: []pkix.Extension{{Id: oid, Value: san}}}
		if _, err := tpm.CheckEKCertificate(verify.TPMAKChain, cert); err == nil {
			t.Fatal("a certificate without a key is an EK's")
		}
		got, err := tpm.ParsePlatform(cert)
		if err != nil {
			if check, _ := verify.CheckOf(err); check != verify.PlaceCert {
				t.Fatalf("refused by %q: %v", check, err)
			}
			return
		}
		again, err := tpm.ParsePlatform(&x509.Certificate{Extensions: []pkix.Extension{{Id: oid, Value: sanOf(t, got.URIs())}}})
		if err != nil || *again != *got {
			t.Fatalf("%+v is written as %v and read as %+v: %v", got, got.URIs(), again, err)
		}
		for _, uri := range got.URIs() {
			if !strings.Contains(string(san), uri) {
				t.Fatalf("%q does not stand in %q", uri, san)
			}
		}
	})
}
