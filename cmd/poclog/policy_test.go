package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Every policy that breaks a rule is refused by every command that reads one, with the line where
// there is one.
func TestInvalidPoliciesAreRefusedByEveryCommand(t *testing.T) {
	files, err := filepath.Glob("../../testdata/tlogpolicy/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no vectors: %v", err)
	}
	dir := t.TempDir()
	t.Setenv("XDG_STATE_HOME", dir)
	receipt := filepath.Join(dir, "receipt")
	if err := os.WriteFile(receipt, []byte("c2sp.org/tlog-proof@v1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	policy, unused := filepath.Join(dir, "policy.txt"), filepath.Join(dir, "unused")
	commands := [][]string{
		{"verify", receipt},
		{"refresh", receipt, "--log", "http://127.0.0.1:1", "-o", unused},
		{"challenge", "--profile", "tdx", "--log", "http://127.0.0.1:1", "-o", unused},
		{"log", "entries", "http://127.0.0.1:1"},
		{"log", "fsck", "http://127.0.0.1:1"},
	}
	refused := 0
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var v struct{ Desc, Policy, Expect string }
		if err := json.Unmarshal(b, &v); err != nil {
			t.Fatal(err)
		}
		if v.Expect == "ok" {
			continue
		}
		refused++
		if err := os.WriteFile(policy, []byte(v.Policy), 0o644); err != nil {
			t.Fatal(err)
		}
		for _, args := range commands {
			root := newRootCmd()
			root.SetArgs(append(args, "--policy", policy))
			err := root.Execute()
			if err == nil || !strings.Contains(err.Error(), "tlog-policy: ") || statusOf(err) != exitUsage {
				t.Errorf("%s: %s: %v: want a refusal of the policy, and status 2", v.Desc, strings.Join(args, " "), err)
			}
		}
	}
	if refused < 30 {
		t.Errorf("%d invalid policies", refused)
	}
}
