package cddl

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Parse parses rules.
func Parse(text string) (s *Schema, err error) {
	p := &parser{tokens: tokens(text)}
	s = &Schema{rules: make(map[string]node)}
	for _, k := range []string{"tstr", "uint", "bool", "null", "any"} {
		s.rules[k] = keyword(k)
	}
	for p.err == nil && p.peek() != "" {
		id := p.next()
		p.want("=")
		if _, ok := s.rules[id]; ok {
			p.fail("rule %q twice", id)
		}
		s.rules[id] = p.typ()
	}
	for _, n := range p.names {
		if _, ok := s.rules[n]; !ok {
			p.fail("rule %q is not defined", n)
		}
	}
	return s, p.err
}

// Rules returns how many rules there are beside the prelude's.
func (s *Schema) Rules() int { return len(s.rules) - 5 }

var tokenRE = regexp.MustCompile(`;[^\n]*|\s+|"(?:[^"\\]|\\.)*"|\.\.|\.[a-z]+|[0-9]*\*[0-9]*|[A-Za-z_$@][A-Za-z0-9_.$@-]*|[0-9]+|.`)

func tokens(text string) (all []string) {
	for _, t := range tokenRE.FindAllString(text, -1) {
		if t = strings.TrimSpace(t); t != "" && t[0] != ';' {
			all = append(all, t)
		}
	}
	return all
}

type parser struct {
	tokens []string
	names  []string // that were used
	err    error
}

func (p *parser) fail(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf(format, args...)
	}
}

func (p *parser) at(i int) string {
	if p.err != nil || i >= len(p.tokens) {
		return ""
	}
	return p.tokens[i]
}

func (p *parser) peek() string { return p.at(0) }

func (p *parser) next() string {
	t := p.at(0)
	if t == "" {
		p.fail("the rules end early")
		return ""
	}
	p.tokens = p.tokens[1:]
	return t
}

func (p *parser) want(t string) {
	if got := p.next(); got != t {
		p.fail("%q before %.40q: want %q", got, p.tokens[:min(5, len(p.tokens))], t)
	}
}

func (p *parser) try(t string) bool {
	if p.peek() != t {
		return false
	}
	p.next()
	return true
}

func (p *parser) typ() choice {
	out := choice{p.one()}
	for p.try("/") {
		out = append(out, p.one())
	}
	return out
}

// one is a type with its control or range.
func (p *parser) one() node {
	n := p.primary()
	switch p.peek() {
	case "..":
		p.next()
		return span{p.bound(n), p.bound(p.primary())}
	case ".regexp":
		p.next()
		re, err := regexp.Compile("^(?:" + unquote(p.next()) + ")$")
		if err != nil {
			p.fail("%w", err)
		}
		return patterned{n, re}
	case ".size":
		p.next()
		p.want("(")
		size, ok := p.one().(span)
		p.want(")")
		if !ok {
			p.fail(".size: want a range")
		}
		return sized{n, size}
	}
	return n
}

func (p *parser) bound(n node) uint64 {
	if l, ok := n.(literal); ok {
		if u, ok := uintOf(l.value); ok {
			return u
		}
	}
	p.fail("bound %v of a range: want a number", n)
	return 0
}

func unquote(s string) string {
	u, err := strconv.Unquote(s)
	if err != nil {
		return s
	}
	return u
}

func (p *parser) primary() node {
	switch t := p.next(); {
	case t == "{":
		return object{p.group("}")}
	case t == "[":
		return list{p.group("]")}
	case t == "(":
		return p.group(")")
	case t != "" && t[0] == '"':
		return literal{unquote(t)}
	case t != "" && t[0] >= '0' && t[0] <= '9':
		return literal{json.Number(t)}
	case t != "" && isName(t):
		p.names = append(p.names, t)
		return name(t)
	default:
		p.fail("%q: want a type", t)
		return nil
	}
}

func isName(t string) bool { return t[0] >= 'a' && t[0] <= 'z' || t[0] >= 'A' && t[0] <= 'Z' }

func (p *parser) group(end string) (g group) {
	for p.err == nil && !p.try(end) {
		e := entry{min: 1, max: 1}
		switch t := p.peek(); {
		case t == "?":
			p.next()
			e.min = 0
		case strings.Contains(t, "*") && t[0] != '"':
			p.next()
			from, to, _ := strings.Cut(t, "*")
			e.min, _ = strconv.Atoi(from)
			e.max = -1
			if to != "" {
				e.max, _ = strconv.Atoi(to)
			}
		}
		if p.at(1) == ":" {
			e.key = unquote(p.next())
			p.want(":")
		}
		e.of = p.typ()
		g = append(g, e)
		p.try(",")
	}
	return g
}
