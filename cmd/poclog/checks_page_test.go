package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// checksPage is docs/checks.md, made from the table of `poclog explain`.
func checksPage() string {
	var b strings.Builder
	b.WriteString(`# Checks

What each check proves. ` + "`poclog explain CHECK`" + ` says more: why a check can be absent, what is
open then, and what to do. Every refusal names its check. Demand a check by its id:

    poclog verify vm.tlog-proof --policy policy.txt --require place.registry

[attacks.md](attacks.md) has the attacks that they stop. The rules of each check are in
[format.md](format.md) §8 and §10. This page is made from the table of the command
(` + "`go test ./cmd/poclog -run ChecksPage -update`" + `).
`)
	kind := ""
	for _, e := range explanations() {
		if e.kind != kind {
			kind = e.kind
			fmt.Fprintf(&b, "\n## %s\n\n| id | proves |\n| --- | --- |\n", strings.ToUpper(kind[:1])+kind[1:])
		}
		fmt.Fprintf(&b, "| `%s` | %s |\n", e.id, strings.ReplaceAll(e.proves, "|", `\|`))
	}
	return b.String()
}

func TestChecksPageIsWhatExplainSays(t *testing.T) {
	path := filepath.Join("..", "..", "docs", "checks.md")
	want := checksPage()
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Error("docs/checks.md is not what poclog explain says: go test ./cmd/poclog -run ChecksPage -update")
	}
}
