package dossier

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/index"
	"github.com/poclog/poclog/verify/receipt"
	"github.com/poclog/poclog/verify/rule"
	"github.com/poclog/poclog/verify/vouch/registry"
)

// Steps of holding a receipt to what registrars say, docs/format.md §18.3.
const (
	StepStanding   verify.Check = "standing"    // no registrar that the reader pins froze or revoked an identity of the receipt
	StepEndorsedBy verify.Check = "endorsed-by" // the registrars that the reader names vouch for it
)

// An Endorser is a registrar that must vouch for a receipt's machine, at a level or above.
type Endorser struct {
	Name  string
	Level uint32 // 1 to 3
}

// ParseEndorser reads NAME, which is of level 1 or above, or NAME@LEVEL.
func ParseEndorser(text string) (Endorser, error) {
	name, level := text, "1"
	if at := strings.LastIndexByte(text, '@'); at >= 0 {
		name, level = text[:at], text[at+1:]
	}
	if name == "" || level != "1" && level != "2" && level != "3" {
		return Endorser{}, fmt.Errorf("%.80q: want NAME or NAME@LEVEL, of level 1 to 3", text)
	}
	return Endorser{Name: name, Level: uint32(level[0] - '0')}, nil
}

// A Subject is an identity with what the reader's registrars say of it. Its JSON is a stable
// schema. All texts are the registrars' words.
type Subject struct {
	Identity  poclog.Identity     `json:"identity"`
	Standings []registry.Standing `json:"standings"` // ascending by registrar; of those who said something that counts
	Moves     []Explained         `json:"moves,omitempty"`
}

// An Explained is a change of place that a registrar announced. It changes no finding.
type Explained struct {
	Registrar string `json:"registrar"`
	Source    string `json:"source"` // provider/region/zone
	Target    string `json:"target"`
}

// stand finds the standing of every identity whose statements are covered.
func (k *checking) stand(now time.Time) {
	a, pins := k.answer, k.demands.Registrars
	a.pins, a.now, a.endorsers, a.openings = pins, now, k.demands.EndorsedBy, k.demands.Openings
	if pins == nil {
		return
	}
	for i := range a.Entries {
		e := &a.Entries[i]
		if e.kind != poclog.LeafStatement {
			continue
		}
		s := e.Leaf().Statement
		x := registry.Stated{Number: e.Number, Logged: s.Time, Envelope: &s.Envelope}
		if e.T2.Known {
			x.Logged, x.Bounded = e.T2.Time, true
		}
		a.stated = append(a.stated, x)
	}
	for _, n := range a.Names {
		subject, ok := strings.CutPrefix(n.Name, index.Statements)
		if !ok {
			continue
		}
		id := poclog.Identity(subject)
		s := Subject{Identity: id, Standings: append([]registry.Standing{}, pins.Of(a.stated, a.Origin, id, a.Size, now)...)}
		for j := range s.Standings {
			s.Moves = append(s.Moves, a.explained(id, &s.Standings[j])...)
		}
		a.Subjects = append(a.Subjects, s)
	}
}

// explained lists the changes of place of an identity that a registrar announced, by the proofs
// that the rules compare. The first at the target was made after a known time, and those at the
// source before one.
func (a *Answer) explained(id poclog.Identity, s *registry.Standing) (list []Explained) {
	for _, m := range s.Announced() {
		var moved, last time.Time
		known := true
		for i := range a.Entries {
			e := &a.Entries[i]
			if !e.names(id) || e.proof.Realm != a.realm {
				continue
			}
			switch {
			case isAt(m.Target, e.proof):
				if known = known && e.T1.Known; moved.IsZero() || e.T1.Time.Before(moved) {
					moved = e.T1.Time
				}
			case isAt(m.Source, e.proof):
				if known = known && e.T2.Known; e.T2.Time.After(last) {
					last = e.T2.Time
				}
			}
		}
		if known && !last.IsZero() && s.Explains(*m.Source, *m.Target, moved, last) != nil {
			list = append(list, Explained{s.Registrar, m.Source.String(), m.Target.String()})
		}
	}
	return list
}

// names reports whether an entry is a proof that names an identity, which is no quote.
func (e *Entry) names(id poclog.Identity) bool {
	if e.kind != poclog.LeafProof {
		return false
	}
	return e.proof.States([]byte(id)) || e.proof.More && slices.Contains(e.Leaf().Proof.Identities(), id)
}

// isAt reports whether the proven place of a proof lies in one that a registrar states.
func isAt(stated *poclog.StatedPlace, p *poclog.Projection) bool {
	is := func(c *poclog.ProjectedClaim, want string) bool {
		return want == "" || c.Authentic && string(c.Value) == want
	}
	return is(&p.Provider, stated.Provider) && is(&p.Region, stated.Region) && is(&p.Zone, stated.Zone)
}

// StatementNamesFor returns the names whose lists say what registrars stated of an entry's
// identities.
func StatementNamesFor(e *poclog.Entry) (names []string) {
	for _, id := range e.Identities() {
		if id.Kind() != poclog.QuoteKind {
			names = append(names, index.Statements+string(id))
		}
	}
	return names
}

// stands holds a receipt to the registrars that the reader pins: none of them froze or revoked one
// of its identities, and each endorser vouches for one. Without pins nobody is asked. A dossier of
// another log is held to what it covers; what it does not cover, it is not asked about.
func (a *Answer) stands(v *receipt.Verdict, endorsers []Endorser) error {
	if a.pins == nil || len(a.pins.Names()) == 0 {
		if len(endorsers) > 0 {
			return verify.Failf(StepEndorsedBy, "nobody pinned %q", endorsers[0].Name)
		}
		return nil
	}
	var t2 time.Time
	if v.T2.Known {
		t2 = v.T2.Time
	}
	var mine []*Subject
	for _, name := range StatementNamesFor(v.Entry) {
		id := poclog.Identity(strings.TrimPrefix(name, index.Statements))
		i := slices.IndexFunc(a.Subjects, func(s Subject) bool { return s.Identity == id })
		switch {
		case i >= 0:
			mine = append(mine, &a.Subjects[i])
		case v.Origin == a.Origin:
			return verify.Failf(StepStanding, "it says nothing of what registrars stated of %s: get one that covers %s", id, name)
		}
	}
	for _, s := range mine {
		for i := range s.Standings {
			if err := s.Standings[i].Objects(t2, a.now); err != nil {
				return verify.Failf(StepStanding, "%s: %w", s.Identity, err)
			}
		}
	}
	for _, want := range endorsers {
		if err := a.vouched(v.Entry, mine, want, t2); err != nil {
			return err
		}
	}
	return nil
}

// vouched is why an endorser does not vouch for an entry's machine, or nil.
func (a *Answer) vouched(e *poclog.Entry, mine []*Subject, want Endorser, t2 time.Time) error {
	if !slices.Contains(a.pins.Names(), want.Name) {
		return verify.Failf(StepEndorsedBy, "%q is no registrar that you pinned", want.Name)
	}
	why := verify.Failf(StepEndorsedBy, "%q stated nothing of this machine that counts", want.Name)
	for _, s := range mine {
		for i := range s.Standings {
			if s.Standings[i].Registrar != want.Name || !certified(e, s.Identity) {
				continue
			}
			err := s.Standings[i].Vouches(want.Level, t2, a.now)
			if err == nil {
				return nil
			}
			why = verify.Failf(StepEndorsedBy, "%s: %w", s.Identity, err)
		}
	}
	for _, o := range a.openings {
		if !slices.Contains(e.Identities(), o.Identity) || !certified(e, o.Identity) {
			continue
		}
		if name := index.RegistrarName(want.Name); !slices.ContainsFunc(a.Names, func(n Name) bool { return n.Name == name }) {
			return verify.Failf(StepEndorsedBy, "an opening needs a dossier that covers %s, the commitments of %q", name, want.Name)
		}
		err := registry.CheckFleet(o, a.pins.Commitment(a.stated, a.Origin, want.Name, a.Size), want.Level, t2, a.now)
		if err == nil {
			return nil
		}
		why = verify.Failf(StepEndorsedBy, "opening of %s: %w", o.Identity, err)
	}
	return why
}

// certified reports whether an entry's evidence shows the identity itself.
func certified(e *poclog.Entry, id poclog.Identity) bool {
	return id.Kind() != poclog.AMDChipID || rule.ChipCertified(e)
}
