// Package specification reads the pages of docs that specify formats, for the tests that hold the
// code to them: sections, and tables in them.
package specification

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Section returns what stands in a page of docs between two texts, such as headings.
func Section(t testing.TB, page, from, to string) string {
	t.Helper()
	text, err := os.ReadFile(find(t, page))
	if err != nil {
		t.Fatal(err)
	}
	_, after, found := strings.Cut(string(text), from)
	part, _, ended := strings.Cut(after, to)
	if !found || !ended {
		t.Fatalf("docs/%s has no part from %q to %q", page, from, to)
	}
	return part
}

// find looks for the page above the folder of the test.
func find(t testing.TB, page string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, "docs", page)
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above the test")
		}
	}
}

// Says reports whether a section has a text, however its lines are broken.
func Says(section, text string) bool {
	flat := func(s string) string { return strings.Join(strings.Fields(s), " ") }
	return strings.Contains(flat(section), flat(text))
}

// Table returns the rows of the first table of a section whose heading begins with some cells,
// without heading and rule. Cells have no white space around them.
func Table(t testing.TB, section string, heading ...string) [][]string {
	t.Helper()
	var rows [][]string
	found := false
	for line := range strings.Lines(section) {
		cells := cellsOf(line)
		switch {
		case cells == nil && found:
			return rows[1:] // without the rule
		case cells == nil:
		case found:
			rows = append(rows, cells)
		default:
			found = len(cells) >= len(heading)
			for i := 0; found && i < len(heading); i++ {
				found = cells[i] == heading[i]
			}
		}
	}
	if len(rows) < 2 {
		t.Fatalf("no table %q", heading)
	}
	return rows[1:]
}

// cellsOf returns the cells of a row, or nil for another line.
func cellsOf(line string) []string {
	line = strings.TrimSpace(line)
	if !strings.HasPrefix(line, "|") {
		return nil
	}
	cells := strings.Split(strings.Trim(line, "|"), "|")
	for i := range cells {
		cells[i] = strings.TrimSpace(cells[i])
	}
	return cells
}
