package snp

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/amd"
	"github.com/poclog/poclog/verify"
)

func says(t *testing.T, name string, err error, why string) {
	t.Helper()
	if why == "" && err != nil || why != "" && (err == nil || !strings.Contains(err.Error(), why)) {
		t.Errorf("%s: %v: want %q", name, err, why)
	}
}

// reportOf is a report of a version, with some octets changed. Nothing signs it.
func reportOf(version uint32, change func(b []byte)) []byte {
	m := amd.NewMaker("snp mutants", "Milan", labStart)
	b := m.NewChip("chip", [8]byte{}).Report(amd.Guest{Version: version}, nil)
	if change != nil {
		change(b)
	}
	return b
}

func TestFieldsOfReports(t *testing.T) {
	set := func(at int, v byte) func([]byte) { return func(b []byte) { b[at] = v } }
	for name, c := range map[string]struct {
		version uint32
		change  func([]byte)
		why     string
	}{
		"version 2":                    {2, nil, ""},
		"version 5":                    {5, nil, ""},
		"version 1":                    {2, set(0, 1), "version 1: want 2 to 5"},
		"version 6":                    {5, set(0, 6), "version 6: want 2 to 5"},
		"the policy's bit 17 is clear": {3, func(b []byte) { b[0x0a] &^= 2 }, "want bit 17"},
		"the policy's bit 25":          {3, func(b []byte) { b[0x0b] |= 2 }, ""},
		"the policy's bit 26":          {3, func(b []byte) { b[0x0b] |= 4 }, "no bit over 25"},
		"the policy's bit 63":          {3, set(0x0f, 0x80), "no bit over 25"},
		"a masked author's key":        {3, set(0x48, 3), ""},
		"a VLEK's":                     {3, set(0x48, 1<<2), ""},
		"a key of type 2":              {3, set(0x48, 2<<2), "want one signed by a VCEK or a VLEK"},
		"no key":                       {3, set(0x48, 7<<2), "want one signed by a VCEK or a VLEK"},
		"a bit over them":              {3, set(0x48, 1<<5), "want one signed by a VCEK or a VLEK"},
		"a byte over them":             {3, set(0x4b, 1), "want one signed by a VCEK or a VLEK"},
		"signature algorithm 2":        {3, set(0x34, 2), "signature algorithm 2"},
	} {
		_, err := ParseReport(reportOf(c.version, c.change))
		says(t, name, err, c.why)
	}
	r, err := ParseReport(reportOf(3, func(b []byte) { b[0x188], b[0x189], b[0x48] = 0x19, 0x11, 1<<2 }))
	if err != nil || r.Family != 0x19 || r.Model != 0x11 || r.Signer != VLEK || r.Product() != Genoa {
		t.Errorf("%+v, %v", r, err)
	}
	if r, err = ParseReport(reportOf(2, nil)); err != nil || r.Family != 0 || r.Model != 0 || r.Product() != "" {
		t.Errorf("%+v, %v", r, err)
	}
	// What is reserved depends on the version: the first and last byte of each field, and its
	// neighbours.
	reserved := map[uint32][]int{
		2: {0x4c, 0x4f, 0x188, 0x18a, 0x18b, 0x19f, 0x1eb, 0x1ef, 0x1f8, 0x207, 0x208, 0x29f}, 3: {0x4c, 0x18b, 0x19f, 0x1eb, 0x1ef, 0x1f8, 0x207, 0x208, 0x29f},
		4: {0x4c, 0x18b, 0x19f, 0x1eb, 0x1ef, 0x1f8, 0x207, 0x208, 0x29f}, 5: {0x4c, 0x18b, 0x19f, 0x1eb, 0x1ef, 0x208, 0x29f},
	}
	free := map[uint32][]int{2: {0x180, 0x187, 0x1a0, 0x1e8, 0x1f0, 0x1f7}, 3: {0x188, 0x189, 0x18a}, 4: {0x188, 0x18a}, 5: {0x188, 0x18a, 0x1f8, 0x207}}
	for version := range reserved {
		for _, at := range append(reserved[version], signedSize+p384Size, signedSize+numberSize-1, signedSize+numberSize+p384Size, ReportSize-1) {
			_, err := ParseReport(reportOf(version, set(at, 0xff)))
			says(t, "a reserved byte", err, "are not zero")
		}
		for _, at := range append(free[version], signedSize, signedSize+p384Size-1, signedSize+numberSize, signedSize+numberSize+p384Size-1) {
			if _, err := ParseReport(reportOf(version, set(at, 0xff))); err != nil {
				t.Errorf("version %d, byte %#x: %v", version, at, err)
			}
		}
	}
}

func TestProductsByProcessor(t *testing.T) {
	for _, c := range []struct {
		family, first, last uint8
		want                Product
	}{
		{0x19, 0x00, 0x0f, Milan}, {0x19, 0x10, 0x1f, Genoa}, {0x19, 0x20, 0x9f, ""}, {0x19, 0xa0, 0xaf, Genoa}, {0x19, 0xb0, 0xff, ""}, {0x1a, 0x00, 0x1f, Turin}, {0x1a, 0x20, 0xff, ""},
		{0x18, 0x00, 0xff, ""}, {0x1b, 0x00, 0xff, ""},
	} {
		for _, model := range []uint8{c.first, c.last} {
			if got := productOf(c.family, model); got != c.want {
				t.Errorf("family %#x, model %#x: %q", c.family, model, got)
			}
		}
	}
}

func ext(id asn1.ObjectIdentifier, critical bool, value []byte) pkix.Extension {
	return pkix.Extension{Id: id, Critical: critical, Value: value}
}

func amdOID(n ...int) asn1.ObjectIdentifier { return append(slices.Clone(oidAMD), n...) }

func derOf(t *testing.T, v any, params string) []byte {
	t.Helper()
	b, err := asn1.MarshalWithParams(v, params)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// certified is a chain whose leaf has AMD's extensions, after a change.
func certified(t *testing.T, product Product, signer Signer, change func(m map[string]pkix.Extension)) *Chain {
	t.Helper()
	version, hwid := 0, 64
	if product == Turin {
		version, hwid = 1, 8
	}
	m := map[string]pkix.Extension{"1": ext(amdOID(1), false, derOf(t, version, "")), "2": ext(amdOID(2), false, derOf(t, string(product)+"-B0", "ia5"))}
	for _, n := range layouts[version] {
		m["3."+string(rune('0'+n))] = ext(amdOID(3, n), false, derOf(t, 10+n, ""))
	}
	if signer == VCEK {
		m["4"] = ext(amdOID(4), false, append([]byte{7}, make([]byte, hwid-1)...))
	} else {
		m["5"] = ext(amdOID(5), false, derOf(t, "a cloud", "ia5"))
	}
	if change != nil {
		change(m)
	}
	c := &Chain{Product: product, Signer: signer, Leaf: &x509.Certificate{Extensions: []pkix.Extension{ext(oidAuthority, false, []byte{1})}}}
	for _, e := range m {
		c.Leaf.Extensions = append(c.Leaf.Extensions, e)
	}
	return c
}

func TestExtensionsOfKeysAreReadStrictly(t *testing.T) {
	put := func(name string, value []byte) func(m map[string]pkix.Extension) {
		return func(m map[string]pkix.Extension) { e := m[name]; e.Value = value; m[name] = e }
	}
	drop := func(name string) func(m map[string]pkix.Extension) {
		return func(m map[string]pkix.Extension) { delete(m, name) }
	}
	add := func(e pkix.Extension) func(m map[string]pkix.Extension) {
		return func(m map[string]pkix.Extension) { m["more"] = e }
	}
	ia5 := func(s string) []byte { return derOf(t, asn1.RawValue{Tag: asn1.TagIA5String, Bytes: []byte(s)}, "") }
	wrapped := func(tag, size byte, n int) []byte { return append([]byte{tag, size}, bytes.Repeat([]byte{7}, n)...) }
	long := strings.Repeat("x", 58)
	for name, c := range map[string]struct {
		product Product
		signer  Signer
		change  func(m map[string]pkix.Extension)
		why     string
	}{
		"Milan's VCEK":                    {Milan, VCEK, nil, ""},
		"Turin's VCEK":                    {Turin, VCEK, nil, ""},
		"Genoa's VLEK":                    {Genoa, VLEK, nil, ""},
		"Turin's VLEK":                    {Turin, VLEK, nil, ""},
		"an unknown extension":            {Milan, VCEK, add(ext(asn1.ObjectIdentifier{2, 5, 29, 14}, false, nil)), "extension 2.5.29.14: unknown"},
		"a critical issuer's key":         {Milan, VCEK, add(ext(oidAuthority, true, nil)), "extension 2.5.29.35: unknown"},
		"AMD's prefix alone":              {Milan, VCEK, add(ext(oidAMD, false, nil)), "extension 1.3.6.1.4.1.3704.1: unknown"},
		"another arc":                     {Milan, VCEK, add(ext(asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 3704, 2, 1}, false, nil)), "extension 1.3.6.1.4.1.3704.2.1: unknown"},
		"one more of AMD's":               {Milan, VCEK, add(ext(amdOID(9), false, nil)), "{9}: unknown"},
		"a TCB's octet more":              {Milan, VCEK, add(ext(amdOID(3, 9), false, derOf(t, 1, ""))), "{3.9}: unknown"},
		"one twice":                       {Milan, VCEK, add(ext(amdOID(1), false, derOf(t, 0, ""))), "twice"},
		"no version":                      {Milan, VCEK, drop("1"), "1.3.6.1.4.1.3704.1.1: want an integer from 0 to 255"},
		"version 1 of Milan":              {Milan, VCEK, put("1", derOf(t, 1, "")), "extensions of version 1 for Milan"},
		"version 0 of Turin":              {Turin, VCEK, put("1", derOf(t, 0, "")), "extensions of version 0 for Turin"},
		"version 2 of Milan":              {Milan, VCEK, put("1", derOf(t, 2, "")), "extensions of version 2 for Milan"},
		"version 2":                       {Turin, VCEK, put("1", derOf(t, 2, "")), "extensions of version 2 for Turin"},
		"an octet of 255":                 {Milan, VCEK, put("3.1", derOf(t, 255, "")), ""},
		"an octet of 256":                 {Milan, VCEK, put("3.1", derOf(t, 256, "")), "3.1: want an integer from 0 to 255"},
		"an octet of 0":                   {Milan, VCEK, put("3.1", derOf(t, 0, "")), ""},
		"an octet of -1":                  {Milan, VCEK, put("3.1", derOf(t, -1, "")), "3.1: want an integer from 0 to 255"},
		"an octet and something":          {Milan, VCEK, put("3.1", append(derOf(t, 1, ""), 0)), "3.1: want an integer from 0 to 255"},
		"no octet":                        {Milan, VCEK, drop("3.8"), "3.8: want an integer from 0 to 255"},
		"no product":                      {Milan, VCEK, drop("2"), "product name"},
		"a product without a stepping":    {Milan, VCEK, put("2", ia5("Milan")), ""},
		"another product":                 {Milan, VCEK, put("2", ia5("Genoa-B0")), `product name "Genoa-B0" under the root of Milan`},
		"a product that none is":          {Milan, VCEK, put("2", ia5("Rome-B0")), `product name "Rome-B0" under the root of Milan`},
		"Siena under Genoa's":             {Genoa, VCEK, put("2", ia5("Siena-B0")), ""},
		"a product of 64 bytes":           {Milan, VCEK, put("2", ia5("Milan-"+long)), ""},
		"a product of 65 bytes":           {Milan, VCEK, put("2", ia5("Milan-x"+long)), "1 to 64 printable characters"},
		"an empty product":                {Milan, VCEK, put("2", ia5("")), "1 to 64 printable characters"},
		"a product of space and tilde":    {Milan, VCEK, put("2", ia5("Milan- ~")), ""},
		"a product with a control":        {Milan, VCEK, put("2", ia5("Milan-\x1f")), "1 to 64 printable characters"},
		"a product with a delete":         {Milan, VCEK, put("2", ia5("Milan-\x7f")), "1 to 64 printable characters"},
		"a product in UTF-8":              {Milan, VCEK, put("2", derOf(t, "Milan-B0", "utf8")), "want an IA5String"},
		"a product of another class":      {Milan, VCEK, put("2", derOf(t, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: asn1.TagIA5String, Bytes: []byte("Milan")}, "")), "want an IA5String"},
		"a product and something":         {Milan, VCEK, put("2", append(ia5("Milan"), 0)), "want an IA5String"},
		"a VCEK without a chip":           {Milan, VCEK, drop("4"), "want HWID for a VCEK"},
		"a VCEK with a cloud":             {Milan, VCEK, add(ext(amdOID(5), false, ia5("x"))), "want HWID for a VCEK"},
		"a VLEK without a cloud":          {Milan, VLEK, drop("5"), "CSP_ID for a VLEK"},
		"a VLEK with a chip":              {Milan, VLEK, add(ext(amdOID(4), false, bytes.Repeat([]byte{7}, 64))), "CSP_ID for a VLEK"},
		"a cloud that is no text":         {Milan, VLEK, put("5", []byte{5, 0}), "CSP_ID): want an IA5String"},
		"a chip in an octet string":       {Milan, VCEK, put("4", wrapped(4, 64, 64)), ""},
		"Turin's chip in an octet string": {Turin, VCEK, put("4", wrapped(4, 8, 8)), ""},
		"in another type":                 {Milan, VCEK, put("4", wrapped(3, 64, 64)), "(HWID) of 66 bytes: want 64"},
		"in one of another length":        {Milan, VCEK, put("4", wrapped(4, 63, 64)), "(HWID) of 66 bytes: want 64"},
		"a chip of 65 bytes":              {Milan, VCEK, put("4", wrapped(4, 64, 63)), "(HWID) of 65 bytes: want 64"},
		"a chip of 63 bytes":              {Milan, VCEK, put("4", bytes.Repeat([]byte{7}, 63)), "(HWID) of 63 bytes: want 64"},
		"Turin's chip of 64 bytes":        {Turin, VCEK, put("4", bytes.Repeat([]byte{7}, 64)), "(HWID) of 64 bytes: want 8"},
		"a chip of zeros":                 {Milan, VCEK, put("4", make([]byte, 64)), "all zero is no chip"},
	} {
		chain := certified(t, c.product, c.signer, c.change)
		err := chain.parseExtensions()
		says(t, name, err, c.why)
		if err == nil && c.signer == VCEK && (chain.HWID[0] != 7 || chain.CSPID != "") || err == nil && c.signer == VLEK && (chain.HWID != nil || chain.CSPID != "a cloud") {
			t.Errorf("%s: %+v", name, chain)
		}
	}
}

func TestNamesKeepKeysApart(t *testing.T) {
	named := func(leaf, ca, root string) *Chain {
		of := func(cn string) *x509.Certificate { return &x509.Certificate{Subject: pkix.Name{CommonName: cn}} }
		return &Chain{Leaf: of(leaf), CA: of(ca), Root: of(root)}
	}
	for name, c := range map[string]struct {
		chain  *Chain
		signer Signer
		why    string
	}{
		"a VCEK":                   {named("SEV-VCEK", "SEV-Genoa", "ARK-Genoa"), VCEK, ""},
		"a VLEK":                   {named("SEV-VLEK", "SEV-VLEK-Genoa", "ARK-Genoa"), VLEK, ""},
		"a VLEK under a chip's CA": {named("SEV-VLEK", "SEV-Genoa", "ARK-Genoa"), VCEK, "want SEV-VCEK"},
		"a VCEK under a cloud's":   {named("SEV-VCEK", "SEV-VLEK-Genoa", "ARK-Genoa"), VLEK, "want SEV-VLEK"},
		"another product's CA":     {named("SEV-VCEK", "SEV-Milan", "ARK-Genoa"), 0, "want SEV-<product>"},
		"another root":             {named("SEV-VCEK", "SEV-Genoa", "ARK-Rome"), 0, "want SEV-<product>"},
	} {
		says(t, name, c.chain.parseNames(), c.why)
		if c.why == "" && c.chain.Signer != c.signer {
			t.Errorf("%s: %s", name, c.chain.Signer)
		}
	}
	if VCEK.String() != "vcek" || VLEK.String() != "vlek" {
		t.Error("names of signers")
	}
}

func TestReportIsOfItsKeysChip(t *testing.T) {
	chip := append([]byte{7, 8, 9, 1, 2, 3, 4, 5}, make([]byte, 56)...)
	turin := &Chain{Product: Turin, HWID: chip[:8], TCB: TCB{1}}
	milan := &Chain{Product: Milan, HWID: bytes.Repeat([]byte{7}, 64), TCB: TCB{1}}
	cloud := &Chain{Product: Milan, TCB: TCB{1}}
	of := func(version uint32, family, model uint8, id []byte) *Report {
		return &Report{Version: version, Family: family, Model: model, Reported: TCB{1}, ChipID: [64]byte(id)}
	}
	tail := slices.Clone(chip)
	tail[63] = 1
	for name, c := range map[string]struct {
		chain *Chain
		r     *Report
		why   string
	}{
		"Turin's":                   {turin, of(3, 0x1a, 2, chip), ""},
		"Turin's with a tail":       {turin, of(3, 0x1a, 2, tail), "the report is of chip"},
		"Turin's, another":          {turin, of(3, 0x1a, 2, bytes.Repeat([]byte{1}, 64)), "the report is of chip"},
		"masked":                    {turin, of(3, 0x1a, 2, make([]byte, 64)), ""},
		"Milan's":                   {milan, of(3, 0x19, 1, milan.HWID), ""},
		"Milan's last octet":        {milan, of(3, 0x19, 1, append(bytes.Repeat([]byte{7}, 63), 8)), "the report is of chip"},
		"under a VLEK":              {cloud, of(3, 0x19, 1, chip), ""},
		"of another product":        {milan, of(3, 0x1a, 1, milan.HWID), "the certificate is for Milan"},
		"of none":                   {milan, of(3, 0x17, 1, milan.HWID), "the certificate is for Milan"},
		"of version 2, which is no": {milan, of(2, 0, 0, milan.HWID), ""},
		"of another TCB":            {milan, &Report{Version: 2, Reported: TCB{2}, ChipID: [64]byte(milan.HWID)}, "TCB version"},
	} {
		says(t, name, c.chain.CheckReport(c.r), c.why)
	}
	// A masked chip is known by its key's certificate, if that names it.
	if id, ok := turin.ChipID(&Report{}); !ok || id.Value()[:4] != "0708" {
		t.Errorf("%s", id)
	}
	if _, ok := cloud.ChipID(&Report{}); ok {
		t.Error("a masked chip under a VLEK is named")
	}
}

// An issuing is an authority of a test's own, in AMD's names, that signs as AMD does.
type issuing struct {
	cert *x509.Certificate
	key  *rsa.PrivateKey
}

func issue(t *testing.T, by *issuing, cn string, public crypto.PublicKey, change func(*x509.Certificate)) *x509.Certificate {
	t.Helper()
	c := &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: cn}, NotBefore: labStart, NotAfter: labStart.AddDate(9, 0, 0), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, SignatureAlgorithm: x509.SHA384WithRSAPSS, SubjectKeyId: []byte(cn), CRLDistributionPoints: []string{crlURL},
	}
	if change != nil {
		change(c)
	}
	issuer := by.cert
	if issuer == nil {
		issuer = c
	}
	der, err := x509.CreateCertificate(rand.Reader, c, issuer, public, by.key)
	if err != nil {
		t.Fatal(err)
	}
	out, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func authority(t *testing.T, by *issuing, cn string) *issuing {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	if by == nil {
		by = &issuing{key: key}
	}
	return &issuing{issue(t, by, cn, key.Public(), nil), key}
}

func TestKeysOfReportsAreOnP384(t *testing.T) {
	root := authority(t, nil, "ARK-Milan")
	ask := authority(t, root, "SEV-Milan")
	leaf := func(public crypto.PublicKey, alg x509.SignatureAlgorithm) *Chain {
		c := issue(t, ask, "SEV-VCEK", public, func(c *x509.Certificate) { c.IsCA, c.KeyUsage, c.SignatureAlgorithm = false, 0, alg })
		return &Chain{Leaf: c, CA: ask.cert, Root: root.cert, Product: Milan}
	}
	ec := func(curve elliptic.Curve) crypto.PublicKey {
		k, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return k.Public()
	}
	roots := Roots{poclog.Sum(root.cert.Raw): true}
	r, err := ParseReport(reportOf(2, nil))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		chain *Chain
		why   string
	}{
		"on P-384":             {leaf(ec(elliptic.P384()), x509.SHA384WithRSAPSS), "TCB version"}, // the report's is another
		"on P-256":             {leaf(ec(elliptic.P256()), x509.SHA384WithRSAPSS), "want a key on P-384"},
		"RSA":                  {leaf(ask.key.Public(), x509.SHA384WithRSAPSS), "want a key on P-384"},
		"certified otherwise":  {leaf(ec(elliptic.P384()), x509.SHA256WithRSAPSS), "want RSASSA-PSS with SHA-384"},
		"certified by PKCS #1": {leaf(ec(elliptic.P384()), x509.SHA384WithRSA), "want RSASSA-PSS with SHA-384"},
	} {
		err := c.chain.CheckChain(r, roots, labNow)
		says(t, name, err, c.why)
		if check, _ := verify.CheckOf(err); check != verify.TEEChain {
			t.Errorf("%s: refused by %q", name, check)
		}
	}
	for name, key := range map[string]crypto.PublicKey{"on P-256": ec(elliptic.P256()), "RSA": ask.key.Public()} {
		err := r.CheckSignature(&Chain{Leaf: &x509.Certificate{PublicKey: key}})
		says(t, name, err, "is not a key on P-384")
	}
	says(t, "another signer", r.CheckSignature(&Chain{Signer: VLEK, Leaf: &x509.Certificate{PublicKey: ec(elliptic.P384())}}), "names a vcek as its signer")
	says(t, "another's key", r.CheckSignature(&Chain{Leaf: &x509.Certificate{PublicKey: ec(elliptic.P384())}}), "is not signed by")
}

func (i *issuing) list(t *testing.T, change func(*x509.RevocationList)) []byte {
	t.Helper()
	return (&crlMaker{key: i.key, root: i.cert}).list(t, change)
}

func TestListsOfRevocations(t *testing.T) {
	root, genoa, rome := authority(t, nil, "ARK-Milan"), authority(t, nil, "ARK-Genoa"), authority(t, nil, "ARK-Rome")
	twin := authority(t, nil, "ARK-Milan")
	ca := authority(t, root, "SEV-Milan")
	c := &Chain{Leaf: &x509.Certificate{SerialNumber: big.NewInt(100)}, CA: ca.cert, Root: root.cert, Product: Milan}
	spanning := func(from, to time.Duration) []byte {
		return root.list(t, func(l *x509.RevocationList) { l.ThisUpdate, l.NextUpdate = labNow.Add(from), labNow.Add(to) })
	}
	revoking := func(serials ...int64) []byte {
		return root.list(t, func(l *x509.RevocationList) {
			for _, s := range serials {
				l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: big.NewInt(s), RevocationTime: labNow})
			}
		})
	}
	for name, x := range map[string]struct {
		col *poclog.Collateral
		why string
	}{
		"one":                           {crls(revoking(1, 2)), ""},
		"beside another product's":      {crls(revoking(1), genoa.list(t, nil)), ""},
		"another product's alone":       {crls(genoa.list(t, nil)), "no CRL for Milan"},
		"one of a product that none is": {crls(revoking(1), rome.list(t, nil)), `issued by "ARK-Rome", want "ARK-Milan"`},
		"of another root of the name":   {crls(twin.list(t, nil)), "not signed by"},
		"in its first second":           {crls(spanning(0, time.Hour)), ""},
		"before its first second":       {crls(spanning(time.Second, time.Hour)), "valid from"},
		"in its last second":            {crls(spanning(-time.Hour, 0)), ""},
		"after its last second":         {crls(spanning(-time.Hour, -time.Second)), "valid from"},
		"256 KiB of garbage":            {crls(make([]byte, maxCRL)), "CRL for Milan"},
		"over 256 KiB":                  {crls(make([]byte, maxCRL+1)), "want at most 262144"},
	} {
		_, err := c.OpenRevocations(x.col, labNow)
		says(t, name, err, x.why)
	}
	if _, err := c.OpenRevocations(crls(make([]byte, maxCRL)), labNow); err == nil || strings.Contains(err.Error(), "want at most") {
		t.Errorf("256 KiB: %v", err)
	}
	ignored := new(poclog.Collateral).With(poclog.CollateralItem{Kind: poclog.IntelRootCRL, Body: []byte{1}})
	_, err := c.OpenRevocations(ignored, labNow)
	says(t, "another maker's", err, "no CRL for Milan")
	if from, to, err := Validity(ignored); err != nil || !from.IsZero() || !to.IsZero() {
		t.Errorf("another maker's: %s to %s, %v", from, to, err)
	}

	// All hold for as long as the first to expire, from the last to be issued.
	for name, col := range map[string]*poclog.Collateral{
		"the narrower first": crls(spanning(-2*time.Hour, 3*time.Hour), spanning(-5*time.Hour, 9*time.Hour)),
		"the narrower last":  crls(spanning(-5*time.Hour, 9*time.Hour), spanning(-2*time.Hour, 3*time.Hour)),
		"one end each":       crls(spanning(-2*time.Hour, 9*time.Hour), spanning(-5*time.Hour, 3*time.Hour)),
		"the other end each": crls(spanning(-5*time.Hour, 3*time.Hour), spanning(-2*time.Hour, 9*time.Hour)),
	} {
		r, err := c.OpenRevocations(col, labNow)
		from, to, err2 := Validity(col)
		if err != nil || err2 != nil {
			t.Errorf("%s: %v, %v", name, err, err2)
			continue
		}
		if want := labNow.Add(-2 * time.Hour); !r.Issued.Equal(want) || !from.Equal(want) {
			t.Errorf("%s: from %s, %s", name, r.Issued, from)
		}
		if want := labNow.Add(3 * time.Hour); !r.Until.Equal(want) || !to.Equal(want) {
			t.Errorf("%s: to %s, %s", name, r.Until, to)
		}
	}
	if _, _, err := Validity(crls([]byte{1})); err == nil {
		t.Error("garbage has a span")
	}
	for name, x := range map[string]struct {
		lists   [][]byte
		revoked bool
	}{
		"nobody": {[][]byte{revoking(1)}, false}, "the key": {[][]byte{revoking(1, 100)}, true}, "the CA": {[][]byte{revoking(7)}, true},
		"the key, in the second": {[][]byte{revoking(1), revoking(100)}, true}, "the CA, in the second": {[][]byte{revoking(1), revoking(7, 1)}, true},
	} {
		r, err := c.OpenRevocations(crls(x.lists...), labNow)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.CheckRevocation(c); (err != nil) != x.revoked {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestListsAreOfAllThatTheirAddressIsFor(t *testing.T) {
	c := &Chain{CA: &x509.Certificate{CRLDistributionPoints: []string{"https://other.test/", crlURL}}}
	point := func(value []byte) error {
		return c.checkScope(&x509.RevocationList{Extensions: []pkix.Extension{ext(oidDistributionPoint, true, value)}})
	}
	tlv := func(tag byte, parts ...[]byte) []byte {
		b := bytes.Join(parts, nil)
		return append([]byte{tag, byte(len(b))}, b...)
	}
	names := func(list ...[]byte) []byte { return tlv(0x30, tlv(0xa0, tlv(0xa0, list...))) }
	uri, dns, other := tlv(0x86, []byte(crlURL)), tlv(0x82, []byte(crlURL)), tlv(0x86, []byte("https://none.test/"))
	for name, x := range map[string]struct {
		value []byte
		why   string
	}{
		"its address":               {names(uri), ""},
		"its address, second":       {names(other, uri), ""},
		"another address":           {names(other), "not the one that the CA's certificate names"},
		"its address as a DNS name": {names(dns), "not the one that the CA's certificate names"},
		"in a universal tag":        {names(tlv(0x06, []byte(crlURL))), "not the one that the CA's certificate names"},
		"no address":                {names(), "want an address alone"},
		"nothing":                   {[]byte{0x30, 0}, "want an address alone"},
		"garbage":                   {[]byte{5}, "want an address alone"},
		"something after it":        {append(names(uri), 0), "want an address alone"},
		"and a limit":               {tlv(0x30, tlv(0xa0, tlv(0xa0, uri)), []byte{0x81, 1, 0xff}), "it limits the list"},
	} {
		says(t, name, point(x.value), x.why)
	}
	unmarked := &x509.RevocationList{Extensions: []pkix.Extension{ext(asn1.ObjectIdentifier{1, 2}, false, nil)}}
	if err := c.checkScope(unmarked); err != nil {
		t.Errorf("an extension that is not critical: %v", err)
	}
	unmarked.Extensions[0].Critical = true
	says(t, "one that is", c.checkScope(unmarked), "unknown critical extension 1.2")
	if isRootOf("ARK-Milan", Milan) || !isRootOf("ARK-Genoa", Milan) || isRootOf("ARK-Rome", Milan) || isRootOf("Genoa", Milan) {
		t.Error("roots of products")
	}
}

func TestItemsAreHeldToTheChainBesideThem(t *testing.T) {
	root, other := authority(t, nil, "ARK-Genoa"), authority(t, nil, "ARK-Genoa")
	ask, vlek := authority(t, root, "SEV-Genoa"), authority(t, root, "SEV-VLEK-Genoa")
	text := func(list ...*issuing) (out []byte) {
		for _, c := range list {
			out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.cert.Raw})...)
		}
		return out
	}
	roots := Roots{poclog.Sum(root.cert.Raw): true}
	body := root.list(t, nil)
	for name, c := range map[string]struct {
		chain, body []byte
		why         string
	}{
		"of VCEKs":             {text(ask, root), body, ""},
		"of VLEKs":             {text(vlek, root), body, ""},
		"the root alone":       {text(root), body, "1: want the CA's and the root's"},
		"the root twice":       {text(ask, root, root), body, "3: want the CA's and the root's"},
		"in another order":     {text(root, ask), body, "want SEV-<product>"},
		"under another root":   {text(ask, other), body, "not one that the policy lists"},
		"garbage":              {[]byte("x"), body, "between certificates"},
		"another root's list":  {text(ask, root), other.list(t, nil), "not signed by"},
		"a CA of another root": {text(authority(t, other, "SEV-Genoa"), root), body, "not signed by"},
	} {
		f, err := OpenItem(&poclog.CollateralItem{Kind: poclog.AMDCRL, Chain: c.chain, Body: c.body}, roots, labNow)
		says(t, name, err, c.why)
		if err == nil && (f.Product != Genoa || f.Number.Cmp(big.NewInt(1)) != 0 || f.Signer.String() != map[string]string{"of VCEKs": "vcek", "of VLEKs": "vlek"}[name]) {
			t.Errorf("%s: %+v", name, f)
		}
	}
}
