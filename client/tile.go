package client

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/poclog/poclog"
)

// Tiles of https://c2sp.org/tlog-tiles: 256 hashes of every eighth level.
const (
	tileHeight = 8
	tileWidth  = 1 << tileHeight
)

// A Tree is what a checkpoint says of a log.
type Tree struct {
	Origin string
	Size   uint64
	Root   [sha256.Size]byte // for size 0, SHA-256 of nothing
}

// tilePath returns the path of a tile of w hashes, or with level "entries" of an entry bundle.
func tilePath(level string, index uint64, w int) string {
	n := fmt.Sprintf("%03d", index%1000)
	for index /= 1000; index > 0; index /= 1000 {
		n = fmt.Sprintf("x%03d/%s", index%1000, n)
	}
	if w < tileWidth {
		n += fmt.Sprintf(".p/%d", w)
	}
	return "tile/" + level + "/" + n
}

// widthOf returns how many of a tile's elements there are in a tree with n of its level.
func widthOf(index, n uint64) int {
	return int(min(tileWidth, n-index*tileWidth))
}

// partial fetches a tile or bundle of w elements. A log may drop a partial tile when the full one
// is there: then it is cut from that.
func (c *Client) partial(ctx context.Context, level string, index uint64, w, max int) (b []byte, have int, err error) {
	b, err = c.get(ctx, tilePath(level, index, w), max)
	if StatusOf(err) == http.StatusNotFound && w < tileWidth {
		if full, ferr := c.get(ctx, tilePath(level, index, tileWidth), max); ferr == nil {
			return full, tileWidth, nil
		}
	}
	return b, w, err
}

type hash = [sha256.Size]byte

// hashTile fetches the first w hashes of a tile. They are not yet authenticated.
func (c *Client) hashTile(ctx context.Context, level uint, index uint64, w int) ([]hash, error) {
	b, have, err := c.partial(ctx, fmt.Sprint(level), index, w, tileWidth*sha256.Size)
	if err != nil {
		return nil, err
	}
	if len(b) != have*sha256.Size {
		return nil, wrongTilesf("tile %d/%d: %d bytes: want %d", level, index, len(b), have*sha256.Size)
	}
	hashes := make([]hash, w)
	for i := range hashes {
		copy(hashes[i][:], b[i*sha256.Size:])
	}
	return hashes, nil
}

const maxEntryBundle = tileWidth * (2 + poclog.MaxEntry)

// entryBundle fetches the first w entries of a bundle, which are parts of its file. They are not
// yet authenticated.
func (c *Client) entryBundle(ctx context.Context, index uint64, w int) (file []byte, entries [][]byte, err error) {
	file, have, err := c.partial(ctx, "entries", index, w, maxEntryBundle)
	if err != nil {
		return nil, nil, err
	}
	entries, err = parseEntryBundle(file, have)
	if err != nil {
		return nil, nil, wrongTilesf("entry bundle %d: %w", index, err)
	}
	return file, entries[:w], nil
}

// parseEntryBundle splits a bundle of n entries, each after its length in two bytes, big-endian.
func parseEntryBundle(b []byte, n int) ([][]byte, error) {
	entries := make([][]byte, 0, n)
	for len(entries) < n {
		if len(b) < 2 || len(b) < 2+int(binary.BigEndian.Uint16(b)) {
			return nil, fmt.Errorf("cut off in entry %d of %d", len(entries), n)
		}
		end := 2 + int(binary.BigEndian.Uint16(b))
		entries, b = append(entries, b[2:end:end]), b[end:]
	}
	if len(b) != 0 {
		return nil, fmt.Errorf("%d bytes after %d entries", len(b), n)
	}
	return entries, nil
}

// nodeReader computes nodes of one tree from its tiles. What it returns is not authenticated:
// proofs made of it are checked.
type nodeReader struct {
	c     *Client
	size  uint64
	tiles map[tileID][]hash
}

type tileID struct {
	level uint
	index uint64
}

func (c *Client) nodes(size uint64) *nodeReader {
	return &nodeReader{c: c, size: size, tiles: make(map[tileID][]hash)}
}

func (r *nodeReader) tile(ctx context.Context, level uint, index uint64) ([]hash, error) {
	id := tileID{level, index}
	if t, ok := r.tiles[id]; ok {
		return t, nil
	}
	t, err := r.c.hashTile(ctx, level, index, widthOf(index, r.size>>(level*tileHeight)))
	if err == nil {
		r.tiles[id] = t
	}
	return t, err
}

// hashes returns the hashes of nodes that are complete in the tree.
func (r *nodeReader) hashes(ctx context.Context, ids []compact.NodeID) ([][]byte, error) {
	out := make([][]byte, len(ids))
	for i, id := range ids {
		level, row := id.Level/tileHeight, id.Level%tileHeight
		first := id.Index << row
		t, err := r.tile(ctx, level, first/tileWidth)
		if err != nil {
			return nil, err
		}
		at := first % tileWidth
		h := fold(t[at : at+1<<row])
		out[i] = h[:]
	}
	return out, nil
}

// path returns the hashes of a proof that needs some nodes, or the error of who asked for them.
func (r *nodeReader) path(ctx context.Context, need proof.Nodes, err error) ([][]byte, error) {
	if err != nil {
		return nil, err
	}
	have, err := r.hashes(ctx, need.IDs)
	if err != nil {
		return nil, err
	}
	return need.Rehash(have, rfc6962.DefaultHasher.HashChildren)
}

// fold returns the root of a perfect tree over a power of two of nodes.
func fold(nodes []hash) hash {
	level := append([]hash(nil), nodes...)
	for len(level) > 1 {
		for i := range len(level) / 2 {
			level[i] = parent(&level[2*i], &level[2*i+1])
		}
		level = level[:len(level)/2]
	}
	return level[0]
}

// parent is RFC 6962 §2.1's hash of an inner node.
func parent(l, r *hash) hash {
	var b [1 + 2*sha256.Size]byte
	b[0] = rfc6962.RFC6962NodeHashPrefix
	copy(b[1:], l[:])
	copy(b[1+sha256.Size:], r[:])
	return sha256.Sum256(b[:])
}

// leafHashes hashes leaves (RFC 6962 §2.1) with one hash's state: a state for each would cost as
// much as a short leaf.
func leafHashes(leaves [][]byte) []hash {
	out, prefix, h := make([]hash, len(leaves)), []byte{rfc6962.RFC6962LeafHashPrefix}, sha256.New()
	for i, leaf := range leaves {
		h.Reset()
		h.Write(prefix)
		h.Write(leaf)
		h.Sum(out[i][:0])
	}
	return out
}

// ErrWrongTiles says that what a log serves does not belong to the checkpoint that it signed. It
// may be a broken cache; or the log cannot or does not want to show what it signed.
var ErrWrongTiles = errors.New("the log's tiles do not belong to its checkpoint")

type wrongTiles struct{ error }

func wrongTilesf(format string, args ...any) error { return &wrongTiles{fmt.Errorf(format, args...)} }

func (e *wrongTiles) Is(target error) bool { return target == ErrWrongTiles }
func (e *wrongTiles) Unwrap() error        { return e.error }

// EntryBundle fetches a bundle of a log of at least size entries: up to 256 from index·256 on. It
// is not authenticated: each entry is to be held to a leaf hash that the caller knows, see
// [receipt.LeafHash].
func (c *Client) EntryBundle(ctx context.Context, index, size uint64) ([][]byte, error) {
	if index >= (size+tileWidth-1)/tileWidth {
		return nil, fmt.Errorf("entry bundle %d of a log of %d entries", index, size)
	}
	_, entries, err := c.entryBundle(ctx, index, widthOf(index, size))
	return entries, err
}
