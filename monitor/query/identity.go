package query

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/monitor"
)

// A Statement is one entry's word on an identity.
type Statement struct {
	monitor.EntryRef
	Appraised   time.Time         `json:"appraised"`  // the log's word
	FirstSeen   time.Time         `json:"first_seen"` // the entry was in the log by then
	Interval    *Interval         `json:"interval,omitempty"`
	Realm       poclog.Realm      `json:"realm"`
	Profile     poclog.Profile    `json:"profile"`
	Level       uint32            `json:"level"`
	Place       Place             `json:"place"`          // as proven; empty if nothing proves it
	Hint        string            `json:"hint,omitempty"` // the claimed place, where it says more than is proven
	Fresh       bool              `json:"fresh"`
	Identities  []poclog.Identity `json:"identities"` // all that the entry names
	Boot        string            `json:"boot,omitempty"`
	Measurement string            `json:"measurement"`
	TCB         string            `json:"tcb,omitempty"`
}

// An Interval bounds when the evidence was made, under the monitor's tlog-policy for the log.
type Interval struct {
	NotBefore *time.Time `json:"not_before,omitempty"` // t1
	NotAfter  *time.Time `json:"not_after,omitempty"`  // t2
	Why       string     `json:"why,omitempty"`        // where a bound is missing
}

// IdentitiesOf returns every identity that a record names.
func IdentitiesOf(r *monitor.Record) []poclog.Identity {
	var out []poclog.Identity
	for _, id := range []poclog.Identity{r.Chip, r.PIID, r.EK, r.AK, r.Instance, r.Quote} {
		if id != "" {
			out = append(out, id)
		}
	}
	return out
}

// bootText names a boot: the TPM's reset and restart counts.
func bootText(r *monitor.Record) string { return fmt.Sprintf("%d.%d", r.ResetCount, r.RestartCount) }

// statementOf says what a record says.
func statementOf(r *monitor.Record) Statement {
	s := Statement{
		EntryRef: monitor.EntryRef{Origin: r.Origin, Index: r.Index}, Appraised: r.Appraised, FirstSeen: r.FirstSeen,
		Realm: r.Realm, Profile: r.Profile, Level: r.Level, Place: Proven(r), Hint: hint(r), Fresh: r.Fresh != nil,
		Identities: IdentitiesOf(r), Measurement: hex.EncodeToString(r.Measurement[:]), TCB: r.TCB,
	}
	if r.AK != "" {
		s.Boot = bootText(r)
	}
	return s
}

// Statements lists what entries say of an identity, in the order of their appraisal. A limit above
// 0 keeps the newest so many, in memory too; total counts all.
func Statements(records Records, id poclog.Identity, limit int) (list []Statement, total int, err error) {
	return statements(records, limit, func(r *monitor.Record) bool { return slices.Contains(IdentitiesOf(r), id) })
}

// Speaking is the same of records that were picked already, such as those that speak for a key.
func Speaking(records Records, limit int) (list []Statement, total int, err error) {
	return statements(records, limit, func(*monitor.Record) bool { return true })
}

func statements(records Records, limit int, of func(*monitor.Record) bool) (list []Statement, total int, err error) {
	for r, err := range records {
		if err != nil {
			return nil, 0, err
		}
		if r.Kind != monitor.KindProof || !of(r) {
			continue
		}
		total++
		if list = append(list, statementOf(r)); limit > 0 && len(list) >= 4*limit {
			list = newest(list, limit)
		}
	}
	return newest(list, limit), total, nil
}

// newest sorts statements by their appraisal, and keeps the last so many; 0 keeps all.
func newest(list []Statement, limit int) []Statement {
	slices.SortStableFunc(list, func(a, b Statement) int {
		return cmp.Or(a.Appraised.Compare(b.Appraised), cmp.Compare(a.Origin, b.Origin), cmp.Compare(a.Index, b.Index))
	})
	if limit > 0 && len(list) > limit {
		list = slices.Delete(list, 0, len(list)-limit)
	}
	return list
}

// minPrefix is how much of an identity's value must be given to look for it: less matches by
// chance.
const minPrefix = 6

// What keeps Resolve from an answer, apart from records that cannot be read.
var (
	ErrUnclear = errors.New("unclear")  // the text is too short, or more than one identity begins so
	ErrUnnamed = errors.New("no entry") // no entry names it
)

// A Naming is how people write an identity: whole, or as tables show it, by the beginning of its
// value ("ppid:0123abcd…", "0123abcd") or by its end ("gce:…99942127"). In front may stand any whole
// part of the kind.
type Naming struct {
	Whole poclog.Identity // if it is whole

	text, kind, begin, end string
}

// ParseNaming reads how somebody writes an identity. Less than 6 characters of its value are
// ErrUnclear.
func ParseNaming(text string) (Naming, error) {
	if id, err := poclog.ParseIdentity(text); err == nil {
		return Naming{Whole: id}, nil
	}
	n := Naming{text: text, begin: strings.TrimSuffix(text, "…")}
	if i := strings.LastIndexByte(n.begin, ':'); i >= 0 {
		n.kind, n.begin = n.begin[:i], n.begin[i+1:]
	}
	if end, ok := strings.CutPrefix(n.begin, "…"); ok {
		n.begin, n.end = "", end
	}
	if len(n.begin)+len(n.end) < minPrefix {
		return n, fmt.Errorf("identity %.100q: %w: want one in full, or %d characters of its value", text, ErrUnclear, minPrefix)
	}
	return n, nil
}

// Names reports whether an identity may be the one that is meant.
func (n *Naming) Names(id poclog.Identity) bool {
	if n.Whole != "" {
		return id == n.Whole
	}
	isKind := n.kind == "" || strings.Contains(":"+id.Kind()+":", ":"+n.kind+":")
	return isKind && strings.HasPrefix(id.Value(), n.begin) && strings.HasSuffix(id.Value(), n.end)
}

// One takes an identity of those that are looked at: found is the one that was taken before, or "".
// A second one is ErrUnclear.
func (n *Naming) One(found, id poclog.Identity) (poclog.Identity, error) {
	switch {
	case id == found || !n.Names(id):
		return found, nil
	case found != "":
		return "", fmt.Errorf("identity %.100q: %w: %s and %s begin or end so", n.text, ErrUnclear, found, id)
	}
	return id, nil
}

// None is the error that nothing has the name.
func (n *Naming) None() error {
	return fmt.Errorf("identity %.100q: %w names one that begins or ends so", n.text, ErrUnnamed)
}

// Resolve finds the identity that text names, as [ParseNaming] reads it. More than one is an error
// that names two; the errors are ErrUnclear, ErrUnnamed, or those of the records.
func Resolve(records Records, text string) (poclog.Identity, error) {
	n, err := ParseNaming(text)
	if err != nil || n.Whole != "" {
		return n.Whole, err
	}
	var found poclog.Identity
	for r, err := range records {
		if err != nil {
			return "", err
		}
		for _, id := range IdentitiesOf(r) {
			if found, err = n.One(found, id); err != nil {
				return "", err
			}
		}
	}
	if found == "" {
		return "", n.None()
	}
	return found, nil
}

// Shown is everything that is known of an identity. Its JSON is a stable schema, version V.
type Shown struct {
	V          int              `json:"v"`
	Identity   poclog.Identity  `json:"identity"`
	Total      int              `json:"total"`
	Statements []Statement      `json:"statements"`
	Alerts     []*monitor.Alert `json:"alerts"`
}

// String says when evidence was made, for people.
func (i *Interval) String() string {
	const layout = "2006-01-02 15:04:05"
	var s string
	switch {
	case i.NotBefore != nil && i.NotAfter != nil:
		return fmt.Sprintf("made between %s and %s", i.NotBefore.UTC().Format(layout), i.NotAfter.UTC().Format(layout))
	case i.NotBefore != nil:
		s = "made after " + i.NotBefore.UTC().Format(layout)
	case i.NotAfter != nil:
		s = "made before " + i.NotAfter.UTC().Format(layout)
	default:
		s = "nobody knows when it was made"
	}
	if i.Why != "" {
		s += ": " + i.Why
	}
	return s
}
