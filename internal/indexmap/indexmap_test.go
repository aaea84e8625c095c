package indexmap_test

import (
	"bytes"
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
		Quote: poclog.Identity("quote:" + poclog.Sum(fmt.Appendf(nil, "%d", chip)).String()), CVM: poclog.CVM{Technology: "tdx", Measurement: make([]byte, 48), FMSPC: make([]byte, 6), PCEID: make([]byte, 2)},
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
	at := m.State()
	if at.Size != size {
		t.Fatalf("size %d, want %d", at.Size, size)
	}
	root := at.Root
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
	list, _, err := m.Lookup([]string{name}, since)
	if err != nil {
		t.Fatal(err)
	}
	n := list[0]
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

// head is the index entry of a size that a map gives.
func head(t testing.TB, m *indexmap.Map, size uint64) []byte {
	t.Helper()
	root, err := m.Predict(size)
	if err != nil {
		t.Fatal(err)
	}
	return must(t, poclog.IndexEntry{Algorithm: index.Algorithm, Size: size, Root: root})
}

func must(t testing.TB, e poclog.IndexEntry) []byte {
	t.Helper()
	b, err := e.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestMapsHoldWhatEntriesState(t *testing.T) {
	ctx, m := t.Context(), open(t, filepath.Join(t.TempDir(), "index.db"))
	hold(t, m, nil, 0)
	var list [][]byte // the log
	for i, batch := range slices.Collect(slices.Chunk(leaves(t, 300), 50)) {
		first := uint64(len(list))
		list = append(list, batch...)
		if err := m.Follow(ctx, first, batch); err != nil {
			t.Fatal(err)
		}
		size := first + 37
		entry := head(t, m, size)
		if i%2 == 0 { // alone, or among others
			batch = [][]byte{entry}
		} else {
			batch = [][]byte{leaf(t, 1, 1, 2), entry, leaf(t, 2, 2, 2), head(t, m, size)}
		}
		if err := m.Follow(ctx, uint64(len(list)), batch); err != nil {
			t.Fatal(err)
		}
		list = append(list, batch...)
		hold(t, m, list, size)
		if at := m.State(); at.Next != uint64(len(list)) || !bytes.Contains(list[at.Entry], []byte(`"index"`)) {
			t.Fatalf("state %+v of %d entries", at, len(list))
		}
	}
}

func TestWrongIndexEntriesAreRefused(t *testing.T) {
	ctx, m := t.Context(), open(t, filepath.Join(t.TempDir(), "index.db"))
	list := leaves(t, 20)
	if err := m.Follow(ctx, 0, list); err != nil {
		t.Fatal(err)
	}
	if err := m.Follow(ctx, 20, [][]byte{head(t, m, 10)}); err != nil {
		t.Fatal(err)
	}
	right, err := m.Predict(20)
	if err != nil {
		t.Fatal(err)
	}
	before := m.State()
	for what, c := range map[string]struct {
		entry poclog.IndexEntry
		right poclog.Digest
	}{
		"another root":         {poclog.IndexEntry{Algorithm: 1, Size: 20, Root: poclog.Sum(nil)}, right},
		"the root of a size":   {poclog.IndexEntry{Algorithm: 1, Size: 21, Root: poclog.Sum(nil)}, right},
		"two of one size":      {poclog.IndexEntry{Algorithm: 1, Size: 10, Root: poclog.Sum(nil)}, before.Root},
		"an older size":        {poclog.IndexEntry{Algorithm: 1, Size: 9, Root: right}, poclog.Digest{}},
		"more than there is":   {poclog.IndexEntry{Algorithm: 1, Size: 22, Root: right}, poclog.Digest{}},
		"an unknown algorithm": {poclog.IndexEntry{Algorithm: 2, Size: 20, Root: right}, poclog.Digest{}},
		"an entry is left out": {poclog.IndexEntry{Algorithm: 1, Size: 20, Root: before.Root}, right},
	} {
		err := m.Follow(ctx, 21, [][]byte{must(t, c.entry)})
		var wrong *indexmap.WrongError
		if !errors.As(err, &wrong) || wrong.Entry != 21 || wrong.Right != c.right {
			t.Errorf("%s: %v", what, err)
		}
	}
	if at := m.State(); at != before {
		t.Errorf("a wrong entry changed %+v to %+v", before, at)
	}
	if err := m.Follow(ctx, 21, [][]byte{leaf(t, 1, 1, 2), must(t, poclog.IndexEntry{Algorithm: 1, Size: 22, Root: poclog.Sum(nil)})}); err == nil || m.State().Next != 22 {
		t.Errorf("what stands before a wrong entry is not taken: %+v, %v", m.State(), err)
	}
}

func TestOtherEntriesThanTheNextAreRefused(t *testing.T) {
	ctx, list := t.Context(), leaves(t, 20)
	m := open(t, filepath.Join(t.TempDir(), "index.db"))
	if err := m.Follow(ctx, 0, list[:10]); err != nil {
		t.Fatal(err)
	}
	for _, first := range []uint64{0, 9, 11} {
		if err := m.Follow(ctx, first, list[:1]); !errors.Is(err, indexmap.ErrOrder) {
			t.Errorf("entry %d after entry 9: %v", first, err)
		}
	}
	if _, err := m.Predict(11); !errors.Is(err, indexmap.ErrOrder) {
		t.Errorf("a size beyond what was added: %v", err)
	}
	if _, _, err := m.Lookup([]string{"quote:1"}, 0); err == nil {
		t.Error("a name that no entry could state was looked up")
	}
}

// A map that is opened again is the one that was closed, and one that was cut off within a
// transaction is as before it.
func TestKilledMapsGoOn(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	fresh := open(t, filepath.Join(t.TempDir(), "fresh.db"))
	var list [][]byte
	for _, batch := range slices.Collect(slices.Chunk(leaves(t, 200), 10)) {
		if err := fresh.Follow(t.Context(), uint64(len(list)), batch); err != nil {
			t.Fatal(err)
		}
		list = append(list, batch...)
		entry := head(t, fresh, fresh.State().Size+uint64(r.IntN(int(fresh.State().Next-fresh.State().Size)+1)))
		if err := fresh.Follow(t.Context(), uint64(len(list)), [][]byte{entry}); err != nil {
			t.Fatal(err)
		}
		list = append(list, entry)
	}
	path := filepath.Join(t.TempDir(), "index.db")
	m := open(t, path)
	for cut := 0; m.State() != fresh.State(); cut++ {
		ctx, cancel := context.WithCancel(t.Context())
		if r.IntN(2) == 0 {
			go cancel() // as late as the commit
		}
		next := m.State().Next
		_ = m.Follow(ctx, next, list[next:min(next+uint64(r.IntN(30)), uint64(len(list)))])
		cancel()
		if at := m.State(); r.IntN(3) == 0 {
			m.Close()
			m = open(t, path)
			if again := m.State(); again != at {
				t.Fatalf("opened at %+v, closed at %+v", again, at)
			}
		}
		if cut > 5000 {
			t.Fatal("it does not get on")
		}
	}
	hold(t, m, list, fresh.State().Size)
}
