package snp

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/chain"
)

// Roots are the digests of the root certificates that may judge, by SHA-256 of their DER.
type Roots = chain.Roots

// A Product is a line of AMD's processors with a root of its own.
type Product string

// The products. Bergamo and Siena are certified as Genoa.
const (
	Milan Product = "Milan"
	Genoa Product = "Genoa"
	Turin Product = "Turin"
)

var products = []Product{Milan, Genoa, Turin}

// A Chain is what certifies a report's key: VCEK, ASK and ARK, or VLEK, ASVK and ARK. Parsing
// authenticates nothing.
type Chain struct {
	Leaf, CA, Root *x509.Certificate

	Signer  Signer
	Product Product
	HWID    []byte // VCEK: the chip, 64 bytes or, of Turin, 8; nil for a VLEK
	CSPID   string // VLEK: the cloud, as AMD certified it; empty for a VCEK
	TCB     TCB    // for which the key was derived

	version int // of the leaf's extensions
}

// ParseChain parses three certificates in DER, concatenated: VCEK or VLEK, ASK or ASVK, ARK. A
// malformed one is a [verify.Format] error.
func ParseChain(item []byte) (*Chain, error) {
	certs, err := chain.Parse(item)
	if err != nil {
		return nil, verify.Failf(verify.Format, "SNP certificates: %w", err)
	}
	if len(certs) != 3 {
		return nil, verify.Failf(verify.Format, "SNP certificates: %d: want VCEK or VLEK, its CA and the root", len(certs))
	}
	c := &Chain{Leaf: certs[0], CA: certs[1], Root: certs[2]}
	if err := c.parseNames(); err != nil {
		return nil, verify.Failf(verify.Format, "SNP certificates: %w", err)
	}
	if err := c.parseExtensions(); err != nil {
		return nil, verify.Failf(verify.Format, "certificate of %q: %w", c.Leaf.Subject.CommonName, err)
	}
	return c, nil
}

// parseNames reads from the common names what the certificates are for: one root certifies CAs of
// both kinds of keys, and only names keep them apart (57230, "Certificate Fields").
func (c *Chain) parseNames() error {
	if err := c.parseAuthorityNames(); err != nil {
		return err
	}
	if want := map[Signer]string{VCEK: "SEV-VCEK", VLEK: "SEV-VLEK"}[c.Signer]; c.Leaf.Subject.CommonName != want {
		return fmt.Errorf("certificate of %q under %q: want %s", c.Leaf.Subject.CommonName, c.CA.Subject.CommonName, want)
	}
	return nil
}

// parseAuthorityNames reads which product's root and which kind of keys' CA these are.
func (c *Chain) parseAuthorityNames() error {
	for _, p := range products {
		if c.Root.Subject.CommonName != "ARK-"+string(p) {
			continue
		}
		switch c.CA.Subject.CommonName {
		case "SEV-" + string(p):
			c.Product, c.Signer = p, VCEK
			return nil
		case "SEV-VLEK-" + string(p):
			c.Product, c.Signer = p, VLEK
			return nil
		}
	}
	return fmt.Errorf("certificates of %q and %q: want SEV-<product> or SEV-VLEK-<product>, and ARK-<product>, of Milan, Genoa or Turin",
		c.CA.Subject.CommonName, c.Root.Subject.CommonName)
}

// Extensions of VCEK and VLEK certificates.
var (
	oidAMD       = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 3704, 1}
	oidAuthority = asn1.ObjectIdentifier{2, 5, 29, 35}
)

// layouts give the extension 3.n that certifies each octet of a TCB_VERSION, by version of the
// extensions: 0 is Milan's and Genoa's, 1 Turin's.
var layouts = [][8]int{
	{1, 2, 4, 5, 6, 7, 3, 8}, // bootloader, TEE, four reserved, SNP, microcode
	{9, 1, 2, 3, 5, 6, 7, 8}, // FMC, bootloader, TEE, SNP, three reserved, microcode
}

// parseExtensions reads what AMD certifies of the key. Each extension stands once, and none that is
// unknown.
func (c *Chain) parseExtensions() error {
	values, err := extensions(c.Leaf)
	if err != nil {
		return err
	}
	if c.version, err = small(values, "1"); err != nil {
		return err
	}
	if c.version >= len(layouts) || (c.version == 1) != (c.Product == Turin) {
		return fmt.Errorf("extensions of version %d for %s: want 0, or 1 for Turin", c.version, c.Product)
	}
	if err := c.parseProduct(values["2"]); err != nil {
		return err
	}
	for octet, n := range layouts[c.version] {
		v, err := small(values, fmt.Sprintf("3.%d", n))
		if err != nil {
			return err
		}
		c.TCB[octet] = byte(v)
		delete(values, fmt.Sprintf("3.%d", n))
	}
	if err := c.parseOwner(values["4"], values["5"]); err != nil {
		return err
	}
	for _, known := range []string{"1", "2", "4", "5"} {
		delete(values, known)
	}
	if len(values) > 0 {
		return fmt.Errorf("extensions %s.{%s}: unknown", oidAMD, strings.Join(slices.Sorted(maps.Keys(values)), ", "))
	}
	return nil
}

// extensions returns AMD's extensions by what follows their common prefix. Of others only that
// which names the issuer's key may stand beside them.
func extensions(cert *x509.Certificate) (map[string][]byte, error) {
	values := make(map[string][]byte)
	for _, e := range cert.Extensions {
		if e.Id.Equal(oidAuthority) && !e.Critical {
			continue
		}
		if len(e.Id) <= len(oidAMD) || !e.Id[:len(oidAMD)].Equal(oidAMD) {
			return nil, fmt.Errorf("extension %s: unknown", e.Id)
		}
		name := e.Id[len(oidAMD):].String()
		if _, twice := values[name]; twice {
			return nil, fmt.Errorf("extension %s twice", e.Id)
		}
		values[name] = e.Value
	}
	return values, nil
}

// small reads an INTEGER from 0 to 255.
func small(values map[string][]byte, name string) (int, error) {
	var n int
	if rest, err := asn1.Unmarshal(values[name], &n); err != nil || len(rest) > 0 || n < 0 || n > 255 {
		return 0, fmt.Errorf("extension %s.%s: want an integer from 0 to 255", oidAMD, name)
	}
	return n, nil
}

// ia5 reads an IA5String of printable ASCII.
func ia5(der []byte) (string, error) {
	var v asn1.RawValue
	rest, err := asn1.Unmarshal(der, &v)
	if err != nil || len(rest) > 0 || v.Class != asn1.ClassUniversal || v.Tag != asn1.TagIA5String || len(v.Bytes) == 0 || len(v.Bytes) > 64 ||
		slices.ContainsFunc(v.Bytes, func(c byte) bool { return c < 0x20 || c > 0x7e }) {
		return "", errors.New("want an IA5String of 1 to 64 printable characters")
	}
	return string(v.Bytes), nil
}

// certifiedAs gives the product whose root certifies each processor.
var certifiedAs = map[string]Product{"Milan": Milan, "Genoa": Genoa, "Bergamo": Genoa, "Siena": Genoa, "Turin": Turin}

// parseProduct reads the processor's name: with its stepping for a VCEK ("Milan-B0"), without for a
// VLEK.
func (c *Chain) parseProduct(der []byte) error {
	name, err := ia5(der)
	if err != nil {
		return fmt.Errorf("extension %s.2 (product name): %w", oidAMD, err)
	}
	line, _, _ := strings.Cut(name, "-")
	if certifiedAs[line] != c.Product {
		return fmt.Errorf("product name %q under the root of %s", name, c.Product)
	}
	return nil
}

// parseOwner reads whose key it is: a VCEK's chip, a VLEK's cloud.
func (c *Chain) parseOwner(hwid, csp []byte) (err error) {
	if (hwid != nil) != (c.Signer == VCEK) || (csp != nil) != (c.Signer == VLEK) {
		return errors.New("want HWID for a VCEK, CSP_ID for a VLEK, and not both")
	}
	if c.Signer == VLEK {
		if c.CSPID, err = ia5(csp); err != nil {
			return fmt.Errorf("extension %s.5 (CSP_ID): %w", oidAMD, err)
		}
		return nil
	}
	size := len(Report{}.ChipID)
	if c.version == 1 {
		size = 8
	}
	// AMD writes the octets alone, without ASN.1's tag and length; with them they are not longer by
	// chance.
	if len(hwid) == size+2 && hwid[0] == asn1.TagOctetString && int(hwid[1]) == size {
		hwid = hwid[2:]
	}
	if len(hwid) != size {
		return fmt.Errorf("extension %s.4 (HWID) of %d bytes: want %d", oidAMD, len(hwid), size)
	}
	if verify.IsZero(hwid) {
		return fmt.Errorf("extension %s.4 (HWID): all zero is no chip", oidAMD)
	}
	c.HWID = hwid
	return nil
}

// CheckChain verifies that the key's certificate leads to one of the roots, with all certificates
// valid at a time, and that it is the certificate of this report's key ([Chain.CheckReport]).
// Failures are [verify.TEEChain].
func (c *Chain) CheckChain(r *Report, roots Roots, at time.Time) error {
	if err := chain.Check([]*x509.Certificate{c.Leaf, c.CA, c.Root}, roots, at, ofAMD); err != nil {
		return verify.Failf(verify.TEEChain, "%w", err)
	}
	if key, ok := c.Leaf.PublicKey.(*ecdsa.PublicKey); !ok || key.Curve != elliptic.P384() {
		return verify.Failf(verify.TEEChain, "certificate of %q: want a key on P-384", c.Leaf.Subject.CommonName)
	}
	return c.CheckReport(r)
}

// CheckReport holds a report to what its key's certificate says: chip, product and TCB version are
// the same. Failures are [verify.TEEChain].
func (c *Chain) CheckReport(r *Report) error {
	masked := verify.IsZero(r.ChipID[:])
	switch {
	case r.Version >= 3 && productOf(r.Family, r.Model) != c.Product:
		return verify.Failf(verify.TEEChain, "the report is of processor family %#x, model %#x: the certificate is for %s", r.Family, r.Model, c.Product)
	case r.Reported != c.TCB:
		return verify.Failf(verify.TEEChain, "the report's TCB version is %x, the certificate's %x", r.Reported, c.TCB)
	case c.HWID != nil && !masked && (!bytes.Equal(r.ChipID[:len(c.HWID)], c.HWID) || !verify.IsZero(r.ChipID[len(c.HWID):])):
		return verify.Failf(verify.TEEChain, "the report is of chip %x, the certificate of %x", r.ChipID, c.HWID)
	}
	return nil
}

// Product returns the product whose root certifies the processor that made the report, as far as
// the report says it: "" before version 3, and of processors that are unknown.
func (r *Report) Product() Product {
	if r.Version < 3 {
		return ""
	}
	return productOf(r.Family, r.Model)
}

// productOf returns the product of a processor's family and model, or "" (56860, "CPUID_FAM_ID";
// AMD's Processor Programming References).
func productOf(family, model uint8) Product {
	switch {
	case family == 0x19 && model <= 0x0f:
		return Milan
	case family == 0x19 && (model <= 0x1f || model >= 0xa0 && model <= 0xaf):
		return Genoa
	case family == 0x1a && model <= 0x1f:
		return Turin
	}
	return ""
}

// ofAMD holds every certificate of a chain to how AMD signs.
func ofAMD(c *x509.Certificate, _ int) error {
	if c.SignatureAlgorithm != x509.SHA384WithRSAPSS {
		return fmt.Errorf("signed by %s: want RSASSA-PSS with SHA-384", c.SignatureAlgorithm)
	}
	return nil
}

// ChipID returns the chip's identity: the report's CHIP_ID or, where the host masks it, what AMD
// certified of a VCEK. Of a masked chip with a VLEK nobody says which it is: false.
func (c *Chain) ChipID(r *Report) (poclog.Identity, bool) {
	id := r.ChipID
	if verify.IsZero(id[:]) {
		copy(id[:], c.HWID)
	}
	return poclog.HexIdentity(poclog.AMDChipID, id[:])
}
