package importer

import (
	"fmt"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/tpm"
)

// How to take what is missing on a bare-metal machine.
const (
	howMetal  = "run `poclog attest --ak … --ak-chain …` in a TD of the machine"
	howLaunch = "have the AK made with the policy TPM2_PolicyPCR over PCR 17 and 18 of the launch, and quote both registers"
	howEnrol  = "have the provider certify the AK for this machine: its EK, place and chip (docs/publishing.md)"
)

// bareMetalRules are those of profile baremetal-tdx-tpm after the TEE's and the TPM's.
var bareMetalRules = []rule{
	{check: verify.TPMAKPolicy, look: (*parts).akPolicy, how: howLaunch},
	{check: verify.BindAKInTEE, look: (*parts).akInReportData, how: howChallenge + "; REPORTDATA is what it prints with --ak"},
	{check: verify.BindTEEInTPM, look: (*parts).teeInTPM, how: howOrder},
	{check: verify.BindPCRRTMR, optional: true, look: (*parts).hostLogs, how: "no way is known"},
	{check: verify.BindTXT, look: (*parts).launch, how: howLaunch, judge: "if the policy lists the launch"},
	{check: verify.BindChassis, optional: true, look: (*parts).chassis, how: howEnrol},
	{check: verify.PlaceCert, look: (*parts).platform, how: howEnrol, judge: "if the policy lists the root as that provider's"},
	{check: verify.PlaceRegistry, optional: true, look: (*parts).needQuote, how: howQuote, judge: "the judge asks the provider, if it keeps a register"},
	{check: verify.PlaceAgree, look: (*parts).platform, how: howEnrol},
	{check: verify.FreshChallenge, look: (*parts).fresh, how: howChallenge},
}

// signedPCRs are the values that the quote selects.
func (p *parts) signedPCRs() (*tpm.PCRValues, error) {
	if err := p.needTPM(); err != nil {
		return nil, err
	}
	return tpm.ParsePCRs(p.tpmQuote, p.bundle.Get(poclog.ItemTPMPCRs))
}

func (p *parts) akPolicy() error {
	if p.public == nil {
		return lacking{"there is no TPMT_PUBLIC of the AK, which says what lets it sign", howMetal}
	}
	pcrs, err := p.signedPCRs()
	if err == nil {
		_, err = tpm.CheckAKPolicy(p.public, pcrs)
	}
	return err
}

func (p *parts) launch() error {
	pcrs, err := p.signedPCRs()
	if err != nil {
		return err
	}
	for _, alg := range tpm.LaunchBanks {
		if _, _, ok := pcrs.Launch(alg); ok {
			return nil
		}
	}
	return lacking{why: "the quote covers PCR 17 and 18 in no bank of SHA-256 or SHA-384"}
}

func (p *parts) platform() error {
	if err := p.needChain(); err != nil {
		return err
	}
	if p.ekChain == nil {
		return lacking{"there is no chain of the EK's certificate, which the AK's certificate names", "give it: --ek-chain"}
	}
	if err := tpm.CheckAKCertificate(p.chain[0], p.ekChain[0]); err != nil {
		return err
	}
	_, err := tpm.ParsePlatform(p.chain[0])
	return err
}

func (p *parts) chassis() error {
	if err := p.needQuote(); err != nil {
		return err
	}
	if err := p.platform(); err != nil {
		return err
	}
	named, err := tpm.ParsePlatform(p.chain[0])
	if err != nil {
		return err
	}
	if named.Chip == "" {
		return lacking{why: "the AK certificate does not name the machine's chip"}
	}
	if chip, _ := poclog.HexIdentity(poclog.IntelPPID, p.quote.Platform.PPID[:]); chip != named.Chip {
		return fmt.Errorf("the TD runs on %s: the AK certificate is for a machine with %s", chip, named.Chip)
	}
	return nil
}

// hostLogs refuses logs that do not replay. Those that do prove nothing about each other.
func (p *parts) hostLogs() error {
	pcrs, err := p.signedPCRs()
	if err == nil && p.tpmLog != nil {
		err = p.tpmLog.CheckCovered(pcrs)
	}
	if err == nil && p.tdLog != nil {
		if err = p.needQuote(); err == nil {
			err = p.tdLog.CheckRTMRs(&p.quote.Body.RTMRs)
		}
	}
	if err != nil {
		return err
	}
	return lacking{why: "the TPM hears the host's boot, the RTMRs the guest's"}
}
