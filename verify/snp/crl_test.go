package snp

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/amd"
	"github.com/poclog/poclog/verify"
)

// A crlMaker is a root whose key the test has, for lists that the laboratory's maker does not make.
type crlMaker struct {
	key  *rsa.PrivateKey
	root *x509.Certificate
	ca   *x509.Certificate
}

const crlURL = "https://kdsintf.amd.com/vcek/v1/Milan/crl"

func newCRLMaker(t *testing.T) *crlMaker {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	m := &crlMaker{key: key}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ARK-Milan"}, NotBefore: labStart, NotAfter: labStart.AddDate(9, 0, 0), IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, SubjectKeyId: []byte{1}, SignatureAlgorithm: x509.SHA384WithRSAPSS,
		CRLDistributionPoints: []string{crlURL},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if m.root, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	m.ca = m.root
	return m
}

func (m *crlMaker) list(t *testing.T, change func(*x509.RevocationList)) []byte {
	t.Helper()
	tmpl := &x509.RevocationList{
		Number: big.NewInt(1), ThisUpdate: labNow.AddDate(0, -1, 0), NextUpdate: labNow.AddDate(0, 1, 0), SignatureAlgorithm: x509.SHA384WithRSAPSS,
	}
	if change != nil {
		change(tmpl)
	}
	der, err := x509.CreateRevocationList(rand.Reader, tmpl, m.root, m.key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func crls(bodies ...[]byte) *poclog.Collateral {
	col := new(poclog.Collateral)
	for i, b := range bodies {
		col = col.With(poclog.CollateralItem{Kind: poclog.AMDCRL, URL: string(rune('a' + i)), Body: b})
	}
	return col
}

// distributionPoint encodes an IssuingDistributionPoint with an address and more.
func distributionPoint(t *testing.T, url string, more ...byte) []byte {
	t.Helper()
	tlv := func(tag byte, parts ...[]byte) []byte {
		b := bytes.Join(parts, nil)
		return append([]byte{tag, byte(len(b))}, b...)
	}
	return tlv(0x30, tlv(0xa0, tlv(0xa0, tlv(0x86, []byte(url)))), more)
}

func TestCRLsThatSayLessAreNoAnswer(t *testing.T) {
	m := newCRLMaker(t)
	c := &Chain{Root: m.root, CA: m.ca, Leaf: m.ca, Product: Milan}
	good := m.list(t, nil)
	idp := func(value []byte, critical bool) func(*x509.RevocationList) {
		return func(l *x509.RevocationList) {
			l.ExtraExtensions = []pkix.Extension{{Id: oidDistributionPoint, Critical: critical, Value: value}}
		}
	}
	other := newCRLMaker(t)
	forged := bytes.Clone(good)
	forged[len(forged)-1] ^= 1
	for name, col := range map[string]*poclog.Collateral{
		"none":                 crls(),
		"of another root":      crls(other.list(t, nil)),
		"forged":               crls(forged),
		"garbage":              crls([]byte{0x30, 0}),
		"one good, one forged": crls(good, forged),
		"expired":              crls(m.list(t, func(l *x509.RevocationList) { l.NextUpdate = labNow.Add(-time.Second) })),
		"of the future":        crls(m.list(t, func(l *x509.RevocationList) { l.ThisUpdate = labNow.Add(time.Second) })),
		"of another algorithm": crls(m.list(t, func(l *x509.RevocationList) { l.SignatureAlgorithm = x509.SHA256WithRSA })),
		"a critical extension": crls(m.list(t, func(l *x509.RevocationList) {
			l.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 27}, Critical: true, Value: []byte{2, 1, 1}}} // a delta
		})),
		"of another address":    crls(m.list(t, idp(distributionPoint(t, "https://kdsintf.amd.com/vlek/v1/Milan/crl"), true))),
		"of users alone":        crls(m.list(t, idp(distributionPoint(t, crlURL, 0x81, 1, 0xff), true))),
		"of some reasons alone": crls(m.list(t, idp(distributionPoint(t, crlURL, 0x83, 2, 0, 1), true))),
		"the same, unmarked":    crls(m.list(t, idp(distributionPoint(t, crlURL, 0x83, 2, 0, 1), false))),
		"a point of nothing":    crls(m.list(t, idp([]byte{0x30, 0}, true))),
	} {
		_, err := c.OpenRevocations(col, labNow)
		wantCheck(t, name, err, verify.Collateral)
	}
	for name, col := range map[string]*poclog.Collateral{
		"plain": crls(good), "two": crls(good, m.list(t, nil)), "with its address": crls(m.list(t, idp(distributionPoint(t, crlURL), true))),
	} {
		r, err := c.OpenRevocations(col, labNow)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !r.Issued.Equal(labNow.AddDate(0, -1, 0)) || !r.Until.Equal(labNow.AddDate(0, 1, 0)) {
			t.Errorf("%s: valid from %s to %s", name, r.Issued, r.Until)
		}
	}
}

func TestRevokedCertificatesAreRefused(t *testing.T) {
	m := amd.NewMaker("snp test", "Milan", labStart)
	a, b := m.NewChip("a", [8]byte{}), m.NewChip("b", [8]byte{})
	_, c := must(t, a.Report(amd.Guest{}, nil), a.Certs())
	at := labNow.AddDate(0, 0, -3)
	check := func(items ...poclog.CollateralItem) error {
		r, err := c.OpenRevocations(new(poclog.Collateral).With(items...), labNow)
		if err != nil {
			return err
		}
		return r.CheckRevocation(c)
	}
	if err := check(m.CRL(amd.CRLOptions{At: at, Chips: []*amd.Chip{b}})); err != nil {
		t.Errorf("another chip's is revoked: %v", err)
	}
	wantCheck(t, "the VCEK", check(m.CRL(amd.CRLOptions{At: at, Chips: []*amd.Chip{a}})), verify.TEERevocation)
	wantCheck(t, "the ASK", check(m.CRL(amd.CRLOptions{At: at, RevokeASK: true})), verify.TEERevocation)
	wantCheck(t, "the ASK, in the second of two", check(m.CRL(amd.CRLOptions{At: at}), m.CRL(amd.CRLOptions{At: at, RevokeASK: true, Kind: "vlek"})), verify.TEERevocation)
	from, to, err := Validity(new(poclog.Collateral).With(m.CRL(amd.CRLOptions{At: at})))
	if err != nil || !from.Equal(at) || !to.Equal(at.AddDate(1, 0, 0)) {
		t.Errorf("valid from %s to %s: %v", from, to, err)
	}
}
