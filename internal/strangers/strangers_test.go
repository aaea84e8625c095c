//go:build linux

package main

import (
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// A few strangers, in all the ways that there are: honest requests succeed beside each, and beside
// all together.
func TestHonestRequestsSucceedBesideStrangers(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "poclog")
	if out, err := exec.Command("go", "build", "-o", binary, "github.com/poclog/poclog/cmd/poclog").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	r, err := run(t.Context(), binary, little, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range r.failures() {
		t.Error(f)
	}
	if want := len(strangers) + 2; len(r.phases) != want {
		t.Errorf("%d phases: want %d", len(r.phases), want)
	}
	for _, p := range r.phases {
		for _, kind := range []string{submits, reads, asks, cosigned} {
			if p.quantile(kind, 0.5) == 0 {
				t.Errorf("%s: no honest request of kind %s", p.name, kind)
			}
		}
	}
	for _, name := range []string{"log", "w1", "monitor", "auditor"} {
		if _, ok := r.peaks[name]; !ok {
			t.Errorf("the memory of %s was not looked at", name)
		}
	}
}

func TestFailuresAndMemoryOverTheLimitAreFailures(t *testing.T) {
	r := &result{
		phases: []phase{{name: "alone", samples: []sample{{kind: reads, took: time.Second}, {kind: reads, took: time.Second, err: exec.ErrNotFound}, {kind: asks, took: time.Second, err: exec.ErrNotFound}}}},
		peaks:  map[string]int{"log": memoryLimit + 1, "w1": memoryLimit},
	}
	if f := r.failures(); len(f) != 3 {
		t.Errorf("%q: want two kinds of requests that failed, and one process", f)
	}
}

func TestQuantiles(t *testing.T) {
	p := &phase{}
	for i := range 100 {
		p.samples = append(p.samples, sample{kind: reads, took: time.Duration(100 - i)}, sample{kind: asks, took: time.Hour})
	}
	if a, b, c := p.quantile(reads, 0.5), p.quantile(reads, 0.99), p.quantile(submits, 0.5); a != 51 || b != 100 || c != 0 {
		t.Errorf("%d, %d, %d", a, b, c)
	}
}
