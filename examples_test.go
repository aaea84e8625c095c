package poclog_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	exampleBlock   = regexp.MustCompile("(?ms)^```(json|text) ([a-z0-9/-]+)(#[a-z_]+)?( members)?\n(.*?)^```$")
	exampleComment = regexp.MustCompile(`(?m)  +// .*$`)
)

// TestExamplesAreVectors holds docs/format-examples.md to the vectors: each example is one, but for
// its comments, and every file has one.
func TestExamplesAreVectors(t *testing.T) {
	page, err := os.ReadFile("docs/format-examples.md")
	if err != nil {
		t.Fatal(err)
	}
	var shown []string
	for _, b := range exampleBlock.FindAllStringSubmatch(string(page), -1) {
		kind, name, field, isPart, text := b[1], b[2], strings.TrimPrefix(b[3], "#"), b[4] != "", exampleComment.ReplaceAllString(b[5], "")
		if field == "" {
			field = "input"
		}
		shown = append(shown, name)
		want := vectorField(t, name, field)
		if kind == "json" && !strings.Contains(want, "\n") {
			text = onOneLine(text)
		}
		if !matchesElided(want, text, isPart) {
			t.Errorf("%s: the example is not the vector:\n%.400s\nwant\n%.400s", name, text, want)
		}
		if !isPart && !strings.Contains(b[5], "// ") && name != "formats/statement-submission" {
			t.Errorf("%s: the example has no comment", name)
		}
	}
	files := []string{"receipts/wire-ed25519", "tlogpolicy/valid-threshold", "splitviews/prefix"}
	ok, err := filepath.Glob(filepath.Join(vectorDir, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range ok { // each format's vector that has its name
		name := strings.TrimSuffix(filepath.Base(path), ".json")
		if vectorField(t, "formats/"+name, "format") == name {
			files = append(files, "formats/"+name)
		}
	}
	for _, f := range files {
		if !slices.Contains(shown, f) {
			t.Errorf("docs/format-examples.md does not show %s", f)
		}
	}
}

// vectorField reads one member of a vector.
func vectorField(t *testing.T, name, field string) string {
	t.Helper()
	file, err := os.ReadFile(filepath.Join("testdata", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var v map[string]any
	if err := json.Unmarshal(file, &v); err != nil {
		t.Fatal(err)
	}
	value, ok := v[field].(string)
	if !ok {
		t.Fatalf("vector %s has no %s", name, field)
	}
	return value
}

// onOneLine joins the lines of an example: what is canonical has no white space between members.
func onOneLine(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(strings.TrimSpace(line))
	}
	return b.String()
}

// matchesElided reports whether a text is an example's, in which an ellipsis stands for characters
// of one word.
func matchesElided(want, example string, isPart bool) bool {
	pattern := regexp.QuoteMeta(strings.TrimRight(example, "\n"))
	pattern = strings.ReplaceAll(pattern, "…", `[A-Za-z0-9+/=_-]+`)
	if !isPart {
		pattern = `\A` + pattern + `\n?\z`
	}
	re, err := regexp.Compile(pattern)
	return err == nil && re.MatchString(want)
}
