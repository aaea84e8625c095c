package main

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A step of a page is one command, and the text that the page says it prints.
type step struct {
	command string
	want    []string // pieces of the output, in this order
}

// steps reads the commands of a page's ```sh blocks. A ```text block is what the last one prints.
func steps(page string) (all []step) {
	kind := ""
	for line := range strings.Lines(page) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "```"):
			kind = strings.TrimPrefix(line, "```")
		case kind == "sh":
			all = append(all, step{command: line})
		case kind == "text":
			last := &all[len(all)-1]
			last.want = append(last.want, line)
		}
	}
	return all
}

// TestTutorial runs docs/tutorial.md line by line, in a folder of its own and at a free address. A
// command fails with status 1 where the page shows FAIL, and nowhere else.
func TestTutorial(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "tutorial.md"))
	if err != nil {
		t.Fatal(err)
	}
	address := freeAddress(t)
	all := steps(strings.ReplaceAll(string(page), "127.0.0.1:8080", address))
	if len(all) < 10 {
		t.Fatalf("the page has %d commands", len(all))
	}
	dir := t.TempDir()
	env := append(os.Environ(), "XDG_STATE_HOME="+dir+"/.state", "XDG_CONFIG_HOME="+dir+"/.config", "XDG_CACHE_HOME="+dir+"/.cache")
	for _, s := range all {
		if service, ok := strings.CutSuffix(s.command, " &"); ok {
			startService(t, service, dir, env, address)
			continue
		}
		runStep(t, s, dir, env)
	}
}

func startService(t *testing.T, command, dir string, env []string, address string) {
	t.Helper()
	cmd := exec.Command("sh", "-c", "exec "+command)
	cmd.Dir, cmd.Env = dir, env
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt) // it may have ended, which Wait reports
		if err := cmd.Wait(); err != nil {
			t.Logf("%s: %v", command, err)
		}
	})
	for range 6000 {
		if resp, err := http.Get("http://" + address + "/health"); err == nil {
			resp.Body.Close()
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%s: no answer at %s", command, address)
}

func runStep(t *testing.T, s step, dir string, env []string) {
	t.Helper()
	cmd := exec.Command("sh", "-c", s.command)
	cmd.Dir, cmd.Env = dir, env
	out, err := cmd.CombinedOutput()
	status := 0
	if len(s.want) > 0 && strings.HasPrefix(s.want[0], "FAIL") {
		status = 1
	}
	if cmd.ProcessState.ExitCode() != status {
		t.Fatalf("%s: %v, want status %d\n%s", s.command, err, status, out)
	}
	rest := string(out)
	for _, want := range s.want {
		_, after, ok := strings.Cut(rest, want)
		if !ok {
			t.Fatalf("%s: the output lacks %q, or has it elsewhere:\n%s", s.command, want, out)
		}
		rest = after
	}
}
