package profile

import (
	"crypto"
	"crypto/x509"
	"encoding/hex"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/tpm"
)

// bareMetal is a TDX VM on a machine of one tenant, with a discrete TPM and Intel TXT: the paper's
// S2. The TPM is the host's. That its key answers for TDs of this machine alone follows from the
// launch that it is tied to: the key signs only while PCR 17 and 18 hold a launch of the policy,
// and the policy lists launches that keep the TPM's commands to their own TDs.
var bareMetal = profile{
	name: poclog.BareMetalTDXTPM,
	required: []poclog.Item{
		poclog.ItemTDXQuote, poclog.ItemTPMQuote, poclog.ItemTPMPCRs, poclog.ItemTPMAK, poclog.ItemTPMAKChain, poclog.ItemTPMEKChain,
	},
	allowed: []poclog.Item{poclog.ItemTCGLog, poclog.ItemCCEL, poclog.ItemChallenge},
	steps: append(append(tdxSteps(required), tpmSteps(checkBareMetalChains)...),
		step{verify.TPMAKPolicy, required, checkAKPolicy},
		step{verify.BindTXT, required, checkTXT},
		step{verify.BindAKInTEE, required, checkAKInReportData},
		step{verify.BindTEEInTPM, required, checkTEEInTPM},
		step{verify.BindPCRRTMR, optional, checkBareMetalLogs},
		step{verify.PlaceCert, required, checkBareMetalPlace},
		step{verify.BindChassis, optional, checkChassis},
		step{verify.PlaceRegistry, optional, checkBareMetalRegistry},
		step{verify.PlaceAgree, required, checkBareMetalPlaces},
		endorsedChip,
		endorsedPlatform,
		step{verify.FreshChallenge, required, func(s *subject) error {
			return s.checkFresh(func() []byte { return s.quote.Body.ReportData[32:] })
		}},
	),
	claims: claimTDX,
	bound:  claimBareMetal,
}

// checkBareMetalChains verifies that the provider certified the AK, that a maker of TPMs or the
// provider certified the EK, and that the AK's certificate names this EK: without that, anybody's
// EK could stand beside the AK.
func checkBareMetalChains(s *subject) error {
	if err := tpm.CheckAKCertificate(s.akChain[0], s.ekChain[0]); err != nil {
		return err
	}
	if err := s.checkAKChain(poclog.RootProviderAK); err != nil {
		return err
	}
	return s.checkEKChain()
}

// checkEKChain verifies the EK's certificates, once while they are valid.
func (s *subject) checkEKChain() error {
	return s.checkTPMChain("ek chain", poclog.ItemTPMEKChain, s.ekChain, poclog.RootTPMEK, func(leaf *x509.Certificate) error {
		_, err := tpm.CheckEKCertificate(verify.TPMAKChain, leaf)
		return err
	})
}

// ek returns the endorsement key that the AK's certificate names, once tpm.ak-chain has passed.
func (s *subject) ek() crypto.PublicKey { return s.ekChain[0].PublicKey }

// checkAKPolicy holds the AK to the launch that the quote shows, whichever it is: whether it is
// allowed, checkTXT says.
func checkAKPolicy(s *subject) (err error) {
	s.launchBank, err = tpm.CheckAKPolicy(s.public, s.pcrs)
	return err
}

// checkTXT looks for the launch among those of the policy, in the bank that the AK's policy is
// about: another bank's values would say nothing of when the AK signs.
func checkTXT(s *subject) error {
	shown := ""
	for _, alg := range tpm.LaunchBanks {
		if s.launchBank != 0 && alg != s.launchBank {
			continue
		}
		pcr17, pcr18, ok := s.pcrs.Launch(alg)
		if !ok {
			continue
		}
		if err := s.judge("if the policy lists the launch"); err != nil {
			return err
		}
		for _, l := range s.policy.TXT {
			if l.Alg == alg.String() && l.PCR17 == hex.EncodeToString(pcr17) && l.PCR18 == hex.EncodeToString(pcr18) {
				s.note(verify.BindTXT, "launched %q", l.Name)
				return nil
			}
		}
		shown = hex.EncodeToString(pcr17) + " and " + hex.EncodeToString(pcr18) + " (" + alg.String() + ")"
	}
	if shown == "" {
		return verify.Failf(verify.BindTXT, "the quote covers PCR 17 and 18 in no bank of SHA-256 or SHA-384")
	}
	return verify.Failf(verify.BindTXT, "PCR 17 and 18 hold %s: the policy lists no such launch", shown)
}

// checkBareMetalLogs replays what logs there are. They are not compared: the TPM heard the host's
// boot, the registers the guest's.
func checkBareMetalLogs(s *subject) error {
	if s.tpmLog != nil {
		if err := s.tpmLog.CheckCovered(s.pcrs); err != nil {
			return err
		}
	}
	if s.tdLog != nil {
		if err := s.tdLog.CheckRTMRs(&s.quote.Body.RTMRs); err != nil {
			return err
		}
	}
	return absentf("the TPM hears the host's boot, the RTMRs the guest's")
}

// platform returns what the AK certificate says of the machine.
func (s *subject) platform() (*tpm.Platform, error) { return tpm.ParsePlatform(s.akChain[0]) }

// checkBareMetalPlace reads the machine's place from the AK certificate. A root speaks for one
// provider only, whose name the policy gives it: else each of several providers could place its
// machines with another.
func checkBareMetalPlace(s *subject) error {
	p, err := s.platform()
	if err != nil {
		return err
	}
	if err := s.judge("if the policy lists the root as that provider's"); err != nil {
		return err
	}
	root := poclog.Sum(s.akChain[len(s.akChain)-1].Raw)
	for _, r := range s.policy.Roots {
		if r.Use == poclog.RootProviderAK && r.SHA256 == root && r.Name == p.Provider {
			s.note(verify.PlaceCert, "a machine of %s in %s", p.Provider, p.Zone)
			return nil
		}
	}
	return verify.Failf(verify.PlaceCert, "the AK certificate places the machine with %q: the policy does not list its root as that provider's", p.Provider)
}

// checkChassis holds the TD's chip to the one that the provider says is in the machine with this
// TPM.
func checkChassis(s *subject) error {
	p, err := s.platform()
	if err != nil {
		return verify.Failf(verify.BindChassis, "%w", err)
	}
	if p.Chip == "" {
		return absentf("the AK certificate does not name the machine's chip")
	}
	chip, _ := poclog.HexIdentity(poclog.IntelPPID, s.quote.Platform.PPID[:])
	if chip != p.Chip {
		return verify.Failf(verify.BindChassis, "the TD runs on %s: the AK certificate is for a machine with %s", chip, p.Chip)
	}
	return nil
}

func checkBareMetalRegistry(s *subject) error {
	p, err := s.platform()
	if err != nil {
		return verify.Failf(verify.PlaceRegistry, "%w", err)
	}
	return s.checkRegistry(p.Provider)
}

func checkBareMetalPlaces(s *subject) error {
	p, err := s.platform()
	if err != nil {
		return verify.Failf(verify.PlaceAgree, "%w", err)
	}
	return s.checkSameZone(p.Provider, p.Zone)
}

// claimBareMetal fills in what the provider says of the machine.
func claimBareMetal(s *subject) {
	e := &s.entry
	e.Keys = append(e.Keys, keyIdentity(poclog.TPMAK, s.ak()))
	e.Chassis = append(e.Chassis, keyIdentity(poclog.TPMEK, s.ek()))
	p, err := s.platform()
	if err != nil {
		return
	}
	by := []string{poclog.ByAKCertificate}
	if zone, _ := s.observedZone(p.Provider); zone == p.Zone { // without an answer it is none
		by = append(by, poclog.ByLogObserved)
	}
	e.Place = &poclog.Place{
		Provider: poclog.Claim{Value: p.Provider, By: []string{poclog.ByAKCertificate}},
		Region:   poclog.Claim{Value: p.Region, By: []string{poclog.ByAKCertificate}},
		Zone:     poclog.Claim{Value: p.Zone, By: by},
	}
}
