package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestREADME runs the commands of README.md in their order: those of make, but for the one that
// runs this test, and poclog's in a laboratory's VM, before a log of the laboratory.
func TestREADME(t *testing.T) {
	root := filepath.Join("..", "..")
	page, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	ran := make(map[string]int)
	s := managedScene(t, false)
	s.hireWitness()
	dir := t.TempDir()
	policy, err := os.ReadFile(s.policy)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "policy.txt"), policy, 0o644); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(page)) {
		command, ok := strings.CutPrefix(strings.TrimRight(line, "\n"), "    ")
		if !ok {
			continue
		}
		command, _, _ = strings.Cut(command, "#")
		args := strings.Fields(command)
		if len(args) < 2 || args[0] != "make" && args[0] != "poclog" {
			continue // the picture
		}
		ran[args[0]+" "+args[1]]++
		switch args[0] {
		case "make":
			runMake(t, root, args[1:])
		case "poclog":
			s.readme(dir, args[1:])
		}
	}
	for _, want := range []string{"make demo", "make test", "poclog attest", "poclog verify"} {
		if ran[want] == 0 {
			t.Errorf("README.md does not show %s", want)
		}
	}
}

// hireWitness has the log cosigned, so that its receipts have times.
func (s *scene) hireWitness() {
	s.t.Helper()
	address := freeAddress(s.t)
	startService(s.t, "poclog witness serve witness --name witness.test/w1 --listen "+address+" --policy "+s.policy, s.t.TempDir(), s.env)
	for _, args := range [][]string{{"add-witness", s.policy, "http://" + address, "--yes"}, {"quorum", s.policy, "1", "w1"}} {
		if status, stdout, stderr := s.exec(exec.Command(program(s.t, "poclog"), append([]string{"policy"}, args...)...)); status != 0 {
			s.t.Fatalf("poclog policy %v: status %d: %s%s", args, status, stdout, stderr)
		}
	}
	s.stopLog()
	s.startLog()
}

// runMake runs a target of the Makefile. The demonstration ends after its last act, and what would
// run this test again is only looked up.
func runMake(t *testing.T, root string, args []string) {
	t.Helper()
	if _, err := exec.LookPath("make"); err != nil {
		t.Skip("make is not installed")
	}
	switch args[0] {
	case "test":
		args = append(args, "-n")
	case "demo":
		args = append(args, "ONCE=1")
	}
	cmd := exec.Command("make", args...)
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	if err != nil || args[0] == "demo" && !strings.Contains(string(out), "Everything was as told") {
		t.Errorf("make %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// readme runs a command of README.md in the laboratory's VM. There, others stand for the log and
// the zone that the page names, and the realm is lab.
func (s *scene) readme(dir string, args []string) {
	s.t.Helper()
	for i, arg := range args {
		switch arg {
		case "https://log.example/2026":
			args[i] = s.url
		case "gce/us-central1-a":
			args[i] = "gce/lab-north1-a"
		}
	}
	what := args[0]
	switch what {
	case "attest": // the VM's TPM and certificates are where s.flags says
		args = append(append([]string{what, "--yes"}, args[1:]...), s.flags[5:]...)
	case "verify":
		args = append(args, "--realm", "lab")
	}
	cmd := exec.Command(program(s.t, guestProgram), args...)
	cmd.Dir = dir
	status, stdout, stderr := s.exec(cmd)
	if status != 0 || what == "verify" && !strings.HasPrefix(stdout, "PASS") {
		s.t.Errorf("poclog %s: status %d\n%s%s", strings.Join(args, " "), status, stdout, stderr)
	}
}
