package monitor_test

import (
	"fmt"
	"maps"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/testlog"
	"github.com/poclog/poclog/monitor"
)

// yearOf simulates some days of about n proofs.
func yearOf(n, days int) *fleet {
	hours := days * 24
	f := newFleet(7, 24+n/2500, 60+n/400, origin, "sister.test")
	for h := range hours {
		f.hour((h+1)*n/hours - h*n/hours)
	}
	f.end()
	return f
}

// entriesVar is how many entries a simulated year has. Without it there are two months of it.
const entriesVar = "POCLOG_YEAR"

func yearSize(t testing.TB) (n, days int) {
	n, days = 10_000, 61
	if s := os.Getenv(entriesVar); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatalf("%s=%s: %v", entriesVar, s, err)
		}
		days = 365
	}
	return n, days
}

// A year of honest operation raises no alert, and the records are what happened.
func TestAYearOfHonestOperationGivesNoAlert(t *testing.T) {
	begun := time.Now()
	f := yearOf(yearSize(t))
	f.serve(t)
	minted := time.Since(begun)
	m, _ := newMonitor(t, monitor.Config{Clock: func() time.Time { return at(f.tick).Add(time.Minute) }})
	for _, l := range f.logs {
		if _, err := m.AddLog(t.Context(), l.url, testlog.PolicyText(l.origin)); err != nil {
			t.Fatal(err)
		}
	}
	begun = time.Now()
	out := once(t, m)
	t.Logf("%d and %d entries minted in %s, watched in %s: %v", len(f.logs[0].entries), len(f.logs[1].entries), minted, time.Since(begun), out.New)
	if out.New["contradiction"]+out.New["alert"] != 0 || out.Waiting != 0 || out.New["information"] == 0 {
		t.Errorf("%+v: want information alone", out)
		for _, a := range alertsOf(t, m, monitor.AlertFilter{Severity: "alert", Limit: 5}) {
			t.Logf("%+v", a)
		}
		for _, a := range alertsOf(t, m, monitor.AlertFilter{Severity: "contradiction", Limit: 5}) {
			t.Logf("%+v", a)
		}
	}
	got, seen := make(map[string]int), make(map[poclog.Identity]bool)
	for r, err := range m.Records(t.Context(), monitor.Filter{Kind: monitor.KindProof, MinLevel: 2}) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Place.ZoneAuthentic && !seen[r.Quote] {
			seen[r.Quote] = true
			got[placeHour(r.Place.Zone, r.Appraised)]++
		}
	}
	if !maps.Equal(got, f.places) {
		t.Errorf("%d places and hours on record: want the %d that were", len(got), len(f.places))
	}
}

func placeHour(zone string, at time.Time) string {
	return fmt.Sprintf("%s %s", zone, at.UTC().Format("2006-01-02T15"))
}
