// Package registrars watches what the registrars that a monitor's operator pins stated of machines
// (docs/format.md §18), and what machines prove beside it. It raises
//
//   - proof-after-revocation: a machine that a registrar revoked as of a date proves itself after it;
//   - endorsement-expiring: an endorsement ends soon, and none follows it;
//   - endorsed-but-silent: a machine that is endorsed answered no challenge for long.
//
// Each is raised once for what it is about. Registrars that are not pinned raise nothing: whoever a
// log lists could. Statements implicate nobody, and an alert here is no contradiction.
package registrars

import (
	"context"
	"fmt"
	"iter"
	"math"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/monitor"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/rule"
	"github.com/poclog/poclog/verify/vouch/registry"
)

// The rules.
const (
	RuleRevoked  = "proof-after-revocation"
	RuleExpiring = "endorsement-expiring"
	RuleSilent   = "endorsed-but-silent"
)

// Defaults of [Watch].
const (
	DefaultExpiring = 14 * 24 * time.Hour
	DefaultSilent   = 30 * 24 * time.Hour
	DefaultEvery    = time.Hour
)

// Source is what is watched, and where alerts go: a [monitor.Monitor].
type Source interface {
	Statements
	Records(ctx context.Context, f monitor.Filter) iter.Seq2[*monitor.Record, error]
	AddAlerts(ctx context.Context, alerts []monitor.Alert) (int, error)
}

// A Watch watches statements. Source and Pins are required.
type Watch struct {
	Source   Source
	Pins     *registry.Registrars
	Clock    func() time.Time // nil is time.Now
	Expiring time.Duration    // how long before its end an endorsement should be renewed; 0 is DefaultExpiring
	Silent   time.Duration    // how long an endorsed machine may prove nothing; 0 is DefaultSilent
	Every    time.Duration    // between two looks; 0 is DefaultEvery

	looked time.Time
}

// Statements is where they are read: a [monitor.Monitor].
type Statements interface {
	Statements(ctx context.Context, f monitor.StatedFilter) iter.Seq2[*monitor.Stated, error]
}

// A Said is what a registrar says of a subject by the statements of one log.
type Said struct {
	Origin  string          `json:"log"`
	Subject poclog.Identity `json:"subject"`
	registry.Standing
}

// All says what the pinned registrars say of all subjects.
func All(ctx context.Context, s Statements, pins *registry.Registrars, now time.Time) (out []Said, err error) {
	if pins == nil {
		return nil, nil
	}
	lines, err := gather(s.Statements(ctx, monitor.StatedFilter{}))
	if err != nil {
		return nil, err
	}
	for _, l := range lines {
		for _, standing := range pins.Of(l.list, l.origin, l.subject, math.MaxUint64, now) {
			out = append(out, Said{l.origin, l.subject, standing})
		}
	}
	return out, nil
}

// Standings says what the pinned registrars say of an identity, by the statements of each log.
func Standings(ctx context.Context, s Statements, pins *registry.Registrars, id poclog.Identity, now time.Time) ([]registry.Standing, error) {
	if pins == nil || id == "" {
		return nil, nil
	}
	lines, err := gather(s.Statements(ctx, monitor.StatedFilter{Subject: id}))
	if err != nil {
		return nil, err
	}
	var out []registry.Standing
	for _, l := range lines {
		out = append(out, pins.Of(l.list, l.origin, l.subject, math.MaxUint64, now)...)
	}
	return out, nil
}

// A line is what one log has of one subject.
type line struct {
	origin  string
	subject poclog.Identity
	list    []registry.Stated
}

// gather sorts statements by log and subject, in the order in which these come first.
func gather(all iter.Seq2[*monitor.Stated, error]) (lines []*line, err error) {
	type key struct {
		origin  string
		subject poclog.Identity
	}
	at := make(map[key]*line)
	for x, err := range all {
		if err != nil {
			return nil, err
		}
		k := key{x.Origin, x.Entry.Envelope.Statement.Subject}
		if k.subject == "" {
			continue // of a commitment's machines nobody knows
		}
		l := at[k]
		if l == nil {
			l = &line{origin: k.origin, subject: k.subject}
			at[k], lines = l, append(lines, l)
		}
		l.list = append(l.list, registry.Stated{Number: x.Index, Logged: x.Entry.Time, Envelope: &x.Entry.Envelope})
	}
	return lines, nil
}

// A watched is what a registrar says of a machine, and what the machine proved.
type watched struct {
	*line
	registry.Standing
	last  time.Time          // of its newest fresh proof
	after []monitor.EntryRef // fresh proofs that were judged after the date of the revocation
}

// Look looks once, if the last look was long enough ago, and says how many alerts are new.
func (w *Watch) Look(ctx context.Context) (added int, err error) {
	now := time.Now
	if w.Clock != nil {
		now = w.Clock
	}
	t := now()
	if every := orDefault(w.Every, DefaultEvery); t.Sub(w.looked) < every { // the first look is long after zero
		return 0, nil
	}
	lines, err := gather(w.Source.Statements(ctx, monitor.StatedFilter{}))
	if err != nil {
		return 0, err
	}
	about := make(map[poclog.Identity][]*watched)
	var all []*watched
	for _, l := range lines {
		for _, s := range w.Pins.Of(l.list, l.origin, l.subject, math.MaxUint64, t) {
			x := &watched{line: l, Standing: s}
			all, about[l.subject] = append(all, x), append(about[l.subject], x)
		}
	}
	if len(all) > 0 {
		if err := w.proofs(ctx, about); err != nil {
			return 0, err
		}
	}
	var alerts []monitor.Alert
	for _, x := range all {
		alerts = append(alerts, w.alerts(x, t)...)
	}
	if added, err = w.Source.AddAlerts(ctx, alerts); err == nil {
		w.looked = t
	}
	return added, err
}

func orDefault(d, or time.Duration) time.Duration {
	if d == 0 {
		return or
	}
	return d
}

// proofs finds what the machines proved. What answers no challenge may be old evidence, which
// anybody can send again.
func (w *Watch) proofs(ctx context.Context, about map[poclog.Identity][]*watched) error {
	for r, err := range w.Source.Records(ctx, monitor.Filter{Kind: monitor.KindProof}) {
		if err != nil {
			return err
		}
		if r.Fresh == nil {
			continue
		}
		for _, id := range []poclog.Identity{r.Chip, r.PIID, r.EK, r.AK, r.Instance} {
			if id == "" {
				continue
			}
			for _, x := range about[id] {
				if r.Appraised.After(x.last) {
					x.last = r.Appraised
				}
				revoked := x.Withdrawn()
				if revoked != nil && r.Appraised.After(revoked.Since.Add(verify.MaxSkew)) && len(x.after) < maxEntries {
					x.after = append(x.after, monitor.EntryRef{Origin: r.Origin, Index: r.Index})
				}
			}
		}
	}
	return nil
}

const maxEntries = 8 // that an alert names

func (w *Watch) alerts(x *watched, now time.Time) (list []monitor.Alert) {
	add := func(name, about string, entries []monitor.EntryRef, seen, meaning string) {
		list = append(list, monitor.Alert{
			ID:      monitor.AlertID(name, x.subject, nil, x.origin, x.Registrar, about),
			Finding: rule.Finding{Rule: name, Severity: rule.Alert, Subject: x.subject, Seen: seen, Meaning: meaning}, Entries: entries,
		})
	}
	if len(x.after) > 0 {
		s := x.Withdrawn()
		add(RuleRevoked, stamp(s.Since), x.after, fmt.Sprintf("%q revoked %s as of %s (%s), and it proved itself after that.", x.Registrar, x.subject, stamp(s.Since), s.Reason),
			"The machine, or its key, is used on. Those who believe the registrar refuse these proofs.")
	}
	ends := x.Ends()
	if left := ends.Sub(now); left > 0 && left < orDefault(w.Expiring, DefaultExpiring) {
		add(RuleExpiring, stamp(ends), nil, fmt.Sprintf("%q endorses %s until %s, and no endorsement follows.", x.Registrar, x.subject, stamp(ends)),
			"If it is not renewed, later proofs of the machine are endorsed no more.")
	}
	quiet := orDefault(w.Silent, DefaultSilent)
	if since := x.Since(now); x.Endorsed && now.Sub(since) > quiet && now.Sub(x.last) > quiet {
		told := "no fresh proof is on record"
		if !x.last.IsZero() {
			told = "its newest fresh proof is of " + stamp(x.last)
		}
		add(RuleSilent, stamp(x.last), nil, fmt.Sprintf("%q endorses %s, and %s.", x.Registrar, x.subject, told),
			"The machine is off, sold or broken, or nobody there publishes proofs: the endorsement should say what is so.")
	}
	return list
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
