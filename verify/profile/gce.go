package profile

import (
	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/tcglog"
	"github.com/poclog/poclog/verify/tpm"
)

// gceTDX is a TDX VM of Compute Engine with its vTPM: the paper's managed CVM (S1). The binding is
// two-way: the TD's quote names the AK, the TPM's quote names the TD's quote.
var gceTDX = profile{
	name:     poclog.GCETDXvTPM,
	required: []poclog.Item{poclog.ItemTDXQuote, poclog.ItemTPMQuote, poclog.ItemTPMPCRs, poclog.ItemTPMAKChain},
	allowed:  []poclog.Item{poclog.ItemTPMAK, poclog.ItemTCGLog, poclog.ItemCCEL, poclog.ItemChallenge},
	steps: append(append(tdxSteps(required), tpmSteps(akChainTo(poclog.RootGCEAK))...),
		step{verify.BindAKInTEE, required, checkAKInReportData},
		step{verify.BindTEEInTPM, required, checkTEEInTPM},
		step{verify.BindPCRRTMR, required, checkLogs},
		step{verify.TPMTechnology, required, checkGCETechnology},
		step{verify.PlaceCert, required, checkGCEInstance},
		step{verify.PlaceRegistry, optional, func(s *subject) error { return s.checkRegistry(poclog.ProviderGCE) }},
		step{verify.PlaceAgree, required, checkGCEPlaces},
		endorsedChip,
		endorsedPlatform,
		step{verify.FreshChallenge, required, func(s *subject) error {
			return s.checkFresh(func() []byte { return s.quote.Body.ReportData[32:] })
		}},
	),
	claims: claimTDX,
	bound:  claimGCE,
}

// checkLogs replays both logs to what was signed, and compares them.
func checkLogs(s *subject) error {
	if s.tpmLog == nil || s.tdLog == nil {
		return absent{"the bundle lacks an event log: the TPM's, the TD's, or both", []poclog.Item{poclog.ItemTCGLog, poclog.ItemCCEL}}
	}
	if err := s.tpmLog.CheckPCRs(s.pcrs); err != nil {
		return err
	}
	if err := s.tdLog.CheckRTMRs(&s.quote.Body.RTMRs); err != nil {
		return err
	}
	m, err := tcglog.CrossCheck(s.tpmLog, s.tdLog)
	if err != nil {
		return err
	}
	s.note(verify.BindPCRRTMR, "RTMR0–2: %s events match", m)
	return nil
}

// checkGCETechnology reads the kind of VM from the log's NonHostInfo event, once the log replays
// PCR 0.
func checkGCETechnology(s *subject) error {
	if s.tpmLog == nil {
		return lacksf(poclog.ItemTCGLog, "the bundle lacks the TPM's event log")
	}
	if err := s.tpmLog.CheckPCR(s.pcrs, 0); err != nil {
		return verify.Failf(verify.TPMTechnology, "%w", err)
	}
	technology, err := s.tpmLog.GCETechnology()
	if err != nil {
		return err
	}
	if technology != tcglog.GCETechnologyTDX {
		return verify.Failf(verify.TPMTechnology, "PCR 0 says technology %d: want %d (TDX)", technology, tcglog.GCETechnologyTDX)
	}
	return nil
}

// instance returns what the AK certificate says of the instance.
func (s *subject) instance() (g *tpm.GCEInstance, err error) {
	if s.gce == nil {
		s.gce, err = tpm.ParseGCEInstance(s.akChain[0])
	}
	return s.gce, err
}

func checkGCEInstance(s *subject) error {
	g, err := s.instance()
	if err != nil {
		return err
	}
	if !g.Production {
		return verify.Failf(verify.PlaceCert, "the AK certificate is not one of a production instance")
	}
	s.note(verify.PlaceCert, "instance %q in %s", g.InstanceName, g.Zone)
	return nil
}

// checkGCEPlaces refuses sources of place that contradict each other. MROWNER is compared, too,
// where it is set: Compute Engine puts the hash of instance, project and zone there. That it agrees
// proves nothing, for the host that creates a TD writes it.
func checkGCEPlaces(s *subject) error {
	g, err := s.instance()
	if err != nil {
		return verify.Failf(verify.PlaceAgree, "%w", err)
	}
	if owner := s.quote.Body.MROwner; owner != [48]byte{} && owner != g.PZID() {
		return verify.Failf(verify.PlaceAgree, "MROWNER %x is not the hash of the certificate's instance %d in %s", owner, g.InstanceID, g.Zone)
	}
	return s.checkSameZone(poclog.ProviderGCE, g.Zone)
}

// claimGCE fills in what Compute Engine says of the VM.
func claimGCE(s *subject) {
	e := &s.entry
	e.Keys = append(e.Keys, keyIdentity(poclog.TPMAK, s.ak()))
	g, err := s.instance()
	if err != nil {
		return
	}
	e.Instance = poclog.GCEInstanceIdentity(g.ProjectNumber, g.InstanceID)
	by := []string{poclog.ByAKCertificate}
	if zone, _ := s.observedZone(poclog.ProviderGCE); zone == g.Zone { // without an answer it is none
		by = append(by, poclog.ByLogObserved)
	}
	e.Place = &poclog.Place{
		Provider: poclog.Claim{Value: poclog.ProviderGCE, By: []string{poclog.ByAKCertificate}},
		Region:   poclog.Claim{Value: tpm.RegionOf(g.Zone), By: by},
		Zone:     poclog.Claim{Value: g.Zone, By: by},
	}
}
