package main

import (
	"bytes"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/poclog/poclog/internal/lab/attack"
	"github.com/poclog/poclog/internal/testlog"
)

// claimedTwice serves a laboratory's log in which one chip is claimed in two places and another in
// one, has a monitor in dir/monitor read it, and returns the log's address. Its policy is
// dir/twice.txt.
func claimedTwice(t *testing.T, dir string) string {
	t.Helper()
	i := slices.IndexFunc(attack.Series, func(a attack.OverTime) bool { return a.Name == "clone-chassis" })
	w := attack.Series[i].NewWorld()
	log := testlog.NewStation(w.Log)
	bundles := attack.Series[i].Stage(w)
	w.Challenge.Salt[1]++
	vm, err := w.Host.NewVM(1, w.VM.Config)
	if err != nil {
		t.Fatal(err)
	}
	w.VM = vm
	w.Observe(vm.Platform())
	bundles = append(bundles, w.Honest())
	for _, b := range bundles {
		if _, err := w.Submit(log, b, appraise); err != nil {
			t.Fatal(err)
		}
	}
	log.Publish(attack.Now.Add(10 * time.Second))
	srv := httptest.NewServer(log)
	t.Cleanup(srv.Close)
	policy := filepath.Join(dir, "twice.txt")
	if err := os.WriteFile(policy, []byte(log.Policy), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := run([]string{"monitor", "run", "--once", "--dir", filepath.Join(dir, "monitor"), "--log", srv.URL, "--policy", policy}); got != exitNo {
		t.Fatalf("exit status %d, want %d: contradictions are found", got, exitNo)
	}
	return srv.URL
}

// What differs from run to run is shown as something of the same length.
var differs = []struct {
	is    *regexp.Regexp
	shown string
}{
	{regexp.MustCompile(`(contradiction|chip-in-two-places)  \d{4}-\d\d-\d\d \d\d:\d\d:\d\d`), "$1  2026-06-01 12:00:00"},
	{regexp.MustCompile(`[0-9a-f]{32}(\.contradiction)`), "0123456789abcdef0123456789abcdef$1"},
	{regexp.MustCompile(`(?m)^  Id: [0-9a-f]{32}$`), "  Id: 0123456789abcdef0123456789abcdef"},
	{regexp.MustCompile(`(quote|ak):[0-9a-f]{8}…`), "$1:01234567…"},
}

func shownAlike(b []byte) []byte {
	for _, d := range differs {
		b = d.is.ReplaceAll(b, []byte(d.shown))
	}
	return b
}

// demoScreen is a screen that a log, witnesses and a monitor make as they run: which of them were
// first, and in what time, differs. It is compared by its marks.
const demoScreen = "demo"

// marksOf are the titles and the first words of the lines that have a mark.
func marksOf(screen []byte) []byte {
	return bytes.Join(regexp.MustCompile(`(?m)^(── .*|  [a-z]+ )`).FindAll(screen, -1), []byte("\n"))
}
