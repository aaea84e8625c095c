package profile

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/snp"
	"github.com/poclog/poclog/verify/tpm"
)

// azureSNP is a SEV-SNP VM of Azure: as azureTDX, with the processor's report inside the HCL
// report.
var azureSNP = profile{
	name: poclog.AzureSNPvTPM,
	required: []poclog.Item{
		poclog.ItemSNPReport, poclog.ItemSNPCerts, poclog.ItemTPMQuote, poclog.ItemTPMPCRs, poclog.ItemTPMAKChain, poclog.ItemHCLReport,
	},
	allowed: []poclog.Item{poclog.ItemTPMAK, poclog.ItemChallenge},
	steps: append(append(snpSteps(required, true), tpmSteps(checkAzureAK)...),
		step{verify.BindAKInTEE, required, checkSNPHCL},
		step{verify.BindTEEInTPM, required, checkTEEInTPM},
		step{verify.BindPCRRTMR, optional, func(*subject) error { return absentf("SEV-SNP has no registers of what boots") }},
		step{verify.PlaceCert, optional, func(*subject) error { return absentf("Azure certifies no place; the AIA host name is a hint") }},
		step{verify.PlaceRegistry, optional, func(*subject) error { return absentf("Azure publishes no register of its chips") }},
		step{verify.PlaceAgree, required, checkAzureSNPPlaces},
		endorsedChip,
		step{verify.FreshChallenge, required, func(s *subject) error { return s.checkFresh(s.azureNonce) }},
	),
	claims: claimSNP,
	bound:  claimAzureSNP,
}

// snpOnly is the chip-only profile of SEV-SNP: a genuine chip, and what runs on it; level 0.
var snpOnly = profile{
	name:     poclog.SNP,
	required: []poclog.Item{poclog.ItemSNPReport, poclog.ItemSNPCerts},
	allowed:  []poclog.Item{poclog.ItemChallenge},
	steps: append(snpSteps(optional, false), endorsedChip, step{verify.FreshChallenge, optional, func(s *subject) error {
		return s.checkFresh(func() []byte { return nonceAlone(&s.report.ReportData) })
	}}),
	claims: claimSNP,
}

// snpSteps are the checks of an SNP report: what runs, and that the chip is genuine. Binding
// profiles need to know which chip it is.
func snpSteps(launch need, chip bool) []step {
	return []step{
		{verify.TEEChain, required, func(s *subject) error { return s.checkSNPChain(chip) }},
		{verify.TEESignature, required, checkSNPSignature},
		{verify.TEENoDebug, required, func(s *subject) error { return s.report.CheckNoDebug() }},
		{verify.TEERevocation, required, checkSNPRevocation},
		{verify.TEETCB, required, checkSNPTCB},
		{verify.TEELaunch, launch, checkSNPLaunch},
	}
}

// checkSNPChain verifies the key's certificates, once while they are valid, and each report against
// them.
func (s *subject) checkSNPChain(chip bool) error {
	c := s.snpChain
	if err := c.CheckReport(s.report); err != nil {
		return err
	}
	if _, ok := c.ChipID(s.report); chip && !ok {
		return verify.Failf(verify.TEEChain, "the host masks CHIP_ID, and a VLEK names no chip: nobody says which chip this is")
	}
	if err := s.judge("if the policy lists the product's root"); err != nil {
		return err
	}
	roots := s.roots(poclog.RootAMDARK)
	key := keyOf("snp chain", roots, s.bundle.Get(poclog.ItemSNPCerts))
	return s.in.Known.once(key, validity(c.Leaf, c.CA, c.Root), s.in.Appraised, func() error { return c.CheckChain(s.report, roots, s.in.Appraised) })
}

func checkSNPSignature(s *subject) error { return s.report.CheckSignature(s.snpChain) }

// checkSNPRevocation holds the chain to the root's CRLs. Without any it is absent.
func checkSNPRevocation(s *subject) error {
	if err := s.judge("by AMD's list of revoked CAs"); err != nil {
		return err
	}
	if s.collateral.Get(poclog.AMDCRL) == nil {
		return absentf("there is no CRL of AMD's for %s", s.snpChain.Product)
	}
	parts := [][]byte{s.snpChain.CA.Raw, s.snpChain.Root.Raw}
	for _, it := range s.collateral.Items {
		if it.Kind == poclog.AMDCRL {
			parts = append(parts, it.Body)
		}
	}
	key := keyOf("amd crl", s.roots(poclog.RootAMDARK), parts...)
	v, ok := s.in.Known.get(key, s.in.Appraised)
	if !ok {
		r, err := s.snpChain.OpenRevocations(s.collateral, s.in.Appraised)
		if err != nil {
			return err
		}
		s.in.Known.put(key, known{r.Span, r}, s.in.Appraised)
		v = r
	}
	return v.(*snp.Revocations).CheckRevocation(s.snpChain)
}

// checkSNPTCB holds the firmware to the policy's minimum. Nobody publishes one: without it the
// firmware's standing is unknown.
func checkSNPTCB(s *subject) error {
	if err := s.judge("if the policy says which firmware is too old (snp_tcb)"); err != nil {
		return err
	}
	product := string(s.snpChain.Product)
	i := slices.IndexFunc(s.policy.SNPTCB, func(t poclog.SNPTCB) bool { return t.Product == product })
	if i < 0 {
		return absentf("the policy does not say which firmware of %s is too old (snp_tcb)", product)
	}
	if err := s.snpChain.CheckTCB(s.report, s.policy.SNPTCB[i]); err != nil {
		return err
	}
	s.note(verify.TEETCB, "%s firmware %x, at least what the policy wants", product, s.report.Reported)
	return nil
}

// checkSNPLaunch asks who vouches for what was launched: the policy, for the measurement itself or
// for the key that signed its ID block.
func checkSNPLaunch(s *subject) error {
	if err := s.report.CheckVMPL(); err != nil {
		return err
	}
	if err := s.judge("if the policy lists the measurement or its ID key"); err != nil {
		return err
	}
	name := s.name
	measurement, idKey := hex.EncodeToString(s.report.Measurement[:]), hex.EncodeToString(s.report.IDKeyDigest[:])
	for _, l := range s.policy.Launch {
		if l.Profile == name && l.Measurement == measurement {
			s.entry.CVM.EndorsedBy = "policy"
			s.note(verify.TEELaunch, "listed in the policy as %q", l.Name)
			return nil
		}
	}
	for _, k := range s.policy.IDKeys {
		if k.Profile != name || k.Digest != idKey {
			continue
		}
		if s.report.GuestSVN < k.GuestSVN {
			return verify.Failf(verify.TEELaunch, "guest SVN %d of the ID block that %q signed: the policy wants at least %d", s.report.GuestSVN, k.Name, k.GuestSVN)
		}
		s.entry.CVM.EndorsedBy = "policy"
		s.note(verify.TEELaunch, "its ID block is signed by the key that the policy lists as %q", k.Name)
		return nil
	}
	return absentf("nobody vouches for measurement %.16s…: the policy lists neither it nor its ID key", measurement)
}

// checkSNPHCL ties the AK to the guest: the report inside the HCL report is the one that was
// judged, its REPORT_DATA is the hash of the HCL JSON, and that names the certified key.
func checkSNPHCL(s *subject) error {
	rd := &s.report.ReportData
	sum := sha256.Sum256(s.hcl.JSON)
	switch {
	case s.hcl.Type != tpm.HCLTypeSNP:
		return verify.Failf(verify.BindAKInTEE, "HCL report of type %d: want %d (SNP)", s.hcl.Type, tpm.HCLTypeSNP)
	case !s.report.Is(s.hcl.HardwareReport):
		return verify.Failf(verify.BindAKInTEE, "the HCL report has another SNP report than the bundle")
	case !bytes.Equal(rd[:32], sum[:]) || !bytes.Equal(rd[32:], make([]byte, 32)):
		return verify.Failf(verify.BindAKInTEE, "REPORT_DATA %x is not the hash of the HCL JSON, %x", rd[:], sum)
	case !tpm.EqualKeys(s.hcl.AK, s.ak()):
		return verify.Failf(verify.BindAKInTEE, "the HCL report names another AK than the certificate")
	}
	return nil
}

// azureCSPs are the names by which a VLEK can name Azure.
var azureCSPs = []string{"azure", "microsoft"}

// checkAzureSNPPlaces refuses a VLEK of another cloud: AMD says whose chips have it.
func checkAzureSNPPlaces(s *subject) error {
	if csp := s.snpChain.CSPID; csp != "" && !slices.Contains(azureCSPs, strings.ToLower(csp)) {
		return verify.Failf(verify.PlaceAgree, "the AK certificate is Azure's, the VLEK one of the cloud %q", csp)
	}
	return nil
}

// claimSNP fills in what an SNP report says.
func claimSNP(s *subject) {
	r, c, e := s.report, s.snpChain, &s.entry
	e.Quote = r.ID()
	if id, ok := c.ChipID(r); ok {
		e.Chassis = append(e.Chassis, id)
	}
	e.CVM.Technology = "snp"
	e.CVM.Measurement = r.Measurement[:]
	e.CVM.ReportData = r.ReportData
	e.CVM.SNP = &poclog.SNPReport{
		Product: string(c.Product), Signer: c.Signer.String(), Policy: r.Policy, GuestSVN: r.GuestSVN, Reported: r.Reported, Committed: r.Committed,
		Launch: r.Launch, IDKey: verify.UnlessZero(r.IDKeyDigest[:]), HostData: verify.UnlessZero(r.HostData[:]),
	}
	if c.CSPID != "" {
		e.Place = &poclog.Place{Provider: poclog.Claim{Value: c.CSPID, By: []string{poclog.ByVLEK}}}
	}
}

func claimAzureSNP(s *subject) {
	claimAzureVM(s)
	if s.snpChain.CSPID != "" {
		s.entry.Place.Provider.By = append(s.entry.Place.Provider.By, poclog.ByVLEK)
	}
}
