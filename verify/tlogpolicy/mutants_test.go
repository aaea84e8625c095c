package tlogpolicy_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/testlog"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

func TestLinesHaveTheirNumberOfWordsAndOfLines(t *testing.T) {
	log := "log " + testlog.LogKey(origin).VKey
	w := "witness w1 " + testlog.WitnessKey("w1.test").VKey
	many := func(n int, line func(i int) string) string {
		var all []string
		for i := range n {
			all = append(all, line(i))
		}
		return strings.Join(all, "\n")
	}
	logs := func(n int) string {
		return many(n, func(i int) string { return "log " + testlog.LogKey(fmt.Sprintf("log%d.test", i)).VKey })
	}
	groups := func(n int) string {
		return many(n, func(i int) string {
			member := "w1"
			if i > 0 {
				member = fmt.Sprint("g", i-1)
			}
			return fmt.Sprintf("group g%d any %s", i, member)
		})
	}
	for _, c := range []struct{ name, policy, want string }{
		{"a log without key", "log\n" + log, "log <vkey> [<url>]"},
		{"a log with a word too many", log + " https://log.test more", "log <vkey> [<url>]"},
		{"a log over plain HTTP", log + " http://log.test", ""},
		{"256 logs", logs(256), ""},
		{"257 logs", logs(257), "log <vkey> [<url>]"},
		{"a witness with a word too many", log + "\n" + w + " https://w1.test more", "witness <name> <vkey> [<url>]"},
		{"256 groups", log + "\n" + w + "\n" + groups(256), ""},
		{"257 groups", log + "\n" + w + "\n" + groups(257), "group <name> <threshold> <member>"},
		{"a key without octets", "log a+00000000+", "want <name>+<id>+<base64>"},
	} {
		_, err := tlogpolicy.Parse([]byte(c.policy + "\nquorum none\n"))
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v: want %q", c.name, err, c.want)
		}
	}
}

func TestKeysHaveOneForm(t *testing.T) {
	vkey := testlog.MLDSAKey("w.test").VKey // 1,313 octets: two spare bits in the last letter
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	last := len(vkey) - 2
	other := vkey[:last] + letters[strings.IndexByte(letters, vkey[last])+1:][:1] + vkey[last+1:]
	if _, err := tlogpolicy.WitnessVerifier(other); err == nil || !strings.Contains(err.Error(), "want <name>+<id>+<base64>") {
		t.Errorf("a key with its spare bits set: %v", err)
	}
	if _, err := tlogpolicy.WitnessVerifier(renamed(testlog.WitnessKey("w.test").VKey, strings.Repeat("w", 256))); err != nil {
		t.Errorf("an Ed25519 key, whose signatures cover no name, of a name of 256 bytes: %v", err)
	}
}

func TestPolicyKnowsItsNames(t *testing.T) {
	w := func(n string) string { return "witness " + n + " " + testlog.WitnessKey(n+".test").VKey }
	p := parse(t, "log "+testlog.LogKey(origin).VKey, w("w1"), w("w2"), "group a any w1", "group b any a", "quorum b")
	if !p.Lists(origin) || p.Lists("other.test") {
		t.Error("the policy lists its log, and no other")
	}
	for _, c := range []struct {
		of, name string
		want     bool
	}{
		{"w1", "w1", true}, {"w1", "w2", false}, {"a", "a", true}, {"a", "w1", true}, {"a", "w2", false},
		{"b", "a", true}, {"b", "w1", true}, {"b", "w2", false}, {"w2", "w1", false}, {"unknown", "w1", false},
	} {
		if got := p.Contains(c.of, c.name); got != c.want {
			t.Errorf("%s contains %s: %t", c.of, c.name, got)
		}
	}
}

func TestWitnessWithTwoKeysIsNamedOnce(t *testing.T) {
	w := testlog.WitnessKey("w1.test")
	p := parse(t, "log "+testlog.LogKey(origin).VKey, "witness w1 "+w.VKey, "witness pq "+testlog.MLDSAKey("w1.test").VKey, "group g all w1 pq", "quorum g")
	if got := p.SinglePointsOfFailure(); !slices.Equal(got, []string{"w1.test"}) {
		t.Errorf("%q", got)
	}
}

func TestLimitsOfCheckpointsAreReached(t *testing.T) {
	root := strings.Repeat("A", 43) + "="
	empty := "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=" // SHA-256 of nothing
	text := "a\n1\n" + root + "\n\n— "
	for _, c := range []struct{ name, checkpoint, want string }{
		{"of the greatest size", text + strings.Repeat("x", tlogpolicy.MaxCheckpoint-len(text)), ""},
		{"one byte over it", text + strings.Repeat("x", tlogpolicy.MaxCheckpoint-len(text)+1), "want at most"},
		{"with an origin of 255 bytes", strings.Repeat("a", 255) + "\n1\n" + root + "\n", ""},
		{"of the empty tree", "a\n0\n" + empty + "\n", ""},
		{"with a fourth line that does not end", "a\n1\n" + root + "\nmore", "want origin, size and root"},
	} {
		_, err := tlogpolicy.ParseCheckpoint([]byte(c.checkpoint))
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v: want %q", c.name, err, c.want)
		}
	}
}

func TestSignedCheckpointOfTheGreatestSizeIsOpened(t *testing.T) {
	l := &testlog.Log{Origin: origin, Leaves: [][]byte{{1}}}
	key := testlog.LogKey(origin)
	signed := l.Checkpoint(1, testlog.Cosigner{Signer: key})
	const end = " AAAAAAA=\n" // five octets of a stranger's
	fill := "— " + strings.Repeat("s", tlogpolicy.MaxCheckpoint-len(signed)-len("— ")-len(end)) + end
	p := parse(t, "log "+key.VKey, "quorum none")
	if _, err := p.Open(append(signed, fill...)); err != nil {
		t.Error(err)
	}
}

func TestMissingQuorumNamesWhoSigned(t *testing.T) {
	l := &testlog.Log{Origin: origin, Leaves: [][]byte{{1}}}
	key, w1, w2 := testlog.LogKey(origin), testlog.WitnessKey("w1.test"), testlog.WitnessKey("w2.test")
	p := parse(t, "log "+key.VKey, "witness first "+w1.VKey, "witness second "+w2.VKey, "group g all first second", "quorum g")
	for want, by := range map[string][]testlog.Cosigner{
		"cosigned by no witness of the policy: not": {{Signer: key}},
		"cosigned by first: not":                    {{Signer: key}, {Signer: w1, At: at(1)}},
	} {
		if _, err := p.Open(l.Checkpoint(1, by...)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: want %q", err, want)
		}
	}
}

// A signature line names its key by name and id. One of both is not enough: a witness may have two
// keys, and whoever chooses a key's name can search for an id of 32 bits.
func TestSignatureIsOfTheKeyOfItsNameAndId(t *testing.T) {
	l := &testlog.Log{Origin: origin, Leaves: [][]byte{{1}}}
	key, w, pq := testlog.LogKey(origin), testlog.WitnessKey("w1.test"), testlog.MLDSAKey("w1.test")
	cosigners := func(p *tlogpolicy.Policy, by *testlog.Signer) (names []string) {
		v, err := p.OpenLogged(l.Checkpoint(1, testlog.Cosigner{Signer: key}, testlog.Cosigner{Signer: by, At: at(1)}))
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range v.Cosignatures {
			names = append(names, c.Name)
		}
		return names
	}
	two := parse(t, "log "+key.VKey, "witness ed "+w.VKey, "witness pq "+pq.VKey, "quorum none")
	if got := cosigners(two, w); !slices.Equal(got, []string{"ed"}) {
		t.Errorf("one of two keys of one name signed: %q", got)
	}
	a, b := testlog.WitnessKey(sameID[0]), testlog.WitnessKey(sameID[1])
	if id(a) != id(b) {
		t.Fatalf("%s and %s: want one id", a.VKey, b.VKey)
	}
	collide := parse(t, "log "+key.VKey, "witness a "+a.VKey, "witness b "+b.VKey, "quorum none")
	if got := cosigners(collide, b); !slices.Equal(got, []string{"b"}) {
		t.Errorf("one of two keys of one id signed: %q", got)
	}
}

func TestLogSignsUnderItsOwnOrigin(t *testing.T) {
	a, b := testlog.LogKey(sameLogID[0]), testlog.LogKey(sameLogID[1])
	if id(a) != id(b) {
		t.Fatalf("%s and %s: want one id", a.VKey, b.VKey)
	}
	l := &testlog.Log{Origin: sameLogID[0], Leaves: [][]byte{{1}}}
	p := parse(t, "log "+a.VKey, "log "+b.VKey, "quorum none")
	if _, err := p.Open(l.Checkpoint(1, testlog.Cosigner{Signer: a})); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Open(l.Checkpoint(1, testlog.Cosigner{Signer: b})); err == nil || !strings.Contains(err.Error(), "not signed by a log of this origin") {
		t.Errorf("a checkpoint that another log signed: %v", err)
	}
}

// Names of keys that were searched for, so that two have one id.
var (
	sameID    = [2]string{"n14691.test", "n28574.test"}
	sameLogID = [2]string{"n40862.test", "n66958.test"}
)

func id(s *testlog.Signer) string { return strings.Split(s.VKey, "+")[1] }

func TestExceptionsStandForTheAuditorWhoseKeysSigned(t *testing.T) {
	const name = "audit.test" + poclog.ExceptSuffix
	w1, ed, pq := testlog.WitnessKey("w1.test"), testlog.WitnessKey("audit.test"), testlog.MLDSAKey("audit.test")
	x, px := testlog.WitnessKey(name), testlog.MLDSAKey(name)
	p := parse(t, "log "+testlog.LogKey(origin).VKey, "witness x "+x.VKey, "witness px "+px.VKey,
		"witness w1 "+w1.VKey, "witness w1pq "+testlog.MLDSAKey("w1.test").VKey, "witness a "+ed.VKey, "witness p "+pq.VKey, "quorum none")
	forge := func(s poclog.NoteSignature) poclog.NoteSignature {
		s.Sig = slices.Clone(s.Sig)
		s.Sig[0] ^= 1
		return s
	}
	for _, c := range []struct {
		name string
		by   func(message []byte) []poclog.NoteSignature
		want []string
		err  string
	}{
		{"both keys", func(m []byte) []poclog.NoteSignature { return []poclog.NoteSignature{x.Sign(m), px.Sign(m)} }, []string{"a", "p"}, ""},
		{"the Ed25519 key, the first witness of the policy", func(m []byte) []poclog.NoteSignature { return []poclog.NoteSignature{x.Sign(m)} }, []string{"a"}, ""},
		{"the ML-DSA-44 key", func(m []byte) []poclog.NoteSignature { return []poclog.NoteSignature{px.Sign(m)} }, []string{"p"}, ""},
		{"another witness's key", func(m []byte) []poclog.NoteSignature { return []poclog.NoteSignature{w1.Sign(m)} }, nil, ""},
		{"the auditor's own key", func(m []byte) []poclog.NoteSignature { return []poclog.NoteSignature{ed.Sign(m)} }, nil, ""},
		{"a stranger's key", func(m []byte) []poclog.NoteSignature {
			return []poclog.NoteSignature{testlog.WitnessKey("other.test").Sign(m)}
		}, nil, ""},
		{"a wrong Ed25519 signature", func(m []byte) []poclog.NoteSignature { return []poclog.NoteSignature{forge(x.Sign(m))} }, nil, "is wrong"},
		{"a wrong ML-DSA-44 signature", func(m []byte) []poclog.NoteSignature { return []poclog.NoteSignature{forge(px.Sign(m))} }, nil, "is wrong"},
	} {
		e := &poclog.Exceptions{Auditor: name, Origin: origin, Size: 5, Except: []uint64{1}}
		m, err := e.Message()
		if err != nil {
			t.Fatal(err)
		}
		e.Signatures = c.by(m)
		got, err := p.Excepted(e)
		if !slices.Equal(got, c.want) || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %q, %v", c.name, got, err)
		}
	}
	if _, err := p.Excepted(&poclog.Exceptions{Auditor: name, Origin: origin, Size: 5}); err == nil || !strings.Contains(err.Error(), "except: none") {
		t.Errorf("a note that excepts nothing: %v", err)
	}
}
