package poclog_test

import (
	"testing"

	"github.com/poclog/poclog"
)

// Whether or not an operator ends a registry's address in a slash, one address is asked.
func TestARegistrysAddressIsOnePart(t *testing.T) {
	for _, base := range []string{"http://127.0.0.1:8090", "http://127.0.0.1:8090/"} {
		if got := (&poclog.Registry{URL: base}).Address("b07c"); got != "http://127.0.0.1:8090/b07c" {
			t.Errorf("%s: %s", base, got)
		}
	}
}
