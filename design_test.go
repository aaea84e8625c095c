package poclog_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// The page on the design answers at least ten questions of the form "where is it?", each with one
// folder that holds code.
func TestEveryQuestionLeadsToOneFolder(t *testing.T) {
	page, err := os.ReadFile("docs/design.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "## Where is it?")
	table, _, _ = strings.Cut(table, "\n## ")
	folder := regexp.MustCompile("^`([a-z0-9/.]+)`$")
	questions := 0
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 2 || !strings.Contains(cells[0], "?") {
			continue
		}
		questions++
		question, answer := strings.TrimSpace(cells[0]), folder.FindStringSubmatch(strings.TrimSpace(cells[1]))
		if answer == nil {
			t.Errorf("%s: %q: want one folder", question, cells[1])
			continue
		}
		if files, err := os.ReadDir(answer[1]); err != nil || !hasCode(files) {
			t.Errorf("%s: %s: %v: want a folder with Go files", question, answer[1], err)
		}
	}
	if questions < 10 {
		t.Errorf("%d questions: want at least 10", questions)
	}
}

func hasCode(files []os.DirEntry) bool {
	for _, f := range files {
		if strings.HasSuffix(f.Name(), ".go") {
			return true
		}
	}
	return false
}
