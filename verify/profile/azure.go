package profile

import (
	"bytes"
	"crypto/sha256"
	"net/url"
	"slices"
	"strings"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/tpm"
)

// azureTDX is a TDX VM of Azure: its paravisor runs the vTPM inside the TD, and its HCL report ties
// the vTPM's keys to the TD's report.
var azureTDX = profile{
	name:     poclog.AzureTDXvTPM,
	required: []poclog.Item{poclog.ItemTDXQuote, poclog.ItemTPMQuote, poclog.ItemTPMPCRs, poclog.ItemTPMAKChain, poclog.ItemHCLReport},
	allowed:  []poclog.Item{poclog.ItemTPMAK, poclog.ItemChallenge},
	steps: append(append(tdxSteps(required), tpmSteps(checkAzureAK)...),
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

// checkAzureAK demands the certificate of a confidential VM's key: the same root certifies others.
func checkAzureAK(s *subject) error {
	if err := tpm.CheckAzureAK(s.akChain[0]); err != nil {
		return err
	}
	return s.checkAKChain(poclog.RootAzureAK)
}

// checkHCL ties the AK to the TD: REPORTDATA is the hash of the HCL JSON, which names the certified
// key, and the report inside is the quote's.
func checkHCL(s *subject) error {
	if s.hcl.Type != tpm.HCLTypeTDX {
		return verify.Failf(verify.BindAKInTEE, "HCL report of type %d: want %d (TDX)", s.hcl.Type, tpm.HCLTypeTDX)
	}
	rd := &s.quote.Body.ReportData
	if sum := sha256.Sum256(s.hcl.JSON); !bytes.Equal(rd[:32], sum[:]) || !bytes.Equal(rd[32:], make([]byte, 32)) {
		return verify.Failf(verify.BindAKInTEE, "REPORTDATA %x is not the hash of the HCL JSON, %x", rd[:], sum)
	}
	if !tpm.EqualKeys(s.hcl.AK, s.ak()) {
		return verify.Failf(verify.BindAKInTEE, "the HCL report names another AK than the certificate")
	}
	if err := s.quote.CheckReport(s.hcl.HardwareReport); err != nil {
		return verify.Failf(verify.BindAKInTEE, "the HCL report's TDREPORT: %w", err)
	}
	return nil
}

func (s *subject) azureNonce() []byte {
	if !bytes.Equal(s.hcl.UserData[32:], make([]byte, 32)) {
		return nil
	}
	return s.hcl.UserData[:32]
}

// claimAzureVM fills in what Azure says of its VM, whatever the TEE. EK and VM are named by the HCL
// report alone, which is the paravisor's word: of firmware that nobody vouches for they are left
// out, or anybody could put another's names beside a chip of his own.
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

// azureRegion reads the region from the host name azurevtpmicapki.<region>.… of the AIA: nobody
// says that the VM runs there.
func azureRegion(aia []string) string {
	for _, s := range aia {
		u, err := url.Parse(s)
		if err != nil {
			continue
		}
		host, rest, _ := strings.Cut(u.Hostname(), ".")
		region, _, _ := strings.Cut(rest, ".")
		if strings.HasPrefix(host, "azurevtpmicapki") && tpm.IsPlace(region) {
			return region
		}
	}
	return ""
}
