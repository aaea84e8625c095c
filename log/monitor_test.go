package log_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/attack"
	"github.com/poclog/poclog/monitor"
	"github.com/poclog/poclog/verify/profile"
	"github.com/poclog/poclog/verify/receipt"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

// From the submissions to a running log to a contradiction that verifies without it. This log has
// no witnesses: what needs times is an alert.
func TestMonitorsOfARunningLogFindWhatOnlyTimeExposes(t *testing.T) {
	for _, a := range attack.Series {
		if a.Rule == attack.ExistingReceipt || a.Rule == "tpm-rewound" { // an order that only times would show here
			continue
		}
		t.Run(a.ID(), func(t *testing.T) {
			t.Parallel()
			w := a.NewWorld()
			l, subs := battle(t, w, a.Stage(w))
			for _, sub := range subs {
				if _, err := l.client.Submit(t.Context(), sub); err != nil {
					t.Fatal(err)
				}
			}
			text, err := os.ReadFile(filepath.Join(l.dir, "policy.txt"))
			if err != nil {
				t.Fatal(err)
			}
			dir := filepath.Join(t.TempDir(), "monitor")
			if err := monitor.Init(dir); err != nil {
				t.Fatal(err)
			}
			m, err := monitor.Open(dir, monitor.Config{Reappraise: profile.Reappraiser{}})
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			if _, err := m.AddLog(t.Context(), l.url, string(text)); err != nil {
				t.Fatal(err)
			}
			out, err := m.Run(t.Context(), monitor.Options{Once: true})
			if err != nil || len(out.Trouble) > 0 || out.New["contradiction"]+out.New["alert"] == 0 {
				t.Fatalf("%+v, %v", out, err)
			}
			for alert, err := range m.Alerts(t.Context(), monitor.AlertFilter{Rule: a.Rule}) {
				if err != nil {
					t.Fatal(err)
				}
				file, err := os.ReadFile(filepath.Join(dir, alert.File))
				if err != nil {
					t.Fatal(err)
				}
				policy, err := tlogpolicy.Parse(text)
				if err != nil {
					t.Fatal(err)
				}
				v, err := receipt.CheckContradiction(file, policy, receipt.Terms{Reappraise: profile.Reappraiser{}, UnsafeRealm: poclog.Lab})
				if err != nil || v.Rule != a.Rule || v.Verdict != receipt.Reappraised {
					t.Errorf("%+v, %v", v, err)
				}
				return
			}
			t.Errorf("no alert of rule %s", a.Rule)
		})
	}
}
