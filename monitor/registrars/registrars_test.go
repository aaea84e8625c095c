package registrars_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/endorser"
	"github.com/poclog/poclog/monitor"
	"github.com/poclog/poclog/monitor/query/querytest"
	"github.com/poclog/poclog/monitor/registrars"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/vouch/registry"
)

const day = 24.0 // hours

// A source is a monitor that has read some statements and proofs. The monitor itself is watched by
// TestAYearOfHonestRegistrarsRaisesNothing and TestWhatRegistrarsAndMachinesDoWrongIsTold.
type source struct {
	t        *testing.T
	by       *endorser.Registrar
	stated   []*monitor.Stated
	proofs   []*monitor.Record
	alerts   []monitor.Alert
	serial   uint32
	asked    int // for statements
	scanned  int // the records
	failing  string
	failedAs error
}

func newSource(t *testing.T) *source {
	return &source{t: t, by: endorser.NewRegistrar("test", "Alliance", 3), failedAs: errors.New("the disk is gone")}
}

func (s *source) Statements(_ context.Context, f monitor.StatedFilter) iter.Seq2[*monitor.Stated, error] {
	s.asked++
	return func(yield func(*monitor.Stated, error) bool) {
		if s.failing == "statements" {
			yield(nil, s.failedAs)
			return
		}
		for _, x := range s.stated {
			if (f.Subject == "" || x.Entry.Envelope.Statement.Subject == f.Subject) && !yield(x, nil) {
				return
			}
		}
	}
}

func (s *source) Records(_ context.Context, f monitor.Filter) iter.Seq2[*monitor.Record, error] {
	s.scanned++
	return func(yield func(*monitor.Record, error) bool) {
		if s.failing == "records" {
			yield(nil, s.failedAs)
			return
		}
		for r, err := range querytest.Of(s.proofs...) {
			if r.Kind == f.Kind && !yield(r, err) {
				return
			}
		}
	}
}

func (s *source) AddAlerts(_ context.Context, alerts []monitor.Alert) (int, error) {
	if s.failing == "alerts" {
		return 0, s.failedAs
	}
	added := 0
	for _, a := range alerts {
		if !slices.ContainsFunc(s.alerts, func(b monitor.Alert) bool { return a.ID == b.ID }) {
			s.alerts, added = append(s.alerts, a), added+1
		}
	}
	return added, nil
}

// state adds a statement to the log, at an hour.
func (s *source) state(at float64, st poclog.Statement) {
	s.serial++
	st.Serial = s.serial
	if st.Origin == "" {
		st.Origin = querytest.Origin
	}
	e := &poclog.StatementEntry{Time: querytest.Hours(at), Envelope: *s.by.State(st, 2)}
	s.stated = append(s.stated, &monitor.Stated{Origin: st.Origin, Index: uint64(len(s.stated)), Entry: e})
}

func (s *source) endorse(id poclog.Identity, from, until float64) {
	s.state(from, poclog.Statement{Type: poclog.Endorse, Subject: id, Level: 1, Method: "visit", Label: "rack", From: querytest.Hours(from), Until: querytest.Hours(until)})
}

func (s *source) revoke(id poclog.Identity, since float64) {
	s.state(since, poclog.Statement{Type: poclog.Revoke, Subject: id, Since: querytest.Hours(since), Reason: "machine-compromised"})
}

// prove adds a fresh proof of a chip.
func (s *source) prove(chip int, at float64, change func(*monitor.Record)) {
	s.proofs = append(s.proofs, querytest.Proof(chip, 0, at, change))
}

func (s *source) pins() *registry.Registrars {
	r, err := registry.New([]poclog.Registrar{s.by.Policy()})
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// look looks at an hour, as if for the first time, and returns the rules of the alerts.
func (s *source) look(at float64, change func(*registrars.Watch)) string {
	s.t.Helper()
	w := &registrars.Watch{Source: s, Pins: s.pins(), Clock: func() time.Time { return querytest.Hours(at) }}
	if change != nil {
		change(w)
	}
	s.alerts = nil
	added, err := w.Look(s.t.Context())
	if err != nil || added != len(s.alerts) {
		s.t.Fatalf("%d added, %v", added, err)
	}
	var rules []string
	for _, a := range s.alerts {
		rules = append(rules, a.Rule)
	}
	return strings.Join(rules, " ")
}

func (s *source) want(at float64, rules string) {
	s.t.Helper()
	if got := s.look(at, nil); got != rules {
		s.t.Errorf("at day %v: %q, want %q", at/day, got, rules)
	}
}

// Attack: a machine was taken over, its registrar revoked it as of a date, and whoever has it proves
// on. Evidence of before, sent again without a challenge, is none: anybody can do that to an honest
// machine. Nor is a proof that clocks may have put after the date.
func TestAMachineThatProvesItselfAfterItsRevocationIsTold(t *testing.T) {
	const revoked = 20 * day
	s := newSource(t)
	id := querytest.PPID(1)
	s.endorse(id, 0, 90*day)
	skew := verify.MaxSkew.Hours()
	s.prove(1, revoked-day, nil)
	s.prove(1, revoked+skew, nil)
	s.prove(1, revoked+2*day, func(r *monitor.Record) { r.Fresh = nil })
	s.prove(2, revoked+2*day, nil)
	s.want(21*day, "")
	s.revoke(id, revoked)
	s.want(21*day, "")
	for i := range 12 {
		s.prove(1, revoked+skew+float64(i+1), nil)
	}
	s.want(21*day, registrars.RuleRevoked)
	if a := s.alerts[0]; len(a.Entries) != 8 || a.Entries[0].Index != 4 || a.Subject != id || a.Severity != "alert" || len(a.Implicated) != 0 {
		t.Errorf("%+v: want eight entries from number 4 on, and nobody implicated", a)
	}
}

// Whatever of a machine is endorsed: its attestation key, its platform's instance, its VM.
func TestEveryIdentityOfAProofIsWatched(t *testing.T) {
	for name, set := range map[poclog.Identity]func(*monitor.Record, poclog.Identity){
		querytest.PPID(7): func(r *monitor.Record, id poclog.Identity) { r.Chip = id },
		poclog.Identity(fmt.Sprintf("intel:tdx:piid:%032x", 7)): func(r *monitor.Record, id poclog.Identity) { r.PIID = id },
		poclog.Identity(fmt.Sprintf("tpm:ek:%064x", 7)):         func(r *monitor.Record, id poclog.Identity) { r.EK = id },
		poclog.Identity(fmt.Sprintf("tpm:ak:%064x", 7)):         func(r *monitor.Record, id poclog.Identity) { r.AK = id },
		poclog.GCEInstanceIdentity(7, 7):                        func(r *monitor.Record, id poclog.Identity) { r.Instance = id },
	} {
		s := newSource(t)
		s.endorse(name, 0, 90*day)
		s.revoke(name, 10*day)
		s.prove(1, 12*day, func(r *monitor.Record) { set(r, name) })
		s.want(13*day, registrars.RuleRevoked)
	}
}

// An endorsement that ends within two weeks, and that none follows.
func TestAnEndorsementThatEndsSoonIsTold(t *testing.T) {
	const end = 60 * day
	s := newSource(t)
	id := querytest.PPID(1)
	s.endorse(id, 0, end)
	for d := 1.0; d < 90; d++ {
		s.prove(1, d*day, nil)
	}
	s.want(end-14*day, "")
	s.want(end-14*day+0.01, registrars.RuleExpiring)
	if a := s.alerts[0]; !strings.Contains(a.Seen, "until "+querytest.Hours(end).Format(time.RFC3339)) || a.Subject != id {
		t.Errorf("%+v", a)
	}
	s.want(end-0.01, registrars.RuleExpiring)
	s.want(end, "")
	s.want(end+day, "")
	if got := s.look(end-3*day, func(w *registrars.Watch) { w.Expiring = 3 * 24 * time.Hour }); got != "" {
		t.Errorf("three days before its end, where less is soon: %q", got)
	}
	s.endorse(id, 50*day, 120*day)
	s.want(end-day, "")
}

// A machine that is endorsed and answers no challenge. One that was endorsed lately, one that is
// under investigation, and one that proved itself within 30 days are none.
func TestAnEndorsedMachineThatIsSilentIsTold(t *testing.T) {
	s := newSource(t)
	id := querytest.PPID(1)
	s.endorse(id, 0, 365*day)
	s.want(30*day, "")
	s.want(30*day+0.01, registrars.RuleSilent)
	if seen := s.alerts[0].Seen; !strings.Contains(seen, "no fresh proof is on record") {
		t.Errorf("%q", seen)
	}
	s.prove(1, 3*day, nil)
	s.prove(1, 5*day, nil)
	s.prove(1, 34*day, func(r *monitor.Record) { r.Fresh = nil })
	s.want(35*day, "")
	s.want(35*day+0.01, registrars.RuleSilent)
	if seen, of := s.alerts[0].Seen, querytest.Hours(5*day).Format(time.RFC3339); !strings.Contains(seen, "its newest fresh proof is of "+of) {
		t.Errorf("%q: want the time of the newest fresh proof, %s", seen, of)
	}
	if got := s.look(40*day, func(w *registrars.Watch) { w.Silent = 60 * 24 * time.Hour }); got != "" {
		t.Errorf("silent for 35 days, where 60 are long: %q", got)
	}
	s.state(40*day, poclog.Statement{Type: poclog.Freeze, Subject: id, Text: "a report"})
	s.want(40*day, "")
}

// A machine that is endorsed anew, after long, is not silent since the endorsement before.
func TestAMachineIsSilentSinceItsEndorsementAtTheEarliest(t *testing.T) {
	s := newSource(t)
	id := querytest.PPID(1)
	s.prove(1, 0, nil)
	s.endorse(id, 100*day, 365*day)
	s.want(101*day, "")
	s.want(131*day, registrars.RuleSilent)
}

// Attack: whoever a log lists revokes machines, and the monitor's operator is told. Registrars that
// are not pinned raise nothing, and cost no reading of the records. Nor does a commitment, whose
// machines nobody knows.
func TestRegistrarsThatAreNotPinnedRaiseNothing(t *testing.T) {
	s := newSource(t)
	s.endorse(querytest.PPID(1), 0, 90*day)
	s.revoke(querytest.PPID(1), 10*day)
	s.prove(1, 12*day, nil)
	pinned := s.by
	s.by = endorser.NewRegistrar("test", "Stranger", 3)
	if s.want(13*day, ""); s.scanned != 0 {
		t.Errorf("the records were read %d times", s.scanned)
	}
	s.by = pinned
	if s.want(13*day, registrars.RuleRevoked); s.scanned != 1 {
		t.Errorf("the records were read %d times: want once", s.scanned)
	}
	s.stated = nil
	s.state(0, poclog.Statement{Type: poclog.Commit, Root: poclog.Sum(nil), Count: 7, Level: 1, From: querytest.Hours(0), Until: querytest.Hours(90 * day)})
	if s.want(13*day, ""); s.scanned != 1 {
		t.Error("the records were read for a commitment")
	}
}

// Two logs' statements of one machine are two: a serial in one says nothing of the other.
func TestLogsAreJudgedApart(t *testing.T) {
	s := newSource(t)
	id := querytest.PPID(1)
	s.endorse(id, 0, 90*day)
	s.state(0, poclog.Statement{Type: poclog.Endorse, Origin: "second.test", Subject: id, Level: 2, Method: "visit", Label: "rack", From: querytest.Hours(0), Until: querytest.Hours(90 * day)})
	s.endorse(querytest.PPID(2), 0, 90*day)
	list, err := registrars.Standings(t.Context(), s, s.pins(), id, querytest.Hours(day))
	if err != nil || len(list) != 2 || !list[0].Endorsed || list[0].Level != 1 || !list[1].Endorsed || list[1].Level != 2 {
		t.Errorf("%+v, %v: want one of each log", list, err)
	}
	asked := s.asked
	for name, f := range map[string]func() ([]registry.Standing, error){
		"nobody is pinned": func() ([]registry.Standing, error) {
			return registrars.Standings(t.Context(), s, nil, id, querytest.Hours(day))
		},
		"of nothing": func() ([]registry.Standing, error) {
			return registrars.Standings(t.Context(), s, s.pins(), "", querytest.Hours(day))
		},
	} {
		if list, err := f(); list != nil || err != nil || s.asked != asked {
			t.Errorf("%s: %+v, %v, asked %d times", name, list, err, s.asked-asked)
		}
	}
	s.failing = "statements"
	if _, err := registrars.Standings(t.Context(), s, s.pins(), id, querytest.Hours(day)); !errors.Is(err, s.failedAs) {
		t.Errorf("%v", err)
	}
}

// A look that fails is made again at once. After one that succeeds the next waits.
func TestALookThatFailsIsMadeAgain(t *testing.T) {
	s := newSource(t)
	s.endorse(querytest.PPID(1), 0, 10*day)
	now := 5 * day
	w := &registrars.Watch{Source: s, Pins: s.pins(), Clock: func() time.Time { return querytest.Hours(now) }}
	for _, s.failing = range []string{"statements", "records", "alerts"} {
		if added, err := w.Look(t.Context()); added != 0 || !errors.Is(err, s.failedAs) {
			t.Errorf("%s: %d, %v", s.failing, added, err)
		}
	}
	s.failing = ""
	for i, c := range []struct{ at, asked float64 }{{0, 1}, {0, 0}, {0.99, 0}, {1, 1}, {1.5, 0}, {2, 1}} {
		before := s.asked
		now = 5*day + c.at
		if _, err := w.Look(t.Context()); err != nil || s.asked-before != int(c.asked) {
			t.Errorf("look %d, %v hours later: asked %d times, %v", i, c.at, s.asked-before, err)
		}
	}
	if len(s.alerts) != 1 {
		t.Errorf("%d alerts: want one, told once", len(s.alerts))
	}
}

// Without a clock it is now.
func TestWithoutAClockItIsNow(t *testing.T) {
	s := newSource(t)
	now := time.Now().UTC().Truncate(time.Second)
	s.state(0, poclog.Statement{Type: poclog.Endorse, Subject: querytest.PPID(1), Level: 1, Method: "visit", Label: "rack", From: now.Add(-time.Hour), Until: now.Add(time.Hour)})
	if got := s.look(0, func(w *registrars.Watch) { w.Clock = nil }); got != registrars.RuleExpiring {
		t.Errorf("%q", got)
	}
}
