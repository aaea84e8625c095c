package profile

import (
	"errors"
	"fmt"
	"slices"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
)

// An Outlook says what can become of a bundle that nobody has judged yet.
type Outlook struct {
	Profile poclog.Profile
	Level   int           // that a judge can give at most: 2, 0 or LevelNone
	Missing []poclog.Item // without which no judge looks at it
	Checks  []Prospect    // in the order of docs/format.md §8
}

// LevelNone is the level of a bundle that no judge accepts at any.
const LevelNone = -1

// A State says what a bundle has for a check.
type State string

// States of a check.
const (
	Carried State = "carried" // all that the check takes of the bundle; what else it takes is the judge's
	Lost    State = "lost"    // not all: an entry would name the check as absent
	Refused State = "refused" // what contradicts itself: whoever judges the bundle refuses it
)

// A Prospect says of one check what a bundle has for it.
type Prospect struct {
	Check verify.Check
	State State
	Why   string        // what is missing or wrong; of a carried check what the judge brings, if it takes more than the bundle
	Lacks []poclog.Item // with which it could be carried; empty if nothing that could be added makes it so
}

// Look says which checks of a profile a bundle can pass, and what is lacking and why. It makes the
// checks themselves, as far as they depend on the bundle alone: roots, collateral, policy and time
// are the judge's, and nothing here is a verdict. The bundle may lack items. One that does not
// parse is a [verify.Format] error.
func Look(name poclog.Profile, b *poclog.Bundle) (*Outlook, error) {
	i := slices.IndexFunc(profiles, func(p *profile) bool { return p.name == name })
	if i < 0 {
		return nil, verify.Failf(verify.Profile, "profile %s: this software does not appraise it", name)
	}
	p := profiles[i]
	s := &subject{bundle: b, name: name, notes: make(map[verify.Check]string)}
	if err := s.parse(); err != nil {
		return nil, err
	}
	o := &Outlook{Profile: name, Level: poclog.LevelBound}
	if name.ChipOnly() {
		o.Level = poclog.LevelChip
	}
	for _, st := range p.steps {
		if prospect, asked := s.look(p, &st); asked {
			o.Checks = append(o.Checks, prospect)
			o.Level = min(o.Level, st.atMost(prospect.State))
		}
	}
	for _, item := range p.required {
		if !b.Has(item) {
			o.Missing, o.Level = append(o.Missing, item), LevelNone
		}
	}
	order := verify.Checks()
	slices.SortFunc(o.Checks, func(a, b Prospect) int { return slices.Index(order, a.Check) - slices.Index(order, b.Check) })
	return o, nil
}

// look makes one check of a bundle alone. It is false if only a policy asks for the check.
func (s *subject) look(p *profile, st *step) (Prospect, bool) {
	out := Prospect{Check: st.check, State: Carried}
	if lacks := p.lacking(s.bundle, st.check); len(lacks) > 0 {
		out.State, out.Lacks, out.Why = Lost, lacks, "the bundle has no "+words(lacks)
		return out, true
	}
	err := st.run(s)
	var a absent
	var j judges
	var v *verify.Error
	switch {
	case err == nil:
	case errors.Is(err, errUnasked):
		return out, false
	case errors.As(err, &j):
		out.Why = j.by
	case errors.As(err, &a):
		out.State, out.Why, out.Lacks = Lost, a.why, a.lacks
	case errors.As(err, &v):
		out.State, out.Why = Refused, v.Detail
	default:
		out.State, out.Why = Refused, err.Error()
	}
	return out, true
}

// atMost is the level that a step's state leaves.
func (st *step) atMost(state State) int {
	switch {
	case state == Refused:
		return LevelNone
	case state == Lost && st.need == required:
		return poclog.LevelChip
	}
	return poclog.LevelBound
}

// judges is what a step returns of a bundle alone once the rest is the judge's.
type judges struct{ by string }

func (j judges) Error() string { return j.by }

// judge ends a step of a bundle alone: what follows takes what only a judge has. by says what.
func (s *subject) judge(by string) error {
	if s.policy == nil {
		return judges{by}
	}
	return nil
}

// lacking returns which of a profile's required items a check takes and a bundle lacks. Of others
// the steps themselves say that they are absent.
func (p *profile) lacking(b *poclog.Bundle, c verify.Check) (lacks []poclog.Item) {
	for _, item := range p.takes(c) {
		if slices.Contains(p.required, item) && !b.Has(item) {
			lacks = append(lacks, item)
		}
	}
	return lacks
}

// takes returns the items that a check needs, of all profiles.
func (p *profile) takes(c verify.Check) []poclog.Item {
	tee := []poclog.Item{poclog.ItemTDXQuote, poclog.ItemSNPReport}
	switch c {
	case verify.TEEChain, verify.TEESignature, verify.TEERevocation, verify.TEETCB:
		return append(tee, poclog.ItemSNPCerts)
	case verify.TEENoDebug, verify.TEELaunch:
		return tee
	case verify.TPMSignature, verify.TPMAKTemplate:
		return []poclog.Item{poclog.ItemTPMQuote, poclog.ItemTPMAKChain}
	case verify.TPMPCRDigest, verify.TPMTechnology, verify.BindTXT:
		return []poclog.Item{poclog.ItemTPMQuote, poclog.ItemTPMPCRs}
	case verify.TPMAKPolicy:
		return []poclog.Item{poclog.ItemTPMQuote, poclog.ItemTPMPCRs, poclog.ItemTPMAK}
	case verify.TPMAKChain:
		return []poclog.Item{poclog.ItemTPMAKChain, poclog.ItemTPMEKChain}
	case verify.BindAKInTEE:
		if slices.Contains(p.required, poclog.ItemHCLReport) {
			return append(tee, poclog.ItemHCLReport, poclog.ItemTPMAKChain)
		}
		return tee
	case verify.BindTEEInTPM:
		return append(tee, poclog.ItemTPMQuote)
	case verify.BindPCRRTMR:
		return append(tee, poclog.ItemTPMQuote, poclog.ItemTPMPCRs)
	case verify.PlaceCert:
		return []poclog.Item{poclog.ItemTPMAKChain}
	case verify.BindChassis, verify.PlaceRegistry, verify.PlaceAgree:
		return append(tee, poclog.ItemSNPCerts, poclog.ItemTPMAKChain)
	case verify.FreshChallenge:
		return append(tee, poclog.ItemHCLReport)
	}
	return nil
}

// words names items for people.
func words(items []poclog.Item) string {
	known := map[poclog.Item]string{
		poclog.ItemTDXQuote: "TDX quote", poclog.ItemSNPReport: "SEV-SNP report", poclog.ItemSNPCerts: "certificates of the chip's key",
		poclog.ItemTPMQuote: "TPM quote", poclog.ItemTPMPCRs: "PCR values", poclog.ItemTPMAK: "TPMT_PUBLIC of the AK",
		poclog.ItemTPMAKChain: "chain of the AK's certificate up to a root", poclog.ItemTPMEKChain: "chain of the EK's certificate up to a root",
		poclog.ItemHCLReport: "HCL report",
	}
	text := ""
	for i, item := range items {
		if i > 0 {
			text += " and no "
		}
		if name, ok := known[item]; ok {
			text += name
		} else {
			text += fmt.Sprintf("item %s", item)
		}
	}
	return text
}
