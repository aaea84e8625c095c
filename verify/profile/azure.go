package profile

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"net/url"
	"slices"
	"strings"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/tpm"
)

// azureTDX is a TDX VM of Azure: its paravisor runs the vTPM inside the TD, and its HCL report ties the vTPM's keys to the TD's report.
var azureTDX = profile{
	name:     poclog.AzureTDXvTPM,
	required: []poclog.Item{poclog.ItemTDXQuote, poclog.ItemTPMQuote, poclog.ItemTPMPCRs, poclog.ItemTPMAKChain, poclog.ItemHCLReport},
	allowed:  []poclog.Item{poclog.ItemTPMAK, poclog.ItemChallenge},
	steps: append(append(tdxSteps(required), tpmSteps(checkAzureAK, checkAzurePCRs)...),
		step{verify.BindAKInTEE, required, checkHCL},
		step{verify.BindTEEInTPM, required, checkTEEInTPM},
		step{verify.BindPCRRTMR, optional, func(*subject) error { return absentf("Azure leaves the RTMRs zero and gives no event log of the TD") }},
		step{verify.PlaceCert, optional, func(*subject) error { return absentf("Azure certifies no place; the AIA host name is a hint") }},
		step{verify.PlaceRegistry, optional, func(*subject) error { return absentf("Azure publishes no register of its chips") }},
		step{verify.PlaceAgree, required, func(*subject) error { return nil }},
		endorsedChip,
		endorsedPlatform,
		step{verify.FreshChallenge, required, func(s *subject) error { return s.checkFresh(s.azureNonce) }},
	),
	claims: claimTDX,
	bound:  claimAzureVM,
}

// checkAzurePCRs also wants the firmware's registers, in a bank that nobody makes collide: a quote that leaves them out says of a boot only that there was
// one, and two stories of it would not contradict. Elsewhere other checks want them.
func checkAzurePCRs(s *subject) error {
	if err := checkPCRs(s); err != nil {
		return err
	}
	for _, alg := range tpm.LaunchBanks {
		covered := 0
		for n := range firmwarePCRs {
			if _, ok := s.pcrs.Get(alg, n); ok {
				covered++
			}
		}
		if covered == firmwarePCRs {
			return nil
		}
	}
	return absentf("the TPM quote does not cover PCR 0 to %d in one bank of SHA-256 or SHA-384: what booted is not shown", firmwarePCRs-1)
}

// firmwarePCRs are the registers from 0 on that hold the firmware's story.
const firmwarePCRs = 8

func checkPCRs(s *subject) error {
	_, err := tpm.CheckPCRs(s.tpmQuote, s.bundle.Get(poclog.ItemTPMPCRs))
	return err
}

// akChainTo is the check of an AK whose certificate alone says all.
func akChainTo(roots poclog.RootUse) func(*subject) error {
	return func(s *subject) error { return s.checkAKChain(roots) }
}

// checkAzureAK demands the certificate of a confidential VM's key: the same root certifies others.
func checkAzureAK(s *subject) error {
	if err := tpm.CheckAzureAK(s.akChain[0]); err != nil {
		return err
	}
	return s.checkAKChain(poclog.RootAzureAK)
}

// tpmSteps are the checks of a TPM quote and the key that signed it.
func tpmSteps(chain, pcrs func(*subject) error) []step {
	return []step{
		{verify.TPMAKChain, required, chain},
		{verify.TPMSignature, required, func(s *subject) error { return s.tpmQuote.Verify(s.ak()) }},
		{verify.TPMPCRDigest, required, pcrs},
		{verify.TPMAKTemplate, required, func(s *subject) error {
			if s.public == nil {
				return lacksf(poclog.ItemTPMAK, "the bundle lacks the AK's TPMT_PUBLIC: whether the AK signs only what the TPM made is not shown")
			}
			return tpm.CheckAKTemplate(s.public, s.tpmQuote, s.ak())
		}},
	}
}

// checkAKChain verifies the AK's certificates, once while they are valid.
func (s *subject) checkAKChain(use poclog.RootUse) error {
	if err := s.judge("if the policy lists the chain's root"); err != nil {
		return err
	}
	item, roots := s.bundle.Get(poclog.ItemTPMAKChain), s.roots(use)
	key := keyOf("ak chain", roots, item)
	if _, ok := s.in.Known.get(key, s.in.Appraised); ok {
		return nil
	}
	_, err := tpm.CheckChain(verify.TPMAKChain, item, roots, s.in.Appraised)
	if err == nil {
		s.in.Known.put(key, validity(s.akChain...), s.in.Appraised)
	}
	return err
}

// checkHCL ties the AK to the TD: REPORTDATA is the hash of the HCL JSON, which names the certified key, and the report inside is the quote's.
func checkHCL(s *subject) error {
	if s.hcl.Type != tpm.HCLTypeTDX {
		return verify.Failf(verify.BindAKInTEE, "HCL report of type %d: want %d (TDX)", s.hcl.Type, tpm.HCLTypeTDX)
	}
	rd := &s.quote.Body.ReportData
	if sum := sha256.Sum256(s.hcl.JSON); !bytes.Equal(rd[:32], sum[:]) || !bytes.Equal(rd[32:], make([]byte, 32)) {
		return verify.Failf(verify.BindAKInTEE, "REPORTDATA %x is not the hash of the HCL JSON, %x", rd[:], sum)
	}
	if !sameKey(s.hcl.AK, s.ak()) {
		return verify.Failf(verify.BindAKInTEE, "the HCL report names another AK than the certificate")
	}
	if err := s.quote.CheckReport(s.hcl.HardwareReport); err != nil {
		return verify.Failf(verify.BindAKInTEE, "the HCL report's TDREPORT: %w", err)
	}
	return nil
}

func sameKey(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}

// checkTEEInTPM ties the TEE's quote to the TPM: what the TPM signed names it. Historical evidence was made under rules of its own.
func checkTEEInTPM(s *subject) error {
	sum := sha256.Sum256(s.tee())
	if bytes.Equal(s.tpmQuote.ExtraData, sum[:]) {
		return nil
	}
	if s.challenge == nil {
		return absentf("the TPM quote's extraData is not the hash of the TEE quote")
	}
	return verify.Failf(verify.BindTEEInTPM, "extraData %x of the TPM quote is not the hash of the TEE quote, %x", s.tpmQuote.ExtraData, sum)
}

func (s *subject) azureNonce() []byte {
	if !bytes.Equal(s.hcl.UserData[32:], make([]byte, 32)) {
		return nil
	}
	return s.hcl.UserData[:32]
}

// claimAzureVM fills in what Azure says of its VM, whatever the TEE. EK and VM are named by the HCL report alone, which is the paravisor's word: of firmware
// that nobody vouches for they are left out, or anybody could put another's names beside a chip of his own.
func claimAzureVM(s *subject) {
	e := &s.entry
	e.Keys = append(e.Keys, keyIdentity(poclog.TPMAK, s.ak()))
	if slices.Contains(s.passed, verify.TEELaunch) {
		if s.hcl.EK != nil {
			e.Keys = append(e.Keys, keyIdentity(poclog.TPMEK, s.hcl.EK))
		}
		if id, err := poclog.AzureVMIdentity(s.hcl.VMUniqueID); err == nil {
			e.Instance = id
		}
	}
	e.Place = &poclog.Place{Provider: poclog.Claim{Value: poclog.ProviderAzure, By: []string{poclog.ByAKCertificate}}}
	if region := azureRegion(s.akChain[0].IssuingCertificateURL); region != "" {
		e.Place.Region = poclog.Claim{Value: region, By: []string{poclog.ByAIAHint}}
	}
}

func keyIdentity(kind string, key any) poclog.Identity {
	id, err := poclog.KeyIdentity(kind, key)
	if err != nil {
		return ""
	}
	return id
}

// azureRegion reads the region from the host name azurevtpmicapki.<region>.… of the AIA: nobody says that the VM runs there.
func azureRegion(aia []string) string {
	for _, s := range aia {
		u, err := url.Parse(s)
		if err != nil {
			continue
		}
		host, rest, _ := strings.Cut(u.Hostname(), ".")
		region, _, _ := strings.Cut(rest, ".")
		if strings.HasPrefix(host, "azurevtpmicapki") && isName(region) {
			return region
		}
	}
	return ""
}

// isName reports whether s can stand in an entry as the name of a region or zone.
func isName(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return len(s) > 0 && len(s) <= 64
}

// claimTPM fills in what a TPM quote says.
func claimTPM(s *subject) {
	q := s.tpmQuote
	boot := q.Boot()
	s.entry.Boot = &boot
	t := &poclog.TPM{
		KeyType:   tpm.KeyType(s.ak()),
		PCRDigest: q.PCRDigest, ExtraData: q.ExtraData, Clock: q.Clock, ResetCount: q.ResetCount, RestartCount: q.RestartCount, Safe: q.Safe,
		Firmware: q.Firmware,
	}
	for _, sel := range q.Selection {
		bank := poclog.PCRBank{Alg: sel.Alg.String()}
		var firmware []byte
		for _, n := range sel.PCRs {
			bank.Selected = append(bank.Selected, uint8(n))
			if v, ok := s.pcrs.Get(sel.Alg, n); ok && n < firmwarePCRs {
				firmware = append(firmware, v...)
			}
		}
		if len(bank.Selected) >= firmwarePCRs && bank.Selected[firmwarePCRs-1] == firmwarePCRs-1 {
			sum := poclog.Sum(firmware)
			bank.Firmware = &sum
		}
		t.PCRs = append(t.PCRs, bank)
	}
	s.entry.TPM = t
}
