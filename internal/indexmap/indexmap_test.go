package indexmap_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/indexmap"
	"github.com/poclog/poclog/verify/index"
)

// leaf is a proof of a chip and a key.
func leaf(t testing.TB, chip, key int, level uint32) []byte {
	t.Helper()
	e := &poclog.Entry{
		Appraisal: 1, Profile: poclog.TDX, Level: level, Realm: poclog.Lab,
		Chassis: []poclog.Identity{poclog.Identity(fmt.Sprintf("intel:tdx:ppid:%032x", chip+1))}, Keys: []poclog.Identity{poclog.Identity(fmt.Sprintf("tpm:ak:%064x", key+1))},
		Quote: poclog.Identity("quote:" + poclog.Sum(fmt.Appendf(nil, "%d", chip)).String()), CVM: poclog.CVM{Technology: "tdx", Measurement: make([]byte, 48)},
		Evidence: poclog.EvidenceDigests{Bundle: poclog.BlobOf([]byte("b")), Policy: poclog.BlobOf([]byte("p"))}, Appraised: poclog.UnixTime(1800000000),
	}
	b, err := e.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func leaves(t testing.TB, n int) (list [][]byte) {
	r := rand.New(rand.NewPCG(1, 2))
	for i := range n {
		switch {
		case i%17 == 0:
			list = append(list, []byte("of a later time"))
		case i%11 == 0:
			list = append(list, []byte(`{"v":1,"kind":"proof"`)) // malformed
		default:
			list = append(list, leaf(t, r.IntN(20), r.IntN(30), uint32(r.IntN(2)*2)))
		}
	}
	return list
}

func open(t testing.TB, path string) *indexmap.Map {
	t.Helper()
	m, err := indexmap.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// want is what the specification says of a name.
func want(list [][]byte, name string) (numbers []uint64) {
	for i, l := range list {
		names, _ := index.Names(l)
		if slices.Contains(names, name) {
			numbers = append(numbers, uint64(i))
		}
	}
	return numbers
}

// hold compares a map at a size with the specification.
func hold(t *testing.T, m *indexmap.Map, list [][]byte, size uint64) {
	t.Helper()
	at, root := m.Size()
	if at != size {
		t.Fatalf("size %d, want %d", at, size)
	}
	for chip := range 22 {
		for _, prefix := range []string{"", "unproven:"} {
			name := prefix + fmt.Sprintf("intel:tdx:ppid:%032x", chip+1)
			for _, since := range []uint64{0, 1, size / 2, size} {
				holdName(t, m, root, name, since, want(list[:size], name))
			}
		}
	}
}

func holdName(t *testing.T, m *indexmap.Map, root poclog.Digest, name string, since uint64, all []uint64) {
	t.Helper()
	n, _, err := m.Lookup(name, since)
	if err != nil {
		t.Fatal(err)
	}
	value, present, err := index.Lookup(root, name, n.Proof)
	if err != nil || present != (len(all) > 0) {
		t.Fatalf("%s: present %v, %v; want %v", name, present, err, all)
	}
	from := index.Value{}
	if n.Before != nil {
		from = index.Value(*n.Before)
	}
	if present && from.Chain(n.Numbers) != value {
		t.Fatalf("%s since %d: numbers %v after %x do not give the value", name, since, n.Numbers, from)
	}
	if !slices.Equal(n.Numbers, all[len(all)-len(n.Numbers):]) || n.Before != nil && n.Numbers[0] >= since || n.Before == nil && len(n.Numbers) != len(all) {
		t.Fatalf("%s since %d: numbers %v of %v", name, since, n.Numbers, all)
	}
	if n.Before != nil && len(n.Numbers) > 1 && n.Numbers[1] < since {
		t.Fatalf("%s since %d: more numbers than needed: %v", name, since, n.Numbers)
	}
}

func TestMapsHoldWhatEntriesState(t *testing.T) {
	ctx, list := t.Context(), leaves(t, 300)
	m := open(t, filepath.Join(t.TempDir(), "index.db"))
	hold(t, m, list, 0)
	for i := 0; i < len(list); i += 50 {
		if err := m.Add(ctx, uint64(i), list[i:i+50]); err != nil {
			t.Fatal(err)
		}
		size := uint64(i + 37)
		predicted, err := m.Predict(size)
		if err != nil {
			t.Fatal(err)
		}
		root, err := m.Advance(ctx, size)
		if err != nil || root != predicted {
			t.Fatalf("root %s, predicted %s, %v", root, predicted, err)
		}
		hold(t, m, list, size)
		if again, err := m.Advance(ctx, size); err != nil || again != root {
			t.Fatalf("the same size again: %s, %v", again, err)
		}
	}
}

func TestOtherEntriesThanTheNextAreRefused(t *testing.T) {
	ctx, list := t.Context(), leaves(t, 20)
	m := open(t, filepath.Join(t.TempDir(), "index.db"))
	if err := m.Add(ctx, 0, list[:10]); err != nil {
		t.Fatal(err)
	}
	for _, first := range []uint64{0, 9, 11} {
		if err := m.Add(ctx, first, list[:1]); !errors.Is(err, indexmap.ErrOrder) {
			t.Errorf("entry %d after entry 9: %v", first, err)
		}
	}
	if _, err := m.Advance(ctx, 11); !errors.Is(err, indexmap.ErrOrder) {
		t.Errorf("a size beyond what was added: %v", err)
	}
	if _, err := m.Advance(ctx, 8); err != nil {
		t.Fatal(err)
	}
	for _, size := range []uint64{7, 11} {
		if _, err := m.Predict(size); !errors.Is(err, indexmap.ErrOrder) {
			t.Errorf("predict size %d: %v", size, err)
		}
		if _, err := m.Advance(ctx, size); !errors.Is(err, indexmap.ErrOrder) {
			t.Errorf("advance to size %d: %v", size, err)
		}
	}
	if _, _, err := m.Lookup("quote:1", 0); err == nil {
		t.Error("a name that no entry could state was looked up")
	}
}

// A map that is opened again is the one that was closed, and one that was cut off within a transaction is as before it.
func TestKilledMapsGoOn(t *testing.T) {
	list, path := leaves(t, 200), filepath.Join(t.TempDir(), "index.db")
	fresh := open(t, filepath.Join(t.TempDir(), "fresh.db"))
	if err := fresh.Add(t.Context(), 0, list); err != nil {
		t.Fatal(err)
	}
	want, err := fresh.Advance(t.Context(), 200)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(3, 4))
	m := open(t, path)
	for cut := 0; ; cut++ {
		ctx, cancel := context.WithCancel(t.Context())
		if r.IntN(2) == 0 {
			cancel() // as late as the commit
		}
		next := m.Next()
		_ = m.Add(ctx, next, list[next:min(next+uint64(r.IntN(20)), 200)])
		if size, _ := m.Size(); m.Next() > size {
			_, _ = m.Advance(ctx, size+uint64(r.IntN(int(m.Next()-size)+1)))
		}
		cancel()
		if r.IntN(3) == 0 {
			size, root := m.Size()
			m.Close()
			m = open(t, path)
			if s, again := m.Size(); s != size || again != root {
				t.Fatalf("opened at size %d with root %s, closed at %d with %s", s, again, size, root)
			}
		}
		if size, root := m.Size(); size == 200 {
			if root != want {
				t.Fatalf("root %s after %d cuts, want %s", root, cut, want)
			}
			break
		}
		if cut > 5000 {
			t.Fatal("it does not get on")
		}
	}
	hold(t, m, list, 200)
}

func BenchmarkAddAndAdvance(b *testing.B) {
	const batch = 1000
	list := make([][]byte, batch)
	m := open(b, filepath.Join(b.TempDir(), "index.db"))
	next := 0
	for b.Loop() {
		b.StopTimer()
		for i := range list {
			list[i] = leaf(b, next/4, next/4, 2)
			next++
		}
		b.StartTimer()
		if err := m.Add(b.Context(), m.Next(), list); err != nil {
			b.Fatal(err)
		}
		if _, err := m.Advance(b.Context(), m.Next()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(next), "µs/entry")
}
