package tdx_test

import (
	"strings"
	"testing"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/chip"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/tdx"
)

// The chip certifies the report of any enclave that is shown to it. An enclave of the attacker's,
// or Intel's under debug, would sign whatever it is told, for a trust domain that need not exist.
// No collateral is needed to see it.
func TestOnlyIntelsEnclaveQuotes(t *testing.T) {
	m := chip.NewMaker("enclaves", labStart)
	p, trusted := m.NewPlatform("an attacker's machine", nil), tdx.Roots{poclog.Sum(m.Root()): true}
	const miscSelect, attributes, measurement, signer, product, svn = 16, 48, 64, 128, 256, 258
	for _, c := range []struct {
		name   string
		change func(report []byte)
		why    string // empty: it passes
	}{
		{"Intel's", func([]byte) {}, ""},
		{"another version of Intel's", func(r []byte) { r[measurement] ^= 1; r[svn]++ }, ""},
		{"32 bit, and with attributes that a version may have", func(r []byte) { r[attributes] ^= 0x84; r[attributes+8]++; r[miscSelect]++ }, ""},
		{"the attacker's", func(r []byte) { r[measurement] ^= 1; r[signer] ^= 1 }, "signed by dd9e2a7c"},
		{"of a signer that differs in its last octet", func(r []byte) { r[signer+31] ^= 1 }, "signed by dc9e2a7c"},
		{"Intel's SGX quoting enclave", func(r []byte) { r[product] = 1 }, "product 1 of its signer"},
		{"of a product that differs in its second octet", func(r []byte) { r[product+1] = 1 }, "product 258 of its signer"},
		{"Intel's, under debug", func(r []byte) { r[attributes] |= 2 }, "under debug"},
		{"one that never ran", func(r []byte) { r[attributes] &^= 1 }, "want INIT and PROVISIONKEY"},
		{"one without the provisioning key", func(r []byte) { r[attributes] &^= 0x10 }, "want INIT and PROVISIONKEY"},
	} {
		q, err := tdx.ParseQuote(p.WithEnclave(c.change).Quote(chip.TD{}))
		if err != nil {
			t.Fatal(err)
		}
		if err := q.CheckChain(trusted, labNow); err != nil {
			t.Fatal(err)
		}
		if err = q.CheckSignature(); c.why == "" {
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		if wantCheck(t, err, verify.TEESignature); err == nil || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: %v: want %q", c.name, err, c.why)
		}
	}
}
