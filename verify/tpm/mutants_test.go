package tpm

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/cryptobyte"
	casn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/poclog/poclog/verify"
)

func says(t *testing.T, name string, err error, why string) {
	t.Helper()
	if why == "" && err != nil || why != "" && (err == nil || !strings.Contains(err.Error(), why)) {
		t.Errorf("%s: %v: want %q", name, err, why)
	}
}

// rsaOf is a key of so many bits. Nobody has its other half.
func rsaOf(bits int) *rsa.PublicKey {
	n := new(big.Int).Lsh(big.NewInt(1), uint(bits-1))
	return &rsa.PublicKey{N: n.Or(n, big.NewInt(1)), E: 65537}
}

func ecOf(t *testing.T, c elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestAzuresKeysAreOfConfidentialVMs(t *testing.T) {
	for name, c := range map[string]struct {
		cn      string
		purpose asn1.ObjectIdentifier
		why     string
	}{
		"one of theirs":        {"0123456789ab.ConfidentialVM.Azure.windows.net", OIDAKCertificate, ""},
		"in another case":      {"A.CONFIDENTIALVM.azure.Windows.NET", OIDAKCertificate, ""},
		"for another purpose":  {"a.ConfidentialVM.Azure.windows.net", OIDEKCertificate, "extended key usage"},
		"of a trusted launch":  {"a.TrustedVM.Azure.windows.net", OIDAKCertificate, "want a confidential VM"},
		"without a name":       {".ConfidentialVM.Azure.windows.net", OIDAKCertificate, "want a confidential VM"},
		"a name within a name": {"a.b.ConfidentialVM.Azure.windows.net", OIDAKCertificate, "want a confidential VM"},
		"something after it":   {"a.ConfidentialVM.Azure.windows.net.example", OIDAKCertificate, "want a confidential VM"},
		"a bare name":          {"a", OIDAKCertificate, "want a confidential VM"},
	} {
		cert := &x509.Certificate{Subject: pkix.Name{CommonName: c.cn}, UnknownExtKeyUsage: []asn1.ObjectIdentifier{c.purpose}}
		says(t, name, CheckAzureAK(cert), c.why)
	}
}

func TestSignedQuotesAreDeterministic(t *testing.T) {
	k := ecOf(t, elliptic.P256())
	one, err := SignQuote([]byte("attest"), k)
	if err != nil {
		t.Fatal(err)
	}
	two, err := SignQuote([]byte("attest"), k)
	if err != nil || !bytes.Equal(one, two) {
		t.Errorf("%x, %x, %v", one, two, err)
	}
}

// named is a certificate with these names, in the form that the test writes them.
func namedBy(t *testing.T, names ...asn1.RawValue) *x509.Certificate {
	t.Helper()
	der, err := asn1.Marshal(names)
	if err != nil {
		t.Fatal(err)
	}
	return withSAN(der)
}

func withSAN(der []byte) *x509.Certificate {
	return &x509.Certificate{Extensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2}, Value: []byte{1}}, {Id: oidSAN, Value: der}}}
}

func name(tag int, value string) asn1.RawValue {
	return asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: tag, Bytes: []byte(value)}
}

func uri(value string) asn1.RawValue { return name(tagURI, value) }

func TestEKKeysAreOfATPMsSizes(t *testing.T) {
	device := directory(t, [][]attribute{{{OIDTPMManufacturer, "id:1"}, {OIDTPMModel, "m"}, {OIDTPMVersion, "id:2"}}})
	odd, even := rsaOf(2048), rsaOf(2048)
	odd.E, even.E = 3, 65536
	for name, c := range map[string]struct {
		key any
		why string
	}{
		"RSA of 2048":         {rsaOf(2048), ""},
		"RSA of 4096":         {rsaOf(4096), ""},
		"RSA of 2047":         {rsaOf(2047), "2048 to 4096 bits"},
		"RSA of 4097":         {rsaOf(4097), "2048 to 4096 bits"},
		"another exponent":    {odd, "exponent 3"},
		"a near exponent":     {even, "exponent 65536"},
		"P-256":               {ecOf(t, elliptic.P256()).Public(), ""},
		"P-384":               {ecOf(t, elliptic.P384()).Public(), ""},
		"P-521":               {ecOf(t, elliptic.P521()).Public(), "want P-256 or P-384"},
		"a key of other kind": {"x", "want RSA or ECC"},
	} {
		cert := namedBy(t, device)
		cert.PublicKey, cert.UnknownExtKeyUsage = c.key, []asn1.ObjectIdentifier{OIDEKCertificate}
		cert.KeyUsage = x509.KeyUsageKeyAgreement | x509.KeyUsageKeyEncipherment
		_, err := CheckEKCertificate(verify.TPMAKChain, cert)
		says(t, name, err, c.why)
		if c.why != "" {
			continue
		}
		for _, signs := range []x509.KeyUsage{x509.KeyUsageDigitalSignature, x509.KeyUsageContentCommitment, x509.KeyUsageCertSign, x509.KeyUsageCRLSign} {
			cert.KeyUsage |= signs
			_, err := CheckEKCertificate(verify.TPMAKChain, cert)
			says(t, name+" that signs", err, "does not sign")
			cert.KeyUsage &^= signs
		}
	}
}

type attribute struct {
	oid   asn1.ObjectIdentifier
	value string
}

// directory is a directory name: sets of attributes.
func directory(t *testing.T, sets [][]attribute) asn1.RawValue {
	t.Helper()
	return asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: tagDirectoryName, IsCompound: true, Bytes: distinguished(t, sets)}
}

func distinguished(t *testing.T, sets [][]attribute) []byte {
	t.Helper()
	var b cryptobyte.Builder
	b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, set := range sets {
			b.AddASN1(casn1.SET, func(b *cryptobyte.Builder) {
				for _, a := range set {
					b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
						b.AddASN1ObjectIdentifier(a.oid)
						b.AddASN1(casn1.UTF8String, func(b *cryptobyte.Builder) { b.AddBytes([]byte(a.value)) })
					})
				}
			})
		}
	})
	return b.BytesOrPanic()
}

func TestDeviceIsNamedInFull(t *testing.T) {
	m, o, v := attribute{OIDTPMManufacturer, "id:1"}, attribute{OIDTPMModel, "model"}, attribute{OIDTPMVersion, "id:2"}
	of := func(list ...attribute) *x509.Certificate { return namedBy(t, directory(t, [][]attribute{list})) }
	model := func(value string) *x509.Certificate { return of(m, attribute{OIDTPMModel, value}, v) }
	good := distinguished(t, [][]attribute{{m, o, v}})
	long := bytes.Clone(good)
	long[1]++ // its length
	extra := cryptobyte.NewBuilder(nil)
	extra.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(casn1.SET, func(b *cryptobyte.Builder) {
			for i, a := range []attribute{m, o, v} {
				b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
					b.AddASN1ObjectIdentifier(a.oid)
					b.AddASN1(casn1.UTF8String, func(b *cryptobyte.Builder) { b.AddBytes([]byte(a.value)) })
					if i == 1 {
						b.AddASN1Int64(1)
					}
				})
			}
		})
	})
	raw := func(der []byte) *x509.Certificate {
		return namedBy(t, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: tagDirectoryName, IsCompound: true, Bytes: der})
	}
	for name, c := range map[string]struct {
		cert *x509.Certificate
		why  string
	}{
		"in full":                      {of(m, o, v), ""},
		"beside another name":          {namedBy(t, name(2, "dns.example"), directory(t, [][]attribute{{m}, {o, v}})), ""},
		"in two names":                 {namedBy(t, directory(t, [][]attribute{{m, o}}), directory(t, [][]attribute{{v}})), ""},
		"no manufacturer":              {of(o, v), "does not name"},
		"no model":                     {of(m, v), "does not name"},
		"no version":                   {of(m, o), "does not name"},
		"a model of a space and tilde": {model(" ~"), ""},
		"a model of 64 bytes":          {model(strings.Repeat("a", 64)), ""},
		"a model of 65 bytes":          {model(strings.Repeat("a", 65)), "1 to 64 bytes of printable ASCII"},
		"an empty model":               {model(""), "1 to 64 bytes of printable ASCII"},
		"a control character":          {model("a\x1f"), "printable ASCII"},
		"a delete":                     {model("a\x7f"), "printable ASCII"},
		"an attribute with a third":    {raw(extra.BytesOrPanic()), "directory name: malformed"},
		"bytes after the name":         {raw(append(bytes.Clone(good), 5, 0)), "directory name: malformed"},
		"a name that is cut":           {raw(long), "directory name: malformed"},
		"no set in it":                 {raw([]byte{0x30, 2, 5, 0}), "directory name: malformed"},
		"no sequence in a set":         {raw([]byte{0x30, 4, 0x31, 2, 5, 0}), "directory name: malformed"},
		"no identifier":                {raw([]byte{0x30, 6, 0x31, 4, 0x30, 2, 5, 0}), "directory name: malformed"},
		"no value":                     {raw([]byte{0x30, 7, 0x31, 5, 0x30, 3, 6, 1, 0x2a}), "directory name: malformed"},
		"bytes after the extension":    {withSAN(append(namedBy(t, directory(t, [][]attribute{{m, o, v}})).Extensions[1].Value, 5, 0)), "subjectAltName: malformed"},
		"no sequence":                  {withSAN([]byte{5, 0}), "subjectAltName: malformed"},
		"a name of another class":      {namedBy(t, asn1.RawValue{Tag: asn1.TagNull}, directory(t, [][]attribute{{m, o, v}})), "subjectAltName: malformed"},
		"a name that ends early":       {withSAN([]byte{0x30, 2, 0x84, 5}), "subjectAltName: malformed"},
	} {
		d, err := deviceOf(c.cert)
		says(t, name, err, c.why)
		if err == nil && d.Manufacturer != "id:1" {
			t.Errorf("%s: %+v", name, d)
		}
	}
}

func TestPlacesAndNamesOfPlatforms(t *testing.T) {
	ek := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32))
	place := func(p string) []asn1.RawValue { return []asn1.RawValue{uri(uriEK + ek), uri(uriPlace + p)} }
	long := strings.Repeat("z", 64)
	for name, c := range map[string]struct {
		names []asn1.RawValue
		why   string
	}{
		"a place":                         {place("p:r:z"), ""},
		"all letters, digits and a dash":  {place("az09-:a:0"), ""},
		"names of 64 bytes":               {place(long + ":" + long + ":" + long), ""},
		"a name of 65 bytes":              {place(long + "z:r:z"), "want provider:region:zone"},
		"an empty name":                   {place("p::z"), "want provider:region:zone"},
		"a capital":                       {place("p:R:z"), "want provider:region:zone"},
		"before a":                        {place("p:`:z"), "want provider:region:zone"},
		"after z":                         {place("p:{:z"), "want provider:region:zone"},
		"before 0":                        {place("p:/:z"), "want provider:region:zone"},
		"four parts":                      {place("p:r:z:y"), "want provider:region:zone"},
		"an empty place":                  {place(""), "want one"},
		"an empty chip":                   {append(place("p:r:z"), uri(uriChip)), "want one"},
		"a chip that is none":             {append(place("p:r:z"), uri(uriChip+"x")), "identity"},
		"a platform instance for a chip":  {append(place("p:r:z"), uri(uriChip+"intel:tdx:piid:"+strings.Repeat("01", 16))), "want a PPID"},
		"a chip":                          {append(place("p:r:z"), uri(uriChip+"intel:tdx:ppid:"+strings.Repeat("01", 16))), ""},
		"a name of ours that is no URI":   {append(place("p:r:z"), name(2, uriOurs+"until:2027")), ""},
		"a place that is no URI":          {[]asn1.RawValue{uri(uriEK + ek), name(2, uriPlace+"p:r:z")}, "no URI tag:poclog.dev,2026:place:"},
		"an EK with something after it":   {[]asn1.RawValue{uri(uriEK + ek + "!"), uri(uriPlace + "p:r:z")}, "want a SHA-256 in base64"},
		"an EK of 33 octets":              {[]asn1.RawValue{uri(uriEK + base64.StdEncoding.EncodeToString(make([]byte, 33))), uri(uriPlace + "p:r:z")}, "want a SHA-256 in base64"},
		"a malformed name before the URI": {append([]asn1.RawValue{{Tag: asn1.TagNull}}, place("p:r:z")...), "subjectAltName: malformed"},
	} {
		p, err := parsePlatform(namedBy(t, c.names...))
		says(t, name, err, c.why)
		if err == nil && p.EK[31] != 7 {
			t.Errorf("%s: %+v", name, p)
		}
	}
	if (&unnamedError{"x"}).Error() == "" {
		t.Error("no text")
	}
}

// extension writes Compute Engine's instance extension, with what the test puts into it.
type extension struct {
	zone, projectID, name   string
	beside, inner, security func(b *cryptobyte.Builder) // after the security element, within its tag, within its sequence
	after                   []byte
}

func (x extension) der() []byte {
	run := func(b *cryptobyte.Builder, f func(*cryptobyte.Builder)) {
		if f != nil {
			f(b)
		}
	}
	var b cryptobyte.Builder
	b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
		addUTF8(b, x.zone)
		b.AddASN1Uint64(1)
		addUTF8(b, x.projectID)
		b.AddASN1Uint64(2)
		addUTF8(b, x.name)
		b.AddASN1(explicit(0), func(b *cryptobyte.Builder) {
			b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
				if x.security != nil {
					x.security(b)
					return
				}
				security(b, nil, nil)
			})
			run(b, x.inner)
		})
		run(b, x.beside)
	})
	return append(b.BytesOrPanic(), x.after...)
}

// security writes the two properties that are read, each with something after it.
func security(b *cryptobyte.Builder, version, production func(b *cryptobyte.Builder)) {
	b.AddASN1(explicit(0), func(b *cryptobyte.Builder) {
		b.AddASN1Uint64(3)
		if version != nil {
			version(b)
		}
	})
	b.AddASN1(explicit(1), func(b *cryptobyte.Builder) {
		b.AddASN1Boolean(true)
		if production != nil {
			production(b)
		}
	})
}

func TestInstanceExtensionIsReadStrictly(t *testing.T) {
	null := func(b *cryptobyte.Builder) { b.AddASN1NULL() }
	property := func(tag casn1.Tag, more func(b *cryptobyte.Builder)) func(b *cryptobyte.Builder) {
		return func(b *cryptobyte.Builder) {
			security(b, nil, nil)
			b.AddASN1(tag, func(b *cryptobyte.Builder) {
				b.AddASN1Boolean(true)
				if more != nil {
					more(b)
				}
			})
		}
	}
	zone := func(z string) func(x *extension) { return func(x *extension) { x.zone = z } }
	for name, c := range map[string]struct {
		change func(x *extension)
		why    string
	}{
		"as it is":                        {func(*extension) {}, ""},
		"a property more":                 {func(x *extension) { x.security = property(explicit(2), nil) }, ""},
		"something after it":              {func(x *extension) { x.after = []byte{5, 0} }, "malformed"},
		"something after the security":    {func(x *extension) { x.beside = null }, "malformed"},
		"something beside the sequence":   {func(x *extension) { x.inner = null }, "malformed"},
		"a version and something":         {func(x *extension) { x.security = func(b *cryptobyte.Builder) { security(b, null, nil) } }, "security version: malformed"},
		"a production flag and something": {func(x *extension) { x.security = func(b *cryptobyte.Builder) { security(b, nil, null) } }, "production flag: malformed"},
		"a property and something":        {func(x *extension) { x.security = property(explicit(2), null) }, "malformed after [1]"},
		"a property of another class":     {func(x *extension) { x.security = property(casn1.Tag(2).Constructed().ContextSpecific()^0xc0, nil) }, "malformed after [1]"},
		"a property that repeats":         {func(x *extension) { x.security = property(explicit(1), nil) }, "malformed after [1]"},
		"no properties":                   {func(x *extension) { x.security = func(*cryptobyte.Builder) {} }, "security version: malformed"},
		"a project id of 128 bytes":       {func(x *extension) { x.projectID = strings.Repeat("p", 128) }, ""},
		"a project id of 129 bytes":       {func(x *extension) { x.projectID = strings.Repeat("p", 129) }, "malformed"},
		"an empty project id":             {func(x *extension) { x.projectID = "" }, "malformed"},
		"an instance's name in no text":   {func(x *extension) { x.name = "\xff" }, "malformed"},
		"a zone of 64 bytes":              {zone(strings.Repeat("a", 62) + "-b"), ""},
		"a zone of 65 bytes":              {zone(strings.Repeat("a", 63) + "-b"), "want all three"},
		"a zone without a region":         {zone("-b"), "want all three"},
		"a zone of one label":             {zone("zone"), "want all three"},
		"a zone with a gap":               {zone("us--b"), "want all three"},
		"a zone in capitals":              {zone("us-B"), "want all three"},
		"a path before the zone":          {zone("projects/1/zones/us-central1-a"), ""},
	} {
		x := extension{zone: "us-central1-a", projectID: "p", name: "n"}
		c.change(&x)
		g, err := parseGCEInstance(x.der())
		says(t, name, err, c.why)
		if err == nil {
			if again, err := g.Marshal(); err != nil || !bytes.Equal(again, x.der()) {
				t.Errorf("%s: written as %x, %v", name, again, err)
			}
		}
	}
}

// hcl is an HCL report around JSON.
func hcl(kind uint32, json string) []byte {
	b := append([]byte("HCLA"), make([]byte, hclFields-4)...)
	for _, v := range []uint32{0, 1, kind, 1, uint32(len(json))} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return append(b, json...)
}

func TestHCLReportsAreReadStrictly(t *testing.T) {
	n := func(size int, first byte) string {
		b := bytes.Repeat([]byte{1}, size)
		b[0] = first
		return base64.RawURLEncoding.EncodeToString(b)
	}
	key := func(kty, n, e string) string {
		return fmt.Sprintf(`{"keys":[{"kid":"HCLAkPub","kty":%q,"n":%q,"e":%q}]}`, kty, n, e)
	}
	with := func(member string) string {
		return strings.Replace(key("RSA", n(256, 0x80), "AQAB"), `{"keys"`, `{`+member+`,"keys"`, 1)
	}
	const rsaWant = "want an RSA JWK of 2048 to 4096 bits with exponent 65537"
	good := key("RSA", n(256, 0x80), "AQAB")
	for name, c := range map[string]struct {
		report []byte
		why    string
	}{
		"of a TD":                       {hcl(HCLTypeTDX, good), ""},
		"of SEV-SNP":                    {hcl(HCLTypeSNP, good), ""},
		"of another kind":               {hcl(3, good), "type 3: want 2 (SNP) or 4 (TDX)"},
		"an empty JSON":                 {hcl(HCLTypeTDX, ""), "JSON: "},
		"cut":                           {hcl(HCLTypeTDX, "")[:hclJSON-1], "want HCLA and at least 1236"},
		"another magic":                 {append([]byte("HCLB"), hcl(HCLTypeTDX, good)[4:]...), "want HCLA"},
		"a JSON of 32 KiB":              {hcl(HCLTypeTDX, good+strings.Repeat(" ", maxHCLJSON-len(good))), ""},
		"a JSON of over 32 KiB":         {hcl(HCLTypeTDX, good+strings.Repeat(" ", maxHCLJSON+1-len(good))), "want at most 32768"},
		"a JSON that is cut":            {hcl(HCLTypeTDX, good)[:hclJSON+9], "9 are left"},
		"a key of 4096 bits":            {hcl(HCLTypeTDX, key("RSA", n(512, 0xff), "AQAB")), ""},
		"a key of 4104 bits":            {hcl(HCLTypeTDX, key("RSA", n(513, 0x80), "AQAB")), rsaWant},
		"a key of 2040 bits":            {hcl(HCLTypeTDX, key("RSA", n(255, 0x80), "AQAB")), rsaWant},
		"a key with a leading zero":     {hcl(HCLTypeTDX, key("RSA", n(256, 0x7f), "AQAB")), rsaWant},
		"a modulus and something":       {hcl(HCLTypeTDX, key("RSA", n(258, 0x80)+"!", "AQAB")), rsaWant},
		"an exponent and something":     {hcl(HCLTypeTDX, key("RSA", n(256, 0x80), "AQAB!")), rsaWant},
		"another exponent":              {hcl(HCLTypeTDX, key("RSA", n(256, 0x80), "Aw")), rsaWant},
		"another kind of key":           {hcl(HCLTypeTDX, key("EC", n(256, 0x80), "AQAB")), rsaWant},
		"no AK":                         {hcl(HCLTypeTDX, `{"keys":[]}`), "without key HCLAkPub"},
		"user data":                     {hcl(HCLTypeTDX, with(`"user-data":"`+strings.Repeat("0a", 64)+`"`)), ""},
		"no user data":                  {hcl(HCLTypeTDX, with(`"user-data":""`)), ""},
		"user data of 63 octets":        {hcl(HCLTypeTDX, with(`"user-data":"`+strings.Repeat("0a", 63)+`"`)), "user-data of 126 digits"},
		"user data of 129 digits":       {hcl(HCLTypeTDX, with(`"user-data":"`+strings.Repeat("0a", 64)+`0"`)), "user-data of 129 digits"},
		"user data that is a number":    {hcl(HCLTypeTDX, with(`"user-data":7`)), "member user-data"},
		"a list of texts":               {hcl(HCLTypeTDX, with(`"ops":["a","a","b"]`)), ""},
		"an object after a list":        {hcl(HCLTypeTDX, with(`"ops":[{"a":1},{"a":1}]`)), ""},
		"a member twice":                {hcl(HCLTypeTDX, with(`"a":1,"b":2,"a":3`)), `member "a" twice`},
		"a member twice after an inner": {hcl(HCLTypeTDX, with(`"a":{"x":[1]},"a":3`)), `member "a" twice`},
		"16 levels":                     {hcl(HCLTypeTDX, with(`"a":`+strings.Repeat("[", 15)+strings.Repeat("]", 15))), ""},
		"17 levels":                     {hcl(HCLTypeTDX, with(`"a":`+strings.Repeat("[", 16)+strings.Repeat("]", 16))), "over 16 levels deep"},
	} {
		_, err := ParseHCL(c.report)
		says(t, name, err, c.why)
	}
	for name, text := range map[string]string{"a list without an end": `["a"`, "an object without an end": `{"a":1`, "something after it": `{} x`, "a name without a value": `{"a":`} {
		if err := noDuplicates([]byte(text)); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestLaunchNeedsBothRegisters(t *testing.T) {
	for _, c := range []struct {
		pcrs []int
		ok   bool
	}{{[]int{17, 18}, true}, {[]int{17}, false}, {[]int{18}, false}, {[]int{16, 19}, false}} {
		q := &Quote{Selection: []PCRSelection{{Alg: SHA256, PCRs: c.pcrs}}}
		v, err := ParsePCRs(q, make([]byte, 32*len(c.pcrs)))
		if err != nil {
			t.Fatal(err)
		}
		if _, _, ok := v.Launch(SHA256); ok != c.ok {
			t.Errorf("%v: %t", c.pcrs, ok)
		}
		p := &Public{nameAlg: SHA256, authPolicy: make([]byte, 32)}
		_, err = CheckAKPolicy(p, v)
		if why := map[bool]string{true: "is not TPM2_PolicyPCR", false: "covers PCR 17 and 18 in no bank"}[c.ok]; err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%v: %v: want %q", c.pcrs, err, why)
		}
	}
	for _, c := range []struct {
		p    Public
		only bool
	}{{Public{authPolicy: []byte{1}}, true}, {Public{}, false}, {Public{authPolicy: []byte{1}, attributes: attrUserWithAuth}, false}} {
		if c.p.PolicyOnly() != c.only {
			t.Errorf("%+v: %t", c.p, !c.only)
		}
	}
}

func TestPublicKeysAreWellFormed(t *testing.T) {
	rsaPublic := func(bits uint16, n []byte) []byte {
		b := append16(nil, algRSA, uint16(SHA256))
		b = append16(appendSized(binary.BigEndian.AppendUint32(b, attrSign), nil), algNull, algNull)
		return appendSized(binary.BigEndian.AppendUint32(append16(b, bits), 0), n)
	}
	modulus := func(size int, first, last byte) []byte {
		n := make([]byte, size)
		n[0], n[size-1] = first, last
		return n
	}
	for name, c := range map[string]struct {
		item []byte
		why  string
	}{
		"the least modulus":   {rsaPublic(2048, modulus(256, 0x80, 1)), ""},
		"a smaller one":       {rsaPublic(2048, modulus(256, 0x7f, 1)), "RSA key of 2048 bits"},
		"an even one":         {rsaPublic(2048, modulus(256, 0x80, 2)), "RSA key of 2048 bits"},
		"of 2040 bits":        {rsaPublic(2040, modulus(255, 0x80, 1)), "RSA key of 2040 bits"},
		"of another size":     {rsaPublic(2048, modulus(257, 0x80, 1)), "RSA key of 2048 bits"},
		"of 4096 bits":        {rsaPublic(4096, modulus(512, 0x80, 1)), ""},
		"of over 4096 bits":   {rsaPublic(4104, modulus(513, 0x80, 1)), "modulus of 513 bytes"},
		"bytes after the key": {append(rsaPublic(2048, modulus(256, 0x80, 1)), 0), "1 trailing bytes"},
	} {
		_, err := ParsePublic(c.item)
		says(t, name, err, c.why)
	}
	k := ecOf(t, elliptic.P256())
	point, err := k.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	ecc := func(x, y []byte) []byte {
		b := append16(nil, algECC, uint16(SHA256))
		b = append16(appendSized(binary.BigEndian.AppendUint32(b, attrSign), nil), algNull, algNull)
		return appendSized(appendSized(append16(b, curveP256, algNull), x), y)
	}
	x, y := point[1:33], point[33:]
	for name, c := range map[string]struct {
		item []byte
		why  string
	}{
		"a point":              {ecc(x, y), ""},
		"split elsewhere":      {ecc(point[1:32], point[32:]), "point of 31 and 33 bytes"},
		"split later":          {ecc(point[1:34], point[34:]), "point of 33 and 31 bytes"},
		"without its y's last": {ecc(x, y[:31]), "not on the curve"},
		"another point":        {ecc(y, x), "not on the curve"},
	} {
		_, err := ParsePublic(c.item)
		says(t, name, err, c.why)
	}
}

func TestAKSignsAlone(t *testing.T) {
	k := ecOf(t, elliptic.P256())
	item, err := AKPublic(k.Public(), nil)
	if err != nil {
		t.Fatal(err)
	}
	public := func(change func(p *Public)) *Public {
		p, err := ParsePublic(item)
		if err != nil {
			t.Fatal(err)
		}
		if change != nil {
			change(p)
		}
		return p
	}
	quoteBy := func(p *Public, hierarchy uint32) *Quote {
		return &Quote{scheme: algECDSA, hash: SHA256, QualifiedSigner: p.primaryName(hierarchy)}
	}
	p := public(nil)
	for name, c := range map[string]struct {
		p   *Public
		q   *Quote
		key crypto.PublicKey
		why string
	}{
		"as it is":               {p, quoteBy(p, hierarchyEndorsement), k.Public(), ""},
		"of the owner":           {p, quoteBy(p, hierarchyOwner), k.Public(), ""},
		"of the null hierarchy":  {p, quoteBy(p, hierarchyNull), k.Public(), "null hierarchy"},
		"of the platform":        {p, quoteBy(p, hierarchyPlatform), k.Public(), "platform hierarchy"},
		"of another parent":      {p, quoteBy(p, 7), k.Public(), "is not the AK's name"},
		"that decrypts, too":     {public(func(p *Public) { p.attributes |= attrDecrypt }), quoteBy(p, hierarchyOwner), k.Public(), "restricted signing key"},
		"not restricted":         {public(func(p *Public) { p.attributes &^= attrRestricted }), quoteBy(p, hierarchyOwner), k.Public(), "restricted signing key"},
		"that does not sign":     {public(func(p *Public) { p.attributes &^= attrSign }), quoteBy(p, hierarchyOwner), k.Public(), "restricted signing key"},
		"that can be moved":      {public(func(p *Public) { p.attributes &^= attrFixedTPM }), quoteBy(p, hierarchyOwner), k.Public(), "restricted signing key"},
		"of a parent that can":   {public(func(p *Public) { p.attributes &^= attrFixedParent }), quoteBy(p, hierarchyOwner), k.Public(), "restricted signing key"},
		"that came from outside": {public(func(p *Public) { p.attributes &^= attrSensitiveDataOrigin }), quoteBy(p, hierarchyOwner), k.Public(), "restricted signing key"},
		"with a symmetric key":   {public(func(p *Public) { p.symmetric.alg = algAES }), quoteBy(p, hierarchyOwner), k.Public(), "symmetric algorithm"},
		"without a scheme":       {public(func(p *Public) { p.scheme = algNull }), quoteBy(p, hierarchyOwner), k.Public(), "no scheme"},
		"by another scheme":      {p, &Quote{scheme: algRSASSA, hash: SHA256}, k.Public(), "signed by scheme 0x0014 with sha256, the key's is 0x0018"},
		"by another hash":        {p, &Quote{scheme: algECDSA, hash: SHA384}, k.Public(), "signed by scheme 0x0018 with sha384"},
		"another's certificate":  {p, quoteBy(p, hierarchyOwner), ecOf(t, elliptic.P256()).Public(), "of another key than the certificate"},
	} {
		err := CheckAKTemplate(c.p, c.q, c.key)
		says(t, name, err, c.why)
		if parent := new(ParentError); errors.As(err, &parent) != (name == "of another parent") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if EqualKeys(struct{}{}, k.Public()) || EqualKeys(k.Public(), struct{}{}) {
		t.Error("no key is a key")
	}
}

// attested is a TPMS_ATTEST as the test writes it.
func attested(selection []byte, digest []byte) []byte {
	b := append16(binary.BigEndian.AppendUint32(nil, generatedValue), attestQuote)
	b = appendSized(appendSized(b, nil), nil)
	b = append(b, make([]byte, 8+4+4+1+8)...)
	return appendSized(append(b, selection...), digest)
}

func quoteOf(attest []byte) []byte {
	return appendSized(appendSized(append16(appendSized(nil, attest), algECDSA, algSHA256), []byte{1}), []byte{1})
}

func banks(algs ...Alg) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(algs)))
	for _, a := range algs {
		b = append(append16(b, uint16(a)), 3, 1, 0, 0)
	}
	return b
}

func TestSelectionsAreBounded(t *testing.T) {
	digest := make([]byte, 32)
	for name, c := range map[string]struct {
		attest []byte
		why    string
	}{
		"one bank":         {attested(banks(SHA256), digest), ""},
		"four banks":       {attested(banks(SHA1, SHA256, SHA384, SHA512), digest), ""},
		"no bank":          {attested(banks(), digest), "selection of 0 banks: want 1 to 4"},
		"five banks":       {attested(banks(SHA1, SHA256, SHA384, SHA512, SHA1), digest), "selection of 5 banks: want 1 to 4"},
		"one bank twice":   {attested(banks(SHA1, SHA1), digest), "bank sha1 twice"},
		"an unknown one":   {attested(banks(0x12), digest), "bank of unknown algorithm 0x0012"},
		"nothing selected": {attested([]byte{0, 0, 0, 1, 0, 0xb, 3, 0, 0, 0}, digest), "no PCR is selected"},
		"no digest":        {attested(banks(SHA256), nil), "no PCR digest"},
		"cut":              {attested(banks(SHA256), digest)[:60], "pcrDigest of"},
		"a byte after it":  {append(attested(banks(SHA256), digest), 0), "1 trailing bytes"},
	} {
		_, err := ParseQuote(quoteOf(c.attest))
		says(t, name, err, c.why)
	}
}

func TestSignaturesOfQuotesAreBounded(t *testing.T) {
	k := ecOf(t, elliptic.P256())
	q := &Quote{Attest: []byte("attest"), scheme: algECDSA, hash: SHA256}
	der, err := k.Sign(nil, q.sum(q.Attest), crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	var rs struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &rs); err != nil {
		t.Fatal(err)
	}
	r, s := rs.R.FillBytes(make([]byte, 32)), rs.S.FillBytes(make([]byte, 32))
	pad := func(b []byte) []byte { return append([]byte{0}, b...) }
	p384 := ecOf(t, elliptic.P384())
	for name, c := range map[string]struct {
		r, s []byte
		key  crypto.PublicKey
		why  string
	}{
		"as it is":       {r, s, k.Public(), ""},
		"a padded r":     {pad(r), s, k.Public(), "signature of 33 and 32 bytes: want at most 32"},
		"a padded s":     {r, pad(s), k.Public(), "signature of 32 and 33 bytes: want at most 32"},
		"another's":      {r, s, ecOf(t, elliptic.P256()).Public(), "ECDSA verification error"},
		"on P-384":       {r, s, p384.Public(), "ECDSA verification error"},
		"on P-521":       {r, s, ecOf(t, elliptic.P521()).Public(), "want P-256 or P-384"},
		"on P-224":       {r, s, ecOf(t, elliptic.P224()).Public(), "want P-256 or P-384"},
		"an RSA key":     {r, s, rsaOf(2048), "RSA key, signature of scheme 0x0018"},
		"of 2047 bits":   {r, s, rsaOf(2047), "RSA key of 2047 bits: want 2048 to 4096"},
		"of 4096 bits":   {r, s, rsaOf(4096), "RSA key, signature of scheme"},
		"of 4097 bits":   {r, s, rsaOf(4097), "RSA key of 4097 bits: want 2048 to 4096"},
		"a key of none":  {r, s, "x", "want RSA or ECDSA"},
		"without a sign": {nil, nil, k.Public(), "ECDSA verification error"},
	} {
		q.r, q.s = c.r, c.s
		says(t, name, q.Verify(c.key), c.why)
	}
	q.scheme, q.r, q.s = algRSASSA, r, s
	says(t, "a scheme of RSA", q.Verify(k.Public()), "ECDSA key, signature of scheme 0x0014")
	if got := []string{KeyType(k.Public()), KeyType(p384.Public()), KeyType(rsaOf(3072)), KeyType("x")}; !slices.Equal(got, []string{"ecc-p256", "ecc-p384", "rsa-3072", ""}) {
		t.Errorf("%v", got)
	}
}
