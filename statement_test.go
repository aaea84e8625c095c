package poclog_test

import (
	"slices"
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

func sampleStatementEnvelope() *poclog.StatementEnvelope {
	return &poclog.StatementEnvelope{
		Statement:  *sampleStatements()[poclog.Endorse],
		Signatures: []poclog.Signature{{KeyID: "SHA256:one", Sig: fill(64, 1)}, {KeyID: "SHA256:two", Sig: fill(70, 2)}},
	}
}

func sampleStatementEntry() *poclog.StatementEntry {
	return &poclog.StatementEntry{
		Envelope: *sampleStatementEnvelope(), Signers: sampleDigests(poclog.Sum([]byte("one")), poclog.Sum([]byte("two"))),
		Policy: poclog.BlobOf([]byte("policy")), Time: poclog.UnixTime(1780922600),
	}
}

func sampleStatementSubmission() *poclog.StatementSubmission {
	document := []byte("a photograph")
	s := *sampleStatements()[poclog.Endorse]
	s.Documents = []poclog.Document{{SHA256: poclog.Sum(document), Size: uint32(len(document)), Type: "image/png"}}
	return &poclog.StatementSubmission{Envelope: poclog.StatementEnvelope{Statement: s, Signatures: sampleStatementEnvelope().Signatures}, Documents: [][]byte{document}}
}

func sampleOpening() *poclog.Opening {
	return &poclog.Opening{Root: poclog.Sum([]byte("root")), Salt: poclog.Sum([]byte("salt")), Identity: statedChip, Number: 1, Hashes: [][32]byte{poclog.Sum([]byte("left"))}}
}

func sampleRegistrar() poclog.Registrar {
	keys := []string{sampleKey(0).String(), sampleKey(1).String(), sampleKey(2).String()}
	slices.Sort(keys)
	return poclog.Registrar{Name: "Alliance <of> clouds", Keys: keys, Thresholds: poclog.Thresholds{Endorse: 2, Revoke: 2, Move: 2, Freeze: 1, Commit: 3}}
}

func samplePins() *poclog.Pins {
	return &poclog.Pins{V: 1, Registrars: []poclog.Registrar{sampleRegistrar()}}
}

// TestGreatestStatementIsALeaf: what can be signed can be logged.
func TestGreatestStatementIsALeaf(t *testing.T) {
	s := *sampleStatements()[poclog.Endorse]
	s.Label, s.Method, s.Documents = strings.Repeat(`"`, 255), strings.Repeat(`\`, 128), nil
	for i := range poclog.MaxDocuments {
		s.Documents = append(s.Documents, poclog.Document{SHA256: poclog.Digest{byte(i)}, Size: 1, Type: "a/b", URL: "https://" + strings.Repeat("a", 150)})
	}
	for i := range s.Documents {
		url := &s.Documents[i].URL
		*url += strings.Repeat("a", min(poclog.MaxStatement-len(must(t, &s)), 512-len(*url)))
	}
	if n := len(must(t, &s)); n != poclog.MaxStatement {
		t.Fatalf("a statement of %d bytes: want the greatest", n)
	}
	e := &poclog.StatementEntry{Envelope: poclog.StatementEnvelope{Statement: s}, Policy: poclog.Blob{SHA256: poclog.Sum(nil), Size: 1<<32 - 1}, Time: poclog.UnixTime(1780922600)}
	for i := range poclog.MaxSignatures {
		e.Envelope.Signatures = append(e.Envelope.Signatures, poclog.Signature{KeyID: strings.Repeat("k", 64), Sig: fill(160, byte(i))})
		e.Signers = append(e.Signers, poclog.Digest{byte(i)})
	}
	if leaf := must(t, e); len(leaf) > poclog.MaxEntry {
		t.Errorf("%d bytes", len(leaf))
	}
}

// statementVectors break one rule each of what registrars sign and readers pin.
func statementVectors(t *testing.T, files map[string]string) map[string]vector {
	t.Helper()
	all := make(map[string]vector)
	for kind, s := range sampleStatements() {
		file := string(must(t, s))
		all["statement-"+string(kind)] = vector{Desc: "a statement of type " + string(kind), Format: "statement", Input: file, Expect: "ok", Digest: poclog.Sum([]byte(file)).String()}
	}
	policy := samplePolicy()
	policy.Registrars = []poclog.Registrar{sampleRegistrar()}
	file := string(must(t, policy))
	all["policy-registrars"] = vector{Desc: "registrars", Format: "policy", Input: file, Expect: "ok", Digest: poclog.Sum([]byte(file)).String()}
	one, two := poclog.Sum([]byte("one")).String(), poclog.Sum([]byte("two")).String()
	if one > two {
		one, two = two, one
	}
	for name, c := range map[string]struct{ desc, format, old, new string }{
		"statement-capitals":       {"a subject in capitals", "statement", "aabbcc", "AABBCC"},
		"statement-no-kind":        {"a subject without its kind", "statement", "intel:tdx:ppid:", ""},
		"statement-quote":          {"a statement about a quote", "statement", string(statedChip), "quote:" + strings.Repeat("01", 32)},
		"statement-place":          {"a place with a capital", "statement", `"eu-1"`, `"EU-1"`},
		"statement-place-zone":     {"a zone without a region", "statement", `"region":"eu",`, ""},
		"statement-until":          {"it ends when it begins", "statement", "2026-10-02T06:29:21Z", "2026-06-08T12:42:41Z"},
		"statement-level-place":    {"an endorsement at level 4", "statement", `"level":3`, `"level":4`},
		"statement-label-control":  {"a label with a control character", "statement", "rack ", "rack\x1b[2J "},
		"statement-label-escape":   {"a label with an escaped control character", "statement", "rack ", `rack\u001b[2J `},
		"statement-label-empty":    {"an empty label", "statement", `"rack \"7\""`, `""`},
		"statement-serial-zero":    {"serial 0", "statement", `"serial":7`, `"serial":0`},
		"statement-document-large": {"a document of over 1 MiB that the log is to keep", "statement", `,"url":"https://example.org/ceremony"`, ""},
		"statement-document-http":  {"a document over http", "statement", `"https:`, `"http:`},
		"statement-document-order": {"documents out of order", "statement", `"sha256":"01`, `"sha256":"ff`},
		"statement-entry-unsorted": {"signers out of order", "statement-entry", one + `","` + two, two + `","` + one},
		"statement-entry-fewer":    {"a signer fewer than signatures", "statement-entry", `,"` + two + `"`, ""},
		"statement-entry-digest":   {"the envelope's digest in its place", "statement-entry", files["statement-envelope"], `"` + one + `"`},
		"registrars-threshold":     {"a threshold above the number of keys", "registrars", `"endorse": 2`, `"endorse": 4`},
		"registrars-threshold-0":   {"a threshold of 0", "registrars", `"freeze": 1`, `"freeze": 0`},
		"registrars-nameless":      {"a registrar without a name", "registrars", "Alliance <of> clouds", ""},
		"registrars-key-twice":     {"a key twice", "registrars", sampleRegistrar().Keys[1], sampleRegistrar().Keys[0]},
		"registrars-version":       {"another version", "registrars", `"v": 1`, `"v": 2`},
		"opening-zero":             {"an opening of an identity of zeros", "opening", "00112233445566778899aabbccddeeff", strings.Repeat("0", 32)},
		"statement-submission-document": {"a document that the statement does not name", "statement-submission", `"documents":["YSBwaG90b2dyYXBo"]}`,
			`"documents":["YSBwaG90b2dyYXBp"]}`},
	} {
		in := strings.Replace(files[c.format], c.old, c.new, 1)
		if in == files[c.format] {
			t.Fatalf("%s: %q is not in %s", name, c.old, in)
		}
		all[name] = vector{Desc: c.desc, Format: c.format, Input: in, Expect: expectOf(t, c.format, in)}
	}
	other := strings.Replace(file, `"name": "Alliance`, `"name": "`, 1)
	all["policy-registrars-threshold"] = vector{Desc: "a registrar's threshold above the number of keys", Format: "policy", Input: strings.Replace(other, `"commit": 3`, `"commit": 4`, 1)}
	for name, v := range all {
		if v.Expect == "" {
			v.Expect = expectOf(t, v.Format, v.Input)
			all[name] = v
		}
	}
	return all
}
