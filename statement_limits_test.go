package poclog_test

import (
	"crypto/ed25519"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/poclog/poclog"
)

// registrars are n of them, the first with so many keys.
func registrars(t *testing.T, n, keys int) *poclog.Pins {
	t.Helper()
	p := &poclog.Pins{V: 1}
	for i := range n {
		r := poclog.Registrar{Name: fmt.Sprintf("registrar %02d", i), Thresholds: poclog.Thresholds{Endorse: 1, Revoke: 1, Move: 1, Freeze: 1, Commit: 1}}
		for k := range max(1, keys*(1-min(i, 1))) {
			key, err := poclog.NewPublisherKey(ed25519.NewKeyFromSeed(fill(32, byte(k))).Public())
			if err != nil {
				t.Fatal(err)
			}
			r.Keys = append(r.Keys, key.String())
		}
		slices.Sort(r.Keys)
		p.Registrars = append(p.Registrars, r)
	}
	if keys == 0 {
		p.Registrars[0].Keys = nil
	}
	return p
}

func TestRegistrarsHaveLimits(t *testing.T) {
	named := func(name string) *poclog.Pins {
		p := registrars(t, 1, 1)
		p.Registrars[0].Name = name
		return p
	}
	for _, c := range []struct {
		pins *poclog.Pins
		says string // empty: taken
	}{
		{registrars(t, 64, 1), ""},
		{registrars(t, 65, 1), "registrars: 65: want at most 64"},
		{registrars(t, 1, 64), ""},
		{registrars(t, 1, 65), "65 keys: want 1 to 64"},
		{registrars(t, 1, 0), "0 keys: want 1 to 64"},
		{named(strings.Repeat("n", 128)), ""},
		{named(strings.Repeat("n", 129)), "want a name of 1 to 128 bytes"},
		{named(""), "want a name of 1 to 128 bytes"},
		{named("Alliance\x1b[2J"), "of printable ASCII"},
	} {
		if _, err := c.pins.Marshal(); c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%d registrars, the first %q with %d keys: %v, want %q", len(c.pins.Registrars), c.pins.Registrars[0].Name, len(c.pins.Registrars[0].Keys), err, c.says)
		}
	}
}

func TestStatementsAreTakenUpToTheirLimits(t *testing.T) {
	kept := func(n ...uint32) func(*poclog.Statement) {
		return func(s *poclog.Statement) {
			s.Documents = nil
			for i, size := range n {
				s.Documents = append(s.Documents, poclog.Document{SHA256: poclog.Digest{byte(i)}, Size: size, Type: "image/png"})
			}
		}
	}
	for name, c := range map[string]struct {
		change func(*poclog.Statement)
		says   string // empty: taken
	}{
		"level 1":                        {func(s *poclog.Statement) { s.Level = 1 }, ""},
		"level 0":                        {func(s *poclog.Statement) { s.Level = 0 }, "level 0"},
		"the largest document":           {kept(poclog.MaxDocument), ""},
		"a larger one":                   {kept(poclog.MaxDocument + 1), "or a url"},
		"an empty one":                   {kept(0), "document of 0 bytes"},
		"one document twice":             {func(s *poclog.Statement) { kept(5, 5)(s); s.Documents[1].SHA256 = s.Documents[0].SHA256 }, "documents"},
		"another identity's 32 letters":  {func(s *poclog.Statement) { s.Subject = poclog.Identity(strings.Repeat("z", 32)) }, "!has no kind"},
		"another identity's 128 letters": {func(s *poclog.Statement) { s.Subject = poclog.Identity(strings.Repeat("z", 128)) }, "!has no kind"},
		"64 hexadecimal digits":          {func(s *poclog.Statement) { s.Subject = poclog.Identity(strings.Repeat("0f", 32)) }, "!has no kind"},
	} {
		s := sampleStatements()[poclog.Endorse]
		c.change(s)
		_, err := s.Marshal()
		not, negated := strings.CutPrefix(c.says, "!")
		if c.says == "" && err != nil || c.says != "" && (err == nil || strings.Contains(err.Error(), not) == negated) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
}

// Attack: one member's key is listed as two signers.
func TestASignerIsListedOnce(t *testing.T) {
	e := sampleStatementEntry()
	e.Signers[1] = e.Signers[0]
	if _, err := e.Marshal(); err == nil || !strings.Contains(err.Error(), "signers") {
		t.Errorf("%v", err)
	}
}

func TestStatementsInWords(t *testing.T) {
	all := sampleStatements()
	bare := sampleStatements()
	bare[poclog.Endorse].Place, bare[poclog.Revoke].Of, bare[poclog.Revoke].Text, bare[poclog.Freeze].Text = nil, nil, "", ""
	for _, c := range []struct {
		s    *poclog.Statement
		want string
	}{
		{all[poclog.Endorse], `level 3 by "visit", labelled "rack \"7\"", from 2026-06-08T12:42:41Z until 2026-10-02T06:29:21Z, said to stand in acme/eu/eu-1`},
		{bare[poclog.Endorse], `level 3 by "visit", labelled "rack \"7\"", from 2026-06-08T12:42:41Z until 2026-10-02T06:29:21Z`},
		{all[poclog.Revoke], "statement " + poclog.Sum([]byte("endorsement")).String() + ` since 2026-06-08T12:42:41Z, mistake, "the wrong rack"`},
		{bare[poclog.Revoke], "all endorsements since 2026-06-08T12:42:41Z, mistake"},
		{all[poclog.Move], "from acme/eu/eu-1 to acme, between 2026-06-08T12:42:41Z and 2026-10-02T06:29:21Z"},
		{all[poclog.Freeze], `"a report"`},
		{bare[poclog.Freeze], "without words"},
	} {
		if got := c.s.Words(); got != c.want {
			t.Errorf("%s: %s, want %s", c.s.Type, got, c.want)
		}
	}
}
