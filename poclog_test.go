package poclog_test

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"github.com/poclog/poclog"
)

// A format is a file format of the package: what parses is encoded again by again.
type format struct {
	name   string
	sample func(testing.TB) []byte
	again  func(file []byte) ([]byte, error)
}

func reencode[T interface{ Marshal() ([]byte, error) }](parse func([]byte) (T, error)) func([]byte) ([]byte, error) {
	return func(file []byte) ([]byte, error) {
		v, err := parse(file)
		if err != nil {
			return nil, err
		}
		return v.Marshal()
	}
}

var formats = []format{
	{"bundle", func(t testing.TB) []byte { return must(t, sampleBundle()) }, reencode(poclog.ParseBundle)},
	{"collateral", func(t testing.TB) []byte { return must(t, sampleCollateral()) }, reencode(poclog.ParseCollateral)},
	{"challenge", func(t testing.TB) []byte { return must(t, sampleChallenge()) }, reencode(poclog.ParseChallenge)},
	{"policy", func(t testing.TB) []byte { return must(t, samplePolicy()) }, reencode(poclog.ParsePolicy)},
	{"entry", func(t testing.TB) []byte { return must(t, sampleEntry()) }, reencode(poclog.ParseEntry)},
	{"receipt", func(t testing.TB) []byte { return must(t, sampleReceipt()) }, reencode(poclog.ParseReceipt)},
	{"receipt with exceptions", func(t testing.TB) []byte { return must(t, sampleExcepted(t)) }, reencode(poclog.ParseReceipt)},
	{"exceptions", func(t testing.TB) []byte { return must(t, sampleExceptions()) }, reencode(poclog.ParseExceptions)},
	{"envelope", func(t testing.TB) []byte { return must(t, sampleEnvelope()) }, reencode(poclog.ParseEnvelope)},
	{"config", func(t testing.TB) []byte { return must(t, sampleConfig()) }, reencode(parseConfig)},
	{"index", func(t testing.TB) []byte { return must(t, sampleIndexEntry()) }, reencode(parseIndexEntry)},
	{"index-wrong", func(t testing.TB) []byte { return must(t, sampleIndexWrong(t)) }, reencode(poclog.ParseIndexWrong)},
	{"statement", func(t testing.TB) []byte { return must(t, sampleStatements()[poclog.Endorse]) }, reencode(poclog.ParseStatement)},
	{"statement-envelope", func(t testing.TB) []byte { return must(t, sampleStatementEnvelope()) }, reencode(poclog.ParseStatementEnvelope)},
	{"statement-entry", func(t testing.TB) []byte { return must(t, sampleStatementEntry()) }, reencode(parseStatementEntry)},
	{"statement-submission", func(t testing.TB) []byte { return must(t, sampleStatementSubmission()) }, reencode(poclog.ParseStatementSubmission)},
	{"opening", func(t testing.TB) []byte { return must(t, sampleOpening()) }, reencode(poclog.ParseOpening)},
	{"registrars", func(t testing.TB) []byte { return must(t, samplePins()) }, reencode(poclog.ParsePins)},
	{"dossier", func(t testing.TB) []byte { return must(t, sampleDossier(t)) }, reencode(poclog.ParseDossier)},
}

func parseConfig(leaf []byte) (*poclog.Config, error) {
	l, err := poclog.ParseLeaf(leaf)
	if err != nil || l.Config == nil {
		return nil, errOther{err}
	}
	return l.Config, nil
}

func parseIndexEntry(leaf []byte) (*poclog.IndexEntry, error) {
	l, err := poclog.ParseLeaf(leaf)
	if err != nil || l.Index == nil {
		return nil, errOther{err}
	}
	return l.Index, nil
}

func parseStatementEntry(leaf []byte) (*poclog.StatementEntry, error) {
	l, err := poclog.ParseLeaf(leaf)
	if err != nil || l.Statement == nil {
		return nil, errOther{err}
	}
	return l.Statement, nil
}

type errOther struct{ error }

func (e errOther) Error() string {
	if e.error == nil {
		return "an entry of another kind"
	}
	return e.error.Error()
}

func TestEveryFormatReadsBackWhatItWrites(t *testing.T) {
	for _, f := range formats {
		file := f.sample(t)
		again, err := f.again(file)
		if err != nil {
			t.Errorf("%s: %v\n%s", f.name, err, file)
		} else if !bytes.Equal(again, file) {
			t.Errorf("%s:\nhave %s\nwant %s", f.name, again, file)
		}
	}
}

func TestEntryKeepsEveryMember(t *testing.T) {
	e := sampleEntry()
	back, err := poclog.ParseEntry(must(t, e))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(e, back) {
		t.Errorf("have %+v\nwant %+v", back, e)
	}
}

// TestNoFormatReadsTwoFilesAsOne changes every byte of a sample in each bit and to each mark of the
// syntax: what still parses must encode to the changed file, so that no two files mean the same.
func TestNoFormatReadsTwoFilesAsOne(t *testing.T) {
	for _, f := range formats {
		file := f.sample(t)
		for i := range file {
			for _, c := range []byte{file[i] ^ 1, file[i] ^ 2, file[i] ^ 4, file[i] ^ 8, file[i] ^ 16, file[i] ^ 32, file[i] ^ 64, file[i] ^ 128, ',', '"', '\\', ']', '}', '0', ' ', '-', '+'} {
				changed := bytes.Clone(file)
				changed[i] = c
				if again, err := f.again(changed); err == nil && !bytes.Equal(again, changed) {
					t.Fatalf("%s: byte %d: %q reads as another file", f.name, i, changed[max(0, i-10):min(len(changed), i+10)])
				}
			}
		}
	}
}

func TestEveryFormatRefusesTruncatedAndTrailingBytes(t *testing.T) {
	for _, f := range formats {
		file := f.sample(t)
		for i := range file {
			if strings.HasPrefix(f.name, "receipt") && bytes.Contains(file[:i], []byte("\n\n")) {
				break // a shorter checkpoint is another checkpoint: its signatures tell
			}
			if _, err := f.again(file[:i]); err == nil {
				t.Errorf("%s: the first %d of %d bytes parse", f.name, i, len(file))
			}
		}
		for _, tail := range []string{" ", "\n", "{}", "\x00"} {
			if _, err := f.again(append(bytes.Clone(file), tail...)); err == nil && !strings.HasPrefix(f.name, "receipt") {
				t.Errorf("%s: trailing %q parses", f.name, tail)
			}
		}
	}
}

func TestUnknownKindsAndVersionsAreStillLeaves(t *testing.T) {
	for _, leaf := range []string{`{"v":2,"kind":"proof"}`, `{"v":1,"kind":"endorsement"}`, "", "anything"} {
		l, err := poclog.ParseLeaf([]byte(leaf))
		if err != nil || l.Proof != nil || l.Config != nil {
			t.Errorf("%q: have %+v, %v; want an unknown leaf", leaf, l, err)
		}
	}
	if _, err := poclog.ParseLeaf(make([]byte, poclog.MaxEntry+1)); err == nil {
		t.Error("a leaf over the limit parses")
	}
}

func TestIdentityForms(t *testing.T) {
	valid := []string{
		"intel:tdx:ppid:0102030405060708090a0b0c0d0e0f10", "amd:snp:chipid:" + strings.Repeat("1f", 64), "tpm:ek:" + strings.Repeat("0a", 32),
		"gce:instance:1:18446744073709551615", "azure:vm:0f8fad5b-d9cb-469f-a165-70867728950e", "quote:" + strings.Repeat("ff", 32),
	}
	for _, s := range valid {
		if id, err := poclog.ParseIdentity(s); err != nil || string(id) != s || id.Kind()+":"+id.Value() != s {
			t.Errorf("%s: %v, kind %s, value %s", s, err, id.Kind(), id.Value())
		}
	}
	invalid := []string{
		"", ":", "intel:tdx:ppid:", "intel:tdx:ppid:0102030405060708090A0B0C0D0E0F10", "intel:tdx:ppid:" + strings.Repeat("0", 32),
		"amd:snp:chipid:" + strings.Repeat("0", 128), "gce:instance:01:2", "gce:instance:1", "gce:instance:0:1", "gce:instance:1:2:3",
		"gce:instance:1:18446744073709551616", "azure:vm:0F8fad5b-d9cb-469f-a165-70867728950e", "azure:vm:0f8fad5bd9cb-469f-a165-70867728950e0",
		"blind:" + strings.Repeat("0a", 32), "tpm:ak:" + strings.Repeat("0a", 31), strings.Repeat("a", 1000),
	}
	for _, s := range invalid {
		if id, err := poclog.ParseIdentity(s); err == nil || id != "" {
			t.Errorf("%q is accepted as %q", s, id)
		}
	}
}

func TestNonceDependsOnEveryInput(t *testing.T) {
	seen := map[[32]byte]string{sampleChallenge().Nonce(): "sample"}
	for name, change := range map[string]func(*poclog.Challenge){
		"profile":    func(c *poclog.Challenge) { c.Profile = poclog.TDX },
		"checkpoint": func(c *poclog.Challenge) { c.Checkpoint = append(c.Checkpoint, '\n') },
		"salt":       func(c *poclog.Challenge) { c.Salt[31] ^= 1 },
		"user data":  func(c *poclog.Challenge) { c.UserData[0] ^= 1 },
	} {
		c := sampleChallenge()
		change(c)
		if other, ok := seen[c.Nonce()]; ok {
			t.Errorf("%s: same nonce as %s", name, other)
		}
		seen[c.Nonce()] = name
	}
}

func TestPolicyAdmitsOnlyWhatARuleFits(t *testing.T) {
	p := samplePolicy()
	for _, c := range []struct {
		profile    poclog.Profile
		level      int
		historical bool
		want       bool
	}{
		{poclog.GCETDXvTPM, 2, false, true},
		{poclog.GCETDXvTPM, 0, false, false},
		{poclog.GCETDXvTPM, 2, true, false},
		{poclog.AzureTDXvTPM, 0, true, true},
		{poclog.AzureTDXvTPM, 2, false, true},
		{poclog.TDX, 0, false, false},
	} {
		if have := p.Admits(c.profile, c.level, c.historical); have != c.want {
			t.Errorf("%+v: have %t", c, have)
		}
	}
}

func TestPolicyRefusesWhatWouldWeakenIt(t *testing.T) {
	for name, change := range map[string]func(*poclog.Policy){
		"historical at level 2":    func(p *poclog.Policy) { p.Admit[1].Historical = true },
		"unknown realm":            func(p *poclog.Policy) { p.Realm = "both" },
		"revoked platforms":        func(p *poclog.Policy) { p.TCB = []string{"Revoked"} },
		"no challenge age":         func(p *poclog.Policy) { p.MaxChallengeAge = 0 },
		"threshold zero":           func(p *poclog.Policy) { p.Publishers.Threshold = 0 },
		"threshold over the keys":  func(p *poclog.Policy) { p.Publishers.Threshold = 2 },
		"one root twice":           func(p *poclog.Policy) { p.Roots[1] = p.Roots[0] },
		"unknown use":              func(p *poclog.Policy) { p.Roots[0].Use = "any" },
		"level 1":                  func(p *poclog.Policy) { p.Admit[0].Level = 1 },
		"terminal escapes in text": func(p *poclog.Policy) { p.Roots[0].Name = "\x1b[31m" },
	} {
		p := samplePolicy()
		change(p)
		if _, err := p.Marshal(); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func FuzzMalleability(f *testing.F) {
	for i, format := range formats {
		f.Add(byte(i), format.sample(f))
	}
	f.Add(byte(1), must(f, sampleEndorsements()))
	f.Add(byte(3), must(f, sampleEndorsingPolicy()))
	f.Add(byte(4), must(f, sampleEndorsedEntry()))
	f.Fuzz(func(t *testing.T, which byte, file []byte) {
		format := formats[int(which)%len(formats)]
		again, err := format.again(file)
		if err == nil && !bytes.Equal(again, file) {
			t.Errorf("%s: %q encodes to %q", format.name, file, again)
		}
	})
}

func BenchmarkParseEntry(b *testing.B) {
	leaf := must(b, sampleEntry())
	b.SetBytes(int64(len(leaf)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := poclog.ParseEntry(leaf); err != nil {
			b.Fatal(err)
		}
	}
}
