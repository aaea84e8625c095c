//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// much is the ratio over which one is marked.
const much = 5

// A phase is what the honest saw beside a stranger.
type phase struct {
	name    string
	samples []sample
}

// quantile returns the time that a part of the requests of a kind took at most.
func (p *phase) quantile(kind string, q float64) time.Duration {
	var took []time.Duration
	for _, s := range p.samples {
		if s.kind == kind {
			took = append(took, s.took)
		}
	}
	if len(took) == 0 {
		return 0
	}
	slices.Sort(took)
	return took[min(len(took)-1, int(q*float64(len(took))))]
}

func (p *phase) kinds() []string {
	set := make(map[string]bool)
	for _, s := range p.samples {
		set[s.kind] = true
	}
	return slices.Sorted(maps.Keys(set))
}

// A result is all phases, the honest load alone first, and the memory of the processes.
type result struct {
	phases []phase
	peaks  map[string]int // MiB
	notes  []string       // what else was not as it should be
}

// failures lists what must not be.
func (r *result) failures() []string {
	list := slices.Clone(r.notes)
	for _, p := range r.phases {
		same := make(map[string]int)
		for _, s := range p.samples {
			if s.err != nil {
				same[fmt.Sprintf("%s: %s failed: %v", p.name, s.kind, s.err)]++
			}
		}
		for _, text := range slices.Sorted(maps.Keys(same)) {
			list = append(list, fmt.Sprintf("%s (%d times)", text, same[text]))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.peaks)) {
		if n := r.peaks[name]; n > memoryLimit {
			list = append(list, fmt.Sprintf("%s took %d MiB of memory: its limit is %d", name, n, memoryLimit))
		}
	}
	return list
}

// print prints a phase as soon as it is over.
func (r *result) print(w io.Writer, p *phase) {
	fmt.Fprintf(w, "\n%s\n", p.name)
	alone := &r.phases[0]
	t := tabwriter.NewWriter(w, 2, 0, 2, ' ', tabwriter.AlignRight)
	for _, kind := range p.kinds() {
		fmt.Fprintf(t, "  %s\t", kind)
		for _, q := range []struct {
			name string
			part float64
		}{{"p50", 0.5}, {"p99", 0.99}} {
			now, before := p.quantile(kind, q.part), alone.quantile(kind, q.part)
			ratio, mark := float64(now)/float64(max(before, 1)), ""
			if ratio > much {
				mark = fmt.Sprintf(" (over %d)", much)
			}
			fmt.Fprintf(t, "%s %.1f ms, × %.1f%s\t", q.name, float64(now.Microseconds())/1000, ratio, mark)
		}
		failed := 0
		for _, s := range p.samples {
			if s.kind == kind && s.err != nil {
				failed++
			}
		}
		fmt.Fprintf(t, "%d failed\t\n", failed)
	}
	_ = t.Flush() // to a terminal
}

// run plays all phases.
func run(ctx context.Context, binary string, sc scale, w io.Writer) (*result, error) {
	s, err := newStage(ctx, binary, sc.publishers)
	if err != nil {
		return nil, err
	}
	defer s.close()
	r := &result{peaks: make(map[string]int)}
	play := func(name string, with ...stranger) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		var ended []func()
		for _, st := range with {
			end, err := st.begin(s, ctx, sc)
			if err != nil {
				return fmt.Errorf("%s: %w", st.name, err)
			}
			ended = append(ended, end)
		}
		r.phases = append(r.phases, phase{name, s.honest(ctx, sc)})
		cancel()
		for _, end := range ended {
			end()
		}
		r.print(w, &r.phases[len(r.phases)-1])
		return ctx.Err()
	}
	_ = s.honest(ctx, scale{publishers: 1, submissions: 2, reads: 10, questions: 2}) // so that nothing is done for the first time
	phases := []struct {
		name string
		with []stranger
	}{{"honest load alone", nil}}
	for _, st := range strangers {
		phases = append(phases, struct {
			name string
			with []stranger
		}{"beside " + st.name, []stranger{st}})
	}
	phases = append(phases, struct {
		name string
		with []stranger
	}{"beside all of them together", strangers})
	for _, p := range phases {
		if err := play(p.name, p.with...); err != nil && ctx.Err() != nil {
			return nil, ctx.Err()
		} else if err != nil && len(p.with) > 0 && !strings.Contains(err.Error(), "canceled") {
			return nil, err
		}
	}
	for _, p := range s.processes {
		r.peaks[p.name] = p.peak()
	}
	if err := s.audited(ctx); err != nil {
		r.notes = append(r.notes, err.Error())
	}
	r.summary(w)
	return r, nil
}

// summary prints the memory, and what failed.
func (r *result) summary(w io.Writer) {
	fmt.Fprintf(w, "\npeak memory, of %d MiB\n", memoryLimit)
	for _, name := range slices.Sorted(maps.Keys(r.peaks)) {
		fmt.Fprintf(w, "  %-10s %d MiB\n", name, r.peaks[name])
	}
	failures := r.failures()
	if len(failures) == 0 {
		fmt.Fprintln(w, "\nEvery honest request succeeded, and every process kept to its memory.")
		return
	}
	fmt.Fprintln(w, "\nWhat failed:")
	for _, f := range failures[:min(len(failures), 20)] {
		fmt.Fprintln(w, "  "+f)
	}
}

// audited waits until the auditor has verified what the log has: an auditor that was kept from it
// would have stopped signing.
func (s *stage) audited(ctx context.Context) error {
	size, err := s.metric(ctx, s.log, "poclog_tree_size")
	if err != nil {
		return err
	}
	done := 0.0
	for range 600 {
		if done, err = s.metric(ctx, s.auditor, `poclog_audit_size{origin="log.strangers.test"}`); err == nil && done >= size {
			return nil
		}
		if !every(ctx, 100*time.Millisecond) {
			return ctx.Err()
		}
	}
	return fmt.Errorf("the auditor verified %.0f of %.0f entries: %w", done, size, err)
}

// metric reads one number of a process.
func (s *stage) metric(ctx context.Context, p *process, name string) (float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			var n float64
			_, err := fmt.Sscan(value, &n)
			return n, err
		}
	}
	return 0, fmt.Errorf("%s has no metric %s", p.name, name)
}
