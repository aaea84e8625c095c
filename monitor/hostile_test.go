package monitor_test

import (
	"context"
	"database/sql"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/attack"
	"github.com/poclog/poclog/internal/testlog"
	"github.com/poclog/poclog/monitor"
	"github.com/poclog/poclog/verify/profile"
	"github.com/poclog/poclog/verify/rule"
)

// overTime returns an attack of the series of gce-tdx-vtpm.
func overTime(name string) *attack.OverTime {
	i := slices.IndexFunc(attack.Series, func(a attack.OverTime) bool { return a.Name == name })
	return &attack.Series[i]
}

// watcher is a monitor whose clock a test moves.
func watcher(t *testing.T) (m *monitor.Monitor, dir string, clock *time.Time) {
	t.Helper()
	at := attack.Now.Add(time.Minute)
	m, dir = newMonitor(t, monitor.Config{Reappraise: profile.Reappraiser{}, Clock: func() time.Time { return at }})
	return m, dir, &at
}

func contradictionsOf(t *testing.T, m *monitor.Monitor, rule string) []*monitor.Alert {
	t.Helper()
	return alertsOf(t, m, monitor.AlertFilter{Rule: rule, Severity: "contradiction"})
}

// A log that withholds the challenge's checkpoint makes an alert of a contradiction, for nobody
// knows the times. Once it serves it, the contradiction is told: it is no alert that everybody has
// seen.
func TestWhatWasAnAlertForWantOfEvidenceBecomesAContradiction(t *testing.T) {
	a := overTime("clone-chassis")
	w := a.NewWorld()
	s := newStation(t, w.Log)
	m, _, clock := watcher(t)
	s.follow(t, m)
	for _, b := range a.Stage(w) {
		s.submit(t, w, b)
	}
	s.AnswerAll(http.StatusNotFound)
	s.Publish(attack.Now.Add(2 * time.Second))
	if out := look(t, m); out.New["contradiction"] != 0 || len(alertsOf(t, m, monitor.AlertFilter{Rule: a.Rule})) != 1 || out.Waiting != 1 {
		t.Fatalf("%+v: want an alert, and a pair that waits", out)
	}
	s.AnswerAll(0)
	*clock = clock.Add(2 * time.Minute)
	if out := look(t, m); out.New["contradiction"] != 1 || out.Waiting != 0 {
		t.Errorf("%+v: want a contradiction that is new", out)
	}
	if got := contradictionsOf(t, m, a.Rule); len(got) != 1 || got[0].File == "" {
		t.Errorf("%+v: want one with its file", got)
	}
}

// Alerts of a subject, which whoever has a part in it can raise by the dozen, leave no room taken
// for a contradiction of the same rule.
func TestAlertsDoNotHideAContradictionOfTheirSubject(t *testing.T) {
	a := overTime("clone-chassis")
	w := a.NewWorld()
	s := newStation(t, w.Log)
	m, _, _ := watcher(t)
	s.follow(t, m)
	stages := a.Stage(w)
	s.submit(t, w, stages[0])
	chip := must(poclog.ParseEntry(s.Log.Leaves[len(s.Log.Leaves)-1])).Chip()
	var noise []monitor.Alert
	for i := range uint64(64) {
		noise = append(noise, monitor.Alert{Finding: rule.Finding{Rule: a.Rule, Severity: "alert", Subject: chip}, Entries: []monitor.EntryRef{{Origin: "noise.test", Index: i}}})
	}
	must(m.AddAlerts(t.Context(), noise))
	s.submit(t, w, stages[1])
	s.Publish(attack.Now.Add(2 * time.Second))
	if look(t, m); len(contradictionsOf(t, m, a.Rule)) != 1 {
		t.Error("the contradiction is hidden by alerts")
	}
}

// A log that makes an entry up implicates itself, not the key that it names.
func TestAnEntryThatALogMadeUpFramesNobody(t *testing.T) {
	w := attack.NewWorld()
	s := newStation(t, w.Log)
	m, _, _ := watcher(t)
	s.follow(t, m)
	s.submit(t, w, w.Honest())
	e := must(poclog.ParseEntry(s.Log.Leaves[len(s.Log.Leaves)-1]))
	ak := string(e.Keys[0])
	for i, id := range e.Chassis {
		if id.Kind() != poclog.TPMEK {
			b := []byte(id)
			b[len(b)-1] ^= 1 // another hexadecimal digit
			e.Chassis[i] = poclog.Identity(b)
		}
	}
	e.Quote = poclog.Identity("quote:" + poclog.Sum([]byte("made up")).String())
	s.Add(must(e.Marshal()))
	s.Publish(attack.Now.Add(2 * time.Second))
	look(t, m)
	if len(contradictionsOf(t, m, "entry-not-reproducible")) != 1 {
		t.Error("the log is not implicated")
	}
	for _, a := range alertsOf(t, m, monitor.AlertFilter{}) {
		if slices.Contains(a.Implicated, ak) {
			t.Errorf("the key is implicated: %+v", a)
		}
	}
}

// A log that makes an entry up and has no evidence of it implicates nobody: what is found is about
// the log, until it shows the evidence. If it then shows what does not give the entry, it convicts
// itself.
func TestAnEntryThatALogMadeUpWithoutEvidenceFramesNobody(t *testing.T) {
	w := attack.NewWorld()
	s := newStation(t, w.Log)
	m, _, clock := watcher(t)
	s.follow(t, m)
	s.submit(t, w, w.Honest())
	e := must(poclog.ParseEntry(s.Log.Leaves[len(s.Log.Leaves)-1]))
	victim := string(e.Keys[0])
	for i, id := range e.Chassis {
		if id.Kind() == poclog.IntelPPID || id.Kind() == poclog.IntelPIID {
			b := []byte(id)
			b[len(b)-1] ^= 1 // another hexadecimal digit
			e.Chassis[i] = poclog.Identity(b)
		}
	}
	lost := []byte("what the log shows in the end")
	e.Quote, e.Evidence.Bundle = poclog.Identity("quote:"+poclog.Sum([]byte("made up")).String()), poclog.Blob{SHA256: poclog.Sum(lost), Size: uint32(len(lost))}
	s.Add(must(e.Marshal()))
	s.Publish(attack.Now.Add(2 * time.Second))
	framesNobody := func() (withheld bool) {
		t.Helper()
		for _, a := range alertsOf(t, m, monitor.AlertFilter{}) {
			if slices.Contains(a.Implicated, victim) || a.Severity == "contradiction" && string(a.Subject) != "log:"+s.Log.Origin {
				t.Errorf("%s %s is implicated by %+v", a.Severity, a.Rule, a)
			}
			withheld = withheld || slices.Contains(a.Withheld, s.Log.Origin) && slices.Contains(a.Affected, poclog.Identity(victim))
		}
		return withheld
	}
	if look(t, m); !framesNobody() {
		t.Error("nothing names the log that withholds the evidence, and whom it affects")
	}
	s.Keep(lost)
	*clock = clock.Add(2 * time.Minute)
	look(t, m)
	framesNobody()
	if got := alertsOf(t, m, monitor.AlertFilter{Rule: "entry-not-reproducible"}); len(got) != 1 || !slices.Contains(got[0].Implicated, "log:"+s.Log.Origin) {
		t.Errorf("%+v: want the log implicated once it shows evidence that does not give the entry", got)
	}
}

// A challenge of a log that the monitor is to follow and has not reached yet.
func TestAChallengeOfALogThatWasNeverReached(t *testing.T) {
	w := attack.NewWorld()
	away, here := newStation(t, w.Log), newStation(t, &testlog.Log{Origin: "other.test", Leaves: [][]byte{{1}}})
	away.submit(t, w, w.Honest())
	here.Add(away.Log.Leaves[2])
	here.KeepAllOf(away.Station)
	m, _, clock := watcher(t)
	away.follow(t, m)
	here.follow(t, m)
	away.Down(true)
	here.Publish(attack.Now.Add(2 * time.Second))
	out := look(t, m)
	if nextOf(t, m, "other.test") != 2 || out.Waiting != 1 || out.New["contradiction"] != 0 {
		t.Fatalf("%+v: want the challenge to wait for its log", out)
	}
	away.Down(false)
	away.Publish(attack.Now.Add(2 * time.Second))
	*clock = clock.Add(2 * time.Minute)
	if out := look(t, m); out.Waiting != 0 || len(contradictionsOf(t, m, "")) != 0 {
		t.Errorf("%+v: want it settled", out)
	}
}

// A leaf by a later specification than this software knows is no malformed one: the log did nothing
// wrong.
func TestALaterSpecificationFramesNoLog(t *testing.T) {
	s := newStation(t, logOf(origin, "a", 3))
	s.Log.Leaves[1] = []byte(`{"v":1,"kind":"proof","appraisal":900,"profile":"later","more":1}`)
	m, _ := newMonitor(t, monitor.Config{Reappraise: profile.Reappraiser{}})
	s.follow(t, m)
	s.Publish(now)
	if out := look(t, m); out.New["contradiction"] != 0 || out.New["alert"] != 1 || out.Waiting != 0 {
		t.Errorf("%+v: want an alert", out)
	}
	if a := alertsOf(t, m, monitor.AlertFilter{}); len(a) != 1 || len(a[0].Implicated) != 0 {
		t.Errorf("%+v: want one that implicates nobody", a)
	}
}

// A process may be killed when one log's entries were recorded, and another's, with which they are
// to be compared, were not yet.
func TestAPairWhoseOtherSideWasNotReadYetWaits(t *testing.T) {
	gone, here := newStation(t, logOf(origin, "a", 300)), newStation(t, logOf("other.test", "o", 10))
	m, dir, clock := watcher(t)
	gone.follow(t, m)
	here.follow(t, m)
	gone.Down(true)
	here.Publish(now)
	look(t, m)
	db := must(sql.Open("sqlite", "file:"+filepath.Join(dir, "monitor.db")))
	if _, err := db.Exec("INSERT INTO pair (log_a, a, log_b, b) VALUES (1, 280, 2, 3)"); err != nil {
		t.Fatal(err)
	}
	db.Close()
	here.Add(strangers("more", 10)...)
	here.Publish(now)
	if out := look(t, m); out.Waiting != 1 || nextOf(t, m, "other.test") != 20 {
		t.Fatalf("%+v: want the pair to wait, and the other log to be read", out)
	}
	gone.Down(false)
	gone.Publish(now)
	*clock = clock.Add(2 * time.Minute)
	if out := look(t, m); out.Waiting != 0 {
		t.Errorf("%+v: want nothing left", out)
	}
}

// The key of a chip answers in another place for a short while and to another log, which is read
// only later: then the latest of what the first log has is of another time, and what contradicts
// came long before.
func TestAnotherLogThatIsReadLaterHidesNoContradiction(t *testing.T) {
	a := overTime("clone-chassis")
	w := a.NewWorld()
	s, later := newStation(t, w.Log), newStation(t, &testlog.Log{Origin: "other.test"})
	m, _, clock := watcher(t)
	s.follow(t, m)
	stages := a.Stage(w)
	s.submit(t, w, stages[1])
	n := len(s.Log.Leaves) - 1
	later.Add(s.Log.Leaves[n])
	s.Log = prefix(s.Log, n)
	s.submit(t, w, stages[0])
	s.Publish(attack.Now.Add(2 * time.Second))
	look(t, m)
	w.Challenge = w.ChallengeAt(attack.Now.Add(72 * time.Hour))
	s.submit(t, w, w.Honest())
	s.Publish(attack.Now.Add(72*time.Hour + 10*time.Second))
	*clock = attack.Now.Add(72*time.Hour + time.Minute)
	look(t, m)
	later.KeepAllOf(s.Station)
	later.follow(t, m)
	later.Publish(attack.Now.Add(10 * time.Second))
	out := look(t, m)
	for _, f := range alertsOf(t, m, monitor.AlertFilter{}) {
		t.Logf("%s %s %v", f.Rule, f.Severity, f.Entries)
	}
	if got := contradictionsOf(t, m, a.Rule); len(got) != 1 || got[0].File == "" || out.Waiting != 0 {
		t.Errorf("%+v, %+v: want a contradiction with its file", out, got)
	}
}

// A log that does not end to be out of order when it is asked for evidence withholds it, as one
// that says that it has none.
func TestALogThatIsOutOfOrderForeverHidesNothing(t *testing.T) {
	t.Parallel() // the client tries again for a while
	a := overTime("clone-chassis")
	w := a.NewWorld()
	s := newStation(t, w.Log)
	m, dir := newMonitor(t, monitor.Config{
		Reappraise: profile.Reappraiser{}, Clock: func() time.Time { return attack.Now.Add(time.Minute) }, HTTP: &http.Client{Transport: evidence503{}},
	})
	s.follow(t, m)
	for _, b := range a.Stage(w) {
		s.submit(t, w, b)
	}
	s.Publish(attack.Now.Add(2 * time.Second))
	db := must(sql.Open("sqlite", "file:"+filepath.Join(dir, "monitor.db")))
	if _, err := db.Exec("INSERT INTO pair (log_a, a, log_b, b, tries) VALUES (1, 2, 1, 3, 5)"); err != nil {
		t.Fatal(err)
	}
	db.Close()
	out := look(t, m)
	if len(alertsOf(t, m, monitor.AlertFilter{Rule: a.Rule})) != 1 || len(alertsOf(t, m, monitor.AlertFilter{Rule: monitor.RuleEvidenceWithheld})) != 2 || out.Waiting != 1 {
		t.Errorf("%+v: want what was found, that its evidence is withheld, and a pair that waits", out)
	}
}

// evidence503 is a log whose evidence is out of order.
type evidence503 struct{}

func (evidence503) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.Contains(r.URL.Path, "/evidence/") {
		rec := httptest.NewRecorder()
		rec.Header().Set("Retry-After", "0")
		rec.WriteHeader(http.StatusServiceUnavailable)
		return rec.Result(), nil
	}
	return http.DefaultTransport.RoundTrip(r)
}

// A log that answers nothing in time, or has more entries than can be read at once, does not keep
// the monitor from others.
func TestASlowLogDoesNotStopOthers(t *testing.T) {
	slow, other := newStation(t, logOf(origin, "a", 300)), newStation(t, logOf("other.test", "o", 10))
	slow.Publish(now)
	other.Publish(now)
	end := make(chan struct{})
	defer close(end)
	hangs := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/tile/entries/") {
			select {
			case <-end:
			case <-r.Context().Done():
			}
			return
		}
		slow.ServeHTTP(w, r)
	}))
	t.Cleanup(hangs.Close)
	slow.url = hangs.URL
	m, _ := newMonitor(t, monitor.Config{Turn: 200 * time.Millisecond, Interval: time.Millisecond})
	slow.follow(t, m)
	other.follow(t, m)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	grown := false
	_, err := m.Run(ctx, monitor.Options{Round: func(context.Context, *monitor.Outcome) error {
		switch n := nextOf(t, m, "other.test"); {
		case n == 20:
			cancel()
		case n == 10 && !grown:
			grown = true
			other.Add(strangers("more", 10)...)
			other.Publish(now)
		}
		return nil
	}})
	if err != nil || nextOf(t, m, "other.test") != 20 {
		t.Errorf("%v, %d entries of the other log were read: want all", err, nextOf(t, m, "other.test"))
	}
}
