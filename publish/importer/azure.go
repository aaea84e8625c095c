package importer

import (
	"bytes"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify/snp"
	"github.com/poclog/poclog/verify/tpm"
)

// Azure imports one Azure confidential VM's evidence, as attested-tls writes it (YAML or JSON) or
// Confidential Containers (JSON), and the certificates that complete the AK's chain: what the
// evidence lacks of the AK's own, intermediates, and the root. Of a SEV-SNP VM the chip's
// certificates stand among them, in PEM or DER, or as the JSON of Azure's service (GET
// /metadata/THIM/amd/certification).
func Azure(evidence []byte, certs ...[]byte) (*Import, error) {
	im, err := azureImport(evidence, certs)
	if err != nil {
		return nil, fmt.Errorf("Azure evidence: %w", err)
	}
	return im, nil
}

func azureImport(evidence []byte, certs [][]byte) (*Import, error) {
	f, err := parseAzure(evidence)
	if err != nil {
		return nil, err
	}
	im := &Import{Profile: poclog.AzureTDXvTPM, Bundle: new(poclog.Bundle)}
	if err := im.setAzureQuotes(f); err != nil {
		return nil, err
	}
	pool, err := certificatesOf(f.certs, certs, azureCertificates)
	if err != nil {
		return nil, err
	}
	return im, im.setAzureCertificates(pool)
}

// azureCertificates reads a file of certificates, or the answer of Azure's service on the chip.
func azureCertificates(file []byte) ([][]byte, error) {
	if !bytes.HasPrefix(bytes.TrimSpace(file), []byte("{")) {
		return Certificates(file)
	}
	var answer amdCertification
	if err := decodeJSON("chip's certificates", file, &answer); err != nil {
		return nil, err
	}
	return answer.certificates()
}

// setAzureCertificates sorts certificates: AMD's are the chip's, the others the AK's. Its own is
// the one of the key that the HCL report names.
func (im *Import) setAzureCertificates(pool [][]byte) error {
	var chip, ak [][]byte
	for _, der := range pool {
		c, err := x509.ParseCertificate(der)
		switch {
		case err != nil:
			return err
		case isAMD(c):
			chip = append(chip, der)
		default:
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
	hcl, err := tpm.ParseHCL(im.Bundle.Get(poclog.ItemHCLReport))
	if err != nil {
		return err
	}
	return im.setAKCertificates(ak, hcl.AK, NVAzureAKCert)
}

// setHCL takes an HCL report, and the SNP report in it where there is one: that says of which
// profile the evidence is.
func (im *Import) setHCL(item []byte, hcl *tpm.HCL) error {
	im.Bundle.Set(poclog.ItemHCLReport, item)
	if hcl.Type != tpm.HCLTypeSNP {
		return nil
	}
	if _, err := snp.ParseReport(hcl.HardwareReport); err != nil {
		return err
	}
	im.Profile = poclog.AzureSNPvTPM
	im.Bundle.Set(poclog.ItemSNPReport, hcl.HardwareReport)
	return nil
}

func (im *Import) setAzureQuotes(f *azureEvidence) error {
	item, hcl, err := trimHCL(f.hclReport)
	if err == nil {
		err = im.setHCL(item, hcl)
	}
	if err != nil {
		return err
	}
	switch {
	case im.Profile == poclog.AzureTDXvTPM:
		if len(f.tdQuote) == 0 {
			return errors.New("no TD quote beside the HCL report of a TDX VM")
		}
		if err := im.setQuote(f.tdQuote); err != nil {
			return err
		}
	case len(f.tdQuote) > 0:
		return errors.New("a TD quote beside the HCL report of a SEV-SNP VM")
	}
	if len(f.message) > 0xffff || len(f.signature) > 0xffff {
		return fmt.Errorf("TPM quote of %d and %d bytes: want at most 65535", len(f.message), len(f.signature))
	}
	im.Bundle.Set(poclog.ItemTPMQuote, rsaQuote(f.message, f.signature))
	return im.setAzurePCRs(f.pcrs)
}

// rsaQuote is TPM2B_ATTEST ‖ TPMT_SIGNATURE with RSASSA over SHA-256 (TPM 2.0 Part 2, §10.12.12 and
// §11.3.4).
func rsaQuote(attest, sig []byte) []byte {
	const rsassa, sha256 = 0x0014, 0x000b
	q := binary.BigEndian.AppendUint16(nil, uint16(len(attest)))
	q = append(q, attest...)
	q = binary.BigEndian.AppendUint16(q, rsassa)
	q = binary.BigEndian.AppendUint16(q, sha256)
	q = binary.BigEndian.AppendUint16(q, uint16(len(sig)))
	return append(q, sig...)
}

// setAzurePCRs picks the values that the quote selects.
func (im *Import) setAzurePCRs(pcrs [][]byte) error {
	q, err := tpm.ParseQuote(im.Bundle.Get(poclog.ItemTPMQuote))
	if err != nil {
		return err
	}
	var values []byte
	for _, s := range q.Selection {
		for _, n := range s.PCRs {
			if int(n) >= len(pcrs) {
				return fmt.Errorf("the quote selects PCR %d, the file has %d values", n, len(pcrs))
			}
			values = append(values, pcrs[n]...)
		}
	}
	im.Bundle.Set(poclog.ItemTPMPCRs, values)
	return nil
}
