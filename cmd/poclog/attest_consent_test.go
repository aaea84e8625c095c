package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What lies in the state's folder is not published unasked: a co-tenant may have put it there, and
// the publisher's key would sign it.
func TestFoundEvidenceIsNotPublished(t *testing.T) {
	key := filepath.Join(t.TempDir(), "vm.key")
	out, err := exec.Command(program(t, "poclog"), "key", "new", "-o", key).Output()
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := strings.Cut(string(out), "\n")
	for name, c := range map[string]struct{ publishers, flags []string }{
		"unsigned": {nil, []string{"--yes", "--submit"}},
		"signed":   {[]string{strings.TrimSpace(strings.TrimPrefix(line, "policy"))}, []string{"--yes", "--submit", "--key", key}},
	} {
		t.Run(name, func(t *testing.T) {
			s := managedScene(t, false, c.publishers...)
			state := s.planted()
			status, _, stderr := s.attest(append(c.flags, "--state", state)...)
			if status != 0 || !strings.Contains(stderr, "no record that its publication was agreed to") || s.proofs() != 1 || len(receipts(t, state)) != 1 {
				t.Errorf("status %d, %d proofs: %s", status, s.proofs(), stderr)
			}
			if !fileExists(filepath.Join(state, "refused.bundle.json")) {
				t.Error("the found bundle is gone")
			}
			// A machine without a TEE sends nothing.
			state = s.planted()
			s.env = append(s.env, guestHostVar+"=http://127.0.0.1:1")
			status, _, stderr = s.attest(append(c.flags, "--state", state)...)
			if status != exitUndecided || !strings.Contains(stderr, "configfs-tsm") || s.proofs() != 1 {
				t.Errorf("without a TEE: status %d, %d proofs: %s", status, s.proofs(), stderr)
			}
		})
	}
}

// planted is a state's folder with evidence of this machine's that nobody agreed to publish.
func (s *scene) planted() (state string) {
	s.t.Helper()
	state = s.series()
	status, _, stderr := s.attest("--yes", "-o", filepath.Join(state, "20260601T120000Z-00000000.bundle.json"))
	if status != 0 {
		s.t.Fatalf("status %d: %s", status, stderr)
	}
	return state
}

// A folder that others can write is refused, with what to do about it.
func TestAStateOfOthersIsRefused(t *testing.T) {
	s := managedScene(t, false)
	state := s.series()
	if err := os.Chmod(state, 0o777); err != nil {
		t.Fatal(err)
	}
	status, _, stderr := s.attest("--yes", "--submit", "--state", state)
	if status != exitUndecided || !strings.Contains(stderr, "others can write it; chmod go-w "+state) || s.proofs() != 0 {
		t.Errorf("status %d, %d proofs: %s", status, s.proofs(), stderr)
	}
}
