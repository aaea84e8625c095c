package verify

import (
	"testing"
	"time"
)

func TestTheEarlierAndTheLater(t *testing.T) {
	a := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	b := a.Add(time.Second)
	if Later(a, b) != b || Later(b, a) != b || Earlier(a, b) != a || Earlier(b, a) != a {
		t.Error("the later is not the later")
	}
}

func TestASpanHasItsEnds(t *testing.T) {
	at := func(seconds int) time.Time {
		return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(seconds) * time.Second)
	}
	var s Span
	for _, other := range []Span{{at(0), at(9)}, {at(2), at(10)}, {at(1), at(7)}} {
		s = s.And(other.Issued, other.Until)
	}
	if want := (Span{at(2), at(7)}); s != want {
		t.Errorf("%v: want %v", s, want)
	}
	for seconds, want := range map[int]bool{1: false, 2: true, 7: true, 8: false} {
		if err := s.Check(at(seconds)); s.Has(at(seconds)) != want || (err == nil) != want {
			t.Errorf("second %d: %t, %v: want %t", seconds, s.Has(at(seconds)), err, want)
		}
	}
	for _, endless := range []Span{{Issued: at(0)}, {}} {
		if endless.Check(at(0)) == nil || endless.Check(time.Time{}) == nil {
			t.Errorf("%v is valid without an end", endless)
		}
	}
}

func TestOctetsThatAreAllZero(t *testing.T) {
	for text, want := range map[string]bool{"": true, "\x00\x00": true, "\x00\x01": false, "\x01\x00": false} {
		if b := UnlessZero([]byte(text)); IsZero([]byte(text)) != want || (b == nil) != want || !want && string(b) != text {
			t.Errorf("%q: %t, %q: want %t", text, IsZero([]byte(text)), b, want)
		}
	}
}
