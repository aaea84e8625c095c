package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/receipt"
)

// idsOf returns the ids that a package of verify declares as constants of type Check.
func idsOf(t *testing.T, folder string) (ids []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", "verify", folder, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %v", folder, err)
	}
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || spec.Type == nil || len(spec.Values) != 1 {
				return true
			}
			name := ""
			switch x := spec.Type.(type) {
			case *ast.Ident:
				name = x.Name
			case *ast.SelectorExpr:
				name = x.Sel.Name
			}
			if lit, ok := spec.Values[0].(*ast.BasicLit); ok && name == "Check" && lit.Kind == token.STRING {
				id, err := strconv.Unquote(lit.Value)
				if err != nil {
					t.Fatal(err)
				}
				ids = append(ids, id)
			}
			return true
		})
	}
	return ids
}

// Every check, step and demand has one explanation, and every explanation is of one.
func TestEveryCheckIsExplained(t *testing.T) {
	ids := []string{"demands", "kind", "names", "since"} // demands without a rule of their own
	for _, folder := range []string{".", "receipt", "dossier", "index", "profile", filepath.Join("vouch", "registry")} {
		ids = append(ids, idsOf(t, folder)...)
	}
	for _, d := range receipt.DemandNames() {
		ids = append(ids, string(d))
	}
	for _, c := range verify.Checks() {
		if !slices.Contains(ids, string(c)) {
			t.Errorf("%s is a check that this test does not find in verify", c)
		}
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	have := slices.Sorted(slices.Values(explanationIDs()))
	if !slices.Equal(ids, have) {
		t.Errorf("explained:\n%q\nwant\n%q", have, ids)
	}
	for _, e := range explanations() {
		if e.proves == "" || e.absent == "" || e.do == "" {
			t.Errorf("%s: not all is explained", e.id)
		}
		for _, text := range []string{e.proves, e.absent, e.do} {
			if !strings.HasSuffix(text, ".") || strings.Contains(text, "\n") {
				t.Errorf("%s: %q: want whole sentences on one line", e.id, text)
			}
		}
	}
}

func TestExplainAnswersSlips(t *testing.T) {
	for slip, want := range map[string]string{
		"tee.tbc": "did you mean tee.tcb?", "registry": "did you mean place.registry?", "levl": "did you mean level?", "xyzzy": "poclog explain --list",
	} {
		status, stderr := invoke(t, "explain", slip)
		if status != exitUsage || !strings.Contains(stderr, want) {
			t.Errorf("%s: status %d, %q: want %q", slip, status, stderr, want)
		}
	}
}
