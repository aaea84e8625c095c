package snp

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
)

// ItemFacts is what an authenticated CRL says of itself.
type ItemFacts struct {
	Product       Product
	Signer        Signer // whose CA stands beside it: for keys of which kind AMD has this address
	Issued, Until time.Time
	Number        *big.Int
}

// OpenItem authenticates one of AMD's CRLs by what came beside it: the CA of one kind of keys and the root, in PEM, as the Key Distribution Service
// gives them (cert_chain). The root is one of those given, CA and list are signed by it, and the list is valid at a time. Failures are
// [verify.Collateral].
func OpenItem(it *poclog.CollateralItem, roots Roots, at time.Time) (*ItemFacts, error) {
	c, err := parseAuthorities(it.Chain)
	if err != nil {
		return nil, verify.Failf(verify.Collateral, "certificates beside a CRL of AMD's: %w", err)
	}
	if sum := sha256.Sum256(c.Root.Raw); !roots[sum] {
		return nil, verify.Failf(verify.Collateral, "root certificate %q with digest %x is not one that the policy lists", c.Root.Subject.CommonName, sum)
	}
	for _, cert := range []*x509.Certificate{c.Root, c.CA} {
		if err := checkIssued(cert, c.Root, at); err != nil {
			return nil, verify.Failf(verify.Collateral, "certificate of %q: %w", cert.Subject.CommonName, err)
		}
	}
	crl, err := c.openCRL(it.Body, at)
	if err != nil {
		return nil, verify.Failf(verify.Collateral, "CRL for %s: %w", c.Product, err)
	}
	f := &ItemFacts{Product: c.Product, Signer: c.Signer, Issued: crl.ThisUpdate, Until: crl.NextUpdate, Number: new(big.Int)}
	if crl.Number != nil {
		f.Number = crl.Number
	}
	return f, nil
}

// parseAuthorities reads a CA and its root from PEM.
func parseAuthorities(chain []byte) (*Chain, error) {
	if len(chain) > maxChain {
		return nil, fmt.Errorf("%d bytes: want at most %d", len(chain), maxChain)
	}
	c := new(Chain)
	rest := chain
	for _, dst := range []**x509.Certificate{&c.CA, &c.Root} {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return nil, errors.New("want the CA's and the root's in PEM")
		}
		var err error
		if *dst, err = x509.ParseCertificate(block.Bytes); err != nil {
			return nil, err
		}
	}
	if len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("want the CA's and the root's in PEM, and no more")
	}
	return c, c.parseAuthorityNames()
}
