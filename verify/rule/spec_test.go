package rule

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poclog/poclog/verify"
)

// specified returns a part of docs/format.md.
func specified(t *testing.T, from, to string) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/format.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, found := strings.Cut(string(page), from)
	part, _, ended := strings.Cut(after, to)
	if !found || !ended {
		t.Fatalf("docs/format.md has no part from %q to %q", from, to)
	}
	return part
}

var (
	ruleRow  = regexp.MustCompile("(?m)^\\| (`[^|]*`)[^|]*\\| (?:[^|]*\\|){3}")
	ruleLine = regexp.MustCompile(`(?m)^    ([A-Za-z-]+-[a-z-]+): `)
	quoted   = regexp.MustCompile("`([^`]+)`")
)

// Every rule is in the specification's table, in its pseudocode and, if it compares two entries, in
// the table of facets, each in the order in which it is run.
func TestRulesAreThoseOfTheSpecification(t *testing.T) {
	var all, ofTwo, rising []string
	for _, r := range All() {
		all = append(all, r.ID)
		if r.Facets != nil {
			ofTwo = append(ofTwo, r.ID)
		}
		if r.Rising {
			rising = append(rising, r.ID)
		}
	}
	var table []string
	section := specified(t, "## 15. ", "## 16. ")
	for _, row := range ruleRow.FindAllStringSubmatch(section, -1) {
		for _, id := range quoted.FindAllStringSubmatch(row[1], -1) {
			table = append(table, id[1])
		}
	}
	if table = slices.DeleteFunc(table, func(id string) bool { return !slices.Contains(all, id) }); !slices.Equal(table, all) {
		t.Errorf("§15 has the rules %v, the code %v", table, all)
	}
	var pseudo []string
	for _, line := range ruleLine.FindAllStringSubmatch(section, -1) {
		if line[1] == "X-on-two-chips" {
			pseudo = append(pseudo, "ak-on-two-chips", "ek-on-two-chips", "instance-on-two-chips")
			continue
		}
		pseudo = append(pseudo, line[1])
	}
	for _, id := range all {
		if id != "entry-not-reproducible" && !slices.Contains(pseudo, id) {
			t.Errorf("§15 has no pseudocode of %s", id)
		}
	}
	for _, id := range pseudo {
		if !slices.Contains(all, id) {
			t.Errorf("§15 has pseudocode of %s: there is no such rule", id)
		}
	}
	var facets, marked []string
	for line := range strings.Lines(specified(t, "### 17.1 ", "## 18. ")) {
		if id := quoted.FindStringSubmatch(line); strings.HasPrefix(line, "| `") && id != nil {
			facets = append(facets, id[1])
			if strings.Contains(line, "(rising)") {
				marked = append(marked, id[1])
			}
		}
	}
	if !slices.Equal(facets, ofTwo) || !slices.Equal(marked, rising) {
		t.Errorf("§17.1 has facets of %v, rising %v: the code of %v, rising %v", facets, marked, ofTwo, rising)
	}
}

// The thresholds of the specification are those of the code.
func TestThresholdsAreThoseOfTheSpecification(t *testing.T) {
	section := specified(t, "## 15. ", "## 16. ")
	if !strings.Contains(section, "The **move time** (24 hours) and the **swap time** (one hour)") || DefaultMoveTime != 24*time.Hour || DefaultSwapTime != time.Hour {
		t.Errorf("move time %s and swap time %s: §15 says 24 hours and one hour", DefaultMoveTime, DefaultSwapTime)
	}
	skew := fmt.Sprintf("%d s", verify.MaxSkew/time.Second)
	if n := strings.Count(section, skew); n < 8 {
		t.Errorf("§15 names the skew of %s %d times", skew, n)
	}
	if !strings.Contains(specified(t, "## 5. ", "## 6. "), "The **skew**, "+skew+",") {
		t.Errorf("§5 does not say that the skew is %s", skew)
	}
	if kept := fmt.Sprintf("there are fewer than %d: append", maxFirsts); !strings.Contains(specified(t, "### 17.1 ", "## 18. "), kept) {
		t.Errorf("§17.1 does not say that %q", kept)
	}
}
