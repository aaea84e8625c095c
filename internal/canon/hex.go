package canon

import "encoding/binary"

// nibbles are the values of lower-case hexadecimal digits; 0xff is none.
var nibbles = func() (t [256]byte) {
	for i := range t {
		t[i] = 0xff
	}
	for i, c := range []byte("0123456789abcdef") {
		t[c] = byte(i)
	}
	return t
}()

// Eight digits at a time, a byte each in a word: SWAR, for these digits are most of a leaf.
const (
	highs = 0x8080808080808080
	ones  = 0x0101010101010101
)

// areDigits reports whether a word is eight lower-case hexadecimal digits.
func areDigits(x uint64) bool {
	decimal := x ^ 0x30*ones // 0 to 9
	letter := x ^ 0x60*ones  // 1 to 6
	isDecimal := ^(decimal + 0x76*ones)
	isLetter := ^(letter + 0x79*ones) & (letter + 0x7f*ones)
	return x&highs == 0 && (isDecimal|isLetter)&highs == highs
}

// Unhex decodes exactly len(dst) octets of lower-case hexadecimal. It
// reports whether src is that; if not, dst may hold anything.
func Unhex(dst, src []byte) bool {
	if len(src) != 2*len(dst) {
		return false
	}
	for len(dst) >= 4 {
		x := binary.LittleEndian.Uint64(src)
		if !areDigits(x) {
			return false
		}
		x = x&(0x0f*ones) + 9*(x>>6&ones)
		x = (x<<4 | x>>8) & 0x00ff00ff00ff00ff
		x = (x | x>>8) & 0x0000ffff0000ffff
		binary.LittleEndian.PutUint32(dst, uint32(x|x>>16))
		dst, src = dst[4:], src[8:]
	}
	var seen byte
	for i := range dst {
		hi, lo := nibbles[src[2*i]], nibbles[src[2*i+1]]
		seen |= hi | lo
		dst[i] = hi<<4 | lo
	}
	return seen < 16
}

// IsHex reports whether src is lower-case hexadecimal, and whether all its digits are zero.
func IsHex(src []byte) (ok, zero bool) {
	var seen uint64
	for len(src) >= 8 {
		x := binary.LittleEndian.Uint64(src)
		if !areDigits(x) {
			return false, false
		}
		seen |= x ^ 0x30*ones
		src = src[8:]
	}
	for _, c := range src {
		n := nibbles[c]
		if n > 15 {
			return false, false
		}
		seen |= uint64(n)
	}
	return true, seen == 0
}
