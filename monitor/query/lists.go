package query

import (
	"cmp"
	"encoding/hex"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/monitor"
)

// Records is a sequence of what a monitor keeps, in log order, that ends at the first error.
type Records = iter.Seq2[*monitor.Record, error]

// A Filter picks proofs.
type Filter struct {
	Place    PlaceQuery
	Unproven bool         // also by places that nothing authenticates: level 0, and hints
	Realm    poclog.Realm // "" is any
	Level    uint32       // at least
	// Since and Until bound when a proof was appraised, From ≤ t < To; zero is unbounded.
	Since, Until time.Time
}

func (f *Filter) picks(r *monitor.Record) bool {
	switch {
	case r.Kind != monitor.KindProof, r.Level < f.Level, f.Realm != "" && r.Realm != f.Realm:
		return false
	case !f.Since.IsZero() && r.Appraised.Before(f.Since), !f.Until.IsZero() && !r.Appraised.Before(f.Until):
		return false
	}
	return f.Place.All() || f.Place.Has(Proven(r)) || f.Unproven && f.Place.Has(Claimed(r))
}

// proofs yields what a filter picks.
func (f *Filter) proofs(records Records) Records {
	return func(yield func(*monitor.Record, error) bool) {
		for r, err := range records {
			if err != nil {
				yield(nil, err)
				return
			}
			if f.picks(r) && !yield(r, nil) {
				return
			}
		}
	}
}

// Seen is when something was proven, by how many proofs, and where to look.
type Seen struct {
	First  time.Time        `json:"first"` // appraised
	Last   time.Time        `json:"last"`
	Proofs int              `json:"proofs"`
	Newest monitor.EntryRef `json:"newest"`
}

// add takes a proof in, and reports whether it is the newest.
func (s *Seen) add(r *monitor.Record) bool {
	s.Proofs++
	if s.Proofs == 1 || r.Appraised.Before(s.First) {
		s.First = r.Appraised
	}
	if s.Proofs > 1 && r.Appraised.Before(s.Last) {
		return false
	}
	s.Last, s.Newest = r.Appraised, monitor.EntryRef{Origin: r.Origin, Index: r.Index}
	return true
}

// A CVM is a confidential VM on one chip at one place with one launch measurement. A VM that moves,
// or boots other firmware, is one more.
type CVM struct {
	Seen
	Realm       poclog.Realm    `json:"realm"`
	Profile     poclog.Profile  `json:"profile"`
	Level       uint32          `json:"level"`
	Place       Place           `json:"place"`          // as proven; empty if nothing proves it
	Hint        string          `json:"hint,omitempty"` // the claimed place, where it says more than is proven
	Chip        poclog.Identity `json:"chip,omitempty"` // absent where a host masks it
	Instance    poclog.Identity `json:"instance,omitempty"`
	AK          poclog.Identity `json:"ak,omitempty"`
	Boot        string          `json:"boot,omitempty"` // of VMs that nothing names: reset and restart count, "reset.restart"
	Measurement string          `json:"measurement"`    // MRTD or launch measurement, hexadecimal
	TCB         string          `json:"tcb,omitempty"`  // the status of the newest proof

	Clashes int `json:"clashes,omitempty"` // contradictions and alerts about its chip, instance or key
}

// cvmKey tells VMs apart. What names the VM is its instance; without one, its attestation key and
// boot; without those, nothing but the chip and what was launched on it.
type cvmKey struct {
	realm          poclog.Realm
	chip           poclog.Identity
	instance, ak   poclog.Identity
	reset, restart uint32
	place          Place
	bound          bool
	measurement    [48]byte
}

func keyOf(r *monitor.Record) cvmKey {
	k := cvmKey{realm: r.Realm, chip: r.Chip, instance: r.Instance, place: Proven(r), bound: r.Level >= poclog.LevelBound, measurement: r.Measurement}
	if r.Instance == "" && r.AK != "" {
		k.ak, k.reset, k.restart = r.AK, r.ResetCount, r.RestartCount
	}
	return k
}

// CVMs lists the confidential VMs of which a filter picks a proof, in the order of their first, and
// marks what clashes.
func CVMs(records Records, f Filter, clashes Clashes) ([]CVM, error) {
	found := make(map[cvmKey]*CVM)
	for r, err := range f.proofs(records) {
		if err != nil {
			return nil, err
		}
		k := keyOf(r)
		v := found[k]
		if v == nil {
			v = &CVM{Realm: r.Realm, Place: k.place, Chip: r.Chip, Instance: r.Instance, Measurement: hex.EncodeToString(r.Measurement[:])}
			if k.ak != "" {
				v.Boot = bootText(r)
			}
			found[k] = v
		}
		if v.add(r) {
			v.Profile, v.Level, v.AK, v.TCB, v.Hint = r.Profile, r.Level, r.AK, r.TCB, hint(r)
		}
	}
	out := make([]CVM, 0, len(found))
	for _, v := range found {
		v.Clashes = clashes.of(v.Chip, v.Instance, v.AK)
		out = append(out, *v)
	}
	slices.SortFunc(out, func(a, b CVM) int {
		return cmp.Or(a.First.Compare(b.First), cmp.Compare(a.Newest.Origin, b.Newest.Origin), cmp.Compare(a.Newest.Index, b.Newest.Index))
	})
	return out, nil
}

// hint is the claimed place where it is more than the proven one.
func hint(r *monitor.Record) string {
	if c := Claimed(r); c != Proven(r) {
		return c.String()
	}
	return ""
}

// A Chassis is a chip with what was proven on it.
type Chassis struct {
	Seen
	Realm  poclog.Realm    `json:"realm"`
	Chip   poclog.Identity `json:"chip"`
	Places []string        `json:"places"` // proven, in the order in which they were first seen
	Level  uint32          `json:"level"`  // the highest
	CVMs   int             `json:"cvms"`
	FMSPC  string          `json:"fmspc,omitempty"`
	TCB    string          `json:"tcb,omitempty"` // the status of the newest proof that has one

	Clashes int `json:"clashes,omitempty"` // contradictions and alerts about it
}

type chassisKey struct {
	realm poclog.Realm
	chip  poclog.Identity
}

// ChassisList lists the chips of which a filter picks a proof, in the order of their first, and
// marks what clashes. Proofs whose host masks the chip are left out.
func ChassisList(records Records, f Filter, clashes Clashes) ([]Chassis, error) {
	found := make(map[chassisKey]*Chassis)
	cvms := make(map[cvmKey]bool)
	for r, err := range f.proofs(records) {
		if err != nil {
			return nil, err
		}
		if r.Chip == "" {
			continue
		}
		key := chassisKey{r.Realm, r.Chip}
		c := found[key]
		if c == nil {
			c = &Chassis{Realm: r.Realm, Chip: r.Chip, Places: []string{}}
			if r.FMSPC != [6]byte{} {
				c.FMSPC = hex.EncodeToString(r.FMSPC[:])
			}
			found[key] = c
		}
		if newest := c.add(r); newest && r.TCB != "" {
			c.TCB = r.TCB
		}
		c.Level = max(c.Level, r.Level)
		if p := Proven(r).String(); p != "" && !slices.Contains(c.Places, p) {
			c.Places = append(c.Places, p)
		}
		if k := keyOf(r); !cvms[k] {
			cvms[k] = true
			c.CVMs++
		}
	}
	out := make([]Chassis, 0, len(found))
	for _, c := range found {
		c.Clashes = clashes.of(c.Chip)
		out = append(out, *c)
	}
	slices.SortFunc(out, func(a, b Chassis) int { return cmp.Or(a.First.Compare(b.First), cmp.Compare(a.Chip, b.Chip)) })
	return out, nil
}

// A PlaceCount is what was proven at one place.
type PlaceCount struct {
	Seen
	Place
	Realm  poclog.Realm `json:"realm"`
	Proven bool         `json:"proven"` // false: hints and level 0 claim it, nothing proves it
	Chips  int          `json:"chips"`
	CVMs   int          `json:"cvms"`

	Clashes int `json:"clashes,omitempty"` // contradictions and alerts about its chips, their instances or keys
}

type placeKey struct {
	realm  poclog.Realm
	place  Place
	proven bool
}

// Places counts chips, VMs and proofs at every place of which a filter picks a proof, in the order
// of their names, and marks what clashes. Places that nothing proves are listed only where the filter asks for them, and
// apart.
func Places(records Records, f Filter, clashes Clashes) ([]PlaceCount, error) {
	found := make(map[placeKey]*PlaceCount)
	chips, cvms, clashing := make(map[[2]any]bool), make(map[[2]any]bool), make(map[[2]any]bool)
	for r, err := range f.proofs(records) {
		if err != nil {
			return nil, err
		}
		k := placeKey{r.Realm, Proven(r), true}
		if k.place.IsZero() {
			if k.place, k.proven = Claimed(r), false; !f.Unproven || k.place.IsZero() {
				continue
			}
		}
		p := found[k]
		if p == nil {
			p = &PlaceCount{Place: k.place, Realm: r.Realm, Proven: k.proven}
			found[k] = p
		}
		p.add(r)
		if once(chips, k, r.Chip) && r.Chip != "" {
			p.Chips++
		}
		if once(cvms, k, keyOf(r)) {
			p.CVMs++
		}
		for _, id := range []poclog.Identity{r.Chip, r.Instance, r.AK} {
			if n := clashes[id]; n > 0 && once(clashing, k, id) {
				p.Clashes += n
			}
		}
	}
	out := make([]PlaceCount, 0, len(found))
	for _, p := range found {
		out = append(out, *p)
	}
	slices.SortFunc(out, func(a, b PlaceCount) int {
		return cmp.Or(strings.Compare(a.String(), b.String()), cmp.Compare(a.Realm, b.Realm), cmp.Compare(b.Proofs, a.Proofs))
	})
	return out, nil
}

// once reports whether a pair was not seen before.
func once(seen map[[2]any]bool, a, b any) bool {
	k := [2]any{a, b}
	if seen[k] {
		return false
	}
	seen[k] = true
	return true
}
