package monitor_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/attack"
	"github.com/poclog/poclog/monitor"
	"github.com/poclog/poclog/verify/profile"
)

// A log that has more names of places than are kept is followed on: what comes later is found by
// its name, compared, and held to its challenge.
func TestALogWithTooManyNamesIsFollowedOn(t *testing.T) {
	defer monitor.SetMaxTerms(12)() // none of these tests runs at the same time as this one
	w := attack.NewWorld()
	s := newStation(t, w.Log)
	s.submit(t, w, w.Honest())
	honest := s.Log.Leaves[len(s.Log.Leaves)-1]
	s.Log = prefix(s.Log, len(s.Log.Leaves)-1)
	for i := range 20 {
		e := must(poclog.ParseEntry(honest))
		e.Quote = poclog.Identity("quote:" + poclog.Sum(fmt.Append(nil, "quote", i)).String())
		e.Place.Zone.Value = fmt.Sprintf("us-central1-x%d", i)
		s.Add(must(e.Marshal()))
	}
	clock := attack.Now.Add(time.Minute)
	m, _ := newMonitor(t, monitor.Config{Reappraise: profile.Reappraiser{}, Clock: func() time.Time { return clock }})
	s.follow(t, m)
	s.Publish(attack.Now.Add(2 * time.Second))
	for range 2 {
		if out := look(t, m); out.Trouble[s.Log.Origin] != nil || nextOf(t, m, s.Log.Origin) != uint64(len(s.Log.Leaves)) {
			t.Fatalf("%+v, %d of %d entries: want all", out, nextOf(t, m, s.Log.Origin), len(s.Log.Leaves))
		}
	}
	if got := alertsOf(t, m, monitor.AlertFilter{Rule: monitor.RuleNames}); len(got) != 1 || len(got[0].Implicated) != 0 {
		t.Errorf("%+v: want one alert that there are too many names", got)
	}
	for zone, want := range map[string]int{"us-central1-x0": 1, "us-central1-x19": 1, "us-central1-x20": 0} {
		n := 0
		for r, err := range m.Records(t.Context(), monitor.Filter{Zone: zone}) {
			if n++; err != nil || zone == "us-central1-x19" && (len(r.Place.Zone) != 9 || r.Place.Zone[0] != '#') {
				t.Errorf("%+v, %v: want a part of the digest for the name", r, err)
			}
		}
		if n != want {
			t.Errorf("%d records of zone %s: want %d", n, zone, want)
		}
	}
	// The last two are in two places.
	last := uint64(len(s.Log.Leaves) - 1)
	if !slices.ContainsFunc(alertsOf(t, m, monitor.AlertFilter{}), func(a *monitor.Alert) bool {
		return slices.Contains(a.Entries, monitor.EntryRef{Origin: s.Log.Origin, Index: last})
	}) {
		t.Error("the last entry was compared with none")
	}
	// Challenges by a log whose origin came too late for a name are held to its tree.
	e := must(poclog.ParseEntry(honest))
	other := newStation(t, logOf("other.test", "o", 10))
	e.Fresh.Origin, e.Fresh.Size = "other.test", 5
	e.Evidence.Bundle.SHA256 = poclog.Sum([]byte("lost"))
	s.Add(must(e.Marshal()))
	s.Publish(attack.Now.Add(2 * time.Second))
	other.Publish(attack.Now)
	other.follow(t, m)
	look(t, m)
	entry := monitor.EntryRef{Origin: s.Log.Origin, Index: last + 1}
	if !slices.ContainsFunc(alertsOf(t, m, monitor.AlertFilter{Rule: monitor.RuleChallengeUnfounded}), func(a *monitor.Alert) bool {
		return slices.Contains(a.Entries, entry)
	}) {
		t.Error("a challenge with a root that its log never had was let pass")
	}
}
