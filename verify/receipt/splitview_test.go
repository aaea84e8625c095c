package receipt_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"strings"
	"testing"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/poclog/poclog/internal/testlog"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/receipt"
)

func TestSplitViewConvincesWhoeverHasTheLogsKey(t *testing.T) {
	l := &testlog.Log{Origin: origin}
	for i := range 7 {
		l.Leaves = append(l.Leaves, []byte{byte(i)})
	}
	forged := &testlog.Log{Origin: origin, Leaves: append([][]byte{[]byte("other")}, l.Leaves[1:]...)}
	p := parsePolicy(t, policies["none"])
	same := &receipt.SplitView{Origin: origin, A: l.Checkpoint(5, by(logKey, 0)), B: forged.Checkpoint(5, by(logKey, 0))}
	file, err := same.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := receipt.CheckSplitView(file, p); err != nil {
		t.Errorf("two roots of one size: %v", err)
	}
	honest := &receipt.SplitView{Origin: origin, A: l.Checkpoint(5, by(logKey, 0)), B: l.Checkpoint(5, by(logKey, 0))}
	if file, err = honest.Marshal(); err != nil {
		t.Fatal(err)
	}
	if _, err := receipt.CheckSplitView(file, p); err == nil {
		t.Error("one history was called two")
	}
	if _, err := receipt.CheckSplitView(file, parsePolicy(t, policies["other"])); err == nil {
		t.Error("a log that the policy does not list was accused")
	}
}

// nodes are those of the compact range [begin, end) of a log's tree.
func nodes(t testing.TB, l *testlog.Log, begin, end uint64) [][sha256.Size]byte {
	t.Helper()
	f := &compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}
	r := f.NewEmptyRange(begin)
	for i := begin; i < end; i++ {
		if err := r.Append(rfc6962.DefaultHasher.HashLeaf(l.Leaves[i]), nil); err != nil {
			t.Fatal(err)
		}
	}
	var out [][sha256.Size]byte
	for _, h := range r.Hashes() {
		out = append(out, [sha256.Size]byte(h))
	}
	return out
}

// logs are an honest log and, for each leaf, one in which that leaf is another.
func logs(size int) (honest *testlog.Log, forged []*testlog.Log) {
	honest = &testlog.Log{Origin: origin}
	for i := range size {
		honest.Leaves = append(honest.Leaves, []byte{byte(i)})
	}
	for i := range size {
		f := &testlog.Log{Origin: origin, Leaves: append([][]byte(nil), honest.Leaves...)}
		f.Leaves[i] = []byte("forged")
		forged = append(forged, f)
	}
	return honest, forged
}

func view(t testing.TB, a *testlog.Log, m uint64, b *testlog.Log, n uint64) *receipt.SplitView {
	t.Helper()
	return &receipt.SplitView{
		Origin: origin, A: a.Checkpoint(m, by(logKey, 0)), B: b.Checkpoint(n, by(logKey, 0)), Left: nodes(t, b, 0, m), Right: nodes(t, b, m, n),
	}
}

// Every pair of sizes up to nine, and every leaf forged: the log is accused if and only if the
// forged leaf is below the smaller size.
func TestSplitViewsOfEveryPairOfSmallTrees(t *testing.T) {
	p := parsePolicy(t, policies["none"])
	const size = 9
	honest, forged := logs(size)
	accused, cleared := 0, 0
	for n := uint64(1); n <= size; n++ {
		for m := uint64(0); m <= n; m++ {
			got, err := receipt.PrefixRoot(m, n, honest.Root(n), nodes(t, honest, 0, m), nodes(t, honest, m, n))
			if err != nil || got != honest.Root(m) {
				t.Errorf("the root of %d of %d leaves: %x, %v", m, n, got, err)
			}
			for leaf, f := range forged {
				file, err := view(t, honest, m, f, n).Marshal()
				if err != nil {
					t.Fatal(err)
				}
				_, err = receipt.CheckSplitView(file, p)
				var step *verify.Error
				switch split := uint64(leaf) < m; {
				case split && err != nil:
					t.Errorf("leaf %d forged below size %d of %d: %v", leaf, m, n, err)
				case !split && (!errors.As(err, &step) || step.Check != receipt.StepConsistency || !strings.Contains(step.Detail, "of one history")):
					t.Errorf("leaf %d forged, not below size %d of %d: %v", leaf, m, n, err)
				case split:
					accused++
				default:
					cleared++
				}
			}
		}
	}
	t.Logf("%d accused, %d cleared", accused, cleared)
}

func TestEveryBitOfASplitViewIsProtected(t *testing.T) {
	p := parsePolicy(t, policies["none"])
	honest, forged := logs(7)
	file, err := view(t, honest, 3, forged[1], 7).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := receipt.CheckSplitView(file, p); err != nil {
		t.Fatal(err)
	}
	for n := range 8 * len(file) {
		i, changed := n/8, bytes.Clone(file)
		changed[i] ^= 1 << (n % 8)
		if _, err := receipt.CheckSplitView(changed, p); err == nil {
			t.Errorf("byte %d %q: changed and accepted", i, file[i])
		}
	}
}

func TestSplitViewsThatProveNothingAreRefused(t *testing.T) {
	p := parsePolicy(t, policies["2-of-3"])
	honest, forged := logs(7)
	good := func() *receipt.SplitView { return view(t, honest, 3, forged[1], 7) }
	for _, c := range []struct {
		name   string
		change func(*receipt.SplitView)
		step   verify.Check
	}{
		{"the larger one first", func(s *receipt.SplitView) { s.A, s.B = s.B, s.A }, receipt.StepConsistency},
		{"no hashes", func(s *receipt.SplitView) { s.Left, s.Right = nil, nil }, receipt.StepConsistency},
		{"a hash too few", func(s *receipt.SplitView) { s.Right = s.Right[1:] }, receipt.StepConsistency},
		{"a hash too many", func(s *receipt.SplitView) { s.Left = append(s.Left, s.Left[0]) }, receipt.StepConsistency},
		{"hashes of another tree", func(s *receipt.SplitView) { s.Left = nodes(t, honest, 0, 3) }, receipt.StepConsistency},
		{"empty trees", func(s *receipt.SplitView) {
			empty := (&testlog.Log{Origin: origin}).Checkpoint(0, by(logKey, 0))
			*s = receipt.SplitView{Origin: origin, A: empty, B: empty}
		}, receipt.StepConsistency},
		{"empty trees and a hash", func(s *receipt.SplitView) {
			empty := (&testlog.Log{Origin: origin}).Checkpoint(0, by(logKey, 0))
			*s = receipt.SplitView{Origin: origin, A: empty, B: empty, Left: s.Left}
		}, receipt.StepConsistency},
		{"another origin's name", func(s *receipt.SplitView) { s.Origin = "other.test" }, receipt.StepCheckpoint},
		{"not signed by the log", func(s *receipt.SplitView) { s.A = honest.Checkpoint(3, by(w1, 1)) }, receipt.StepCheckpoint},
		{"the other not signed by the log", func(s *receipt.SplitView) { s.B = forged[1].Checkpoint(7, by(w1, 1)) }, receipt.StepCheckpoint},
	} {
		s := good()
		c.change(s)
		file, err := s.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		_, err = receipt.CheckSplitView(file, p)
		var step *verify.Error
		if !errors.As(err, &step) || step.Check != c.step {
			t.Errorf("%s: %v: want %s", c.name, err, c.step)
		}
	}
	if _, err := receipt.CheckSplitView(nil, nil); !errors.Is(err, receipt.ErrNoPolicy) {
		t.Errorf("without a policy: %v", err)
	}
}

func TestSplitViewsHaveOneForm(t *testing.T) {
	honest, forged := logs(7)
	file, err := view(t, honest, 3, forged[1], 7).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := receipt.ParseSplitView(file); err != nil {
		t.Fatal(err)
	}
	text := string(file)
	for name, bad := range map[string]string{
		"empty": "", "no object": "null\n", "a version of later times": strings.Replace(text, `"v":1`, `"v":2`, 1),
		"an unknown member": strings.Replace(text, `{"v":1`, `{"v":1,"w":1`, 1), "a member twice": strings.Replace(text, `{"v":1`, `{"v":1,"v":1`, 1),
		"other letters in a name": strings.Replace(text, `"v":1`, `"V":1`, 1), "white space": strings.Replace(text, `"v":1`, `"v": 1`, 1),
		"more after it": text + "\n", "padding in base64": strings.Replace(text, `","b"`, `=","b"`, 1), "upper case in a hash": strings.Replace(text, `"left":["`, `"left":["A`, 1),
		"more hashes than a tree has": strings.Replace(text, `"left":[`, `"left":[`+strings.Repeat(`"`+strings.Repeat("0", 64)+`",`, 127), 1),
		"over the limit":              text + strings.Repeat(" ", receipt.MaxSplitView),
	} {
		if bad == text {
			t.Fatalf("%s: nothing was changed", name)
		}
		if _, err := receipt.ParseSplitView([]byte(bad)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	long := &receipt.SplitView{Origin: origin, A: make([]byte, receipt.MaxSplitView)}
	if _, err := long.Marshal(); err == nil {
		t.Error("a split view over the limit was written")
	}
}

// Whatever sizes and hashes: no panic, and only the root itself hashes to the root.
func FuzzPrefixRoot(f *testing.F) {
	f.Add(uint64(3), uint64(7), []byte{2}, make([]byte, 5*32))
	f.Add(uint64(1)<<62, uint64(1)<<63, []byte{1}, make([]byte, 2*32))
	f.Add(^uint64(0)-1, ^uint64(0), []byte{63}, make([]byte, 64*32))
	f.Add(^uint64(0), ^uint64(0), []byte{64}, make([]byte, 64*32))
	f.Fuzz(func(t *testing.T, m, n uint64, at, hashes []byte) {
		if len(at) == 0 {
			return
		}
		var left, right [][32]byte
		for i := 0; i+32 <= len(hashes); i += 32 {
			if i/32 < int(at[0]) {
				left = append(left, [32]byte(hashes[i:]))
			} else {
				right = append(right, [32]byte(hashes[i:]))
			}
		}
		root := [32]byte{1}
		got, err := receipt.PrefixRoot(m, n, root, left, right)
		all := append(left, right...)
		if err == nil && (len(all) != 1 || all[0] != root) {
			t.Errorf("a preimage was found: %x gives %x", all, got)
		}
	})
}

func FuzzParseSplitView(f *testing.F) {
	s := &receipt.SplitView{Origin: "a", A: []byte("x"), B: []byte("y"), Left: [][32]byte{{1}}}
	file, err := s.Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(file)
	f.Fuzz(func(t *testing.T, file []byte) {
		s, err := receipt.ParseSplitView(file)
		if err != nil {
			return
		}
		if again, err := s.Marshal(); err != nil || !bytes.Equal(again, file) {
			t.Errorf("%q is written as %q (%v)", file, again, err)
		}
	})
}
