package importer

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify/snp"
	"github.com/poclog/poclog/verify/tpm"
)

// azureFile is one Azure VM's evidence as attested-tls writes it: octets in base64url or hexadecimal, certificates in PEM. A SEV-SNP VM has no td_quote: the
// chip's report is in the HCL report.
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
// (the root, and intermediates that the JSON lacks). Of a SEV-SNP VM the chip's certificates stand among them, in PEM or as the JSON of Azure's service
// (GET /metadata/THIM/amd/certification).
func Azure(evidence []byte, certs ...[]byte) (*Import, error) {
	var f azureFile
	if err := decodeJSON("Azure evidence", evidence, &f); err != nil {
		return nil, err
	}
	im := newAzure(poclog.AzureTDXvTPM)
	for _, step := range []func(*Import, *azureFile) error{azureQuotes, azurePCRs} {
		if err := step(im, &f); err != nil {
			return nil, fmt.Errorf("Azure evidence: %w", err)
		}
	}
	texts := append([]string{f.AKCert}, f.AKInter...)
	for _, c := range certs {
		text, err := thimCertificates(c)
		if err != nil {
			return nil, fmt.Errorf("Azure evidence: %w", err)
		}
		texts = append(texts, text)
	}
	if err := im.azureCertificates(nil, texts...); err != nil {
		return nil, fmt.Errorf("Azure evidence: %w", err)
	}
	return im, nil
}

// thimCertificates returns the certificates of a file as PEM: of one in PEM, or of the answer of Azure's service.
func thimCertificates(file []byte) (string, error) {
	if !strings.HasPrefix(strings.TrimSpace(string(file)), "{") {
		return string(file), nil
	}
	var answer amdCertification
	if err := decodeJSON("chip's certificates", file, &answer); err != nil {
		return "", err
	}
	return answer.VCEK + "\n" + answer.Chain, nil
}

// azureCertificates sorts certificates: AMD's are the chip's, the others the AK's, of which the first is its own.
func (im *Import) azureCertificates(ak [][]byte, texts ...string) error {
	all, err := certificates(texts...)
	if err != nil {
		return err
	}
	var chip [][]byte
	for _, der := range all {
		if isAMD(der) {
			chip = append(chip, der)
		} else {
			ak = append(ak, der)
		}
	}
	if im.Profile == poclog.AzureSNPvTPM {
		if err := im.setSNPCerts(chip); err != nil {
			return err
		}
	} else if len(chip) > 0 {
		im.note("%d certificates of AMD's are left out: this is a TDX VM", len(chip))
	}
	return im.setChain(ak)
}

func newAzure(p poclog.Profile) *Import {
	return &Import{Profile: p, Bundle: new(poclog.Bundle), How: []string{
		"poclog challenge --log URL --profile " + string(p) + " -o challenge.json",
		"poclog import azure --live --challenge challenge.json intermediate.pem root.pem -o vm.bundle.json   (in the VM, with access to its TPM)",
	}}
}

// setHCL takes an HCL report, and the SNP report in it where there is one: that says of which profile the evidence is.
func (im *Import) setHCL(padded []byte) (*tpm.HCL, error) {
	item, err := tpm.TrimHCL(padded)
	if err != nil {
		return nil, err
	}
	hcl, err := tpm.ParseHCL(item)
	if err != nil {
		return nil, err
	}
	im.Bundle.Set(poclog.ItemHCLReport, item)
	if hcl.Type != tpm.HCLTypeSNP {
		return hcl, nil
	}
	if _, err := snp.ParseReport(hcl.HardwareReport); err != nil {
		return nil, err
	}
	im.Profile, im.How = poclog.AzureSNPvTPM, newAzure(poclog.AzureSNPvTPM).How
	im.Bundle.Set(poclog.ItemSNPReport, hcl.HardwareReport)
	return hcl, nil
}

func azureQuotes(im *Import, f *azureFile) error {
	report, err := decodeText("hcl_report", f.HCLReport)
	if err != nil {
		return err
	}
	if _, err := im.setHCL(report); err != nil {
		return err
	}
	switch {
	case im.Profile == poclog.AzureTDXvTPM:
		quote, err := decodeText("td_quote", f.TDQuote)
		if err != nil {
			return err
		}
		if err := im.setQuote(quote); err != nil {
			return err
		}
	case f.TDQuote != "":
		return errors.New("td_quote beside the HCL report of a SEV-SNP VM")
	}
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
