package poe

import (
	"bytes"
	"encoding/hex"
	"reflect"
	"slices"
	"testing"

	"github.com/fxamacker/cbor/v2"
)

// reencode writes what a general decoder reads in deterministic encoding, or returns false for what
// it does not read, or reads as something else than it is: tags of times in text and of big
// numbers.
func reencode(t *testing.T, b []byte) ([]byte, bool) {
	t.Helper()
	if bytes.ContainsAny(b, "\xc0\xc2\xc3") {
		return nil, false
	}
	dec, err := cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, MaxNestedLevels: 4 * maxDepth, DefaultByteStringType: reflect.TypeFor[cbor.ByteString](),
	}.DecMode()
	if err != nil {
		t.Fatal(err)
	}
	o := cbor.CoreDetEncOptions()
	o.Time, o.TimeTag = cbor.TimeUnix, cbor.EncTagRequired
	enc, err := o.EncMode()
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if dec.Unmarshal(b, &v) != nil {
		return nil, false
	}
	again, err := enc.Marshal(v)
	return again, err == nil
}

// The check of deterministic encoding agrees with another implementation: what it takes is written
// again as it was, and what is, it takes, but for floats, simple values and depth.
func FuzzDeterministic(f *testing.F) {
	for _, s := range []string{
		"00", "17", "1818", "1817", "190100", "1900ff", "1a00010000", "1b0000000100000000", "20", "3863", "40", "4161", "60", "6161", "62c3bc", "62c328", "80", "820102",
		"9f01ff", "a0", "a201020304", "a203040102", "a201020102", "a2616101626162f4", "c11a5f5e1000", "d820616a", "f4", "f5", "f6", "f7", "f90000", "fb3ff0000000000000", "ff", "1c",
		"5bffffffffffffffff", "bbffffffffffffffff", "d9ffff00",
	} {
		b, err := hex.DecodeString(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		err := checkDeterministic(b)
		again, ok := reencode(t, b)
		switch {
		case !ok:
		case err == nil && !bytes.Equal(again, b):
			t.Errorf("%x is taken, and written as %x", b, again)
		case err != nil && bytes.Equal(again, b) && !slices.ContainsFunc(b, func(c byte) bool { return c >= 0xe0 }) && len(b) < maxDepth:
			t.Errorf("%x is refused: %v", b, err)
		}
	})
}

func TestDeterministicEncodingIsDemanded(t *testing.T) {
	for s, ok := range map[string]bool{
		"a0": true, "80": true, "40": true, "60": true, "00": true, "17": true, "1818": true, "1817": false, "18": false, "190100": true, "1900ff": false, "1a00010000": true, "1a0000ffff": false,
		"1b0000000100000000": true, "1b00000000ffffffff": false, "3863": true, "3817": false, "4161": true, "4261": false, "580161": false, "6161": true, "62c328": false,
		"820102": true, "8201": false, "83010203": true, "9f01ff": false, "5f4161ff": false, "a201020304": true, "a203040102": false, "a201020102": false, "a10102": true, "a101": false,
		"c101": true, "c1": false, "d80101": false, "d82001": true, "f4": true, "f6": true, "f7": false, "f814": false, "f820": false, "f93c00": false, "ff": false, "1c": false, "0000": false, "": false,
	} {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		if err := checkDeterministic(b); (err == nil) != ok {
			t.Errorf("%q: %v", s, err)
		}
	}
	if err := checkDeterministic(append(bytes.Repeat([]byte{0x81}, maxDepth), 0)); err != nil {
		t.Errorf("%d levels: %v", maxDepth, err)
	}
	if err := checkDeterministic(append(bytes.Repeat([]byte{0x81}, maxDepth+1), 0)); err == nil {
		t.Errorf("%d levels are taken", maxDepth+1)
	}
}
