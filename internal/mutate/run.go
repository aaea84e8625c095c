package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// A pkg is a package of the module.
type pkg struct {
	ImportPath, Dir string
	Name            string
	GoFiles         []string
	tests           bool
}

// list asks go list about packages, with the dependencies of their tests.
func list(ctx context.Context, patterns ...string) ([]pkg, error) {
	out, err := output(ctx, append([]string{"list", "-json=ImportPath,Dir,Name,GoFiles,TestGoFiles,XTestGoFiles"}, patterns...)...)
	if err != nil {
		return nil, err
	}
	var all []pkg
	for d := json.NewDecoder(bytes.NewReader(out)); d.More(); {
		var p struct {
			pkg
			TestGoFiles, XTestGoFiles []string
		}
		if err := d.Decode(&p); err != nil {
			return nil, fmt.Errorf("go list: %w", err)
		}
		p.tests = len(p.TestGoFiles)+len(p.XTestGoFiles) > 0
		all = append(all, p.pkg)
	}
	return all, nil
}

// testDeps are the packages that a package's test binary has.
func testDeps(ctx context.Context, importPath string) ([]string, error) {
	out, err := output(ctx, "list", "-deps", "-test", "-f", "{{.ImportPath}}", importPath)
	if err != nil {
		return nil, err
	}
	var deps []string
	for line := range strings.Lines(string(out)) {
		path, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		deps = append(deps, path)
	}
	return deps, nil
}

// output runs the go command.
func output(ctx context.Context, args ...string) ([]byte, error) {
	out, err := exec.CommandContext(ctx, "go", args...).Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return nil, fmt.Errorf("go %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(exit.Stderr))
	}
	return out, err
}

// Environment of test binaries.
const (
	envMutant = "POCLOG_MUTANT" // which is on; empty or 0 is none
	envReach  = "POCLOG_REACH"  // a file to which the conditions are written that were reached
)

// generated is the file that a mutated package gets.
const generated = `package %s

import (
	"fmt"
	"os"
	"strconv"
	"sync"
)

var (
	on__, _    = strconv.Atoi(os.Getenv(%q))
	reached__  sync.Map
	reachTo__  = os.Getenv(%q)
)

func %s(root int) int {
	if reachTo__ != "" {
		if _, was := reached__.LoadOrStore(root, true); !was {
			f, err := os.OpenFile(reachTo__, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
			if err != nil {
				panic(err)
			}
			fmt.Fprintln(f, root)
			f.Close()
		}
	}
	return on__
}
`

// overlay mutates all files of packages, and writes what go's -overlay needs. It returns all
// mutants, by id from 1.
func overlay(root, dir string, targets []pkg) (path string, mutants []*mutant, err error) {
	replace := make(map[string]string)
	next := 1
	put := func(at string, text []byte) error {
		to := filepath.Join(dir, strconv.Itoa(len(replace))+".go")
		replace[at] = to
		return os.WriteFile(to, text, 0o600)
	}
	for _, p := range targets {
		for _, name := range p.GoFiles {
			at := filepath.Join(p.Dir, name)
			src, err := os.ReadFile(at)
			if err != nil {
				return "", nil, err
			}
			rel, err := filepath.Rel(root, at)
			if err != nil {
				return "", nil, err
			}
			ms, text, err := mutate(filepath.ToSlash(rel), src, &next)
			if err != nil {
				return "", nil, err
			}
			mutants = append(mutants, ms...)
			if err := put(at, text); err != nil {
				return "", nil, err
			}
		}
		if err := put(filepath.Join(p.Dir, fileName), fmt.Appendf(nil, generated, p.Name, envMutant, envReach, pickName)); err != nil {
			return "", nil, err
		}
	}
	// Conditions within conditions were numbered before those around them.
	slices.SortFunc(mutants, func(a, b *mutant) int { return a.id - b.id })
	b, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", nil, err
	}
	path = filepath.Join(dir, "overlay.json")
	return path, mutants, os.WriteFile(path, b, 0o600)
}

// A suite is the compiled tests of a package.
type suite struct {
	pkg
	binary string
	tests  []*test
}

// A test is one function of a suite.
type test struct {
	*suite
	name string
	took time.Duration
}

// build compiles a package's tests with the overlay, and lists those whose name matches.
func build(ctx context.Context, overlay, dir, names string, p pkg) (*suite, error) {
	s := &suite{pkg: p, binary: filepath.Join(dir, strings.ReplaceAll(p.ImportPath, "/", "_")+".test")}
	if _, err := output(ctx, "test", "-c", "-vet=off", "-overlay", overlay, "-o", s.binary, p.ImportPath); err != nil {
		return nil, err
	}
	c := exec.CommandContext(ctx, s.binary, "-test.list", cmp.Or(names, "."))
	c.Dir = p.Dir
	out, err := c.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.ImportPath, err)
	}
	for line := range strings.Lines(string(out)) {
		if name := strings.TrimSpace(line); !strings.HasPrefix(name, "Benchmark") {
			s.tests = append(s.tests, &test{suite: s, name: name})
		}
	}
	return s, nil
}

// Limits of one run.
const (
	memoryKB = 6 << 20          // address space: a mutant may loop and allocate
	spare    = 10 * time.Second // beyond ten times what the tests take
)

// run runs tests of one suite, short ones, and reports whether they pass.
func (r *runner) run(ctx context.Context, s *suite, names []string, env string, limit time.Duration) (passes bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	args := []string{
		"-c", fmt.Sprintf(`ulimit -v %d; exec nice -n 19 "$0" "$@"`, memoryKB), s.binary,
		"-test.short", "-test.failfast", "-test.timeout", limit.String(), "-test.run", "^(" + strings.Join(names, "|") + ")$",
	}
	c := exec.CommandContext(ctx, "sh", args...)
	c.Dir, c.Env = s.Dir, append(os.Environ(), env, "TMPDIR="+r.dir)
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
	c.WaitDelay = time.Second
	err = c.Run()
	if _, ok := errors.AsType[*exec.ExitError](err); ok || ctx.Err() != nil {
		return false, nil
	}
	return err == nil, err
}

// A runner tries mutants.
type runner struct {
	dir      string
	jobs     int
	mutants  []*mutant
	reaching map[int][]*test // by condition
	mu       sync.Mutex      // guards reaching, and what survey prints
}

// survey finds which tests reach which conditions, and how long each takes. Tests that take longer
// than most are left out, and so are those that fail without any mutant (one that counts what the
// conditions' own calls allocate, say): they kill nothing, and are named.
func (r *runner) survey(ctx context.Context, out io.Writer, suites []*suite, most time.Duration) error {
	r.reaching = make(map[int][]*test)
	var all []*test
	for _, s := range suites {
		all = append(all, s.tests...)
	}
	err := r.each(ctx, len(all), func(ctx context.Context, i int) error {
		t, file := all[i], filepath.Join(r.dir, fmt.Sprintf("reach.%d", i))
		begun := time.Now()
		ok, err := r.run(ctx, t.suite, []string{t.name}, envReach+"="+file, most)
		if err != nil {
			return err
		}
		if t.took = time.Since(begun); t.took >= most {
			return os.RemoveAll(file)
		}
		if !ok {
			r.mu.Lock()
			defer r.mu.Unlock()
			fmt.Fprintf(out, "left out, for it fails without a mutant: %s of %s\n", t.name, t.ImportPath)
			return os.RemoveAll(file)
		}
		return r.note(t, file)
	})
	if err != nil {
		return err
	}
	return r.control(ctx, suites)
}

// control runs the tests of each suite that are run together, without a mutant: if they fail then,
// their failures would say nothing.
func (r *runner) control(ctx context.Context, suites []*suite) error {
	together := make(map[*suite][]string)
	for _, tests := range r.reaching {
		for _, t := range tests {
			if t.took <= fast && !slices.Contains(together[t.suite], t.name) {
				together[t.suite] = append(together[t.suite], t.name)
			}
		}
	}
	return r.each(ctx, len(suites), func(ctx context.Context, i int) error {
		names := together[suites[i]]
		if len(names) == 0 {
			return nil
		}
		ok, err := r.run(ctx, suites[i], names, envMutant+"=0", time.Duration(len(names))*10*fast+spare)
		if err == nil && !ok {
			err = fmt.Errorf("the tests of %s fail together, without a mutant", suites[i].ImportPath)
		}
		return err
	})
}

// tryAll returns the mutants that live.
func (r *runner) tryAll(ctx context.Context, list []*mutant) (left []*mutant, err error) {
	dead := make([]bool, len(list))
	if err := r.each(ctx, len(list), func(ctx context.Context, i int) (err error) {
		dead[i], err = r.try(ctx, list[i])
		return err
	}); err != nil {
		return nil, err
	}
	for i, m := range list {
		if !dead[i] {
			left = append(left, m)
		}
	}
	return left, nil
}

// note reads which conditions a test reached.
func (r *runner) note(t *test, file string) error {
	b, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer os.Remove(file)
	r.mu.Lock()
	defer r.mu.Unlock()
	for line := range strings.Lines(string(b)) {
		root, err := strconv.Atoi(strings.TrimSuffix(line, "\n"))
		if err != nil {
			return err
		}
		r.reaching[root] = append(r.reaching[root], t)
	}
	return nil
}

// fast is how long a test takes that is run with others.
const fast = 300 * time.Millisecond

// try reports whether a test fails under a mutant: first the fast ones of each suite together, then
// the others, the faster first.
func (r *runner) try(ctx context.Context, m *mutant) (killed bool, err error) {
	env := fmt.Sprintf("%s=%d", envMutant, m.id)
	var groups [][]*test
	var slow []*test
	bySuite := make(map[*suite]int)
	for _, t := range r.reaching[m.root] {
		if t.took > fast {
			slow = append(slow, t)
			continue
		}
		if _, ok := bySuite[t.suite]; !ok {
			bySuite[t.suite] = len(groups)
			groups = append(groups, nil)
		}
		groups[bySuite[t.suite]] = append(groups[bySuite[t.suite]], t)
	}
	slices.SortFunc(slow, func(a, b *test) int { return int(a.took - b.took) })
	for _, t := range slow {
		groups = append(groups, []*test{t})
	}
	for _, g := range groups {
		var names []string
		var took time.Duration
		for _, t := range g {
			names, took = append(names, t.name), took+t.took
		}
		passes, err := r.run(ctx, g[0].suite, names, env, 10*took+spare)
		if err != nil || !passes {
			return !passes, err
		}
	}
	return false, nil
}

// each calls f for 0 to n−1, as many at once as there may be jobs, and returns the first error.
func (r *runner) each(ctx context.Context, n int, f func(ctx context.Context, i int) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(r.jobs)
	for i := range n {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return f(ctx, i)
		})
	}
	return g.Wait()
}
