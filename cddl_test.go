package poclog_test

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/cddl"
	"github.com/poclog/poclog/internal/vectors"
)

func schema(t *testing.T) *cddl.Schema {
	t.Helper()
	text, err := os.ReadFile("docs/format.cddl")
	if err != nil {
		t.Fatal(err)
	}
	s, err := cddl.Parse(string(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestCDDLTakesTheVectors holds docs/format.cddl to the vectors: what is accepted is of its rule.
func TestCDDLTakesTheVectors(t *testing.T) {
	s := schema(t)
	vectors.Each(t, vectorDir, func(t *testing.T, v vector) {
		if v.Format == "identity" || v.Expect != "ok" {
			return
		}
		if err := s.Match(v.Format, []byte(v.Input)); err != nil {
			t.Errorf("%s: %v", v.Desc, err)
		}
	})
}

// A filed is a vector of a folder of testdata, as far as it holds files.
type filed struct {
	Receipt       string `json:"receipt"`
	Contradiction string `json:"contradiction"`
	Dossier       string `json:"dossier"`
	IndexWrong    string `json:"index_wrong"`
	Claims        []struct {
		Leaf string `json:"leaf"`
	} `json:"claims"`
	Bundle     []byte          `json:"bundle"`
	Collateral []byte          `json:"collateral"`
	Policy     json.RawMessage `json:"policy"` // of appraisals in base64, else a tlog-policy
	Expect     json.RawMessage `json:"expect"`
}

// TestCDDLTakesTheVectorsOfOtherFolders holds it to whole files: what is not refused as malformed is
// of its rule, with what stands in it.
func TestCDDLTakesTheVectorsOfOtherFolders(t *testing.T) {
	s, matched := schema(t), make(map[string]int)
	match := func(t *testing.T, rule string, file []byte) {
		t.Helper()
		if err := s.Match(rule, file); err != nil {
			t.Errorf("%s: %v", rule, err)
		}
		matched[rule]++
	}
	leaf := func(t *testing.T, leaf []byte) {
		t.Helper()
		l, err := poclog.ParseLeaf(leaf)
		switch {
		case err != nil:
		case l.Proof != nil:
			match(t, "entry", leaf)
		case l.Config != nil:
			match(t, "config-entry", leaf)
		case l.Index != nil:
			match(t, "index-entry", leaf)
		}
	}
	receipt := func(t *testing.T, file []byte) {
		t.Helper()
		_, rest, _ := strings.Cut(string(file), "\nextra ")
		line, _, _ := strings.Cut(rest, "\n")
		extra, err := base64.StdEncoding.DecodeString(line)
		if err != nil {
			t.Fatal(err)
		}
		match(t, "receipt-extra", extra)
		r, err := poclog.ParseReceipt(file)
		if err != nil {
			t.Fatal(err)
		}
		leaf(t, r.Entry)
	}
	for _, folder := range []string{"receipts", "contradictions", "dossiers", "indexes-wrong", "rules", "stapled", "appraisals"} {
		files, err := filepath.Glob(filepath.Join("testdata", folder, "*.json"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: no vectors (%v)", folder, err)
		}
		for _, name := range files {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			var v filed
			if err := json.Unmarshal(text, &v); err != nil {
				t.Fatal(err)
			}
			t.Run(name, func(t *testing.T) {
				var expect string
				if err := json.Unmarshal(v.Expect, &expect); err == nil && strings.HasSuffix(expect, "format") {
					if folder == "receipts" && strings.Contains(name, "leaf-malformed") {
						receipt(t, []byte(v.Receipt))
					}
					return
				}
				for rule, file := range map[string]string{"contradiction": v.Contradiction, "dossier": v.Dossier, "index-wrong": v.IndexWrong} {
					if file != "" {
						match(t, rule, []byte(file))
					}
				}
				if v.Receipt != "" {
					receipt(t, []byte(v.Receipt))
				}
				for _, c := range v.Claims {
					leaf(t, []byte(c.Leaf))
				}
				if len(v.Bundle) > 0 {
					match(t, "bundle", v.Bundle)
					var policy []byte
					if err := json.Unmarshal(v.Policy, &policy); err != nil {
						t.Fatal(err)
					}
					match(t, "policy", policy)
					leaf(t, []byte(expect))
				}
				if len(v.Collateral) > 0 {
					match(t, "collateral", v.Collateral)
				}
			})
		}
	}
	for rule, least := range map[string]int{
		"receipt-extra": 100, "contradiction": 20, "dossier": 30, "index-wrong": 15, "entry": 300, "config-entry": 2, "index-entry": 2, "bundle": 20, "collateral": 15, "policy": 20,
	} {
		if matched[rule] < least {
			t.Errorf("%d files of %s: want %d", matched[rule], rule, least)
		}
	}
}

// TestCDDLRefusesNothingThatIsRead changes the vectors member by member: what the readers take
// after a change, docs/format.cddl has to allow. It must also tell most of the changes, or it would
// say nothing.
func TestCDDLRefusesNothingThatIsRead(t *testing.T) {
	s, refused, total := schema(t), 0, 0
	vectors.Each(t, vectorDir, func(t *testing.T, v vector) {
		if v.Format == "identity" || v.Format == "policy" || v.Expect != "ok" {
			return
		}
		for _, changed := range changes(v.Input) {
			w := vector{Format: v.Format, Input: changed}
			_, err := w.read()
			match := s.Match(v.Format, []byte(changed))
			if err == nil && match != nil {
				t.Errorf("%.200s is read: %v", changed, match)
			}
			if total++; match != nil {
				refused++
			}
		}
	})
	if 2*refused < total {
		t.Errorf("%d of %d changes refused", refused, total)
	}
}

// changes returns a file without each member in turn, and with each value replaced.
func changes(file string) (all []string) {
	for _, m := range spansOf(file) {
		for _, value := range []string{"null", `""`, "[]", "0", `"0"`, "{}"} {
			all = append(all, file[:m.value]+value+file[m.end:])
		}
		if m.start < m.value { // a member, not an element
			all = append(all, m.cut(file))
		}
	}
	return all
}

// A spanOf is where a member or an element stands in a canonical file. Its path has the names of
// members and the numbers of elements, with a dot between.
type spanOf struct {
	start, value, end int
	path              string
}

// cut is a file without a member.
func (m *spanOf) cut(file string) string {
	if file[m.start-1] == ',' {
		return file[:m.start-1] + file[m.end:]
	}
	return file[:m.start] + strings.TrimPrefix(file[m.end:], ",")
}

func spansOf(file string) (all []spanOf) {
	var walk func(at int, path string) int
	walk = func(at int, path string) int {
		if file[at] != '{' && file[at] != '[' {
			end := at
			for in := false; end < len(file) && (in || file[end] != ',' && file[end] != '}' && file[end] != ']'); end++ {
				if file[end] == '\\' {
					end++
				} else if file[end] == '"' {
					in = !in
				}
			}
			return end
		}
		isMap := file[at] == '{'
		at++
		for n := 0; file[at] != '}' && file[at] != ']'; n++ {
			start, name := at, strconv.Itoa(n)
			if isMap {
				quoted := key(file[at:])
				name = strings.Trim(quoted, `"`)
				at += len(quoted) + 1
			}
			name = strings.TrimPrefix(path+"."+name, ".")
			end := walk(at, name)
			all = append(all, spanOf{start, at, end, name})
			if at = end; file[at] == ',' {
				at++
			}
		}
		return at + 1
	}
	walk(0, "")
	return all
}

// key returns the quoted name at the beginning of a text.
func key(text string) string {
	for i := 1; i < len(text); i++ {
		if text[i] == '"' && json.Valid([]byte(text[:i+1])) {
			return text[:i+1]
		}
	}
	return text
}
