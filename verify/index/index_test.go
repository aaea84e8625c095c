package index_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"

	"filippo.io/torchwood/mpt"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/index"
)

// tree builds a map of n names, as logs do.
func tree(t testing.TB, n int) (mpt.Tree, [32]byte) {
	t.Helper()
	m := mpt.NewMemTree()
	for i := range n {
		if err := m.Set(mpt.Key(index.KeyOf(name(i))), mpt.Val(value(i))); err != nil {
			t.Fatal(err)
		}
	}
	s, err := m.Snap(int64(n))
	if err != nil {
		t.Fatal(err)
	}
	return m, s.Hash
}

func name(i int) string         { return fmt.Sprintf("intel:tdx:ppid:%032x", i+1) }
func value(i int) index.Value   { return index.Value{}.Chain([]uint64{uint64(i), uint64(i) + 7}) }
func wrong(i, n int) (s string) { return name(i + n) }

func prove(t testing.TB, m mpt.Tree, name string) []byte {
	t.Helper()
	p, err := m.Prove(mpt.Key(index.KeyOf(name)))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestProofsAgreeWithMPT(t *testing.T) {
	for _, n := range []int{0, 1, 2, 3, 10, 1000} {
		m, root := tree(t, n)
		for i := range n {
			v, ok, err := index.Lookup(root, name(i), prove(t, m, name(i)))
			if err != nil || !ok || v != value(i) {
				t.Fatalf("%d names: name %d: %x, %v, %v", n, i, v, ok, err)
			}
		}
		for i := range 100 {
			if _, ok, err := index.Lookup(root, wrong(i, n), prove(t, m, wrong(i, n))); err != nil || ok {
				t.Fatalf("%d names: an absent name: %v, %v", n, ok, err)
			}
		}
	}
}

// TestNoChangedProofPasses changes every byte of proofs, cuts them and lengthens them.
func TestNoChangedProofPasses(t *testing.T) {
	m, root := tree(t, 50)
	for _, who := range []string{name(7), wrong(1, 50)} {
		p := prove(t, m, who)
		refused := func(what string, changed []byte) {
			t.Helper()
			v, ok, err := index.Lookup(root, who, changed)
			if err == nil {
				t.Errorf("%s: %x, %v", what, v, ok)
			}
		}
		for i := range p {
			for _, mask := range []byte{1, 2, 0x80, 0xff} {
				changed := bytes.Clone(p)
				changed[i] ^= mask
				refused(fmt.Sprintf("byte %d", i), changed)
			}
			refused("cut", p[:i])
		}
		refused("one more byte", append(bytes.Clone(p), 0))
		refused("one more step", append(append(bytes.Clone(p), 0), make([]byte, 32)...))
		refused("without its header", p[len("mptproof"):])
	}
}

func TestProofsOfOtherNamesDoNotPass(t *testing.T) {
	m, root := tree(t, 200)
	found, absent := prove(t, m, name(3)), prove(t, m, wrong(0, 200))
	passed := 0
	for i := range 300 {
		if i != 3 {
			_, _, err := index.Lookup(root, name(i), found)
			if check, _ := verify.CheckOf(err); check != index.Map {
				t.Errorf("the proof of name 3 for name %d: check %q: want %q", i, check, index.Map)
			}
		}
		// A proof of absence is good for every name that would stand in the same place, and for
		// none that is there.
		_, ok, err := index.Lookup(root, name(i), absent)
		if ok || err == nil && i < 200 {
			t.Errorf("absence is shown of name %d, which is there", i)
		}
		if err == nil {
			passed++
		}
	}
	if passed == 0 {
		t.Error("the proof passes for nobody")
	}
}

// Forged paths that a careless reader takes.
func TestForgedPathsAreRefused(t *testing.T) {
	m, root := tree(t, 64)
	p := prove(t, m, name(9))
	const head = len("mptproof") + 1 + 32
	steps := func(change func(path []byte) []byte) []byte {
		return append(bytes.Clone(p[:head]), change(bytes.Clone(p[head:]))...)
	}
	for what, forged := range map[string][]byte{
		"a zero hash":  steps(func(path []byte) []byte { copy(path[1:33], make([]byte, 32)); return path }),
		"a bit twice":  steps(func(path []byte) []byte { return append(bytes.Clone(path[:33]), path...) }),
		"rising bits":  steps(func(path []byte) []byte { return append(bytes.Clone(path[len(path)-33:]), path...) }),
		"a long path":  steps(func(path []byte) []byte { return bytes.Repeat(path, 60) }),
		"empty map":    []byte("mptproof\x00"),
		"unknown kind": append([]byte("mptproof\x03"), p[9:]...),
		"nothing":      nil,
	} {
		if _, _, err := index.Lookup(root, name(9), forged); err == nil {
			t.Errorf("%s passes", what)
		}
	}
	if _, _, err := index.Lookup(sha256.Sum256(nil), name(9), []byte("mptproof\x00x")); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("an empty map with more behind it: %v", err)
	}
	// Absence by the key itself would deny a name that is there.
	denied := append(append([]byte("mptproof\x02"), keyOf(name(9))...), p[9:]...)
	if _, _, err := index.Lookup(root, name(9), denied); err == nil {
		t.Error("a name that is there is denied by its own leaf")
	}
}

func keyOf(name string) []byte { k := index.KeyOf(name); return k[:] }

// The values are part of the specification.
func TestValuesAreThoseOfTheSpecification(t *testing.T) {
	v := index.Value{}.Next(258)
	if want := sha256.Sum256(append(append([]byte("poclog/index/number/v1\n"), make([]byte, 32)...), 0, 0, 0, 0, 0, 0, 1, 2)); v != index.Value(want) {
		t.Errorf("value %x, want %x", v, want)
	}
	if k, want := index.KeyOf("config"), sha256.Sum256([]byte("poclog/index/name/v1\nconfig")); k != index.Key(want) {
		t.Errorf("key %x, want %x", k, want)
	}
	if (index.Value{}).Chain([]uint64{1, 2}) == (index.Value{}).Chain([]uint64{2, 1}) {
		t.Error("the order of numbers does not count")
	}
}

func TestParseName(t *testing.T) {
	chip := "intel:tdx:ppid:" + strings.Repeat("1", 32)
	digest := strings.Repeat("a", 64)
	for _, good := range []string{chip, "unproven:" + chip, "publisher:" + digest, "config", "gce:instance:1:2", "unproven:amd:snp:chipid:" + strings.Repeat("1", 128)} {
		if err := index.ParseName(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{"", "config ", "unproven:", "unproven:unproven:" + chip, "unproven:config", "publisher:", "publisher:" + digest[1:], "quote:" + digest, "unproven:quote:" + digest, strings.ToUpper(chip), strings.Repeat("a", 177)} {
		if err := index.ParseName(bad); err == nil {
			t.Errorf("%.40q is taken", bad)
		}
	}
}

func TestNamesOfEntries(t *testing.T) {
	chip, ak := poclog.Identity("intel:tdx:ppid:"+strings.Repeat("1", 32)), poclog.Identity("tpm:ak:"+strings.Repeat("2", 64))
	e := &poclog.Entry{
		Level: poclog.LevelBound, Chassis: []poclog.Identity{chip}, Keys: []poclog.Identity{ak}, Instance: "gce:instance:1:2",
		Quote: poclog.Identity("quote:" + strings.Repeat("3", 64)), Publishers: []poclog.Digest{{1}},
	}
	for _, c := range []struct {
		level  uint32
		prefix string
	}{{poclog.LevelBound, ""}, {poclog.LevelChip, "unproven:"}} {
		e.Level = c.level
		want := []string{c.prefix + string(chip), c.prefix + string(ak), c.prefix + "gce:instance:1:2", "publisher:" + poclog.Digest{1}.String()}
		if have := index.NamesOf(poclog.Leaf{Proof: e}); strings.Join(have, " ") != strings.Join(want, " ") {
			t.Errorf("level %d: %q, want %q", c.level, have, want)
		}
		for _, n := range want {
			if err := index.ParseName(n); err != nil {
				t.Errorf("%s is stated and refused: %v", n, err)
			}
		}
	}
	if have := index.NamesOf(poclog.Leaf{Config: new(poclog.Config)}); len(have) != 1 || have[0] != "config" {
		t.Errorf("a config entry states %q", have)
	}
	of := func(s poclog.Statement) string {
		l := poclog.Leaf{Statement: new(poclog.StatementEntry)}
		l.Statement.Envelope.Statement = s
		return strings.Join(index.NamesOf(l), " ")
	}
	registrar := index.RegistrarName("a registrar")
	if have, want := of(poclog.Statement{Registrar: "a registrar", Subject: chip}), "statements:"+string(chip)+" "+registrar; have != want {
		t.Errorf("a statement states %q, want %q", have, want)
	}
	if have := of(poclog.Statement{Registrar: "a registrar"}); have != registrar {
		t.Errorf("a statement without a subject states %q, want %q", have, registrar)
	}
	for n, want := range map[string]bool{"config": true, "statements:" + string(chip): true, registrar: true, string(chip): false, "unproven:" + string(chip): false, "publisher:" + poclog.Digest{1}.String(): false} {
		if index.FromTheFirst(n) != want {
			t.Errorf("%s: listed from the first on: %t", n, !want)
		}
	}
	if have, err := index.Names([]byte("of a later time")); len(have) != 0 || err != nil {
		t.Errorf("an unknown leaf states %q (%v)", have, err)
	}
}

func FuzzLookup(f *testing.F) {
	m, root := tree(f, 20)
	f.Add(prove(f, m, name(1)), name(1))
	f.Add(prove(f, m, "config"), "config")
	f.Add([]byte("mptproof\x00"), "config")
	f.Fuzz(func(t *testing.T, proof []byte, who string) {
		v, ok, err := index.Lookup(root, who, proof)
		if err != nil || !ok {
			return
		}
		for i := range 20 {
			if who == name(i) && v == value(i) {
				return
			}
		}
		t.Errorf("%q has %x", who, v)
	})
}

func BenchmarkLookup(b *testing.B) {
	m, root := tree(b, 100000)
	p := prove(b, m, name(5))
	b.ReportMetric(float64(len(p)), "proof-bytes")
	for b.Loop() {
		if _, ok, err := index.Lookup(root, name(5), p); !ok || err != nil {
			b.Fatal(err)
		}
	}
}
