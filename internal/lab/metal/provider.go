// Package metal is a provider of the laboratory that rents whole machines: hosts with a discrete
// TPM and Intel TXT, a maker of TPMs with the CA of their endorsement keys, and the provider's CA
// of attestation keys. Its chips come from package chip, what TDs boot from package provider. Only
// the realm lab accepts its roots.
//
// Everything is a function of the seed, and every signature is deterministic. [TPM] is a TPM in Go;
// a real one (swtpm) can take its place, as what the provider and the maker certify are public keys
// and names. TestARealTPMAnswersForItsMachine in verify/profile does that, with the credential
// activation by which a provider learns that both keys are in one TPM.
package metal

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"net/url"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/cert"
	"github.com/poclog/poclog/internal/lab/chip"
	"github.com/poclog/poclog/internal/must"
	"github.com/poclog/poclog/verify/tpm"
)

// Years for which certificates are valid.
const validYears = 30

// A CA is a root with one CA below it.
type CA struct {
	seed     string
	from     time.Time
	root, ca cert.Issued
}

// NewCA makes the CA of a name. Its certificates are valid from a time on.
func NewCA(seed, name string, from time.Time) *CA {
	c := &CA{seed: seed + "\n" + name, from: from.UTC().Truncate(time.Second)}
	c.root = c.authority(name+" Root", cert.Issued{})
	c.ca = c.authority(name+" CA", c.root)
	return c
}

// Root returns the root certificate's DER.
func (c *CA) Root() []byte { return c.root.Cert.Raw }

func (c *CA) authority(name string, parent cert.Issued) cert.Issued {
	t := &x509.Certificate{
		Subject: pkix.Name{CommonName: name, Organization: []string{"poclog laboratory"}}, IsCA: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	return parent.Issue(c.complete(t, name), chip.NewKey(c.seed, name))
}

// complete fills in a template.
func (c *CA) complete(t *x509.Certificate, label string) *x509.Certificate {
	serial := sha256.Sum256([]byte("poclog lab serial\n" + c.seed + "\n" + label))
	t.SerialNumber, t.SubjectKeyId = new(big.Int).SetBytes(serial[:16]), serial[:20]
	t.BasicConstraintsValid = true
	t.NotBefore, t.NotAfter = c.from, c.from.AddDate(validYears, 0, 0)
	return t
}

// leaf signs an end entity's certificate and returns its chain, DER, concatenated.
func (c *CA) leaf(t *x509.Certificate, key crypto.PublicKey) []byte {
	id := must.Get(poclog.KeyIdentity("key", key))
	return cert.Chain(c.ca.Sign(c.complete(t, string(id)+fmt.Sprint(t.URIs)), key), c.ca.Cert, c.root.Cert)
}

// device is how the laboratory's EK certificates name their TPMs.
var device = tpm.Device{Manufacturer: "id:504C4F47", Model: "POCLOG-LAB", Version: "id:00010002"}

// CertifyEK issues an EK certificate in TCG's form: no subject, and the TPM's attributes in a
// critical subjectAltName. The key is RSA or ECC.
func (c *CA) CertifyEK(ek crypto.PublicKey) []byte {
	t := &x509.Certificate{KeyUsage: x509.KeyUsageKeyAgreement, UnknownExtKeyUsage: []asn1.ObjectIdentifier{tpm.OIDEKCertificate}}
	if _, ok := ek.(interface{ Size() int }); ok { // *rsa.PublicKey
		t.KeyUsage = x509.KeyUsageKeyEncipherment
	}
	t.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Critical: true, Value: deviceName(device)}}
	return c.leaf(t, ek)
}

// deviceName encodes a subjectAltName with one directory name.
func deviceName(d tpm.Device) []byte {
	name := pkix.RDNSequence{{
		{Type: tpm.OIDTPMManufacturer, Value: d.Manufacturer}, {Type: tpm.OIDTPMModel, Value: d.Model}, {Type: tpm.OIDTPMVersion, Value: d.Version},
	}}
	der := must.Get(asn1.Marshal(name))
	return must.Get(asn1.Marshal([]asn1.RawValue{{Class: asn1.ClassContextSpecific, Tag: 4, IsCompound: true, Bytes: der}}))
}

// CertifyAK issues an AK certificate that names the EK of the same TPM, the machine's place and, if
// it is set, its chip. A provider does that once credential activation has shown that both keys are
// in one TPM.
func (c *CA) CertifyAK(ak crypto.PublicKey, p tpm.Platform) []byte {
	t := &x509.Certificate{
		Subject: pkix.Name{CommonName: "AK of a machine in " + p.Zone}, KeyUsage: x509.KeyUsageDigitalSignature,
		UnknownExtKeyUsage: []asn1.ObjectIdentifier{tpm.OIDAKCertificate},
	}
	for _, s := range p.URIs() {
		u := must.Get(url.Parse(s))
		t.URIs = append(t.URIs, u)
	}
	return c.leaf(t, ak)
}

// EKDigest is how AK certificates name an EK.
func EKDigest(ek crypto.PublicKey) poclog.Digest {
	der := must.Get(x509.MarshalPKIXPublicKey(ek))
	return sha256.Sum256(der)
}
