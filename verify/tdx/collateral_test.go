package tdx_test

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/chip"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/tdx"
)

func wantWhy(t *testing.T, name string, err error, check verify.Check, why string) {
	t.Helper()
	if got, ok := verify.CheckOf(err); !ok || got != check || !strings.Contains(err.Error(), why) {
		t.Errorf("%s: %v: want %s, with %q", name, err, check, why)
	}
}

// replaced is a change of a signed answer's text.
func replaced(old, new string) func(string) string {
	return func(s string) string {
		if !strings.Contains(s, old) {
			panic(fmt.Sprintf("%q is not in %q", old, s))
		}
		return strings.Replace(s, old, new, 1)
	}
}

// What Intel's signer signed counts as what it says it is, and no longer than it says.
func TestAnswersAreHeldToWhatTheySay(t *testing.T) {
	m := chip.NewMaker("answers", labStart)
	trusted := tdx.Roots{poclog.Sum(m.Root()): true}
	col := published(m, chip.CollateralOptions{})
	issued := labNow.AddDate(0, 0, -1).Format(time.RFC3339)
	for name, c := range map[string]struct {
		kind   poclog.CollateralKind
		change func(string) string
		why    string
	}{
		"TCB info of SGX":                 {poclog.TDXTCBInfo, replaced(`"id":"TDX"`, `"id":"SGX"`), `TCB info "SGX" of version 3`},
		"TCB info of version 2":           {poclog.TDXTCBInfo, replaced(`"version":3`, `"version":2`), `TCB info "TDX" of version 2`},
		"TCB info of the future":          {poclog.TDXTCBInfo, replaced(`"issueDate":"`+issued, `"issueDate":"`+labNow.Add(time.Second).Format(time.RFC3339)), "TCB info: valid from"},
		"TCB info that expired":           {poclog.TDXTCBInfo, replaced(labNow.AddDate(0, 0, 29).Format(time.RFC3339), labNow.Add(-time.Second).Format(time.RFC3339)), "TCB info: valid from"},
		"TCB info without an end":         {poclog.TDXTCBInfo, replaced(`"nextUpdate"`, `"nextUpdat"`), "TCB info: valid from"},
		"TCB info that is no JSON":        {poclog.TDXTCBInfo, func(s string) string { return s + "x" }, "TCB info: "},
		"another QE's identity":           {poclog.TDXQEIdentity, replaced(`"id":"TD_QE"`, `"id":"QE"`), `QE identity "QE" of version 2`},
		"QE identity of version 1":        {poclog.TDXQEIdentity, replaced(`"version":2`, `"version":1`), `QE identity "TD_QE" of version 1`},
		"QE identity of the future":       {poclog.TDXQEIdentity, replaced(`"issueDate":"`+issued, `"issueDate":"`+labNow.Add(time.Second).Format(time.RFC3339)), "QE identity: valid from"},
		"QE identity that expired":        {poclog.TDXQEIdentity, replaced(labNow.AddDate(0, 0, 29).Format(time.RFC3339), labNow.Add(-time.Second).Format(time.RFC3339)), "QE identity: valid from"},
		"a QE identity that is no JSON":   {poclog.TDXQEIdentity, func(s string) string { return "{" + s }, "QE identity: "},
		"an issue date in the last secnd": {poclog.TDXQEIdentity, replaced(`"issueDate":"`+issued, `"issueDate":"`+labNow.Format(time.RFC3339)), ""},
		"an end in the last second":       {poclog.TDXTCBInfo, replaced(labNow.AddDate(0, 0, 29).Format(time.RFC3339), labNow.Format(time.RFC3339)), ""},
	} {
		it := m.Resign(*col.Get(c.kind), c.change)
		_, err := tdx.OpenItem(&it, trusted, labNow)
		if c.why == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		wantWhy(t, name, err, verify.Collateral, c.why)
		if _, err = tdx.OpenTCB(col.With(it).Get(poclog.TDXTCBInfo), col.With(it).Get(poclog.TDXQEIdentity), trusted, labNow); err == nil {
			t.Errorf("%s: judges", name)
		}
	}
}

// What every answer says of itself, and the span in which all are valid.
func TestFactsOfAnswers(t *testing.T) {
	m := chip.NewMaker("facts", labStart)
	trusted := tdx.Roots{poclog.Sum(m.Root()): true}
	col := withRootChain(m, published(m, chip.CollateralOptions{Evaluation: 21}))
	issued, until := labNow.AddDate(0, 0, -1), labNow.AddDate(0, 0, 29)
	crl := fmt.Sprint(issued.Unix())
	for kind, want := range map[poclog.CollateralKind]tdx.Facts{
		poclog.TDXTCBInfo: {Issuer: "Intel SGX TCB Signing", FMSPC: chip.DefaultFMSPC[:]}, poclog.TDXQEIdentity: {Issuer: "Intel SGX TCB Signing"},
		poclog.IntelPCKCRL: {Issuer: "Intel SGX PCK Platform CA", CA: "platform"}, poclog.IntelRootCRL: {Issuer: "Intel SGX Root CA"},
	} {
		number := "21"
		if kind == poclog.IntelPCKCRL || kind == poclog.IntelRootCRL {
			number = crl
		}
		f, err := tdx.OpenItem(col.Get(kind), trusted, labNow)
		if err != nil {
			t.Errorf("%s: %v", kind, err)
			continue
		}
		if f.Issuer != want.Issuer || f.CA != want.CA || !bytes.Equal(f.FMSPC, want.FMSPC) || f.Number.String() != number || !f.Issued.Equal(issued) || !f.Until.Equal(until) {
			t.Errorf("%s: %+v", kind, f)
		}
		_, err = tdx.OpenItem(col.Get(kind), tdx.Roots{}, labNow)
		wantWhy(t, "no root", err, verify.Collateral, "not one that the policy lists")
	}
	_, err := tdx.OpenItem(&poclog.CollateralItem{Kind: poclog.AMDCRL, Body: []byte{1}}, trusted, labNow)
	wantWhy(t, "AMD's", err, verify.Collateral, "not one of Intel's")
}

func TestSpanOfCollateralIsThatOfItsNarrowestPart(t *testing.T) {
	m := chip.NewMaker("spans", labStart)
	q, err := tdx.ParseQuote(m.NewPlatform("host", nil).Quote(chip.TD{}))
	if err != nil {
		t.Fatal(err)
	}
	issued, until := labNow.AddDate(0, 0, -1), labNow.AddDate(0, 0, 29)
	stamp := func(t time.Time) string { return t.Format(time.RFC3339) }
	base := published(m, chip.CollateralOptions{})
	for name, c := range map[string]struct {
		kind           poclog.CollateralKind
		change         func(string) string
		issued, until  time.Time
		otherThanItems bool
	}{
		"as it is":             {poclog.TDXQEIdentity, func(s string) string { return s }, issued, until, false},
		"a later issue":        {poclog.TDXQEIdentity, replaced(`"issueDate":"`+stamp(issued), `"issueDate":"`+stamp(labNow.Add(-time.Hour))), labNow.Add(-time.Hour), until, false},
		"an earlier end":       {poclog.TDXQEIdentity, replaced(stamp(until), stamp(labNow.Add(time.Hour))), issued, labNow.Add(time.Hour), false},
		"an earlier issue":     {poclog.TDXTCBInfo, replaced(`"issueDate":"`+stamp(issued), `"issueDate":"`+stamp(issued.Add(-time.Hour))), issued, until, false},
		"a later end":          {poclog.TDXTCBInfo, replaced(stamp(until), stamp(until.Add(time.Hour))), issued, until, false},
		"an earlier end first": {poclog.TDXTCBInfo, replaced(stamp(until), stamp(labNow.Add(time.Hour))), issued, labNow.Add(time.Hour), false},
	} {
		col := base.With(m.Resign(*base.Get(c.kind), c.change))
		opened, err := tdx.OpenCollateral(q, col, labNow)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		from, to, err := tdx.Validity(col)
		if !opened.Issued.Equal(c.issued) || !opened.Until.Equal(c.until) || err != nil || !from.Equal(c.issued) || !to.Equal(c.until) {
			t.Errorf("%s: %s to %s, and unread %s to %s (%v): want %s to %s", name, opened.Issued, opened.Until, from, to, err, c.issued, c.until)
		}
	}
	// The signers' certificates are part of it: in the last days of theirs, theirs is the end.
	last := labStart.AddDate(30, 0, 0)
	late := m.Collateral(chip.CollateralOptions{At: last.AddDate(0, 0, -1)})
	opened, err := tdx.OpenCollateral(q, late, last)
	if err != nil || !opened.Until.Equal(last) {
		t.Errorf("%+v, %v", opened, err)
	}
	info := *late.Get(poclog.TDXTCBInfo)
	if f, err := tdx.OpenItem(&info, tdx.Roots{poclog.Sum(m.Root()): true}, last); err != nil || !f.Until.Equal(last) {
		t.Errorf("%+v, %v", f, err)
	}
	early := m.Resign(info, replaced(`"issueDate":"`+stamp(last.AddDate(0, 0, -1)), `"issueDate":"`+stamp(labStart.AddDate(-1, 0, 0))))
	if f, err := tdx.OpenItem(&early, tdx.Roots{poclog.Sum(m.Root()): true}, last); err != nil || !f.Issued.Equal(labStart) {
		t.Errorf("%+v, %v", f, err)
	}

	for _, kind := range []poclog.CollateralKind{poclog.TDXTCBInfo, poclog.TDXQEIdentity, poclog.IntelPCKCRL, poclog.IntelRootCRL} {
		from, to, err := tdx.Validity(new(poclog.Collateral).With(*base.Get(kind)))
		if err != nil || !from.Equal(issued) || !to.Equal(until) {
			t.Errorf("%s alone: %s to %s, %v", kind, from, to, err)
		}
		broken := *base.Get(kind)
		broken.Body = []byte("x")
		if _, _, err := tdx.Validity(new(poclog.Collateral).With(broken)); err == nil {
			t.Errorf("%s: garbage has a span", kind)
		}
	}
	undated := m.Resign(*base.Get(poclog.TDXTCBInfo), func(string) string { return "{}" })
	if _, _, err := tdx.Validity(new(poclog.Collateral).With(undated)); err == nil {
		t.Error("an answer without dates has a span")
	}
	undated = m.Resign(*base.Get(poclog.TDXTCBInfo), func(string) string { return "[]" })
	if _, _, err := tdx.Validity(new(poclog.Collateral).With(undated)); err == nil {
		t.Error("an answer that is a list has a span")
	}
	if from, to, err := tdx.Validity(nil); err != nil || !from.IsZero() || !to.IsZero() {
		t.Errorf("nothing: %s to %s, %v", from, to, err)
	}
}

// TCB info and QE identity are each held to their own signer, also where both name one.
func TestEachAnswerHasItsSigner(t *testing.T) {
	m, other := chip.NewMaker("signers", labStart), chip.NewMaker("other signers", labStart)
	both := tdx.Roots{poclog.Sum(m.Root()): true, poclog.Sum(other.Root()): true}
	col, theirs := published(m, chip.CollateralOptions{}), published(other, chip.CollateralOptions{})
	signer := func(c *poclog.Collateral) []byte {
		b, _ := pem.Decode(c.Get(poclog.TDXTCBInfo).Chain)
		return pem.EncodeToMemory(b)
	}
	with := func(chain ...[]byte) *poclog.CollateralItem {
		it := *theirs.Get(poclog.TDXQEIdentity)
		it.Chain = bytes.Join(chain, nil)
		return &it
	}
	open := func(qe *poclog.CollateralItem) error {
		_, err := tdx.OpenTCB(col.Get(poclog.TDXTCBInfo), qe, both, labNow)
		return err
	}
	if err := open(col.Get(poclog.TDXQEIdentity)); err != nil {
		t.Fatal(err)
	}
	wantWhy(t, "a signer of another root", open(with(signer(theirs), m.RootPEM())), verify.Collateral, "not signed by")
	wantWhy(t, "the true signer under another root", open(with(signer(col), other.RootPEM())), verify.Collateral, "not one that the policy lists")
	wantWhy(t, "another's signature", open(with(signer(col), m.RootPEM())), verify.Collateral, `not signed by "Intel SGX TCB Signing"`)
	wantWhy(t, "no root", open(with(signer(col))), verify.Collateral, "chain of 1 certificates")
	wantWhy(t, "the root twice", open(with(signer(col), m.RootPEM(), m.RootPEM())), verify.Collateral, "chain of 3 certificates")
	wantWhy(t, "garbage", open(with([]byte("x"))), verify.Collateral, "issuer chain")
	ca, _ := pem.Decode(col.Get(poclog.IntelPCKCRL).Chain)
	wantWhy(t, "the PCK CA for a signer", open(with(pem.EncodeToMemory(ca), m.RootPEM())), verify.Collateral, `want "Intel SGX TCB Signing"`)
}

func TestAnswersAreBounded(t *testing.T) {
	m := chip.NewMaker("bounds", labStart)
	trusted := tdx.Roots{poclog.Sum(m.Root()): true}
	it := *published(m, chip.CollateralOptions{}).Get(poclog.TDXTCBInfo)
	body := it.Body
	it.Body = append(bytes.Clone(body), bytes.Repeat([]byte(" "), 1<<19-len(body))...)
	if _, err := tdx.OpenItem(&it, trusted, labNow); err != nil {
		t.Errorf("512 KiB: %v", err)
	}
	it.Body = append(it.Body, ' ')
	_, err := tdx.OpenItem(&it, trusted, labNow)
	wantWhy(t, "over 512 KiB", err, verify.Collateral, "want at most 524288")
	crl := *published(m, chip.CollateralOptions{}).Get(poclog.IntelPCKCRL)
	crl.Body = make([]byte, 1<<19)
	if _, err := tdx.OpenItem(&crl, trusted, labNow); err == nil || strings.Contains(err.Error(), "want at most") {
		t.Errorf("a CRL of 512 KiB: %v", err)
	}
	crl.Body = make([]byte, 1<<19+1)
	_, err = tdx.OpenItem(&crl, trusted, labNow)
	wantWhy(t, "a CRL of over 512 KiB", err, verify.Collateral, "want at most 524288")
}

// A ca is an authority of a test's own, in Intel's names.
type ca struct {
	cert *x509.Certificate
	key  chip.Key
}

func newCA(t *testing.T, name string, by *ca) *ca {
	t.Helper()
	c := &ca{key: chip.NewKey("tdx test", name)}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: labStart, NotAfter: labStart.AddDate(30, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	issuer, signer := template, c.key
	if by != nil {
		issuer, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(nil, template, issuer, c.key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	if c.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *ca) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.cert.Raw})
}

func (c *ca) list(t *testing.T, change func(*x509.RevocationList)) []byte {
	t.Helper()
	l := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: labNow, NextUpdate: labNow, SignatureAlgorithm: x509.ECDSAWithSHA256}
	if change != nil {
		change(l)
	}
	der, err := x509.CreateRevocationList(nil, l, c.cert, c.key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// unnumbered is a CRL without a number, which x509 makes none of.
func (c *ca) unnumbered(t *testing.T) []byte {
	t.Helper()
	alg := pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}}
	tbs, err := asn1.Marshal(struct {
		Version    int
		Algorithm  pkix.AlgorithmIdentifier
		Issuer     asn1.RawValue
		ThisUpdate time.Time
		NextUpdate time.Time
	}{1, alg, asn1.RawValue{FullBytes: c.cert.RawSubject}, labNow, labNow})
	if err != nil {
		t.Fatal(err)
	}
	sig, err := c.key.Sign(nil, sha256Of(tbs), crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	der, err := asn1.Marshal(struct {
		TBS       asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}{asn1.RawValue{FullBytes: tbs}, alg, asn1.BitString{Bytes: sig, BitLength: 8 * len(sig)}})
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func sha256Of(b []byte) []byte { s := poclog.Sum(b); return s[:] }

func TestCRLsAreHeldToIssuerTimeAndNumber(t *testing.T) {
	root := newCA(t, "Intel SGX Root CA", nil)
	platform, processor, other := newCA(t, "Intel SGX PCK Platform CA", root), newCA(t, "Intel SGX PCK Processor CA", root), newCA(t, "Another CA", root)
	trusted := tdx.Roots{poclog.Sum(root.cert.Raw): true}
	chained := func(c *ca) []byte { return append(c.pem(), root.pem()...) }
	for name, c := range map[string]struct {
		kind        poclog.CollateralKind
		chain, body []byte
		why         string
	}{
		"the platform CA's":        {poclog.IntelPCKCRL, chained(platform), platform.list(t, nil), ""},
		"the processor CA's":       {poclog.IntelPCKCRL, chained(processor), processor.list(t, nil), ""},
		"the root's":               {poclog.IntelRootCRL, root.pem(), root.list(t, nil), ""},
		"a number of 0":            {poclog.IntelPCKCRL, chained(platform), platform.list(t, func(l *x509.RevocationList) { l.Number = new(big.Int) }), ""},
		"no number":                {poclog.IntelPCKCRL, chained(platform), platform.unnumbered(t), "want a CRL number"},
		"a number below 0":         {poclog.IntelPCKCRL, chained(platform), platform.list(t, func(l *x509.RevocationList) { l.Number = big.NewInt(-1) }), "want a CRL number"},
		"of another CA's name":     {poclog.IntelPCKCRL, chained(other), other.list(t, nil), "want one of Intel's PCK CAs"},
		"of another CA than named": {poclog.IntelPCKCRL, chained(platform), processor.list(t, nil), `issued by "Intel SGX PCK Processor CA"`},
		"signed by another":        {poclog.IntelPCKCRL, chained(platform), (&ca{platform.cert, processor.key}).forged(t), "not signed by"},
		"of tomorrow": {poclog.IntelPCKCRL, chained(platform), platform.list(t, func(l *x509.RevocationList) {
			l.ThisUpdate, l.NextUpdate = labNow.Add(time.Second), labNow.Add(time.Hour)
		}), "valid from"},
		"of yesterday": {poclog.IntelPCKCRL, chained(platform), platform.list(t, func(l *x509.RevocationList) {
			l.ThisUpdate, l.NextUpdate = labNow.Add(-time.Hour), labNow.Add(-time.Second)
		}), "valid from"},
		"garbage":             {poclog.IntelPCKCRL, chained(platform), []byte{1}, "intel-pck-crl: "},
		"without a chain":     {poclog.IntelPCKCRL, nil, platform.list(t, nil), "chain of 0 certificates: want 2"},
		"the CA alone":        {poclog.IntelPCKCRL, platform.pem(), platform.list(t, nil), "chain of 1 certificates: want 2"},
		"a chain of garbage":  {poclog.IntelPCKCRL, []byte("x"), platform.list(t, nil), "issuer chain"},
		"the root's, chained": {poclog.IntelRootCRL, chained(platform), root.list(t, nil), "chain of 2 certificates: want 1"},
	} {
		_, err := tdx.OpenItem(&poclog.CollateralItem{Kind: c.kind, Chain: c.chain, Body: c.body}, trusted, labNow)
		if c.why != "" {
			wantWhy(t, name, err, verify.Collateral, c.why)
		} else if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := tdx.OpenRevocations(&poclog.CollateralItem{Kind: poclog.TDXTCBInfo, Body: []byte{1}}, trusted, labNow)
	wantWhy(t, "no CRL, without a chain", err, verify.Collateral, "empty")
}

// forged is a list in a CA's name by another key.
func (c *ca) forged(t *testing.T) []byte {
	t.Helper()
	template := *c.cert
	template.PublicKey = c.key.Public()
	return (&ca{&template, c.key}).list(t, nil)
}

// reframed is a lab quote of version 4 with other authentication data and another text of its
// chain.
func reframed(quote []byte, auth func([]byte) []byte, chain func([]byte) []byte) []byte {
	const sizeAt = 48 + 584
	u16, u32 := binary.LittleEndian.AppendUint16, binary.LittleEndian.AppendUint32
	certified := quote[sizeAt+4+64+64+6:]
	report, rest := certified[:384+64], certified[384+64:]
	n := int(binary.LittleEndian.Uint16(rest))
	data, text := rest[2:2+n], rest[2+n+6:]
	if auth != nil {
		data = auth(data)
	}
	if chain != nil {
		text = chain(text)
	}
	inner := append(u16(bytes.Clone(report), uint16(len(data))), data...)
	inner = append(u32(u16(inner, 5), uint32(len(text))), text...)
	out := append(bytes.Clone(quote[sizeAt+4:][:128]), u32(u16(nil, 6), uint32(len(inner)))...)
	out = append(out, inner...)
	return append(u32(bytes.Clone(quote[:sizeAt]), uint32(len(out))), out...)
}

func TestFramesOfQuotes(t *testing.T) {
	m := chip.NewMaker("frames", labStart)
	quote := m.NewPlatform("host", nil).Quote(chip.TD{})
	if !bytes.Equal(reframed(quote, nil, nil), quote) {
		t.Fatal("the test takes quotes apart wrongly")
	}
	trimmed := func(b []byte) []byte { b = bytes.TrimRight(b, "\n\x00"); return b[:len(b):len(b)] }
	for name, c := range map[string]struct {
		quote []byte
		why   string
	}{
		"as it is":                        {quote, ""},
		"without authentication data":     {reframed(quote, func([]byte) []byte { return nil }, nil), ""},
		"with a NUL after the chain":      {reframed(quote, nil, func(b []byte) []byte { return append(trimmed(b), '\n', 0) }), ""},
		"with a NUL and no line feed":     {reframed(quote, nil, func(b []byte) []byte { return append(trimmed(b), 0) }), ""},
		"with nothing after the chain":    {reframed(quote, nil, trimmed), ""},
		"with two NULs":                   {reframed(quote, nil, func(b []byte) []byte { return append(trimmed(b), 0, 0) }), "PCK chain"},
		"without a chain":                 {reframed(quote, nil, func([]byte) []byte { return nil }), "chain of 0 certificates"},
		"with a NUL for a chain":          {reframed(quote, nil, func([]byte) []byte { return []byte{0} }), "chain of 0 certificates"},
		"without the root":                {reframed(quote, nil, func(b []byte) []byte { return b[:bytes.LastIndex(b, []byte("-----BEGIN"))] }), "chain of 2 certificates"},
		"with the root twice":             {reframed(quote, nil, func(b []byte) []byte { return append(append(trimmed(b), '\n'), m.RootPEM()...) }), "chain of 4 certificates"},
		"its root for a PCK certificate":  {reframed(quote, nil, func([]byte) []byte { return bytes.Repeat(m.RootPEM(), 3) }), "PCK certificate: no SGX extension"},
		"with a chain of over 16 KiB":     {reframed(quote, nil, func(b []byte) []byte { return append(bytes.Clone(b), bytes.Repeat([]byte("\n"), 1<<14)...) }), "PCK chain size"},
		"cut in its header":               {quote[:47], "header of 48 bytes at 0: 47 are left"},
		"cut in its body":                 {quote[:48+583], "body of 584 bytes at 48: 583 are left"},
		"cut before its size":             {quote[:48+584+3], "signature data size of 4 bytes"},
		"cut in its signature":            {quote[:48+584+4+63], "signature of 64 bytes"},
		"of version 3":                    {with16(quote, 0, 3), "version 3: want 4 or 5"},
		"of another key type":             {with16(quote, 2, 3), "attestation key type (ECDSA P-256) 0x3"},
		"of another TEE":                  {with16(quote, 4, 0), "TEE type (TDX) 0x0"},
		"of another key type and vendor":  {with16(with16(quote, 2, 3), 12, 7), "attestation key type (ECDSA P-256) 0x3"},
		"of another vendor":               {with16(quote, 12, 7), "quoting enclave of vendor 0700"},
		"of another certification":        {with16(quote, 48+584+4+128, 5), "certification data type (QE report) 0x5"},
		"of another inner certification":  {with16(quote, len(quote)-len(chainText(quote))-6, 6), "inner certification data type (PCK chain) 0x6"},
		"of another key type and cut off": {with16(quote, 2, 3)[:700], "attestation key type"},
	} {
		_, err := tdx.ParseQuote(c.quote)
		if c.why != "" {
			wantWhy(t, name, err, verify.Format, c.why)
		} else if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, n := range []int{1 << 16, 1<<16 + 1} {
		_, err := tdx.TrimQuote(append(bytes.Clone(quote), make([]byte, n-len(quote))...))
		if (err == nil) != (n == 1<<16) {
			t.Errorf("padded to %d bytes: %v", n, err)
		}
	}
	v5 := m.NewPlatform("host", nil).Quote(chip.TD{Version: 5})
	_, err := tdx.ParseQuote(with16(v5, 48, 4))
	wantWhy(t, "a body of another type", err, verify.Format, "body type 4: want 2 (TDX 1.0) or 3 (TDX 1.5)")
	_, err = tdx.ParseQuote(with16(with16(v5, 48, 4), 2, 3))
	wantWhy(t, "a body of another type, and another key type", err, verify.Format, "attestation key type")
	_, err = tdx.ParseQuote(with16(v5, 48, 3))
	wantWhy(t, "a body of TDX 1.5 with the size of 1.0", err, verify.Format, "body size of TDX 1.5")
	if _, err := tdx.ParseQuote(m.NewPlatform("host", nil).Quote(chip.TD{Version: 5, BodyType: 3})); err != nil {
		t.Error(err)
	}
}

func with16(b []byte, at int, v uint16) []byte {
	b = bytes.Clone(b)
	binary.LittleEndian.PutUint16(b[at:], v)
	return b
}

// A TDREPORT is the quote's if every part that the quote shows agrees, and its hashes are its own.
func TestReportBehindAQuote(t *testing.T) {
	m := chip.NewMaker("reports", labStart)
	td := chip.TD{MRTD: [48]byte{1}, ReportData: [64]byte{2}, RTMRs: [4][48]byte{{3}, {4}, {5}, {6}}}
	q, err := tdx.ParseQuote(m.NewPlatform("host", nil).Quote(td))
	if err != nil {
		t.Fatal(err)
	}
	good := td.Report()
	for _, ok := range [][]byte{good, append(bytes.Clone(good), 0)} {
		if err := q.CheckReport(ok); err != nil {
			t.Error(err)
		}
	}
	other := func(change func(*chip.TD)) []byte { x := td; change(&x); return x.Report() }
	flip := func(at int) []byte { b := bytes.Clone(good); b[at] ^= 1; return b }
	for name, c := range map[string]struct {
		report []byte
		why    string
	}{
		"cut":                {good[:1023], "1023 bytes: want 1024"},
		"REPORTDATA":         {other(func(x *chip.TD) { x.ReportData[63] = 1 }), "its REPORTDATA is not the quote's"},
		"the module's hash":  {flip(32), "its hashes are not those of its parts"},
		"the hash of the TD": {flip(80), "its hashes are not those of its parts"},
		"the module":         {flip(256 + 8), "its hashes"},
		"a register":         {flip(512 + 16), "its hashes"},
		"another module":     {other(func(x *chip.TD) { x.SVN = [16]byte{9} }), "its TDX module is not the quote's"},
		"another TD":         {other(func(x *chip.TD) { x.RTMRs[3][47] = 1 }), "its registers are not the quote's"},
	} {
		if err := q.CheckReport(c.report); err == nil || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: %v: want %q", name, err, c.why)
		}
	}
}
