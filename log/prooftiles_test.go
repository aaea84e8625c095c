package log

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api/layout"

	"github.com/poclog/poclog/verify/tlogpolicy"
)

// tilesOf are the tiles of a tree of numbers, computed leaf by leaf.
type tilesOf struct {
	nodes map[compact.NodeID][]byte
	size  uint64
	reads atomic.Int64
	spoil atomic.Bool // the next read has a bit that flipped
}

func leafOf(i uint64) []byte { return fmt.Append(nil, i) }

func newTilesOf(t *testing.T, size uint64) (*tilesOf, tlogpolicy.Checkpoint) {
	t.Helper()
	w := &tilesOf{nodes: make(map[compact.NodeID][]byte), size: size}
	r := (&compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}).NewEmptyRange(0)
	for i := range size {
		if err := r.Append(leafHash(leafOf(i)), func(id compact.NodeID, h []byte) { w.nodes[id] = h }); err != nil {
			t.Fatal(err)
		}
	}
	root, err := r.GetRootHash(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w, tlogpolicy.Checkpoint{Size: size, Root: [32]byte(root)}
}

func (w *tilesOf) read(_ context.Context, level, index uint64, width uint8) ([]byte, error) {
	w.reads.Add(1)
	n := uint64(width)
	if n == 0 {
		n = layout.TileWidth
	}
	var b []byte
	for i := range n {
		h, ok := w.nodes[compact.NewNodeID(uint(level*layout.TileHeight), index*layout.TileWidth+i)]
		if !ok {
			return nil, errors.New("not there")
		}
		b = append(b, h...)
	}
	if w.spoil.Swap(false) {
		b[0] ^= 1
	}
	return b, nil
}

func TestEveryEntryIsProvenFromTiles(t *testing.T) {
	for _, size := range []uint64{1, 2, 255, 256, 257, 300, 65_536 + 300} {
		w, cp := newTilesOf(t, size)
		tiles := newProofTiles(w.read)
		for i := uint64(0); i < size; i += 1 + size/400 {
			if _, err := tiles.inclusion(t.Context(), leafOf(i), i, cp); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := tiles.inclusion(t.Context(), []byte("another"), size-1, cp); err == nil {
			t.Errorf("size %d: another leaf is proven", size)
		}
	}
}

func TestTilesAreReadOnceForAllProofs(t *testing.T) {
	w, cp := newTilesOf(t, 300)
	tiles := newProofTiles(w.read)
	var wg sync.WaitGroup
	for i := range cp.Size {
		wg.Go(func() {
			if _, err := tiles.inclusion(t.Context(), leafOf(i), i, cp); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := w.reads.Load(); n != 3 {
		t.Errorf("%d reads of 3 tiles", n)
	}
}

func TestTilesThatProveNothingAreReadAgain(t *testing.T) {
	w, cp := newTilesOf(t, 300)
	tiles := newProofTiles(w.read)
	w.spoil.Store(true)
	for range 2 {
		if _, err := tiles.inclusion(t.Context(), leafOf(7), 7, cp); err != nil {
			t.Error(err)
		}
	}
	// What cannot be read is no tile that is kept.
	whole := w.nodes
	w.nodes = nil
	tiles.forget()
	if _, err := tiles.inclusion(t.Context(), leafOf(7), 7, cp); err == nil {
		t.Error("proven without tiles")
	}
	w.nodes = whole
	if _, err := tiles.inclusion(t.Context(), leafOf(7), 7, cp); err != nil {
		t.Error(err)
	}
}

func TestTilesInMemoryAreBounded(t *testing.T) {
	tiles := newProofTiles(func(context.Context, uint64, uint64, uint8) ([]byte, error) { return make([]byte, 32), nil })
	for i := range uint64(2 * maxProofTiles) {
		if _, err := tiles.tile(t.Context(), tileKey{index: i}); err != nil {
			t.Fatal(err)
		}
	}
	if len(tiles.tiles) != maxProofTiles || len(tiles.order) != maxProofTiles {
		t.Errorf("%d tiles, %d in order", len(tiles.tiles), len(tiles.order))
	}
}
