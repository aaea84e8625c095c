package snp

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/chain"
)

// maxCRL is the size of the largest CRL, in bytes. AMD's are under 2 kB.
const maxCRL = 1 << 18

// Revocations is what the root says that is revoked, authenticated.
type Revocations struct {
	lists []*x509.RevocationList

	verify.Span // in which all of it is valid
}

// OpenRevocations parses and authenticates AMD's CRLs for a chain: each is signed by its root,
// issued before and valid at a time, and for CAs such as the chain's. There may be several, as AMD
// has an address for each kind of key; all count but those that another product's root issued,
// which say nothing of this chain. Failures are [verify.Collateral]. The chain must have been
// checked.
func (c *Chain) OpenRevocations(col *poclog.Collateral, at time.Time) (*Revocations, error) {
	r := new(Revocations)
	for _, it := range col.Items {
		if it.Kind != poclog.AMDCRL {
			continue
		}
		crl, err := c.openCRL(it.Body, at)
		if errors.Is(err, errOtherProduct) {
			continue
		}
		if err != nil {
			return nil, verify.Failf(verify.Collateral, "CRL for %s: %w", c.Product, err)
		}
		r.Span = r.And(crl.ThisUpdate, crl.NextUpdate)
		r.lists = append(r.lists, crl)
	}
	if r.lists == nil {
		return nil, verify.Failf(verify.Collateral, "no CRL for %s", c.Product)
	}
	return r, nil
}

// errOtherProduct says that a list is of another product's root.
var errOtherProduct = errors.New("another product's")

func (c *Chain) openCRL(der []byte, at time.Time) (*x509.RevocationList, error) {
	if len(der) > maxCRL {
		return nil, fmt.Errorf("%d bytes: want at most %d", len(der), maxCRL)
	}
	crl, err := x509.ParseRevocationList(der)
	switch {
	case err != nil:
		return nil, err
	case isRootOf(crl.Issuer.CommonName, c.Product):
		return nil, fmt.Errorf("issued by %q: %w", crl.Issuer.CommonName, errOtherProduct)
	case !bytes.Equal(crl.RawIssuer, c.Root.RawSubject):
		return nil, fmt.Errorf("issued by %q, want %q", crl.Issuer.CommonName, c.Root.Subject.CommonName)
	case crl.SignatureAlgorithm != x509.SHA384WithRSAPSS:
		return nil, fmt.Errorf("signed by %s: want RSASSA-PSS with SHA-384", crl.SignatureAlgorithm)
	}
	if err := (verify.Span{Issued: crl.ThisUpdate, Until: crl.NextUpdate}).Check(at); err != nil {
		return nil, err
	}
	if err := crl.CheckSignatureFrom(c.Root); err != nil {
		return nil, fmt.Errorf("not signed by %q: %w", c.Root.Subject.CommonName, err)
	}
	return crl, c.checkScope(crl)
}

// isRootOf reports whether a name is that of the root of a product other than one.
func isRootOf(name string, not Product) bool {
	product, ok := strings.CutPrefix(name, "ARK-")
	return ok && Product(product) != not && slices.Contains(products, Product(product))
}

var oidDistributionPoint = asn1.ObjectIdentifier{2, 5, 29, 28}

// checkScope refuses a list that says less than all about CAs such as the chain's (RFC 5280,
// §5.2.5): x509 ignores critical extensions of lists.
func (c *Chain) checkScope(crl *x509.RevocationList) error {
	for _, e := range crl.Extensions {
		if e.Id.Equal(oidDistributionPoint) {
			if err := c.checkDistributionPoint(e.Value); err != nil {
				return fmt.Errorf("issuing distribution point: %w", err)
			}
		} else if e.Critical {
			return fmt.Errorf("unknown critical extension %s", e.Id)
		}
	}
	return nil
}

// checkDistributionPoint takes an IssuingDistributionPoint that has nothing but an address, which
// the CA's certificate names too.
func (c *Chain) checkDistributionPoint(der []byte) error {
	type name struct {
		URI []asn1.RawValue `asn1:"optional,tag:0"` // fullName: GeneralNames
	}
	type point struct {
		Name name `asn1:"optional,tag:0"`
	}
	var p point
	if rest, err := asn1.Unmarshal(der, &p); err != nil || len(rest) > 0 || len(p.Name.URI) == 0 {
		return errors.New("want an address alone")
	}
	again, err := asn1.Marshal(p)
	if err != nil || !bytes.Equal(again, der) {
		return errors.New("it limits the list")
	}
	for _, uri := range p.Name.URI {
		if uri.Class == asn1.ClassContextSpecific && uri.Tag == 6 && slices.Contains(c.CA.CRLDistributionPoints, string(uri.Bytes)) {
			return nil
		}
	}
	return errors.New("the list is not the one that the CA's certificate names")
}

// CheckRevocation refuses a revoked certificate. The root's lists are of what the root issued, the
// CA; a serial number of the VCEK or VLEK in them is taken at its word, too. Failures are
// [verify.TEERevocation].
func (r *Revocations) CheckRevocation(c *Chain) error {
	for _, crl := range r.lists {
		for _, cert := range []*x509.Certificate{c.CA, c.Leaf} {
			if entry := chain.Revoked(crl, cert); entry != nil {
				return verify.Failf(verify.TEERevocation, "the certificate of %q was revoked at %s", cert.Subject.CommonName, verify.Stamp(entry.RevocationTime))
			}
		}
	}
	return nil
}

// Validity returns the time span in which all of AMD's CRLs are valid, without authenticating
// anything: what a client asks to be judged at. It is zero where there is none.
func Validity(col *poclog.Collateral) (from, to time.Time, err error) {
	var all verify.Span
	for _, it := range col.Items {
		if it.Kind != poclog.AMDCRL {
			continue
		}
		crl, err := x509.ParseRevocationList(it.Body)
		if err != nil {
			return from, to, fmt.Errorf("%s: %w", it.Kind, err)
		}
		all = all.And(crl.ThisUpdate, crl.NextUpdate)
	}
	return all.Issued, all.Until, nil
}
