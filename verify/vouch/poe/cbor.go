package poe

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf8"
)

// maxDepth is how deep arrays, maps and tags nest. An endorsement needs 13 levels.
const maxDepth = 24

// Major types (RFC 8949, §3.1).
const (
	majorUnsigned = iota
	majorNegative
	majorBytes
	majorText
	majorArray
	majorMap
	majorTag
	majorSimple
)

// checkDeterministic holds b to be one CBOR item in deterministic encoding (RFC 8949, §4.2.1):
// definite lengths, shortest heads, keys of maps ascending and so without repeats. Floats are
// refused, as are simple values other than false, true and null. It allocates nothing, and goes
// before any other reading: one item has one form, and what is read once is what all read.
func checkDeterministic(b []byte) error {
	rest, err := skip(b, 0)
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return fmt.Errorf("CBOR: %d bytes after the item", len(rest))
	}
	return nil
}

// skip returns what follows the item at the start of b.
func skip(b []byte, depth int) ([]byte, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("CBOR: over %d levels", maxDepth)
	}
	major, n, rest, err := head(b)
	if err != nil {
		return nil, err
	}
	switch major {
	case majorBytes, majorText:
		if n > uint64(len(rest)) {
			return nil, fmt.Errorf("CBOR: string of %d bytes, of which %d are there", n, len(rest))
		}
		if major == majorText && !utf8.Valid(rest[:n]) {
			return nil, errors.New("CBOR: text that is not UTF-8")
		}
		return rest[n:], nil
	case majorArray:
		return skipArray(rest, n, depth)
	case majorMap:
		return skipMap(rest, n, depth)
	case majorTag:
		return skip(rest, depth+1)
	}
	return rest, nil
}

func skipArray(b []byte, n uint64, depth int) (rest []byte, err error) {
	if n > uint64(len(b)) {
		return nil, fmt.Errorf("CBOR: array of %d items in %d bytes", n, len(b))
	}
	for rest = b; n > 0; n-- {
		if rest, err = skip(rest, depth+1); err != nil {
			return nil, err
		}
	}
	return rest, nil
}

func skipMap(b []byte, n uint64, depth int) (rest []byte, err error) {
	if n > uint64(len(b)) {
		return nil, fmt.Errorf("CBOR: map of %d pairs in %d bytes", n, len(b))
	}
	var last []byte
	for rest = b; n > 0; n-- {
		key := rest
		if rest, err = skip(key, depth+1); err != nil {
			return nil, err
		}
		key = key[:len(key)-len(rest)]
		if bytes.Compare(last, key) >= 0 { // no key is empty
			return nil, fmt.Errorf("CBOR: key %x after %x: want ascending order without repeats", clip(key), clip(last))
		}
		last = key
		if rest, err = skip(rest, depth+1); err != nil {
			return nil, err
		}
	}
	return rest, nil
}

func clip(b []byte) []byte { return b[:min(len(b), 16)] }

// head reads an item's head: its major type and argument, in the shortest form.
func head(b []byte) (major byte, n uint64, rest []byte, err error) {
	if len(b) == 0 {
		return 0, 0, nil, errors.New("CBOR: the item ends early")
	}
	major, info := b[0]>>5, b[0]&31
	size := 0
	switch {
	case info < 24:
		n = uint64(info)
	case info <= 27:
		size = 1 << (info - 24)
	default:
		return 0, 0, nil, fmt.Errorf("CBOR: head %#02x: want a definite length", b[0])
	}
	if major == majorSimple && (n < 20 || n > 22) {
		return 0, 0, nil, fmt.Errorf("CBOR: head %#02x: floats and simple values other than false, true and null are not of this profile", b[0])
	}
	if len(b) < 1+size {
		return 0, 0, nil, errors.New("CBOR: the item ends early")
	}
	if size > 0 {
		var wide [8]byte
		copy(wide[8-size:], b[1:1+size])
		n = binary.BigEndian.Uint64(wide[:])
		least := uint64(24)
		if size > 1 {
			least = 1 << (8 * (size / 2))
		}
		if n < least {
			return 0, 0, nil, fmt.Errorf("CBOR: %d in %d bytes: want the shortest form", n, size)
		}
	}
	return major, n, b[1+size:], nil
}
