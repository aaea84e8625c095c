// Package profile appraises bundles: it knows which items each profile has, which checks they must
// pass and in which order, and makes the entry that a log keeps.
//
// An appraisal is a pure function of [Input]. docs/format.md §8 specifies it under the number
// [poclog.Appraisal]; docs/threat-model.md says what it does not prove.
// TestRemovalOfACheckLetsItsAttackPass holds that no check is decoration.
package profile

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
)

// Input is everything that an appraisal depends on.
type Input struct {
	Bundle     []byte    // a bundle's file
	Envelope   []byte    // the envelope that the bundle came in, or nil where no publisher signed
	Collateral []byte    // a collateral file, or nil where there is none
	Policy     []byte    // an appraisal policy's file
	Appraised  time.Time // when validity is judged: whole seconds
	Appraisal  uint32    // the appraisal specification: 1 to poclog.Appraisal

	anyLevel bool // pass evidence of any level: genuine

	// Known, if set, saves work that was done before. It changes no result.
	Known *Known

	Parsed Parsed
}

// Parsed is what an input's files say, for callers that have parsed them: each member must be what
// its file says, or nil, and then the file is parsed. An appraisal changes none of them.
type Parsed struct {
	Bundle     *poclog.Bundle
	Challenge  *poclog.Challenge // of the bundle
	Collateral *poclog.Collateral
	Policy     *poclog.Policy
}

// Appraise judges a bundle. A failed check is an [*verify.Error]. It passes only what the policy
// admits: evidence that lacks a check for the level that the policy asks for is refused with that
// check.
func Appraise(in Input) (*verify.Appraisal, error) { return appraise(in, nil) }

// genuine is [Known.Genuine] without what is known.
func genuine(in Input) (*verify.Appraisal, error) {
	in.anyLevel = true
	return appraise(in, nil)
}

// A step makes one check of a profile.
type step struct {
	check verify.Check
	need  need
	run   func(*subject) error
}

// need says what an absent check means.
type need uint8

const (
	required need = iota // without it the level is 0
	optional             // the entry names it as absent, and that is all
)

// absent is what a step returns when the profile or the evidence cannot make its check.
type absent struct {
	why   string
	lacks []poclog.Item // that the evidence could have
}

func (a absent) Error() string { return a.why }

// errUnasked is what a step returns when the policy does not ask for its check: the entry does not
// speak of it.
var errUnasked = errors.New("the policy does not ask")

func absentf(format string, args ...any) error { return absent{why: fmt.Sprintf(format, args...)} }

// lacksf is absentf for evidence that could have an item.
func lacksf(item poclog.Item, format string, args ...any) error {
	return absent{fmt.Sprintf(format, args...), []poclog.Item{item}}
}

// A profile lists its items, its steps in the order in which they are made, and what it claims
// beyond them.
type profile struct {
	name     poclog.Profile
	required []poclog.Item
	allowed  []poclog.Item // beside the required ones
	steps    []step
	claims   func(*subject) // what the entry says of the TEE
	bound    func(*subject) // what it says of the TPM beside it, where they are bound to each other
}

// profiles is every profile that this software appraises.
var profiles = []*profile{&azureSNP, &azureTDX, &bareMetal, &gceTDX, &snpOnly, &tdxOnly}

// appraise judges a bundle, leaving out checks that a test removes to show what each of them stops.
func appraise(in Input, without map[verify.Check]bool) (*verify.Appraisal, error) {
	s, err := open(in)
	if err != nil {
		return nil, err
	}
	if !without[verify.PublisherSignature] {
		if err := s.publishers(); err != nil {
			return nil, err
		}
	}
	p, err := s.choose()
	if err != nil {
		return nil, err
	}
	if err := s.parse(); err != nil {
		return nil, err
	}
	level := uint32(poclog.LevelBound)
	if p.name.ChipOnly() {
		level = poclog.LevelChip
	}
	missing := make(map[verify.Check]string)
	for _, st := range p.steps {
		if without[st.check] {
			s.pass(st.check, "left out")
			continue
		}
		err := st.run(s)
		var a absent
		switch {
		case errors.Is(err, errUnasked):
		case err == nil:
			s.pass(st.check, "")
		case errors.As(err, &a):
			missing[st.check] = a.why
			s.note(st.check, "%s", a.why)
			if st.need == required {
				level = poclog.LevelChip
			}
		default:
			return nil, err
		}
	}
	if err := s.admit(p, level, missing); err != nil {
		return nil, err
	}
	s.list(missing)
	s.claim(p)
	s.finish(p, level)
	return &verify.Appraisal{Entry: s.entry, Notes: s.notes}, nil
}

// admit holds the appraisal to the policy. The error names the first check whose absence is to
// blame.
func (s *subject) admit(p *profile, level uint32, missing map[verify.Check]string) error {
	historical := s.challenge == nil
	if s.policy.Admits(p.name, int(level), historical) || s.in.anyLevel && s.policy.AdmitsProfile(p.name) {
		return nil
	}
	for _, st := range p.steps {
		if why, ok := missing[st.check]; ok && st.need == required && s.policy.Admits(p.name, poclog.LevelBound, false) {
			return verify.Failf(st.check, "%s; the policy admits %s only with every required check", why, p.name)
		}
	}
	if historical {
		return verify.Failf(verify.Policy, "the policy does not admit historical evidence of profile %s at level %d", p.name, level)
	}
	return verify.Failf(verify.Policy, "the policy does not admit profile %s at level %d", p.name, level)
}

func (s *subject) pass(c verify.Check, why string) {
	s.passed = append(s.passed, c)
	if why != "" {
		s.note(c, "%s", why)
	}
}

func (s *subject) note(c verify.Check, format string, args ...any) {
	s.notes[c] = fmt.Sprintf(format, args...)
}

// claim fills in what the entry names. Evidence whose parts are not bound to each other is not one
// VM's: anybody can put another's TPM quote beside his own TEE's, or another TEE's beside his own
// TPM's. Such an entry names the chip and what it signed, and nothing of the TPM.
func (s *subject) claim(p *profile) {
	p.claims(s)
	if p.bound == nil {
		return
	}
	claimTPM(s)
	if !s.entry.Joined() {
		s.entry.TPM, s.entry.Boot = nil, nil
		return
	}
	p.bound(s)
}

// finish fills in what every profile's entry has.
func (s *subject) finish(p *profile, level uint32) {
	e := &s.entry
	e.Appraisal, e.Profile, e.Level, e.Realm = s.in.Appraisal, p.name, level, s.policy.Realm
	e.Chassis, e.Keys = sortedIdentities(e.Chassis), sortedIdentities(e.Keys)
	e.Appraised = s.in.Appraised.UTC()
	e.Evidence = poclog.EvidenceDigests{Bundle: poclog.BlobOf(s.in.Bundle), Policy: s.law.file}
	if len(e.Publishers) > 0 {
		e.Evidence.Envelope = poclog.BlobOf(s.in.Envelope)
	}
	if len(s.in.Collateral) > 0 {
		e.Evidence.Collateral = poclog.BlobOf(s.in.Collateral)
	}
}

// list names the checks that passed, and those that could not be made.
func (s *subject) list(missing map[verify.Check]string) {
	for _, c := range verify.Checks() {
		if slices.Contains(s.passed, c) {
			s.entry.Checks = append(s.entry.Checks, string(c))
		} else if _, ok := missing[c]; ok {
			s.entry.Absent = append(s.entry.Absent, string(c))
		}
	}
}

func sortedIdentities(ids []poclog.Identity) []poclog.Identity {
	slices.SortFunc(ids, func(a, b poclog.Identity) int { return cmp.Compare(a, b) })
	return slices.Compact(ids)
}
