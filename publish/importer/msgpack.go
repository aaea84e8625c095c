package importer

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Limits of what is decoded.
const (
	maxPackDepth   = 12
	maxPackMembers = 64 // of a map
)

// A packReader decodes MessagePack (https://github.com/msgpack/msgpack/blob/master/spec.md), as far
// as attestations use it: maps with distinct strings as keys, lists, strings, octets, whole numbers
// that are not negative, booleans and nil. Lengths are held to what is left before anything is
// allocated. A list of numbers that fit octets is octets, for serde writes these so.
type packReader struct {
	b   []byte
	err error
}

// decodePack decodes one value and nothing after it.
func decodePack(b []byte) (any, error) {
	r := &packReader{b: b}
	v := r.value(0)
	if r.err == nil && len(r.b) > 0 {
		r.fail("%d bytes after its end", len(r.b))
	}
	if r.err != nil {
		return nil, fmt.Errorf("MessagePack: %w", r.err)
	}
	return v, nil
}

func (r *packReader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
	}
	r.b = nil
}

func (r *packReader) take(n uint64) []byte {
	if r.err != nil || n > uint64(len(r.b)) {
		r.fail("%d bytes: %d are left", n, len(r.b))
		return nil
	}
	p := r.b[:n:n]
	r.b = r.b[n:]
	return p
}

// number reads a number of 1, 2, 4 or 8 bytes.
func (r *packReader) number(size uint64) uint64 {
	var wide [8]byte
	copy(wide[8-size:], r.take(size))
	return binary.BigEndian.Uint64(wide[:])
}

// value reads one value: nil, bool, uint64, string, []byte, []any or map[string]any.
func (r *packReader) value(depth int) any {
	tag := r.take(1)
	if tag == nil || depth > maxPackDepth {
		r.fail("over %d levels deep", maxPackDepth)
		return nil
	}
	switch t := tag[0]; {
	case t < 0x80:
		return uint64(t)
	case t < 0x90:
		return r.object(uint64(t&0x0f), depth)
	case t < 0xa0:
		return r.list(uint64(t&0x0f), depth)
	case t < 0xc0:
		return string(r.take(uint64(t & 0x1f)))
	case t == 0xc0:
		return nil
	case t == 0xc2, t == 0xc3:
		return t == 0xc3
	case t >= 0xc4 && t <= 0xc6: // octets with a length of 1, 2 or 4 bytes
		return r.take(r.number(1 << (t - 0xc4)))
	case t >= 0xcc && t <= 0xcf: // a number of 1, 2, 4 or 8 bytes
		return r.number(1 << (t - 0xcc))
	case t >= 0xd9 && t <= 0xdb: // a string
		return string(r.take(r.number(1 << (t - 0xd9))))
	case t == 0xdc, t == 0xdd:
		return r.list(r.number(2<<(t-0xdc)), depth)
	case t == 0xde, t == 0xdf:
		return r.object(r.number(2<<(t-0xde)), depth)
	default:
		r.fail("type %#02x: not one that attestations use", t)
		return nil
	}
}

func (r *packReader) object(n uint64, depth int) any {
	if n > maxPackMembers {
		r.fail("map of %d members: want at most %d", n, maxPackMembers)
	}
	m := make(map[string]any)
	for i := uint64(0); i < n && r.err == nil; i++ {
		name, ok := r.value(depth + 1).(string)
		if _, twice := m[name]; !ok || twice {
			r.fail("map: want distinct strings as keys, found %.40q again or another type", name)
			break
		}
		m[name] = r.value(depth + 1)
	}
	return m
}

// list reads a list, or octets.
func (r *packReader) list(n uint64, depth int) any {
	if n > uint64(len(r.b)) { // an element has one byte or more
		r.fail("list of %d elements in %d bytes", n, len(r.b))
		return nil
	}
	var octets []byte
	var list []any
	for i := uint64(0); i < n && r.err == nil; i++ {
		v := r.value(depth + 1)
		small, isNumber := v.(uint64)
		switch {
		case list == nil && isNumber && small < 256:
			octets = append(octets, byte(small))
		case octets == nil:
			list = append(list, v)
		default:
			r.fail("list: element %d is no octet as those before it are", i)
		}
	}
	if octets != nil {
		return octets
	}
	return list
}

// member returns a member of a decoded map.
func member[T any](v any, name string) (T, error) {
	m, ok := v.(map[string]any)
	if !ok {
		var zero T
		return zero, errors.New("not a map")
	}
	t, ok := m[name].(T)
	if !ok {
		return t, fmt.Errorf("member %s: missing, or a %T", name, m[name])
	}
	return t, nil
}
