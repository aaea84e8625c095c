package canon

import (
	"slices"
)

// Str is a string of at most max bytes.
func Str[S ~string](c *Codec, s *S, max int) {
	if !c.writing {
		*s = S(c.quoted(max))
		return
	}
	c.Check(len(*s) <= max && Printable(string(*s)), "string %.60q: want at most %d bytes of printable ASCII", *s, max)
	c.quote(string(*s))
}

// Word is a string of 1 to max bytes; what says in an error whose it is.
func Word[S ~string](c *Codec, what string, s *S, max int) {
	Str(c, s, max)
	if *s == "" {
		c.Failf("%s: want 1 to %d bytes", what, max)
	}
}

// OneOf is a string that is one of a list.
func OneOf[S ~string](c *Codec, what string, s *S, list []S) {
	if c.writing {
		c.Check(slices.Contains(list, *s), "%s %.40q: unknown", what, *s)
		c.quote(string(*s))
		return
	}
	raw, _ := c.raw(128)
	for _, v := range list {
		if string(raw) == string(v) {
			*s = v
			return
		}
	}
	c.Check(false, "%s %.40q: unknown", what, raw)
}

func (c *Codec) quote(s string) {
	if c.err != nil {
		return
	}
	c.buf = append(c.buf, '"')
	for i := 0; i < len(s); i++ {
		if s[i] == '"' || s[i] == '\\' {
			c.buf = append(c.buf, '\\')
		}
		c.buf = append(c.buf, s[i])
	}
	c.buf = append(c.buf, '"')
}

// quoted reads a string. The result is a copy; it holds at most max bytes.
func (c *Codec) quoted(max int) string {
	raw, escaped := c.raw(max)
	if !escaped {
		return string(raw)
	}
	out := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); i++ {
		if raw[i] == '\\' {
			i++
		}
		out = append(out, raw[i])
	}
	if len(out) > max {
		c.Failf("string of %d bytes: want at most %d", len(out), max)
		return ""
	}
	return string(out)
}

// raw reads a string and returns what stands between its quotes.
func (c *Codec) raw(max int) (raw []byte, escaped bool) {
	c.Lit(`"`)
	if c.err != nil {
		return nil, false
	}
	// No string needs more than its bytes escaped, so that 2·max bounds the search.
	for i := c.off; i < len(c.buf) && i-c.off <= 2*max; i++ {
		switch b := c.buf[i]; {
		case plain[b]:
		case b == '"':
			raw = c.buf[c.off:i]
			if !escaped && len(raw) > max {
				c.Failf("string of %d bytes: want at most %d", len(raw), max)
				return nil, false
			}
			c.off = i + 1
			return raw, escaped
		case b == '\\':
			i++
			escaped = true
			if i == len(c.buf) || (c.buf[i] != '"' && c.buf[i] != '\\') {
				c.Failf(`escape: want \" or \\`)
				return nil, false
			}
		default:
			c.Failf("byte %#02x in a string: want printable ASCII", b)
			return nil, false
		}
	}
	if len(c.buf)-c.off <= 2*max {
		c.Failf("the input ends within this string")
		return nil, false
	}
	c.Failf("string without an end within %d bytes", max)
	return nil, false
}

// plain marks the bytes of strings that need no escape.
var plain = func() (t [256]bool) {
	for c := 0x20; c <= 0x7e; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// Printable reports whether s can stand in a canonical string.
func Printable(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return true
}
