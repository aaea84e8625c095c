package evidence

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify/tpm"
)

// azureFile is one Azure VM's evidence as attested-tls writes it: octets in base64url or hexadecimal, certificates in PEM.
type azureFile struct {
	TDQuote   string   `json:"td_quote"`
	HCLReport string   `json:"hcl_report"`
	AKCert    string   `json:"ak_cert"`
	AKInter   []string `json:"ak_inter"`
	Signature string   `json:"sig"`  // RSASSA PKCS #1 v1.5 over msg
	Message   string   `json:"msg"`  // TPMS_ATTEST
	PCRs      []string `json:"pcrs"` // SHA-256 bank, from PCR 0
}

// Azure imports one Azure confidential VM's evidence: the JSON of its quotes, and the certificates in PEM that complete the AK's chain
// (the root, and intermediates that the JSON lacks).
func Azure(evidence []byte, certs ...[]byte) (*Import, error) {
	var f azureFile
	if err := decodeJSON("Azure evidence", evidence, &f); err != nil {
		return nil, err
	}
	im := newAzure()
	for _, step := range []func(*Import, *azureFile) error{azureQuotes, azurePCRs} {
		if err := step(im, &f); err != nil {
			return nil, fmt.Errorf("Azure evidence: %w", err)
		}
	}
	texts := append([]string{f.AKCert}, f.AKInter...)
	for _, c := range certs {
		texts = append(texts, string(c))
	}
	ders, err := certificates(texts...)
	if err != nil {
		return nil, fmt.Errorf("Azure evidence: %w", err)
	}
	if err := im.setChain(ders); err != nil {
		return nil, fmt.Errorf("Azure evidence: %w", err)
	}
	return im, nil
}

func newAzure() *Import {
	return &Import{Profile: poclog.AzureTDXvTPM, Bundle: new(poclog.Bundle), How: []string{
		"poclog challenge --log URL --profile azure-tdx-vtpm -o challenge.json",
		"poclog import azure --live --challenge challenge.json intermediate.pem root.pem -o vm.bundle.json   (in the VM, with access to its TPM)",
	}}
}

func azureQuotes(im *Import, f *azureFile) error {
	quote, err := decodeText("td_quote", f.TDQuote)
	if err != nil {
		return err
	}
	if err := im.setQuote(quote); err != nil {
		return err
	}
	report, err := decodeText("hcl_report", f.HCLReport)
	if err != nil {
		return err
	}
	if report, err = tpm.TrimHCL(report); err != nil {
		return err
	}
	im.Bundle.Set(poclog.ItemHCLReport, report)
	msg, err := decodeText("msg", f.Message)
	if err != nil {
		return err
	}
	sig, err := decodeText("sig", f.Signature)
	if err != nil {
		return err
	}
	if len(msg) > 0xffff || len(sig) > 0xffff {
		return fmt.Errorf("TPM quote of %d and %d bytes: want at most 65535", len(msg), len(sig))
	}
	im.Bundle.Set(poclog.ItemTPMQuote, rsaQuote(msg, sig))
	return nil
}

// rsaQuote is TPM2B_ATTEST ‖ TPMT_SIGNATURE with RSASSA over SHA-256 (TPM 2.0 Part 2, §10.12.12 and §11.3.4).
func rsaQuote(attest, sig []byte) []byte {
	const rsassa, sha256 = 0x0014, 0x000b
	q := binary.BigEndian.AppendUint16(nil, uint16(len(attest)))
	q = append(q, attest...)
	q = binary.BigEndian.AppendUint16(q, rsassa)
	q = binary.BigEndian.AppendUint16(q, sha256)
	q = binary.BigEndian.AppendUint16(q, uint16(len(sig)))
	return append(q, sig...)
}

// azurePCRs picks the values that the quote selects.
func azurePCRs(im *Import, f *azureFile) error {
	q, err := tpm.ParseQuote(im.Bundle.Get(poclog.ItemTPMQuote))
	if err != nil {
		return err
	}
	var values []byte
	for _, s := range q.Selection {
		for _, n := range s.PCRs {
			if int(n) >= len(f.PCRs) {
				return fmt.Errorf("the quote selects PCR %d, the file has %d values", n, len(f.PCRs))
			}
			v, err := hex.DecodeString(f.PCRs[n])
			if err != nil {
				return fmt.Errorf("PCR %d: %w", n, err)
			}
			values = append(values, v...)
		}
	}
	im.Bundle.Set(poclog.ItemTPMPCRs, values)
	return nil
}
