package snp

import (
	"crypto/x509"
	"fmt"
	"math/big"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/chain"
)

// ItemFacts is what an authenticated CRL says of itself.
type ItemFacts struct {
	verify.Span
	Product Product
	Signer  Signer // whose CA stands beside it: for keys of which kind AMD has this address
	Number  *big.Int
}

// OpenItem authenticates one of AMD's CRLs by what came beside it: the CA of one kind of keys and
// the root, in PEM, as the Key Distribution Service gives them (cert_chain). The root is one of
// those given, CA and list are signed by it, and the list is valid at a time. Failures are
// [verify.Collateral].
func OpenItem(it *poclog.CollateralItem, roots Roots, at time.Time) (*ItemFacts, error) {
	c, err := parseAuthorities(it.Chain)
	if err != nil {
		return nil, verify.Failf(verify.Collateral, "certificates beside a CRL of AMD's: %w", err)
	}
	if err := chain.CheckAuthorities([]*x509.Certificate{c.CA, c.Root}, roots, at, ofAMD); err != nil {
		return nil, verify.Failf(verify.Collateral, "certificates beside a CRL of AMD's: %w", err)
	}
	crl, err := c.openCRL(it.Body, at)
	if err != nil {
		return nil, verify.Failf(verify.Collateral, "CRL for %s: %w", c.Product, err)
	}
	f := &ItemFacts{Span: verify.Span{Issued: crl.ThisUpdate, Until: crl.NextUpdate}, Product: c.Product, Signer: c.Signer, Number: new(big.Int)}
	if crl.Number != nil {
		f.Number = crl.Number
	}
	return f, nil
}

// parseAuthorities reads a CA and its root from PEM.
func parseAuthorities(text []byte) (*Chain, error) {
	certs, err := chain.ParsePEM(text)
	if err != nil {
		return nil, err
	}
	if len(certs) != 2 {
		return nil, fmt.Errorf("%d: want the CA's and the root's", len(certs))
	}
	c := &Chain{CA: certs[0], Root: certs[1]}
	return c, c.parseAuthorityNames()
}
