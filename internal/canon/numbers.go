package canon

import (
	"bytes"
	"strconv"
	"time"
)

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
	var again [20]byte
	v, err := time.Parse(time.RFC3339, string(raw))
	if err != nil || len(raw) != 20 || v.Unix() < 0 || !bytes.Equal(v.UTC().AppendFormat(again[:0], time.RFC3339), raw) {
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
