package mysqls3

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/transparency-dev/tessera/api/layout"

	"github.com/poclog/poclog/log/store"
)

// Bounds of a look at what lies beyond a tree.
const (
	maxBeyond    = 256  // bundles
	maxLevels    = 7    // of tiles
	maxWidthsNow = 1000 // objects of one partial tile
)

// EntriesBeyond returns the sizes up to which entry bundles were written beyond a tree, descending: the
// driver may have integrated more than was signed.
func (t *Target) EntriesBeyond(ctx context.Context, size uint64) (sizes []uint64, err error) {
	for at := size / layout.EntryBundleWidth; at < size/layout.EntryBundleWidth+maxBeyond; at++ {
		full, widths, err := t.widths(ctx, layout.EntriesPath(at, 0))
		if err != nil {
			return nil, err
		}
		for _, w := range widths {
			if s := at*layout.EntryBundleWidth + w; s > size {
				sizes = append([]uint64{s}, sizes...)
			}
		}
		if !full {
			break
		}
		sizes = append([]uint64{(at + 1) * layout.EntryBundleWidth}, sizes...)
	}
	return sizes, nil
}

// widths returns whether the full object of a path is there, and the widths of its partial ones,
// ascending.
func (t *Target) widths(ctx context.Context, path string) (full bool, widths []uint64, err error) {
	names, err := t.tiles.bucket.list(ctx, path, "", maxWidthsNow)
	if err != nil {
		return false, nil, err
	}
	seen := make(map[uint64]bool)
	for _, name := range names {
		if name == path {
			full = true
		}
		if text, ok := strings.CutPrefix(name, path+".p/"); ok {
			w, err := strconv.ParseUint(text, 10, 8)
			if err != nil {
				return false, nil, fmt.Errorf("object %s: %w", name, err)
			}
			seen[w] = true
		}
	}
	for w := range uint64(layout.EntryBundleWidth) {
		if seen[w] {
			widths = append(widths, w)
		}
	}
	return full, widths, nil
}

// Trim removes the tiles and entry bundles that were written beyond a tree: the driver would find
// other entries there than those that it is going to write.
func (t *Target) Trim(ctx context.Context, size uint64) (removed int, err error) {
	for level := -1; level < maxLevels; level++ {
		have := size
		path := layout.EntriesPath
		if level >= 0 {
			have = size >> (8 * level)
			path = func(index uint64, width uint8) string { return layout.TilePath(uint64(level), index, width) }
		}
		for at := have / layout.TileWidth; at < have/layout.TileWidth+maxBeyond; at++ {
			full, widths, err := t.widths(ctx, path(at, 0))
			if err != nil {
				return removed, err
			}
			var names []string
			for _, w := range widths {
				if at*layout.TileWidth+w > have {
					names = append(names, path(at, uint8(w)))
				}
			}
			if full {
				names = append(names, path(at, 0))
			}
			for _, name := range names {
				if err := t.tiles.bucket.remove(ctx, name); err != nil {
					return removed, err
				}
				removed++
			}
			if !full && len(widths) == 0 {
				break
			}
		}
	}
	return removed, nil
}

// Reset gives the driver's tables a tree that is larger than theirs, in place of what they have, and
// empties what is derived from entries.
func (t *Target) Reset(ctx context.Context, state store.TreeState) error {
	k := t.Known.(*known)
	if err := k.make(ctx); err != nil {
		return fmt.Errorf("reset the tables: %w", explain(err))
	}
	tx, err := t.tiles.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("reset the tables: %w", explain(err))
	}
	defer func() { _ = tx.Rollback() }() // after Commit it does nothing
	var size uint64
	if err := tx.QueryRowContext(ctx, "SELECT seq FROM IntCoord WHERE id = 0 FOR UPDATE").Scan(&size); err != nil {
		return fmt.Errorf("reset the tables: %w", explain(err))
	}
	if size > state.Size {
		return fmt.Errorf("reset the tables: they have a tree of size %d, and the tiles one of size %d", size, state.Size)
	}
	for _, s := range []struct {
		query string
		args  []any
	}{
		{"DELETE FROM Seq WHERE id = 0", nil},
		{"UPDATE SeqCoord SET next = ? WHERE id = 0", []any{state.Size}},
		{"UPDATE IntCoord SET seq = ?, rootHash = ? WHERE id = 0", []any{state.Size, state.Root}},
		{"UPDATE PubCoord SET publishedAt = 0 WHERE id = 0", nil},
		{"UPDATE GCCoord SET fromSize = 0 WHERE id = 0", nil},
		{"DELETE FROM PoclogClaims", nil},
		{"DELETE FROM PoclogKnown", nil},
		{"UPDATE PoclogNext SET next = 0, config = NULL WHERE id = 0", nil},
	} {
		if _, err := tx.ExecContext(ctx, s.query, s.args...); err != nil {
			return fmt.Errorf("reset the tables: %w", explain(err))
		}
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("reset the tables: %w", explain(err))
	}
	return nil
}

// Alive returns how many front ends said a while ago that they live.
func (t *Target) Alive(ctx context.Context) (n int, err error) {
	err = t.tiles.db.QueryRowContext(ctx, `SELECT COUNT(*) FROM PoclogFrontEnds WHERE seen > SYSDATE(6) - INTERVAL ? SECOND`, int(frontEndIdle.Seconds())).Scan(&n)
	if isNoTable(err) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("front ends: %w", explain(err))
	}
	return n, nil
}
