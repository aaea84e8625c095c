package chain_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poclog/poclog/internal/lab/chip"
	"github.com/poclog/poclog/internal/lab/gce"
	"github.com/poclog/poclog/verify/chain"
)

var now = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)

// An authority is a certificate with its key.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func key(label string) crypto.Signer { return chip.NewKey("chain test", label) }

// issue has an authority certify a key; with none the certificate issues itself.
func issue(t testing.TB, by *authority, name string, key crypto.PublicKey, change func(*x509.Certificate)) *x509.Certificate {
	t.Helper()
	c := &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: name}, NotBefore: now.AddDate(-1, 0, 0), NotAfter: now.AddDate(1, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	if change != nil {
		change(c)
	}
	issuer := c
	if by.cert != nil {
		// Whoever signs in an issuer's name need not have its key.
		copied := *by.cert
		issuer, copied.PublicKey = &copied, by.key.Public()
	}
	der, err := x509.CreateCertificate(nil, c, issuer, key, by.key)
	if err != nil {
		t.Fatal(err)
	}
	out, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func leafOf(c *x509.Certificate) { c.IsCA, c.KeyUsage = false, x509.KeyUsageDigitalSignature }

// made is a good chain of three, and its root.
func made(t testing.TB) (certs []*x509.Certificate, root, ca *authority) {
	root = &authority{key: key("root")}
	root.cert = issue(t, &authority{key: root.key}, "root", root.key.Public(), nil)
	ca = &authority{key: key("ca")}
	ca.cert = issue(t, root, "ca", ca.key.Public(), nil)
	return []*x509.Certificate{issue(t, ca, "leaf", key("leaf").Public(), leafOf), ca.cert, root.cert}, root, ca
}

func listed(root *authority) chain.Roots { return chain.Roots{sha256.Sum256(root.cert.Raw): true} }

func wantRefused(t *testing.T, name string, err error, why string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), why) || strings.Contains(err.Error(), "\n") {
		t.Errorf("%s: %v: want %q", name, err, why)
	}
}

func TestAChainHasOneForm(t *testing.T) {
	good, root, ca := made(t)
	leaf := good[0]
	if err := chain.Check(good, listed(root), now, nil); err != nil {
		t.Fatal(err)
	}
	// The CA's key and name, certified by itself: a link that is not needed.
	self := issue(t, &authority{key: ca.key}, "ca", ca.key.Public(), nil)
	for name, c := range map[string]struct {
		certs []*x509.Certificate
		why   string
	}{
		"the root twice":                     {append(slices.Clone(good), root.cert), `certificate 2 of the chain, "CN=root": it issued itself`},
		"the root thrice":                    {append(slices.Clone(good), root.cert, root.cert), "it issued itself"},
		"a CA twice":                         {[]*x509.Certificate{leaf, ca.cert, ca.cert, root.cert}, "is not the next certificate"},
		"a CA that issued itself, as well":   {[]*x509.Certificate{leaf, self, ca.cert, root.cert}, "it issued itself"},
		"a leaf that issued itself, as well": {[]*x509.Certificate{root.cert, root.cert}, "want an end entity"},
		"another order":                      {[]*x509.Certificate{leaf, root.cert, ca.cert}, "not one that the policy lists"},
		"without the root":                   {good[:2], "not one that the policy lists"},
		"the root alone":                     {good[2:], "chain of 1 certificates"},
		"nothing":                            {nil, "chain of 0 certificates"},
		"a CA in the leaf's place":           {good[1:], "a CA: want an end entity"},
		"seven certificates":                 {append(slices.Repeat([]*x509.Certificate{ca.cert}, 6), root.cert), "over 6 certificates"},
	} {
		wantRefused(t, name, chain.Check(c.certs, listed(root), now, nil), c.why)
	}
	if err := chain.Check(good, chain.Roots{sha256.Sum256(root.cert.Raw): false}, now, nil); err == nil {
		t.Error("a root that is not listed judges")
	}
	// With the intermediate listed as a root it is one that did not issue itself.
	err := chain.Check(good[:2], chain.Roots{sha256.Sum256(ca.cert.Raw): true}, now, nil)
	wantRefused(t, "an intermediate for a root", err, "is not the next certificate")
}

func TestAuthoritiesStandWithoutALeaf(t *testing.T) {
	good, root, _ := made(t)
	for _, certs := range [][]*x509.Certificate{good[1:], good[2:]} {
		if err := chain.CheckAuthorities(certs, listed(root), now, nil); err != nil {
			t.Error(err)
		}
	}
	wantRefused(t, "nothing", chain.CheckAuthorities(nil, listed(root), now, nil), "empty")
	wantRefused(t, "an end entity", chain.CheckAuthorities(good, listed(root), now, nil), `"CN=leaf": not a CA`)
}

// Each signature is by a key that is trusted already, and the first that is wrong ends it: a CA
// that nobody certified is never used as a key.
func TestSignaturesAreVerifiedFromTheRootDown(t *testing.T) {
	good, root, _ := made(t)
	stranger := &authority{key: key("stranger")}
	ca := issue(t, &authority{cert: root.cert, key: stranger.key}, "ca", stranger.key.Public(), nil) // in the root's name, not by its key
	leaf := issue(t, &authority{cert: ca, key: key("nobody")}, "leaf", key("leaf").Public(), leafOf)
	for _, l := range []*x509.Certificate{leaf, issue(t, &authority{cert: ca, key: stranger.key}, "leaf", key("leaf").Public(), leafOf)} {
		err := chain.Check([]*x509.Certificate{l, ca, root.cert}, listed(root), now, nil)
		wantRefused(t, "a stranger's CA", err, `certificate 1 of the chain, "CN=ca": not signed by "CN=root"`)
	}
	err := chain.Check([]*x509.Certificate{issue(t, &authority{cert: good[1], key: key("nobody")}, "leaf", key("leaf").Public(), leafOf), good[1], good[2]}, listed(root), now, nil)
	wantRefused(t, "a stranger's leaf", err, `certificate 0 of the chain, "CN=leaf": not signed by "CN=ca"`)

	// What is wrong beside the signatures is found first.
	var asked []string
	refuse := errors.New("no")
	err = chain.Check([]*x509.Certificate{leaf, ca, root.cert}, listed(root), now, func(c *x509.Certificate, below int) error {
		asked = append(asked, fmt.Sprint(c.Subject.CommonName, below))
		if below == 0 {
			return refuse
		}
		return nil
	})
	if !errors.Is(err, refuse) || !slices.Equal(asked, []string{"root2", "ca1", "leaf0"}) {
		t.Errorf("%v after %v", err, asked)
	}
}

// Whoever has more to ask of certificates, and is content, takes back no refusal.
func TestWhatElseIsAskedOfACertificateTakesBackNoRefusal(t *testing.T) {
	_, root, ca := made(t)
	old := issue(t, ca, "leaf", key("leaf").Public(), func(c *x509.Certificate) { leafOf(c); c.NotAfter = now.Add(-time.Second) })
	err := chain.Check([]*x509.Certificate{old, ca.cert, root.cert}, listed(root), now, func(*x509.Certificate, int) error { return nil })
	wantRefused(t, "a leaf that is too old", err, "valid from")
}

func TestKeysAreBounded(t *testing.T) {
	_, root, ca := made(t)
	number := func(bits int) *big.Int {
		n := new(big.Int).Lsh(big.NewInt(1), uint(bits-1))
		return n.Or(n, big.NewInt(1))
	}
	p224, err := ecdsa.GenerateKey(elliptic.P224(), nil)
	if err != nil {
		t.Fatal(err)
	}
	p521, err := ecdsa.GenerateKey(elliptic.P521(), nil)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), nil)
	if err != nil {
		t.Fatal(err)
	}
	const sizes, curves = "want 2048 to 4096 bits, and an exponent of 3 to 65537", "want P-256 or P-384"
	for name, c := range map[string]struct {
		key crypto.PublicKey
		why string // empty: it is taken
	}{
		"RSA of 2,048 bits":     {&rsa.PublicKey{N: number(2048), E: 65537}, ""},
		"RSA of 4,096 bits":     {&rsa.PublicKey{N: number(4096), E: 65537}, ""},
		"RSA with exponent 3":   {&rsa.PublicKey{N: number(3072), E: 3}, ""},
		"P-384":                 {p384.Public(), ""},
		"RSA of 2,047 bits":     {&rsa.PublicKey{N: number(2047), E: 65537}, sizes},
		"RSA of 4,097 bits":     {&rsa.PublicKey{N: number(4097), E: 65537}, sizes},
		"RSA of 60,800 bits":    {&rsa.PublicKey{N: number(60800), E: 65537}, sizes},
		"RSA with exponent 1":   {&rsa.PublicKey{N: number(2048), E: 1}, sizes},
		"RSA with exponent 2":   {&rsa.PublicKey{N: number(2048), E: 2}, sizes},
		"RSA, a large exponent": {&rsa.PublicKey{N: number(2048), E: 65538}, sizes},
		"P-224":                 {p224.Public(), curves},
		"P-521":                 {p521.Public(), curves},
		"Ed25519":               {ed25519.NewKeyFromSeed(make([]byte, 32)).Public(), "want RSA or ECDSA"},
	} {
		leaf := issue(t, ca, "leaf", c.key, leafOf)
		err := chain.Check([]*x509.Certificate{leaf, ca.cert, root.cert}, listed(root), now, nil)
		if c.why == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		wantRefused(t, name, err, c.why)
		// Nobody needs the key of a CA to write it into a certificate: here a stranger does.
		evil := issue(t, &authority{cert: root.cert, key: key("stranger")}, "ca", c.key, nil)
		under := issue(t, &authority{cert: evil, key: key("stranger")}, "leaf", key("leaf").Public(), leafOf)
		wantRefused(t, name+", of a CA", chain.Check([]*x509.Certificate{under, evil, root.cert}, listed(root), now, nil), c.why)
	}
}

func TestRSARootsCertify(t *testing.T) {
	root := &authority{key: gce.NewRSAKey("chain test", "root")}
	root.cert = issue(t, &authority{key: root.key}, "root", root.key.Public(), nil)
	leaf := issue(t, root, "leaf", key("leaf").Public(), leafOf)
	if err := chain.Check([]*x509.Certificate{leaf, root.cert}, listed(root), now, nil); err != nil {
		t.Error(err)
	}
}

func TestOneCertificateIsHeldToItsPlace(t *testing.T) {
	critical := func(id ...int) []pkix.Extension {
		return []pkix.Extension{{Id: id, Critical: true, Value: []byte{asn1.TagNull, 0}}}
	}
	// A TPM's name, of a form that x509 does not read: a directoryName.
	named := func(c *x509.Certificate) {
		c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Critical: true, Value: []byte{0x30, 4, 0xa4, 2, 0x30, 0}}}
	}
	for name, c := range map[string]struct {
		leaf, ca func(*x509.Certificate)
		why      string // empty: it passes
	}{
		"a leaf that is too old":       {leaf: func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Second) }, why: `"CN=leaf": valid from`},
		"a leaf in its last second":    {leaf: func(c *x509.Certificate) { c.NotAfter = now }},
		"a leaf in its first second":   {leaf: func(c *x509.Certificate) { c.NotBefore = now }},
		"a leaf of the future":         {leaf: func(c *x509.Certificate) { c.NotBefore = now.Add(time.Second) }, why: `"CN=leaf": valid from`},
		"a CA that is too old":         {ca: func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Second) }, why: `"CN=ca": valid from`},
		"a CA that is none":            {ca: func(c *x509.Certificate) { c.IsCA = false }, why: `"CN=ca": not a CA`},
		"a CA that says nothing of it": {ca: func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = false, false }, why: `"CN=ca": not a CA`},
		"a CA that may not certify":    {ca: func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign }, why: `"CN=leaf": not signed by`},
		"a CA without CAs below it":    {ca: func(c *x509.Certificate) { c.MaxPathLenZero = true }},
		"an unknown extension":         {leaf: func(c *x509.Certificate) { c.ExtraExtensions = critical(1, 2, 3) }, why: "unknown critical extension 1.2.3"},
		"a critical name of a leaf":    {leaf: named},
		"a critical name of a CA":      {ca: named, why: `"CN=ca": unknown critical extension 2.5.29.17`},
		"a policy, critical": {ca: func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 32}, Critical: true, Value: []byte{0x30, 6, 0x30, 4, 6, 2, 0x2a, 3}}}
		}},
		"a leaf for CRLs":     {leaf: func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign }, why: "key usage cRLSign"},
		"a leaf that agrees":  {leaf: func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyAgreement }},
		"a leaf that unwraps": {leaf: func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment }},
		"a leaf of any usage": {leaf: func(c *x509.Certificate) { c.KeyUsage = 0 }},
		"a leaf that is a CA": {leaf: func(c *x509.Certificate) { c.IsCA = true }, why: "a CA: want an end entity"},
	} {
		_, root, ca := made(t)
		own := issue(t, root, "ca", ca.key.Public(), c.ca)
		leaf := issue(t, &authority{own, ca.key}, "leaf", key("leaf").Public(), func(x *x509.Certificate) {
			leafOf(x)
			if c.leaf != nil {
				c.leaf(x)
			}
		})
		err := chain.Check([]*x509.Certificate{leaf, own, root.cert}, listed(root), now, nil)
		if c.why == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		wantRefused(t, name, err, c.why)
	}
}

func TestPathLengthsCountCAs(t *testing.T) {
	for _, c := range []struct {
		length int
		zero   bool
		ok     bool
	}{{0, false, true}, {-1, false, true}, {0, true, false}, {1, false, true}} {
		root := &authority{key: key("root")}
		root.cert = issue(t, &authority{key: root.key}, "root", root.key.Public(), func(x *x509.Certificate) { x.MaxPathLen, x.MaxPathLenZero = c.length, c.zero })
		ca := issue(t, root, "ca", key("ca").Public(), nil)
		leaf := issue(t, &authority{ca, key("ca")}, "leaf", key("leaf").Public(), leafOf)
		if err := chain.Check([]*x509.Certificate{leaf, ca, root.cert}, listed(root), now, nil); (err == nil) != c.ok {
			t.Errorf("length %d, zero %t: %v", c.length, c.zero, err)
		}
	}
}

func TestParseTakesDERAlone(t *testing.T) {
	good, _, _ := made(t)
	der := slices.Concat(good[0].Raw, good[1].Raw, good[2].Raw)
	if certs, err := chain.Parse(der); err != nil || len(certs) != 3 || !certs[2].Equal(good[2]) {
		t.Fatalf("%d certificates: %v", len(certs), err)
	}
	for name, c := range map[string]struct {
		der []byte
		why string
	}{
		"nothing":           {nil, "empty"},
		"over 16 KiB":       {make([]byte, chain.MaxBytes+1), "want at most 16384"},
		"seven":             {bytes.Repeat(good[2].Raw, 7), "over 6 certificates"},
		"a byte after them": {append(bytes.Clone(der), 0), "certificate 3 of the chain is not DER"},
		"another sequence":  {[]byte{0x30, 0}, "certificate 0 of the chain: "},
	} {
		_, err := chain.Parse(c.der)
		wantRefused(t, name, err, c.why)
	}
	if certs, err := chain.Parse(bytes.Repeat(good[2].Raw, 6)); err != nil || len(certs) != 6 {
		t.Errorf("six: %v", err)
	}
	if certs, err := chain.Parse(certificateOf(t, chain.MaxBytes)); err != nil || len(certs) != 1 {
		t.Errorf("16 KiB: %v", err)
	}
	if n, err := chain.Length(append(bytes.Clone(good[0].Raw), 1, 2)); err != nil || n != len(good[0].Raw) {
		t.Errorf("%d: %v", n, err)
	}
}

// certificateOf is a certificate of so many bytes.
func certificateOf(t *testing.T, size int) []byte {
	t.Helper()
	_, _, ca := made(t)
	for n, at := size/2, 0; at < 50; at++ {
		c := issue(t, ca, "leaf", key("leaf").Public(), func(c *x509.Certificate) {
			leafOf(c)
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Value: make([]byte, n)}}
			c.SerialNumber = big.NewInt(int64(at + 1))
		})
		if len(c.Raw) == size {
			return c.Raw
		}
		n += size - len(c.Raw)
	}
	t.Fatalf("no certificate of %d bytes", size)
	return nil
}

func TestParsePEMTakesCertificatesAlone(t *testing.T) {
	good, _, _ := made(t)
	text := func(kind string, headers map[string]string, ders ...[]byte) []byte {
		var b bytes.Buffer
		for _, der := range ders {
			if err := pem.Encode(&b, &pem.Block{Type: kind, Headers: headers, Bytes: der}); err != nil {
				t.Fatal(err)
			}
		}
		return b.Bytes()
	}
	one := text("CERTIFICATE", nil, good[0].Raw)
	for name, c := range map[string]struct {
		text []byte
		want int
		why  string
	}{
		"nothing":       {nil, 0, ""},
		"white space":   {[]byte(" \r\n\t"), 0, ""},
		"two":           {text("CERTIFICATE", nil, good[0].Raw, good[1].Raw), 2, ""},
		"spaced":        {slices.Concat([]byte("\n "), one, []byte("\t\r\n"), one, []byte(" ")), 2, ""},
		"six":           {bytes.Repeat(one, 6), 6, ""},
		"seven":         {bytes.Repeat(one, 7), 0, "PEM block 6"},
		"a comment":     {append([]byte("subject=CN\n"), one...), 0, `"subject=CN\n-----BEGI" between`},
		"a tail":        {append(bytes.Clone(one), 0), 0, `"\x00" between`},
		"a key":         {text("EC PRIVATE KEY", nil, good[0].Raw), 0, "PEM block 0"},
		"headers":       {text("CERTIFICATE", map[string]string{"a": "b"}, good[0].Raw), 0, "PEM block 0"},
		"cut":           {one[:len(one)-9], 0, "PEM block 0"},
		"no certifcate": {text("CERTIFICATE", nil, []byte{0x30, 0}), 0, "certificate 0: "},
		"16 KiB":        {bytes.Repeat([]byte(" "), chain.MaxBytes), 0, ""},
		"over 16 KiB":   {bytes.Repeat([]byte(" "), chain.MaxBytes+1), 0, "want at most 16384"},
	} {
		certs, err := chain.ParsePEM(c.text)
		if c.why != "" {
			wantRefused(t, name, err, c.why)
		} else if err != nil || len(certs) != c.want {
			t.Errorf("%s: %d certificates, %v", name, len(certs), err)
		}
	}
}

func TestOneRootStandsBesideAStatement(t *testing.T) {
	k := key("root")
	a := issue(t, &authority{key: k}, "root", k.Public(), nil)
	b := issue(t, &authority{key: k}, "other", k.Public(), nil)
	text := func(certs ...*x509.Certificate) (out []byte) {
		for _, c := range certs {
			out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
		}
		return out
	}
	if root, err := chain.Root(text(a)); err != nil || !root.Equal(a) {
		t.Errorf("%v, %v", root, err)
	}
	for name, beside := range map[string][]byte{"none": nil, "two": text(a, b), "no PEM": a.Raw} {
		if root, err := chain.Root(beside); err == nil || root != nil {
			t.Errorf("%s: %v, %v: want an error", name, root, err)
		}
	}
}

func TestARevokedCertificateIsFoundByItsSerialNumber(t *testing.T) {
	list := &x509.RevocationList{RevokedCertificateEntries: []x509.RevocationListEntry{{SerialNumber: big.NewInt(5)}, {SerialNumber: big.NewInt(7)}}}
	for serial, want := range map[int64]bool{4: false, 5: true, 6: false, 7: true, 8: false} {
		e := chain.Revoked(list, &x509.Certificate{SerialNumber: big.NewInt(serial)})
		if (e != nil) != want || want && e.SerialNumber.Int64() != serial {
			t.Errorf("serial number %d: %v", serial, e)
		}
	}
}
