package receipt

import (
	"bytes"
	"crypto/sha256"
	"fmt"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/canon"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

// MaxSplitView is the greatest size of a split view's file, in bytes: two checkpoints and the
// hashes of two compact ranges.
const MaxSplitView = 2*poclog.MaxChallenge*4/3 + 1<<15

const (
	maxRangeHashes = 126 // of a compact range in a tree of less than 2^63 leaves
	maxOrigin      = 128 // bytes, as in entries
)

// A SplitView is evidence that a log signed two histories (`*.split-view.json`, docs/format.md
// §14): checkpoints A and B of which no tree has both. Either their sizes are equal and their roots
// differ; or A is smaller, and the first leaves of B's tree have another root, which Left and Right
// show.
//
// The file is JSON with the members v (1), origin, a, b (base64url of the signed checkpoints), left
// and right (lists of hexadecimal hashes, absent where empty), in this order, in the canonical form
// of all files.
type SplitView struct {
	Origin string
	A, B   []byte              // signed checkpoints, A not larger than B
	Left   [][sha256.Size]byte // nodes of B's tree over the leaves below A's size, from left to right; none for equal sizes
	Right  [][sha256.Size]byte // nodes of B's tree over the leaves from A's size on
}

// Marshal returns the file.
func (s *SplitView) Marshal() ([]byte, error) {
	file, err := canon.Write(MaxSplitView, s.code)
	if err != nil {
		return nil, fmt.Errorf("encode split view: %w", err)
	}
	return file, nil
}

func (s *SplitView) code(c *canon.Codec) {
	c.Lit(`{"v":1`)
	canon.Word(c.Member("origin"), "origin", &s.Origin, maxOrigin)
	c.Member("a").Base64(&s.A, poclog.MaxChallenge)
	c.Member("b").Base64(&s.B, poclog.MaxChallenge)
	hash := func(h *[sha256.Size]byte) { c.Hex(h[:]) }
	canon.OptionalList(c, "left", &s.Left, maxRangeHashes, hash)
	canon.OptionalList(c, "right", &s.Right, maxRangeHashes, hash)
	c.Lit("}")
}

// ParseSplitView parses a file. It does not look into the checkpoints.
func ParseSplitView(file []byte) (*SplitView, error) {
	if len(file) > MaxSplitView {
		return nil, fmt.Errorf("split view of %d bytes: want at most %d", len(file), MaxSplitView)
	}
	s := new(SplitView)
	if err := canon.Read(file, s.code); err != nil {
		return nil, fmt.Errorf("parse split view: %w", err)
	}
	return s, nil
}

// CheckSplitView verifies that a split view's file proves what it says: the origin's own signatures
// under the policy, and that no tree has both checkpoints. A nil error means that the log signed
// two histories.
func CheckSplitView(file []byte, policy *tlogpolicy.Policy) (*SplitView, error) {
	if policy == nil {
		return nil, ErrNoPolicy
	}
	s, err := ParseSplitView(file)
	if err != nil {
		return nil, verify.Failf(verify.Format, "%w", err)
	}
	a, err := policy.OpenLogged(s.A)
	if err != nil {
		return nil, verify.Failf(StepCheckpoint, "a: %w", err)
	}
	b, err := policy.OpenLogged(s.B)
	if err != nil {
		return nil, verify.Failf(StepCheckpoint, "b: %w", err)
	}
	if a.Origin != s.Origin || b.Origin != s.Origin {
		return nil, verify.Failf(StepCheckpoint, "checkpoints of %q and %q: want both of %q", a.Origin, b.Origin, s.Origin)
	}
	root := b.Root
	if a.Size != b.Size || len(s.Left)+len(s.Right) > 0 {
		if root, err = PrefixRoot(a.Size, b.Size, b.Root, s.Left, s.Right); err != nil {
			return nil, verify.Failf(StepConsistency, "%w", err)
		}
	}
	if root == a.Root {
		return nil, verify.Failf(StepConsistency, "the checkpoints of sizes %d and %d are of one history", a.Size, b.Size)
	}
	return s, nil
}

// PrefixRoot returns the root that the first m leaves of a tree have, proven by the tree's own
// root: left and right are the nodes of the compact ranges [0, m) and [m, n) of the tree of n
// leaves, from left to right (RFC 6962 §2.1; 0 ≤ m ≤ n, 0 < n). It fails if they do not hash to
// root. Two checkpoints are of one history if and only if the smaller one's root is the larger
// one's PrefixRoot.
func PrefixRoot(m, n uint64, root [sha256.Size]byte, left, right [][sha256.Size]byte) (prefix [sha256.Size]byte, err error) {
	if m > n || n == 0 {
		return prefix, fmt.Errorf("prefix of %d leaves of a tree of %d", m, n)
	}
	f := &compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}
	l, err := f.NewRange(0, m, verify.HashSlices(left))
	if err != nil {
		return prefix, fmt.Errorf("left range: %w", err)
	}
	r, err := f.NewRange(m, n, verify.HashSlices(right))
	if err != nil {
		return prefix, fmt.Errorf("right range: %w", err)
	}
	h, err := l.GetRootHash(nil)
	if err != nil {
		return prefix, fmt.Errorf("left range: %w", err)
	}
	prefix = sha256.Sum256(nil)
	copy(prefix[:], h) // an empty range has no hash
	if err := l.AppendRange(r, nil); err != nil {
		return prefix, fmt.Errorf("join ranges: %w", err)
	}
	whole, err := l.GetRootHash(nil)
	if err != nil || !bytes.Equal(whole, root[:]) {
		return prefix, fmt.Errorf("hashes of the tree of %d leaves have another root than its checkpoint", n)
	}
	return prefix, nil
}
