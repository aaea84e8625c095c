package log

import (
	"testing"

	"github.com/transparency-dev/tessera/api/layout"
)

func TestServedTilesAreThoseOfThePublishedTree(t *testing.T) {
	for _, size := range []uint64{1, 255, 256, 257, 70000, 1 << 24, 1<<40 + 1} {
		for level := uint64(0); level < 8; level++ {
			nodes := size >> (8 * level)
			full, partial := nodes/256, uint8(nodes%256)
			type tile struct {
				index uint64
				width uint8 // 0: full
				want  bool
			}
			tiles := []tile{{full, partial, partial > 0}, {full, partial + 1, false}, {full, 0, false}, {full + 1, 1, false}, {0, 1, nodes > 0}}
			if full > 0 {
				tiles = append(tiles, tile{full - 1, 0, true}, tile{full - 1, 255, true})
			}
			for _, tile := range tiles {
				l, i, w, err := parseTilePath("/" + layout.TilePath(level, tile.index, tile.width))
				if err != nil || l != level || i != tile.index || inTree(l, i, w, size) != tile.want {
					t.Errorf("size %d: level %d index %d width %d: %v, in the tree %v: want %v", size, level, tile.index, tile.width, err, !tile.want, tile.want)
				}
			}
		}
	}
	if l, i, w, err := parseTilePath("/" + layout.EntriesPath(70000/256, 70000%256)); err != nil || l != 0 || i != 273 || w != 112 {
		t.Errorf("entries: level %d index %d width %d, %v", l, i, w, err)
	}
}

func FuzzTilePath(f *testing.F) {
	for _, s := range []string{
		"/tile/0/000", "/tile/63/x999/x999/999.p/255", "/tile/entries/x001/067.p/8", "/tile/00/000", "/tile/0/x000/001", "/tile/0/000.p/0", "/tile/0/000.p/256",
		"/tile/0/000.p/01", "/tile/64/000", "/tile/0/x999/x999/x999/x999/x999/x999/x999/999", "/tile/../checkpoint", "/tile/0/../0/000", "/tile/entries/000\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		level, index, width, err := parseTilePath(path)
		if err != nil {
			return
		}
		if width < 1 || width > 256 || level > 63 {
			t.Fatalf("%q: level %d, width %d", path, level, width)
		}
		if p := uint8(width); path != "/"+layout.TilePath(level, index, p) && path != "/"+layout.EntriesPath(index, p) {
			t.Fatalf("%q is not the path of level %d index %d width %d", path, level, index, width)
		}
		if inTree(level, index, width, 0) {
			t.Fatalf("%q is in the empty tree", path)
		}
	})
}
