package poclog

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strconv"
	"time"
)

// The canonical encoding, docs/format.md §1: RFC 8785 JSON with members in one fixed order, printable ASCII strings in which only
// `"` and `\` are escaped, integers below 2^32 as numbers and wider ones as decimal strings, no floats and no white space.

// An encoder appends canonical JSON to buf.
type encoder struct{ buf []byte }

// sep writes the comma before a member or element that is not the first.
func (e *encoder) sep() {
	if n := len(e.buf); n > 0 && e.buf[n-1] != '{' && e.buf[n-1] != '[' {
		e.buf = append(e.buf, ',')
	}
}

func (e *encoder) name(s string) {
	e.sep()
	e.quote(s)
	e.buf = append(e.buf, ':')
}

func (e *encoder) quote(s string) {
	e.buf = append(e.buf, '"')
	for i := 0; i < len(s); i++ {
		if s[i] == '"' || s[i] == '\\' {
			e.buf = append(e.buf, '\\')
		}
		e.buf = append(e.buf, s[i])
	}
	e.buf = append(e.buf, '"')
}

func (e *encoder) open(name string, c byte)  { e.name(name); e.buf = append(e.buf, c) }
func (e *encoder) char(c byte)               { e.buf = append(e.buf, c) }
func (e *encoder) str(name, s string)        { e.name(name); e.quote(s) }
func (e *encoder) hex(name string, b []byte) { e.name(name); e.bareHex(b) }
func (e *encoder) number(n uint64)           { e.buf = strconv.AppendUint(e.buf, n, 10) }

func (e *encoder) bareHex(b []byte) {
	e.buf = append(e.buf, '"')
	e.buf = hex.AppendEncode(e.buf, b)
	e.buf = append(e.buf, '"')
}

func (e *encoder) base64(name string, b []byte) { e.name(name); e.bare64(b) }

func (e *encoder) bare64(b []byte) {
	e.buf = append(e.buf, '"')
	e.buf = base64.RawURLEncoding.AppendEncode(e.buf, b)
	e.buf = append(e.buf, '"')
}

func (e *encoder) uint32(name string, n uint32) {
	e.name(name)
	e.number(uint64(n))
}

func (e *encoder) uint64(name string, n uint64) {
	e.name(name)
	e.char('"')
	e.number(n)
	e.char('"')
}

func (e *encoder) bool(name string, v bool) {
	e.name(name)
	e.buf = strconv.AppendBool(e.buf, v)
}

func (e *encoder) time(name string, t time.Time) {
	e.str(name, t.UTC().Format(time.RFC3339))
}

// encodeStrings writes a list of strings, or nothing if it is empty.
func encodeStrings[S ~string](e *encoder, name string, list []S) {
	if len(list) == 0 {
		return
	}
	e.open(name, '[')
	for _, s := range list {
		e.sep()
		e.quote(string(s))
	}
	e.char(']')
}

// A decoder reads canonical JSON, and refuses all other. The first error stays; after it every read returns a zero value.
type decoder struct {
	b   []byte
	off int
	err error
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("byte %d: %w", d.off, fmt.Errorf(format, args...))
	}
}

// lit reads exactly s.
func (d *decoder) lit(s string) {
	if d.err == nil && !d.try(s) {
		d.fail("want %s, have %.24q", s, d.b[d.off:])
	}
}

// try reads s if it comes next.
func (d *decoder) try(s string) bool {
	if d.err != nil || len(d.b)-d.off < len(s) || string(d.b[d.off:d.off+len(s)]) != s {
		return false
	}
	d.off += len(s)
	return true
}

// first reports whether the next member or element is the first of its object or list.
func (d *decoder) first() bool {
	return d.off > 0 && (d.b[d.off-1] == '{' || d.b[d.off-1] == '[')
}

// has reads the name of an optional member if it comes next.
func (d *decoder) has(name string) bool {
	if d.err != nil {
		return false
	}
	rest := d.b[d.off:]
	if !d.first() {
		if len(rest) == 0 || rest[0] != ',' {
			return false
		}
		rest = rest[1:]
	}
	if len(rest) < len(name)+3 || rest[0] != '"' || string(rest[1:1+len(name)]) != name || rest[1+len(name)] != '"' || rest[2+len(name)] != ':' {
		return false
	}
	d.off = len(d.b) - len(rest) + len(name) + 3
	return true
}

// name reads the name of a required member.
func (d *decoder) name(name string) {
	if d.err == nil && !d.has(name) {
		d.fail("want member %q, have %.32q", name, d.b[d.off:])
	}
}

func (d *decoder) open(name string, c byte) { d.name(name); d.lit(string(c)) }

// next reports whether a list goes on, and reads the comma or the closing bracket.
func (d *decoder) next() bool {
	if d.err != nil {
		return false
	}
	if d.try("]") {
		return false
	}
	if !d.first() {
		d.lit(",")
	}
	return d.err == nil
}

// end refuses trailing bytes.
func (d *decoder) end() error {
	if d.err == nil && d.off != len(d.b) {
		d.fail("%d trailing bytes", len(d.b)-d.off)
	}
	return d.err
}

// quoted reads a string. The result is a copy; it holds at most max bytes.
func (d *decoder) quoted(max int) string {
	raw, escaped := d.raw(max)
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
		d.fail("string of %d bytes: want at most %d", len(out), max)
		return ""
	}
	return string(out)
}

// raw reads a string and returns what stands between its quotes.
func (d *decoder) raw(max int) (raw []byte, escaped bool) {
	d.lit(`"`)
	if d.err != nil {
		return nil, false
	}
	// No string needs more than its bytes escaped, so that 2·max bounds the search.
	for i := d.off; i < len(d.b) && i-d.off <= 2*max; i++ {
		switch c := d.b[i]; {
		case c == '"':
			raw = d.b[d.off:i]
			if !escaped && len(raw) > max {
				d.fail("string of %d bytes: want at most %d", len(raw), max)
				return nil, false
			}
			d.off = i + 1
			return raw, escaped
		case c == '\\':
			i++
			escaped = true
			if i == len(d.b) || (d.b[i] != '"' && d.b[i] != '\\') {
				d.fail(`escape: want \" or \\`)
				return nil, false
			}
		case c < 0x20 || c > 0x7e:
			d.fail("byte %#02x in a string: want printable ASCII", c)
			return nil, false
		}
	}
	if len(d.b)-d.off <= 2*max {
		d.fail("the input ends within this string")
		return nil, false
	}
	d.fail("string without an end within %d bytes", max)
	return nil, false
}

func (d *decoder) str(name string, max int) string { d.name(name); return d.quoted(max) }

// hexInto reads a string of exactly len(dst) bytes in lower-case hexadecimal.
func (d *decoder) hexInto(dst []byte) {
	raw, escaped := d.raw(2 * len(dst))
	if d.err != nil {
		return
	}
	if escaped || len(raw) != 2*len(dst) || !isLowerHexBytes(raw) {
		d.fail("want %d lower-case hexadecimal digits", 2*len(dst))
		return
	}
	if _, err := hex.Decode(dst, raw); err != nil {
		d.fail("%w", err)
	}
}

func isLowerHexBytes(b []byte) bool {
	for _, c := range b {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// hexBytes reads a hexadecimal string of 1 to max bytes.
func (d *decoder) hexBytes(max int) []byte {
	raw, escaped := d.raw(2 * max)
	if d.err != nil {
		return nil
	}
	if escaped || len(raw) == 0 || len(raw)%2 != 0 || !isLowerHexBytes(raw) {
		d.fail("want an even number of lower-case hexadecimal digits")
		return nil
	}
	out := make([]byte, len(raw)/2)
	hex.Decode(out, raw)
	return out
}

func (d *decoder) digest(name string) (x Digest) {
	d.name(name)
	d.hexInto(x[:])
	return x
}

// base64 reads a non-empty base64url string without padding, of at most max bytes when decoded.
func (d *decoder) base64(max int) []byte {
	raw, escaped := d.raw(base64.RawURLEncoding.EncodedLen(max))
	if d.err != nil {
		return nil
	}
	if escaped || len(raw) == 0 {
		d.fail("want base64url")
		return nil
	}
	out := make([]byte, base64.RawURLEncoding.DecodedLen(len(raw)))
	n, err := base64.RawURLEncoding.Strict().Decode(out, raw)
	if err != nil {
		d.fail("%w", err)
		return nil
	}
	return out[:n]
}

// digits reads a decimal number without leading zeros of at most bits bits.
func (d *decoder) digits(bits int) uint64 {
	start := d.off
	for d.off < len(d.b) && d.off-start <= 20 && d.b[d.off] >= '0' && d.b[d.off] <= '9' {
		d.off++
	}
	s := d.b[start:d.off]
	if d.err != nil {
		return 0
	}
	n, err := strconv.ParseUint(string(s), 10, bits)
	if err != nil || (len(s) > 1 && s[0] == '0') {
		d.off = start
		d.fail("want a number of at most %d bits without leading zeros", bits)
		return 0
	}
	return n
}

func (d *decoder) uint32(name string) uint32 { d.name(name); return uint32(d.digits(32)) }

func (d *decoder) uint64(name string) uint64 {
	d.name(name)
	d.lit(`"`)
	n := d.digits(64)
	d.lit(`"`)
	return n
}

func (d *decoder) bool(name string) bool {
	d.name(name)
	if d.try("true") {
		return true
	}
	d.lit("false")
	return false
}

// time reads an RFC 3339 time in UTC with seconds: exactly 20 bytes.
func (d *decoder) time(name string) time.Time { d.name(name); return d.bareTime() }

func (d *decoder) bareTime() time.Time {
	raw, _ := d.raw(20)
	if d.err != nil {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339, string(raw))
	if err != nil || len(raw) != 20 || !bytes.Equal(t.UTC().AppendFormat(nil, time.RFC3339), raw) {
		d.fail("time %.20q: want YYYY-MM-DDThh:mm:ssZ", raw)
		return time.Time{}
	}
	return t.UTC()
}

// decodeStrings reads an optional list of strings; an empty list is not canonical.
func decodeStrings[S ~string](d *decoder, name string, maxLen, maxCount int) []S {
	if !d.has(name) {
		return nil
	}
	var list []S
	d.lit("[")
	for d.next() {
		if len(list) == maxCount {
			d.fail("%s: more than %d elements", name, maxCount)
			return nil
		}
		list = append(list, S(d.quoted(maxLen)))
	}
	if d.err == nil && len(list) == 0 {
		d.fail("%s: an empty list is left out", name)
	}
	return list
}

// decodeSorted refuses a list that is not strictly ascending.
func decodeSorted[S ~string](d *decoder, name string, maxLen, maxCount int) []S {
	list := decodeStrings[S](d, name, maxLen, maxCount)
	for i := 1; i < len(list); i++ {
		if list[i-1] >= list[i] {
			d.fail("%s: %q after %q: want ascending order without repeats", name, list[i], list[i-1])
			return nil
		}
	}
	return list
}

// printable reports whether s can stand in a canonical string.
func printable(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return true
}
