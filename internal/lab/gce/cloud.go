// Package gce is a cloud provider of the laboratory, in the form of Google Compute Engine: zones
// with hosts of one or two sockets, confidential VMs with vTPMs, the CA of their attestation keys,
// signed launch endorsements and a registry of its chips. Its chips come from package chip. Only
// the realm lab accepts its roots.
//
// Everything is a function of the seed and of what is done in order, and every signature is
// deterministic: one seed makes the same bundles. VMs boot logs of real machines (from the module
// go-eventlog) or made-up ones of the same structure.
//
// A Cloud is not safe for concurrent use, but different VMs may prove at the same time while
// nothing else changes. A [Registry] is safe. TestHonestProofs holds that the project accepts what
// the cloud makes, TestGoogleVerifierAcceptsTheEndorsement that Google's verifier does, and
// TestImagesTellOneStory that the logs replay to the registers.
package gce

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/cert"
	"github.com/poclog/poclog/internal/lab/chip"
	"github.com/poclog/poclog/internal/lab/derive"
)

// A Cloud is a provider.
type Cloud struct {
	Seed     string
	Now      time.Time // the cloud's clock; [Cloud.Advance] moves it
	Maker    *chip.Maker
	Zones    []string // named <region>-<letter>
	Images   []*Image // what VMs boot by turns; the first is the default
	Firmware *Firmware
	Registry *Registry
	Hosts    []*Host
	VMs      []*VM

	from         time.Time
	akRoot, akCA cert.Issued
	launch       launchSigner
}

// Years for which the cloud's certificates are valid.
const validYears = 30

// New makes the provider of a seed, with its chip maker and without hosts. Certificates are valid
// from a time, at which its clock starts. Its VMs boot made-up images; [Cloud.Images] can be
// replaced, as by [RealImages].
func New(seed string, from time.Time) *Cloud {
	from = from.UTC().Truncate(time.Second)
	c := &Cloud{
		Seed: seed, Now: from, from: from, Maker: chip.NewMaker(seed, from), Registry: newRegistry(),
		Zones:    []string{"lab-north1-a", "lab-north1-b", "lab-south1-a", "lab-south1-b", "lab-south1-c"},
		Firmware: NewFirmware(seed, "ovmf-1"),
	}
	for i := range 3 {
		c.Images = append(c.Images, SyntheticImage(fmt.Sprintf("synthetic-%d", i)))
	}
	c.akRoot = c.authority("EK/AK CA Root", cert.Issued{})
	c.akCA = c.authority("EK/AK CA Intermediate", c.akRoot)
	c.launch = launchSigner{root: c.authority("GCE-cc-tcb-root", cert.Issued{}), seed: seed, from: from}
	return c
}

// Advance moves the cloud's clock.
func (c *Cloud) Advance(d time.Duration) { c.Now = c.Now.Add(d) }

// Roots returns the roots that a policy of the realm lab must list to accept this cloud, in a
// policy's order.
func (c *Cloud) Roots() []poclog.Root {
	return []poclog.Root{
		{Use: poclog.RootGCEAK, SHA256: poclog.Sum(c.akRoot.Cert.Raw), Name: "Laboratory EK/AK CA Root"},
		{Use: poclog.RootGCELaunch, SHA256: poclog.Sum(c.launch.root.Cert.Raw), Name: "Laboratory GCE-cc-tcb-root"},
		{Use: poclog.RootIntelSGX, SHA256: poclog.Sum(c.Maker.Root()), Name: "Laboratory SGX Root CA"},
	}
}

// Policy returns the policy by which the realm lab judges this cloud: proofs at level 2 whose
// challenge's checkpoint satisfies a tlog-policy (its lines), was made at most ten minutes before,
// and whose chips the registry at a URL lists. An empty URL asks no registry.
func (c *Cloud) Policy(challenge []string, registry string) *poclog.Policy {
	p := &poclog.Policy{
		V: 1, Realm: poclog.Lab, MaxChallengeAge: 600, ChallengePolicy: challenge, TCB: []string{"UpToDate"}, Roots: c.Roots(),
		Admit: []poclog.Admission{{Profile: poclog.GCETDXvTPM, Level: poclog.LevelBound}},
	}
	if registry != "" {
		p.Registries = []poclog.Registry{{Provider: "gce", URL: registry}}
	}
	return p
}

// Collateral returns what chip maker and provider publish: Intel's part as chip.Collateral makes
// it, issued now if the options name no time, and the firmware's endorsement.
func (c *Cloud) Collateral(o chip.CollateralOptions) *poclog.Collateral {
	if o.At.IsZero() {
		o.At = c.Now
	}
	return c.Maker.Collateral(o).With(*c.Endorse(c.Firmware))
}

// octets derives n bytes.
func octets(n int, names ...string) []byte { return derive.Octets(n, part, names...) }

// part is the provider's, of what is derived.
const part = "cloud"

// oidTCGKeyUsage is the extended key usage of Google's EK/AK CAs.
var oidTCGKeyUsage = asn1.ObjectIdentifier{2, 23, 133, 8, 1}

// authority makes a CA with a key of its own. A zero parent makes it self-signed.
func (c *Cloud) authority(name string, parent cert.Issued) cert.Issued {
	t := &x509.Certificate{
		Subject:  pkix.Name{CommonName: name, Organization: []string{"poclog laboratory"}},
		NotAfter: c.from.AddDate(validYears, 0, 0), IsCA: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	if name != "GCE-cc-tcb-root" {
		t.UnknownExtKeyUsage = []asn1.ObjectIdentifier{oidTCGKeyUsage}
	}
	return parent.Issue(complete(c.Seed, t), chip.NewKey(c.Seed, "provider\n"+name))
}

// complete fills in a template.
func complete(seed string, t *x509.Certificate) *x509.Certificate {
	label := t.Subject.String()
	t.SerialNumber = new(big.Int).SetBytes(octets(16, seed, label, "serial"))
	t.SubjectKeyId = octets(20, seed, label, "ski")
	t.BasicConstraintsValid = true
	if t.NotBefore.IsZero() {
		t.NotBefore = t.NotAfter.AddDate(-validYears, 0, 0)
	}
	return t
}
