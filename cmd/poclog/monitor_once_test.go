package main

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/attack"
	"github.com/poclog/poclog/internal/testlog"
	"github.com/poclog/poclog/verify/profile"
	"github.com/poclog/poclog/verify/receipt"
)

// From a log that holds an attack, by the commands alone, to a file that convinces somebody whose
// network is unplugged; and the exit statuses on the way.
func TestMonitorOnceFindsAnAttackAndTheFileConvinces(t *testing.T) {
	var series attack.OverTime
	for _, a := range attack.Series {
		if a.Name == "clone-ak" {
			series = a
		}
	}
	w := series.NewWorld()
	log := testlog.NewStation(w.Log)
	publish := func(b *poclog.Bundle) {
		t.Helper()
		if _, err := w.Submit(log, b, appraise); err != nil {
			t.Fatal(err)
		}
		log.Publish(time.Now())
	}
	srv := httptest.NewServer(log)
	defer srv.Close()

	dir := t.TempDir()
	folder, policy := filepath.Join(dir, "monitor"), filepath.Join(dir, "policy.txt")
	if err := os.WriteFile(policy, []byte(log.Policy), 0o600); err != nil {
		t.Fatal(err)
	}
	status := func(want int, args ...string) {
		t.Helper()
		if got := run(args); got != want {
			t.Fatalf("poclog %v: exit status %d, want %d", args, got, want)
		}
	}
	once := []string{"monitor", "run", "--once", "--dir", folder}
	pieces := series.Stage(w)
	publish(pieces[0])
	status(exitUndecided, once...) // there is no monitor yet
	status(0, "monitor", "init", "--dir", folder)
	status(0, "monitor", "add-log", srv.URL, "--policy", policy, "--dir", folder)
	status(0, once...)
	publish(pieces[1])
	status(exitNo, once...)
	status(0, once...) // it is told once
	log.Down(true)
	status(exitUndecided, once...) // what a log cannot be asked is not known
	status(exitNo, "monitor", "list", "contradictions", "--dir", folder)

	found, err := filepath.Glob(filepath.Join(folder, "contradictions", "*.json"))
	if err != nil || len(found) == 0 {
		t.Fatalf("%v, %v: want a contradiction's file", found, err)
	}
	for _, f := range found {
		status(0, "verify", f, "--policy", policy, "--realm", "lab")
		status(exitNo, "verify", f, "--policy", policy) // the realm production knows no such machines
		status(exitNo, "verify", damaged(t, f), "--policy", policy, "--realm", "lab")
	}
}

// damaged copies a file, with one bit changed.
func damaged(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	out := filepath.Join(t.TempDir(), "damaged.contradiction.json")
	if err := os.WriteFile(out, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return out
}

// appraise makes the leaf of evidence.
func appraise(bundle, collateral, policy []byte, at time.Time) ([]byte, error) {
	return profile.Reappraiser{}.Reappraise(receipt.Evidence{Bundle: bundle, Collateral: collateral, Policy: policy}, at, poclog.Appraisal)
}
