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
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/chip"
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
	akRoot, akCA issued
	launch       launchSigner
}

// issued is a certificate with its key.
type issued struct {
	cert *x509.Certificate
	key  crypto.Signer
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
	c.akRoot = c.issue("EK/AK CA Root", issued{}, true)
	c.akCA = c.issue("EK/AK CA Intermediate", c.akRoot, true)
	c.launch = launchSigner{root: c.issue("GCE-cc-tcb-root", issued{}, true), seed: seed, from: from}
	return c
}

// Advance moves the cloud's clock.
func (c *Cloud) Advance(d time.Duration) { c.Now = c.Now.Add(d) }

// Roots returns the roots that a policy of the realm lab must list to accept this cloud, in a
// policy's order.
func (c *Cloud) Roots() []poclog.Root {
	return []poclog.Root{
		{Use: poclog.RootGCEAK, SHA256: poclog.Sum(c.akRoot.cert.Raw), Name: "Laboratory EK/AK CA Root"},
		{Use: poclog.RootGCELaunch, SHA256: poclog.Sum(c.launch.root.cert.Raw), Name: "Laboratory GCE-cc-tcb-root"},
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
func (c *Cloud) Collateral(o chip.CollateralOptions) (*poclog.Collateral, error) {
	if o.At.IsZero() {
		o.At = c.Now
	}
	e, err := c.Endorse(c.Firmware)
	if err != nil {
		return nil, err
	}
	return c.Maker.Collateral(o).With(*e), nil
}

// derive makes n bytes from the cloud's seed.
func derive(n int, parts ...string) []byte {
	var out []byte
	for i := 0; len(out) < n; i++ {
		sum := sha256.Sum256(fmt.Appendf(nil, "poclog lab cloud\n%q\n%d", parts, i))
		out = append(out, sum[:]...)
	}
	return out[:n]
}

// oidTCGKeyUsage is the extended key usage of Google's EK/AK CAs.
var oidTCGKeyUsage = asn1.ObjectIdentifier{2, 23, 133, 8, 1}

// issue makes a CA with a key of its own. A zero parent makes it self-signed.
func (c *Cloud) issue(name string, parent issued, isCA bool) issued {
	key := chip.NewKey(c.Seed, "provider\n"+name)
	t := &x509.Certificate{
		Subject:  pkix.Name{CommonName: name, Organization: []string{"poclog laboratory"}},
		NotAfter: c.from.AddDate(validYears, 0, 0), IsCA: isCA, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	if name != "GCE-cc-tcb-root" {
		t.UnknownExtKeyUsage = []asn1.ObjectIdentifier{oidTCGKeyUsage}
	}
	if parent.cert == nil {
		parent = issued{t, key}
	}
	return issued{certify(c.Seed, t, key.Public(), parent), key}
}

// certify fills in a template and has the parent sign it. A self-signed one is its own parent.
func certify(seed string, t *x509.Certificate, key crypto.PublicKey, parent issued) *x509.Certificate {
	label := t.Subject.String()
	t.SerialNumber = new(big.Int).SetBytes(derive(16, seed, label, "serial"))
	t.SubjectKeyId = derive(20, seed, label, "ski")
	t.BasicConstraintsValid = true
	if t.NotBefore.IsZero() {
		t.NotBefore = t.NotAfter.AddDate(-validYears, 0, 0)
	}
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

func pemOf(cert *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
}
