package profile

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/tcglog"
	"github.com/poclog/poclog/verify/tpm"
)

// gceTDX is a TDX VM of Compute Engine with its vTPM: the paper's managed CVM (S1). The binding is two-way: the TD's quote names the AK, the TPM's
// quote names the TD's quote.
var gceTDX = profile{
	name:     poclog.GCETDXvTPM,
	required: []poclog.Item{poclog.ItemTDXQuote, poclog.ItemTPMQuote, poclog.ItemTPMPCRs, poclog.ItemTPMAKChain},
	allowed:  []poclog.Item{poclog.ItemTPMAK, poclog.ItemTCGLog, poclog.ItemCCEL, poclog.ItemChallenge},
	steps: append(append(tdxSteps(required), tpmSteps(akChainTo(poclog.RootGCEAK), checkPCRs)...),
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

// checkAKInReportData ties the AK to the TD: REPORTDATA begins with the hash of its TPMT_PUBLIC.
func checkAKInReportData(s *subject) error {
	item := s.bundle.Get(poclog.ItemTPMAK)
	if len(item) == 0 {
		return lacksf(poclog.ItemTPMAK, "the bundle lacks the AK's TPMT_PUBLIC, whose hash REPORTDATA would carry")
	}
	sum := sha256.Sum256(item)
	if bytes.Equal(s.quote.Body.ReportData[:32], sum[:]) {
		return nil
	}
	if s.challenge == nil {
		return absentf("REPORTDATA does not begin with the AK's hash")
	}
	return verify.Failf(verify.BindAKInTEE, "REPORTDATA %x does not begin with the AK's hash %x", s.quote.Body.ReportData[:32], sum)
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

// checkGCETechnology reads the kind of VM from the log's NonHostInfo event, once the log replays PCR 0.
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
func (s *subject) instance() (*tpm.GCEInstance, error) { return tpm.ParseGCEInstance(s.akChain[0]) }

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

// maxObservation is how old a registry's answer may be when it is judged.
const maxObservation = time.Hour

// A listing is what a provider's registry says of a chip, in the form of Compute Engine's.
type listing struct {
	Zone      string `json:"zone"`
	Timestamp string `json:"timestamp"`
}

// registryAnswer returns the provider's answer on this chip, if the policy has the judge ask and there is one. It must be about this chip and from
// the time of the appraisal.
func (s *subject) registryAnswer(provider string) (*poclog.CollateralItem, error) {
	for _, r := range s.policy.Registries {
		if r.Provider != provider {
			continue
		}
		it, err := s.answerTo(r.Address(hex.EncodeToString(s.quote.Platform.PPID[:])))
		if err != nil {
			return nil, err
		}
		if age := s.in.Appraised.Sub(it.Time); age > maxObservation || age < -verify.MaxSkew {
			return nil, verify.Failf(verify.PlaceRegistry, "the answer was received at %s, judged at %s", it.Time.Format(time.RFC3339), s.in.Appraised.UTC().Format(time.RFC3339))
		}
		return it, nil
	}
	return nil, absentf("the policy names no registry of the provider's chips")
}

// answerTo finds the answer to a question. Answers to others alone are no silence.
func (s *subject) answerTo(url string) (*poclog.CollateralItem, error) {
	asked := ""
	if s.collateral != nil {
		for i := range s.collateral.Items {
			it := &s.collateral.Items[i]
			if it.Kind == poclog.ChipRegistry && it.URL == url {
				return it, nil
			}
			if it.Kind == poclog.ChipRegistry {
				asked = it.URL
			}
		}
	}
	if asked != "" {
		return nil, verify.Failf(verify.PlaceRegistry, "the answer is to %.200q: want %q", asked, url)
	}
	return nil, absentf("the provider's registry did not answer")
}

// observedZone reads a registry's answer. What cannot be read is no answer; that the chip is not listed is one.
func (s *subject) observedZone(provider string) (string, error) {
	it, err := s.registryAnswer(provider)
	if err != nil {
		return "", err
	}
	switch it.Status {
	case 200:
		var l listing
		if len(it.Body) > 1<<14 || json.Unmarshal(it.Body, &l) != nil || !isName(tpm.NormalizeZone(l.Zone)) {
			return "", absentf("the provider's registry gave an answer that cannot be read")
		}
		return tpm.NormalizeZone(l.Zone), nil
	case 404:
		return "", verify.Failf(verify.PlaceRegistry, "the provider's registry does not list chip %x: it stands in no data center of the provider's", s.quote.Platform.PPID)
	}
	return "", absentf("the provider's registry answered with status %d", it.Status)
}

// checkRegistry asks whether the provider lists the chip.
func (s *subject) checkRegistry(provider string) error {
	if err := s.judge("if the judge asks the provider, and it lists the chip"); err != nil {
		return err
	}
	zone, err := s.observedZone(provider)
	if err != nil {
		return err
	}
	s.note(verify.PlaceRegistry, "listed in %s", zone)
	return nil
}

// checkGCEPlaces refuses sources of place that contradict each other. MROWNER is compared, too, where it is set: Compute Engine puts the hash of
// instance, project and zone there. That it agrees proves nothing, for the host that creates a TD writes it.
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

// checkSameZone compares the AK certificate's zone with what the provider's registry says, if it says anything.
func (s *subject) checkSameZone(provider, certified string) error {
	if err := s.judge("by what the provider's registry says, if it is asked"); err != nil {
		return err
	}
	if zone, err := s.observedZone(provider); err == nil && zone != certified {
		return verify.Failf(verify.PlaceAgree, "the AK certificate says %s, the provider's registry %s", certified, zone)
	}
	return nil
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
	if zone, err := s.observedZone(poclog.ProviderGCE); err == nil && zone == g.Zone {
		by = append(by, poclog.ByLogObserved)
	}
	e.Place = &poclog.Place{
		Provider: poclog.Claim{Value: poclog.ProviderGCE, By: []string{poclog.ByAKCertificate}},
		Region:   poclog.Claim{Value: tpm.RegionOf(g.Zone), By: by},
		Zone:     poclog.Claim{Value: g.Zone, By: by},
	}
}
