package tpm_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poclog/poclog/internal/lab/chip"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/tpm"
)

var chainTime = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)

// A testChain is certificates in DER from the leaf to the root.
type testChain [][]byte

func (c testChain) join() []byte { return bytes.Join(c, nil) }

func (c testChain) roots() map[[32]byte]bool {
	return map[[32]byte]bool{sha256.Sum256(c[len(c)-1]): true}
}

func (c testChain) check() error {
	_, err := tpm.CheckChain(verify.TPMAKChain, c.join(), c.roots(), chainTime)
	return err
}

// makeChain issues a chain of four, after each template, from the leaf at 0 to the root at 3, was
// changed.
func makeChain(t testing.TB, change func(templates []*x509.Certificate)) testChain {
	t.Helper()
	templates := make([]*x509.Certificate, 4)
	for i := range templates {
		templates[i] = &x509.Certificate{
			SerialNumber: big.NewInt(int64(i + 1)), Subject: pkix.Name{CommonName: fmt.Sprintf("certificate %d", i)},
			NotBefore: chainTime.AddDate(-1, 0, 0), NotAfter: chainTime.AddDate(1, 0, 0),
			IsCA: i > 0, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		}
	}
	templates[0].KeyUsage = x509.KeyUsageDigitalSignature
	if change != nil {
		change(templates)
	}
	key := func(i int) chip.Key { return chip.NewKey("chain", fmt.Sprint(i)) }
	chain := make(testChain, len(templates))
	for i := range slices.Backward(templates) {
		issuer := min(i+1, len(templates)-1)
		der, err := x509.CreateCertificate(nil, templates[i], templates[issuer], key(i).Public(), key(issuer))
		if err != nil {
			t.Fatal(err)
		}
		chain[i] = der
	}
	return chain
}

func goodChain(t testing.TB) testChain { return makeChain(t, nil) }

func critical(id ...int) []pkix.Extension {
	return []pkix.Extension{{Id: id, Critical: true, Value: []byte{asn1.TagNull, 0}}}
}

// directorySAN is a critical subjectAltName with a directory name, as EK certificates have: x509
// does not read it.
func directorySAN(t testing.TB) []pkix.Extension {
	t.Helper()
	name, err := asn1.Marshal(pkix.Name{CommonName: "TPM"}.ToRDNSequence())
	if err != nil {
		t.Fatal(err)
	}
	value, err := asn1.Marshal([]asn1.RawValue{{Class: asn1.ClassContextSpecific, Tag: 4, IsCompound: true, Bytes: name}})
	if err != nil {
		t.Fatal(err)
	}
	return []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Critical: true, Value: value}}
}

func TestAChainLeadsFromTheLeafToAListedRoot(t *testing.T) {
	good := goodChain(t)
	leaf, err := tpm.CheckChain(verify.TPMAKChain, good.join(), good.roots(), chainTime)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(leaf.Raw, good[0]) {
		t.Errorf("leaf %q", leaf.Subject)
	}
	if err := good[2:].check(); err == nil {
		t.Error("a CA's certificate in the leaf's place is accepted")
	}
	for name, change := range map[string]func([]*x509.Certificate){
		"a path length that is exactly met": func(c []*x509.Certificate) { c[2].MaxPathLen = 1 },
		"a path length of zero":             func(c []*x509.Certificate) { c[1].MaxPathLenZero = true },
		"a critical subjectAltName in the leaf, as EKs have": func(c []*x509.Certificate) {
			c[0].ExtraExtensions = directorySAN(t)
		},
		"a CA's own extended key usage, critical": func(c []*x509.Certificate) {
			c[1].ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true, Value: []byte{0x30, 7, 6, 5, 0x67, 0x81, 5, 8, 1}}}
		},
		"an EK that decrypts":  func(c []*x509.Certificate) { c[0].KeyUsage = x509.KeyUsageKeyEncipherment },
		"its first second":     func(c []*x509.Certificate) { c[1].NotBefore = chainTime },
		"its last second":      func(c []*x509.Certificate) { c[1].NotAfter = chainTime },
		"a leaf without usage": func(c []*x509.Certificate) { c[0].KeyUsage = 0 },
	} {
		if err := makeChain(t, change).check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestABrokenChainIsRefusedAndSaysWhere(t *testing.T) {
	for name, v := range map[string]struct {
		change func(c []*x509.Certificate)
		says   string
	}{
		"an expired leaf":           {func(c []*x509.Certificate) { c[0].NotAfter = chainTime.Add(-time.Second) }, "certificate 0"},
		"an expired CA":             {func(c []*x509.Certificate) { c[1].NotAfter = chainTime.Add(-time.Second) }, "certificate 1"},
		"a CA of tomorrow":          {func(c []*x509.Certificate) { c[2].NotBefore = chainTime.Add(time.Second) }, "certificate 2"},
		"an expired root":           {func(c []*x509.Certificate) { c[3].NotAfter = chainTime.Add(-time.Second) }, "certificate 3"},
		"an end entity as issuer":   {func(c []*x509.Certificate) { c[1].IsCA = false }, "certificate 1"},
		"a CA that may not certify": {func(c []*x509.Certificate) { c[2].KeyUsage = x509.KeyUsageDigitalSignature }, "certificate 1"},
		"a path length of zero":     {func(c []*x509.Certificate) { c[2].MaxPathLenZero = true }, "certificate 2"},
		"the root's path length":    {func(c []*x509.Certificate) { c[3].MaxPathLen = 1 }, "certificate 3"},
		"a CA for a leaf":           {func(c []*x509.Certificate) { c[0].IsCA = true }, "certificate 0"},
		"a leaf that is for CRLs":   {func(c []*x509.Certificate) { c[0].KeyUsage = x509.KeyUsageCRLSign }, "certificate 0"},
		"a CA constrained to names": {func(c []*x509.Certificate) {
			c[1].PermittedDNSDomainsCritical, c[1].PermittedDNSDomains = true, []string{"a.example"}
		}, "2.5.29.30"},
		"an unknown extension":        {func(c []*x509.Certificate) { c[0].ExtraExtensions = critical(1, 2, 3) }, "1.2.3"},
		"an unknown extension (root)": {func(c []*x509.Certificate) { c[3].ExtraExtensions = critical(1, 2, 3) }, "certificate 3"},
		"a CA's subjectAltName":       {func(c []*x509.Certificate) { c[1].ExtraExtensions = directorySAN(t) }, "certificate 1"},
	} {
		err := makeChain(t, v.change).check()
		wantCheck(t, name, err, verify.TPMAKChain)
		if err != nil && !strings.Contains(err.Error(), v.says) {
			t.Errorf("%s: %v: want %q named", name, err, v.says)
		}
	}
}

func TestAChainOfOtherCertificatesIsRefused(t *testing.T) {
	good, other := goodChain(t), makeChain(t, func(c []*x509.Certificate) { c[1].SerialNumber = big.NewInt(9) })
	refuse := func(name string, c testChain, roots map[[32]byte]bool, want verify.Check) {
		t.Helper()
		_, err := tpm.CheckChain(want, c.join(), roots, chainTime)
		wantCheck(t, name, err, want)
	}
	refuse("no root listed", good, nil, verify.TPMAKChain)
	refuse("another root listed", good, map[[32]byte]bool{{1}: true}, verify.TPMAKChain)
	refuse("a root that the map names but does not list", good, map[[32]byte]bool{sha256.Sum256(good[3]): false}, verify.TPMAKChain)
	refuse("the root alone", good[3:], good.roots(), verify.TPMAKChain)
	refuse("the root twice", append(slices.Clone(good), good[3]), good.roots(), verify.TPMAKChain)
	refuse("a CA left out", testChain{good[0], good[2], good[3]}, good.roots(), verify.TPMAKChain)
	refuse("CAs in another order", testChain{good[0], good[2], good[1], good[3]}, good.roots(), verify.TPMAKChain)
	refuse("a CA twice", testChain{good[0], good[1], good[1], good[2], good[3]}, good.roots(), verify.TPMAKChain)
	refuse("an intermediate as the root", good[:3], good[:3].roots(), verify.TPMAKChain)
	refuse("the check is the caller's", good, nil, verify.PlaceCert)
	if err := (testChain{good[0], other[1], good[2], good[3]}).check(); err != nil {
		t.Errorf("a CA's renewed certificate with the same key and name: %v", err)
	}
	for i := range good[0] {
		changed := bytes.Clone(good[0])
		changed[i] ^= 1
		err := testChain{changed, good[1], good[2], good[3]}.check()
		if _, ok := verify.CheckOf(err); !ok {
			t.Fatalf("byte %d of the leaf changed: %v", i, err)
		}
	}
	refuse("no certificate", nil, good.roots(), verify.Format)
	refuse("seven certificates", testChain{good[0], good[1], good[1], good[1], good[1], good[2], good[3]}, good.roots(), verify.Format)
	refuse("over 16 KiB", testChain{make([]byte, 1<<14+1)}, good.roots(), verify.Format)
	refuse("a byte after the root", append(slices.Clone(good), []byte{0}), good.roots(), verify.Format)
	refuse("PEM", testChain{[]byte("-----BEGIN CERTIFICATE-----\n")}, good.roots(), verify.Format)
	refuse("a length of 2³²−1", testChain{{0x30, 0x84, 255, 255, 255, 255}}, good.roots(), verify.Format)
}

func TestAnNVIndexIsCutToItsCertificate(t *testing.T) {
	leaf := goodChain(t)[0]
	for name, rest := range map[string][]byte{"nothing": nil, "zeros": make([]byte, 3000), "an earlier one's end": []byte("earlier")} {
		if cut, err := tpm.TrimCertificate(append(bytes.Clone(leaf), rest...)); err != nil || !bytes.Equal(cut, leaf) {
			t.Errorf("%s: %d bytes: %v", name, len(cut), err)
		}
	}
	for name, b := range map[string][]byte{"empty": nil, "erased": bytes.Repeat([]byte{0xff}, 4096), "cut": leaf[:len(leaf)-1]} {
		_, err := tpm.TrimCertificate(b)
		wantCheck(t, name, err, verify.Format)
	}
}
