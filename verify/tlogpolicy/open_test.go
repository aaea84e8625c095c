package tlogpolicy_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/poclog/poclog/internal/testlog"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

// Every case is signed as it stands, or changed where the signature does not reach: only the rule
// refuses it.
func TestCheckpointsWithMoreThanThreeLinesAreRefusedThoughSigned(t *testing.T) {
	l := &testlog.Log{Origin: origin, Leaves: [][]byte{{1}, {2}, {3}}}
	key, pq, w := testlog.LogKey(origin), testlog.MLDSAKey(origin), testlog.WitnessKey("w1.test")
	p := parse(t, "log "+key.VKey, "log "+pq.VKey, "witness w1 "+w.VKey, "quorum none")
	root := l.Root(3)
	body := origin + "\n3\n" + base64.StdEncoding.EncodeToString(root[:])
	byPQ := l.Checkpoint(3, testlog.Cosigner{Signer: pq, At: at(1)})
	if _, err := p.Open(byPQ); err != nil {
		t.Fatal(err)
	}
	for name, signed := range map[string][]byte{
		"a log's extension lines":            testlog.SignRoot(body, 3, root, testlog.Cosigner{Signer: key}),
		"a log's further paragraph":          testlog.SignRoot(body+"\n\nparagraph", 3, root, testlog.Cosigner{Signer: key}),
		"anybody's extension under ML-DSA":   []byte(strings.Replace(string(byPQ), "\n\n", "\nextension\n\n", 1)),
		"anybody's paragraph under ML-DSA":   []byte(strings.Replace(string(byPQ), "\n\n", "\n\nparagraph\n\n", 1)),
		"anybody's empty lines under ML-DSA": []byte(strings.Replace(string(byPQ), "\n\n", "\n\n\n", 1)),
	} {
		if _, err := p.Open(signed); err == nil || !strings.Contains(err.Error(), "lines: want origin, size and root") {
			t.Errorf("%s: opened: %v", name, err)
		}
		if c, err := tlogpolicy.ParseCheckpoint(signed); err == nil {
			t.Errorf("%s: parsed: %+v", name, c)
		}
	}
}

func TestSignaturesOfOneKeyCountOnceAndMustAllBeRight(t *testing.T) {
	l := &testlog.Log{Origin: origin, Leaves: [][]byte{{1}}}
	key, w := testlog.LogKey(origin), testlog.WitnessKey("w1.test")
	p := parse(t, "log "+key.VKey, "witness w1 "+w.VKey, "witness w2 "+testlog.WitnessKey("w2.test").VKey, "group g all w1 w2", "quorum g")
	by := func(second int64) testlog.Cosigner { return testlog.Cosigner{Signer: w, At: at(second)} }
	twice := l.Checkpoint(1, testlog.Cosigner{Signer: key}, by(1), by(9))
	v, err := p.OpenLogged(twice)
	if err != nil {
		t.Fatal(err)
	}
	if len(v.Cosignatures) != 1 || v.Satisfies("g") {
		t.Errorf("one witness counts as %d", len(v.Cosignatures))
	}
	// A wrong one after a right one, by a witness and by the log.
	for _, other := range [][]byte{
		l.Checkpoint(1, by(9)),
		l.Checkpoint(1, testlog.Cosigner{Signer: key}),
	} {
		line := other[strings.LastIndex(string(other), "\n\n")+2:]
		line[len(line)-10] ^= 3 // another letter of base64
		if _, err := p.OpenLogged(append([]byte(string(twice)), line...)); err == nil || !strings.Contains(err.Error(), "is wrong") {
			t.Errorf("%q: %v", line[:30], err)
		}
	}
}

// Whoever holds a receipt can change the order of its signature lines, and leave lines out. It may
// not move t1 later, nor t2 earlier, than the witness said.
func TestTimesDoNotDependOnTheOrderOfLines(t *testing.T) {
	l := &testlog.Log{Origin: origin, Leaves: [][]byte{{1}}}
	key, w, other := testlog.LogKey(origin), testlog.WitnessKey("w1.test"), testlog.WitnessKey("w2.test")
	p := parse(t, "log "+key.VKey, "witness w1 "+w.VKey, "witness w2 "+other.VKey, "group g all w1 w2", "quorum g")
	one, two := testlog.Cosigner{Signer: w, At: at(1)}, testlog.Cosigner{Signer: w, At: at(9)}
	rest := []testlog.Cosigner{{Signer: key}, {Signer: other, At: at(5)}}
	for name, by := range map[string][]testlog.Cosigner{"first, then last": {one, two}, "last, then first": {two, one}} {
		v, err := p.Open(l.Checkpoint(1, append(by, rest...)...))
		if err != nil {
			t.Fatal(err)
		}
		// At 5 or later both have signed, and by 5 both had.
		from, _ := v.NotBefore()
		to, _ := v.NotAfter()
		if !from.Equal(at(5)) || !to.Equal(at(5)) {
			t.Errorf("%s: %s to %s", name, from, to)
		}
	}
}

// The last letter of a signature in base64 has two spare bits.
func TestSignaturesOfKnownKeysHaveOneForm(t *testing.T) {
	l := &testlog.Log{Origin: origin, Leaves: [][]byte{{1}}}
	key, w := testlog.LogKey(origin), testlog.WitnessKey("w1.test")
	signed := string(l.Checkpoint(1, testlog.Cosigner{Signer: key}, testlog.Cosigner{Signer: w, At: at(1)}))
	end := strings.Index(signed, "=\n— w1.test") - 1 // of the log's signature: 68 bytes
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	known := parse(t, "log "+key.VKey, "witness w1 "+w.VKey, "quorum w1")
	if _, err := known.Open([]byte(signed)); err != nil {
		t.Fatal(err)
	}
	other := signed[:end] + letters[strings.IndexByte(letters, signed[end])+1:][:1] + signed[end+1:]
	if _, err := known.Open([]byte(other)); err == nil || !strings.Contains(err.Error(), "base64 as it is written") {
		t.Errorf("the log's: %v", err)
	}
	further := signed + other[strings.Index(other, "— "+origin):strings.Index(other, "— w1.test")]
	if _, err := known.Open([]byte(further)); err == nil || !strings.Contains(err.Error(), "is wrong") {
		t.Errorf("the log's, once more: %v", err)
	}
	second := testlog.LogKey("second.test")
	twoLogs := l.Checkpoint(1, testlog.Cosigner{Signer: key}, testlog.Cosigner{Signer: second})
	end = len(twoLogs) - 3
	twoLogs[end] = letters[strings.IndexByte(letters, twoLogs[end])+1]
	if _, err := parse(t, "log "+key.VKey, "quorum none").Open(twoLogs); err != nil {
		t.Errorf("a stranger's: %v", err)
	}
}

func TestTimesThatCannotBeAreRefused(t *testing.T) {
	l := &testlog.Log{Origin: origin, Leaves: [][]byte{{1}}}
	pqLog, w, pq := testlog.MLDSAKey(origin), testlog.WitnessKey("w1.test"), testlog.MLDSAKey("w2.test")
	p := parse(t, "log "+pqLog.VKey, "witness w1 "+w.VKey, "witness w2 "+pq.VKey, "quorum none")
	never, y10k, wrapped := time.Unix(0, 0), time.Unix(253402300800, 0), time.Unix(-1, 0) // the last is 2^64 - 1
	for _, c := range []struct {
		name string
		by   testlog.Cosigner
		log  time.Time
		want string
	}{
		{"the last second of 9999", testlog.Cosigner{Signer: w, At: y10k.Add(-time.Second)}, at(1), ""},
		{"the year 10000, Ed25519", testlog.Cosigner{Signer: w, At: y10k}, at(1), "is none"},
		{"the year 10000, ML-DSA-44", testlog.Cosigner{Signer: pq, At: y10k}, at(1), "is none"},
		{"2^64 - 1, ML-DSA-44", testlog.Cosigner{Signer: pq, At: wrapped}, at(1), "is none"},
		{"a witness without time, Ed25519", testlog.Cosigner{Signer: w, At: never}, at(1), "no time"},
		{"a witness without time, ML-DSA-44", testlog.Cosigner{Signer: pq, At: never}, at(1), "no time"},
		{"a log of the year 10000", testlog.Cosigner{Signer: w, At: at(1)}, y10k, "is none"},
		{"a log without time", testlog.Cosigner{Signer: w, At: at(1)}, never, ""},
	} {
		v, err := p.Open(l.Checkpoint(1, testlog.Cosigner{Signer: pqLog, At: c.log}, c.by))
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v: want %q", c.name, err, c.want)
		}
		if err == nil && c.log == never && !v.Signed.IsZero() {
			t.Errorf("%s: signed at %s", c.name, v.Signed)
		}
	}
}

func TestTextsOfCheckpointsHaveOneForm(t *testing.T) {
	root := strings.Repeat("A", 43) + "="
	for _, good := range []string{"a\n1\n" + root + "\n", "a b\n9223372036854775807\n" + root + "\n", "a\n1\n" + root + "\n\n— b AAAA\n— c AAAA\n"} {
		if _, err := tlogpolicy.ParseCheckpoint([]byte(good)); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{
		"", "\n", "\n\n", "\n\n\n\n", "a\n1\n" + root, "a\n1\n" + root + "\n\n", "a\n1\n" + root + "\n\nb\n", "a\n1\n" + root + "\n\n— b AAAA\nc\n",
		"\n1\n" + root + "\n", "a\x01\n1\n" + root + "\n", "a\r\n1\n" + root + "\n", "a\xff\n1\n" + root + "\n", strings.Repeat("a", 256) + "\n1\n" + root + "\n",
		"a\n01\n" + root + "\n", "a\n+1\n" + root + "\n", "a\n-1\n" + root + "\n", "a\n 1\n" + root + "\n", "a\n0x1\n" + root + "\n", "a\n1_0\n" + root + "\n", "a\n\n" + root + "\n",
		"a\n9223372036854775808\n" + root + "\n", "a\n0\n" + root + "\n",
		"a\n1\nAA==\n", "a\n1\n" + root[:20] + "\r" + root[20:] + "\n", "a\n1\n" + strings.Repeat("A", 42) + "B=\n", "a\n1\n" + root + " \n", "a\n1\n" + strings.Repeat("_", 43) + "=\n",
	} {
		if c, err := tlogpolicy.ParseCheckpoint([]byte(bad)); err == nil {
			t.Errorf("%q: parsed: %+v", bad, c)
		}
	}
}

func TestSizesAreBounded(t *testing.T) {
	key := testlog.LogKey(origin)
	policy := "log " + key.VKey + "\nquorum none\n"
	full := policy + "#" + strings.Repeat(" ", tlogpolicy.MaxPolicy-len(policy)-1)
	if _, err := tlogpolicy.Parse([]byte(full)); err != nil {
		t.Errorf("a policy of the greatest size: %v", err)
	}
	if _, err := tlogpolicy.Parse([]byte(full + " ")); err == nil {
		t.Error("a policy over it was accepted")
	}
	if _, err := tlogpolicy.WitnessVerifier(renamed(testlog.MLDSAKey("w.test").VKey, strings.Repeat("w", 255))); err != nil {
		t.Errorf("an ML-DSA-44 key of a name of 255 bytes: %v", err)
	}
	if _, err := tlogpolicy.WitnessVerifier(renamed(testlog.MLDSAKey("w.test").VKey, strings.Repeat("w", 256))); err == nil || !strings.Contains(err.Error(), "256 bytes") {
		t.Errorf("an ML-DSA-44 key of a name of 256 bytes, whose length its signatures do not cover: %v", err)
	}
	var many strings.Builder
	for i := range 300 {
		fmt.Fprintf(&many, "witness w%d %s\n", i, testlog.WitnessKey(fmt.Sprint(i)).VKey)
	}
	if _, err := tlogpolicy.Parse([]byte(policy + many.String())); err == nil || !strings.Contains(err.Error(), "at most 256 lines witness") {
		t.Errorf("300 witnesses: %v", err)
	}
}
