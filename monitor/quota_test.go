package monitor_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/attack"
	"github.com/poclog/poclog/internal/testlog"
	"github.com/poclog/poclog/monitor"
)

func filesIn(t *testing.T, dir, sub string) int {
	t.Helper()
	return len(must(os.ReadDir(filepath.Join(dir, sub))))
}

// A log that shows another history at each look convicts itself once: it does not fill the disk.
func TestALogThatForksAtEachLookIsKeptOnce(t *testing.T) {
	s := newStation(t, logOf(origin, "a", 300))
	m, dir := newMonitor(t, monitor.Config{})
	s.follow(t, m)
	s.Publish(now)
	once(t, m)
	for i := range 11 {
		forked := logOf(origin, fmt.Sprint("fork", i), 310+i)
		s.Tiles.Set(forked, testlog.Signed(forked, 310+i, now), nil)
		look(t, m)
	}
	a := onlyAlert(t, m, monitor.RuleForked)
	if n := filesIn(t, dir, "split-views"); n != 1 {
		t.Errorf("%d files: want one", n)
	}
	// One that somebody removed comes again.
	if err := os.Remove(filepath.Join(dir, a.File)); err != nil {
		t.Fatal(err)
	}
	look(t, m)
	fileOf(t, dir, a)
}

// What a log does at each look is told so often a day, and on the next day again.
func TestWhatALogGoesOnDoingIsToldSoOftenADay(t *testing.T) {
	s := newStation(t, &testlog.Log{Origin: origin, Leaves: strangers("a", 10)})
	clock := now
	m, _ := newMonitor(t, monitor.Config{Clock: func() time.Time { return clock }})
	s.follow(t, m)
	backAndForth := func() {
		s.Add(strangers("more", 1)...)
		s.Publish(clock)
		look(t, m)
		n := len(s.Log.Leaves) - 1
		clock = clock.Add(time.Minute)
		s.Tiles.Set(s.Log, testlog.Signed(s.Log, n, clock), nil)
		look(t, m)
	}
	shrunk := func() int { return len(alertsOf(t, m, monitor.AlertFilter{Rule: monitor.RuleShrunk})) }
	for range 70 {
		backAndForth()
	}
	if shrunk() != 64 {
		t.Errorf("%d alerts: want 64", shrunk())
	}
	clock = clock.Add(24 * time.Hour)
	backAndForth()
	if shrunk() != 65 {
		t.Errorf("%d alerts after a day: want 65", shrunk())
	}
}

// A log that makes entries up and has no evidence raises no more alerts than one that does it a few
// times.
func TestAlertsForWantOfEvidenceAreCapped(t *testing.T) {
	w := attack.NewWorld()
	s := newStation(t, w.Log)
	s.submit(t, w, w.Honest())
	e := must(poclog.ParseEntry(s.Log.Leaves[len(s.Log.Leaves)-1]))
	s.Log = prefix(s.Log, len(s.Log.Leaves)-1)
	for i := range 70 {
		e.Quote = poclog.Identity("quote:" + poclog.Sum(fmt.Append(nil, "quote", i)).String())
		e.Evidence.Bundle.SHA256 = poclog.Sum(fmt.Append(nil, "bundle", i))
		e.Fresh.Root = poclog.Sum(fmt.Append(nil, "root", i))
		s.Add(must(e.Marshal()))
	}
	m, dir, _ := watcher(t)
	s.follow(t, m)
	s.Publish(attack.Now.Add(2 * time.Second))
	look(t, m)
	for _, rule := range []string{monitor.RuleChallengeUnfounded, monitor.RuleEvidenceWithheld} {
		if n := len(alertsOf(t, m, monitor.AlertFilter{Rule: rule})); n != 64 {
			t.Errorf("%d alerts of rule %s: want 64", n, rule)
		}
	}
	if n := filesIn(t, dir, "contradictions"); n != 0 {
		t.Errorf("%d files: want none without evidence", n)
	}
}

// A log that makes entries up and has evidence of something else convicts itself so often, and no
// file is written that no alert names.
func TestEntriesThatTheirEvidenceDoesNotGiveAreCapped(t *testing.T) {
	w := attack.NewWorld()
	s := newStation(t, w.Log)
	s.submit(t, w, w.Honest())
	e := must(poclog.ParseEntry(s.Log.Leaves[len(s.Log.Leaves)-1]))
	for i := range 70 {
		e.Quote = poclog.Identity("quote:" + poclog.Sum(fmt.Append(nil, "quote", i)).String())
		e.Appraised = attack.Now.Add(time.Hour) // what is out of its time is looked into
		s.Add(must(e.Marshal()))
	}
	m, dir, _ := watcher(t)
	s.follow(t, m)
	s.Publish(attack.Now.Add(2 * time.Second))
	look(t, m)
	n := len(alertsOf(t, m, monitor.AlertFilter{Rule: "entry-not-reproducible"}))
	if files := filesIn(t, dir, "contradictions"); n != 64 || files != n {
		t.Errorf("%d alerts and %d files: want 64", n, files)
	}
}
