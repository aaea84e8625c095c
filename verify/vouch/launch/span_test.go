package launch

import (
	"strings"
	"testing"
	"time"
)

func TestSpanIsThatOfBothCertificates(t *testing.T) {
	a := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	b := a.Add(time.Second)
	if later(a, b) != b || later(b, a) != b || earlier(a, b) != a || earlier(b, a) != a {
		t.Error("the later is not the later")
	}
}

func TestStatementsAreBounded(t *testing.T) {
	if _, err := parse(make([]byte, maxStatement)); err == nil || strings.Contains(err.Error(), "want at most") {
		t.Errorf("128 KiB: %v", err)
	}
	if _, err := parse(make([]byte, maxStatement+1)); err == nil || !strings.Contains(err.Error(), "want at most") {
		t.Errorf("over 128 KiB: %v", err)
	}
}
