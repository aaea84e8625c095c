package main

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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

// TestTutorial runs docs/tutorial.md line by line, in a folder of its own and at free addresses. A
// command fails with status 1 where the page shows that it does, and nowhere else.
func TestTutorial(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "tutorial.md"))
	if err != nil {
		t.Fatal(err)
	}
	all := steps(elsewhere(t)(string(page)))
	if len(all) < 20 {
		t.Fatalf("the page has %d commands", len(all))
	}
	runSteps(t, all, t.TempDir())
}

// TestOperatorsPage runs what docs/operating/log-witnesses.md does from nothing to an audited log.
// What happens when witnesses are down is in testdata/operators.txt.
func TestOperatorsPage(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "operating", "log-witnesses.md"))
	if err != nil {
		t.Fatal(err)
	}
	all := steps(elsewhere(t)(string(page)))
	if len(all) < 9 || len(all) > 10 {
		t.Fatalf("the page has %d commands: want at most ten, for a log, three witnesses and an auditor", len(all))
	}
	runSteps(t, all, t.TempDir())
}

var pageAddress = regexp.MustCompile(`127\.0\.0\.1:[0-9]+`)

// elsewhere returns what has the text of a page use free addresses, one for each of the page's, so
// that it can be run beside other tests. Ports 0 and 1 stay.
func elsewhere(t *testing.T) func(text string) string {
	free := map[string]string{"127.0.0.1:0": "127.0.0.1:0", "127.0.0.1:1": "127.0.0.1:1"}
	return func(text string) string {
		return pageAddress.ReplaceAllStringFunc(text, func(address string) string {
			if free[address] == "" {
				free[address] = freeAddress(t)
			}
			return free[address]
		})
	}
}

// runSteps runs the commands of a page one after another in a folder. What ends in & is a service,
// which ends with the test. What a line exports stands in the environment of the lines below it,
// and in the one that is returned.
func runSteps(t *testing.T, all []step, dir string) (env []string) {
	t.Helper()
	env = append(os.Environ(), "XDG_STATE_HOME="+dir+"/.state", "XDG_CONFIG_HOME="+dir+"/.config", "XDG_CACHE_HOME="+dir+"/.cache")
	for _, s := range all {
		if set, ok := strings.CutPrefix(s.command, "export "); ok {
			env = append(env, set)
			continue
		}
		if service, ok := strings.CutSuffix(s.command, " &"); ok {
			startService(t, service, dir, env)
			continue
		}
		runStep(t, s, dir, env)
	}
	return env
}

var listens = regexp.MustCompile(`--listen (\S+)`)

func startService(t *testing.T, command, dir string, env []string) {
	t.Helper()
	address := listens.FindStringSubmatch(command)
	if address == nil {
		t.Fatalf("%s: a service of a page says where it listens", command)
	}
	cmd := exec.Command("sh", "-c", "exec "+command)
	cmd.Dir, cmd.Env = dir, env
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // services lose nothing by that, and without a quorum a log takes a minute to stop
		_ = cmd.Wait()         // it was killed
	})
	for range 6000 {
		if resp, err := http.Get("http://" + address[1] + "/health"); err == nil {
			resp.Body.Close()
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%s: no answer at %s", command, address[1])
}

func runStep(t *testing.T, s step, dir string, env []string) {
	t.Helper()
	cmd := exec.Command("sh", "-c", s.command)
	cmd.Dir, cmd.Env = dir, env
	out, err := cmd.CombinedOutput()
	status := 0
	if len(s.want) > 0 && (strings.HasPrefix(s.want[0], "FAIL") || strings.HasPrefix(s.want[0], "contradiction: 1 new")) {
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
