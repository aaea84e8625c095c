package importer

import (
	"bytes"
	"crypto/sha256"
	"errors"

	"github.com/poclog/poclog/verify"
)

// How to take what is missing of SEV-SNP.
const (
	howReport   = "take a report: the kernel gives it under /sys/kernel/config/tsm/report"
	howSNPCerts = "give the certificates of the chip's key: the kernel's auxblob, files in PEM or DER, or have them fetched: poclog import snp --kds"
)

func snpRules() []rule {
	return []rule{
		{check: verify.TEESignature, look: (*parts).reportSignature, how: "take report and certificates from one chip"},
		{check: verify.TEEChain, look: (*parts).reportChain, how: howSNPCerts, judge: "if the policy lists the product's root"},
		{check: verify.TEERevocation, look: (*parts).needReport, how: howReport, judge: "by AMD's list of revoked CAs"},
		{check: verify.TEETCB, look: (*parts).needReport, how: howReport, judge: "if the policy says which firmware is too old (snp_tcb)"},
		{check: verify.TEENoDebug, how: "start the VM without debugging and without a migration agent", look: func(p *parts) error {
			if err := p.needReport(); err != nil {
				return err
			}
			return p.report.CheckNoDebug()
		}},
		{check: verify.TEELaunch, how: "ask for the report at VMPL 0", judge: "if the policy lists the measurement or its ID key", look: func(p *parts) error {
			if err := p.needReport(); err != nil {
				return err
			}
			return p.report.CheckVMPL()
		}},
	}
}

func azureSNPRules() []rule {
	return append(append(snpRules(), azureTPMRules()...),
		rule{check: verify.BindAKInTEE, look: (*parts).snpHCLReport, how: "take HCL report and TPM quote in one boot of one VM"},
		rule{check: verify.BindTEEInTPM, look: (*parts).teeInTPM, how: howOrder},
		rule{check: verify.BindPCRRTMR, optional: true, look: never("SEV-SNP has no registers of what boots"), how: "no way is known"},
		rule{check: verify.PlaceCert, optional: true, look: never("Azure certifies no place"), how: "no way is known"},
		rule{check: verify.PlaceRegistry, optional: true, look: never("Azure publishes no register of its chips"), how: "no way is known"},
		rule{check: verify.PlaceAgree, look: (*parts).needChain, how: howChain},
		rule{check: verify.FreshChallenge, look: (*parts).fresh, how: howChallenge},
	)
}

func (p *parts) needReport() error {
	if p.report == nil {
		return lacking{"there is no SEV-SNP report: nothing shows a genuine chip", howReport}
	}
	return nil
}

func (p *parts) reportChain() error {
	if err := p.needReport(); err != nil {
		return err
	}
	if p.snpChain == nil {
		return lacking{"there are no certificates of the chip's key: nobody vouches for the chip", howSNPCerts}
	}
	return p.snpChain.CheckReport(p.report)
}

func (p *parts) reportSignature() error {
	if err := p.reportChain(); err != nil {
		return err
	}
	return p.report.CheckSignature(p.snpChain)
}

func (p *parts) snpHCLReport() error {
	if err := p.needReport(); err != nil {
		return err
	}
	if p.hcl == nil {
		return lacking{why: "there is no HCL report"}
	}
	sum := sha256.Sum256(p.hcl.JSON)
	switch {
	case !p.report.Is(p.hcl.HardwareReport):
		return errors.New("the HCL report has another SNP report")
	case !bytes.Equal(p.report.ReportData[:], append(sum[:], make([]byte, 32)...)):
		return errors.New("REPORT_DATA is not the hash of the HCL report's JSON")
	case p.chain != nil && !sameKey(p.hcl.AK, p.chain[0].PublicKey):
		return errors.New("the HCL report names another AK than the certificate")
	}
	return p.needChain()
}
