package canon

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"slices"
)

// Hex is a string of exactly len(b) octets in lower-case hexadecimal.
func (c *Codec) Hex(b []byte) {
	if c.writing {
		c.writeHex(b)
		return
	}
	if end := c.off + 1 + 2*len(b); c.err == nil && end < len(c.buf) && c.buf[c.off] == '"' && c.buf[end] == '"' && Unhex(b, c.buf[c.off+1:end]) {
		c.off = end + 1
		return
	}
	clear(b)
	c.raw(2 * len(b))
	c.Failf("want %d lower-case hexadecimal digits", 2*len(b))
}

// HexBytes is a string of min to max octets in lower-case hexadecimal.
func (c *Codec) HexBytes(b *[]byte, min, max int) {
	if c.writing {
		c.Check(len(*b) >= min && len(*b) <= max, "%d octets: want %d to %d", len(*b), min, max)
		c.writeHex(*b)
		return
	}
	raw, escaped := c.raw(2 * max)
	if c.err != nil {
		return
	}
	out := make([]byte, len(raw)/2)
	if escaped || len(raw) < 2*min || !Unhex(out, raw) {
		c.Failf("want %d to %d octets in lower-case hexadecimal", min, max)
		return
	}
	*b = out
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
		if !slices.ContainsFunc(*b, func(x byte) bool { return x != 0 }) {
			c.Failf("%s: all zero is left out", name)
		}
	}
}

func (c *Codec) writeHex(b []byte) {
	c.buf = append(c.buf, '"')
	c.buf = append(hex.AppendEncode(c.buf, b), '"')
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
	start := c.off
	raw := c.line(enc.EncodedLen(max))
	if c.err == nil && len(raw) == 0 {
		c.Failf("want base64")
	}
	if c.err != nil {
		return
	}
	out := make([]byte, enc.DecodedLen(len(raw)))
	n, err := enc.Strict().Decode(out, raw)
	switch {
	case err != nil:
		c.off = start
		if _, escaped := c.raw(enc.EncodedLen(max)); escaped {
			c.Failf("want base64")
		}
		c.Failf("%w", err)
	case n > max:
		c.Failf("%d octets: want at most %d", n, max)
	default:
		*b = out[:n]
	}
}

// line is a string of at most max bytes, as it stands, without a byte that ends a line: the decoder
// passes over these. It looks at no other byte.
func (c *Codec) line(max int) []byte {
	if c.err == nil && c.off < len(c.buf) && c.buf[c.off] == '"' {
		rest := c.buf[c.off+1:]
		rest = rest[:min(len(rest), max+1)]
		end := bytes.IndexByte(rest, '"')
		if end >= 0 && bytes.IndexByte(rest[:end], '\n') < 0 && bytes.IndexByte(rest[:end], '\r') < 0 {
			c.off += end + 2
			return rest[:end]
		}
	}
	raw, _ := c.raw(max)
	return raw
}

// OptionalBase64 is a member of [Codec.Base64] that is left out if b is empty.
func (c *Codec) OptionalBase64(name string, b *[]byte, max int) {
	if c.Optional(name, len(*b) > 0) {
		c.Base64(b, max)
	}
}
