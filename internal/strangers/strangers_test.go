//go:build linux

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// The tests' binary plays the parts of its own processes.
func TestMain(m *testing.M) {
	if !play() {
		m.Run()
	}
}

// A few strangers, in all the ways that there are: honest requests succeed beside each, and beside
// all together.
func TestHonestRequestsSucceedBesideStrangers(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "poclog")
	build := exec.Command("go", "build", "-o", binary, "github.com/poclog/poclog/cmd/poclog")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as make build has it
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	r, err := run(t.Context(), binary, "", little, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range r.failures() {
		t.Error(f)
	}
	names := make(map[string]bool)
	for _, p := range r.phases {
		names[p.name] = true
		for _, kind := range []string{submits, reads, asks, cosigned} {
			if p.alone.quantile(kind, 0.5) == 0 || p.beside.quantile(kind, 0.5) == 0 {
				t.Errorf("%s: no honest request of kind %s, alone or beside", p.name, kind)
			}
		}
	}
	if want := len(strangers) + 1; len(names) != want {
		t.Errorf("phases %v: want %d", names, want)
	}
	for _, name := range []string{"log", "w1", "monitor", "auditor"} {
		if _, ok := r.peaks[name]; !ok {
			t.Errorf("the memory of %s was not looked at", name)
		}
	}
}

func TestFailuresAndMemoryOverTheLimitAreFailures(t *testing.T) {
	r := &result{
		phases: []*phase{{name: "a", alone: samples{{kind: reads, took: time.Second}}, beside: samples{{kind: reads, took: time.Second, err: exec.ErrNotFound}, {kind: asks, took: time.Second, err: exec.ErrNotFound}}}},
		peaks:  map[string]int{"log": memoryLimit + 1, "w1": memoryLimit},
	}
	if f := r.failures(); len(f) != 3 {
		t.Errorf("%q: want two kinds of requests that failed, and one process", f)
	}
}

// What was slow once may have been the machine. What is slow each time counts.
func TestOnlyWhatIsSlowInEveryTryIsTooSlow(t *testing.T) {
	try := func(read, ask time.Duration) *phase {
		return &phase{name: "a", alone: samples{{kind: reads, took: 1}, {kind: asks, took: 1}}, beside: samples{{kind: reads, took: read}, {kind: asks, took: ask}}}
	}
	for _, c := range []struct {
		tries []*phase
		want  int
	}{
		{[]*phase{try(much, much)}, 0},
		{[]*phase{try(much+1, much+1)}, 4},
		{[]*phase{try(much+1, much), try(much, much+1)}, 0},
		{[]*phase{try(much+1, much+1), try(much+2, 1)}, 2},
	} {
		if got := (&result{phases: c.tries}).slower(); len(got) != c.want {
			t.Errorf("%q: want %d", got, c.want)
		}
	}
}

func TestQuantiles(t *testing.T) {
	var all samples
	for i := range 100 {
		all = append(all, sample{kind: reads, took: time.Duration(100 - i)}, sample{kind: asks, took: time.Hour})
	}
	if a, b, c := all.quantile(reads, 0.5), all.quantile(reads, 0.99), all.quantile(submits, 0.5); a != 51 || b != 100 || c != 0 {
		t.Errorf("%d, %d, %d", a, b, c)
	}
}
