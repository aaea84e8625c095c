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
