package tlogpolicy_test

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poclog/poclog/internal/testlog"
	"github.com/poclog/poclog/internal/vectors"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

const origin = "log.test/2026"

// A vector is a policy, and the rule that it breaks, or "ok".
type vector struct {
	Desc   string `json:"desc"`
	Policy string `json:"policy"`
	Expect string `json:"expect"` // "ok", or the id of the rule that it breaks
}

const vectorDir = "../../testdata/tlogpolicy"

func makeVectors() map[string]vector {
	log, log2 := testlog.LogKey(origin).VKey, testlog.LogKey("other.test").VKey
	w := func(n int) string { return testlog.WitnessKey(fmt.Sprintf("w%d.test", n)).VKey }
	pq := testlog.MLDSAKey("pq.test").VKey
	base := "log " + log + "\nwitness w1 " + w(1) + "\nwitness w2 " + w(2) + "\n"
	lines := func(more ...string) string { return base + strings.Join(more, "\n") + "\n" }
	return map[string]vector{
		"valid":                     {"two witnesses, both needed", lines("group g all w1 w2", "quorum g"), "ok"},
		"valid-none":                {"the predefined quorum none", lines("quorum none"), "ok"},
		"valid-threshold":           {"a decimal threshold", lines("group g 1 w1 w2", "quorum g"), "ok"},
		"valid-witness-quorum":      {"a witness is a quorum", lines("quorum w2"), "ok"},
		"valid-nested":              {"groups of groups", lines("witness w3 "+w(3), "group a any w1 w2", "group b 2 a w3", "quorum b"), "ok"},
		"valid-comments-and-blanks": {"comments, blank lines, tabs and runs of spaces", "# c\n\n \t\nlog\t" + log + "  https://log.test/\n  # c\nquorum   none\n", "ok"},
		"valid-url":                 {"a witness with an address", lines("witness w3 "+w(3)+" https://w3.test/x", "quorum w3"), "ok"},
		"valid-mldsa":               {"an ML-DSA-44 witness and log", "log " + testlog.MLDSAKey(origin).VKey + "\nwitness pq " + pq + "\nquorum pq\n", "ok"},
		"valid-two-logs":            {"two logs: either will do", "log " + log + "\nlog " + log2 + "\nquorum none\n", "ok"},
		"valid-utf8":                {"names are octets from 80 to FF too", "log " + log + "\nwitness zürich " + w(1) + "\nquorum zürich\n", "ok"},
		"no-final-newline":          {"the last line needs no line feed", "log " + log + "\nquorum none", "ok"},

		"empty":                         {"an empty file", "", "no-quorum"},
		"no-quorum":                     {"a policy without a quorum line", base, "no-quorum"},
		"two-quorums":                   {"a second quorum line", lines("quorum w1", "quorum w2"), "second-quorum"},
		"no-log":                        {"no log: nothing could be accepted", "quorum none\n", "no-log"},
		"duplicate-member":              {"one witness twice in a group: it would satisfy 2 of 2 alone", lines("group g 2 w1 w1", "quorum g"), "member-repeated"},
		"duplicate-member-two-groups":   {"one witness in two groups: it would count twice above them", lines("group a any w1 w2", "group b all w1", "quorum a"), "member-repeated"},
		"duplicate-witness-key":         {"one key under two names", lines("witness w3 "+w(1), "quorum w3"), "key-repeated"},
		"duplicate-log-key":             {"one log twice", "log " + log + "\nlog " + log + "\nquorum none\n", "key-repeated"},
		"duplicate-name":                {"two witnesses of one name", lines("witness w1 "+w(3), "quorum w1"), "name"},
		"group-takes-a-witness-name":    {"witnesses and groups share names", lines("group w1 any w2", "quorum w1"), "name"},
		"reserved-name":                 {"the predefined name none", lines("witness none "+w(3), "quorum none"), "name"},
		"member-not-defined":            {"a member that no line defines", lines("group g any w9", "quorum g"), "undefined"},
		"member-defined-later":          {"a member that a later line defines", "log " + log + "\ngroup g any w1\nwitness w1 " + w(1) + "\nquorum g\n", "undefined"},
		"member-none":                   {"none is no member", lines("group g any none", "quorum g"), "undefined"},
		"self-member":                   {"a group in itself", lines("group g any g", "quorum g"), "undefined"},
		"quorum-not-defined":            {"a quorum that no line defines", lines("quorum g"), "undefined"},
		"threshold-zero":                {"a threshold that nothing has to meet", lines("group g 0 w1 w2", "quorum g"), "threshold"},
		"threshold-too-high":            {"a threshold that nothing can meet", lines("group g 3 w1 w2", "quorum g"), "threshold"},
		"threshold-leading-zero":        {"a threshold with a leading zero", lines("group g 01 w1 w2", "quorum g"), "threshold"},
		"threshold-sign":                {"a threshold with a sign", lines("group g +1 w1 w2", "quorum g"), "threshold"},
		"threshold-word":                {"a threshold that is no number", lines("group g most w1 w2", "quorum g"), "threshold"},
		"group-without-members":         {"a group of nobody", lines("group g 1", "quorum g"), "words"},
		"carriage-return":               {"a line that ends in CR LF", "log " + log + "\r\nquorum none\r\n", "byte"},
		"control-byte":                  {"a byte below 20", "log " + log + "\nquorum\x0bnone\n", "byte"},
		"delete-byte":                   {"byte 7F", "log " + log + "\n# \x7f\nquorum none\n", "byte"},
		"comment-after-line":            {"a comment on another's line", lines("quorum none # c"), "words"},
		"unknown-keyword":               {"a keyword that is none", lines("monitor m", "quorum none"), "keyword"},
		"upper-case-keyword":            {"a keyword in upper case", lines("Quorum none"), "keyword"},
		"log-key-of-a-witness":          {"a cosignature key as a log's", "log " + w(1) + "\nquorum none\n", "key-type"},
		"witness-key-of-a-log":          {"a log's key as a witness's", lines("witness w3 "+log2, "quorum w3"), "key-type"},
		"vkey-id-wrong":                 {"a key whose id is another's", "log " + strings.Replace(log, "+", "+0", 1) + "\nquorum none\n", "key"},
		"vkey-truncated":                {"a key cut short", "log " + log[:len(log)-8] + "\nquorum none\n", "key"},
		"url-scheme":                    {"an address that is none", lines("witness w3 "+w(3)+" ftp://w3.test", "quorum w3"), "url"},
		"too-many-words":                {"a word too many", lines("quorum none w1"), "words"},
		"witness-without-key":           {"a witness without key", lines("witness w3", "quorum none"), "words"},
		"mldsa-vkey-id-wrong":           {"an ML-DSA key whose id is another's", "log " + log + "\nwitness pq " + wrongID(pq) + "\nquorum pq\n", "key"},
		"witness-vkey-id-wrong":         {"a witness key whose id is another's", "log " + log + "\nwitness w1 " + wrongID(w(1)) + "\nquorum w1\n", "key"},
		"quorum-before-its-definition":  {"a quorum that a later line defines", "log " + log + "\nquorum w1\nwitness w1 " + w(1) + "\n", "undefined"},
		"duplicate-witness-public-key":  {"one public key under two names and ids: one signature would satisfy 2 of 2", lines("witness w3 "+renamed(w(1), "w3.test"), "group g 2 w1 w3", "quorum g"), "key-repeated"},
		"duplicate-witness-mldsa-key":   {"one ML-DSA-44 public key under two names and ids", lines("witness p1 "+pq, "witness p2 "+renamed(pq, "w3.test"), "quorum p1"), "key-repeated"},
		"duplicate-log-public-key":      {"one log's public key under two origins", "log " + log + "\nlog " + renamed(log, "other.test") + "\nquorum none\n", "key-repeated"},
		"log-is-its-own-witness":        {"one key, name and id for a log and a witness: a signature line would be both", "log " + testlog.MLDSAKey(origin).VKey + "\nwitness w1 " + testlog.MLDSAKey(origin).VKey + "\nquorum w1\n", "key-repeated"},
		"valid-trailing-whitespace":     {"white space before and after a line's items", " log " + log + "\t\n\tquorum none \t \n", "ok"},
		"valid-witness-of-two-keys":     {"a witness with two keys is two witness lines", lines("witness pq "+renamed(pq, "w1.test"), "group both all w1 pq", "quorum both"), "ok"},
		"carriage-return-in-comment":    {"CR is not allowed in a comment either", "# c\r\nlog " + log + "\nquorum none\n", "byte"},
		"no-break-space":                {"only space and tab separate", "log " + log + "\nquorum\u00a0none\n", "keyword"},
		"threshold-huge":                {"a threshold that no integer holds", lines("group g 18446744073709551617 w1 w2", "quorum g"), "threshold"},
		"member-group-twice":            {"one group twice in a group", lines("group a any w1 w2", "group b 2 a a", "quorum b"), "member-repeated"},
		"log-of-witness-type":           {"a log with a key of an unknown type", "log " + retyped(log, 0x02) + "\nquorum none\n", "key-type"},
		"lines-256":                     {"as many log lines as there may be", many(256) + "quorum none\n", "ok"},
		"lines-257":                     {"a log line too many", many(257) + "quorum none\n", "lines"},
		"size-65536":                    {"as long as a policy may be", padded("log "+log+"\nquorum none\n", 65536), "ok"},
		"size-65537":                    {"a byte too long", padded("log "+log+"\nquorum none\n", 65537), "size"},
		"mldsa-name-256":                {"an ML-DSA-44 key with a name of 256 bytes", "log " + renamed(testlog.MLDSAKey(origin).VKey, strings.Repeat("a", 256)) + "\nquorum none\n", "key"},
		"key-base64-bits":               {"a key in base64 whose last bits are not zero", "log " + spare(testlog.MLDSAKey(origin).VKey) + "\nquorum none\n", "key"},
		"quorum-without-name":           {"a quorum of nothing", lines("quorum"), "words"},
		"duplicate-member-behind-group": {"a group in two groups", lines("group a any w1 w2", "group b any a", "group c any a", "quorum b"), "member-repeated"},
	}
}

// wrongID changes one digit of a vkey's id.
func wrongID(vkey string) string {
	parts := strings.SplitN(vkey, "+", 3)
	first := "0"
	if strings.HasPrefix(parts[1], "0") {
		first = "1"
	}
	return parts[0] + "+" + first + parts[1][1:] + "+" + parts[2]
}

// renamed is a vkey's public key under another name, with the id that it has there.
func renamed(vkey, name string) string {
	encoded := strings.SplitN(vkey, "+", 3)[2]
	key, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		panic(err) // a key of testlog
	}
	id := sha256.Sum256(append([]byte(name+"\n"), key...))
	return fmt.Sprintf("%s+%x+%s", name, id[:4], encoded)
}

// retyped is a vkey with another type byte.
func retyped(vkey string, to byte) string {
	parts := strings.SplitN(vkey, "+", 3)
	key, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil {
		panic(err) // a key of testlog
	}
	key[0] = to
	return renamed(parts[0]+"+00000000+"+base64.StdEncoding.EncodeToString(key), parts[0])
}

// many is so many log lines, each with a key of its own.
func many(n int) string {
	var b strings.Builder
	for i := range n {
		name := fmt.Sprintf("log%d.test", i)
		b.WriteString("log " + testlog.LogKey(name).VKey + "\n")
	}
	return b.String()
}

// padded is a policy with a comment before it, of so many bytes.
func padded(policy string, size int) string {
	return "#" + strings.Repeat(" ", size-len(policy)-2) + "\n" + policy
}

// spare sets bits of a vkey's base64 that stand for no octet.
func spare(vkey string) string {
	if !strings.HasSuffix(vkey, "=") {
		panic("the key's base64 has no spare bits: " + vkey)
	}
	i := len(strings.TrimRight(vkey, "=")) - 1
	return vkey[:i] + string(vkey[i]+1) + vkey[i+1:]
}

func TestVectors(t *testing.T) {
	if vectors.Updating() {
		vectors.Write(t, vectorDir, makeVectors())
	}
	vectors.Each(t, vectorDir, func(t *testing.T, v vector) {
		_, err := tlogpolicy.Parse([]byte(v.Policy))
		var refused *tlogpolicy.Refusal
		switch {
		case v.Expect == "ok" && err != nil:
			t.Errorf("%s: %v", v.Desc, err)
		case v.Expect != "ok" && (!errors.As(err, &refused) || refused.Rule != v.Expect):
			t.Errorf("%s: %v: want it refused by %q", v.Desc, err, v.Expect)
		case v.Expect != "ok" && refused.Detail != err.Error():
			t.Errorf("%s: the detail %q lacks what the error says: %v", v.Desc, refused.Detail, err)
		}
	})
}

func parse(t testing.TB, lines ...string) *tlogpolicy.Policy {
	t.Helper()
	p, err := tlogpolicy.Parse([]byte(strings.Join(lines, "\n") + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func at(second int64) time.Time { return time.Unix(1_800_000_000+second, 0).UTC() }

func TestCheckpointsAreOpenedStrictly(t *testing.T) {
	l := &testlog.Log{Origin: origin, Leaves: [][]byte{{1}, {2}, {3}}}
	key, pqKey, w := testlog.LogKey(origin), testlog.MLDSAKey(origin), testlog.WitnessKey("w1.test")
	p := parse(t, "log "+key.VKey, "log "+pqKey.VKey, "witness w1 "+w.VKey, "quorum w1")
	by := func(s *testlog.Signer, second int64) testlog.Cosigner {
		return testlog.Cosigner{Signer: s, At: at(second)}
	}
	good := l.Checkpoint(3, by(key, 0), by(pqKey, 5), by(w, 9))
	v, err := p.Open(good)
	if err != nil {
		t.Fatal(err)
	}
	if v.Size != 3 || !v.Signed.Equal(at(5)) || len(v.Cosignatures) != 1 || !v.Cosignatures[0].Time.Equal(at(9)) {
		t.Errorf("%+v", v)
	}
	text := strings.SplitN(string(good), "\n\n", 2)
	for name, bad := range map[string][]byte{
		"no signature":                       []byte(text[0] + "\n\n"),
		"unsigned by the log":                l.Checkpoint(3, by(w, 9)),
		"by a log of another origin":         l.Checkpoint(3, by(testlog.LogKey("other.test"), 0), by(w, 9)),
		"without the quorum":                 l.Checkpoint(3, by(key, 0)),
		"cosigned at no time":                l.Checkpoint(3, by(key, 0), testlog.Cosigner{Signer: w, At: time.Unix(0, 0)}),
		"a known key's wrong signature":      []byte(text[0] + "\n\n" + strings.Replace(text[1], "AAAA", "AAAB", 1)),
		"an extension line":                  []byte(text[0] + "\nextension\n\n" + text[1]),
		"empty":                              nil,
		"over the limit":                     append([]byte(nil), make([]byte, tlogpolicy.MaxCheckpoint+1)...),
		"size 0 with another root":           testlog.SignRoot(origin, 0, l.Root(1), by(key, 0), by(w, 9)),
		"a log's key that signs for another": testlog.SignRoot("evil.test", 3, l.Root(3), by(key, 0), by(w, 9)),
	} {
		if name == "a known key's wrong signature" && !strings.Contains(text[1], "AAAA") {
			t.Fatal("the vector does not change the signature")
		}
		if _, err := p.Open(bad); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if v, err := p.OpenLogged(l.Checkpoint(3, by(key, 0))); err != nil || len(v.Cosignatures) != 0 {
		t.Errorf("a checkpoint of the log alone: %v", err)
	}
	// Strangers' signatures are ignored, sixteen post-quantum ones included.
	many := []testlog.Cosigner{by(key, 0), by(w, 9)}
	for i := range 16 {
		many = append(many, by(testlog.MLDSAKey(fmt.Sprintf("s%d.test", i)), 1))
	}
	if _, err := p.Open(l.Checkpoint(3, many...)); err != nil {
		t.Errorf("with strangers' signatures: %v", err)
	}
}

// slow computes both bounds by trying every time, straight from their definitions.
func slow(satisfied func(named map[string]bool) bool, cosigned map[string]int64) (before, after int64, ok bool) {
	before, after = -1, -1
	for t := int64(0); t <= 20; t++ {
		late, early := map[string]bool{}, map[string]bool{}
		for name, at := range cosigned {
			late[name], early[name] = at >= t, at <= t
		}
		if satisfied(late) {
			before = t
		}
		if after < 0 && satisfied(early) {
			after = t
		}
	}
	return before, after, after >= 0
}

// Every shape of two groups over four witnesses, every subset of cosigners, against a slow
// reference.
func TestBoundsAgreeWithTheirDefinition(t *testing.T) {
	l := &testlog.Log{Origin: origin, Leaves: [][]byte{{1}}}
	key := testlog.LogKey(origin)
	var names []string
	var lines []string
	signers := map[string]*testlog.Signer{}
	for i := range 4 {
		n := fmt.Sprintf("w%d", i)
		names = append(names, n)
		signers[n] = testlog.WitnessKey(n + ".test")
		lines = append(lines, "witness "+n+" "+signers[n].VKey)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	cases := 0
	for inner := 1; inner <= 3; inner++ {
		for k := 1; k <= inner; k++ {
			outer := append([]string{"g"}, names[inner:]...)
			for m := 1; m <= len(outer); m++ {
				p := parse(t, append(append([]string{"log " + key.VKey}, lines...),
					fmt.Sprintf("group g %d %s", k, strings.Join(names[:inner], " ")), fmt.Sprintf("group q %d %s", m, strings.Join(outer, " ")), "quorum q")...)
				satisfied := func(by map[string]bool) bool {
					n, in := 0, 0
					for _, w := range names[:inner] {
						if by[w] {
							in++
						}
					}
					if in >= k {
						n++
					}
					for _, w := range names[inner:] {
						if by[w] {
							n++
						}
					}
					return n >= m
				}
				for subset := range 16 {
					cosigned := map[string]int64{}
					by := []testlog.Cosigner{{Signer: key}}
					for i, n := range names {
						if subset>>i&1 == 1 {
							cosigned[n] = rng.Int64N(20)
							by = append(by, testlog.Cosigner{Signer: signers[n], At: at(cosigned[n])})
						}
					}
					v, err := p.OpenLogged(l.Checkpoint(1, by...))
					if err != nil {
						t.Fatal(err)
					}
					before, after, ok := slow(satisfied, cosigned)
					gotBefore, ok1 := v.NotBefore()
					gotAfter, ok2 := v.NotAfter()
					if ok != ok1 || ok != ok2 || ok && (!gotBefore.Equal(at(before)) || !gotAfter.Equal(at(after))) || v.Satisfies("q") != ok {
						t.Fatalf("%d of %d in %d of %d, cosigned %v: %v, %v: want %v, %v", k, inner, m, len(outer), cosigned, gotBefore, gotAfter, at(before), at(after))
					}
					cases++
				}
			}
		}
	}
	t.Logf("%d cases", cases)
}

func TestSinglePointsOfFailureAreNamed(t *testing.T) {
	key := testlog.LogKey(origin).VKey
	w := func(n string) string { return "witness " + n + " " + testlog.WitnessKey(n+".test").VKey }
	for _, c := range []struct {
		lines []string
		want  []string
	}{
		{[]string{"group g all w1 w2 w3", "quorum g"}, []string{"w1.test", "w2.test", "w3.test"}},
		{[]string{"group g 2 w1 w2 w3", "quorum g"}, nil},
		{[]string{"group a any w1 w2", "group g all a w3", "quorum g"}, []string{"w3.test"}},
		{[]string{"quorum w2"}, []string{"w2.test"}},
		{[]string{"quorum none"}, nil},
	} {
		p := parse(t, append([]string{"log " + key, w("w1"), w("w2"), w("w3")}, c.lines...)...)
		if got := p.SinglePointsOfFailure(); !slices.Equal(got, c.want) {
			t.Errorf("%v: %v: want %v", c.lines, got, c.want)
		}
	}
}

func TestNoNetworkBelow(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"net/http", "tessera", "go-tdx-guest"} {
		if strings.Contains(string(out), bad) {
			t.Errorf("depends on %s", bad)
		}
	}
}

// render writes a policy in one form.
func render(p *tlogpolicy.Policy) string {
	var b strings.Builder
	for _, l := range p.Logs() {
		fmt.Fprintln(&b, "log", l.VKey, l.URL)
	}
	for _, w := range p.Witnesses() {
		fmt.Fprintln(&b, "witness", w.Name, w.VKey, w.URL)
	}
	for _, g := range p.Groups() {
		fmt.Fprintln(&b, "group", g.Name, g.Threshold, strings.Join(g.Members, " "))
	}
	return b.String() + "quorum " + p.Quorum() + "\n"
}

func FuzzParse(f *testing.F) {
	for _, v := range makeVectors() {
		f.Add(v.Policy)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := tlogpolicy.Parse([]byte(text))
		if err != nil {
			return
		}
		if p.Quorum() == "" || len(p.Logs()) == 0 {
			t.Errorf("%q: accepted without quorum or log", text)
		}
		again, err := tlogpolicy.Parse([]byte(render(p)))
		if err != nil || render(again) != render(p) {
			t.Errorf("%q is written as %q, and that as another policy: %v", text, render(p), err)
		}
		if !slices.Equal(p.SinglePointsOfFailure(), again.SinglePointsOfFailure()) {
			t.Errorf("%q: other single points of failure", text)
		}
	})
}

func FuzzOpen(f *testing.F) {
	l := &testlog.Log{Origin: origin, Leaves: [][]byte{{1}}}
	key, w := testlog.LogKey(origin), testlog.WitnessKey("w1.test")
	p, err := tlogpolicy.Parse([]byte("log " + key.VKey + "\nwitness w1 " + w.VKey + "\nquorum w1\n"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(l.Checkpoint(1, testlog.Cosigner{Signer: key}, testlog.Cosigner{Signer: w, At: at(1)}))
	f.Fuzz(func(t *testing.T, signed []byte) {
		v, err := p.Open(signed)
		if err == nil && (v.Size != 1 || len(v.Cosignatures) != 1) {
			t.Errorf("forged: %q", signed)
		}
	})
}
