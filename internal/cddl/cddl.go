// Package cddl matches JSON against the part of CDDL (RFC 8610) that docs/format.md uses, so that
// tests hold the page to the files: rules, choices, ranges, maps with literal keys, arrays,
// occurrences, groups by name, and the controls .regexp and .size. What it does not know it
// refuses to parse. Tests alone import it. The order of members, which CDDL does not express, is
// not its concern.
package cddl

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strconv"
)

// A Schema is a set of rules by name.
type Schema struct {
	rules map[string]node
}

// A node is a type, or a group.
type node interface {
	// match returns why a value is not of the type, or nil.
	match(s *Schema, v any) error
}

type (
	choice  []node
	name    string
	literal struct{ value any } // string, or json.Number
	span    struct{ min, max uint64 }
	sized   struct {
		of   node
		size span
	}
	patterned struct {
		of node
		re *regexp.Regexp
	}
	group   []entry
	object  struct{ group }
	list    struct{ group }
	keyword string // of the prelude
)

// An entry is a member of a map, an element of an array, or a group by name.
type entry struct {
	key      string // of a member, or empty
	min, max int    // how often; max < 0: any number
	of       node
}

// Match reports why a JSON text is not of a rule's type, or nil.
func (s *Schema) Match(rule string, text []byte) error {
	if _, ok := s.rules[rule]; !ok {
		return fmt.Errorf("no rule %q", rule)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("more than one value")
	}
	if err := name(rule).match(s, v); err != nil {
		return fmt.Errorf("%s: %w", rule, err)
	}
	return nil
}

func (c choice) match(s *Schema, v any) error {
	var err error
	for _, n := range c {
		if err = n.match(s, v); err == nil {
			return nil
		}
	}
	if len(c) == 1 {
		return err
	}
	return fmt.Errorf("%.60v is none of %d choices, the last: %w", v, len(c), err)
}

func (n name) match(s *Schema, v any) error { return s.rules[string(n)].match(s, v) }

func (l literal) match(_ *Schema, v any) error {
	if v != l.value {
		return fmt.Errorf("%.60v is not %v", v, l.value)
	}
	return nil
}

// uintOf returns the number that a value is, in its one decimal form.
func uintOf(v any) (uint64, bool) {
	n, ok := v.(json.Number)
	if !ok {
		return 0, false
	}
	u, err := strconv.ParseUint(n.String(), 10, 64)
	return u, err == nil && strconv.FormatUint(u, 10) == n.String()
}

func (r span) holds(n uint64) bool { return n >= r.min && n <= r.max }

func (r span) match(_ *Schema, v any) error {
	if n, ok := uintOf(v); !ok || !r.holds(n) {
		return fmt.Errorf("%.60v is not %d..%d", v, r.min, r.max)
	}
	return nil
}

func (z sized) match(s *Schema, v any) error {
	text, ok := v.(string)
	if !ok || !z.size.holds(uint64(len(text))) {
		return fmt.Errorf("%.60v is no string of %d..%d bytes", v, z.size.min, z.size.max)
	}
	return z.of.match(s, v)
}

func (p patterned) match(s *Schema, v any) error {
	text, ok := v.(string)
	if !ok || !p.re.MatchString(text) {
		return fmt.Errorf("%.60v does not match %s", v, p.re)
	}
	return p.of.match(s, v)
}

func (k keyword) match(_ *Schema, v any) error {
	ok := false
	switch k {
	case "tstr":
		_, ok = v.(string)
	case "uint":
		_, ok = uintOf(v)
	case "bool":
		_, ok = v.(bool)
	case "null":
		ok = v == nil
	case "any":
		ok = true
	}
	if !ok {
		return fmt.Errorf("%.60v is no %s", v, string(k))
	}
	return nil
}

// match of a group as a type: it stands in parentheses.
func (g group) match(s *Schema, v any) error {
	if len(g) != 1 || g[0].key != "" {
		return fmt.Errorf("a group is no type")
	}
	return g[0].of.match(s, v)
}

// flat returns a group's entries with those of the groups that it names.
func (s *Schema) flat(g group) (all []entry) {
	for _, e := range g {
		n, isName := e.of.(choice)
		if e.key == "" && isName && len(n) == 1 {
			if r, ok := n[0].(name); ok {
				if inner, ok := s.rules[string(r)].(choice); ok && len(inner) == 1 {
					if g, ok := inner[0].(group); ok && len(g) > 0 && g[0].key != "" {
						all = append(all, s.flat(g)...)
						continue
					}
				}
			}
		}
		all = append(all, e)
	}
	return all
}

func (o object) match(s *Schema, v any) error {
	m, ok := v.(map[string]any)
	if !ok {
		return fmt.Errorf("%.60v is no map", v)
	}
	known := 0
	for _, e := range s.flat(o.group) {
		x, ok := m[e.key]
		switch {
		case !ok && e.min > 0:
			return fmt.Errorf("without member %q", e.key)
		case !ok:
			continue
		}
		known++
		if err := e.of.match(s, x); err != nil {
			return fmt.Errorf("%s: %w", e.key, err)
		}
	}
	if known != len(m) {
		return fmt.Errorf("%d members of which %d are known", len(m), known)
	}
	return nil
}

func (l list) match(s *Schema, v any) error {
	rest, ok := v.([]any)
	if !ok {
		return fmt.Errorf("%.60v is no array", v)
	}
	at := 0
	for _, e := range s.flat(l.group) {
		n := 0
		var err error
		for ; len(rest) > 0 && (e.max < 0 || n < e.max); n++ {
			if err = e.of.match(s, rest[0]); err != nil {
				break
			}
			rest, at = rest[1:], at+1
		}
		if n < e.min {
			return fmt.Errorf("element %d: %d of at least %d (%v)", at, n, e.min, err)
		}
		if err != nil && e.max != 1 {
			return fmt.Errorf("element %d: %w", at, err)
		}
	}
	if len(rest) > 0 {
		return fmt.Errorf("%d elements too many", len(rest))
	}
	return nil
}
