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
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"time"
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
	c.Check(*s != "", "%s: want 1 to %d bytes", what, max)
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
		case b < 0x20 || b > 0x7e:
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

// Hex is a string of exactly len(b) octets in lower-case hexadecimal.
func (c *Codec) Hex(b []byte) {
	if c.writing {
		c.writeHex(b)
		return
	}
	raw, escaped := c.raw(2 * len(b))
	if c.err == nil && (escaped || len(raw) != 2*len(b) || !isLowerHex(raw)) {
		c.Failf("want %d lower-case hexadecimal digits", 2*len(b))
	}
	if c.err == nil {
		hex.Decode(b, raw)
	}
}

// HexBytes is a string of min to max octets in lower-case hexadecimal.
func (c *Codec) HexBytes(b *[]byte, min, max int) {
	if c.writing {
		c.Check(len(*b) >= min && len(*b) <= max, "%d octets: want %d to %d", len(*b), min, max)
		c.writeHex(*b)
		return
	}
	raw, escaped := c.raw(2 * max)
	if c.err == nil && (escaped || len(raw) < 2*min || len(raw)%2 != 0 || !isLowerHex(raw)) {
		c.Failf("want %d to %d octets in lower-case hexadecimal", min, max)
	}
	if c.err == nil {
		*b, _ = hex.AppendDecode(nil, raw)
	}
}

// OptionalHex is a member of n octets that is left out if b is empty.
func (c *Codec) OptionalHex(name string, b *[]byte, n int) {
	if c.Optional(name, len(*b) > 0) {
		c.HexBytes(b, n, n)
	}
}

// OptionalRegister is a member of n octets that is left out where all are zero.
func (c *Codec) OptionalRegister(name string, b *[]byte, n int) {
	if c.Optional(name, len(*b) > 0) {
		c.HexBytes(b, n, n)
		c.Check(slices.ContainsFunc(*b, func(x byte) bool { return x != 0 }), "%s: all zero is left out", name)
	}
}

func (c *Codec) writeHex(b []byte) {
	c.buf = append(c.buf, '"')
	c.buf = append(hex.AppendEncode(c.buf, b), '"')
}

func isLowerHex(b []byte) bool {
	for _, x := range b {
		if (x < '0' || x > '9') && (x < 'a' || x > 'f') {
			return false
		}
	}
	return true
}

// Base64 is a string of 1 to max octets in base64url without padding.
func (c *Codec) Base64(b *[]byte, max int) { c.base64(b, max, base64.RawURLEncoding) }

// PaddedBase64 is a string of 1 to max octets in base64 with padding.
func (c *Codec) PaddedBase64(b *[]byte, max int) { c.base64(b, max, base64.StdEncoding) }

func (c *Codec) base64(b *[]byte, max int, enc *base64.Encoding) {
	if c.writing {
		c.Check(len(*b) > 0 && len(*b) <= max, "%d octets: want 1 to %d", len(*b), max)
		if c.err == nil {
			c.buf = append(enc.AppendEncode(append(c.buf, '"'), *b), '"')
		}
		return
	}
	raw, escaped := c.raw(enc.EncodedLen(max))
	if c.err == nil && (escaped || len(raw) == 0) {
		c.Failf("want base64")
	}
	if c.err != nil {
		return
	}
	out := make([]byte, enc.DecodedLen(len(raw)))
	n, err := enc.Strict().Decode(out, raw)
	switch {
	case err != nil:
		c.Failf("%w", err)
	case n > max:
		c.Failf("%d octets: want at most %d", n, max)
	default:
		*b = out[:n]
	}
}

// OptionalBase64 is a member of [Codec.Base64] that is left out if b is empty.
func (c *Codec) OptionalBase64(name string, b *[]byte, max int) {
	if c.Optional(name, len(*b) > 0) {
		c.Base64(b, max)
	}
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
	depth, inString := 0, false
	for i := 0; i < len(b); i++ {
		switch x := b[i]; {
		case inString && x == '\\':
			i++
		case x == '"':
			inString = !inString
		case inString:
		case x == '{' || x == '[':
			depth++
		case x == '}' || x == ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return 0
}

// Uint is a number of at most 32 bits, without leading zeros.
func Uint[U ~uint8 | ~uint32](c *Codec, n *U, bits int) {
	if c.writing {
		c.buf = strconv.AppendUint(c.buf, uint64(*n), 10)
		return
	}
	*n = U(c.digits(bits))
}

// Uint32 is a number.
func (c *Codec) Uint32(n *uint32) { Uint(c, n, 32) }

// Uint64 is a decimal string.
func (c *Codec) Uint64(n *uint64) {
	c.Lit(`"`)
	if c.writing {
		c.buf = strconv.AppendUint(c.buf, *n, 10)
	} else {
		*n = c.digits(64)
	}
	c.Lit(`"`)
}

// digits reads a decimal number without leading zeros of at most bits bits.
func (c *Codec) digits(bits int) uint64 {
	start := c.off
	for c.off < len(c.buf) && c.off-start <= 20 && c.buf[c.off] >= '0' && c.buf[c.off] <= '9' {
		c.off++
	}
	s := c.buf[start:c.off]
	if c.err != nil {
		return 0
	}
	n, err := strconv.ParseUint(string(s), 10, bits)
	if err != nil || (len(s) > 1 && s[0] == '0') {
		c.off = start
		c.Failf("want a number of at most %d bits without leading zeros", bits)
		return 0
	}
	return n
}

// Bool is true or false.
func (c *Codec) Bool(v *bool) {
	if c.writing {
		c.buf = strconv.AppendBool(c.buf, *v)
		return
	}
	if *v = c.try("true"); !*v {
		c.Lit("false")
	}
}

// Time is an RFC 3339 time in UTC with whole seconds, of the years 1970 to 9999: exactly 20 bytes.
func (c *Codec) Time(t *time.Time) {
	const form = "time %.40q: want YYYY-MM-DDThh:mm:ssZ, from 1970 to 9999"
	if c.writing {
		s := t.UTC().Format(time.RFC3339)
		c.Check(len(s) == 20 && t.Unix() >= 0, form, s)
		c.quote(s)
		return
	}
	raw, _ := c.raw(20)
	if c.err != nil {
		return
	}
	v, err := time.Parse(time.RFC3339, string(raw))
	if err != nil || len(raw) != 20 || v.Unix() < 0 || !bytes.Equal(v.UTC().AppendFormat(nil, time.RFC3339), raw) {
		c.Failf(form, raw)
		return
	}
	*t = v.UTC()
}

// OptionalTime is a member of [Codec.Time] that is left out if t is the zero time.
func (c *Codec) OptionalTime(name string, t *time.Time) {
	if c.Optional(name, !t.IsZero()) {
		c.Time(t)
	}
}

// List is a list of at most max elements. It may be empty.
func List[T any](c *Codec, what string, list *[]T, max int, element func(*T)) {
	c.Lit("[")
	if c.writing {
		c.Check(len(*list) <= max, "%s: more than %d", what, max)
		for i := range *list {
			if i > 0 {
				c.Lit(",")
			}
			element(&(*list)[i])
		}
		c.Lit("]")
		return
	}
	for c.err == nil && !c.try("]") {
		if len(*list) == max {
			c.Failf("%s: more than %d", what, max)
			return
		}
		if len(*list) > 0 {
			c.Lit(",")
		}
		var v T
		element(&v)
		*list = append(*list, v)
	}
}

// OptionalList is a member that is a list of 1 to max elements, and is left out if there is none.
func OptionalList[T any](c *Codec, name string, list *[]T, max int, element func(*T)) {
	if c.Optional(name, len(*list) > 0) {
		List(c, name, list, max, element)
		c.Check(len(*list) > 0, "%s: an empty list is left out", name)
	}
}

// Strings is an [OptionalList] of strings of 1 to maxLen bytes.
func Strings[S ~string](c *Codec, name string, list *[]S, maxLen, max int) {
	OptionalList(c, name, list, max, func(s *S) { Word(c, name, s, maxLen) })
}

// Sorted is [Strings] in ascending order, without repeats.
func Sorted[S ~string](c *Codec, name string, list *[]S, maxLen, max int) {
	Strings(c, name, list, maxLen, max)
	Ascending(c, name, *list, func(a, b S) bool { return a < b })
}

// Ascending fails unless each element of a list is less than the next one.
func Ascending[T any](c *Codec, what string, list []T, less func(a, b T) bool) {
	for i := 1; i < len(list); i++ {
		c.Check(less(list[i-1], list[i]), "%s: %v after %v: want ascending order without repeats", what, list[i], list[i-1])
	}
}

// OptionalOf is a member that is left out if p is nil.
func OptionalOf[T any](c *Codec, name string, p **T, value func(*T)) {
	if c.Optional(name, *p != nil) {
		if !c.writing {
			*p = new(T)
		}
		value(*p)
	}
}

// Printable reports whether s can stand in a canonical string.
func Printable(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return true
}
