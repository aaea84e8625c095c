package tdx

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/chip"
	"github.com/poclog/poclog/verify"
)

var (
	testStart = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	testNow   = testStart.AddDate(0, 1, 1)
)

func refusedBy(t *testing.T, name string, err error, check verify.Check, why string) {
	t.Helper()
	if got, ok := verify.CheckOf(err); !ok || got != check || !strings.Contains(err.Error(), why) {
		t.Errorf("%s: %v: want %s, with %q", name, err, check, why)
	}
}

func says(t *testing.T, name string, err error, why string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), why) {
		t.Errorf("%s: %v: want %q", name, err, why)
	}
}

// An sgx is an SGX extension as a test writes it: {OID below the prefix, value} each.
type sgx struct {
	ID    asn1.ObjectIdentifier
	Value any
}

func der(t *testing.T, v any) []byte {
	t.Helper()
	b, err := asn1.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// pck is a certificate with an SGX extension, and changed the values of TCB and of the extension.
func pck(t *testing.T, change func(tcb, top []sgx) ([]sgx, []sgx)) *x509.Certificate {
	t.Helper()
	under := func(prefix asn1.ObjectIdentifier, n int) asn1.ObjectIdentifier {
		return append(slices.Clone(prefix), n)
	}
	var tcb []sgx
	for i := range 16 {
		tcb = append(tcb, sgx{under(oidTCB, i+1), 255 - i})
	}
	tcb = append(tcb, sgx{under(oidTCB, 17), 65535})
	top := []sgx{{under(oidSGX, 1), make([]byte, 16)}, {under(oidSGX, 3), []byte{1, 2}}, {under(oidSGX, 4), []byte{1, 2, 3, 4, 5, 6}}, {under(oidSGX, 6), []byte{9, 15: 9}}}
	if change != nil {
		tcb, top = change(tcb, top)
	}
	if tcb != nil {
		top = append(top, sgx{oidTCB, tcb})
	}
	return &x509.Certificate{Extensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2}, Value: []byte{5, 0}}, {Id: oidSGX, Value: der(t, top)}}}
}

func TestPCKExtensionIsReadStrictly(t *testing.T) {
	p, err := parsePlatform(pck(t, nil))
	if err != nil || p.PCESVN != 65535 || p.SVN[0] != 255 || p.SVN[15] != 240 || p.PIID[0] != 9 || p.PIID[15] != 9 || p.FMSPC[5] != 6 || p.PCEID[1] != 2 {
		t.Fatalf("%+v, %v", p, err)
	}
	p, err = parsePlatform(pck(t, func(tcb, top []sgx) ([]sgx, []sgx) { return tcb, top[:3] }))
	if err != nil || p.PIID != [16]byte{} {
		t.Errorf("without a PIID: %+v, %v", p, err)
	}
	with := func(i int, v any) func(tcb, top []sgx) ([]sgx, []sgx) {
		return func(tcb, top []sgx) ([]sgx, []sgx) { top[i].Value = v; return tcb, top }
	}
	component := func(i int, v any) func(tcb, top []sgx) ([]sgx, []sgx) {
		return func(tcb, top []sgx) ([]sgx, []sgx) { tcb[i].Value = v; return tcb, top }
	}
	for name, c := range map[string]struct {
		change func(tcb, top []sgx) ([]sgx, []sgx)
		why    string
	}{
		"a PPID of 15 octets":       {with(0, make([]byte, 15)), "value 1.2.840.113741.1.13.1.1: want 16 octets"},
		"a PPID that is text":       {with(0, "0123456789abcdef"), "value 1.2.840.113741.1.13.1.1: want 16 octets"},
		"a PPID of another class":   {with(0, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: asn1.TagOctetString, Bytes: make([]byte, 16)}), "want 16 octets"},
		"an FMSPC of 7 octets":      {with(2, make([]byte, 7)), "1.13.1.4: want 6 octets"},
		"a PIID of 17 octets":       {with(3, make([]byte, 17)), "1.13.1.6: want 16 octets"},
		"no PCEID":                  {func(tcb, top []sgx) ([]sgx, []sgx) { return tcb, slices.Delete(top, 1, 2) }, "1.13.1.3: want 2 octets"},
		"no TCB":                    {func(_, top []sgx) ([]sgx, []sgx) { return nil, top }, "no TCB"},
		"a value twice":             {func(tcb, top []sgx) ([]sgx, []sgx) { return tcb, append(top, top[0]) }, "twice"},
		"a value of another arc":    {func(tcb, top []sgx) ([]sgx, []sgx) { top[0].ID[3]++; return tcb, top }, "value 1.2.840.113742.1.13.1.1 under"},
		"a value a step deeper":     {func(tcb, top []sgx) ([]sgx, []sgx) { top[0].ID = append(top[0].ID, 1); return tcb, top }, "value 1.2.840.113741.1.13.1.1.1 under"},
		"the prefix alone":          {func(tcb, top []sgx) ([]sgx, []sgx) { top[0].ID = oidSGX; return tcb, top }, "value 1.2.840.113741.1.13.1 under"},
		"a component over 255":      {component(3, 256), "TCB value 4: want an integer from 0 to 255"},
		"a negative component":      {component(3, -1), "TCB value 4: want"},
		"a component that is octet": {component(3, []byte{1}), "TCB value 4: want"},
		"a PCESVN over 65535":       {component(16, 65536), "TCB value 17: want an integer from 0 to 65535"},
		"a component missing":       {func(tcb, top []sgx) ([]sgx, []sgx) { return slices.Delete(tcb, 5, 6), top }, "no TCB value 6"},
		"a PCESVN missing":          {func(tcb, top []sgx) ([]sgx, []sgx) { return tcb[:16], top }, "no TCB value 17"},
	} {
		_, err := parsePlatform(pck(t, c.change))
		says(t, name, err, c.why)
	}
	if p, err := parsePlatform(pck(t, component(3, 0))); err != nil || p.SVN[3] != 0 {
		t.Errorf("a component of 0: %v", err)
	}
	_, err = parsePlatform(&x509.Certificate{})
	says(t, "no extension", err, "no SGX extension")
	for name, value := range map[string][]byte{"garbage": {0xff}, "bytes after it": append(der(t, []sgx{}), 0), "empty": {}} {
		_, err = parsePlatform(&x509.Certificate{Extensions: []pkix.Extension{{Id: oidSGX, Value: value}}})
		says(t, name, err, "malformed sequence")
		if strings.Contains(err.Error(), "%!w") {
			t.Errorf("%s: %v", name, err)
		}
	}
	// An integer with something after it is no value of a TCB.
	if _, err := small(map[int]asn1.RawValue{1: {FullBytes: []byte{2, 1, 7, 0}}}, 1, 255); err == nil {
		t.Error("an integer with a byte after it")
	}
}

func TestIdentitiesOfAPlatformAreThoseItHas(t *testing.T) {
	p := Platform{PPID: [16]byte{1}}
	if ids := p.Identities(); len(ids) != 1 || ids[0].Kind() != poclog.IntelPPID {
		t.Errorf("%v", ids)
	}
	p.PIID = [16]byte{2}
	if ids := p.Identities(); len(ids) != 2 || ids[0].Kind() != poclog.IntelPIID {
		t.Errorf("%v", ids)
	}
}

func TestIntelsCertificatesAreOnP256(t *testing.T) {
	key := func(c elliptic.Curve) *ecdsa.PublicKey {
		return &ecdsa.PublicKey{Curve: c, X: big.NewInt(1), Y: big.NewInt(1)}
	}
	good := &x509.Certificate{PublicKey: key(elliptic.P256()), SignatureAlgorithm: x509.ECDSAWithSHA256, RawIssuer: []byte("a"), RawSubject: []byte("b")}
	if err := ofIntel(good, 0); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(c *x509.Certificate){
		"on P-384":     func(c *x509.Certificate) { c.PublicKey = key(elliptic.P384()) },
		"RSA":          func(c *x509.Certificate) { c.PublicKey = &rsa.PublicKey{} },
		"with SHA-384": func(c *x509.Certificate) { c.SignatureAlgorithm = x509.ECDSAWithSHA384 },
	} {
		c := *good
		change(&c)
		says(t, name, ofIntel(&c, 0), "want ECDSA on P-256 with SHA-256")
	}
	root := &x509.Certificate{RawIssuer: []byte("a"), RawSubject: []byte("a")}
	says(t, "a root of another name", ofIntel(root, 2), `want "Intel SGX Root CA"`)
	root.Subject.CommonName = nameRoot
	if err := ofIntel(root, 2); err != nil {
		t.Error(err)
	}
	for name, key := range map[string]any{"on P-384": key(elliptic.P384()), "RSA": &rsa.PublicKey{}} {
		q := labQuote(t, chip.TD{})
		q.PCK.PublicKey = key
		refusedBy(t, "a PCK "+name, q.CheckSignature(), verify.TEESignature, "not one on P-256")
	}
}

var lab = chip.NewMaker("tdx mutants", testStart)

func labQuote(t *testing.T, td chip.TD) *Quote {
	t.Helper()
	q, err := ParseQuote(lab.NewPlatform("mutants", nil).Quote(td))
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// The enclave vouches for one attestation key: by its hash, and zeros after it.
func TestReportNamesTheAttestationKey(t *testing.T) {
	p := lab.NewPlatform("mutants", nil)
	for name, at := range map[string]int{"the hash's first octet": 320, "its last": 351, "the first after it": 352, "the last of all": 383} {
		q, err := ParseQuote(p.WithEnclave(func(report []byte) { report[at] ^= 1 }).Quote(chip.TD{}))
		if err != nil {
			t.Fatal(err)
		}
		refusedBy(t, name, q.CheckSignature(), verify.TEESignature, "does not name the attestation key")
	}
}

// Two quotes of one platform have one frame, whatever the TDs are; another kind of body is another
// frame.
func TestFrameIsWhatSurroundsTheBody(t *testing.T) {
	frame := func(td chip.TD) string { return string(labQuote(t, td).Frame()) }
	other := [16]byte{9, 1, 6}
	if frame(chip.TD{}) != frame(chip.TD{SVN: other, MRTD: [48]byte{1}}) {
		t.Error("version 4: the body is in the frame")
	}
	if frame(chip.TD{Version: 5}) != frame(chip.TD{Version: 5, SVN: other}) {
		t.Error("version 5: the body is in the frame")
	}
	if frame(chip.TD{Version: 5, BodyType: 2}) == frame(chip.TD{Version: 5, BodyType: 3}) {
		t.Error("version 5: the descriptor is not in the frame")
	}
	q := labQuote(t, chip.TD{})
	if want := len(q.raw) - bodySize10 - 4 - 64; len(q.Frame()) != want {
		t.Errorf("a frame of %d bytes: want %d", len(q.Frame()), want)
	}
}

func TestStandingNamesTheCA(t *testing.T) {
	q := labQuote(t, chip.TD{})
	if s := q.Standing(); s.Processor || s.CA() != "platform" {
		t.Errorf("%+v", s)
	}
	q.CA.Subject.CommonName = nameProcessorCA
	if s := q.Standing(); !s.Processor || s.CA() != "processor" {
		t.Errorf("%+v", s)
	}
	if err := q.CheckChain(Roots{}, testNow); err == nil || strings.Contains(err.Error(), "issuer") {
		t.Errorf("the Processor CA is none of Intel's: %v", err)
	}
	q.CA.Subject.CommonName = nameTCBSigning
	refusedBy(t, "a CA of another name", q.CheckChain(Roots{}, testNow), verify.TEEChain, "want one of Intel's PCK CAs")
}

func TestTCBInfoIsForOneFamilyAndPCE(t *testing.T) {
	info := tcbInfo{FMSPC: []byte{1, 2, 3, 4, 5, 6}, PCEID: []byte{1, 2}}
	if err := info.isFor([6]byte{1, 2, 3, 4, 5, 6}, [2]byte{1, 2}); err != nil {
		t.Error(err)
	}
	says(t, "another FMSPC", info.isFor([6]byte{1, 2, 3, 4, 5, 7}, [2]byte{1, 2}), "the platform has")
	says(t, "another PCEID", info.isFor([6]byte{1, 2, 3, 4, 5, 6}, [2]byte{1, 3}), "the platform has")
}

func TestStatusesThatCountAreThePolicys(t *testing.T) {
	accepted := []string{"SWHardeningNeeded", "UpToDate"}
	if err := CheckTCB(&poclog.TCB{Status: "UpToDate"}, accepted); err != nil {
		t.Error(err)
	}
	refusedBy(t, "another", CheckTCB(&poclog.TCB{Status: "OutOfDate", Advisories: []string{"INTEL-SA-1"}}, accepted), verify.TEETCB, `"OutOfDate" (INTEL-SA-1)`)
	for _, platform := range []string{configuration, configurationSWHardening, outOfDateConfigurationNeed} {
		if got, err := converge(platform, outOfDate); err != nil || got != outOfDateConfigurationNeed {
			t.Errorf("%s with a module that is out of date: %s, %v", platform, got, err)
		}
	}
	if got, err := converge(upToDate, outOfDate); err != nil || got != outOfDate {
		t.Errorf("%s, %v", got, err)
	}
}

// A CRL of another root, or the list of a PCK CA, says nothing of who signs TCB info.
func TestRevokedSignerOfCollateral(t *testing.T) {
	signer := &x509.Certificate{SerialNumber: big.NewInt(7)}
	c := &Collateral{signers: []*x509.Certificate{{SerialNumber: big.NewInt(6)}, signer}, root: [32]byte{1}}
	for name, v := range map[string]struct {
		r       Revocations
		revoked bool
	}{
		"its root's list":            {Revocations{root: true, issuer: [32]byte{1}, when: map[poclog.Digest]time.Time{serialOf(big.NewInt(7)): testNow}}, true},
		"a list of others":           {Revocations{root: true, issuer: [32]byte{1}, when: map[poclog.Digest]time.Time{serialOf(big.NewInt(8)): testNow}}, false},
		"another root's":             {Revocations{root: true, issuer: [32]byte{2}, when: map[poclog.Digest]time.Time{serialOf(big.NewInt(7)): testNow}}, false},
		"the list of its root's CAs": {Revocations{root: false, issuer: [32]byte{1}, when: map[poclog.Digest]time.Time{serialOf(big.NewInt(7)): testNow}}, false},
	} {
		err := v.r.CheckSigners(c)
		if v.revoked {
			refusedBy(t, name, err, verify.TEERevocation, "was revoked at")
		} else if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The same by a quote's own collateral.
	list := func(serials ...int64) *x509.RevocationList {
		l := new(x509.RevocationList)
		for _, s := range serials {
			l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: big.NewInt(s), RevocationTime: testNow})
		}
		return l
	}
	q := &Quote{Chain: Chain{PCK: &x509.Certificate{SerialNumber: big.NewInt(1)}, CA: &x509.Certificate{SerialNumber: big.NewInt(2)}}}
	for name, v := range map[string]struct {
		pck, root *x509.RevocationList
		revoked   bool
	}{
		"nobody":              {list(2, 6, 7, 9), list(1, 9), false},
		"the chip":            {list(9, 1), list(), true},
		"its CA":              {list(), list(9, 2), true},
		"the first signer":    {list(), list(6), true},
		"the second signer":   {list(), list(7), true},
		"the CA in its own":   {list(2), list(), false},
		"the chip in another": {list(), list(1), false},
	} {
		c.pckCRL, c.rootCRL = v.pck, v.root
		if err := c.CheckRevocation(q); v.revoked {
			refusedBy(t, name, err, verify.TEERevocation, "was revoked at")
		} else if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSignedAnswersHaveOneForm(t *testing.T) {
	sig := strings.Repeat("ab", 64)
	inner, s, err := splitSigned([]byte(" {\"m\":{},\"signature\":\""+sig+"\"}\n"), "m")
	if err != nil || string(inner) != "{}" || len(s) != 64 || s[63] != 0xab {
		t.Errorf("%q, %x, %v", inner, s, err)
	}
	if inner, _, err := splitSigned([]byte(`{"m":,"signature":"`+sig+`"}`), "m"); err != nil || len(inner) != 0 {
		t.Errorf("nothing that is signed: %q, %v", inner, err)
	}
	for name, body := range map[string]string{
		"another member":        `{"n":{},"signature":"` + sig + `"}`,
		"nothing before it":     `"m":{},"signature":"` + sig + `"}`,
		"too short":             `{"m":"signature":"` + sig + `"}`,
		"empty":                 "",
		"another name":          `{"m":{},"signaturf":"` + sig + `"}`,
		"another end":           `{"m":{},"signature":"` + sig + `"]`,
		"no quote at the end":   `{"m":{},"signature":"` + sig + `0}`,
		"a shorter signature":   `{"m":{},"signature":"` + sig[2:] + `"}`,
		"a signature of others": `{"m":{},"signature":"` + "zz" + sig[2:] + `"}`,
	} {
		if _, _, err := splitSigned([]byte(body), "m"); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
