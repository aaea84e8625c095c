package log

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"sync"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api/layout"
	"github.com/transparency-dev/tessera/client"

	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

// maxProofTiles are kept in memory, with 16 KB each.
const maxProofTiles = 512

// proofTiles prove entries to be in trees. They keep tiles with all hashes above them: most proofs
// are of entries that were logged just now, in the tree of one checkpoint, and share their tiles.
type proofTiles struct {
	read client.TileFetcherFunc

	mu    sync.Mutex // guards what follows
	tiles map[tileKey]*proofTile
	order []tileKey // the oldest first
}

// A tileKey names a tile as it was when the tree had a size: width is 0 for a full one.
type tileKey struct {
	level, index uint64
	width        uint8
}

// A proofTile has a row for each level: the tile's hashes, and those of pairs in the row below.
type proofTile struct {
	done chan struct{} // closed once the rest is set
	rows [layout.TileHeight][][]byte
	err  error
}

func newProofTiles(read client.TileFetcherFunc) *proofTiles {
	return &proofTiles{read: read, tiles: make(map[tileKey]*proofTile)}
}

// inclusion proves a leaf to be the one of a number in a checkpoint's tree. The proof is checked:
// if it fails, tiles are read once more.
func (t *proofTiles) inclusion(ctx context.Context, leaf []byte, number uint64, cp tlogpolicy.Checkpoint) ([][sha256.Size]byte, error) {
	hash := leafHash(leaf)
	for again := false; ; again = true {
		path, err := t.path(ctx, number, cp.Size)
		if err == nil {
			err = proof.VerifyInclusion(rfc6962.DefaultHasher, number, cp.Size, hash, path, cp.Root[:])
		}
		if err == nil {
			return verify.Hashes(path), nil
		}
		if again || ctx.Err() != nil {
			return nil, fmt.Errorf("prove entry %d in the tree of size %d: %w", number, cp.Size, err)
		}
		t.forget()
	}
}

func (t *proofTiles) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.tiles)
	t.order = nil
}

// path is a proof (RFC 9162, section 2.1.3), which is not checked.
func (t *proofTiles) path(ctx context.Context, number, size uint64) ([][]byte, error) {
	nodes, err := proof.Inclusion(number, size)
	if err != nil {
		return nil, err
	}
	hashes := make([][]byte, len(nodes.IDs))
	for i, id := range nodes.IDs {
		if hashes[i], err = t.node(ctx, id, size); err != nil {
			return nil, err
		}
	}
	return nodes.Rehash(hashes, rfc6962.DefaultHasher.HashChildren)
}

// root returns the root of the leaves [at, at+n) of a tree: of a whole subtree, or of one that
// reaches to its end.
func (t *proofTiles) root(ctx context.Context, at, n, size uint64) (h [sha256.Size]byte, err error) {
	var root []byte
	for _, id := range slices.Backward(compact.RangeNodes(at, at+n, nil)) {
		left, err := t.node(ctx, id, size)
		if err != nil {
			return h, err
		}
		if root == nil {
			root = left
		} else {
			root = rfc6962.DefaultHasher.HashChildren(left, root)
		}
	}
	return [sha256.Size]byte(root), nil
}

// node returns the root of a whole subtree.
func (t *proofTiles) node(ctx context.Context, id compact.NodeID, size uint64) ([]byte, error) {
	level, index, row, column := layout.NodeCoordsToTileAddress(uint64(id.Level), id.Index)
	tile, err := t.tile(ctx, tileKey{level, index, layout.PartialTileSize(level, index, size)})
	if err != nil {
		return nil, err
	}
	if hashes := tile.rows[row]; column < uint64(len(hashes)) {
		return hashes[column], nil
	}
	return nil, fmt.Errorf("tile %d of level %d has %d hashes at height %d: want more than %d", index, level, len(tile.rows[row]), row, column)
}

// tile returns a tile that is in memory, or reads it, for all who want it at one time.
func (t *proofTiles) tile(ctx context.Context, key tileKey) (*proofTile, error) {
	t.mu.Lock()
	tile, ok := t.tiles[key]
	if !ok {
		tile = &proofTile{done: make(chan struct{})}
		t.add(key, tile)
	}
	t.mu.Unlock()
	if !ok {
		t.fill(context.WithoutCancel(ctx), key, tile)
	}
	select {
	case <-tile.done:
		return tile, tile.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// add keeps a tile instead of the oldest. The caller holds mu.
func (t *proofTiles) add(key tileKey, tile *proofTile) {
	if len(t.order) >= maxProofTiles {
		delete(t.tiles, t.order[0])
		t.order = slices.Delete(t.order, 0, 1)
	}
	t.tiles[key], t.order = tile, append(t.order, key)
}

// fill reads a tile. One that cannot be read is not kept.
func (t *proofTiles) fill(ctx context.Context, key tileKey, tile *proofTile) {
	defer close(tile.done)
	b, err := t.read(ctx, key.level, key.index, key.width)
	if err == nil && (len(b)%sha256.Size != 0 || len(b) > layout.TileWidth*sha256.Size) {
		err = fmt.Errorf("%d bytes", len(b))
	}
	if err != nil {
		tile.err = fmt.Errorf("read tile %d of level %d: %w", key.index, key.level, err)
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.tiles[key] == tile {
			delete(t.tiles, key)
			t.order = slices.DeleteFunc(t.order, func(k tileKey) bool { return k == key })
		}
		return
	}
	row := slices.Collect(slices.Chunk(b, sha256.Size))
	for i := range tile.rows {
		tile.rows[i] = row
		next := make([][]byte, len(row)/2)
		for j := range next {
			next[j] = rfc6962.DefaultHasher.HashChildren(row[2*j], row[2*j+1])
		}
		row = next
	}
}
