package notify_test

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/testlog"
	"github.com/poclog/poclog/monitor"
	"github.com/poclog/poclog/monitor/notify"
)

const origin = "log.test/watched"

// A ledger is a monitor's folder whose records are given: TestWatchListOverARealLog (package
// answers) has real ones.
type ledger struct {
	*bench
	records []monitor.Record
	looked  time.Time
	behind  uint64
}

func newLedger(t *testing.T) *ledger {
	l := &ledger{bench: newBench(t), looked: now}
	policy := "log " + testlog.LogKey(origin).VKey + "\nquorum none\n"
	if _, err := l.AddLog(t.Context(), "http://log.test", policy); err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *ledger) Logs(ctx context.Context) ([]monitor.LogInfo, error) {
	logs, err := l.Monitor.Logs(ctx)
	for i := range logs {
		logs[i].Next, logs[i].Looked = uint64(len(l.records)), l.looked
		logs[i].Size = logs[i].Next + l.behind
	}
	return logs, err
}

func (l *ledger) Records(_ context.Context, f monitor.Filter) iter.Seq2[*monitor.Record, error] {
	return func(yield func(*monitor.Record, error) bool) {
		for i := f.From; i < f.To; i++ {
			if r := l.records[i]; r.Kind == f.Kind && r.Level >= f.MinLevel && !yield(&r, nil) {
				return
			}
		}
	}
}

// prove appends a proof of a chip at a time.
func (l *ledger) prove(chip poclog.Identity, at time.Time, change func(*monitor.Record)) {
	r := monitor.Record{
		Origin: origin, Index: uint64(len(l.records)), Kind: monitor.KindProof, Profile: poclog.GCETDXvTPM, Level: 2, Realm: poclog.Lab,
		Appraised: at, Fresh: &monitor.Fresh{Origin: origin}, Chip: chip,
		Place: monitor.Place{Provider: "gce", Region: "r", Zone: "r-a", ProviderAuthentic: true, RegionAuthentic: true, ZoneAuthentic: true},
	}
	if change != nil {
		change(&r)
	}
	l.records = append(l.records, r)
}

func chipID(n int) poclog.Identity { return poclog.Identity(fmt.Sprintf("intel:tdx:ppid:%032x", n)) }

func (l *ledger) look(t *testing.T, w *notify.Watcher, want int) {
	t.Helper()
	if n, err := w.Look(t.Context()); err != nil || n != want {
		t.Errorf("%d new alerts, %v: want %d", n, err, want)
	}
}

func TestEveryClaimAboutTheWatchedIsToldOnce(t *testing.T) {
	l := newLedger(t)
	for i := range 600 {
		l.prove(chipID(1+i%2), now, nil)
	}
	l.prove(chipID(1), now, func(r *monitor.Record) { r.Level, r.Fresh, r.Place = 0, nil, monitor.Place{} })
	list := []notify.Watched{{ID: chipID(1), Note: "rack 7"}}
	w := notify.NewWatcher(l, list)
	l.look(t, w, 301)
	l.look(t, w, 0)
	l.look(t, notify.NewWatcher(l, list), 0) // started anew
	l.prove(chipID(1), now, nil)
	l.look(t, w, 1)
	// What was claimed before an identity came on the list is told too, and the rest not again.
	l.look(t, notify.NewWatcher(l, append(list, notify.Watched{ID: chipID(2)})), 300)
	alerts := l.list(t, monitor.AlertFilter{Subject: chipID(1)})
	if len(alerts) != 302 {
		t.Fatalf("%d alerts", len(alerts))
	}
	first, unproven := alerts[0], alerts[300]
	if first.Severity != "information" || first.Rule != "watched" || !strings.Contains(first.Seen, "(rack 7) at gce/r/r-a") || !strings.Contains(unproven.Seen, "no proven place") {
		t.Errorf("%+v\n%+v", first, unproven)
	}
}

func TestProofsAreOverdueOnceForEachGap(t *testing.T) {
	l := newLedger(t)
	day := 24 * time.Hour
	w := notify.NewWatcher(l, []notify.Watched{{ID: chipID(1), Every: day}, {ID: chipID(2)}})
	late := func(at time.Time, want int) {
		t.Helper()
		l.looked = at
		if _, err := w.Look(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := len(l.list(t, monitor.AlertFilter{Rule: "proof-overdue"})); n != want {
			t.Errorf("%s: %d alerts of overdue proofs: want %d", at.Sub(now), n, want)
		}
	}
	l.prove(chipID(1), now, nil)
	late(now.Add(day), 0)
	late(now.Add(day+time.Second), 1)
	late(now.Add(2*day), 1) // one gap
	l.prove(chipID(1), now.Add(2*day), func(r *monitor.Record) { r.Fresh = nil })
	l.prove(chipID(1), now.Add(2*day), func(r *monitor.Record) { r.Level = 0 })
	l.prove(chipID(2), now.Add(2*day), nil)
	late(now.Add(2*day), 1) // neither historical evidence nor level 0 nor another's proof ends it
	l.prove(chipID(1), now.Add(2*day), nil)
	late(now.Add(3*day), 1)
	late(now.Add(3*day+time.Second), 2)
	// A monitor that does not see all of the log knows nothing of what is overdue, nor one that has
	// not seen it for a while.
	l.prove(chipID(1), now.Add(4*day), nil)
	late(now.Add(5*day), 2)
	l.behind = 1
	late(now.Add(9*day), 2)
	l.behind = 0
	late(now.Add(9*day), 3)
	if a := l.list(t, monitor.AlertFilter{Rule: "proof-overdue"})[0]; !strings.Contains(a.Seen, "entry 0 of "+origin) || a.Severity != "alert" {
		t.Errorf("%+v", a)
	}
}

func TestWhatWasNeverProvenIsOverdue(t *testing.T) {
	l := newLedger(t)
	l.prove(chipID(9), now, nil)
	w := notify.NewWatcher(l, []notify.Watched{{ID: chipID(1), Every: time.Hour}})
	l.looked = time.Time{}
	l.look(t, w, 0) // the log was never seen
	l.looked = now
	l.look(t, w, 1)
	l.look(t, w, 0)
}

func TestWatchFilesAreStrict(t *testing.T) {
	id := string(chipID(1))
	got, err := notify.ParseWatchFile("# fleet\n\n" + id + "\n  " + string(chipID(2)) + " every 24h # rack 7 # left\r\n")
	if err != nil || len(got) != 2 || got[1] != (notify.Watched{ID: chipID(2), Every: 24 * time.Hour, Note: "rack 7 # left"}) {
		t.Errorf("%+v, %v", got, err)
	}
	for text, want := range map[string]string{
		"intel:tdx:ppid:00":                 "line 1",
		id + "\n" + id + " each 24h":        "line 2",
		id + " every 24":                    "want a duration",
		id + " every -24h":                  "want a duration",
		id + " every 1s":                    "want a duration",
		id + " every 24h now":               "after the identity",
		id + " every":                       "after the identity",
		strings.ToUpper(id):                 "unknown kind",
		strings.Repeat(id+"\n", 1<<16) + id: "more than 65536",
	} {
		if _, err := notify.ParseWatchFile(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: %v: want %q", text, err, want)
		}
	}
}
