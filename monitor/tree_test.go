package monitor

import (
	"crypto/sha256"
	"encoding/binary"
	"testing"

	"github.com/poclog/poclog/internal/testlog"
	"github.com/poclog/poclog/verify/receipt"
)

// The roots of every size of a tree, from trees of every size that matters, are those of the Go
// checksum database's implementation.
func TestTreesKnowEveryRootTheyHad(t *testing.T) {
	l := &testlog.Log{Origin: "t"}
	var hashes [][sha256.Size]byte
	var want [][sha256.Size]byte
	for i := range uint64(1100) {
		want = append(want, l.Root(i))
		l.Leaves = append(l.Leaves, binary.BigEndian.AppendUint64(nil, i))
		hashes = append(hashes, receipt.LeafHash(l.Leaves[i]))
	}
	want = append(want, l.Root(1100))
	leaves := func(from uint64, dst [][sha256.Size]byte) error { copy(dst, hashes[from:]); return nil }
	var tr tree
	for n := range uint64(1101) {
		if n > 0 {
			tr.add(hashes[n-1])
		}
		if got, err := tr.root(n, leaves); err != nil || got != want[n] {
			t.Fatalf("size %d: %x, %v", n, got, err)
		}
	}
	var sizes []uint64
	for n := range uint64(1101) {
		sizes = append(sizes, n)
	}
	for _, list := range [][]uint64{sizes, {0, 3, 3, 255, 256, 257, 511, 512, 1023, 1024, 1025, 1100}, {700}, nil} {
		i := 0
		err := tr.roots(list, leaves, func(n uint64, root [sha256.Size]byte) error {
			if n != list[i] || root != want[n] {
				t.Errorf("size %d, want %d: another root", n, list[i])
			}
			i++
			return nil
		})
		if err != nil || i != len(list) {
			t.Errorf("%d of %d roots: %v", i, len(list), err)
		}
	}
	if _, err := tr.root(1101, leaves); err == nil {
		t.Error("a root beyond the tree")
	}
}
