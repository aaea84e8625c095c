package agree

import (
	"encoding/json"
	"strings"
	"testing"
)

// A tree is a JSON value whose members keep their order and may be there twice.
type tree struct {
	kind  byte // '{', '[' or 0 for a scalar
	names []string
	kids  []*tree
	raw   string // of a scalar, as it stands in the file
}

// parseTree reads canonical JSON; it is for files that are known to be well-formed.
func parseTree(b []byte) *tree {
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.UseNumber()
	var read func(token json.Token) *tree
	next := func() *tree {
		token, err := d.Token()
		if err != nil {
			panic(err)
		}
		return read(token)
	}
	read = func(token json.Token) *tree {
		delim, ok := token.(json.Delim)
		if !ok {
			return &tree{raw: scalar(token)}
		}
		v := &tree{kind: byte(delim)}
		for d.More() {
			if delim == '{' {
				name, err := d.Token()
				if err != nil {
					panic(err)
				}
				v.names = append(v.names, name.(string))
			}
			v.kids = append(v.kids, next())
		}
		if _, err := d.Token(); err != nil {
			panic(err)
		}
		return v
	}
	return next()
}

func scalar(token any) string {
	switch v := token.(type) {
	case string:
		return quote(v)
	case bool:
		if v {
			return "true"
		}
		return "false"
	case json.Number:
		return v.String()
	}
	return "null"
}

var escaped = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

// quote writes a string as the canonical form does, whatever is in it.
func quote(s string) string {
	return `"` + escaped.Replace(s) + `"`
}

func (v *tree) clone() *tree {
	c := *v
	c.names = append([]string(nil), v.names...)
	c.kids = make([]*tree, len(v.kids))
	for i, k := range v.kids {
		c.kids[i] = k.clone()
	}
	return &c
}

// nodes are all values of a tree, itself first.
func (v *tree) nodes() []*tree {
	all := []*tree{v}
	for _, k := range v.kids {
		all = append(all, k.nodes()...)
	}
	return all
}

func (v *tree) remove(i int) {
	v.kids = append(v.kids[:i:i], v.kids[i+1:]...)
	if v.kind == '{' {
		v.names = append(v.names[:i:i], v.names[i+1:]...)
	}
}

func (v *tree) insert(i int, name string, kid *tree) {
	v.kids = append(v.kids[:i:i], append([]*tree{kid}, v.kids[i:]...)...)
	if v.kind == '{' {
		v.names = append(v.names[:i:i], append([]string{name}, v.names[i:]...)...)
	}
}

func (v *tree) swap(i, j int) {
	v.kids[i], v.kids[j] = v.kids[j], v.kids[i]
	if v.kind == '{' {
		v.names[i], v.names[j] = v.names[j], v.names[i]
	}
}

// get is the member of this name, or nil.
func (v *tree) get(path ...string) *tree {
	for _, name := range path {
		found := (*tree)(nil)
		for i, n := range v.names {
			if n == name {
				found = v.kids[i]
			}
		}
		if found == nil {
			return nil
		}
		v = found
	}
	return v
}

// set gives a member that is there another value.
func (v *tree) set(raw string, path ...string) {
	if m := v.get(path...); m != nil {
		*m = tree{raw: raw}
	}
}

// write appends the canonical form, or with indentation that of appraisal policies.
func (v *tree) write(b *strings.Builder, indent int) {
	if v.kind == 0 {
		b.WriteString(v.raw)
		return
	}
	line := func(depth int) {
		if indent >= 0 {
			b.WriteString("\n" + strings.Repeat("  ", depth))
		}
	}
	b.WriteByte(v.kind)
	for i, k := range v.kids {
		if i > 0 {
			b.WriteByte(',')
		}
		line(indent + 1)
		if v.kind == '{' {
			b.WriteString(quote(v.names[i]) + ":")
			if indent >= 0 {
				b.WriteByte(' ')
			}
		}
		if indent >= 0 {
			k.write(b, indent+1)
		} else {
			k.write(b, -1)
		}
	}
	if len(v.kids) > 0 {
		line(indent)
	}
	b.WriteByte(v.kind + 2) // '}' and ']' stand two behind their openings
}

func (v *tree) bytes(indented bool) []byte {
	var b strings.Builder
	if indented {
		v.write(&b, 0)
		b.WriteByte('\n')
	} else {
		v.write(&b, -1)
	}
	return []byte(b.String())
}

func TestTreesAreWrittenAsTheyWereRead(t *testing.T) {
	for _, v := range formatVectors(t) {
		if v.Expect != "ok" || v.Format == "identity" {
			continue
		}
		if got := string(parseTree([]byte(v.Input)).bytes(indented(v.Format))); got != v.Input {
			t.Errorf("%s:\n%s\n%s", v.Desc, got, v.Input)
		}
	}
}
