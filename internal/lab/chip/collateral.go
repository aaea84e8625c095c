package chip

import (
	"cmp"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/cert"
	"github.com/poclog/poclog/internal/must"
)

// CollateralOptions say what the maker publishes at a time.
type CollateralOptions struct {
	At         time.Time // of issue; valid for 30 days
	FMSPC      [6]byte   // zero is DefaultFMSPC
	Status     string    // of platforms; "" is UpToDate
	Module, QE string    // statuses of TDX module and quoting enclave; "" is UpToDate
	Advisories []string
	Evaluation uint32 // 0 is 17
	Revoked    []*Platform
	RevokeCA   bool
}

const collateralDays = 30

// Collateral returns TCB info, QE identity and both CRLs, as Intel's PCS answers (API version 4).
func (m *Maker) Collateral(o CollateralOptions) *poclog.Collateral {
	if o.FMSPC == [6]byte{} {
		o.FMSPC = DefaultFMSPC
	}
	if o.Status == "" {
		o.Status = "UpToDate"
	}
	if o.Evaluation == 0 {
		o.Evaluation = 17
	}
	o.At = o.At.UTC().Truncate(time.Second)
	chain := cert.PEM(m.signer.Cert, m.root.Cert)
	var pckRevoked, rootRevoked []*big.Int
	for _, p := range o.Revoked {
		pckRevoked = append(pckRevoked, p.pck.Cert.SerialNumber)
	}
	if o.RevokeCA {
		rootRevoked = append(rootRevoked, m.ca.Cert.SerialNumber)
	}
	return new(poclog.Collateral).With(
		poclog.CollateralItem{Kind: poclog.TDXTCBInfo, Chain: chain, Body: m.sign("tcbInfo", m.tcbInfo(&o))},
		poclog.CollateralItem{Kind: poclog.TDXQEIdentity, Chain: chain, Body: m.sign("enclaveIdentity", m.qeIdentity(&o))},
		poclog.CollateralItem{Kind: poclog.IntelPCKCRL, Chain: cert.PEM(m.ca.Cert, m.root.Cert), Body: m.crl(m.ca, o.At, pckRevoked)},
		poclog.CollateralItem{Kind: poclog.IntelRootCRL, Body: m.crl(m.root, o.At, rootRevoked)},
	)
}

// Resign is TCB info or QE identity with another text, which the maker signed.
func (m *Maker) Resign(it poclog.CollateralItem, change func(inner string) string) poclog.CollateralItem {
	rest := string(it.Body[len(`{"`):])
	member, inner, _ := strings.Cut(rest, `":`)
	inner, _, _ = strings.Cut(inner, `,"signature":"`)
	it.Body = m.sign(member, []byte(change(inner)))
	return it
}

func (m *Maker) sign(member string, inner []byte) []byte {
	return fmt.Appendf(nil, `{"%s":%s,"signature":"%x"}`, member, inner, m.signer.key.raw(inner))
}

func (m *Maker) crl(by issued, at time.Time, serials []*big.Int) []byte {
	t := &x509.RevocationList{
		Number: big.NewInt(at.Unix()), ThisUpdate: at, NextUpdate: at.AddDate(0, 0, collateralDays), SignatureAlgorithm: x509.ECDSAWithSHA256,
	}
	for _, s := range serials {
		t.RevokedCertificateEntries = append(t.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: s, RevocationTime: at})
	}
	return must.Get(x509.CreateRevocationList(nil, t, by.Cert, by.Key))
}

type svn struct {
	SVN int `json:"svn"`
}

func components(values ...int) []svn {
	out := make([]svn, 16)
	for i, v := range values {
		out[i].SVN = v
	}
	return out
}

func (m *Maker) tcbInfo(o *CollateralOptions) []byte {
	date := o.At.AddDate(-1, 0, 0).Format(time.RFC3339)
	level := map[string]any{
		"tcb":     map[string]any{"sgxtcbcomponents": components(3, 3), "pcesvn": 11, "tdxtcbcomponents": components(0, 0, 6)},
		"tcbDate": date, "tcbStatus": o.Status,
	}
	if len(o.Advisories) > 0 {
		level["advisoryIDs"] = o.Advisories
	}
	zero48 := strings.Repeat("0", 96)
	module := map[string]any{"mrsigner": zero48, "attributes": "0000000000000000", "attributesMask": "FFFFFFFFFFFFFFFF"}
	identity := map[string]any{
		"id": "TDX_01", "mrsigner": zero48, "attributes": "0000000000000000", "attributesMask": "FFFFFFFFFFFFFFFF",
		"tcbLevels": []any{map[string]any{"tcb": map[string]any{"isvsvn": 4}, "tcbDate": date, "tcbStatus": cmp.Or(o.Module, "UpToDate")}},
	}
	return must.Get(json.Marshal(map[string]any{
		"id": "TDX", "version": 3, "issueDate": o.At.Format(time.RFC3339), "nextUpdate": o.At.AddDate(0, 0, collateralDays).Format(time.RFC3339),
		"fmspc": strings.ToUpper(hex.EncodeToString(o.FMSPC[:])), "pceId": "0000", "tcbType": 0, "tcbEvaluationDataNumber": o.Evaluation,
		"tdxModule": module, "tdxModuleIdentities": []any{identity}, "tcbLevels": []any{level},
	}))
}

func (m *Maker) qeIdentity(o *CollateralOptions) []byte {
	return must.Get(json.Marshal(map[string]any{
		"id": "TD_QE", "version": 2, "issueDate": o.At.Format(time.RFC3339), "nextUpdate": o.At.AddDate(0, 0, collateralDays).Format(time.RFC3339),
		"tcbEvaluationDataNumber": o.Evaluation, "miscselect": "00000000", "miscselectMask": "FFFFFFFF",
		"attributes": hex.EncodeToString(qeAttributes), "attributesMask": strings.Repeat("F", 32), "mrsigner": hex.EncodeToString(qeMRSigner), "isvprodid": qeProdID,
		"tcbLevels": []any{map[string]any{"tcb": map[string]any{"isvsvn": 4}, "tcbDate": o.At.AddDate(-1, 0, 0).Format(time.RFC3339), "tcbStatus": cmp.Or(o.QE, "UpToDate")}},
	}))
}
