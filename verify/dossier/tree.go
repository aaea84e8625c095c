package dossier

import (
	"crypto/sha256"
	"fmt"
	"math/bits"

	"github.com/transparency-dev/merkle/rfc6962"
)

// A Leaf is a leaf's hash with its number in the tree.
type Leaf struct {
	Number uint64
	Hash   [sha256.Size]byte
}

// RootOf returns the root of the tree of a size (RFC 6962 §2.1) that has the leaves, ascending by
// number. The proof has the hashes of the greatest subtrees without any of the leaves, from left to
// right; none is left over.
func RootOf(size uint64, leaves []Leaf, proof [][sha256.Size]byte) ([sha256.Size]byte, error) {
	if len(leaves) == 0 { // the proof would be the root itself
		return [sha256.Size]byte{}, fmt.Errorf("want leaves of a tree of size %d", size)
	}
	c := climber{leaves: leaves, proof: proof}
	root, err := c.root(0, size)
	if err == nil && (len(c.proof) > 0 || len(c.leaves) > 0) {
		err = fmt.Errorf("%d hashes and %d leaves too many", len(c.proof), len(c.leaves))
	}
	return root, err
}

// A climber takes leaves and hashes from the left.
type climber struct {
	leaves []Leaf
	proof  [][sha256.Size]byte
}

// root returns the root of the subtree of the leaves [at, at+size). Its depth is at most 64.
func (c *climber) root(at, size uint64) (h [sha256.Size]byte, err error) {
	if len(c.leaves) == 0 || c.leaves[0].Number-at >= size {
		if len(c.proof) == 0 {
			return h, fmt.Errorf("the proof ends before the subtree of %d leaves at %d", size, at)
		}
		h, c.proof = c.proof[0], c.proof[1:]
		return h, nil
	}
	if size == 1 {
		h, c.leaves = c.leaves[0].Hash, c.leaves[1:]
		return h, nil
	}
	half := halfOf(size)
	left, err := c.root(at, half)
	if err != nil {
		return h, err
	}
	right, err := c.root(at+half, size-half)
	if err != nil {
		return h, err
	}
	return [sha256.Size]byte(rfc6962.DefaultHasher.HashChildren(left[:], right[:])), nil
}

// halfOf returns the greatest power of two below size, which is at least 2.
func halfOf(size uint64) uint64 { return 1 << (bits.Len64(size-1) - 1) }

// ProofOf returns the proof that [RootOf] takes for leaves of a tree: node returns the root of the
// subtree of leaves [at, at+size), which is a whole one or reaches to the end of the tree.
func ProofOf(size uint64, numbers []uint64, node func(at, size uint64) ([sha256.Size]byte, error)) (proof [][sha256.Size]byte, err error) {
	var walk func(at, size uint64) error
	walk = func(at, size uint64) error {
		if len(numbers) == 0 || numbers[0]-at >= size {
			h, err := node(at, size)
			proof = append(proof, h)
			return err
		}
		if size == 1 {
			numbers = numbers[1:]
			return nil
		}
		half := halfOf(size)
		if err := walk(at, half); err != nil {
			return err
		}
		return walk(at+half, size-half)
	}
	if len(numbers) == 0 || numbers[len(numbers)-1] >= size {
		return nil, fmt.Errorf("want numbers of entries in a tree of size %d", size)
	}
	err = walk(0, size)
	return proof, err
}
