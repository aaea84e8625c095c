package main

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// One short form names a chip in every command, and completes.
func TestShortFormsAreTheSameInAllCommands(t *testing.T) {
	const chip, short = "intel:tdx:ppid:0c87e0a1ce50d82d120add59aac827a5", "ppid:0c87e0a1…"
	dir := t.TempDir()
	url := claimedTwice(t, dir)
	unpack(t, dir, "receipts/audited", map[string]string{"receipt": "vm.tlog-proof", "policy": "policy.txt"})
	t.Setenv("POCLOG_MONITOR", filepath.Join(dir, "monitor"))
	t.Setenv("XDG_STATE_HOME", dir)
	t.Setenv("POCLOG_POLICY", filepath.Join(dir, "twice.txt"))
	t.Setenv("COLUMNS", "")
	said := func(args ...string) string {
		cmd := exec.Command(program(t, "poclog"), args...)
		cmd.Dir = dir
		out, _ := cmd.CombinedOutput() // what it says is looked at
		return string(out)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"monitor", "show", short}, chip + ": 2 entries"},
		{[]string{"monitor", "coverage", "--chassis", short}, chip},
		{[]string{"monitor", "list", "contradictions", "--subject", short}, chip + " is said to stand"},
		{[]string{"log", "entries", url, "--identity", short}, "level 2  gce-tdx-vtpm      " + chip},
		{[]string{"verify", "vm.tlog-proof", "--policy", "policy.txt", "--chassis", short}, "not " + chip},
		{[]string{"dossier", short, "--log", url, "-o", "-"}, "dossiers?name=" + strings.ReplaceAll(chip, ":", "%3A")},
		{[]string{"monitor", "silence", "add", "--subject", short, "--rule", "chip-in-two-places", "--reason", "a test", "--for", "1h"}, "silenced until"},
		{[]string{"monitor", "silence", "list"}, chip},
		// What is not unique, or too short, is not guessed.
		{[]string{"monitor", "show", "ppid:0c"}, "unclear"},
		{[]string{"verify", "vm.tlog-proof", "--policy", "policy.txt", "--chassis", "ppid:ffffffff"}, "this computer's monitor has not seen it"},
		{[]string{"log", "entries", url, "--identity", "ppid:0c"}, "unclear"},
	} {
		if got := said(c.args...); !strings.Contains(got, c.want) {
			t.Errorf("%q: %q: want %q", c.args, got, c.want)
		}
	}
	for _, words := range [][]string{
		{"monitor", "show", "intel:tdx:ppid:0c"}, {"log", "entries", "--identity", ""}, {"verify", "--chassis", "intel"}, {"monitor", "list", "alerts", "--subject", ""},
		{"monitor", "coverage", "--chassis", ""}, {"dossier", ""}, {"monitor", "run", "--watch", ""},
	} {
		if got := completions(t, words...); !strings.Contains(got, chip+"\n") {
			t.Errorf("%q completes to %q", words, got)
		}
	}
	for _, words := range [][]string{{"submit", "--log", ""}, {"log", "entries", ""}, {"audit", "serve", "--log", ""}} {
		if got := completions(t, words...); !strings.Contains(got, url+"\n") {
			t.Errorf("%q completes to %q", words, got)
		}
	}
	if got := completions(t, "monitor", "remove-log", ""); !strings.Contains(got, "lab.log.test\n") {
		t.Errorf("remove-log completes to %q", got)
	}
}

// Flags that take text of any kind: files, addresses, times, names. Every other flag takes one of a
// closed list, and completes it.
var openFlags = strings.Fields(`agent ak ak-chain alerts alliance-token appraisal appraisal-digest at audit-group bundle cache-dir ccel challenge collateral
	collateral-cache covers dir dossier ek-chain endorsed-by envelope fingerprint fmspc for guard imds kds key key-ref label launch-endorsements list listen log-key
	measurement monitoring name origin output owner owner-endorsement pcs persist place policy publisher quorum quote reason receipt registry root seed since ssh-key
	document fleet from member method of opening registrar registrars source state store target tcb tcg-log tdx-quote text thresholds
	tpm until url user-data watch-file webhook webhook-secret witness-key`)

func TestEveryFlagCompletesOrTakesAnything(t *testing.T) {
	lists := closedLists()
	var look func(c *cobra.Command)
	look = func(c *cobra.Command) {
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if kind := f.Value.Type(); kind != "string" && kind != "stringSlice" && kind != "stringArray" {
				return
			}
			_, closed := valuesOf(lists, c, f)
			if !closed && knownValues[f.Name] == nil && !slices.Contains(openFlags, f.Name) {
				t.Errorf("%s --%s: list its values in closedLists, or name it in openFlags", c.CommandPath(), f.Name)
			}
		})
		for _, sub := range c.Commands() {
			look(sub)
		}
	}
	look(newRootCmd())
}
