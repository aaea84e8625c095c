package monitor_test

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/testlog"
	"github.com/poclog/poclog/monitor"
	"github.com/poclog/poclog/verify/rule"
)

const origin = "log.test/monitor"

var now = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// newMonitor opens a new folder.
func newMonitor(t testing.TB, cfg monitor.Config) (*monitor.Monitor, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "monitor")
	if err := monitor.Init(dir); err != nil {
		t.Fatal(err)
	}
	return open(t, dir, cfg), dir
}

func open(t testing.TB, dir string, cfg monitor.Config) *monitor.Monitor {
	t.Helper()
	if cfg.Clock == nil {
		cfg.Clock = func() time.Time { return now }
	}
	m, err := monitor.Open(dir, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

func alertsOf(t testing.TB, m *monitor.Monitor, f monitor.AlertFilter) (list []*monitor.Alert) {
	t.Helper()
	for a, err := range m.Alerts(t.Context(), f) {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, a)
	}
	return list
}

func TestAlertsAreKeptOnceAndHandedToEverySink(t *testing.T) {
	silence := func(a *monitor.Alert) string {
		if a.Rule == "quiet" {
			return "known"
		}
		return ""
	}
	m, dir := newMonitor(t, monitor.Config{Silence: silence})
	ctx := t.Context()
	var list []monitor.Alert
	for i := range uint64(600) { // over a page
		list = append(list, monitor.Alert{Finding: rule.Finding{Rule: "loud", Severity: "alert", Subject: "tpm:ak:x", Affected: []poclog.Identity{"quote:y"}}, Entries: []monitor.EntryRef{{Origin: "b", Index: i}, {Origin: "a", Index: i}}})
	}
	list = append(list, monitor.Alert{Finding: rule.Finding{Rule: "quiet", Subject: "z"}})
	if n, err := m.AddAlerts(ctx, list); err != nil || n != 601 {
		t.Fatalf("%d new, %v: want 601", n, err)
	}
	turned := list[5]
	turned.Entries = []monitor.EntryRef{{Origin: "a", Index: 5}, {Origin: "b", Index: 5}}
	if n, err := m.AddAlerts(ctx, append(list, turned)); err != nil || n != 0 {
		t.Fatalf("%d new, %v: want none the second time", n, err)
	}
	m = open(t, dir, monitor.Config{})
	all := alertsOf(t, m, monitor.AlertFilter{})
	if len(all) != 601 || all[7].Entries[0].Index != 7 || !all[7].Time.Equal(now) || all[600].Silenced != "known" {
		t.Fatalf("%d alerts, the last %+v", len(all), all[600])
	}
	if got := alertsOf(t, m, monitor.AlertFilter{Rule: "loud", Subject: "tpm:ak:x", Severity: "alert", Limit: 3, Unsilenced: true}); len(got) != 3 {
		t.Errorf("%d alerts: want 3", len(got))
	}
	if err := m.Taken(ctx, "webhook", all[0].ID); err != nil {
		t.Fatal(err)
	}
	if err := m.Silence(ctx, all[1].ID, "seen"); err != nil {
		t.Fatal(err)
	}
	if got := alertsOf(t, m, monitor.AlertFilter{Untaken: "webhook", Unsilenced: true}); len(got) != 598 || got[0].ID != all[2].ID {
		t.Errorf("%d alerts are to be handed over: want 598", len(got))
	}
	if got := alertsOf(t, m, monitor.AlertFilter{Untaken: "other"}); len(got) != 601 {
		t.Errorf("%d alerts for another sink: want all", len(got))
	}
}

// Alerts are counted as they come and as they are silenced, by whichever process; the newest are
// found without reading the others.
func TestAlertsAreCountedAndTheNewestFound(t *testing.T) {
	m, dir := newMonitor(t, monitor.Config{})
	other := open(t, dir, monitor.Config{})
	count := func(want ...monitor.AlertCount) {
		t.Helper()
		if got, err := m.CountAlerts(t.Context()); err != nil || !slices.Equal(got, want) {
			t.Errorf("%v, %v: want %v", got, err, want)
		}
	}
	count()
	last := ""
	for i := range uint64(700) {
		severity := rule.Information
		if i%7 == 0 {
			severity = rule.Alert
		}
		list := []monitor.Alert{{Finding: rule.Finding{Rule: "r", Severity: severity, Subject: "s"}, Entries: []monitor.EntryRef{{Origin: "a", Index: i}}}}
		if n, err := other.AddAlerts(t.Context(), list); err != nil || n != 1 {
			t.Fatal(n, err)
		}
		if i == 300 {
			count(monitor.AlertCount{Rule: "r", Severity: rule.Alert, N: 43}, monitor.AlertCount{Rule: "r", Severity: rule.Information, N: 258})
		}
		if severity == rule.Alert {
			last = list[0].ID
		}
	}
	newest := alertsOf(t, m, monitor.AlertFilter{Severity: rule.Alert, Newest: true, Limit: 3})
	if len(newest) != 3 || newest[0].ID != last || newest[0].Entries[0].Index != 693 || newest[2].Entries[0].Index != 679 {
		t.Errorf("the newest: %+v", newest)
	}
	all, turned := alertsOf(t, m, monitor.AlertFilter{}), alertsOf(t, m, monitor.AlertFilter{Newest: true})
	slices.Reverse(turned)
	if len(all) != 700 || !slices.EqualFunc(all, turned, func(a, b *monitor.Alert) bool { return a.ID == b.ID }) {
		t.Errorf("%d alerts, and %d the other way round", len(all), len(turned))
	}
	if err := other.Silence(t.Context(), last, "known"); err != nil {
		t.Fatal(err)
	}
	count(monitor.AlertCount{Rule: "r", Severity: rule.Alert, N: 99}, monitor.AlertCount{Rule: "r", Severity: rule.Alert, Silenced: true, N: 1},
		monitor.AlertCount{Rule: "r", Severity: rule.Information, N: 600})
}

func TestReadersGoOnWhereTheirAlertsEnd(t *testing.T) {
	m, _ := newMonitor(t, monitor.Config{})
	if _, err := m.AddLog(t.Context(), "http://log.test/", testlog.PolicyText(origin)); err != nil {
		t.Fatal(err)
	}
	for _, next := range []uint64{7, 3} { // a reader that is behind does not turn another back
		if n, err := m.AddAlertsAndMark(t.Context(), []monitor.Alert{{Finding: rule.Finding{Rule: "r", Subject: "s"}}}, "reader", origin, next); err != nil || (n == 1) != (next == 7) {
			t.Fatalf("%d new, %v", n, err)
		}
	}
	if next, err := m.Mark(t.Context(), "reader", origin); err != nil || next != 7 {
		t.Errorf("mark at %d, %v: want 7", next, err)
	}
	if next, err := m.Mark(t.Context(), "another", origin); err != nil || next != 0 {
		t.Errorf("mark of another at %d, %v: want 0", next, err)
	}
	if _, err := m.AddAlertsAndMark(t.Context(), nil, "reader", "unknown.test", 1); err == nil {
		t.Error("a mark of an unknown log was kept")
	}
}

func TestFoldersAreMadeOnceAndNeverByOpening(t *testing.T) {
	_, dir := newMonitor(t, monitor.Config{})
	if err := monitor.Init(dir); err == nil {
		t.Error("a folder was made anew")
	}
	if _, err := monitor.Open(t.TempDir(), monitor.Config{}); err == nil {
		t.Error("a folder without a monitor was opened")
	}
}
