package poclog_test

import (
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"testing"

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
