package monitor

import (
	"crypto/sha256"
	"fmt"

	"github.com/transparency-dev/merkle/rfc6962"
)

const bundleWidth = 256

// Nodes of a tree over so many leaves, and those above, are in memory.
const (
	grainLevel = 4
	grain      = 1 << grainLevel
)

// A tree is a log's Merkle tree (RFC 6962 §2.1) over its records: nodes of level 4 and above in
// memory, four bytes for each entry, and leaf hashes in the records file. It knows the root of
// every size that the log ever had.
type tree struct {
	levels  [][][sha256.Size]byte // levels[i] are the complete nodes of level grainLevel+i
	partial []([sha256.Size]byte) // leaf hashes after the last complete grain
}

// size returns the number of leaves.
func (t *tree) size() uint64 {
	if len(t.levels) == 0 {
		return uint64(len(t.partial))
	}
	return uint64(len(t.levels[0]))*grain + uint64(len(t.partial))
}

// add takes the next leaf.
func (t *tree) add(leaf [sha256.Size]byte) {
	t.partial = append(t.partial, leaf)
	if len(t.partial) < grain {
		return
	}
	node := fold(t.partial)
	t.partial = t.partial[:0]
	for i := 0; ; i++ {
		if i == len(t.levels) {
			t.levels = append(t.levels, nil)
		}
		t.levels[i] = append(t.levels[i], node)
		n := len(t.levels[i])
		if n%2 != 0 {
			return
		}
		node = parent(&t.levels[i][n-2], &t.levels[i][n-1])
	}
}

// parent is the hash of an inner node.
func parent(l, r *[sha256.Size]byte) [sha256.Size]byte {
	var b [1 + 2*sha256.Size]byte
	b[0] = rfc6962.RFC6962NodeHashPrefix
	copy(b[1:], l[:])
	copy(b[1+sha256.Size:], r[:])
	return sha256.Sum256(b[:])
}

// fold returns the root of a perfect tree over a power of two of nodes.
func fold(nodes [][sha256.Size]byte) [sha256.Size]byte {
	var level [grain][sha256.Size]byte
	n := copy(level[:], nodes)
	for ; n > 1; n /= 2 {
		for i := range n / 2 {
			level[i] = parent(&level[2*i], &level[2*i+1])
		}
	}
	return level[0]
}

// A leafReader reads leaf hashes from an index on.
type leafReader func(from uint64, dst [][sha256.Size]byte) error

// roots calls found with the root of the first n leaves for each n of a list in ascending order,
// until it returns an error. Sizes that lie near each other cost little more than one.
func (t *tree) roots(sizes []uint64, leaves leafReader, found func(n uint64, root [sha256.Size]byte) error) error {
	var buf [grain][sha256.Size]byte
	for len(sizes) > 0 {
		first := sizes[0] / grain * grain
		end := 0
		for end < len(sizes) && sizes[end] < first+grain {
			end++
		}
		last := sizes[end-1]
		if last > t.size() {
			return fmt.Errorf("root of %d leaves of a tree of %d", last, t.size())
		}
		within := buf[:last-first]
		if first == t.size()-uint64(len(t.partial)) {
			copy(within, t.partial)
		} else if len(within) > 0 {
			if err := leaves(first, within); err != nil {
				return err
			}
		}
		if err := t.rootsOf(first, within, sizes[:end], found); err != nil {
			return err
		}
		sizes = sizes[end:]
	}
	return nil
}

// rootsOf gives the roots of sizes that end in one grain, which begins at first and has the leaves
// within.
func (t *tree) rootsOf(first uint64, within [][sha256.Size]byte, sizes []uint64, found func(uint64, [sha256.Size]byte) error) error {
	left := t.left(first)
	var stack []edge
	at := first
	rooted, root := first-1, [sha256.Size]byte{} // many challenges are of one checkpoint
	for _, n := range sizes {
		for ; at < n; at++ {
			e := edge{hash: within[at-first]}
			for len(stack) > 0 && stack[len(stack)-1].level == e.level {
				e = edge{e.level + 1, parent(&stack[len(stack)-1].hash, &e.hash)}
				stack = stack[:len(stack)-1]
			}
			stack = append(stack, e)
		}
		if n != rooted {
			rooted, root = n, rootOf(left, stack)
		}
		if err := found(n, root); err != nil {
			return err
		}
	}
	return nil
}

// An edge is a complete subtree on the right edge of a tree.
type edge struct {
	level int
	hash  [sha256.Size]byte
}

// left returns the complete subtrees over the first n leaves, a multiple of a grain, from left to
// right.
func (t *tree) left(n uint64) (out []edge) {
	at := uint64(0)
	for level := len(t.levels) - 1; level >= 0; level-- {
		if width := uint64(grain) << level; n-at >= width {
			out = append(out, edge{level + grainLevel, t.levels[level][at/width]})
			at += width
		}
	}
	return out
}

// rootOf joins subtrees from right to left.
func rootOf(left, right []edge) [sha256.Size]byte {
	all := append(append(make([]edge, 0, 64), left...), right...)
	if len(all) == 0 {
		return sha256.Sum256(nil)
	}
	root := all[len(all)-1].hash
	for i := len(all) - 2; i >= 0; i-- {
		root = parent(&all[i].hash, &root)
	}
	return root
}

// root returns the root of the first n leaves.
func (t *tree) root(n uint64, leaves leafReader) (root [sha256.Size]byte, err error) {
	err = t.roots([]uint64{n}, leaves, func(_ uint64, r [sha256.Size]byte) error { root = r; return nil })
	return root, err
}
