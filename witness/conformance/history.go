package conformance

import (
	"encoding/base64"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

// A history is a tree whose leaf i is known from its name and i. Up to the size where it forks it
// has the leaves of its parent. It is not safe for concurrent use before it was grown to the
// largest size asked for.
type history struct {
	name   string
	fork   int64
	parent *history
	size   int64
	hashes []tlog.Hash // in the order of tlog.StoredHashes
}

func newHistory(name string, fork int64, parent *history) *history {
	return &history{name: name, fork: fork, parent: parent}
}

func (h *history) leaf(i int64) []byte {
	if h.parent != nil && i < h.fork {
		return h.parent.leaf(i)
	}
	return fmt.Appendf(nil, "%s leaf %d", h.name, i)
}

// ReadHashes implements tlog.HashReader.
func (h *history) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	list := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		if x < 0 || x >= int64(len(h.hashes)) {
			return nil, fmt.Errorf("no hash %d", x)
		}
		list[i] = h.hashes[x]
	}
	return list, nil
}

func (h *history) grow(size int64) {
	for ; h.size < size; h.size++ {
		hashes, err := tlog.StoredHashes(h.size, h.leaf(h.size), h)
		if err != nil {
			panic(fmt.Sprintf("conformance: own tree: %v", err)) // all its hashes are in memory
		}
		h.hashes = append(h.hashes, hashes...)
	}
}

func (h *history) root(size int64) tlog.Hash {
	h.grow(size)
	root, err := tlog.TreeHash(size, h)
	if err != nil {
		panic(fmt.Sprintf("conformance: own tree: %v", err))
	}
	return root
}

// prove returns the consistency proof between two sizes, from at least 1.
func (h *history) prove(from, to int64) []string {
	if from == 0 || from == to {
		return nil
	}
	h.grow(to)
	p, err := tlog.ProveTree(to, from, h)
	if err != nil {
		panic(fmt.Sprintf("conformance: own tree: %v", err))
	}
	var lines []string
	for _, x := range p {
		lines = append(lines, x.String())
	}
	return lines
}

// checkpoint returns the text of a checkpoint.
func (h *history) checkpoint(origin string, size int64) string {
	return checkpointText(origin, fmt.Sprint(size), h.root(size))
}

func checkpointText(origin, size string, root tlog.Hash) string {
	return fmt.Sprintf("%s\n%s\n%s\n", origin, size, base64.StdEncoding.EncodeToString(root[:]))
}

// request returns the request that takes a witness from one size of this history to another.
func (h *history) request(s *suite, from, to int64) request {
	return request{old: from, proof: h.prove(from, to), checkpoint: s.sign(h.checkpoint(s.origin, to))}
}
