package importer

import (
	"encoding/hex"
	"fmt"

	"github.com/poclog/poclog"
)

// dcapCollateral is Intel's collateral as dcap-qvl and attested-tls write it: JSON bodies apart from their signatures, CRLs in hexadecimal,
// chains in PEM.
type dcapCollateral struct {
	PCKCRLIssuerChain     string `json:"pck_crl_issuer_chain"`
	RootCACRL             string `json:"root_ca_crl"`
	PCKCRL                string `json:"pck_crl"`
	TCBInfoIssuerChain    string `json:"tcb_info_issuer_chain"`
	TCBInfo               string `json:"tcb_info"`
	TCBInfoSignature      string `json:"tcb_info_signature"`
	QEIdentityIssuerChain string `json:"qe_identity_issuer_chain"`
	QEIdentity            string `json:"qe_identity"`
	QEIdentitySignature   string `json:"qe_identity_signature"`
}

// Collateral imports Intel's collateral in the form of dcap-qvl (QuoteCollateralV3 as JSON).
func Collateral(file []byte) (*poclog.Collateral, error) {
	var f dcapCollateral
	if err := decodeJSON("collateral", file, &f); err != nil {
		return nil, err
	}
	rootCRL, err := hex.DecodeString(f.RootCACRL)
	if err != nil {
		return nil, fmt.Errorf("collateral: root_ca_crl: %w", err)
	}
	pckCRL, err := hex.DecodeString(f.PCKCRL)
	if err != nil {
		return nil, fmt.Errorf("collateral: pck_crl: %w", err)
	}
	if f.TCBInfo == "" || f.QEIdentity == "" || len(rootCRL) == 0 || len(pckCRL) == 0 {
		return nil, fmt.Errorf("collateral: want tcb_info, qe_identity, pck_crl and root_ca_crl")
	}
	return new(poclog.Collateral).With(
		poclog.CollateralItem{Kind: poclog.TDXTCBInfo, Chain: []byte(f.TCBInfoIssuerChain),
			Body: fmt.Appendf(nil, `{"tcbInfo":%s,"signature":"%s"}`, f.TCBInfo, f.TCBInfoSignature)},
		poclog.CollateralItem{Kind: poclog.TDXQEIdentity, Chain: []byte(f.QEIdentityIssuerChain),
			Body: fmt.Appendf(nil, `{"enclaveIdentity":%s,"signature":"%s"}`, f.QEIdentity, f.QEIdentitySignature)},
		poclog.CollateralItem{Kind: poclog.IntelPCKCRL, Chain: []byte(f.PCKCRLIssuerChain), Body: pckCRL},
		poclog.CollateralItem{Kind: poclog.IntelRootCRL, Body: rootCRL},
	), nil
}
