// Package pagetest walks through the pages of services in headless Chromium, as people do.
package pagetest

import (
	"os"
	"os/exec"
	"path/filepath"
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

// Walk walks from a page on by the steps of js/scripts/walk.mjs, and returns what that prints: the
// path of the last page, and what its verifier said, if it did; before these whatever was sent, and
// errors of the console, as those of the Content-Security-Policy are.
func Walk(t testing.TB, url string, steps ...string) string {
	t.Helper()
	out, err := run(t, "walk.mjs", append([]string{url}, steps...)...)
	if err != nil {
		t.Errorf("%s %q: %v", url, steps, err)
	}
	return out
}

// Axe fails the test where axe finds something serious on pages, light or dark.
func Axe(t testing.TB, urls ...string) {
	t.Helper()
	if out, err := run(t, "axe.mjs", urls...); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
