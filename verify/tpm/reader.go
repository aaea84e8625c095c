package tpm

import (
	"encoding/binary"
	"fmt"

	"github.com/poclog/poclog/verify"
)

// A reader takes big-endian fields; the first error stays.
type reader struct {
	b    []byte
	off  int
	what string
	err  error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = verify.Failf(verify.Format, "%s: byte %d: %s", r.what, r.off, fmt.Sprintf(format, args...))
	}
}

func (r *reader) take(n int, what string) []byte {
	if r.err != nil {
		return nil
	}
	if n > len(r.b)-r.off {
		r.fail("%s of %d bytes: %d are left", what, n, len(r.b)-r.off)
		return nil
	}
	p := r.b[r.off : r.off+n : r.off+n]
	r.off += n
	return p
}

func (r *reader) u8(what string) uint8 {
	if p := r.take(1, what); p != nil {
		return p[0]
	}
	return 0
}

func (r *reader) u16(what string) uint16 {
	if p := r.take(2, what); p != nil {
		return binary.BigEndian.Uint16(p)
	}
	return 0
}

func (r *reader) u32(what string) uint32 {
	if p := r.take(4, what); p != nil {
		return binary.BigEndian.Uint32(p)
	}
	return 0
}

func (r *reader) u64(what string) uint64 {
	if p := r.take(8, what); p != nil {
		return binary.BigEndian.Uint64(p)
	}
	return 0
}

// sized reads a TPM2B: a length of at most max, and as many bytes.
func (r *reader) sized(what string, max int) []byte {
	n := int(r.u16(what))
	if n > max {
		r.fail("%s of %d bytes: want at most %d", what, n, max)
		return nil
	}
	return r.take(n, what)
}

// bool reads TPMI_YES_NO.
func (r *reader) bool(what string) bool {
	v := r.u8(what)
	if v > 1 {
		r.fail("%s %d: want 0 or 1", what, v)
	}
	return v == 1
}

func (r *reader) want(what string, have, want uint64) {
	if have != want {
		r.fail("%s %#x: want %#x", what, have, want)
	}
}

func (r *reader) end() {
	if r.off != len(r.b) {
		r.fail("%d trailing bytes", len(r.b)-r.off)
	}
}
