package tlogpolicy_test

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/poclog/poclog/internal/vectors"
)

var ruleID = regexp.MustCompile("`([a-z-]+)`")

// Every rule of docs/format.md §13 has a vector that breaks it, and no vector breaks another.
func TestRulesAreThoseOfTheSpecification(t *testing.T) {
	page, err := os.ReadFile("../../docs/format.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "## 13. ")
	section, _, _ = strings.Cut(section, "## 14. ")
	var listed []string
	for line := range strings.Lines(section) {
		if first, _, ok := strings.Cut(strings.TrimPrefix(line, "|"), "|"); ok {
			for _, id := range ruleID.FindAllStringSubmatch(first, -1) {
				listed = append(listed, id[1])
			}
		}
	}
	broken := make(map[string]bool)
	vectors.Each(t, vectorDir, func(_ *testing.T, v vector) {
		if v.Expect != "ok" {
			broken[v.Expect] = true
		}
	})
	slices.Sort(listed)
	if tried := slices.Sorted(maps.Keys(broken)); !slices.Equal(listed, tried) {
		t.Errorf("§13 lists %v, the vectors break %v", listed, tried)
	}
}
