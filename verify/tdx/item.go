package tdx

import (
	"crypto/x509"
	"fmt"
	"math/big"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/chain"
)

// Facts is what one authenticated answer of Intel's says of itself.
type Facts struct {
	verify.Span
	Issuer string // the signer's common name
	// Number is the tcbEvaluationDataNumber of TCB info and QE identity, and the CRL number of a
	// CRL: it never falls.
	Number *big.Int
	FMSPC  []byte // TCB info: 6 bytes
	CA     string // PCK CRL: "platform" or "processor"
}

// OpenItem authenticates one answer without a quote, at a time: TCB info and QE identity by their
// chain, the PCK CRL by a chain of CA and root, the root CRL by a chain that is the root. The root
// is one of those given. Failures are [verify.Collateral].
func OpenItem(it *poclog.CollateralItem, roots Roots, at time.Time) (*Facts, error) {
	c := new(Collateral)
	var f *Facts
	var err error
	switch it.Kind {
	case poclog.TDXTCBInfo:
		if err = c.openTCBInfo(it, roots, at); err == nil {
			f = &Facts{Issuer: nameTCBSigning, Number: new(big.Int).SetUint64(uint64(c.tcbInfo.Evaluation)), FMSPC: c.tcbInfo.FMSPC}
		}
	case poclog.TDXQEIdentity:
		if err = c.openQEIdentity(it, roots, at); err == nil {
			f = &Facts{Issuer: nameTCBSigning, Number: new(big.Int).SetUint64(uint64(c.qeIdentity.Evaluation))}
		}
	case poclog.IntelPCKCRL, poclog.IntelRootCRL:
		f, _, _, err = c.openChainedCRL(it, roots, at)
	default:
		err = fmt.Errorf("%s: not one of Intel's", it.Kind)
	}
	if err != nil {
		return nil, verify.Failf(verify.Collateral, "%w", err)
	}
	f.Span = c.Span
	return f, nil
}

// openChainedCRL opens a CRL by the chain beside it.
func (c *Collateral) openChainedCRL(it *poclog.CollateralItem, roots Roots, at time.Time) (*Facts, *x509.Certificate, *x509.RevocationList, error) {
	issuer, err := crlIssuer(it, roots, at)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("%s: %w", it.Kind, err)
	}
	f := &Facts{Issuer: issuer.Subject.CommonName}
	if it.Kind == poclog.IntelPCKCRL {
		if f.CA, err = CAOf(issuer); err != nil {
			return nil, nil, nil, fmt.Errorf("%s: %w", it.Kind, err)
		}
	}
	crl, err := c.openCRL(it, string(it.Kind), issuer, at)
	if err != nil {
		return nil, nil, nil, err
	}
	if f.Number = crl.Number; f.Number == nil || f.Number.Sign() < 0 {
		return nil, nil, nil, fmt.Errorf("%s: want a CRL number", it.Kind)
	}
	return f, issuer, crl, nil
}

// crlChains are the lengths of the chains beside CRLs: CA and root, or the root.
var crlChains = map[poclog.CollateralKind]int{poclog.IntelPCKCRL: 2, poclog.IntelRootCRL: 1}

// crlIssuer verifies the chain beside a CRL, and returns the CA that the list must be of.
func crlIssuer(it *poclog.CollateralItem, roots Roots, at time.Time) (*x509.Certificate, error) {
	certs, err := chain.ParsePEM(it.Chain)
	if err != nil {
		return nil, fmt.Errorf("issuer chain: %w", err)
	}
	if want := crlChains[it.Kind]; len(certs) != want {
		return nil, fmt.Errorf("issuer chain of %d certificates: want %d, of one of Intel's CRLs", len(certs), want)
	}
	if err := chain.CheckAuthorities(certs, roots, at, ofIntel); err != nil {
		return nil, fmt.Errorf("issuer chain: %w", err)
	}
	return certs[0], nil
}

// CAOf returns which of Intel's PCK CAs a certificate names: "platform" or "processor", as the PCS
// API calls them.
func CAOf(cert *x509.Certificate) (string, error) {
	switch name := cert.Subject.CommonName; name {
	case namePlatformCA:
		return "platform", nil
	case nameProcessorCA:
		return "processor", nil
	default:
		return "", fmt.Errorf("certificate of %.80q: want one of Intel's PCK CAs", name)
	}
}
