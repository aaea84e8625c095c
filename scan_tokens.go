package poclog

import (
	"bytes"

	"github.com/poclog/poclog/internal/canon"
)

// A scanner reads proofs in canonical form without allocating. It takes nothing that the decoder
// refuses; what it does not take, such as strings with escapes, the decoder is asked about.
// FuzzProjection holds the two together.
type scanner struct {
	b   []byte
	off int
	bad bool
}

// lit reads exactly s.
func (s *scanner) lit(l string) {
	if !s.try(l) {
		s.bad = true
	}
}

// try reads s if it comes next.
func (s *scanner) try(l string) bool {
	if s.bad || len(s.b)-s.off < len(l) || string(s.b[s.off:s.off+len(l)]) != l {
		return false
	}
	s.off += len(l)
	return true
}

// plain marks the bytes of strings that need no escape.
var plain = func() (t [256]bool) {
	for c := 0x20; c <= 0x7e; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// str reads a string of at most max bytes and without escapes.
func (s *scanner) str(max int) []byte {
	s.lit(`"`)
	if s.bad {
		return nil
	}
	rest := s.b[s.off:]
	i := 0
	for i < len(rest) && plain[rest[i]] {
		i++
	}
	if i > max || i == len(rest) || rest[i] != '"' {
		s.bad = true
		return nil
	}
	s.off += i + 1
	return rest[:i]
}

// hex reads a string of exactly len(dst) octets.
func (s *scanner) hex(dst []byte) {
	end := s.off + 1 + 2*len(dst)
	if s.bad || end >= len(s.b) || s.b[s.off] != '"' || s.b[end] != '"' || !canon.Unhex(dst, s.b[s.off+1:end]) {
		s.bad = true
		return
	}
	s.off = end + 1
}

// skip reads a string of exactly n octets and reports whether they are all zero.
func (s *scanner) skip(n int) (zero bool) {
	end := s.off + 1 + 2*n
	if s.bad || end >= len(s.b) || s.b[s.off] != '"' || s.b[end] != '"' {
		s.bad = true
		return false
	}
	ok, zero := canon.IsHex(s.b[s.off+1 : end])
	s.bad, s.off = !ok, end+1
	return zero
}

// octets reads a string of 1 to max octets.
func (s *scanner) octets(max int) {
	rest := s.b[min(s.off+1, len(s.b)):]
	i := bytes.IndexByte(rest[:min(len(rest), 2*max+1)], '"')
	if i < 2 || i%2 != 0 {
		s.bad = true
		return
	}
	s.skip(i / 2)
}

// number reads a decimal number up to max, without leading zeros.
func (s *scanner) number(max uint64) (n uint64) {
	start := s.off
	for s.off < len(s.b) {
		c := s.b[s.off] - '0'
		if c > 9 {
			break
		}
		if n > (max-uint64(c))/10 {
			s.bad = true
			return 0
		}
		n = 10*n + uint64(c)
		s.off++
	}
	if digits := s.off - start; digits == 0 || digits > 1 && s.b[start] == '0' {
		s.bad = true
	}
	return n
}

const (
	max32 = 1<<32 - 1
	max64 = 1<<64 - 1
)

// wide reads a number of 64 bits, which is a string.
func (s *scanner) wide() uint64 {
	s.lit(`"`)
	n := s.number(max64)
	s.lit(`"`)
	return n
}

func (s *scanner) time() int64 {
	t, ok := seconds(s.str(20))
	s.bad = s.bad || !ok
	return t
}

// strings reads a list of 1 to count strings of 1 to max bytes; take, if any, says whether each may
// follow the one before.
func (s *scanner) strings(max, count int, take func(before, one []byte) bool) {
	s.lit("[")
	var before []byte
	for n := 0; ; n++ {
		one := s.str(max)
		if s.bad || n == count || len(one) == 0 || take != nil && !take(before, one) {
			s.bad = true
			return
		}
		before = one
		if s.try("]") {
			return
		}
		s.lit(",")
	}
}

// inOrder is for lists without repeats, in order.
func inOrder(before, one []byte) bool { return before == nil || bytes.Compare(before, one) < 0 }

// oneOf returns the value of a list that b spells, or "".
func oneOf[S ~string](b []byte, list []S) S {
	for _, v := range list {
		if string(b) == string(v) {
			return v
		}
	}
	return ""
}
