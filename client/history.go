package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/receipt"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

// A Checkpoint is a signed checkpoint that satisfies the client's policy.
type Checkpoint struct {
	Tree
	Signed []byte           // as the log serves it
	View   *tlogpolicy.View // who signed, and when
}

// A SplitView is the error of a log that showed two histories. The evidence convinces anybody who
// has the log's key: receipt.CheckSplitView.
type SplitView struct {
	Origin   string
	Old, New Tree
	Evidence []byte // a split view's file
	File     string // where it was kept; "" if there was no store
	Err      error  // why it could not be kept, or nil
}

// Error shouts.
func (s *SplitView) Error() string {
	where := "kept in " + s.File
	if s.File == "" {
		where = "not kept: no checkpoint store"
	}
	if s.Err != nil {
		where = "NOT kept: " + s.Err.Error()
	}
	return fmt.Sprintf("SPLIT VIEW: log %q signed two histories, at sizes %d and %d; the evidence is %s", s.Origin, s.Old.Size, s.New.Size, where)
}

// Unwrap returns the error that kept the evidence from being stored.
func (s *SplitView) Unwrap() error { return s.Err }

// Checkpoint fetches the log's newest checkpoint. It carries the policy's quorum and, with a store,
// extends all that were seen before; if it does not, the error is a [*SplitView]; if it cannot be
// told, a [*HistoryError].
func (c *Client) Checkpoint(ctx context.Context) (*Checkpoint, error) {
	signed, err := c.get(ctx, "checkpoint", poclog.MaxChallenge)
	if err != nil {
		return nil, err
	}
	cp, err := c.open(signed)
	if err != nil {
		return nil, err
	}
	return cp, c.remember(ctx, cp)
}

// open checks a signed checkpoint against the client's policy.
func (c *Client) open(signed []byte) (*Checkpoint, error) {
	v, err := c.Policy.Open(signed)
	if err != nil {
		return nil, err
	}
	return checkpointOf(v, signed), nil
}

// remember proves a checkpoint to be of one history with the largest seen so far, and keeps the
// larger one.
func (c *Client) remember(ctx context.Context, cp *Checkpoint) error {
	if c.Store == nil {
		return nil
	}
	for {
		seen, err := c.Store.Load(cp.Origin)
		if errors.Is(err, ErrDamaged) {
			return c.doubt(nil, cp, err)
		}
		if err != nil {
			return err
		}
		next, err := c.larger(ctx, seen, cp)
		if err != nil || next == nil {
			return err
		}
		// Another process may have seen more meanwhile: then that is to be compared with.
		if ok, err := c.Store.Replace(cp.Origin, seen, next); ok || err != nil {
			return err
		}
	}
}

// larger returns what is to be remembered in place of seen, or nil if seen stays.
func (c *Client) larger(ctx context.Context, seen []byte, cp *Checkpoint) ([]byte, error) {
	if len(seen) == 0 {
		return cp.Signed, nil
	}
	v, err := c.Policy.OpenLogged(seen)
	if err != nil {
		return nil, c.doubt(nil, cp, err)
	}
	old := checkpointOf(v, seen)
	if err := c.Consistent(ctx, old, cp); err != nil {
		return nil, c.doubt(old, cp, err)
	}
	if cp.Size <= old.Size {
		return nil, nil
	}
	return cp.Signed, nil
}

// Consistent proves from the log's tiles that two checkpoints of one origin, in any order, are of
// one history. If they are proven not to be, the error is a [*SplitView]; any other error leaves
// the question open.
func (c *Client) Consistent(ctx context.Context, a, b *Checkpoint) error {
	if a.Origin != b.Origin {
		return fmt.Errorf("checkpoints of two logs, %q and %q", a.Origin, b.Origin)
	}
	old, new := a, b
	if old.Size > new.Size {
		old, new = new, old
	}
	if old.Size == new.Size {
		if old.Root == new.Root {
			return nil
		}
		return c.split(&receipt.SplitView{Origin: a.Origin, A: old.Signed, B: new.Signed}, old, new)
	}
	left, right, err := c.ranges(ctx, old.Size, new.Size)
	if err != nil {
		return fmt.Errorf("prove size %d consistent with size %d: %w", new.Size, old.Size, err)
	}
	root, err := receipt.PrefixRoot(old.Size, new.Size, new.Root, left, right)
	if err != nil {
		return wrongTilesf("prove size %d consistent with size %d: tiles: %w", new.Size, old.Size, err)
	}
	if root != old.Root {
		return c.split(&receipt.SplitView{Origin: a.Origin, A: old.Signed, B: new.Signed, Left: left, Right: right}, old, new)
	}
	return nil
}

// ranges fetches the nodes over [0, m) and [m, n) of the tree of n leaves.
func (c *Client) ranges(ctx context.Context, m, n uint64) (left, right []hash, err error) {
	nodes := c.nodes(n)
	l, err := nodes.hashes(ctx, compact.RangeNodes(0, m, nil))
	if err != nil {
		return nil, nil, err
	}
	r, err := nodes.hashes(ctx, compact.RangeNodes(m, n, nil))
	return verify.Hashes(l), verify.Hashes(r), err
}

// split keeps the evidence of a split view.
func (c *Client) split(s *receipt.SplitView, old, new *Checkpoint) error {
	e := &SplitView{Origin: s.Origin, Old: old.Tree, New: new.Tree}
	if e.Evidence, e.Err = s.Marshal(); e.Err == nil && c.Store != nil {
		e.File, e.Err = c.Store.Keep(s.Origin, e.Evidence)
	}
	return e
}

// ConsistencyProof makes the proof of RFC 6962 §2.1.2 that a tree extends the one of its first old
// leaves, as add-checkpoint of https://c2sp.org/tlog-witness takes it. It is made from the log's
// tiles and not checked: whoever takes it has both roots.
func (c *Client) ConsistencyProof(ctx context.Context, old uint64, tree Tree) ([][]byte, error) {
	need, err := proof.Consistency(old, tree.Size)
	path, err := c.nodes(tree.Size).path(ctx, need, err)
	if err != nil {
		return nil, fmt.Errorf("prove size %d consistent with size %d: %w", tree.Size, old, err)
	}
	return path, nil
}

// Inclusion proves from the log's tiles that a leaf is in a tree (RFC 6962 §2.1.1). The tree need
// not come from a checkpoint: if it never was the log's, the error is [ErrWrongTiles].
func (c *Client) Inclusion(ctx context.Context, leaf []byte, index uint64, tree Tree) ([][sha256.Size]byte, error) {
	need, err := proof.Inclusion(index, tree.Size)
	path, err := c.nodes(tree.Size).path(ctx, need, err)
	if err != nil {
		return nil, err
	}
	h := receipt.LeafHash(leaf)
	root, err := proof.RootFromInclusionProof(rfc6962.DefaultHasher, index, tree.Size, h[:], path)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(root, tree.Root[:]) {
		return nil, wrongTilesf("the log's tiles do not have entry %d under its checkpoint of size %d", index, tree.Size)
	}
	return verify.Hashes(path), nil
}
