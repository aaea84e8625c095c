package poclog_test

import (
	"strings"
	"testing"

	"github.com/poclog/poclog"
)

var statedChip = poclog.Identity("intel:tdx:ppid:00112233445566778899aabbccddeeff")

// sampleStatements have every member of their type.
func sampleStatements() map[poclog.StatementType]*poclog.Statement {
	from, until := poclog.UnixTime(1780922561), poclog.UnixTime(1790922561)
	of := poclog.Sum([]byte("endorsement"))
	place := &poclog.StatedPlace{Provider: "acme", Region: "eu", Zone: "eu-1"}
	documents := []poclog.Document{{SHA256: poclog.Digest{1}, Size: 5, Type: "image/png"}, {SHA256: poclog.Digest{2}, Size: 1 << 30, Type: "video/mp4", URL: "https://example.org/ceremony"}}
	out := map[poclog.StatementType]*poclog.Statement{
		poclog.Endorse: {Level: 3, Method: "visit", Label: `rack "7"`, Place: place, From: from, Until: until, Documents: documents},
		poclog.Revoke:  {Of: &of, Since: from, Reason: "mistake", Text: "the wrong rack", Documents: documents},
		poclog.Move:    {Source: place, Target: &poclog.StatedPlace{Provider: "acme"}, From: from, Until: until},
		poclog.Freeze:  {Text: "a report"},
		poclog.Thaw:    {Text: "it was nothing"},
		poclog.Commit:  {Root: of, Count: 10000, Level: 2, From: from, Until: until},
	}
	for kind, s := range out {
		s.Type, s.Origin, s.Registrar, s.Serial = kind, "log.example.org/poc", "Alliance", 7
		if kind != poclog.Commit {
			s.Subject = statedChip
		}
	}
	return out
}

func TestStatementsHaveOneForm(t *testing.T) {
	for kind, s := range sampleStatements() {
		file := must(t, s)
		again, err := poclog.ParseStatement(file)
		if err != nil || string(must(t, again)) != string(file) {
			t.Errorf("%s: %s: %v", kind, file, err)
		}
		for i := range file {
			if _, err := poclog.ParseStatement(file[:i]); err == nil {
				t.Fatalf("%s: the first %d bytes are taken", kind, i)
			}
		}
		v := &poclog.StatementEnvelope{Statement: *s, Signatures: []poclog.Signature{{KeyID: "SHA256:one", Sig: fill(64, 1)}}}
		envelope := must(t, v)
		if _, err := poclog.ParseStatementEnvelope(envelope); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		if _, err := poclog.ParseEnvelope(envelope); err == nil {
			t.Errorf("%s: a statement is taken for a submission", kind)
		}
	}
}

func TestErrorsThatRegistrarsMake(t *testing.T) {
	file := func(kind poclog.StatementType) string { return string(must(t, sampleStatements()[kind])) }
	endorse, move := file(poclog.Endorse), file(poclog.Move)
	for _, x := range []struct{ input, says string }{
		{strings.Replace(endorse, "aabb", "AABB", 1), `has capitals: want "` + string(statedChip) + `"`},
		{strings.Replace(endorse, "intel:tdx:ppid:", "", 1), "has no kind: want " + string(statedChip)},
		{strings.Replace(endorse, string(statedChip), strings.Repeat("0f", 64), 1), "has no kind: want amd:snp:chipid:0f"},
		{strings.Replace(endorse, string(statedChip), "quote:"+strings.Repeat("01", 32), 1), "want an identity of kind"},
		{strings.Replace(endorse, `"eu-1"`, `"EU 1"`, 1), `zone "EU 1": want 1 to 64 of a-z, 0-9 and -`},
		{strings.Replace(move, `"region":"eu",`, "", 1), "a zone and no region"},
		{strings.Replace(endorse, "2026-10-02T06:29:21Z", "2026-06-08T12:42:41Z", 1), "is not after from"},
		{strings.Replace(endorse, `"level":3`, `"level":4`, 1), "level 4: want 1, 2 or 3"},
		{strings.Replace(endorse, `"serial":7`, `"serial":0`, 1), "serial 0"},
		{strings.Replace(endorse, "rack ", "rack\x1b[2J", 1), "printable"},
		{strings.Replace(endorse, `"url":"https:`, `"url":"file:`, 1), "want one of https"},
		{strings.Replace(endorse, `,"url":"https://example.org/ceremony"`, "", 1), "or a url"},
		{strings.Replace(file(poclog.Commit), `"count":10000`, `"count":0`, 1), "count 0"},
		{strings.Replace(file(poclog.Revoke), `"mistake"`, `"boredom"`, 1), `reason "boredom": unknown`},
	} {
		if _, err := poclog.ParseStatement([]byte(x.input)); err == nil || !strings.Contains(err.Error(), x.says) {
			t.Errorf("%s: %v: want %s", x.input, err, x.says)
		}
	}
}

func FuzzStatement(f *testing.F) {
	for _, s := range sampleStatements() {
		file, err := s.Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(file)
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		s, err := poclog.ParseStatement(file)
		if err != nil {
			return
		}
		if again, err := s.Marshal(); err != nil || string(again) != string(file) {
			t.Errorf("%q: written again %q, %v", file, again, err)
		}
	})
}
