package monitor_test

import (
	"context"
	"fmt"
	"iter"
	"math"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/endorser"
	"github.com/poclog/poclog/internal/testlog"
	"github.com/poclog/poclog/monitor"
	"github.com/poclog/poclog/monitor/registrars"
	"github.com/poclog/poclog/verify/vouch/registry"
)

// A registrarsYear is an honest alliance in a simulated year: it endorses every machine for 45 days
// and renews that in time, some machines' moves are announced and others' are not, a member leaves
// and another comes, a machine is frozen and thawed, and one is retired.
type registrarsYear struct {
	by      *endorser.Registrar
	serials map[poclog.Identity]uint32
	ends    map[poclog.Identity]int // tick
	moved   map[*fleetHost]int      // until when it was quiet when its move was announced
	frozen  poclog.Identity
	retired *fleetHost
	days    int
	stated  int
}

func newRegistrarsYear(days int) *registrarsYear {
	return &registrarsYear{
		by: endorser.NewRegistrar("year", "Alliance", 12), serials: make(map[poclog.Identity]uint32), ends: make(map[poclog.Identity]int), moved: make(map[*fleetHost]int), days: days,
	}
}

func (y *registrarsYear) pins() *registry.Registrars {
	return must(registry.New([]poclog.Registrar{y.by.Policy()}))
}

// state logs a statement of the alliance, signed by as many as it needs.
func (y *registrarsYear) state(f *fleet, s poclog.Statement) {
	y.serials[s.Subject]++
	y.stated++
	s.Serial, s.Origin = y.serials[s.Subject], f.logs[0].origin
	n := y.by.Thresholds.Endorse
	if s.Type == poclog.Freeze {
		n = y.by.Thresholds.Freeze
	}
	e := &poclog.StatementEntry{Policy: poclog.BlobOf([]byte("p")), Time: at(f.tick)}
	s.Registrar = y.by.Name
	e.Envelope = *y.by.State(s, n)
	for i := range e.Envelope.Signatures {
		e.Signers = append(e.Signers, poclog.Digest{byte(i)})
	}
	f.logs[0].put(minted{}, must(e.Marshal()))
}

func (y *registrarsYear) endorse(f *fleet, h *fleetHost) {
	y.ends[h.chip] = f.tick + 45*24
	y.state(f, poclog.Statement{
		Type: poclog.Endorse, Subject: h.chip, Level: 1, Method: "visit", Label: string(h.chip[len(h.chip)-6:]), From: at(f.tick), Until: at(y.ends[h.chip]),
	})
}

// hour is what the alliance does in an hour.
func (y *registrarsYear) hour(f *fleet) {
	if f.tick%24 != 0 {
		return
	}
	switch day := f.tick / 24; day {
	case y.days / 3: // a member leaves, and another comes: today's members endorse all anew
		y.by.Leave()
		y.by.Join("new")
		clear(y.ends)
	case y.days / 2:
		y.retire(f)
	case y.days / 4:
		for _, h := range f.hosts {
			if !h.masked && h.quiet == 0 && y.frozen == "" {
				y.frozen = h.chip
				y.state(f, poclog.Statement{Type: poclog.Freeze, Subject: h.chip, Text: "a report"})
			}
		}
	case y.days/4 + 3:
		y.state(f, poclog.Statement{Type: poclog.Thaw, Subject: y.frozen})
	}
	for i, h := range f.hosts {
		if h.masked || h == y.retired {
			continue
		}
		if y.ends[h.chip]-f.tick < 16*24 {
			y.endorse(f, h)
		}
		if h.quiet > f.tick && y.moved[h] != h.quiet && i%2 == 0 {
			y.moved[h] = h.quiet
			place := func(zone string) *poclog.StatedPlace { return &poclog.StatedPlace{Provider: "cloud", Region: zone} }
			y.state(f, poclog.Statement{Type: poclog.Move, Subject: h.chip, Source: place("elsewhere"), Target: place(h.zone), From: at(f.tick + 1), Until: at(f.tick + 72)})
		}
	}
}

// retire takes a machine out of service: it proves nothing any more, and is revoked as of now.
func (y *registrarsYear) retire(f *fleet) {
	for _, h := range f.hosts {
		if h.masked || h.chip == y.frozen {
			continue
		}
		y.retired, h.quiet = h, math.MaxInt
		f.forget(h, true)
		y.state(f, poclog.Statement{Type: poclog.Revoke, Subject: h.chip, Since: at(f.tick), Reason: "machine-retired"})
		return
	}
}

// asOf is a monitor as it was at a time.
type asOf struct {
	*monitor.Monitor
	t time.Time
}

func (a asOf) Statements(ctx context.Context, f monitor.StatedFilter) iter.Seq2[*monitor.Stated, error] {
	return func(yield func(*monitor.Stated, error) bool) {
		for x, err := range a.Monitor.Statements(ctx, f) {
			if (err != nil || !x.Entry.Time.After(a.t)) && !yield(x, err) {
				return
			}
		}
	}
}

func (a asOf) Records(ctx context.Context, f monitor.Filter) iter.Seq2[*monitor.Record, error] {
	return func(yield func(*monitor.Record, error) bool) {
		for r, err := range a.Monitor.Records(ctx, f) {
			if (err != nil || !r.Appraised.After(a.t)) && !yield(r, err) {
				return
			}
		}
	}
}

// mostStated is of how many entries a registrars' year is at most: each of its weeks is looked at
// anew.
const mostStated = 60_000

// TestAYearOfHonestRegistrarsRaisesNothing: looked at every week, and with what is pinned of the
// alliance at the time. Before its members changed nothing counts, for readers of today.
func TestAYearOfHonestRegistrarsRaisesNothing(t *testing.T) {
	n, days := yearSize(t)
	n = min(n, mostStated)
	y := newRegistrarsYear(days)
	before := y.pins()
	f := newFleet(7, 24+n/2500, 60+n/400, origin, "sister.test")
	f.also = y.hour
	for h := range days * 24 {
		f.hour((h+1)*n/(days*24) - h*n/(days*24))
	}
	f.end()
	f.serve(t)
	m, _ := newMonitor(t, monitor.Config{Clock: func() time.Time { return at(f.tick).Add(time.Minute) }})
	for _, l := range f.logs {
		if _, err := m.AddLog(t.Context(), l.url, testlog.PolicyText(l.origin)); err != nil {
			t.Fatal(err)
		}
	}
	if out := once(t, m); out.New["contradiction"]+out.New["alert"] != 0 {
		t.Errorf("%+v", out)
	}
	read := 0
	for _, err := range m.Statements(t.Context(), monitor.StatedFilter{}) {
		if read++; err != nil {
			t.Fatal(err)
		}
	}
	if read != y.stated || read < 2*len(f.hosts) {
		t.Errorf("%d statements read, %d stated", read, y.stated)
	}
	endorsed := 0
	for day := 7; day <= days; day += 7 {
		pins := y.pins()
		if day <= days/3 {
			pins = before
		}
		w := registrars.Watch{Source: asOf{m, at(day * 24)}, Pins: pins, Clock: func() time.Time { return at(day * 24) }}
		if added, err := w.Look(t.Context()); err != nil || added != 0 {
			t.Errorf("day %d: %d alerts, %v", day, added, err)
		}
		for _, h := range f.hosts {
			list, err := registrars.Standings(t.Context(), asOf{m, at(day * 24)}, pins, h.chip, at(day*24))
			if err != nil {
				t.Fatal(err)
			}
			if len(list) == 1 && list[0].Endorsed {
				endorsed++
			}
		}
	}
	if endorsed < days/7*len(f.hosts)/2 {
		t.Errorf("endorsed %d times: the alliance endorses nobody", endorsed)
	}
	for _, a := range alertsOf(t, m, monitor.AlertFilter{Severity: "alert", Limit: 5}) {
		t.Logf("%+v", a)
	}
}

// afterwards is a monitor that has read a fleet's first log, a minute after its end.
func afterwards(t *testing.T, f *fleet) *monitor.Monitor {
	t.Helper()
	f.end()
	f.serve(t)
	m, _ := newMonitor(t, monitor.Config{Clock: func() time.Time { return at(f.tick).Add(time.Minute) }})
	if _, err := m.AddLog(t.Context(), f.logs[0].url, testlog.PolicyText(origin)); err != nil {
		t.Fatal(err)
	}
	once(t, m)
	return m
}

// Statements of one batch are not kept again with the next.
func TestStatementsOfManyBatchesAreKeptOnce(t *testing.T) {
	defer monitor.SetBatchRows(300)()
	y := newRegistrarsYear(61)
	f := newFleet(7, 28, 85, origin)
	f.also = y.hour
	for range 48 {
		f.hour(20)
	}
	m := afterwards(t, f)
	read := 0
	for _, err := range m.Statements(t.Context(), monitor.StatedFilter{}) {
		if read++; err != nil {
			t.Fatal(err)
		}
	}
	if read != y.stated || read == 0 || len(f.logs[0].entries) < 900 {
		t.Errorf("%d statements read, %d stated, in %d entries", read, y.stated, len(f.logs[0].entries))
	}
}

// While statements are read no connection is held: who reads slowly, or asks on for each, keeps
// nobody from the monitor. More loops are within each other here than there are connections.
func TestAMonitorIsAskedWhileItsStatementsAreRead(t *testing.T) {
	y := newRegistrarsYear(61)
	f := newFleet(7, 28, 85, origin)
	f.also = func(f *fleet) {
		if f.tick == 0 {
			y.endorse(f, f.hosts[0])
		}
	}
	f.hour(7)
	m := afterwards(t, f)
	read := 0
	var within func(depth int)
	within = func(depth int) {
		for _, err := range m.Statements(t.Context(), monitor.StatedFilter{}) {
			if read++; err != nil {
				t.Fatal(err)
			}
			if depth > 0 {
				within(depth - 1)
			}
		}
	}
	within(15)
	if read != 16 {
		t.Errorf("%d statements read: want one in each of 16 loops", read)
	}
}

// TestWhatRegistrarsAndMachinesDoWrongIsTold: each rule, and that it is told once.
func TestWhatRegistrarsAndMachinesDoWrongIsTold(t *testing.T) {
	const days = 61
	y := newRegistrarsYear(days)
	f := newFleet(7, 28, 85, origin)
	f.also = func(f *fleet) {
		switch host := f.hosts[0]; f.tick {
		case 0:
			for _, h := range f.hosts[:3] {
				y.endorse(f, h)
			}
			f.hosts[1].quiet = math.MaxInt // and its endorsement ends on day 45, and nobody renews it
		case 20 * 24: // the machine goes on
			y.state(f, poclog.Statement{Type: poclog.Revoke, Subject: host.chip, Since: at(f.tick - 48), Reason: "machine-compromised"})
		}
	}
	for range days * 24 {
		f.hour(7)
	}
	f.end()
	f.serve(t)
	m, _ := newMonitor(t, monitor.Config{Clock: func() time.Time { return at(f.tick).Add(time.Minute) }})
	if _, err := m.AddLog(t.Context(), f.logs[0].url, testlog.PolicyText(origin)); err != nil {
		t.Fatal(err)
	}
	once(t, m)
	look := func(day int, pins *registry.Registrars) map[string]int {
		t.Helper()
		w := registrars.Watch{Source: asOf{m, at(day * 24)}, Pins: pins, Clock: func() time.Time { return at(day * 24) }}
		if _, err := w.Look(t.Context()); err != nil {
			t.Fatal(err)
		}
		found := make(map[string]int)
		for _, a := range alertsOf(t, m, monitor.AlertFilter{}) {
			if a.Severity == "alert" {
				found[a.Rule]++
			}
		}
		return found
	}
	stranger := endorser.NewRegistrar("year", "Stranger", 3)
	for _, c := range []struct {
		day  int
		pins *registry.Registrars
		want string
	}{
		{60, must(registry.New([]poclog.Registrar{stranger.Policy()})), "map[]"},
		{19, y.pins(), "map[]"},
		{21, y.pins(), "map[proof-after-revocation:1]"},
		{29, y.pins(), "map[proof-after-revocation:1]"},
		{32, y.pins(), "map[endorsed-but-silent:1 endorsement-expiring:2 proof-after-revocation:1]"},
		{33, y.pins(), "map[endorsed-but-silent:1 endorsement-expiring:2 proof-after-revocation:1]"},
		{60, y.pins(), "map[endorsed-but-silent:1 endorsement-expiring:2 proof-after-revocation:1]"},
	} {
		if got := fmt.Sprint(look(c.day, c.pins)); got != c.want {
			t.Errorf("day %d: %s, want %s", c.day, got, c.want)
		}
	}
}
