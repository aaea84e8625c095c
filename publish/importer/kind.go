package importer

import (
	"bytes"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"

	"github.com/poclog/poclog/internal/octets"
	"github.com/poclog/poclog/verify/snp"
)

// A Kind is what a file is, as far as its beginning says: a phrase for people. The empty one is
// unknown.
type Kind string

// Kinds of files that are mistaken for each other.
const (
	KindTDXQuote    Kind = "a TDX quote"
	KindSGXQuote    Kind = "a quote of an SGX enclave"
	KindTDReport    Kind = "a TDREPORT, of which a quote is yet to be made"
	KindSNPReport   Kind = "a SEV-SNP report"
	KindHCLReport   Kind = "an HCL report of Azure"
	KindTPMQuote    Kind = "a quote of a TPM"
	KindTPMPublic   Kind = "the public area of a TPM's key"
	KindTPMLog      Kind = "an event log of a TPM"
	KindCCEL        Kind = "an event log of a TD"
	KindACPITable   Kind = "an ACPI table, which only says where the log is"
	KindCertificate Kind = "a certificate"
	KindCRL         Kind = "a list of revoked certificates"

	KindTCBInfo    Kind = "Intel's TCB info"
	KindQEIdentity Kind = "Intel's QE identity"
	KindDCAP       Kind = "Intel's collateral in the form of dcap-qvl"
	KindAzure      Kind = "evidence of an Azure VM"
	KindDstack     Kind = "an answer of dstack's agent"
	KindTHIM       Kind = "the answer of Azure's service on a chip of AMD's"
	KindToken      Kind = "a registry's answer with a token"

	KindBundle     Kind = "a bundle"
	KindCollateral Kind = "a collateral file"
	KindEnvelope   Kind = "an envelope"
	KindChallenge  Kind = "a challenge"
	KindPolicy     Kind = "an appraisal policy"
	KindReceipt    Kind = "a receipt"
)

// KindOf says what a file is, whether it is written raw, in hexadecimal, base64 or PEM. It looks at
// little of it: that the rest is as it should be, readers say.
func KindOf(file []byte) Kind {
	if bytes.HasPrefix(file, []byte("c2sp.org/tlog-proof@")) {
		return KindReceipt
	}
	b, form := octets.Decode(file)
	if form == octets.PEM {
		return kindOfDER(b)
	}
	if k := kindOfOctets(b); k != "" {
		return k
	}
	return kindOfMembers(file)
}

// kindOfMembers looks at the names in JSON or YAML.
func kindOfMembers(file []byte) Kind {
	if len(file) > MaxFile {
		return ""
	}
	text, err := asJSON(file)
	m := make(members)
	if err != nil || json.Unmarshal(text, &m) != nil {
		return ""
	}
	for _, k := range []struct {
		kind    Kind
		members []string
	}{
		{KindTCBInfo, []string{"tcbInfo", "signature"}}, {KindQEIdentity, []string{"enclaveIdentity", "signature"}},
		{KindDCAP, []string{"tcb_info", "qe_identity"}}, {KindDCAP, []string{"tcb_info", "pck_crl"}},
		{KindAzure, []string{"tpm_attestation"}}, {KindAzure, []string{"tpm_quote", "hcl_report"}}, {KindAzure, []string{"evidence"}},
		{KindDstack, []string{"quote", "event_log"}}, {KindDstack, []string{"attestation"}}, {KindDstack, []string{"message", "pcr_values"}},
		{KindTHIM, []string{"vcekCert"}}, {KindToken, []string{"jwt"}},
		{KindBundle, []string{"__cmwc_t"}}, {KindEnvelope, []string{"payloadType", "payload"}}, {KindChallenge, []string{"checkpoint", "salt"}},
		{KindPolicy, []string{"realm", "admit"}}, {KindCollateral, []string{"v", "items"}},
	} {
		if m.hasAll(k.members) {
			return k.kind
		}
	}
	return ""
}

func (m members) hasAll(names []string) bool {
	for _, name := range names {
		if _, ok := m[name]; !ok {
			return false
		}
	}
	return true
}

// kindOfOctets looks at magic numbers and sizes.
func kindOfOctets(b []byte) Kind {
	const tdReport, eventHeader = 0x81, 32
	u16 := func(at int) uint16 { return binary.LittleEndian.Uint16(b[at:]) }
	starts := func(magic string, at int) bool {
		return len(b) >= at+len(magic) && string(b[at:at+len(magic)]) == magic
	}
	switch {
	case len(b) < 16:
		return ""
	case starts("HCLA", 0):
		return KindHCLReport
	case starts("CCEL", 0) || starts("TPM2", 0):
		return KindACPITable
	case starts("\xff\x54\x43\x47\x80\x18", 0) || starts("\xff\x54\x43\x47\x80\x18", 2):
		return KindTPMQuote
	case starts("Spec ID Event03", eventHeader) && binary.LittleEndian.Uint32(b) == 0:
		return KindTPMLog
	case starts("Spec ID Event03", eventHeader):
		return KindCCEL
	case (u16(0) == 4 || u16(0) == 5) && u16(4) == tdReport:
		return KindTDXQuote
	case u16(0) >= 3 && u16(0) <= 5 && (u16(2) == 2 || u16(2) == 3) && u16(4) == 0 && len(b) > 432:
		return KindSGXQuote
	case len(b) == tdReportSize && b[0] == tdReport:
		return KindTDReport
	case len(b) >= snp.ReportSize && u16(0) >= 2 && u16(0) < 16 && u16(2) == 0 && u16(4) < 0x100:
		return KindSNPReport
	case b[0] == 0x30 && b[1] >= 0x80:
		return kindOfDER(b)
	}
	if _, err := publicArea(b); err == nil {
		return KindTPMPublic
	}
	return ""
}

func kindOfDER(b []byte) Kind {
	if _, err := Certificates(b); err == nil {
		return KindCertificate
	}
	if _, err := x509.ParseRevocationList(b); err == nil {
		return KindCRL
	}
	return ""
}
