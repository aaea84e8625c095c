package poclog_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/poclog/poclog/internal/specification"
)

var inTicks = regexp.MustCompile("`([^`]+)`")

// TestVectorsAreDescribed holds testdata/README.md to the vectors: every folder has a row, which
// names each member that a vector of it has, and every refusal is by an id that the page lists.
func TestVectorsAreDescribed(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("testdata", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	folders, err := filepath.Glob(filepath.Join("testdata", "*", ""))
	if err != nil {
		t.Fatal(err)
	}
	described := make(map[string][]string)
	for _, row := range specification.Table(t, string(page), "folder") {
		name := strings.Trim(row[0], "`")
		for _, m := range inTicks.FindAllStringSubmatch(row[1]+row[2], -1) {
			described[name] = append(described[name], m[1])
		}
		if strings.HasPrefix(name, "..") {
			folders = append(folders, filepath.Join("testdata", name))
		}
	}
	_, ids, _ := strings.Cut(string(page), "Step ids")
	for _, folder := range folders {
		if info, err := os.Stat(folder); err != nil || !info.IsDir() {
			if err != nil {
				t.Error(err)
			}
			continue
		}
		name, err := filepath.Rel("testdata", folder)
		if err != nil {
			t.Fatal(err)
		}
		files, err := filepath.Glob(filepath.Join(folder, "*.json"))
		if err != nil || len(files) == 0 || described[name] == nil {
			t.Errorf("%s: %d vectors, %d words in testdata/README.md (%v)", name, len(files), len(described[name]), err)
			continue
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var v map[string]any
			if err := json.Unmarshal(text, &v); err != nil {
				t.Fatal(err)
			}
			for member := range v {
				if member != "desc" && member != "expect" && !slices.Contains(described[name], member) {
					t.Errorf("%s has a member %s, which testdata/README.md does not name", file, member)
				}
			}
			if id, ok := stepOf(name, v); ok && !strings.Contains(ids, "`"+id+"`") {
				t.Errorf("%s: testdata/README.md does not list the step %s", file, id)
			}
		}
	}
}

// stepOf is the step or demand that refuses a vector, of the folders that name one.
func stepOf(folder string, v map[string]any) (string, bool) {
	expect, ok := v["expect"].(string)
	if !ok {
		return "", false
	}
	switch folder {
	case "receipts", "splitviews", "stapled":
		return expect, !slices.Contains([]string{"logged", "audited", "proven"}, expect)
	case "contradictions", "dossiers", "indexes-wrong":
		return strings.CutPrefix(expect, "refused: ")
	}
	return "", false
}
