// Package azure is a cloud provider of the laboratory in the form of Azure: hosts with chips of
// both makers in regions, and confidential VMs whose paravisor runs the vTPM inside the TEE, makes
// the HCL report and has its attestation key certified by the provider. Its chips come from
// packages chip and amd, what VMs boot and the TPM itself from package provider. Only the realm lab
// accepts its roots.
//
// Everything is a function of the seed and of what is done in order, and every signature is
// deterministic. TestHonestAzureFleetPasses in verify/profile holds that the project accepts what
// the cloud makes.
package azure

import (
	"crypto"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/amd"
	"github.com/poclog/poclog/internal/lab/cert"
	"github.com/poclog/poclog/internal/lab/chip"
	"github.com/poclog/poclog/internal/lab/gce"
	"github.com/poclog/poclog/verify/tpm"
)

// Products are the lines of AMD's processors.
var Products = []string{"Milan", "Genoa", "Turin"}

// A Cloud is a provider. It is not safe for concurrent use, but different VMs may prove at the same
// time while nothing else changes.
type Cloud struct {
	Seed    string
	Now     time.Time // the cloud's clock; [Cloud.Advance] moves it
	Intel   *chip.Maker
	AMD     map[string]*amd.Maker // by product
	Regions []string
	Images  []*gce.Image // what VMs boot by turns
	Hosts   []*Host
	VMs     []*VM

	Paravisor [48]byte // the launch measurement of every VM's firmware: MRTD or MEASUREMENT

	from     time.Time
	root, ca cert.Issued
}

// New makes the provider of a seed without hosts, whose chips of AMD's are of some products.
// Certificates of CAs are valid from a time, at which its clock starts.
func New(seed string, from time.Time, products ...string) *Cloud {
	from = from.UTC().Truncate(time.Second)
	c := &Cloud{
		Seed: seed, Now: from, from: from, Intel: chip.NewMaker(seed, from), AMD: make(map[string]*amd.Maker), Regions: []string{"labwest1", "labnorth2"},
		Paravisor: sha512.Sum384([]byte("poclog lab paravisor\n" + seed)),
	}
	for _, product := range products {
		c.AMD[product] = amd.NewMaker(seed, product, from)
	}
	for i := range 2 {
		c.Images = append(c.Images, gce.SyntheticImage(fmt.Sprintf("azure-%d", i)))
	}
	c.root = c.authority("Laboratory Virtual TPM Root Certificate Authority", cert.Issued{})
	c.ca = c.authority("Laboratory Cloud Virtual TPM CA", c.root)
	return c
}

func (c *Cloud) products() []string { return slices.Sorted(maps.Keys(c.AMD)) }

// Advance moves the cloud's clock.
func (c *Cloud) Advance(d time.Duration) { c.Now = c.Now.Add(d) }

// Root returns the DER of the root of attestation keys.
func (c *Cloud) Root() []byte { return c.root.Cert.Raw }

// Years for which certificates of CAs are valid; those of attestation keys are for one.
const validYears = 30

func (c *Cloud) authority(name string, parent cert.Issued) cert.Issued {
	t := &x509.Certificate{
		Subject: pkix.Name{CommonName: name, Organization: []string{"poclog laboratory"}}, IsCA: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		UnknownExtKeyUsage: []asn1.ObjectIdentifier{tpm.OIDEKCertificate, tpm.OIDAKCertificate}, NotBefore: c.from, NotAfter: c.from.AddDate(validYears, 0, 0),
	}
	return parent.Issue(c.complete(t), chip.NewKey(c.Seed, "azure\n"+name))
}

// complete fills in a template.
func (c *Cloud) complete(t *x509.Certificate) *x509.Certificate {
	label := sha256.Sum256([]byte("poclog lab azure serial\n" + c.Seed + "\n" + t.Subject.String()))
	t.SerialNumber, t.SubjectKeyId = new(big.Int).SetBytes(label[:16]), label[:20]
	t.BasicConstraintsValid = true
	return t
}

// Suffixes of the common names of attestation keys' certificates, by kind of VM.
const (
	Confidential = ".ConfidentialVM.Azure.windows.net"
	Trusted      = ".TrustedVM.Azure.windows.net" // the host runs the vTPM
)

// Certify issues an AK certificate to a VM of a region, for a kind of VM, valid for a year, and
// returns its chain, DER, concatenated. The provider alone can.
func (c *Cloud) Certify(key crypto.PublicKey, region, name string) []byte {
	from := c.Now.Truncate(24 * time.Hour)
	t := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, NotBefore: from, NotAfter: from.AddDate(1, 0, 0), KeyUsage: x509.KeyUsageDigitalSignature,
		UnknownExtKeyUsage: []asn1.ObjectIdentifier{tpm.OIDAKCertificate},
		IssuingCertificateURL: []string{
			"http://primary-cdn.pki.lab.test/" + region + "/cacerts/azurevtpmicapki/cert.cer", "http://azurevtpmicapki." + region + ".pki.lab.test/certificateAuthorities/ca",
		},
	}
	return cert.Chain(c.ca.Sign(c.complete(t), key), c.ca.Cert, c.root.Cert)
}

// A Host is a machine with one chip, of either maker.
type Host struct {
	Name, Region string
	TDX          *chip.Platform // of Intel's, or nil
	SNP          *amd.Chip      // of AMD's, or nil

	cloud *Cloud
}

// NewHost puts a machine into a region: with a chip of Intel's, or with one of AMD's product.
func (c *Cloud) NewHost(region, product string) *Host {
	h := &Host{Name: fmt.Sprintf("azure-host-%d", len(c.Hosts)), Region: region, cloud: c}
	if product == "" {
		h.TDX = c.Intel.NewPlatform(h.Name, nil)
	} else {
		h.SNP = c.AMD[product].NewChip(h.Name, [8]byte{})
	}
	c.Hosts = append(c.Hosts, h)
	return h
}

// Collateral returns what both chip makers publish: Intel's as chip.Collateral makes it, and AMD's
// lists of all products and kinds of keys.
func (c *Cloud) Collateral(o chip.CollateralOptions) *poclog.Collateral {
	if o.At.IsZero() {
		o.At = c.Now
	}
	return c.Intel.Collateral(o).With(c.CRLs(amd.CRLOptions{At: o.At})...)
}

// CRLs returns AMD's lists of the cloud's products and all kinds of keys.
func (c *Cloud) CRLs(o amd.CRLOptions) (list []poclog.CollateralItem) {
	for _, product := range c.products() {
		for _, kind := range []string{"vcek", "vlek"} {
			o.Kind = kind
			list = append(list, c.AMD[product].CRL(o))
		}
	}
	return list
}

// Policy returns the policy by which the realm lab judges this cloud's VMs: proofs at level 2 whose
// challenge satisfies a tlog-policy (its lines), with the paravisor's measurement, on chips whose
// firmware is not older than the makers' default.
func (c *Cloud) Policy(challenge []string) *poclog.Policy {
	measurement := hex.EncodeToString(c.Paravisor[:])
	p := &poclog.Policy{
		V: 1, Realm: poclog.Lab, MaxChallengeAge: 600, ChallengePolicy: challenge, TCB: []string{"UpToDate"}, Roots: c.Roots(),
	}
	for _, product := range c.products() {
		least := poclog.SNPTCB{Product: product, Bootloader: 4, SNP: 24, Microcode: 219}
		if product == "Turin" {
			least.FMC = 1
		}
		p.SNPTCB = append(p.SNPTCB, least)
	}
	for _, profile := range []poclog.Profile{poclog.AzureSNPvTPM, poclog.AzureTDXvTPM} {
		p.Admit = append(p.Admit, poclog.Admission{Profile: profile, Level: poclog.LevelBound})
		p.Launch = append(p.Launch, poclog.Launch{Profile: profile, Measurement: measurement, Name: "laboratory paravisor"})
	}
	return p
}
