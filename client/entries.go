package client

import (
	"context"
	"crypto/sha256"
	"fmt"
	"iter"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"
)

// prefetch is how many entry bundles wait while one is checked and one is asked for. With entries
// of 2 KiB that is 5 MB, and at most 42 MB.
const prefetch = 8

// A Leaf is an entry that was proven to be in the log.
type Leaf struct {
	Index uint64
	Entry []byte            // poclog.ParseLeaf tells what it is
	Hash  [sha256.Size]byte // RFC 6962 leaf hash
}

// A Range says which entries to fetch: From ≤ index < To.
type Range struct {
	From, To uint64
	// Progress, if set, is called after every bundle with how many of the range's entries were
	// checked. It must not block.
	Progress func(done, total uint64)
}

// Entries fetches entries of a tree, in order, and checks every one against the tree's root before
// it yields it. It stops at the first error, which it yields. The tree must come from a checkpoint
// that was checked, and its size be at least r.To.
func (c *Client) Entries(ctx context.Context, tree Tree, r Range) iter.Seq2[Leaf, error] {
	return func(yield func(Leaf, error) bool) {
		for b, err := range c.Bundles(ctx, tree, r) {
			if err != nil {
				yield(Leaf{}, err)
				return
			}
			for i, e := range b.Entries {
				if !yield(Leaf{Index: b.First + uint64(i), Entry: e, Hash: b.Hashes[i]}, nil) {
					return
				}
			}
		}
	}
}

// A Bundle is up to 256 consecutive entries that were proven to be in the log.
type Bundle struct {
	First   uint64 // index of the first
	Entries [][]byte
	Hashes  [][sha256.Size]byte // their RFC 6962 leaf hashes

	file []byte // the entries are parts of it
	from *Client
}

// Release gives the memory of the bundle's entries back, for those that come later. Nobody may look
// at them any more.
func (b *Bundle) Release() {
	file := b.file
	b.from.released.Put(&file)
	b.Entries, b.file = nil, nil
}

// Bundles is [Client.Entries] by bundles, as logs serve them.
func (c *Client) Bundles(ctx context.Context, tree Tree, r Range) iter.Seq2[Bundle, error] {
	return func(yield func(Bundle, error) bool) {
		if err := c.bundlesOf(ctx, tree, r, func(b Bundle) bool { return yield(b, nil) }); err != nil {
			yield(Bundle{}, err)
		}
	}
}

func (c *Client) bundlesOf(ctx context.Context, tree Tree, r Range, yield func(Bundle) bool) error {
	if r.From > r.To || r.To > tree.Size {
		return fmt.Errorf("entries %d to %d of a tree of %d", r.From, r.To, tree.Size)
	}
	if r.From == r.To {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	auth, err := c.authenticate(ctx, tree)
	if err != nil {
		return err
	}
	first, last := r.From/tileWidth, (r.To-1)/tileWidth
	for b := range c.bundles(ctx, tree.Size, first, last) {
		got := <-b
		if got.err != nil {
			return got.err
		}
		if err := auth.check(ctx, got.index, got.hashes); err != nil {
			return err
		}
		begin := got.index * tileWidth
		from, to := max(r.From, begin)-begin, min(r.To-begin, uint64(len(got.hashes)))
		if !yield(Bundle{First: begin + from, Entries: got.entries[from:to], Hashes: got.hashes[from:to], file: got.file, from: c}) {
			return nil
		}
		if r.Progress != nil {
			r.Progress(begin+to-r.From, r.To-r.From)
		}
	}
	return ctx.Err()
}

type bundle struct {
	index   uint64
	file    []byte
	entries [][]byte
	hashes  []hash
	err     error
}

// bundles fetches and hashes entry bundles concurrently, and gives them in order. Cancelling the
// context ends it.
func (c *Client) bundles(ctx context.Context, size, first, last uint64) <-chan chan bundle {
	out := make(chan chan bundle, prefetch)
	go func() {
		defer close(out)
		for i := first; i <= last; i++ {
			one := make(chan bundle, 1)
			select {
			case out <- one:
			case <-ctx.Done():
				return
			}
			go func() {
				file, e, err := c.entryBundle(ctx, i, widthOf(i, size))
				one <- bundle{index: i, file: file, entries: e, hashes: leafHashes(e), err: err}
			}()
		}
	}()
	return out
}

// authTree authenticates bundles of one tree. The right edge's tiles hash to the root; a full tile
// hashes to its place in the tile above.
type authTree struct {
	c     *Client
	size  uint64
	edges map[uint][]hash   // the partial tile of each level, where there is one
	full  map[uint]fullTile // the last full tile of each level: enough for a pass from left to right
}

type fullTile struct {
	index  uint64
	hashes []hash
}

// authenticate fetches the right edge of a tree and checks it against the root.
func (c *Client) authenticate(ctx context.Context, tree Tree) (*authTree, error) {
	t := &authTree{c: c, size: tree.Size, edges: make(map[uint][]hash), full: make(map[uint]fullTile)}
	nodes := c.nodes(tree.Size)
	hashes, err := nodes.hashes(ctx, compact.RangeNodes(0, tree.Size, nil))
	if err != nil {
		return nil, err
	}
	f := compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}
	r, err := f.NewRange(0, tree.Size, hashes)
	if err != nil {
		return nil, err
	}
	root, err := r.GetRootHash(nil)
	if err != nil {
		return nil, err
	}
	if string(root) != string(tree.Root[:]) {
		return nil, wrongTilesf("the log's tiles do not hash to its checkpoint of size %d", tree.Size)
	}
	for id, tile := range nodes.tiles {
		t.edges[id.level] = tile
	}
	return t, nil
}

// check refuses leaf hashes of a bundle that are not the tree's.
func (t *authTree) check(ctx context.Context, index uint64, hashes []hash) error {
	if len(hashes) == tileWidth {
		want, err := t.node(ctx, 1, index)
		if err == nil && fold(hashes) != want {
			err = wrongTilesf("entries %d to %d are not those of the tree", index*tileWidth, index*tileWidth+tileWidth-1)
		}
		return err
	}
	for i, want := range t.edges[0] {
		if hashes[i] != want {
			return wrongTilesf("entry %d is not that of the tree", index*tileWidth+uint64(i))
		}
	}
	return nil
}

// node returns the hash at a place of a tile level, authenticated.
func (t *authTree) node(ctx context.Context, level uint, index uint64) (hash, error) {
	tile, at := index/tileWidth, index%tileWidth
	if tile == t.size>>(level*tileHeight)/tileWidth {
		return t.edges[level][at], nil
	}
	if f, ok := t.full[level]; ok && f.index == tile {
		return f.hashes[at], nil
	}
	hashes, err := t.c.hashTile(ctx, level, tile, tileWidth)
	if err != nil {
		return hash{}, err
	}
	want, err := t.node(ctx, level+1, tile)
	if err != nil {
		return hash{}, err
	}
	if fold(hashes) != want {
		return hash{}, wrongTilesf("tile %d/%d is not that of the tree", level, tile)
	}
	t.full[level] = fullTile{index: tile, hashes: hashes}
	return hashes[at], nil
}
