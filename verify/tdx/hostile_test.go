package tdx_test

import (
	"testing"

	"github.com/poclog/poclog/internal/realdata"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/tdx"
)

func TestTDsThatTheirHostCanReadAreRefused(t *testing.T) {
	for _, item := range realdata.Quotes() {
		item, err := tdx.TrimQuote(item)
		if err != nil {
			t.Fatal(err)
		}
		q, err := tdx.ParseQuote(item)
		if err != nil {
			t.Fatal(err)
		}
		if err := q.CheckNoDebug(); err != nil {
			t.Errorf("a real TD: %v", err)
		}
		genuine := q.Body.TDAttributes
		for name, bit := range map[string]int{"debug": 0, "under debug, reserved": 7, "migratable": 29} {
			q.Body.TDAttributes = genuine
			q.Body.TDAttributes[bit/8] |= 1 << (bit % 8)
			if got, ok := verify.CheckOf(q.CheckNoDebug()); !ok || got != verify.TEENoDebug {
				t.Errorf("%s: refused by %q", name, got)
			}
		}
	}
}
