//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/poclog/poclog/internal/cputime"
	"github.com/poclog/poclog/internal/pause"
)

// much is the ratio over which honest requests are too slow.
const much = 5

// samples are what honest clients saw.
type samples []sample

// quantile returns the time that a part of the requests of a kind took at most.
func (all samples) quantile(kind string, q float64) time.Duration {
	var took []time.Duration
	for _, s := range all {
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

// quantiles are those that are compared.
var quantiles = []struct {
	name string
	part float64
}{{"p50", 0.5}, {"p99", 0.99}}

// A phase is what honest clients saw alone and beside strangers, in turns.
type phase struct {
	name          string
	alone, beside samples
	aloneTook     time.Duration
	besideTook    time.Duration
	aloneCPU      map[string]time.Duration // by process
	besideCPU     map[string]time.Duration
}

func (p *phase) kinds() []string {
	set := make(map[string]bool)
	for _, s := range p.beside {
		set[s.kind] = true
	}
	return slices.Sorted(maps.Keys(set))
}

// ratio says how much slower requests of a kind are beside strangers.
func (p *phase) ratio(kind string, q float64) float64 {
	return float64(p.beside.quantile(kind, q)) / float64(max(p.alone.quantile(kind, q), 1))
}

// A result is all phases, each as often as it was tried, and the memory of the processes.
type result struct {
	phases []*phase
	peaks  map[string]int // MiB
	notes  []string       // what else was not as it should be
}

// slow lists the ratios of a phase that are over the limit in every try.
func (r *result) slow(name string) (list []string) {
	lowest := make(map[string]float64)
	for _, p := range r.phases {
		if p.name != name {
			continue
		}
		for _, kind := range p.kinds() {
			for _, q := range quantiles {
				key, now := kind+" "+q.name, p.ratio(kind, q.part)
				if before, ok := lowest[key]; !ok || now < before {
					lowest[key] = now
				}
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(lowest)) {
		if lowest[key] > much {
			list = append(list, fmt.Sprintf("%s × %.1f", key, lowest[key]))
		}
	}
	return list
}

// slower lists what is over the limit, in all phases.
func (r *result) slower() (list []string) {
	seen := make(map[string]bool)
	for _, p := range r.phases {
		if !seen[p.name] {
			seen[p.name] = true
			for _, s := range r.slow(p.name) {
				list = append(list, p.name+": "+s)
			}
		}
	}
	return list
}

// failures lists what must not be.
func (r *result) failures() []string {
	list := slices.Clone(r.notes)
	same := make(map[string]int)
	for _, p := range r.phases {
		for _, s := range slices.Concat(p.alone, p.beside) {
			if s.err != nil {
				same[fmt.Sprintf("%s: %s failed: %v", p.name, s.kind, s.err)]++
			}
		}
	}
	for _, text := range slices.Sorted(maps.Keys(same)) {
		list = append(list, fmt.Sprintf("%s (%d times)", text, same[text]))
	}
	for _, name := range slices.Sorted(maps.Keys(r.peaks)) {
		if n := r.peaks[name]; n > memoryLimit {
			list = append(list, fmt.Sprintf("%s took %d MiB of memory: its limit is %d", name, n, memoryLimit))
		}
	}
	return list
}

// print prints a phase as soon as it is over.
func (p *phase) print(w io.Writer) {
	fmt.Fprintf(w, "\n%s\n", p.name)
	t := tabwriter.NewWriter(w, 2, 0, 2, ' ', tabwriter.AlignRight)
	for _, kind := range p.kinds() {
		fmt.Fprintf(t, "  %s\t", kind)
		for _, q := range quantiles {
			mark := ""
			if p.ratio(kind, q.part) > much {
				mark = fmt.Sprintf(" (over %d)", much)
			}
			fmt.Fprintf(t, "%s %.1f ms → %.1f ms, × %.1f%s\t", q.name, ms(p.alone.quantile(kind, q.part)), ms(p.beside.quantile(kind, q.part)), p.ratio(kind, q.part), mark)
		}
		failed, n := 0, 0
		for _, s := range p.beside {
			if s.kind == kind {
				n++
				if s.err != nil {
					failed++
				}
			}
		}
		fmt.Fprintf(t, "%d, %d failed\t\n", n, failed)
	}
	_ = t.Flush() // to a terminal
	var used []string
	for _, name := range slices.Sorted(maps.Keys(p.besideCPU)) {
		used = append(used, fmt.Sprintf("%s %.0f → %.0f %%", name, share(p.aloneCPU[name], p.aloneTook), share(p.besideCPU[name], p.besideTook)))
	}
	fmt.Fprintf(w, "  of a processor: %s\n", strings.Join(used, ", "))
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func share(of, all time.Duration) float64 { return 100 * float64(of) / float64(max(all, 1)) }

// run plays the phases whose name contains a text.
func run(ctx context.Context, binary, only string, sc scale, w io.Writer) (*result, error) {
	s, err := newStage(ctx, binary, sc.Publishers)
	if err != nil {
		return nil, err
	}
	defer s.close()
	r := &result{peaks: make(map[string]int)}
	_ = s.honest(ctx, scale{Publishers: 1, Submissions: 2, Asking: 1}) // so that nothing is done for the first time
	for i := range len(strangers) + 1 {
		name, with := "beside all of them together", strangers
		if i < len(strangers) {
			name, with = "beside "+strangers[i].name, strangers[i:i+1]
		}
		if !strings.Contains(name, only) {
			continue
		}
		for try := range sc.Tries {
			if try > 0 {
				fmt.Fprintf(w, "  once more, for what was over %d each time: %s\n", much, strings.Join(r.slow(name), ", "))
			}
			p, err := s.compare(ctx, name, with, sc)
			if err != nil {
				return nil, err
			}
			r.phases = append(r.phases, p)
			p.print(w)
			if len(r.slow(name)) == 0 {
				break
			}
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

// compare has the honest load alone and beside strangers, in turns: what else the machine does
// meets both.
func (s *stage) compare(ctx context.Context, name string, with []stranger, sc scale) (*phase, error) {
	p := &phase{name: name, aloneCPU: make(map[string]time.Duration), besideCPU: make(map[string]time.Duration)}
	load := func(all *samples, took *time.Duration, cpu map[string]time.Duration) {
		begun, before := time.Now(), s.processor()
		*all = append(*all, s.honest(ctx, sc)...)
		*took += time.Since(begun)
		for name, n := range s.processor() {
			cpu[name] += n - before[name]
		}
	}
	for range sc.Rounds {
		load(&p.alone, &p.aloneTook, p.aloneCPU)
		end, err := s.invite(ctx, with, sc)
		if err != nil {
			return nil, err
		}
		load(&p.beside, &p.besideTook, p.besideCPU)
		if err := end(); err != nil {
			return nil, err
		}
		if err := pause.For(ctx, settle); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// settle is how long services have to get rid of strangers who are gone.
const settle = 500 * time.Millisecond

// invite has strangers take hold, and returns what makes them go.
func (s *stage) invite(ctx context.Context, with []stranger, sc scale) (end func() error, err error) {
	j := job{Targets: targets{Log: s.log.url, Front: s.front, Witness: s.witness.url, Monitor: s.monitor.url, Alert: s.alert, Quote: s.otherQuote}, Scale: sc}
	if j.Targets.Huge, err = s.hugeBundle(ctx); err != nil {
		return nil, err
	}
	fault := func(on bool) (err error) {
		for _, st := range with {
			if st.fault != nil {
				err = errors.Join(err, st.fault(s, on))
			}
		}
		return err
	}
	for _, st := range with {
		j.Names = append(j.Names, st.name)
	}
	if err := fault(true); err != nil {
		return nil, err
	}
	p, err := s.start(ctx, "strangers", partStrangers, lowest, j)
	if err == nil {
		_, err = p.line()
	}
	if err != nil {
		return nil, errors.Join(err, fault(false))
	}
	s.strangers = p
	return func() error { s.strangers = nil; return errors.Join(p.end(), fault(false)) }, nil
}

// processor is how much processor time every process had.
func (s *stage) processor() map[string]time.Duration {
	used := map[string]time.Duration{"client": processorOf(os.Getpid()), "front": processorOf(s.proxy.cmd.Process.Pid)}
	for _, p := range s.processes {
		used[p.name] = processorOf(p.cmd.Process.Pid)
	}
	if s.strangers != nil {
		used["strangers"] = processorOf(s.strangers.cmd.Process.Pid)
	}
	return used
}

// processorOf is the processor time of a process, or 0 where the system does not say.
func processorOf(pid int) time.Duration {
	used, _ := cputime.OfProcess(pid)
	return used
}

// summary prints the memory, what failed, and what is too slow.
func (r *result) summary(w io.Writer) {
	fmt.Fprintf(w, "\npeak memory, of %d MiB\n", memoryLimit)
	for _, name := range slices.Sorted(maps.Keys(r.peaks)) {
		fmt.Fprintf(w, "  %-10s %d MiB\n", name, r.peaks[name])
	}
	if failures := r.failures(); len(failures) == 0 {
		fmt.Fprintln(w, "\nEvery honest request succeeded, and every process kept to its memory.")
	} else {
		fmt.Fprintln(w, "\nWhat failed:")
		for _, f := range failures[:min(len(failures), 20)] {
			fmt.Fprintln(w, "  "+f)
		}
	}
	if slower := r.slower(); len(slower) == 0 {
		fmt.Fprintf(w, "No ratio is over %d. Where one was, its phase was tried again, and the lowest counts.\n", much)
	} else {
		fmt.Fprintf(w, "Over %d in each try:\n  %s\n", much, strings.Join(slower, "\n  "))
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
		if err := pause.For(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	return fmt.Errorf("the auditor verified %.0f of %.0f entries: %w", done, size, err)
}

// metric reads one number of a process.
func (s *stage) metric(ctx context.Context, p *process, name string) (float64, error) {
	b, err := get(ctx, http.DefaultClient, p.url+"/metrics")
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
