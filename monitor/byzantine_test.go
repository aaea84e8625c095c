package monitor_test

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poclog/poclog/internal/lab/attack"
	"github.com/poclog/poclog/internal/testlog"
	"github.com/poclog/poclog/monitor"
	"github.com/poclog/poclog/verify/profile"
	"github.com/poclog/poclog/verify/receipt"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

// strangers are leaves of a kind that this software does not know.
func strangers(seed string, n int) (leaves [][]byte) {
	for i := range n {
		leaves = append(leaves, []byte(seed+strings.Repeat("x", i%40)+string(rune('a'+i%26))))
	}
	return leaves
}

func logOf(origin, seed string, n int) *testlog.Log {
	return &testlog.Log{Origin: origin, Leaves: strangers(seed, n)}
}

func prefix(l *testlog.Log, n int) *testlog.Log {
	return &testlog.Log{Origin: l.Origin, Leaves: l.Leaves[:n]}
}

// look runs a monitor once.
func look(t *testing.T, m *monitor.Monitor) *monitor.Outcome {
	t.Helper()
	out, err := m.Run(t.Context(), monitor.Options{Once: true})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func nextOf(t *testing.T, m *monitor.Monitor, origin string) uint64 {
	t.Helper()
	logs, err := m.Logs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range logs {
		if l.Origin == origin {
			return l.Next
		}
	}
	t.Fatalf("no log %q", origin)
	return 0
}

func onlyAlert(t *testing.T, m *monitor.Monitor, rule string) *monitor.Alert {
	t.Helper()
	all := alertsOf(t, m, monitor.AlertFilter{})
	if len(all) != 1 || all[0].Rule != rule || all[0].Implicated[0] != "log:"+origin {
		for _, a := range all {
			t.Logf("%+v", a)
		}
		t.Fatalf("%d alerts: want one of rule %s that implicates the log", len(all), rule)
	}
	return all[0]
}

// Every way in which a log does not serve what it signed: an alert with evidence, nothing is
// skipped, another log goes on, and what comes later in order is read.
func TestLogsThatDoNotServeWhatTheySigned(t *testing.T) {
	for _, c := range []struct {
		name, rule string
		path       string
		change     func([]byte) []byte
		stop       uint64 // entries that are read before it
	}{
		{"an entry bundle is withheld", monitor.RuleWithholds, "/tile/entries/001", func([]byte) []byte { return nil }, 256},
		{"a tile is withheld", monitor.RuleWithholds, "/tile/0/002.p/88", func([]byte) []byte { return nil }, 0},
		{"an entry is another", monitor.RuleCorrupt, "/tile/entries/001", func(b []byte) []byte { b = bytes.Clone(b); b[5] ^= 1; return b }, 256},
		{"a bundle is cut off", monitor.RuleCorrupt, "/tile/entries/001", func(b []byte) []byte { return b[:len(b)-1] }, 256},
		{"an entry at the right edge is another", monitor.RuleCorrupt, "/tile/entries/002.p/88", func(b []byte) []byte { b = bytes.Clone(b); b[5] ^= 1; return b }, 512},
		{"a tile of the right edge is another", monitor.RuleCorrupt, "/tile/1/000.p/2", func(b []byte) []byte { b = bytes.Clone(b); b[5] ^= 1; return b }, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := logOf(origin, "a", 600)
			s, other := newStation(t, l), newStation(t, logOf("other.test", "o", 300))
			m, _ := newMonitor(t, monitor.Config{})
			s.follow(t, m)
			other.follow(t, m)
			other.Publish(now)
			s.Tiles.Set(l, testlog.Signed(l, 600, now), func(path string, b []byte) []byte {
				if path == c.path {
					return c.change(b)
				}
				return b
			})
			out := look(t, m)
			if out.Trouble[origin] == nil || out.New["alert"] != 1 {
				t.Fatalf("%+v: want trouble and an alert", out)
			}
			a := onlyAlert(t, m, c.rule)
			if !bytes.Equal(a.Checkpoint, testlog.Signed(l, 600, now)) {
				t.Errorf("the alert has not the checkpoint that the log does not serve: %q", a.Checkpoint)
			}
			if got := nextOf(t, m, origin); got > c.stop {
				t.Errorf("%d entries were read: want at most %d", got, c.stop)
			}
			if nextOf(t, m, "other.test") != 300 {
				t.Error("the other log was not read")
			}
			if out := look(t, m); len(out.New) != 0 {
				t.Errorf("the same again is new: %v", out.New)
			}
			s.Publish(now)
			if out := look(t, m); len(out.Trouble) != 0 || nextOf(t, m, origin) != 600 {
				t.Errorf("%v, %d entries: want all once the log serves them", out.Trouble, nextOf(t, m, origin))
			}
		})
	}
}

func TestALogThatForksIsProvenTo(t *testing.T) {
	l, forked := logOf(origin, "a", 300), logOf(origin, "b", 700)
	s, other := newStation(t, l), newStation(t, logOf("other.test", "o", 10))
	m, dir := newMonitor(t, monitor.Config{})
	s.follow(t, m)
	other.follow(t, m)
	other.Publish(now)
	s.Publish(now)
	once(t, m)
	s.Tiles.Set(forked, testlog.Signed(forked, 700, now), nil)
	other.Add(strangers("more", 10)...)
	other.Publish(now)
	if out := look(t, m); out.New["contradiction"] != 1 || out.Trouble[origin] == nil {
		t.Fatalf("%+v: want a contradiction", out)
	}
	a := onlyAlert(t, m, monitor.RuleForked)
	if _, err := receipt.CheckSplitView(fileOf(t, dir, a), must(tlogpolicy.Parse([]byte(s.Policy)))); err != nil {
		t.Errorf("the evidence does not convince: %v", err)
	}
	if nextOf(t, m, origin) != 300 || nextOf(t, m, "other.test") != 20 {
		t.Error("the fork was followed, or the other log was not")
	}
	longer := &testlog.Log{Origin: origin, Leaves: append(l.Leaves[:300:300], strangers("c", 10)...)}
	s.Tiles.Set(longer, testlog.Signed(longer, 310, now), nil)
	if out := look(t, m); len(out.New)+len(out.Trouble) != 0 || nextOf(t, m, origin) != 310 {
		t.Errorf("%+v: want the history that was followed to go on", out)
	}
}

func TestALogThatShrinksOrStalls(t *testing.T) {
	l := logOf(origin, "a", 300)
	s := newStation(t, l)
	clock := now
	m, _ := newMonitor(t, monitor.Config{Clock: func() time.Time { return clock }, Stalled: 10 * time.Minute})
	s.follow(t, m)
	s.Publish(now)
	once(t, m)
	// A cache that is behind is no alert.
	small := prefix(l, 200)
	s.Tiles.Set(l, testlog.Signed(small, 200, now.Add(-time.Minute)), nil)
	clock = now.Add(time.Minute)
	if out := look(t, m); len(out.New)+len(out.Trouble) != 0 {
		t.Fatalf("a cached checkpoint: %+v", out)
	}
	// A smaller tree that is signed anew is.
	s.Tiles.Set(l, testlog.Signed(small, 200, now.Add(time.Minute)), nil)
	if out := look(t, m); out.New["alert"] != 1 || out.Trouble[origin] == nil {
		t.Fatalf("a smaller tree: %+v", out)
	}
	if a := onlyAlert(t, m, monitor.RuleShrunk); len(a.Checkpoint) == 0 {
		t.Error("the alert has not the checkpoint")
	}
	// For a while it may be the network.
	s.Down(true)
	clock = now.Add(9 * time.Minute)
	if out := look(t, m); out.New["alert"] != 0 || out.Trouble[origin] == nil {
		t.Errorf("out of reach for a while: %+v", out)
	}
	for i, want := range []int{1, 0} {
		clock = now.Add(11*time.Minute + time.Duration(i)*time.Minute)
		if out := look(t, m); out.New["alert"] != want {
			t.Errorf("out of reach for long, look %d: %+v", i, out)
		}
	}
	if got := alertsOf(t, m, monitor.AlertFilter{Rule: monitor.RuleStalled}); len(got) != 1 {
		t.Errorf("%d alerts of a stalled log: want one", len(got))
	}
	// An old checkpoint that is served for ever is no fresh one.
	s.Down(false)
	s.Publish(now)
	clock = now.Add(time.Hour)
	look(t, m)
	if got := alertsOf(t, m, monitor.AlertFilter{Rule: monitor.RuleStalled}); len(got) != 1 {
		t.Errorf("%d alerts of a stalled log: want still one of the same stall", len(got))
	}
}

func TestMalformedEntriesAreProvenAndPassed(t *testing.T) {
	l := logOf(origin, "a", 300)
	l.Leaves[270] = []byte(`{"v":1,"kind":"proof","appraisal":1,"profile":"tdx"}`)
	s := newStation(t, l)
	m, dir := newMonitor(t, monitor.Config{Reappraise: profile.Reappraiser{}})
	s.follow(t, m)
	s.Publish(now)
	if out := once(t, m); out.New["contradiction"] != 1 {
		t.Fatalf("%+v: want a contradiction", out)
	}
	a := onlyAlert(t, m, "entry-not-reproducible")
	if _, err := receipt.CheckContradiction(fileOf(t, dir, a), must(tlogpolicy.Parse([]byte(s.Policy))), receipt.Terms{Reappraise: profile.Reappraiser{}}); err != nil {
		t.Error(err)
	}
	if nextOf(t, m, origin) != 300 {
		t.Error("the entries after it were not read")
	}
	r, err := m.Record(t.Context(), origin, 270)
	if err != nil || r.Kind != monitor.KindMalformed {
		t.Errorf("%+v, %v: want a record that says so", r, err)
	}
}

// A log that withholds an entry's evidence does not hide the alert, and until it gives it nobody is
// implicated: the log may have invented the entry. Once it gives it, there is a contradiction with
// its file.
func TestWithheldEvidenceDelaysTheContradictionNotTheAlert(t *testing.T) {
	for _, status := range []int{http.StatusNotFound, http.StatusUnavailableForLegalReasons} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			t.Parallel()
			i := 0
			for attack.Series[i].Name != "clone-ak" {
				i++
			}
			a := attack.Series[i]
			w := a.NewWorld()
			s := newStation(t, w.Log)
			clock := attack.Now.Add(time.Minute)
			m, dir := newMonitor(t, monitor.Config{Reappraise: profile.Reappraiser{}, Clock: func() time.Time { return clock }})
			s.follow(t, m)
			for _, b := range a.Stage(w) {
				s.submit(t, w, b)
			}
			s.AnswerAll(status)
			s.Publish(attack.Now.Add(2 * time.Second))
			out := look(t, m)
			if out.New["contradiction"] != 0 || out.New["alert"] != 4 || out.Waiting != 1 {
				t.Fatalf("%+v: want alerts of what was found, two of withheld evidence, and a pair that waits", out)
			}
			found := alertsOf(t, m, monitor.AlertFilter{Rule: a.Rule})
			if len(found) != 1 || found[0].File != "" || len(found[0].Implicated) > 0 || !slices.Equal(found[0].Withheld, []string{w.Log.Origin}) {
				t.Fatalf("%+v", found)
			}
			for _, a := range alertsOf(t, m, monitor.AlertFilter{Rule: monitor.RuleEvidenceWithheld}) {
				if (len(a.Implicated) == 0) != (status == http.StatusUnavailableForLegalReasons) {
					t.Errorf("implicated %v", a.Implicated)
				}
			}
			s.AnswerAll(0)
			clock = clock.Add(2 * time.Minute)
			if out := look(t, m); out.New["contradiction"] != 2 || len(out.New) != 1 || out.Waiting != 0 {
				t.Errorf("%+v: want the contradictions, and nothing left", out)
			}
			found = alertsOf(t, m, monitor.AlertFilter{Rule: a.Rule, Severity: "contradiction"})
			if len(found) != 1 || len(found[0].Implicated) == 0 || len(found[0].Withheld) > 0 {
				t.Fatalf("%+v", found)
			}
			v, err := receipt.CheckContradiction(fileOf(t, dir, found[0]), must(tlogpolicy.Parse([]byte(s.Policy))), receipt.Terms{Reappraise: profile.Reappraiser{}, UnsafeRealm: "lab"})
			if err != nil || v.Verdict != receipt.Reappraised {
				t.Errorf("%+v, %v", v, err)
			}
		})
	}
}

// A challenge whose root the log never had was signed in another history: that is a split view, and
// nobody had to see both.
func TestAChallengeOfAnotherHistoryConvictsTheLog(t *testing.T) {
	w := attack.NewWorld()
	s := newStation(t, w.Log)
	s.submit(t, w, w.Honest())
	// What the monitor is shown has another beginning than what the evidence answers.
	s.Log = &testlog.Log{Origin: s.Log.Origin, Leaves: append([][]byte{{9}}, s.Log.Leaves[1:]...)}
	m, dir := newMonitor(t, monitor.Config{Reappraise: profile.Reappraiser{}, Clock: func() time.Time { return attack.Now.Add(time.Minute) }})
	s.follow(t, m)
	s.Publish(attack.Now.Add(2 * time.Second))
	if out := once(t, m); out.New["contradiction"] != 1 || out.Waiting != 0 {
		t.Fatalf("%+v: want a contradiction", out)
	}
	all := alertsOf(t, m, monitor.AlertFilter{Rule: monitor.RuleForked})
	if len(all) != 1 || len(all[0].Entries) != 1 || all[0].Entries[0].Index != 2 {
		t.Fatalf("%+v", all)
	}
	if _, err := receipt.CheckSplitView(fileOf(t, dir, all[0]), must(tlogpolicy.Parse([]byte(s.Policy)))); err != nil {
		t.Errorf("the evidence does not convince: %v", err)
	}
}

// A folder whose parts do not belong together is refused.
func TestFoldersThatWereTamperedWithAreRefused(t *testing.T) {
	for _, c := range []struct {
		name, want string
		damage     func(t *testing.T, dir string)
	}{
		{"records lost", "the cursor at 600 wants", func(t *testing.T, dir string) { truncate(t, dir, 599*512) }},
		{"records gone", "open the records", func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, "records", "1.rows")); err != nil {
				t.Fatal(err)
			}
		}},
		{"a bit of a record flipped", "record 77 is damaged", func(t *testing.T, dir string) { flip(t, dir, 77*512+40) }},
		{"records that go on", "restore", func(t *testing.T, dir string) { truncate(t, dir, (600+1<<14+1)*512) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newStation(t, logOf(origin, "a", 600))
			s.Publish(now)
			m, dir := newMonitor(t, monitor.Config{})
			s.follow(t, m)
			once(t, m)
			c.damage(t, dir)
			if _, err := m.Run(t.Context(), monitor.Options{Once: true}); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v: want a refusal with %q", err, c.want)
			}
		})
	}
}

func truncate(t *testing.T, dir string, size int64) {
	t.Helper()
	if err := os.Truncate(filepath.Join(dir, "records", "1.rows"), size); err != nil {
		t.Fatal(err)
	}
}

func flip(t *testing.T, dir string, at int64) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(dir, "records", "1.rows"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1
	if _, err := f.WriteAt(b[:], at); err != nil {
		t.Fatal(err)
	}
}
