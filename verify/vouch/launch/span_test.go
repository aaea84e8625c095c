package launch

import (
	"strings"
	"testing"
)

func TestStatementsAreBounded(t *testing.T) {
	if _, err := parse(make([]byte, maxStatement)); err == nil || strings.Contains(err.Error(), "want at most") {
		t.Errorf("128 KiB: %v", err)
	}
	if _, err := parse(make([]byte, maxStatement+1)); err == nil || !strings.Contains(err.Error(), "want at most") {
		t.Errorf("over 128 KiB: %v", err)
	}
}
