package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Every kind of file begins with a summary of what it is and says; what is malformed is refused,
// and harms nobody.
func TestInspectSummarisesEveryKind(t *testing.T) {
	kinds := map[string]string{
		"bundle": "a bundle: ", "receipt": "a receipt of entry", "collateral": "collateral: ", "dossier": "a dossier: ", "contradiction": "a contradiction: ",
		"challenge": "a challenge", "policy": "an appraisal policy: ", "submission": "a submission: ", "entry": "an entry of a log",
		"exceptions": "a note of exceptions: ", "statement": "a statement of a registrar", "opening": "an opening", "split-view": "a split view: ",
	}
	files, err := filepath.Glob(filepath.Join("..", "..", "testdata", "formats", "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	for _, folder := range []string{"splitviews", "receipts", "dossiers", "contradictions"} {
		more, err := filepath.Glob(filepath.Join("..", "..", "testdata", folder, "*.json"))
		if err != nil || len(more) == 0 {
			t.Fatal(err)
		}
		files = append(files, more[:10]...)
	}
	seen := make(map[string]int)
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var v struct {
			Format, Input, Expect, Receipt, Dossier, Contradiction string
			SplitView                                              string `json:"split_view"`
		}
		if err := json.Unmarshal(b, &v); err != nil {
			t.Fatal(err)
		}
		for format, input := range map[string]string{"split-view": v.SplitView, "receipt": v.Receipt, "dossier": v.Dossier, "contradiction": v.Contradiction} {
			if input != "" {
				v.Format, v.Input, v.Expect = format, input, ""
			}
		}
		s, shown, err := inspect([]byte(v.Input))
		want, known := kinds[v.Format]
		if err != nil || !known || shown == nil || v.Expect == "refused" {
			continue
		}
		seen[v.Format]++
		var out bytes.Buffer
		s.print(&out, "FILE")
		if !strings.HasPrefix(out.String(), "FILE: "+want) || len(s.fields) == 0 || !strings.Contains(out.String(), "nothing of it is verified\n") {
			t.Errorf("%s: %s", filepath.Base(path), out.String())
		}
	}
	for kind := range kinds {
		if seen[kind] == 0 {
			t.Errorf("no vector of a %s is summarised", kind)
		}
	}
}
