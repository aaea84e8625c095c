package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/poclog/poclog/internal/realdata"
)

var update = flag.Bool("update", false, "write the screens of testdata/screens anew")

// unpack writes members of a vector of testdata as files.
func unpack(t *testing.T, dir, vector string, files map[string]string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "testdata", vector+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var members map[string]any
	if err := json.Unmarshal(b, &members); err != nil {
		t.Fatal(err)
	}
	for member, file := range files {
		text, ok := members[member].(string)
		if !ok {
			t.Fatalf("%s has no %s", vector, member)
		}
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// What people see, at two widths: the files of testdata/screens, in which no line is too long.
// `go test -run Screens -update` writes them anew; look at them then.
func TestScreensAreAsTheyWereLookedAt(t *testing.T) {
	dir := t.TempDir()
	unpack(t, dir, "receipts/audited", map[string]string{"receipt": "vm.tlog-proof", "policy": "policy.txt"})
	unpack(t, dir, "receipts/level-0", map[string]string{"receipt": "old.tlog-proof", "policy": "old.txt"})
	unpack(t, dir, "contradictions/evidence-both", map[string]string{"contradiction": "clone-ak.contradiction.json", "policy": "lab.txt"})
	if err := os.WriteFile(filepath.Join(dir, "quote.bin"), realdata.Quotes()[0], 0o600); err != nil {
		t.Fatal(err)
	}
	url := claimedTwice(t, dir)
	for _, c := range []struct {
		name, args string
		status     int
	}{
		{"log-entries", "log entries " + url + " --policy twice.txt", 0},
		{"monitor-list-cvms", "monitor list cvms", 0},
		{"monitor-list-chassis", "monitor list chassis", 0},
		{"monitor-list-places", "monitor list places", 0},
		{"monitor-list-contradictions", "monitor list contradictions", 1},
		{"monitor-show", "monitor show ppid:0c87e0", 0},
		{"monitor-coverage", "monitor coverage --chassis ppid:0c87e0 --since 2026-06-01T11:00:00Z --until 2026-06-01T15:00:00Z", 0},
		{"attest-check", "attest --check --profile gce-tdx-vtpm --tpm none --log " + url + " --policy twice.txt", 1},
		{"attest-check-nowhere", "attest --check --policy policy.txt", 1},
		{"inspect-receipt", "inspect vm.tlog-proof", 0},
		{demoScreen, "demo --once", 0},
		{"verify-pass", "verify vm.tlog-proof --policy policy.txt", 0},
		{"verify-fail", "verify old.tlog-proof --policy old.txt --require place.registry,endorse.chip --verdict audited", 1},
		{"verify-undecided", "verify nosuchfile --policy policy.txt", 3},
		{"verify-contradiction", "verify clone-ak.contradiction.json --policy lab.txt --realm lab", 0},
		{"explain", "explain place.registry", 0},
		{"explain-list", "explain --list", 0},
		{"policy-show", "policy show policy.txt", 0},
		{"import", "import tdx quote.bin -o vm.bundle.json --force", 0},
	} {
		for _, width := range []int{80, 120} {
			name := "poclog"
			if strings.HasPrefix(c.args, "attest") {
				name = guestProgram // whatever this machine is
			}
			cmd := exec.Command(program(t, name), strings.Fields(c.args)...)
			cmd.Dir, cmd.Env = dir, append(os.Environ(), fmt.Sprintf("COLUMNS=%d", width), "POCLOG_POLICY=", "POCLOG_MONITOR=monitor", "XDG_STATE_HOME="+dir, "TZ=UTC",
				guestRootVar+"=root", guestHostVar+"=")
			got, err := cmd.CombinedOutput()
			if status := cmd.ProcessState.ExitCode(); status != c.status {
				t.Errorf("%s: status %d, want %d: %v", c.name, status, c.status, err)
			}
			for line := range strings.Lines(string(got)) {
				if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > width {
					t.Errorf("%s: a line of %d columns at %d: %s", c.name, n, width, line)
				}
			}
			got = shownAlike(got)
			path := filepath.Join("testdata", "screens", fmt.Sprintf("%s-%d.txt", c.name, width))
			if *update {
				if err := os.WriteFile(path, got, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if c.name == demoScreen {
				got, want = marksOf(got), marksOf(want)
			}
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s is another than was looked at (%v):\n%s", path, err, got)
			}
		}
	}
}
