package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strings"
)

// A mutant is one changed condition.
type mutant struct {
	id   int
	file string // relative to the module
	line int
	in   string // the function or variable that it is in
	from string // the whole condition, on one line
	to   string // what it becomes
	nth  int    // of those in one function with the same change, from 1
	root int    // id of the condition, which its mutants share: that of the first of them
}

// key names a mutant across changes elsewhere in its file.
func (m *mutant) key() string { return m.file + " " + m.change() }

// change says what is changed, and in what.
func (m *mutant) change() string {
	c := fmt.Sprintf("%s: %s => %s", m.in, m.from, m.to)
	if m.nth > 1 {
		c += fmt.Sprintf(" (%d)", m.nth)
	}
	return c
}

// An edit replaces a part of a file.
type edit struct {
	start, end int
	text       string
}

// A mutator rewrites one file so that every condition asks which mutant is on.
type mutator struct {
	name    string // of the file, relative to the module
	src     []byte
	base    int // offset of the file in its set
	fset    *token.FileSet
	next    *int // the next mutant's id
	mutants []*mutant
	in      string
}

// names of what the generated file of a package declares.
const (
	pickName = "mutant__"
	fileName = "zz_mutant.go"
)

// mutate returns a file's mutants and its text with all of them in it.
func mutate(name string, src []byte, next *int) ([]*mutant, []byte, error) {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, name, src, parser.SkipObjectResolution)
	if err != nil {
		return nil, nil, err
	}
	m := &mutator{name: name, src: src, base: int(f.FileStart), fset: fset, next: next}
	var edits []edit
	for _, d := range f.Decls {
		if g, ok := d.(*ast.GenDecl); ok && g.Tok != token.VAR {
			continue
		}
		m.in = nameOf(d)
		edits = append(edits, m.conditions(d)...)
	}
	m.number()
	return m.mutants, m.render(0, len(src), edits), nil
}

// number tells apart mutants of one function that look the same.
func (m *mutator) number() {
	seen := make(map[string]int)
	for _, x := range m.mutants {
		k := x.in + ": " + x.from + " => " + x.to
		seen[k]++
		x.nth = seen[k]
	}
}

// nameOf is how a declaration is called: a method after its receiver's type.
func nameOf(d ast.Decl) string {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil {
			return d.Name.Name
		}
		t := d.Recv.List[0].Type
		if star, ok := t.(*ast.StarExpr); ok {
			t = star.X
		}
		if id, ok := t.(*ast.Ident); ok {
			return id.Name + "." + d.Name.Name
		}
	case *ast.GenDecl:
		if v, ok := d.Specs[0].(*ast.ValueSpec); ok {
			return v.Names[0].Name
		}
	}
	return "?"
}

// conditions finds the conditions below a node, and returns the edits that put their mutants in.
func (m *mutator) conditions(n ast.Node) (edits []edit) {
	ast.Inspect(n, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.IfStmt:
			edits = append(edits, m.parts(n.Init)...)
			edits = append(edits, m.condition(n.Cond)...)
			edits = append(edits, m.parts(n.Body)...)
			edits = append(edits, m.parts(n.Else)...)
			return false
		case *ast.ForStmt:
			edits = append(edits, m.parts(n.Init)...)
			if n.Cond != nil {
				edits = append(edits, m.condition(n.Cond)...)
			}
			edits = append(edits, m.parts(n.Post)...)
			edits = append(edits, m.parts(n.Body)...)
			return false
		case *ast.SwitchStmt:
			edits = append(edits, m.cases(n)...)
			return false
		case ast.Expr:
			if isCondition(n) {
				edits = append(edits, m.condition(n)...)
				return false
			}
		}
		return true
	})
	return edits
}

// parts is conditions for what may be absent.
func (m *mutator) parts(n ast.Node) []edit {
	if n == nil || n == ast.Stmt(nil) || n == ast.Stmt((*ast.BlockStmt)(nil)) {
		return nil
	}
	return m.conditions(n)
}

// cases takes the cases of a switch without a tag for conditions.
func (m *mutator) cases(s *ast.SwitchStmt) (edits []edit) {
	edits = append(edits, m.parts(s.Init)...)
	if s.Tag != nil {
		edits = append(edits, m.conditions(s.Tag)...)
	}
	for _, c := range s.Body.List {
		c := c.(*ast.CaseClause)
		for _, e := range c.List {
			if s.Tag == nil {
				edits = append(edits, m.condition(e)...)
			} else {
				edits = append(edits, m.conditions(e)...)
			}
		}
		for _, b := range c.Body {
			edits = append(edits, m.conditions(b)...)
		}
	}
	return edits
}

// isCondition reports whether an expression is one wherever it stands.
func isCondition(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.BinaryExpr:
		return e.Op == token.LAND || e.Op == token.LOR || comparisons[e.Op] != nil
	case *ast.UnaryExpr:
		return e.Op == token.NOT
	}
	return false
}

// comparisons are what a comparison may become: its opposite first, and then its neighbour at the
// boundary.
var comparisons = map[token.Token][]token.Token{
	token.EQL: {token.NEQ}, token.NEQ: {token.EQL},
	token.LSS: {token.GEQ, token.LEQ}, token.LEQ: {token.GTR, token.LSS},
	token.GTR: {token.LEQ, token.GEQ}, token.GEQ: {token.LSS, token.GTR},
}

// condition makes the mutants of one condition, and the edit that puts them in. Function literals
// within it have conditions of their own.
func (m *mutator) condition(e ast.Expr) []edit {
	own := m.within(e)
	start, end := m.at(e.Pos()), m.at(e.End())
	variants := m.variants(e)
	if len(variants) == 0 {
		return own
	}
	root := *m.next
	original := m.render(start, end, own)
	var b bytes.Buffer
	fmt.Fprintf(&b, "func() bool { switch %s(%d) {", pickName, root)
	for _, v := range variants {
		x := &mutant{id: *m.next, file: m.name, line: m.fset.Position(e.Pos()).Line, in: m.in, root: root}
		*m.next++
		x.from, x.to = oneLine(m.src[start:end]), oneLine(m.render(start, end, v))
		m.mutants = append(m.mutants, x)
		fmt.Fprintf(&b, " case %d: return %s\n", x.id, m.render(start, end, slices.Concat(v, own)))
	}
	fmt.Fprintf(&b, "}; return %s\n}()", original)
	return []edit{{start, end, b.String()}}
}

// within has the conditions of function literals and arguments below a condition.
func (m *mutator) within(e ast.Expr) (edits []edit) {
	ast.Inspect(e, func(n ast.Node) bool {
		if f, ok := n.(*ast.FuncLit); ok {
			edits = append(edits, m.conditions(f.Body)...)
			return false
		}
		return true
	})
	return edits
}

// variants are the edits of each mutant of a condition.
func (m *mutator) variants(e ast.Expr) (list [][]edit) {
	switch e := e.(type) {
	case *ast.ParenExpr:
		return m.variants(e.X)
	case *ast.UnaryExpr:
		if e.Op == token.NOT {
			list = append(list, []edit{{m.at(e.OpPos), m.at(e.OpPos) + 1, ""}})
			if inner := unparen(e.X); isCondition(inner) {
				list = append(list, m.variants(inner)...)
			}
			return list
		}
	case *ast.BinaryExpr:
		if e.Op == token.LAND || e.Op == token.LOR {
			return m.chain(operands(e, e.Op))
		}
		for _, op := range comparisons[e.Op] {
			list = append(list, []edit{{m.at(e.OpPos), m.at(e.OpPos) + len(e.Op.String()), op.String()}})
		}
		if list != nil {
			return list
		}
	}
	// A call, a variable: its opposite.
	return [][]edit{{{m.at(e.Pos()), m.at(e.Pos()), "!("}, {m.at(e.End()), m.at(e.End()), ")"}}}
}

// operands are the sides of a chain of one operator.
func operands(e ast.Expr, op token.Token) []ast.Expr {
	if b, ok := e.(*ast.BinaryExpr); ok && b.Op == op {
		return append(operands(b.X, op), operands(b.Y, op)...)
	}
	return []ast.Expr{e}
}

// chain drops each operand of && or || in turn, and has the mutants of each. That a bare one is
// turned around says no more than that it is dropped.
func (m *mutator) chain(of []ast.Expr) (list [][]edit) {
	for i, e := range of {
		if i == 0 {
			list = append(list, []edit{{m.at(e.Pos()), m.at(of[1].Pos()), ""}})
		} else {
			list = append(list, []edit{{m.at(of[i-1].End()), m.at(e.End()), ""}})
		}
	}
	for _, e := range of {
		if inner := unparen(e); isCondition(inner) {
			list = append(list, m.variants(inner)...)
		}
	}
	return list
}

func unparen(e ast.Expr) ast.Expr {
	for {
		p, ok := e.(*ast.ParenExpr)
		if !ok {
			return e
		}
		e = p.X
	}
}

func (m *mutator) at(p token.Pos) int { return int(p) - m.base }

// render is a part of the file with edits. One that lies within another is part of that one
// already.
func (m *mutator) render(start, end int, edits []edit) []byte {
	edits = slices.Clone(edits)
	slices.SortStableFunc(edits, func(a, b edit) int {
		if a.start != b.start {
			return a.start - b.start
		}
		return b.end - a.end
	})
	var out []byte
	at := start
	for _, e := range edits {
		if e.start < at || e.end > end {
			continue
		}
		out = append(append(out, m.src[at:e.start]...), e.text...)
		at = e.end
	}
	return append(out, m.src[at:end]...)
}

// oneLine makes a condition readable in a list.
func oneLine(b []byte) string { return strings.Join(strings.Fields(string(b)), " ") }
