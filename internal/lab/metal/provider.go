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
	"github.com/poclog/poclog/internal/lab/chip"
	"github.com/poclog/poclog/verify/tpm"
)

// Years for which certificates are valid.
const validYears = 30

// A CA is a root with one CA below it.
type CA struct {
	seed     string
	from     time.Time
	root, ca issued
}

// issued is a certificate with its key.
type issued struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// NewCA makes the CA of a name. Its certificates are valid from a time on.
func NewCA(seed, name string, from time.Time) *CA {
	c := &CA{seed: seed + "\n" + name, from: from.UTC().Truncate(time.Second)}
	c.root = c.authority(name+" Root", issued{})
	c.ca = c.authority(name+" CA", c.root)
	return c
}

// Root returns the root certificate's DER.
func (c *CA) Root() []byte { return c.root.cert.Raw }

func (c *CA) authority(name string, parent issued) issued {
	key := chip.NewKey(c.seed, name)
	t := &x509.Certificate{
		Subject: pkix.Name{CommonName: name, Organization: []string{"poclog laboratory"}}, IsCA: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	if parent.cert == nil {
		parent = issued{t, key}
	}
	return issued{c.sign(t, name, key.Public(), parent), key}
}

// sign fills in a template and has the parent sign it.
func (c *CA) sign(t *x509.Certificate, label string, key crypto.PublicKey, parent issued) *x509.Certificate {
	serial := sha256.Sum256([]byte("poclog lab serial\n" + c.seed + "\n" + label))
	t.SerialNumber, t.SubjectKeyId = new(big.Int).SetBytes(serial[:16]), serial[:20]
	t.BasicConstraintsValid = true
	t.NotBefore, t.NotAfter = c.from, c.from.AddDate(validYears, 0, 0)
	der, err := x509.CreateCertificate(nil, t, parent.cert, key, parent.key)
	if err != nil {
		panic(err) // the template is ours
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err) // just made
	}
	return cert
}

// leaf signs an end entity's certificate and returns its chain, DER, concatenated.
func (c *CA) leaf(t *x509.Certificate, key crypto.PublicKey) []byte {
	id, err := poclog.KeyIdentity("key", key)
	if err != nil {
		panic(err) // keys of the laboratory are RSA or ECC
	}
	cert := c.sign(t, string(id)+fmt.Sprint(t.URIs), key, c.ca)
	return append(append(append([]byte(nil), cert.Raw...), c.ca.cert.Raw...), c.root.cert.Raw...)
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
	der, err := asn1.Marshal(name)
	if err != nil {
		panic(err) // the attributes are ours
	}
	san, err := asn1.Marshal([]asn1.RawValue{{Class: asn1.ClassContextSpecific, Tag: 4, IsCompound: true, Bytes: der}})
	if err != nil {
		panic(err) // just made
	}
	return san
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
		u, err := url.Parse(s)
		if err != nil {
			panic(err) // the names are ours
		}
		t.URIs = append(t.URIs, u)
	}
	return c.leaf(t, ak)
}

// EKDigest is how AK certificates name an EK.
func EKDigest(ek crypto.PublicKey) poclog.Digest {
	der, err := x509.MarshalPKIXPublicKey(ek)
	if err != nil {
		panic(err) // keys of the laboratory are RSA or ECC
	}
	return sha256.Sum256(der)
}
