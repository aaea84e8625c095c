package poclog_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/poclog/poclog"
)

func sampleContradiction() *poclog.Contradiction {
	c := &poclog.Contradiction{
		Rule: "ak-on-two-chips", Policy: []byte("log a.test+00000000+AA==\nquorum none\n"),
		Claims: []poclog.Showing{{Receipt: []byte("receipt")}, {Receipt: []byte("another"), Covered: [][32]byte{{1}, {2}}}},
	}
	for _, f := range []string{"bundle", "policy", "collateral", "another bundle", "policy", ""} {
		c.AddEvidence([]byte(f))
	}
	return c
}

// sealed gives a file the digest of what stands before it, as whoever changes it would.
func sealed(file []byte) []byte {
	body := file[:max(0, len(file)-len(`,"sha256":"`)-64-len(`"}`))]
	sum := poclog.Sum(body)
	return fmt.Appendf(nil, `%s,"sha256":"%s"}`, body, hex.EncodeToString(sum[:]))
}

func TestContradictionKeepsEveryMember(t *testing.T) {
	c := sampleContradiction()
	if len(c.Evidence) != 4 {
		t.Errorf("%d files: want each once", len(c.Evidence))
	}
	back, err := poclog.ParseContradiction(must(t, c))
	if err != nil || !reflect.DeepEqual(c, back) {
		t.Errorf("have %+v (%v)\nwant %+v", back, err, c)
	}
}

func TestNoByteOfAContradictionCanBeChanged(t *testing.T) {
	file := must(t, sampleContradiction())
	for i := range 8 * len(file) {
		changed := bytes.Clone(file)
		changed[i/8] ^= 1 << (i % 8)
		if _, err := poclog.ParseContradiction(changed); err == nil {
			t.Errorf("byte %d %q: changed and accepted", i/8, file[i/8])
		}
		// With another digest it may be another file, but never the same.
		again, err := reencode(poclog.ParseContradiction)(sealed(changed))
		if err == nil && !bytes.Equal(again, sealed(changed)) {
			t.Errorf("byte %d %q: reads as another file", i/8, file[i/8])
		}
	}
	for i := range file {
		if _, err := poclog.ParseContradiction(file[:i]); err == nil {
			t.Errorf("the first %d bytes parse", i)
		}
	}
}

func TestContradictionsHaveOneForm(t *testing.T) {
	file := string(must(t, sampleContradiction()))
	for name, bad := range map[string]string{
		"another version":         strings.Replace(file, `"v":1`, `"v":2`, 1),
		"a rule in upper case":    strings.Replace(file, `"ak-on`, `"AK-on`, 1),
		"no rule":                 strings.Replace(file, `"ak-on-two-chips"`, `""`, 1),
		"an empty policy":         strings.Replace(file, `"policy":"`, `"policy":"","policy":"`, 1),
		"no claim":                file[:strings.Index(file, `"claims":[`)+10] + file[strings.Index(file, `],"evidence"`):],
		"three claims":            strings.Replace(file, `{"receipt":"`, `{"receipt":"AA"},{"receipt":"`, 1),
		"an empty proof of order": strings.Replace(file, `"covered":[`, `"covered":[],"covered":[`, 1),
		"no evidence":             file[:strings.Index(file, `"evidence":[`)+12] + file[strings.Index(file, `],"sha256"`):],
		"evidence out of order":   strings.Replace(file, `"evidence":["`, `"evidence":["AA","AA","`, 1),
		"trailing bytes":          file + " ",
	} {
		if bad == file {
			t.Fatalf("%s: nothing was changed", name)
		}
		if _, err := poclog.ParseContradiction(sealed([]byte(bad))); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := poclog.ParseContradiction(make([]byte, poclog.MaxContradiction+1)); err == nil || !strings.Contains(err.Error(), "want at most") {
		t.Errorf("over the limit: %v", err)
	}
	for name, change := range map[string]func(*poclog.Contradiction){
		"no claim":       func(c *poclog.Contradiction) { c.Claims = nil },
		"no rule":        func(c *poclog.Contradiction) { c.Rule = "" },
		"no receipt":     func(c *poclog.Contradiction) { c.Claims[0].Receipt = nil },
		"files unsorted": func(c *poclog.Contradiction) { c.Evidence[0], c.Evidence[1] = c.Evidence[1], c.Evidence[0] },
		"many files": func(c *poclog.Contradiction) {
			for i := range 9 {
				c.AddEvidence([]byte{byte(i)})
			}
		},
	} {
		c := sampleContradiction()
		change(c)
		if _, err := c.Marshal(); err == nil {
			t.Errorf("%s: written", name)
		}
	}
}

// The greatest that two entries can need fits.
func TestContradictionsOfTheGreatestEvidenceFit(t *testing.T) {
	c := &poclog.Contradiction{Rule: "boot-forked", Policy: fill(1<<16, 1), Claims: []poclog.Showing{{Receipt: fill(poclog.MaxReceipt, 1)}, {Receipt: fill(poclog.MaxReceipt, 2)}}}
	for i := range c.Claims {
		c.Claims[i].Covered = make([][32]byte, 63)
	}
	for i := range byte(2) {
		for _, n := range []int{poclog.MaxBundle, poclog.MaxEnvelope, poclog.MaxCollateral, poclog.MaxPolicy} {
			c.AddEvidence(fill(n, i))
		}
	}
	file := must(t, c)
	t.Logf("%d of %d bytes", len(file), poclog.MaxContradiction)
}

func FuzzParseContradiction(f *testing.F) {
	f.Add(must(f, sampleContradiction()))
	f.Fuzz(func(t *testing.T, file []byte) {
		file = sealed(file)
		again, err := reencode(poclog.ParseContradiction)(file)
		if err == nil && !bytes.Equal(again, file) {
			t.Errorf("%q encodes to %q", file, again)
		}
	})
}
