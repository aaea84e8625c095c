package durable_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/poclog/poclog/internal/durable"
)

// folderVar names the folder in which a copy of the test binary creates, replaces, renames and
// removes files.
const folderVar = "POCLOG_TEST_DURABLE"

func TestMain(m *testing.M) {
	dir := os.Getenv(folderVar)
	if dir == "" {
		os.Exit(m.Run())
	}
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	if err := errors.Join(
		durable.Create(a, []byte("1"), 0o600), durable.Replace(a, []byte("2"), 0o644), durable.FS{}.Rename(a, b), durable.FS{}.Remove(b),
		durable.MkdirAll(filepath.Join(dir, "c"), 0o700),
	); err != nil {
		os.Stderr.WriteString(err.Error())
		os.Exit(1)
	}
}

// What the kernel is asked is what the package's comment lists, in that order.
func TestSystemCalls(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err == nil {
		err = exec.Command(strace, "-o", os.DevNull, "true").Run()
	}
	if err != nil {
		t.Skipf("skipped: strace does not run here: %v", err)
	}
	dir, trace := t.TempDir(), filepath.Join(t.TempDir(), "trace")
	cmd := exec.Command(strace, "-f", "-y", "-o", trace, "-e", "trace=write,fchmod,fsync,linkat,renameat,renameat2,unlinkat,mkdirat", os.Args[0])
	cmd.Env = append(os.Environ(), folderVar+"="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	b, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	unfinished := regexp.MustCompile(regexp.QuoteMeta(dir) + `/\.poclog-unfinished-[0-9]+`)
	var calls []string
	for _, m := range regexp.MustCompile(`(?m)^\d+ +(\w+)\(([^\n]*)`).FindAllStringSubmatch(string(b), -1) {
		args := unfinished.ReplaceAllString(m[2], "TMP")
		if !strings.Contains(m[2], dir) {
			continue
		}
		call := m[1]
		for _, p := range regexp.MustCompile(`TMP|`+regexp.QuoteMeta(dir)+`(/\w)?`).FindAllString(args, -1) {
			call += " " + strings.Replace(p, dir, "DIR", 1)
		}
		calls = append(calls, call)
	}
	want := []string{
		"write TMP", "fchmod TMP", "fsync TMP", "linkat TMP DIR/a", "unlinkat TMP", "fsync DIR",
		"write TMP", "fchmod TMP", "fsync TMP", "renameat TMP DIR/a", "fsync DIR",
		"renameat DIR/a DIR/b", "fsync DIR",
		"unlinkat DIR/b", "fsync DIR",
		"mkdirat DIR/c", "fsync DIR", // before them the folder above DIR is synced, whose name is not matched
	}
	if got := strings.Join(calls, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("the kernel was asked\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}
