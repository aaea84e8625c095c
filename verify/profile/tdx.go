package profile

import (
	"encoding/hex"
	"slices"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/tdx"
	"github.com/poclog/poclog/verify/vouch/launch"
)

// tdxSteps are the checks of a TDX quote: what runs, and that the chip is genuine. The chain comes
// first, for signatures mean nothing before it.
func tdxSteps(launch need) []step {
	return []step{
		{verify.TEEChain, required, checkTDXChain},
		{verify.TEESignature, required, checkTDXSignature},
		{verify.TEENoDebug, required, func(s *subject) error { return s.quote.CheckNoDebug() }},
		{verify.TEERevocation, required, checkTDXRevocation},
		{verify.TEETCB, required, checkTDXTCB},
		{verify.TEELaunch, launch, checkLaunch},
	}
}

// checkTDXChain verifies the chip's certificates, once for a platform while they are valid.
func checkTDXChain(s *subject) error {
	if err := s.judge("if the policy lists the root"); err != nil {
		return err
	}
	q, roots := s.quote, s.roots(poclog.RootIntelSGX)
	key := keyOf("tdx chain", roots, q.Text)
	if _, ok := s.in.Known.get(key, s.in.Appraised); ok {
		return nil
	}
	if err := q.CheckChain(roots, s.in.Appraised); err != nil {
		return err
	}
	holds, verified := validity(q.PCK, q.CA, q.Root), q.Chain
	verified.Text = nil // which is the submission's
	holds.value = &verified
	s.in.Known.put(key, holds, s.in.Appraised)
	return nil
}

// knownTDXChain returns a chain that an appraisal verified before.
func (s *subject) knownTDXChain(text []byte) *tdx.Chain {
	if s.in.Known == nil {
		return nil
	}
	v, _ := s.in.Known.get(keyOf("tdx chain", s.roots(poclog.RootIntelSGX), text), s.in.Appraised)
	c, _ := v.(*tdx.Chain)
	return c
}

func checkTDXSignature(s *subject) error { return s.quote.CheckSignature() }

var intelKinds = []poclog.CollateralKind{poclog.TDXTCBInfo, poclog.TDXQEIdentity, poclog.IntelPCKCRL, poclog.IntelRootCRL}

// openIntel authenticates Intel's collateral once. Without any it is absent; with a part of it, it
// is refused.
func (s *subject) openIntel() error {
	if s.intel != nil {
		return nil
	}
	if !slices.ContainsFunc(intelKinds, func(k poclog.CollateralKind) bool { return s.collateral.Get(k) != nil }) {
		return absentf("there is no collateral of Intel's for the platform")
	}
	roots := s.roots(poclog.RootIntelSGX)
	// The CRLs are checked against this chain, and TCB info against this platform.
	parts := [][]byte{s.quote.PCK.Raw, s.quote.CA.Raw, s.quote.Root.Raw}
	for _, k := range intelKinds {
		it := s.collateral.Get(k)
		if it == nil {
			it = new(poclog.CollateralItem)
		}
		parts = append(parts, it.Chain, it.Body)
	}
	key := keyOf("intel collateral", roots, parts...)
	if v, ok := s.in.Known.get(key, s.in.Appraised); ok {
		s.intel = v.(*tdx.Collateral)
		return nil
	}
	var err error
	if s.intel, err = tdx.OpenCollateral(s.quote, s.collateral, s.in.Appraised); err == nil {
		s.in.Known.put(key, known{s.intel.Span, s.intel}, s.in.Appraised)
	}
	return err
}

// byIntel is what a judge brings to a TDX platform's standing.
const byIntel = "by Intel's collateral for this platform"

func checkTDXRevocation(s *subject) error {
	if err := s.judge(byIntel); err != nil {
		return err
	}
	if err := s.openIntel(); err != nil {
		return err
	}
	return s.intel.CheckRevocation(s.quote)
}

func checkTDXTCB(s *subject) error {
	if err := s.judge(byIntel); err != nil {
		return err
	}
	if err := s.openIntel(); err != nil {
		return err
	}
	tcb, err := s.intel.TCB(s.quote)
	if err != nil {
		return err
	}
	if err := tdx.CheckTCB(tcb, s.policy.TCB); err != nil {
		return err
	}
	s.entry.CVM.TCB = tcb
	s.note(verify.TEETCB, "%s as of %s, evaluation %d", tcb.Status, tcb.Date.Format("2006-01-02"), tcb.Evaluation)
	return nil
}

// checkLaunch asks who vouches for the launch measurement. Without it an attacker runs firmware of
// his own that answers all other checks.
func checkLaunch(s *subject) error {
	if err := s.judge("if the provider's endorsement or the policy lists the launch measurement"); err != nil {
		return err
	}
	mrtd := hex.EncodeToString(s.quote.Body.MRTD[:])
	for _, l := range s.policy.Launch {
		if l.Profile == s.name && l.Measurement == mrtd {
			s.entry.CVM.EndorsedBy = "policy"
			s.note(verify.TEELaunch, "listed in the policy as %q", l.Name)
			return nil
		}
	}
	if it := s.collateral.Get(poclog.LaunchEndorsement); it != nil && s.name == poclog.GCETDXvTPM {
		if err := s.checkEndorsement(it); err != nil {
			return err
		}
		s.entry.CVM.EndorsedBy = "provider"
		s.note(verify.TEELaunch, "endorsed by the provider's signature")
		return nil
	}
	return absentf("nobody vouches for MRTD %.16s…: no provider's endorsement, and the policy does not list it", mrtd)
}

// checkEndorsement verifies the provider's statement on this launch measurement.
func (s *subject) checkEndorsement(it *poclog.CollateralItem) error {
	roots := s.roots(poclog.RootGCELaunch)
	key := keyOf("gce launch", roots, it.Chain, it.Body, s.quote.Body.MRTD[:])
	if _, ok := s.in.Known.get(key, s.in.Appraised); ok {
		return nil
	}
	holds, err := launch.CheckGCE(it, s.quote.Body.MRTD[:], roots, s.in.Appraised)
	if err == nil {
		s.in.Known.put(key, known{Span: holds}, s.in.Appraised)
	}
	return err
}

// claimTDX fills in what a TDX quote says.
func claimTDX(s *subject) {
	b, e := &s.quote.Body, &s.entry
	e.Quote = s.quote.ID()
	e.Chassis = append(e.Chassis, s.quote.Platform.Identities()...)
	e.CVM.Technology = "tdx"
	e.CVM.Measurement = b.MRTD[:]
	if b.RTMRs != [4][48]byte{} {
		e.CVM.RTMRs = b.RTMRs[:]
	}
	e.CVM.ReportData = b.ReportData
	e.CVM.MROwner = verify.UnlessZero(b.MROwner[:])
	e.CVM.MRConfigID = verify.UnlessZero(b.MRConfigID[:])
	e.CVM.FMSPC = s.quote.Platform.FMSPC[:]
	e.CVM.PCEID = s.quote.Platform.PCEID[:]
}

// tdxOnly is the chip-only profile: a genuine chip, and what runs on it; level 0.
var tdxOnly = profile{
	name:     poclog.TDX,
	required: []poclog.Item{poclog.ItemTDXQuote},
	allowed:  []poclog.Item{poclog.ItemChallenge},
	steps: append(tdxSteps(optional), endorsedChip, endorsedPlatform, step{verify.FreshChallenge, optional, func(s *subject) error {
		return s.checkFresh(func() []byte { return nonceAlone(&s.quote.Body.ReportData) })
	}}),
	claims: claimTDX,
}
