package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/attack"
	"github.com/poclog/poclog/internal/testlog"
	"github.com/poclog/poclog/verify/profile"
	"github.com/poclog/poclog/verify/receipt"
)

// From a log that holds an attack, by the commands alone, to a file that convinces somebody whose network is unplugged; and the exit statuses on the way.
func TestMonitorOnceFindsAnAttackAndTheFileConvinces(t *testing.T) {
	var series attack.OverTime
	for _, a := range attack.Series {
		if a.Name == "clone-ak" {
			series = a
		}
	}
	w := series.NewWorld()
	l, files := &testlog.Log{Origin: attack.Origin, Leaves: w.Log.Leaves}, make(map[poclog.Digest][]byte)
	var server testlog.Server
	publish := func(b *poclog.Bundle) {
		var e receipt.Evidence
		for _, f := range []struct {
			n    interface{ Marshal() ([]byte, error) }
			file *[]byte
		}{{b, &e.Bundle}, {w.Collateral, &e.Collateral}, {w.Policy, &e.Policy}} {
			var err error
			if *f.file, err = f.n.Marshal(); err != nil {
				t.Fatal(err)
			}
			files[poclog.Sum(*f.file)] = *f.file
		}
		leaf, err := profile.Reappraiser{}.Reappraise(e, attack.Now, poclog.Appraisal)
		if err != nil {
			t.Fatal(err)
		}
		l = &testlog.Log{Origin: l.Origin, Leaves: append(l.Leaves[:len(l.Leaves):len(l.Leaves)], leaf)}
		now := time.Now()
		server.Set(l, l.Checkpoint(uint64(len(l.Leaves)), testlog.Cosigner{Signer: attack.LogKey, At: now}, testlog.Cosigner{Signer: attack.WitnessKey, At: now}), nil)
	}
	var unplugged atomic.Bool
	srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if unplugged.Load() {
			http.Error(rw, "no network", http.StatusNotFound)
			return
		}
		const evidence = "/v1/evidence/sha256/"
		if len(r.URL.Path) > len(evidence) && r.URL.Path[:len(evidence)] == evidence {
			if d, err := poclog.ParseDigest(r.URL.Path[len(evidence):]); err == nil && files[d] != nil {
				_, _ = rw.Write(files[d]) // the client may be gone
				return
			}
		}
		server.ServeHTTP(rw, r)
	}))
	defer srv.Close()

	dir := t.TempDir()
	folder, policy := filepath.Join(dir, "monitor"), filepath.Join(dir, "policy.txt")
	text := "log " + attack.LogKey.VKey + "\nwitness w " + attack.WitnessKey.VKey + "\nquorum w\n"
	if err := os.WriteFile(policy, []byte(text), 0o600); err != nil {
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
	unplugged.Store(true)
	status(exitUndecided, once...) // what a log cannot be asked is not known
	status(exitNo, "monitor", "list", "contradictions", "--dir", folder)

	found, err := filepath.Glob(filepath.Join(folder, "contradictions", "*.json"))
	if err != nil || len(found) == 0 {
		t.Fatalf("%v, %v: want a contradiction's file", found, err)
	}
	for _, f := range found {
		status(0, "verify", f, "--policy", policy, "--realm", "lab")
		status(exitNo, "verify", f, "--policy", policy) // the realm production knows no such machines
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)/2] ^= 1
		damaged := filepath.Join(dir, "damaged.contradiction.json")
		if err := os.WriteFile(damaged, b, 0o600); err != nil {
			t.Fatal(err)
		}
		status(exitNo, "verify", damaged, "--policy", policy, "--realm", "lab")
	}
}
