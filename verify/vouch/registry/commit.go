package registry

import (
	"bytes"
	"crypto/sha256"
	"slices"
	"time"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
)

// A Machine is one of a private fleet. The salt is 32 random octets of its own: who has them can
// show the machine, and nobody can guess it without.
type Machine struct {
	Identity poclog.Identity
	Salt     poclog.Digest
}

// leaf is SHA-256("poclog/commit/v1\n" ‖ salt ‖ identity).
func (m *Machine) leaf() [sha256.Size]byte {
	return sha256.Sum256(slices.Concat([]byte("poclog/commit/v1\n"), m.Salt[:], []byte(m.Identity)))
}

// A Fleet is the tree of a commitment: RFC 6962 over the machines' leaves, ordered by leaf.
type Fleet struct {
	machines []Machine
	hashes   [][]byte // of the leaves, RFC 6962 §2.1
}

// NewFleet makes the tree of machines, in any order. A machine that is there twice is refused.
func NewFleet(list []Machine) (*Fleet, error) {
	if len(list) == 0 {
		return nil, verify.Failf(CheckOpening, "a fleet of no machines")
	}
	f := &Fleet{machines: slices.Clone(list)}
	seen := make(map[poclog.Identity]bool, len(list))
	for _, m := range list {
		if err := poclog.CheckSubject(string(m.Identity)); err != nil {
			return nil, verify.Failf(CheckOpening, "%w", err)
		}
		if seen[m.Identity] {
			return nil, verify.Failf(CheckOpening, "%s is in the fleet twice", m.Identity)
		}
		seen[m.Identity] = true
	}
	slices.SortFunc(f.machines, func(a, b Machine) int {
		x, y := a.leaf(), b.leaf()
		return bytes.Compare(x[:], y[:])
	})
	for _, m := range f.machines {
		leaf := m.leaf()
		f.hashes = append(f.hashes, rfc6962.DefaultHasher.HashLeaf(leaf[:]))
	}
	return f, nil
}

// Root is what a statement commits to.
func (f *Fleet) Root() poclog.Digest { return poclog.Digest(rootOf(f.hashes)) }

// Open returns the opening of a machine, which is to be shown to those whom its owner chooses.
func (f *Fleet) Open(id poclog.Identity) (*poclog.Opening, error) {
	i := slices.IndexFunc(f.machines, func(m Machine) bool { return m.Identity == id })
	if i < 0 {
		return nil, verify.Failf(CheckOpening, "%s is not in the fleet", id)
	}
	return &poclog.Opening{Root: f.Root(), Salt: f.machines[i].Salt, Identity: id, Number: uint32(i), Hashes: pathOf(f.hashes, i)}, nil
}

// CheckOpened verifies that an opening's machine is one of those that a statement commits to.
func CheckOpened(o *poclog.Opening, s *poclog.Statement) error {
	if s == nil || s.Type != poclog.Commit {
		return verify.Failf(CheckOpening, "no commitment is in force")
	}
	if o.Root != s.Root {
		return verify.Failf(CheckOpening, "it is of commitment %s: %s is in force", o.Root, s.Root)
	}
	m := Machine{o.Identity, o.Salt}
	leaf := m.leaf()
	root, err := proof.RootFromInclusionProof(rfc6962.DefaultHasher, uint64(o.Number), uint64(s.Count), rfc6962.DefaultHasher.HashLeaf(leaf[:]), verify.HashSlices(o.Hashes))
	if err != nil {
		return verify.Failf(CheckOpening, "%s: %w", o.Identity, err)
	}
	if !bytes.Equal(root, s.Root[:]) {
		return verify.Failf(CheckOpening, "%s is not in the commitment: the proof leads to another root", o.Identity)
	}
	return nil
}

// CheckFleet verifies that a registrar vouches at a level or above for an opened machine of its
// newest commitment, at the time by which a proof was made, or now if nobody says so (zero).
func CheckFleet(o *poclog.Opening, s *poclog.Statement, level uint32, t2, now time.Time) error {
	if err := CheckOpened(o, s); err != nil {
		return err
	}
	at := heldAt(t2, now)
	switch {
	case at.Before(s.From) || !at.Before(s.Until):
		return verify.Failf(CheckOpening, "the commitment of %q is not in force at %s", s.Registrar, verify.Stamp(at))
	case s.Level < level:
		return verify.Failf(CheckOpening, "%q commits to its fleet at level %d, want %d", s.Registrar, s.Level, level)
	}
	return nil
}

// half is the greatest power of two below n.
func half(n int) int {
	k := 1
	for k<<1 < n {
		k <<= 1
	}
	return k
}

func rootOf(hashes [][]byte) []byte {
	if len(hashes) == 1 {
		return hashes[0]
	}
	k := half(len(hashes))
	return rfc6962.DefaultHasher.HashChildren(rootOf(hashes[:k]), rootOf(hashes[k:]))
}

// pathOf returns the hashes beside the way from a leaf to the root, from the leaf up.
func pathOf(hashes [][]byte, i int) [][sha256.Size]byte {
	if len(hashes) == 1 {
		return nil
	}
	k := half(len(hashes))
	if i < k {
		return append(pathOf(hashes[:k], i), [sha256.Size]byte(rootOf(hashes[k:])))
	}
	return append(pathOf(hashes[k:], i-k), [sha256.Size]byte(rootOf(hashes[:k])))
}
