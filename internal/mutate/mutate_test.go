package main

import (
	"bytes"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// mutantsOf are the mutants of a function's body, as "from => to".
func mutantsOf(t *testing.T, body string) (list []string) {
	t.Helper()
	next := 1
	src := "package p\n\nconst debug = 1 > 0\n\nfunc f(a, b, c bool, n int, s []int, g func() (bool, error)) (ok bool) {\n" + body + "\nreturn\n}\n"
	ms, text, err := mutate("p.go", []byte(src), &next)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.ParseFile(token.NewFileSet(), "p.go", text, 0); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	for i, m := range ms {
		if m.in != "f" || m.file != "p.go" || m.line < 6 {
			t.Errorf("%+v", m)
		}
		if !bytes.Contains(text, []byte("case "+string(rune('0'+m.id))+": return ")) && i < 9 {
			t.Errorf("mutant %d is not in\n%s", m.id, text)
		}
		list = append(list, m.from+" => "+m.to)
	}
	if next != len(ms)+1 {
		t.Errorf("the next mutant is %d, after %d", next, len(ms))
	}
	return list
}

func TestEveryConditionIsChanged(t *testing.T) {
	for name, c := range map[string]struct {
		body string
		want []string
	}{
		"none":          {"ok = a; n++", nil},
		"a variable":    {"if a {}", []string{"a => !(a)"}},
		"a call":        {"if s == nil {}", []string{"s == nil => s != nil"}},
		"a negation":    {"if !a {}", []string{"!a => a"}},
		"a boundary":    {"for n < 3 {}", []string{"n < 3 => n >= 3", "n < 3 => n <= 3"}},
		"boundaries":    {"ok = n <= 1; ok = n > 1; ok = n >= 1", []string{"n <= 1 => n > 1", "n <= 1 => n < 1", "n > 1 => n <= 1", "n > 1 => n >= 1", "n >= 1 => n < 1", "n >= 1 => n > 1"}},
		"two operands":  {"return a && b", []string{"a && b => b", "a && b => a"}},
		"three":         {"return a || b || c", []string{"a || b || c => b || c", "a || b || c => a || c", "a || b || c => a || b"}},
		"mixed":         {"return a && (b || c)", []string{"a && (b || c) => (b || c)", "a && (b || c) => a", "a && (b || c) => a && (c)", "a && (b || c) => a && (b)"}},
		"a case":        {"switch { case a, n == 1: }", []string{"a => !(a)", "n == 1 => n != 1"}},
		"no condition":  {"switch n { case 1: }", nil},
		"in a tag":      {"switch n == 1 { case true: }", []string{"n == 1 => n != 1"}},
		"else if":       {"if a {} else if b {}", []string{"a => !(a)", "b => !(b)"}},
		"init":          {"if x := n == 1; x {}", []string{"n == 1 => n != 1", "x => !(x)"}},
		"a negated one": {"return !(a && b)", []string{"!(a && b) => (a && b)", "!(a && b) => !(b)", "!(a && b) => !(a)"}},
		"within":        {"if func() bool { return n == 1 }() {}", []string{"n == 1 => n != 1", "func() bool { return n == 1 }() => !(func() bool { return n == 1 }())"}},
		"an argument":   {"println(n > 0)", []string{"n > 0 => n <= 0", "n > 0 => n >= 0"}},
		"its two":       {"if _, err := g(); err != nil && a {}", []string{"err != nil && a => a", "err != nil && a => err != nil", "err != nil && a => err == nil && a"}},
	} {
		got := mutantsOf(t, c.body)
		slices.Sort(got)
		slices.Sort(c.want)
		if !slices.Equal(got, c.want) {
			t.Errorf("%s:\n  %s\nwant\n  %s", name, strings.Join(got, "\n  "), strings.Join(c.want, "\n  "))
		}
	}
}

func TestMutantsOfOneLookAreNumbered(t *testing.T) {
	next := 1
	ms, _, err := mutate("a/b.go", []byte("package p\n\nfunc (t *T) f(a bool) {\nif a {}\nif a {}\n}\n\nvar x = 1 > 0\n"), &next)
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, m := range ms {
		keys = append(keys, m.key())
	}
	want := []string{"a/b.go T.f: a => !(a)", "a/b.go T.f: a => !(a) (2)", "a/b.go x: 1 > 0 => 1 <= 0", "a/b.go x: 1 > 0 => 1 >= 0"}
	if !slices.Equal(keys, want) {
		t.Errorf("%q", keys)
	}
}

const weak = "internal/mutate/testdata/weak/weak.go "

// tried runs mutate on the package in testdata with a list of equivalents.
func tried(t *testing.T, least float64, equivalent string) (report string, ok bool) {
	t.Helper()
	t.Chdir("../..")
	file := filepath.Join(t.TempDir(), "equivalent.txt")
	if err := os.WriteFile(file, []byte(equivalent), 0o600); err != nil {
		t.Fatal(err)
	}
	c := config{tests: "./internal/mutate", equivalent: file, least: least, jobs: 2, slow: time.Minute}
	var out bytes.Buffer
	ok, err := c.mutate(t.Context(), &out, []string{"./internal/mutate/testdata/weak"})
	if err != nil {
		t.Fatal(err)
	}
	return out.String(), ok
}

func TestWhatNoTestNoticesIsReported(t *testing.T) {
	report, ok := tried(t, 60, "# reasons\n\n"+weak+"Larger: a > b => a >= b // of two equals either is the larger\n")
	for _, lives := range []string{"Grade: n >= 50 && !extra => n >= 50\n", "Unused: ok => !(ok)\n"} {
		if !strings.Contains(report, "lives: "+lives) {
			t.Errorf("%q is not in\n%s", lives, report)
		}
	}
	if strings.Count(report, "lives: ") != 2 || !strings.Contains(report, "1 equivalent,    2 survive: 88.2 %") || !ok {
		t.Errorf("%t:\n%s", ok, report)
	}
}

func TestListOfEquivalentsIsHeldToBeCurrent(t *testing.T) {
	report, ok := tried(t, 60, weak+"Grade: n < 0 || n > 100 => n > 100 // it is killed\n"+weak+"Grade: gone => !(gone) // it is gone\nelsewhere.go f: a => !(a) // not looked at\n")
	if ok || !strings.Contains(report, "and killed: "+weak+"Grade: n < 0 || n > 100 => n > 100\n") || !strings.Contains(report, "no such mutant: "+weak+"Grade: gone => !(gone)\n") ||
		strings.Contains(report, "elsewhere") {
		t.Errorf("%t:\n%s", ok, report)
	}
}

func TestTooFewKilledIsAFailure(t *testing.T) {
	if report, ok := tried(t, 95, ""); ok {
		t.Error(report)
	}
}

func TestListOfEquivalentsHasReasons(t *testing.T) {
	for name, text := range map[string]string{"no reason": "f.go f: a => b\n", "no mutant": "f.go f // why\n", "twice": "f.go f: a => b // why\nf.go f: a => b // why\n"} {
		file := filepath.Join(t.TempDir(), "list")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := equivalents(file); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// Of packages where only some files are changed, each file that is named is there.
func TestOnlyNamedFilesAreChanged(t *testing.T) {
	targets := []pkg{{ImportPath: "a", GoFiles: []string{"x.go", "y.go"}}, {ImportPath: "b", GoFiles: []string{"y.go", "z.go"}}}
	if err := keep(targets, []string{"y.go", "z.go"}); err != nil || !slices.Equal(targets[0].GoFiles, []string{"y.go"}) || !slices.Equal(targets[1].GoFiles, []string{"y.go", "z.go"}) {
		t.Errorf("%+v, %v", targets, err)
	}
	if err := keep(targets, []string{"x.go"}); err == nil {
		t.Error("a file that is in no package")
	}
}
