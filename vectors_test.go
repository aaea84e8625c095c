package poclog_test

import (
	"fmt"
	"maps"
	"strconv"
	"strings"
	"testing"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/vectors"
)

// A vector is a file of one format, and whether a reader takes it.
type vector struct {
	Desc   string `json:"desc"`
	Format string `json:"format"` // "identity", "bundle", "collateral", "challenge", "policy", "entry", "submission", "contradiction", "envelope", "exceptions"
	Input  string `json:"input"`
	Expect string `json:"expect"`           // "ok", or a part of the error
	Digest string `json:"digest,omitempty"` // of accepted files: SHA-256
	Nonce  string `json:"nonce,omitempty"`  // of accepted challenges
}

const vectorDir = "testdata/formats"

// read parses a vector's input and writes it again.
func (v *vector) read() (again []byte, err error) {
	in := []byte(v.Input)
	switch v.Format {
	case "identity":
		id, err := poclog.ParseIdentity(v.Input)
		return []byte(id), err
	case "bundle":
		return reencode(poclog.ParseBundle)(in)
	case "collateral":
		return reencode(poclog.ParseCollateral)(in)
	case "challenge":
		return reencode(poclog.ParseChallenge)(in)
	case "policy":
		return reencode(poclog.ParsePolicy)(in)
	case "entry":
		return reencode(poclog.ParseEntry)(in)
	case "contradiction":
		return reencode(poclog.ParseContradiction)(in)
	case "exceptions":
		return reencode(poclog.ParseExceptions)(in)
	case "submission":
		return reencode(poclog.ParseSubmission)(in)
	case "envelope":
		return reencode(poclog.ParseEnvelope)(in)
	case "dossier":
		return reencode(poclog.ParseDossier)(in)
	case "index-wrong":
		return reencode(poclog.ParseIndexWrong)(in)
	case "statement":
		return reencode(poclog.ParseStatement)(in)
	case "statement-envelope":
		return reencode(poclog.ParseStatementEnvelope)(in)
	case "statement-entry":
		return reencode(parseStatementEntry)(in)
	case "statement-submission":
		return reencode(poclog.ParseStatementSubmission)(in)
	case "opening":
		return reencode(poclog.ParseOpening)(in)
	case "registrars":
		return reencode(poclog.ParsePins)(in)
	case "config-entry":
		return reencode(parseConfig)(in)
	case "index-entry":
		return reencode(parseIndexEntry)(in)
	}
	return nil, fmt.Errorf("format %q", v.Format)
}

func makeVectors(t *testing.T) map[string]vector {
	t.Helper()
	submission := &poclog.Submission{Bundle: []byte("bundle"), Collateral: []byte("collateral"), Judged: poclog.UnixTime(1780922561)}
	files := map[string]string{
		"bundle": string(must(t, sampleBundle())), "collateral": string(must(t, sampleCollateral())), "challenge": string(must(t, sampleChallenge())),
		"policy": string(must(t, samplePolicy())), "entry": string(must(t, sampleEntry())), "submission": string(must(t, submission)),
		"envelope": string(must(t, sampleEnvelope())), "contradiction": string(must(t, sampleContradiction())), "exceptions": string(must(t, sampleExceptions())),
		"dossier": string(must(t, sampleDossier(t))), "config-entry": string(must(t, sampleConfig())), "index-entry": string(must(t, sampleIndexEntry())),
		"index-wrong": string(must(t, sampleIndexWrong(t))),
		"statement":   string(must(t, sampleStatements()[poclog.Endorse])), "statement-envelope": string(must(t, sampleStatementEnvelope())),
		"statement-entry": string(must(t, sampleStatementEntry())), "statement-submission": string(must(t, sampleStatementSubmission())),
		"opening": string(must(t, sampleOpening())), "registrars": string(must(t, samplePins())),
	}
	all := make(map[string]vector)
	for format, file := range files {
		ok := vector{Desc: "every member", Format: format, Input: file, Expect: "ok", Digest: poclog.Sum([]byte(file)).String()}
		if format == "challenge" {
			nonce := sampleChallenge().Nonce()
			ok.Nonce = fmt.Sprintf("%x", nonce)
		}
		all[format] = ok
		end := strings.TrimRight(file, "\n")
		for name, bad := range map[string]struct{ desc, input string }{
			"truncated": {"cut short by a byte", end[:len(end)-1]},
			"trailing":  {"a byte after the end", file + " "},
			"spaced":    {"white space that the canonical form does not have", strings.Replace(file, ":", ":  ", 1)},
			"empty":     {"nothing", ""},
			"unknown":   {"a member that no one knows", strings.Replace(file, "{", `{"x":1,`, 1)},
			"null":      {"null", "null"},
			"deep":      {"lists in lists", strings.Repeat("[", 10000)},
		} {
			all[format+"-"+name] = vector{Desc: bad.desc, Format: format, Input: bad.input, Expect: expectOf(t, format, bad.input)}
		}
	}
	samples := maps.Clone(files)
	samples["entry-snp"], samples["entry-endorsed"] = string(must(t, sampleSNPEntry())), string(must(t, sampleEndorsedEntry()))
	samples["collateral-endorsed"] = string(must(t, sampleEndorsements()))
	for name, v := range memberVectors(t, samples) {
		if special := strings.TrimPrefix(strings.TrimPrefix(name, "entry-snp-"), "entry-endorsed-"); special != name && !strings.Contains(special, "snp") && !strings.Contains(special, "endorsements") {
			continue // of the sample of entries, too
		}
		all[name] = v
	}
	maps.Copy(all, boundVectors(t, samples))
	historical := sampleEntry()
	historical.Fresh, historical.Level = nil, poclog.LevelChip
	all["entry-historical"] = vector{Desc: "historical evidence: fresh is null", Format: "entry", Input: string(must(t, historical))}.judged()
	maps.Copy(all, exceptionVectors(t, files["exceptions"]))
	for name, v := range snpVectors(t) {
		all[name] = v
	}
	for name, v := range publisherVectors(t, files) {
		all[name] = v
	}
	for name, v := range endorsementVectors(t) {
		all[name] = v
	}
	maps.Copy(all, statementVectors(t, files))
	for name, v := range specialVectors(files) {
		v.Expect = expectOf(t, v.Format, v.Input)
		all[name] = v
	}
	for i, id := range []string{
		"intel:tdx:ppid:00112233445566778899aabbccddeeff", "amd:snp:chipid:" + strings.Repeat("0f", 64), "tpm:ak:" + strings.Repeat("ab", 32), "gce:instance:1:2",
		"azure:vm:3c18c97a-0d2a-4565-969d-166cdcef26a3", "quote:" + strings.Repeat("01", 32),
	} {
		all[fmt.Sprintf("identity-%d", i)] = vector{Desc: "a known kind", Format: "identity", Input: id, Expect: "ok", Digest: poclog.Sum([]byte(id)).String()}
	}
	return all
}

// specialVectors break one rule each.
func specialVectors(files map[string]string) map[string]vector {
	zero := strings.Repeat("0", 32)
	e, b := files["entry"], files["bundle"]
	return map[string]vector{
		"identity-zero":         {Desc: "all zero is no identity", Format: "identity", Input: "intel:tdx:ppid:" + zero},
		"identity-upper-case":   {Desc: "upper case", Format: "identity", Input: "intel:tdx:ppid:00112233445566778899AABBCCDDEEFF"},
		"identity-short":        {Desc: "a digit less", Format: "identity", Input: "intel:tdx:ppid:00112233445566778899aabbccddeef"},
		"identity-unknown-kind": {Desc: "a kind that no one knows", Format: "identity", Input: "intel:sgx:ppid:00112233445566778899aabbccddeeff"},
		"identity-leading-zero": {Desc: "a number with a leading zero", Format: "identity", Input: "gce:instance:01:2"},
		"bundle-duplicate":      {Desc: "an item twice", Format: "bundle", Input: strings.Replace(b, `,"snp-report"`, `,"tdx-quote":["application/vnd.poclog.tdx-quote","AA",4],"snp-report"`, 1)},
		"bundle-padding":        {Desc: "base64url with padding", Format: "bundle", Input: strings.Replace(b, `"AA"`, `"AA=="`, 1)},
		"bundle-base64-bits":    {Desc: "base64url whose last bits are not zero", Format: "bundle", Input: strings.Replace(b, `"AA"`, `"AB"`, 1)},
		"bundle-media-type":     {Desc: "an item with another's media type", Format: "bundle", Input: strings.Replace(b, "vnd.poclog.snp-report", "vnd.poclog.tdx-quote", 1)},
		"bundle-cmw-type":       {Desc: "another collection", Format: "bundle", Input: strings.Replace(b, "2026:bundle", "2027:bundle", 1)},
		"entry-level":           {Desc: "a level that there is not", Format: "entry", Input: strings.Replace(e, `"level":2`, `"level":1`, 1)},
		"entry-number-zero":     {Desc: "a number with a leading zero", Format: "entry", Input: strings.Replace(e, `"level":2`, `"level":02`, 1)},
		"entry-number-float":    {Desc: "a float", Format: "entry", Input: strings.Replace(e, `"level":2`, `"level":2.0`, 1)},
		"entry-unsorted":        {Desc: "identities out of order", Format: "entry", Input: strings.Replace(e, "intel:tdx:piid", "tpm:ek", 1)},
		"entry-time-offset":     {Desc: "a time that is not in UTC", Format: "entry", Input: strings.Replace(e, `Z"}`, `+00:00"}`, 1)},
		"entry-escape":          {Desc: "a character escaped that need not be", Format: "entry", Input: strings.Replace(e, `"gce"`, `"\u0067ce"`, 1)},
		"entry-version":         {Desc: "another version", Format: "entry", Input: strings.Replace(e, `{"v":1`, `{"v":2`, 1)},
		"entry-appraisal-zero":  {Desc: "appraisal 0", Format: "entry", Input: strings.Replace(e, `"appraisal":1`, `"appraisal":0`, 1)},
		"entry-upper-case-hex":  {Desc: "hexadecimal in upper case", Format: "entry", Input: strings.Replace(e, `"a1a1`, `"A1a1`, 1)},
		"entry-key-type":        {Desc: "an AK of a type whose quotes do not verify", Format: "entry", Input: strings.Replace(e, "rsa-2048", "rsa-1024", 1)},
		"policy-registry-query": {Desc: "a registry with a query", Format: "policy", Input: strings.Replace(files["policy"], `registry.example/`, `registry.example/?chip=`, 1)},
		"policy-registry-file":  {Desc: "a registry that is a file", Format: "policy", Input: strings.Replace(files["policy"], `https://registry.example/`, `file:///registry/`, 1)},
		"policy-level-of-past":  {Desc: "historical evidence at level 2", Format: "policy", Input: strings.Replace(files["policy"], `"historical": false`, `"historical": true`, -1)},
	}
}

// snpVectors are of what only SEV-SNP has.
func snpVectors(t *testing.T) map[string]vector {
	e, p := string(must(t, sampleSNPEntry())), string(must(t, sampleSNPPolicy()))
	all := map[string]vector{
		"entry-snp":  {Desc: "every member of SEV-SNP", Format: "entry", Input: e, Expect: "ok", Digest: poclog.Sum([]byte(e)).String()},
		"policy-snp": {Desc: "every member of SEV-SNP", Format: "policy", Input: p, Expect: "ok", Digest: poclog.Sum([]byte(p)).String()},
	}
	for name, v := range map[string]vector{
		"entry-snp-of-tdx":    {Desc: "an SNP report's claims beside TDX", Format: "entry", Input: strings.Replace(e, `"technology":"snp"`, `"technology":"tdx"`, 1)},
		"entry-snp-product":   {Desc: "a product that there is not", Format: "entry", Input: strings.Replace(e, "Turin", "Rome", 1)},
		"entry-snp-zero":      {Desc: "an ID key of zeros", Format: "entry", Input: strings.Replace(e, strings.Repeat("b2", 48), strings.Repeat("00", 48), 1)},
		"policy-snp-fmc":      {Desc: "a component that Milan does not have", Format: "policy", Input: strings.Replace(p, `"Milan",`, "\"Milan\",\n      \"fmc\": 1,", 1)},
		"policy-snp-unsorted": {Desc: "products out of order", Format: "policy", Input: strings.Replace(p, `"Turin"`, `"Genoa"`, 1)},
		"policy-snp-tdx-key":  {Desc: "an ID key for TDX", Format: "policy", Input: strings.Replace(p, `"profile": "azure-snp-vtpm",`, `"profile": "azure-tdx-vtpm",`, 1)},
		"policy-snp-svn":      {Desc: "a security version of over eight bits", Format: "policy", Input: strings.Replace(p, `"microcode": 219`, `"microcode": 256`, 1)},
	} {
		v.Expect = expectOf(t, v.Format, v.Input)
		all[name] = v
	}
	return all
}

// endorsementVectors are of what others vouch for.
func endorsementVectors(t *testing.T) map[string]vector {
	e, p, c := string(must(t, sampleEndorsedEntry())), string(must(t, sampleEndorsingPolicy())), string(must(t, sampleEndorsements()))
	all := make(map[string]vector)
	for format, file := range map[string]string{"entry": e, "policy": p, "collateral": c} {
		all[format+"-endorsed"] = vector{Desc: "what others vouch for", Format: format, Input: file, Expect: "ok", Digest: poclog.Sum([]byte(file)).String()}
	}
	token, _, _ := strings.Cut(e[strings.Index(e, `{"kind":"alliance-token"`):], "}")
	for name, v := range map[string]vector{
		"entry-endorsed-empty":        {Desc: "an empty list of endorsements", Format: "entry", Input: strings.Replace(string(must(t, sampleEntry())), `"cvm":`, `"endorsements":[],"cvm":`, 1)},
		"entry-endorsed-twice":        {Desc: "two by one registry", Format: "entry", Input: strings.Replace(e, token+"}", token+"},"+token+"}", 1)},
		"entry-endorsed-unsorted":     {Desc: "signers out of order", Format: "entry", Input: strings.Replace(e, strings.Repeat("0a", 32), strings.Repeat("ff", 32), 1)},
		"entry-endorsed-kind":         {Desc: "an endorsement by collateral of another kind", Format: "entry", Input: strings.Replace(e, "alliance-token", "chip-registry", 1)},
		"entry-endorsed-other":        {Desc: "an endorsement of another chip", Format: "entry", Input: strings.Replace(e, `"of":"intel:tdx:ppid:11`, `"of":"intel:tdx:ppid:12`, 1)},
		"entry-endorsed-comma":        {Desc: "an endorsement of what stands between two of the chassis", Format: "entry", Input: strings.Replace(e, `"of":"intel:tdx:ppid:1112131415161718191a1b1c1d1e1f20"`, `"of":","`, 1)},
		"entry-endorsed-silent":       {Desc: "an endorsement that says nothing", Format: "entry", Input: strings.Replace(e, `"says":"rack 7"`, `"says":""`, 1)},
		"entry-endorsed-long":         {Desc: "a label of 256 bytes", Format: "entry", Input: strings.Replace(e, "rack 7", strings.Repeat("a", 256), 1)},
		"entry-endorsed-until":        {Desc: "an end of what a registry said", Format: "entry", Input: strings.Replace(e, `:00Z"},{`, `:00Z","until":"2027-06-01T12:00:00Z"},{`, 1)},
		"entry-endorsed-no-time":      {Desc: "a time that no registry gives", Format: "entry", Input: strings.Replace(e, `"from":"2026-06-01T12:00:00Z"`, `"from":"0001-01-01T00:00:00Z"`, 1)},
		"entry-endorsed-since":        {Desc: "an owner's endorsement without a beginning", Format: "entry", Input: strings.Replace(e, `"from":"2026-05-01T00:00:00Z",`, "", 1)},
		"collateral-quote-size-0":     {Desc: "a quote of no bytes", Format: "collateral", Input: strings.Replace(c, `"quote_size":8000`, `"quote_size":0`, 1)},
		"collateral-quote-size-large": {Desc: "a quote of over 65,536 bytes", Format: "collateral", Input: strings.Replace(c, `"quote_size":8000`, `"quote_size":65537`, 1)},
		"collateral-quote-size-other": {Desc: "the size of a quote beside an owner's endorsement", Format: "collateral", Input: strings.Replace(c, `"owner-endorsement",`, `"owner-endorsement","quote_size":8000,`, 1)},
		"entry-endorsed-open":         {Desc: "an owner's endorsement without an end", Format: "entry", Input: strings.Replace(e, `,"until":"2027-05-01T00:00:00Z"`, "", 1)},
		"entry-endorsed-reversed":     {Desc: "an end before the beginning", Format: "entry", Input: strings.Replace(e, `"until":"2027`, `"until":"2025`, 1)},
		"policy-endorsed-key":         {Desc: "a key of 31 octets", Format: "policy", Input: strings.Replace(p, strings.Repeat("0a", 32), strings.Repeat("0a", 31), 1)},
		"policy-endorsed-zero":        {Desc: "a key of zeros", Format: "policy", Input: strings.Replace(p, strings.Repeat("0a", 32), strings.Repeat("00", 32), 1)},
		"policy-endorsed-twice":       {Desc: "one key under two names", Format: "policy", Input: strings.Replace(p, strings.Repeat("0b", 32), strings.Repeat("0a", 32), 1)},
		"policy-endorsed-case":        {Desc: "a key in upper case", Format: "policy", Input: strings.Replace(p, strings.Repeat("0a", 32), strings.Repeat("0A", 32), 1)},
		"collateral-endorsed-404":     {Desc: "a registry's token with an HTTP status", Format: "collateral", Input: strings.Replace(c, `"alliance-token",`, `"alliance-token","time":"2026-06-01T12:00:00Z","status":404,`, 1)},
	} {
		v.Expect = expectOf(t, v.Format, v.Input)
		all[name] = v
	}
	return all
}

// expectOf is the error of an input, without what follows its reason: vectors are for other
// languages too.
func expectOf(t *testing.T, format, input string) string {
	t.Helper()
	v := vector{Format: format, Input: input}
	if _, err := v.read(); err != nil {
		return "refused"
	}
	t.Errorf("%s: %.100q is accepted", format, input)
	return "ok"
}

func TestVectors(t *testing.T) {
	if vectors.Updating() {
		vectors.Write(t, vectorDir, makeVectors(t))
	}
	vectors.Each(t, vectorDir, func(t *testing.T, v vector) {
		again, err := v.read()
		if (v.Expect == "ok") != (err == nil) {
			t.Fatalf("%s: %v: want %s", v.Desc, err, v.Expect)
		}
		if err != nil {
			if strings.Contains(err.Error(), "\n") || len(err.Error()) > 500 {
				t.Errorf("%s: an error of more than a line: %v", v.Desc, err)
			}
			return
		}
		if string(again) != v.Input || poclog.Sum([]byte(v.Input)).String() != v.Digest {
			t.Errorf("%s: written as another file", v.Desc)
		}
		if v.Nonce != "" {
			c, err := poclog.ParseChallenge([]byte(v.Input))
			if err != nil {
				t.Fatal(err)
			}
			if nonce := c.Nonce(); fmt.Sprintf("%x", nonce) != v.Nonce {
				t.Errorf("nonce %x", nonce)
			}
		}
	})
}

// exceptionVectors are notes of exceptions that say what none may say.
func exceptionVectors(t *testing.T, good string) map[string]vector {
	t.Helper()
	all := make(map[string]vector)
	for name, c := range map[string]struct{ desc, old, new string }{
		"own-key":    {"signed by an auditor's own key", `a1/except"`, `a1"`},
		"nameless":   {"of an auditor without a name", `auditor.example/a1/except"`, `/except"`},
		"none":       {"without an entry", `["0","7","8589934592"]`, `[]`},
		"repeated":   {"an entry twice", `"7",`, `"7","7",`},
		"descending": {"entries that do not ascend", `"0","7"`, `"7","0"`},
		"beyond":     {"an entry beyond the tree", `8589934592`, `1099511627776`},
		"number":     {"an entry's number that is no string", `"7"`, `7`},
		"zeros":      {"a number with a leading zero", `"7"`, `"07"`},
		"huge":       {"more entries than a note lists", `"0","7","8589934592"`, manyNumbers(poclog.MaxExcepted + 1)},
		"unsigned":   {"without a signature", good[strings.Index(good, `,"signatures"`):], `,"signatures":[]}`},
		"one-key":    {"two signatures of one key", `"id":"01020000"`, `"id":"01000000"`},
	} {
		in := strings.Replace(good, c.old, c.new, 1)
		if in == good {
			t.Fatalf("%s: %q is not in the note", name, c.old)
		}
		all["exceptions-"+name] = vector{Desc: c.desc, Format: "exceptions", Input: in, Expect: expectOf(t, "exceptions", in)}
	}
	return all
}

func manyNumbers(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("%q", strconv.Itoa(i))
	}
	return strings.Join(list, ",")
}
