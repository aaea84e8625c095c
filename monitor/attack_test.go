package monitor_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/attack"
	"github.com/poclog/poclog/monitor"
	"github.com/poclog/poclog/verify/profile"
	"github.com/poclog/poclog/verify/receipt"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

// watched stages an attack on a log that a monitor looks at after every entry, and returns the
// monitor, its folder and the last outcome.
func watched(t *testing.T, a *attack.OverTime, cfg monitor.Config) (*station, *monitor.Monitor, string, *monitor.Outcome) {
	t.Helper()
	w := a.NewWorld()
	s := newStation(t, w.Log)
	cfg.Clock = func() time.Time { return attack.Now.Add(time.Minute) }
	m, dir := newMonitor(t, cfg)
	s.follow(t, m)
	var out *monitor.Outcome
	for _, b := range a.Stage(w) {
		at := s.submit(t, w, b)
		s.Publish(at.Add(2 * time.Second))
		out = once(t, m)
	}
	return s, m, dir, out
}

func fileOf(t *testing.T, dir string, a *monitor.Alert) []byte {
	t.Helper()
	if a.File == "" {
		t.Fatalf("no file: %+v", a)
	}
	b, err := os.ReadFile(filepath.Join(dir, a.File))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Every attack that only time exposes: from the log to a file that convinces somebody who never saw
// the log.
func TestAttacksOverTimeAreFound(t *testing.T) {
	for _, a := range attack.AllSeries() {
		t.Run(a.ID(), func(t *testing.T) {
			t.Parallel()
			s, m, dir, out := watched(t, &a, monitor.Config{Reappraise: profile.Reappraiser{}})
			if a.Rule == attack.ExistingReceipt {
				// The log would not have taken the second piece.
				if out.New["contradiction"]+out.New["alert"] != 0 {
					t.Errorf("new alerts %v: want none", out.New)
				}
				return
			}
			if out.New["contradiction"]+out.New["alert"] == 0 || out.Waiting != 0 {
				t.Fatalf("%+v: want an alert", out)
			}
			found := alertsOf(t, m, monitor.AlertFilter{Rule: a.Rule})
			if len(found) != 1 {
				for _, a := range alertsOf(t, m, monitor.AlertFilter{}) {
					t.Logf("%+v", a)
				}
				t.Fatalf("%d alerts of rule %s: want one", len(found), a.Rule)
			}
			policy := must(tlogpolicy.Parse([]byte(s.Policy)))
			v, err := receipt.CheckContradiction(fileOf(t, dir, found[0]), policy, receipt.Terms{Reappraise: profile.Reappraiser{}, UnsafeRealm: poclog.Lab})
			if err != nil {
				t.Fatal(err)
			}
			if v.Rule != a.Rule || v.Severity != found[0].Severity || v.Verdict != receipt.Reappraised {
				t.Errorf("%+v", v)
			}
			// Nothing is found twice.
			if out := once(t, m); len(out.New) != 0 {
				t.Errorf("the second time: %v new", out.New)
			}
		})
	}
}
