package poclog

import (
	"fmt"

	"github.com/poclog/poclog/internal/canon"
)

// An IndexEntry is the leaf of kind "index": it commits to the index of all entries before a size,
// docs/format.md §16.
//
//	{"v":1,"kind":"index","algorithm":1,"size":"48211","checkpoint":"…","root":"…"}
//
// It states no names itself. Whether the root is right is for auditors to find out: they recompute
// it.
type IndexEntry struct {
	Algorithm  uint32 // of the index, ≥ 1: which names entries state, and how the map is built
	Size       uint64 // the index is of entries [0, Size); at most the number of this entry
	Checkpoint Digest // SHA-256 of a signed checkpoint of that size
	Root       Digest // of the map
}

// indexStart is how each leaf of kind "index" that this software knows begins.
const indexStart = `{"v":1,"kind":"index"`

// Marshal returns the leaf. It fails if a member is out of its range.
func (e *IndexEntry) Marshal() ([]byte, error) {
	leaf, err := canon.Write(MaxEntry, func(c *canon.Codec) {
		c.Lit(indexStart)
		e.code(c)
	})
	if err != nil {
		return nil, fmt.Errorf("encode index entry: %w", err)
	}
	return leaf, nil
}

func (e *IndexEntry) code(c *canon.Codec) {
	c.Member("algorithm").Uint32(&e.Algorithm)
	c.Check(e.Algorithm > 0, "algorithm 0: want at least 1")
	c.Member("size").Uint64(&e.Size)
	c.Member("checkpoint").Hex(e.Checkpoint[:])
	c.Member("root").Hex(e.Root[:])
	c.Lit("}")
}
