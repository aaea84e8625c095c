// Mutate changes the conditions of packages one at a time and reports the changes that no test
// notices.
//
//	go run ./internal/mutate [-least 95] [-jobs 2] [-files NAMES] [-run TESTS] [-only TEXT] [-list] ./verify/...
//
// A condition is that of an if, a for or a case, or an expression with a comparison, &&, || or !
// anywhere else. A mutant negates it, drops one side of && or ||, turns a comparison around, or
// moves its boundary by one. All mutants of the packages are compiled into one set of test binaries
// (go's -overlay; the files stay as they are), in which an environment variable says which one is
// on. A first run of each test, with -short, finds which conditions it reaches. Then each mutant is
// tried against the tests of its own package that reach it. Those that live are tried against the
// tests of the packages of -tests that depend on it, but for those that take over -slow. A test
// that fails, panics or takes over ten times its time kills the mutant.
//
// Mutants that no test can kill, because they change nothing that can be seen, are listed in
// equivalent.txt with the reason. A line there that is of no mutant any more, or of one that is
// killed, is an error.
//
// Exit status 1: under the figure of -least, or the list is not current.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var c config
	flag.StringVar(&c.tests, "tests", "./verify/...", "packages whose tests may kill a mutant, beside its own; those that do not depend on it are left out")
	flag.StringVar(&c.equivalent, "equivalent", "internal/mutate/equivalent.txt", "the mutants that no test can kill, with reasons")
	flag.StringVar(&c.files, "files", "", "change only files of these names, with commas between them; empty is all")
	flag.StringVar(&c.run, "run", "", "run only tests whose name matches this expression; empty is all")
	flag.StringVar(&c.only, "only", "", "try only mutants whose line of the report contains this")
	flag.Float64Var(&c.least, "least", 95, "the least percentage of mutants that must be killed")
	flag.DurationVar(&c.slow, "slow", 5*time.Second, "how long a test of another package may take to be tried")
	flag.IntVar(&c.jobs, "jobs", 2, "test binaries that run at once")
	flag.BoolVar(&c.list, "list", false, "list the mutants and try none")
	flag.Parse()
	ok, err := c.mutate(ctx, os.Stdout, flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(3)
	}
	if !ok {
		os.Exit(1)
	}
}

type config struct {
	tests, equivalent, files, run, only string
	least                               float64
	jobs                                int
	slow                                time.Duration
	list                                bool
}

// mutate tries the mutants of packages, and reports whether enough are killed and the list of
// equivalents is current.
func (c *config) mutate(ctx context.Context, out io.Writer, patterns []string) (ok bool, err error) {
	if len(patterns) == 0 {
		return false, fmt.Errorf("say which packages, such as ./verify/... or ./verify/tdx")
	}
	listed, err := equivalents(c.equivalent)
	if err != nil {
		return false, err
	}
	root, err := output(ctx, "list", "-m", "-f", "{{.Dir}}")
	if err != nil {
		return false, err
	}
	dir, err := os.MkdirTemp("", "mutate")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(dir)
	targets, err := list(ctx, patterns...)
	if err != nil {
		return false, err
	}
	if c.files != "" {
		if err := keep(targets, strings.Split(c.files, ",")); err != nil {
			return false, err
		}
	}
	over, mutants, err := overlay(strings.TrimSpace(string(root)), dir, targets)
	if err != nil {
		return false, err
	}
	r := &runner{dir: dir, jobs: c.jobs, mutants: c.chosen(mutants)}
	if c.list {
		for _, m := range r.mutants {
			fmt.Fprintf(out, "%s:%d: %s: %s => %s\n", m.file, m.line, m.in, m.from, m.to)
		}
		return true, nil
	}
	own, others, err := c.packages(ctx, targets)
	if err != nil {
		return false, err
	}
	left := r.mutants
	for i, pkgs := range [][]pkg{own, others} {
		var suites []*suite
		for _, p := range pkgs {
			s, err := build(ctx, over, dir, c.run, p)
			if err != nil {
				return false, err
			}
			suites = append(suites, s)
		}
		most := 20 * time.Minute
		if i > 0 {
			most = c.slow
		}
		fmt.Fprintf(out, "%d mutants, %d suites of tests\n", len(left), len(suites))
		if err := r.survey(ctx, out, suites, most); err != nil {
			return false, err
		}
		if left, err = r.tryAll(ctx, left); err != nil {
			return false, err
		}
	}
	return c.report(out, r.mutants, left, listed, mutants), nil
}

// keep leaves only the files of some names to be changed.
func keep(targets []pkg, names []string) error {
	found := make(map[string]bool)
	for i := range targets {
		targets[i].GoFiles = slices.DeleteFunc(targets[i].GoFiles, func(name string) bool { return !slices.Contains(names, name) })
		for _, name := range targets[i].GoFiles {
			found[name] = true
		}
	}
	for _, name := range names {
		if !found[name] {
			return fmt.Errorf("no file %s in the packages", name)
		}
	}
	return nil
}

func (c *config) chosen(all []*mutant) (list []*mutant) {
	for _, m := range all {
		if strings.Contains(fmt.Sprintf("%s:%d: %s", m.file, m.line, m.key()), c.only) {
			list = append(list, m)
		}
	}
	return list
}

// packages are those with tests that may kill: the targets, and what depends on them.
func (c *config) packages(ctx context.Context, targets []pkg) (own, others []pkg, err error) {
	more, err := list(ctx, c.tests)
	if err != nil {
		return nil, nil, err
	}
	own = slices.DeleteFunc(slices.Clone(targets), func(p pkg) bool { return !p.tests })
	for _, p := range more {
		is := func(t pkg) bool { return t.ImportPath == p.ImportPath }
		if !p.tests || slices.ContainsFunc(own, is) {
			continue
		}
		deps, err := testDeps(ctx, p.ImportPath)
		if err != nil {
			return nil, nil, err
		}
		if slices.ContainsFunc(targets, func(t pkg) bool { return slices.Contains(deps, t.ImportPath) }) {
			others = append(others, p)
		}
	}
	return own, others, nil
}

// report prints the mutants that live, and the figures.
func (c *config) report(out io.Writer, tried, left []*mutant, listed map[string]string, all []*mutant) (ok bool) {
	by := make(tally)
	current := true
	for _, m := range tried {
		_, equivalent := listed[m.key()]
		lives := slices.Contains(left, m)
		switch {
		case lives && !equivalent:
			fmt.Fprintf(out, "%s:%d: lives: %s\n", m.file, m.line, m.change())
		case equivalent && !lives:
			fmt.Fprintf(out, "listed as equivalent, and killed: %s\n", m.key())
			current = false
		}
		by.add(filepath.Dir(m.file), !lives, equivalent && lives)
	}
	if c.only == "" {
		for _, key := range stale(listed, all) {
			fmt.Fprintf(out, "listed as equivalent, and there is no such mutant: %s\n", key)
			current = false
		}
	}
	return by.print(out) >= c.least && current
}

// A tally counts mutants by package.
type tally map[string]*count

type count struct{ all, killed, equivalent int }

func (t tally) add(name string, killed, equivalent bool) {
	if t[name] == nil {
		t[name] = new(count)
	}
	c := t[name]
	c.all++
	if killed {
		c.killed++
	}
	if equivalent {
		c.equivalent++
	}
}

// print writes the figures and returns that of all: of the mutants that can be killed, how many
// are, in percent.
func (t tally) print(out io.Writer) float64 {
	var sum count
	for _, name := range slices.Sorted(maps.Keys(t)) {
		c := t[name]
		c.print(out, name)
		sum = count{sum.all + c.all, sum.killed + c.killed, sum.equivalent + c.equivalent}
	}
	return sum.print(out, "all")
}

func (c *count) print(out io.Writer, name string) float64 {
	figure := 100.0
	if n := c.all - c.equivalent; n > 0 {
		figure = 100 * float64(c.killed) / float64(n)
	}
	fmt.Fprintf(out, "%-24s %5d mutants, %5d killed, %4d equivalent, %4d survive: %.1f %%\n", name, c.all, c.killed, c.equivalent, c.all-c.killed-c.equivalent, figure)
	return figure
}
