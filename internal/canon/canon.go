// Package canon is the one codec of the project's canonical JSON, docs/format.md §1: RFC 8785 with
// members in one fixed order, printable ASCII strings in which only `"` and `\` are escaped,
// integers below 2³² as numbers and wider ones as decimal strings, no floats and no white space.
//
// A format is one function over a [Codec], which reads and writes: each rule stands once, and holds
// in both directions. For every file x that is read, writing what was read gives x again; what
// could not be read is not written. A Codec never panics on what it reads, and bounds every string
// and list before it allocates. FuzzMalleability of package poclog holds all formats to it.
package canon

import (
	"bytes"
	"fmt"
)

// A Codec reads a file, or writes one. The first error stays. After it every value that is read is
// zero.
type Codec struct {
	buf     []byte // the file that is read, or what was written so far
	off     int    // of the next byte to be read
	err     error
	writing bool
}

// Read reads a file, which must end where code ends.
func Read(file []byte, code func(*Codec)) error {
	c := &Codec{buf: file}
	code(c)
	if c.err == nil && c.off != len(c.buf) {
		c.Failf("%d trailing bytes", len(c.buf)-c.off)
	}
	return c.err
}

// Write returns the file that code writes, of at most limit bytes.
func Write(limit int, code func(*Codec)) ([]byte, error) {
	c := &Codec{buf: make([]byte, 0, 1024), writing: true}
	code(c)
	if c.err == nil && len(c.buf) > limit {
		return nil, fmt.Errorf("%d bytes: want at most %d", len(c.buf), limit)
	}
	if c.err != nil {
		return nil, c.err
	}
	return c.buf, nil
}

// Reading reports whether values are read, and not written.
func (c *Codec) Reading() bool { return !c.writing }

// Err returns the first error.
func (c *Codec) Err() error { return c.err }

// before returns all that was read or written so far.
func (c *Codec) before() []byte {
	if c.writing {
		return c.buf
	}
	return c.buf[:c.off]
}

// Before calls f with all that stands before the next byte. Nothing is called after an error.
func (c *Codec) Before(f func(file []byte)) {
	if c.err == nil {
		f(c.before())
	}
}

// Failf ends reading or writing with an error, unless there was one before.
func (c *Codec) Failf(format string, args ...any) {
	if c.err != nil {
		return
	}
	c.err = fmt.Errorf(format, args...)
	if !c.writing {
		c.err = fmt.Errorf("byte %d: %w", c.off, c.err)
	}
}

// Check fails unless ok.
func (c *Codec) Check(ok bool, format string, args ...any) {
	if !ok && c.err == nil {
		c.Failf(format, args...)
	}
}

// Lit is exactly s.
func (c *Codec) Lit(s string) {
	switch {
	case c.err != nil:
	case c.writing:
		c.buf = append(c.buf, s...)
	case !c.try(s):
		c.Failf("want %s, have %.24q", s, c.buf[c.off:])
	}
}

// Either is s if ok, as far as writing goes. It reports whether s stands there.
func (c *Codec) Either(s string, ok bool) bool {
	if c.writing {
		if ok {
			c.Lit(s)
		}
		return ok && c.err == nil
	}
	return c.try(s)
}

// try reads s if it comes next.
func (c *Codec) try(s string) bool {
	if c.err != nil || len(c.buf)-c.off < len(s) || string(c.buf[c.off:c.off+len(s)]) != s {
		return false
	}
	c.off += len(s)
	return true
}

// first reports whether the next member or element is the first of its object or list.
func (c *Codec) first() bool {
	b := c.before()
	return len(b) > 0 && (b[len(b)-1] == '{' || b[len(b)-1] == '[')
}

// Member is the name of a required member. Its value follows.
func (c *Codec) Member(name string) *Codec {
	if !c.Optional(name, true) {
		c.Failf("want member %q, have %.32q", name, c.buf[c.off:])
	}
	return c
}

// Optional is the name of a member that may be left out: when writing, unless present. It reports
// whether the value follows.
func (c *Codec) Optional(name string, present bool) bool {
	if c.err != nil {
		return false
	}
	if !c.writing {
		return c.has(name)
	}
	if present {
		if !c.first() {
			c.buf = append(c.buf, ',')
		}
		c.buf = append(append(append(c.buf, '"'), name...), '"', ':')
	}
	return present
}

// has reads the name of a member if it comes next.
func (c *Codec) has(name string) bool {
	rest := c.buf[c.off:]
	if !c.first() {
		if len(rest) == 0 || rest[0] != ',' {
			return false
		}
		rest = rest[1:]
	}
	if len(rest) < len(name)+3 || rest[0] != '"' || string(rest[1:1+len(name)]) != name || rest[1+len(name)] != '"' || rest[2+len(name)] != ':' {
		return false
	}
	c.off = len(c.buf) - len(rest) + len(name) + 3
	return true
}

// Object is an object whose members are those of f.
func (c *Codec) Object(f func()) {
	c.Lit("{")
	if c.err == nil {
		f()
	}
	c.Lit("}")
}

// Raw is an object in the same form, whose members are not looked at here: it is 2 to max bytes
// long.
func (c *Codec) Raw(b *[]byte, max int) {
	if c.writing {
		c.Check(len(*b) <= max && extent(*b) == len(*b), "want an object of at most %d bytes", max)
		c.buf = append(c.buf, *b...)
		return
	}
	if c.err != nil {
		return
	}
	rest := c.buf[c.off:]
	n := extent(rest[:min(len(rest), max)])
	if n == 0 {
		c.Failf("want an object of at most %d bytes, have %.24q", max, rest)
		return
	}
	*b = rest[:n:n]
	c.off += n
}

// extent returns the length of the object at the beginning of b, or 0 if b does not begin with a
// whole one.
func extent(b []byte) int {
	if len(b) == 0 || b[0] != '{' {
		return 0
	}
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			if i += 1 + stringEnd(b[i+1:]); i >= len(b) {
				return 0
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return 0
}

// stringEnd returns where the quote is that ends the string of which b is the rest, or len(b).
func stringEnd(b []byte) int {
	at, quote := 0, -1
	for at < len(b) {
		if quote < at {
			next := bytes.IndexByte(b[at:], '"')
			if next < 0 {
				break
			}
			quote = at + next
		}
		escape := bytes.IndexByte(b[at:quote], '\\')
		if escape < 0 {
			return quote
		}
		at += escape + 2
	}
	return len(b)
}
