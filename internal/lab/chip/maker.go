package chip

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"time"

	"github.com/poclog/poclog/internal/lab/cert"
	"github.com/poclog/poclog/internal/must"
)

// A Maker is a chip maker: a root, a platform CA and a signer of TCB info.
type Maker struct {
	seed   string
	from   time.Time
	root   issued
	ca     issued
	signer issued
}

// issued is a certificate with its key.
type issued struct {
	cert.Issued
	key Key // the same, for signatures that are none of X.509's
}

// Years for which the maker's certificates are valid.
const validYears = 30

// NewMaker makes the maker of a seed. Its certificates are valid from a time, for 30 years.
func NewMaker(seed string, from time.Time) *Maker {
	m := &Maker{seed: seed, from: from.UTC().Truncate(time.Second)}
	m.root = m.issue("Intel SGX Root CA", issued{}, true, nil)
	m.ca = m.issue("Intel SGX PCK Platform CA", m.root, true, nil)
	m.signer = m.issue("Intel SGX TCB Signing", m.root, false, nil)
	return m
}

// Root returns the root certificate's DER.
func (m *Maker) Root() []byte { return m.root.Cert.Raw }

// RootPEM returns the root certificate in PEM.
func (m *Maker) RootPEM() []byte { return cert.PEM(m.root.Cert) }

// issue makes a certificate in the form of Intel's. A zero parent makes it self-signed.
func (m *Maker) issue(name string, parent issued, isCA bool, extra []pkix.Extension) issued {
	label := name
	for _, e := range extra {
		label += "\n" + string(e.Value)
	}
	key := NewKey(m.seed, label)
	ski := octets(20, m.seed, label, "ski")
	t := &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(octets(18, m.seed, label, "serial")),
		Subject:      pkix.Name{CommonName: name, Organization: []string{"poclog laboratory"}},
		NotBefore:    m.from, NotAfter: m.from.AddDate(validYears, 0, 0),
		BasicConstraintsValid: true, IsCA: isCA, SubjectKeyId: ski, SignatureAlgorithm: x509.ECDSAWithSHA256,
		CRLDistributionPoints: []string{"https://lab.poclog.dev/" + crlName(parent)}, ExtraExtensions: extra,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageContentCommitment,
	}
	if isCA {
		t.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	}
	return issued{parent.Issue(t, key), key}
}

func crlName(parent issued) string {
	if parent.Cert == nil || parent.Cert.Subject.CommonName == "Intel SGX Root CA" {
		return "IntelSGXRootCA.der"
	}
	return "pckcrl"
}

// Extension of PCK certificates (SGX PCK Certificate Profile, §1.3.5).
var (
	oidSGX = asn1.ObjectIdentifier{1, 2, 840, 113741, 1, 13, 1}
	oidTCB = asn1.ObjectIdentifier{1, 2, 840, 113741, 1, 13, 1, 2}
)

type attribute struct {
	ID    asn1.ObjectIdentifier
	Value any
}

func under(prefix asn1.ObjectIdentifier, n int) asn1.ObjectIdentifier {
	return append(append(asn1.ObjectIdentifier(nil), prefix...), n)
}

// sgxExtension encodes what a PCK certificate says of a chip.
func sgxExtension(p *Platform) pkix.Extension {
	var tcb []attribute
	for i := range 16 {
		tcb = append(tcb, attribute{under(oidTCB, i+1), int(p.SVN[i])})
	}
	tcb = append(tcb, attribute{under(oidTCB, 17), int(p.PCESVN)}, attribute{under(oidTCB, 18), p.SVN[:]})
	configuration := []attribute{
		{under(under(oidSGX, 7), 1), true}, {under(under(oidSGX, 7), 2), true}, {under(under(oidSGX, 7), 3), true},
	}
	list := []attribute{
		{under(oidSGX, 1), p.PPID[:]}, {oidTCB, tcb}, {under(oidSGX, 3), p.PCEID[:]}, {under(oidSGX, 4), p.FMSPC[:]},
		{under(oidSGX, 5), asn1.Enumerated(1)}, {under(oidSGX, 6), p.PIID[:]}, {under(oidSGX, 7), configuration},
	}
	return pkix.Extension{Id: oidSGX, Value: must.Get(asn1.Marshal(list))}
}
