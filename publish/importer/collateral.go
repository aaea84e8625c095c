package importer

import (
	"cmp"
	"crypto/x509"
	"fmt"

	"github.com/poclog/poclog"
)

// Collateral imports Intel's collateral in the form of dcap-qvl (QuoteCollateralV3) in JSON or
// YAML: JSON bodies apart from their signatures, CRLs in hexadecimal, base64 or PEM, chains in PEM.
func Collateral(file []byte) (*poclog.Collateral, error) {
	m, err := parseMembers(file)
	if err != nil {
		return nil, fmt.Errorf("collateral: %w", err)
	}
	c := new(poclog.Collateral)
	for _, piece := range []func() (poclog.CollateralItem, error){
		func() (poclog.CollateralItem, error) { return m.signed(poclog.TDXTCBInfo, "tcbInfo", "tcb_info") },
		func() (poclog.CollateralItem, error) {
			return m.signed(poclog.TDXQEIdentity, "enclaveIdentity", "qe_identity")
		},
		func() (it poclog.CollateralItem, err error) {
			it.Kind = poclog.IntelPCKCRL
			if it.Chain, err = m.text("pck_crl_issuer_chain"); err == nil {
				it.Body, err = m.crl("pck_crl")
			}
			return it, err
		},
		func() (it poclog.CollateralItem, err error) {
			it.Kind = poclog.IntelRootCRL
			it.Body, err = m.crl("root_ca_crl")
			return it, err
		},
	} {
		it, err := piece()
		if err != nil {
			return nil, fmt.Errorf("collateral: %w", err)
		}
		c = c.With(it)
	}
	return c, nil
}

// signed puts a body and its signature together as Intel does.
func (m members) signed(kind poclog.CollateralKind, member, name string) (it poclog.CollateralItem, err error) {
	var body, signature string
	if it.Chain, err = m.text(name + "_issuer_chain"); err != nil {
		return it, err
	}
	if err := cmp.Or(m.decode(name, &body), m.decode(name+"_signature", &signature)); err != nil {
		return it, err
	}
	it.Kind, it.Body = kind, fmt.Appendf(nil, `{"%s":%s,"signature":"%s"}`, member, body, signature)
	return it, nil
}

func (m members) crl(name string) (der []byte, err error) {
	if err := m.octets(name, &der); err != nil {
		return nil, err
	}
	if _, err := x509.ParseRevocationList(der); err != nil {
		return nil, fmt.Errorf("%s: no CRL in DER, whether in hexadecimal, base64 or PEM: %w", name, err)
	}
	return der, nil
}

// text reads a member that is text.
func (m members) text(name string) ([]byte, error) {
	var s string
	err := m.decode(name, &s)
	return []byte(s), err
}
