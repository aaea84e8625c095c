package amd

import (
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/cert"
	"github.com/poclog/poclog/internal/lab/derive"
	"github.com/poclog/poclog/internal/must"
)

// Years for which the maker's certificates are valid: CAs', and keys' of chips and clouds.
const (
	caYears  = 25
	keyYears = 7
)

// A Maker makes the processors of one product line: a root, a CA of chips' keys and one of clouds'
// keys.
type Maker struct {
	Product string // "Milan", "Genoa" or "Turin"

	seed           string
	from           time.Time
	ark, ask, asvk cert.Issued
}

// NewMaker makes the maker of a seed and a product line. Its certificates are valid from a time.
func NewMaker(seed, product string, from time.Time) *Maker {
	m := &Maker{Product: product, seed: seed + "\n" + product, from: from.UTC().Truncate(time.Second)}
	line := map[string]int64{"Milan": 1, "Genoa": 2, "Turin": 3}[product]
	m.ark = m.ca("ARK-"+product, line<<16, cert.Issued{}, "vcek")
	m.ask = m.ca("SEV-"+product, line<<16|1, m.ark, "vcek")
	m.asvk = m.ca("SEV-VLEK-"+product, line<<16|0x101, m.ark, "vlek")
	return m
}

// Root returns the root certificate's DER.
func (m *Maker) Root() []byte { return m.ark.Cert.Raw }

// CertChain returns what AMD's Key Distribution Service answers for a kind of key, "vcek" or
// "vlek": its CA and the root, in PEM.
func (m *Maker) CertChain(kind string) []byte {
	ca := m.ask
	if kind == "vlek" {
		ca = m.asvk
	}
	return cert.PEM(ca.Cert, m.ark.Cert)
}

// name is a name in the form of AMD's certificates.
func name(common string) pkix.Name {
	return pkix.Name{
		CommonName: common, Organization: []string{"Advanced Micro Devices"}, OrganizationalUnit: []string{"Engineering"}, Country: []string{"US"},
		Locality: []string{"Santa Clara"}, Province: []string{"CA"},
	}
}

// ca makes a CA. A zero parent makes it self-signed.
func (m *Maker) ca(common string, serial int64, parent cert.Issued, kind string) cert.Issued {
	key := pssKey{derive.RSA("amd", m.seed, common)}
	t := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: name(common), NotBefore: m.from, NotAfter: m.from.AddDate(caYears, 0, 0), IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, SignatureAlgorithm: x509.SHA384WithRSAPSS, SubjectKeyId: octets(20, m.seed, common, "ski"),
		CRLDistributionPoints: []string{"https://kdsintf.amd.com/" + kind + "/v1/" + m.Product + "/crl"},
	}
	if parent.Cert == nil {
		t.KeyUsage |= x509.KeyUsageCRLSign
	} else {
		t.MaxPathLenZero = true
	}
	return parent.Issue(t, key)
}

// oid is one of AMD's extensions.
func oid(n ...int) asn1.ObjectIdentifier {
	return append(asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 3704, 1}, n...)
}

// extension encodes a value; octets that have their encoding already are taken as they are.
func extension(id asn1.ObjectIdentifier, value any) pkix.Extension {
	if raw, ok := value.([]byte); ok {
		return pkix.Extension{Id: id, Value: raw}
	}
	params := ""
	if _, ok := value.(string); ok {
		params = "ia5"
	}
	der := must.Get(asn1.MarshalWithParams(value, params))
	return pkix.Extension{Id: id, Value: der}
}

// layout gives the extension 3.n for each octet of a TCB version.
func (m *Maker) layout() [8]int {
	if m.Product == "Turin" {
		return [8]int{9, 1, 2, 3, 5, 6, 7, 8}
	}
	return [8]int{1, 2, 4, 5, 6, 7, 3, 8}
}

// keyCertificate certifies the key of a chip (hwid) or of a cloud (csp), as AMD does: without basic
// constraints, key usage and serial number.
func (m *Maker) keyCertificate(key crypto.PublicKey, tcb [8]byte, hwid []byte, csp string, serial *big.Int) *x509.Certificate {
	version, common, product, by := 0, "SEV-VCEK", m.Product+"-B1", m.ask
	if m.Product == "Turin" {
		version, hwid = 1, hwid[:min(8, len(hwid))]
	}
	if csp != "" {
		common, product, by = "SEV-VLEK", m.Product, m.asvk
	}
	list := []pkix.Extension{extension(oid(1), version), extension(oid(2), product)}
	for i, n := range m.layout() {
		list = append(list, extension(oid(3, n), int(tcb[i])))
	}
	if csp != "" {
		list = append(list, extension(oid(5), csp))
	} else {
		list = append(list, extension(oid(4), hwid))
	}
	return by.Sign(&x509.Certificate{
		SerialNumber: serial, Subject: name(common), NotBefore: m.from, NotAfter: m.from.AddDate(keyYears, 0, 0), SignatureAlgorithm: x509.SHA384WithRSAPSS,
		ExtraExtensions: list,
	}, key)
}

// CRLOptions say what the maker publishes as revoked.
type CRLOptions struct {
	At        time.Time // of issue; valid for a year
	Chips     []*Chip   // whose certificates are revoked
	RevokeASK bool
	Kind      string // "vcek" (also "") or "vlek": under which address
}

// CRL returns the maker's list, as AMD's Key Distribution Service answers.
func (m *Maker) CRL(o CRLOptions) poclog.CollateralItem {
	if o.Kind == "" {
		o.Kind = "vcek"
	}
	o.At = o.At.UTC().Truncate(time.Second)
	t := &x509.RevocationList{
		Number: big.NewInt(o.At.Unix()), ThisUpdate: o.At, NextUpdate: o.At.AddDate(1, 0, 0), SignatureAlgorithm: x509.SHA384WithRSAPSS,
	}
	revoke := func(serial *big.Int) {
		t.RevokedCertificateEntries = append(t.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: serial, RevocationTime: o.At})
	}
	for _, c := range o.Chips {
		revoke(c.cert.SerialNumber)
	}
	if o.RevokeASK {
		revoke(m.ask.Cert.SerialNumber)
	}
	der := must.Get(x509.CreateRevocationList(nil, t, m.ark.Cert, m.ark.Key))
	return poclog.CollateralItem{Kind: poclog.AMDCRL, URL: fmt.Sprintf("https://kdsintf.amd.com/%s/v1/%s/crl", o.Kind, m.Product), Body: der}
}

// Certificates returns the items of certificates, DER, one by one.
func Certificates(item []byte) (list [][]byte) {
	for len(item) > 0 {
		var v asn1.RawValue
		rest := must.Get(asn1.Unmarshal(item, &v))
		list, item = append(list, v.FullBytes), rest
	}
	return list
}

func isTurin(product string) bool { return strings.EqualFold(product, "Turin") }
