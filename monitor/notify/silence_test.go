package notify_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/poclog/poclog/monitor"
	"github.com/poclog/poclog/monitor/notify"
)

func TestSilencesCoverWhatTheySayUntilTheyEnd(t *testing.T) {
	a := alert(1)
	a.ID = "abc"
	information := a
	information.Severity = "information"
	s := func(alert, rule, subject string) notify.Silence {
		return notify.Silence{Alert: alert, Rule: rule, Subject: subject, Reason: "known", Added: now, Until: now.Add(time.Hour)}
	}
	for _, c := range []struct {
		name string
		s    notify.Silence
		a    monitor.Alert
		at   time.Time
		want bool
	}{
		{"its id", s("abc", "", ""), a, now, true},
		{"another id", s("abd", "", ""), a, now, false},
		{"its subject", s("", "", string(a.Subject)), a, now, true},
		{"another subject", s("", "", "tpm:ak:0"), a, now, false},
		{"rule and subject", s("", a.Rule, string(a.Subject)), a, now, true},
		{"another rule, its subject", s("", "boot-forked", string(a.Subject)), a, now, false},
		{"the rule alone, of information", s("", a.Rule, ""), information, now, true},
		{"the rule alone, of a contradiction", s("", a.Rule, ""), a, now, false},
		{"at its end", s("abc", "", ""), a, now.Add(time.Hour), false},
		{"a second before", s("abc", "", ""), a, now.Add(time.Hour - time.Second), true},
		{"before it began", s("abc", "", ""), a, now.Add(-time.Second), false},
	} {
		if got := c.s.Matches(&c.a, c.at); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestSilencesThatSayTooLittleAreRefused(t *testing.T) {
	l := notify.SilencesIn(t.TempDir())
	for want, s := range map[string]notify.Silence{
		"say what":        {Reason: "x", Added: now, Until: now.Add(time.Hour)},
		"reason":          {Rule: "x", Added: now, Until: now.Add(time.Hour)},
		"want an end":     {Rule: "x", Reason: "x", Added: now, Until: now},
		"within":          {Rule: "x", Reason: "x", Added: now, Until: now.AddDate(2, 0, 0)},
		"reason of 513 b": {Rule: "x", Reason: strings.Repeat("x", 513), Added: now, Until: now.Add(time.Hour)},
	} {
		if _, err := l.Add(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: want %q", err, want)
		}
	}
	if list, err := l.List(); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
}

// A silence covers what was found before; what it covered is told after all when it ends.
func TestSilencedAlertsAreKeptMarkedAndComeBack(t *testing.T) {
	b := newBench(t)
	l := notify.SilencesIn(b.dir)
	b.raise(t, alert(0), alert(1))
	s, err := l.Add(notify.Silence{Subject: string(alert(0).Subject), Reason: "our own test", Added: now, Until: now.Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	apply := func(at time.Time, want int) {
		t.Helper()
		if n, err := l.Apply(t.Context(), b, at); err != nil || n != want {
			t.Errorf("%d marks changed, %v: want %d", n, err, want)
		}
	}
	unsilenced := func(want int) {
		t.Helper()
		if n := len(b.list(t, monitor.AlertFilter{Unsilenced: true})); n != want {
			t.Errorf("%d to be told: want %d", n, want)
		}
	}
	during, err := l.Active(now)
	after, err2 := l.Active(now.Add(time.Hour))
	if again, err3 := l.Active(now.Add(time.Minute)); err != nil || err2 != nil || err3 != nil || again != during || after == during {
		t.Errorf("active %q, then %q, then %q: %v, %v, %v", during, again, after, err, err2, err3)
	}
	apply(now, 1)
	unsilenced(1)
	if got := b.list(t, monitor.AlertFilter{})[0].Silenced; !strings.HasPrefix(got, "our own test (silence "+s.ID+" until 2026-06-01T13:00:00Z") {
		t.Errorf("%q", got)
	}
	apply(now.Add(time.Minute), 0)
	apply(now.Add(time.Hour), 1)
	unsilenced(2)
	apply(now, 1)
	if err := l.Remove(s.ID); err != nil {
		t.Fatal(err)
	}
	apply(now, 1)
	unsilenced(2)
	if err := l.Remove(s.ID); err == nil {
		t.Error("removed twice")
	}
}

// A list that nobody can read silences nothing.
func TestADamagedListSilencesNothing(t *testing.T) {
	b := newBench(t)
	l := notify.SilencesIn(b.dir)
	if _, err := l.Add(notify.Silence{Subject: string(alert(0).Subject), Reason: "x", Added: now, Until: now.Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(b.dir, "silences.json")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, damaged := range []string{"", "{", `{"v":2,"silences":[]}`, strings.Replace(string(text), "reason", "raison", 1), strings.Replace(string(text), "T13", "T11", 1)} {
		if err := os.WriteFile(path, []byte(damaged), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := l.List(); err == nil {
			t.Errorf("%q is taken", damaged)
		}
	}
	b.raise(t, alert(0))
	if n := len(b.list(t, monitor.AlertFilter{Unsilenced: true})); n != 1 {
		t.Errorf("%d to be told", n)
	}
}
