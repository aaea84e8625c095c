// Package docs_test holds what is true of the documentation as a whole: links lead somewhere, and
// pages can be read.
package docs_test

import (
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

// pages returns every Markdown file of the repository, by its path from the root.
func pages(t *testing.T) map[string]string {
	t.Helper()
	out, err := exec.Command("git", "-C", "..", "ls-files", "--cached", "--others", "--exclude-standard", "*.md").Output()
	if err != nil {
		t.Skipf("git lists the pages: %v", err)
	}
	pages := make(map[string]string)
	for _, name := range strings.Fields(string(out)) {
		text, err := os.ReadFile(filepath.Join("..", name))
		if os.IsNotExist(err) { // deleted and not yet committed
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		pages[name] = string(text)
	}
	if pages["README.md"] == "" || pages["docs/format.md"] == "" {
		t.Fatalf("%d pages, and README.md or docs/format.md is not among them", len(pages))
	}
	return pages
}

var (
	fenced  = regexp.MustCompile("(?ms)^ *```.*?^ *```$")
	inline  = regexp.MustCompile("`[^`\n]*`")
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	notWord = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// anchors are the names that a page's headings get where it is shown: lower case, without
// punctuation, spaces as hyphens.
func anchors(text string) map[string]bool {
	found := make(map[string]bool)
	for _, m := range heading.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
		name := notWord.ReplaceAllString(strings.ToLower(m[1]), "")
		found[strings.ReplaceAll(name, " ", "-")] = true
	}
	return found
}

// broken lists the relative links of a page that lead to no file or to no heading.
func broken(name string, pages map[string]string) (bad []string) {
	prose := inline.ReplaceAllString(fenced.ReplaceAllString(pages[name], ""), "")
	for _, m := range link.FindAllStringSubmatch(prose, -1) {
		to, anchor, _ := strings.Cut(m[1], "#")
		if strings.Contains(to, "://") || strings.HasPrefix(to, "mailto:") {
			continue
		}
		target := name
		if to != "" {
			target = path.Join(path.Dir(name), to)
		}
		_, page := pages[target]
		_, err := os.Stat(filepath.Join("..", target))
		if !page && err != nil || anchor != "" && !anchors(pages[target])[anchor] {
			bad = append(bad, m[1])
		}
	}
	return bad
}

func TestLinksLeadSomewhere(t *testing.T) {
	pages := pages(t)
	for name := range pages {
		for _, to := range broken(name, pages) {
			t.Errorf("%s: %s leads nowhere", name, to)
		}
	}
}

// Messages and comments of the code name pages that exist.
func TestPagesThatTheCodeNamesExist(t *testing.T) {
	pages := pages(t)
	out, err := exec.Command("git", "-C", "..", "grep", "-hoE", `docs/[a-z0-9/-]+\.md`, "--", "*.go", "Makefile", "js/src", ":!docs").Output()
	if err != nil {
		t.Fatalf("git finds the pages that the code names: %v", err)
	}
	for _, name := range strings.Fields(string(out)) {
		if pages[name] == "" {
			t.Errorf("the code names %s, which does not exist", name)
		}
	}
}

// `make test` ends with what was skipped, and how to install it: every program that a test looks for
// and can do without.
func TestMakeNamesProgramsThatTestsLack(t *testing.T) {
	makefile, err := os.ReadFile("../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	_, skipped, _ := strings.Cut(string(makefile), "\nskipped:")
	skipped, _, _ = strings.Cut(skipped, "\n\n")
	out, err := exec.Command("git", "-C", "..", "grep", "-hoE", `LookPath\("[a-z_0-9-]+"\)`, "--", "*.go").Output()
	if err != nil {
		t.Fatalf("git finds the programs that tests look for: %v", err)
	}
	for _, found := range strings.Fields(string(out)) {
		name := strings.Split(found, `"`)[1]
		if name != "make" && !regexp.MustCompile(`\b`+regexp.QuoteMeta(name)+`\b`).MatchString(skipped) {
			t.Errorf("make skipped does not say how to install %s", name)
		}
	}
}

func TestBrokenLinksAreNoticed(t *testing.T) {
	pages := map[string]string{"docs/x.md": "# A `b` c, d\n[a](y.md) [b](#a-b-c-d) [c](#nothing) [d](format.md#nothing)\n"}
	if got := strings.Join(broken("docs/x.md", pages), " "); got != "y.md #nothing format.md#nothing" {
		t.Errorf("broken links: %q", got)
	}
}

// Lines of prose are at most 100 columns wide. Rows of tables and code cannot be wrapped.
func TestProseIsWrapped(t *testing.T) {
	long := regexp.MustCompile(`^[^|\s].{100,}$`)
	for name, text := range pages(t) {
		if !held(name) {
			continue
		}
		for _, line := range strings.Split(fenced.ReplaceAllString(text, ""), "\n") {
			if strings.Contains(line, " ") && len([]rune(line)) > 100 && long.MatchString(line) {
				t.Errorf("%s: over 100 columns: %s", name, line)
			}
		}
	}
}

// held says whether a page is a reader's page: the specification and its answers are not, nor are
// the news.
func held(name string) bool {
	switch name {
	case "README.md", "SECURITY.md", "CONTRIBUTING.md":
		return true
	case "docs/format.md", "docs/format-questions.md":
		return false
	}
	return strings.HasPrefix(name, "docs/")
}

// A page has at most this many words, so that a reader finishes it.
const pageWords = 1200

// long are the pages that may have more: the specification, its parts, and what is made from the
// table of a command.
var long = regexp.MustCompile(`^docs/(format|format-questions|format-examples|appraisal-[0-9]+(-tpm)?|checks)\.md$`)

func TestPagesAreShort(t *testing.T) {
	for name, text := range pages(t) {
		if !strings.HasPrefix(name, "docs/") && !held(name) || long.MatchString(name) {
			continue
		}
		if n := words(text); n > pageWords {
			t.Errorf("%s: %d words: want at most %d. Split it", name, n, pageWords)
		}
	}
}

// words counts what has a letter or a digit: not the bars of tables.
func words(text string) (n int) {
	for _, field := range strings.Fields(text) {
		if strings.ContainsFunc(field, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }) {
			n++
		}
	}
	return n
}

// sentenceWords is how long a sentence may be, up to its full stop, colon or semicolon.
const sentenceWords = 32

var (
	sentenceEnd = regexp.MustCompile(`[.!?:;][)"*]*\s`)
	item        = regexp.MustCompile(`\n *(- |[0-9]+\. )`)
)

// Sentences are short, for readers whose English is a second language, and a cell of a table has no
// second thought behind a semicolon.
func TestSentencesAreShort(t *testing.T) {
	for name, text := range pages(t) {
		if !held(name) || long.MatchString(name) {
			continue
		}
		for _, what := range hard(text) {
			t.Errorf("%s: %s", name, what)
		}
	}
}

// hard lists what of a page is hard to read.
func hard(text string) (list []string) {
	for _, paragraph := range strings.Split(fenced.ReplaceAllString(text, ""), "\n\n") {
		if strings.HasPrefix(strings.TrimLeft(paragraph, "\n"), "    ") {
			continue // code
		}
		if strings.HasPrefix(strings.TrimSpace(paragraph), "|") {
			for row := range strings.Lines(paragraph) {
				if strings.Contains(inline.ReplaceAllString(row, ""), "; ") {
					list = append(list, "a cell with a semicolon: "+row)
				}
			}
			continue
		}
		for _, part := range item.Split(paragraph, -1) {
			for _, sentence := range sentenceEnd.Split(part, -1) {
				if n := words(sentence); n > sentenceWords {
					list = append(list, fmt.Sprintf("%d words: want at most %d: %s", n, sentenceWords, sentence))
				}
			}
		}
	}
	return list
}

func TestHardSentencesAreNoticed(t *testing.T) {
	sentence := strings.Repeat("word ", sentenceWords)
	page := "# A\n\n" + sentence + "end.\n\n" + sentence + ". " + sentence + ".\n\n- " + sentence + "\n- " + sentence + "\n\n    " + sentence + sentence + "\n\n| a; b | `c; d` |\n| c | d |\n"
	if got := hard(page); len(got) != 2 || !strings.HasPrefix(got[0], "33 words") || !strings.HasPrefix(got[1], "a cell with a semicolon: | a") {
		t.Errorf("%d found: %q", len(got), got)
	}
}

var codeBlock = regexp.MustCompile("(?ms)^```(go|js)\n(.*?)^```$")

// What a page shows in Go or JavaScript is a part of what a test runs, but for its indentation: an
// example of verify/receipt, and js/README.md, which a test of js runs.
func TestCodeOfPagesIsRun(t *testing.T) {
	run := make(map[string]string)
	for language, path := range map[string]string{"go": "../verify/receipt/example_test.go", "js": "../js/README.md"} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		run[language] = flat(string(text))
	}
	shown := make(map[string]bool)
	for _, block := range codeBlock.FindAllStringSubmatch(pages(t)["docs/verifying.md"], -1) {
		shown[block[1]] = true
		if !strings.Contains(run[block[1]], flat(block[2])) {
			t.Errorf("no test runs this %s:\n%s", block[1], block[2])
		}
	}
	if !shown["go"] || !shown["js"] {
		t.Errorf("docs/verifying.md shows %v: want go and js", shown)
	}
}

func flat(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return strings.Join(lines, "\n")
}
