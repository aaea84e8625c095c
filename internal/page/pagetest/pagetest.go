// Package pagetest walks through the pages of services in headless Chromium, as people do.
package pagetest

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Browser returns the browser, or skips the test.
func Browser(t testing.TB) string {
	t.Helper()
	browser, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("skipped: needs chromium; on Debian: apt-get install chromium")
	}
	return browser
}

// scripts returns the folder js, with what drives the browser, or skips the test.
func scripts(t testing.TB) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		t.Fatal(err)
	}
	js := filepath.Join(strings.TrimSpace(string(out)), "js")
	if _, err := os.Stat(filepath.Join(js, "node_modules", "playwright-core")); err != nil {
		t.Skip("skipped: needs js/node_modules: make js")
	}
	return js
}

func run(t testing.TB, script string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "node", append([]string{filepath.Join("scripts", script)}, args...)...)
	cmd.Dir, cmd.Env = scripts(t), append(os.Environ(), "CHROMIUM="+Browser(t))
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// A Walk starts at a page, and takes the steps of js/scripts/walk.mjs. Want is what that says: the
// path of the last page, and what its verifiers said, if they did; before these whatever was sent,
// and errors of the console, as those of the Content-Security-Policy are.
type Walk struct {
	URL   string
	Steps []string
	Want  string
}

// Walks takes walks in one browser, by name.
func Walks(t testing.TB, walks map[string]Walk) {
	t.Helper()
	var names, args []string
	for name, w := range walks {
		arg, err := json.Marshal(append([]string{w.URL}, w.Steps...))
		if err != nil {
			t.Fatal(err)
		}
		names, args = append(names, name), append(args, string(arg))
	}
	out, err := run(t, "walk.mjs", args...)
	said := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	if err != nil || len(said) != len(names) {
		t.Fatalf("%v: %s", err, out)
	}
	for i, name := range names {
		if want := walks[name].Want; said[i] != strconv.Quote(want) {
			t.Errorf("%s: %s: want %q", name, said[i], want)
		}
	}
}

// Draw draws pages, by name, as js/scripts/draw.mjs says.
func Draw(t testing.TB, dir, widths string, pages map[string]string) {
	t.Helper()
	args := []string{dir, widths}
	for name, url := range pages {
		args = append(args, name+"="+url)
	}
	if out, err := run(t, "draw.mjs", args...); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// Axe fails the test where axe finds something serious on pages, light or dark.
func Axe(t testing.TB, urls ...string) {
	t.Helper()
	if out, err := run(t, "axe.mjs", urls...); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
