// Package docs_test holds what is true of the documentation as a whole: links lead somewhere, and
// pages can be read.
package docs_test

import (
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
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
	case "docs/format.md", "docs/format-questions.md", "docs/http.md", "docs/monitor-api.md", "docs/registry.md":
		return false
	}
	return strings.HasPrefix(name, "docs/")
}

var goBlock = regexp.MustCompile("(?ms)^```go\n(.*?)^```$")

// What a page shows in Go is a part of an example that a test runs, but for its indentation.
func TestGoOfPagesIsRun(t *testing.T) {
	flat := func(text string) string {
		lines := strings.Split(strings.TrimSpace(text), "\n")
		for i := range lines {
			lines[i] = strings.TrimSpace(lines[i])
		}
		return strings.Join(lines, "\n")
	}
	example, err := os.ReadFile(filepath.Join("..", "verify", "receipt", "example_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	blocks := goBlock.FindAllStringSubmatch(pages(t)["docs/verifying.md"], -1)
	if len(blocks) == 0 {
		t.Error("docs/verifying.md shows no Go")
	}
	for _, b := range blocks {
		if !strings.Contains(flat(string(example)), flat(b[1])) {
			t.Errorf("no example of verify/receipt has\n%s", b[1])
		}
	}
}
