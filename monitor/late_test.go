package monitor_test

import (
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/attack"
	"github.com/poclog/poclog/verify/profile"
	"github.com/poclog/poclog/verify/receipt"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

// submitAt appends the entry of a bundle that the log says it judged at a time.
func (s *station) submitAt(t *testing.T, w *attack.World, b *poclog.Bundle, at time.Time) {
	t.Helper()
	s.submit(t, w, b) // keeps the evidence
	n := len(s.Log.Leaves) - 1
	e := must(poclog.ParseEntry(s.Log.Leaves[n]))
	e.Appraised = at
	s.Log = prefix(s.Log, n)
	s.Add(must(e.Marshal()))
}

// A log that says that it judged evidence after its witnesses saw the entry made its time up: no
// client takes its receipt, and the monitor proves it.
func TestALogThatMakesATimeUpConvictsItself(t *testing.T) {
	w := attack.NewWorld()
	s := newStation(t, w.Log)
	m, dir, _ := watcher(t)
	s.follow(t, m)
	s.submitAt(t, w, w.Honest(), attack.Now.Add(5*time.Minute)) // as the appraisal allows
	s.Publish(attack.Now.Add(2 * time.Second))
	out := look(t, m)
	found := contradictionsOf(t, m, "interval-inverted")
	if len(found) != 1 || out.Waiting != 0 {
		t.Fatalf("%+v, %+v: want a contradiction", out, found)
	}
	terms := receipt.Terms{Reappraise: profile.Reappraiser{}, UnsafeRealm: poclog.Lab}
	if _, err := receipt.CheckContradiction(fileOf(t, dir, found[0]), must(tlogpolicy.Parse([]byte(s.Policy))), terms); err != nil {
		t.Error(err)
	}
}

// A log that says that it judged one side of a contradiction before the evidence was made has no
// file made of it: it convicts itself instead.
func TestALogThatMakesATimeUpHidesBehindNoContradiction(t *testing.T) {
	a := overTime("clone-ak")
	w := a.NewWorld()
	s := newStation(t, w.Log)
	m, dir, _ := watcher(t)
	s.follow(t, m)
	stages := a.Stage(w)
	s.submit(t, w, stages[0])
	s.submitAt(t, w, stages[1], attack.Now.Add(-time.Hour))
	s.Publish(attack.Now.Add(2 * time.Second))
	out := look(t, m)
	if len(contradictionsOf(t, m, "entry-not-reproducible")) != 1 || out.Waiting != 0 { // for nothing that is appraised gives such a time
		t.Fatalf("%+v: want a contradiction about the log, and nothing left", out)
	}
	for _, a := range contradictionsOf(t, m, "") {
		if string(a.Subject) != "log:"+s.Log.Origin {
			t.Errorf("about somebody else: %+v", a)
		}
		fileOf(t, dir, a)
	}
}

// A log that says of one entry that it judged it long before those that came before it is looked
// at, though nothing contradicts it: by these times the monitor decides what else to look at.
func TestAnEntryOutOfItsLogsOrderIsLookedAt(t *testing.T) {
	w := attack.NewWorld()
	s := newStation(t, w.Log)
	m, dir, _ := watcher(t)
	s.follow(t, m)
	s.submit(t, w, w.Honest())
	s.submitAt(t, w, w.Honest(), attack.Now.Add(-25*time.Hour))
	s.Publish(attack.Now.Add(10 * time.Second))
	out := look(t, m)
	found := contradictionsOf(t, m, "entry-not-reproducible")
	if len(found) != 1 || string(found[0].Subject) != "log:"+s.Log.Origin || out.Waiting != 0 {
		t.Fatalf("%+v, %+v: want a contradiction about the log", out, found)
	}
	fileOf(t, dir, found[0])
}
