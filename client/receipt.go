package client

import (
	"context"
	"errors"
	"fmt"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/receipt"
)

// A ReceiptFor says which entry to make a receipt of.
type ReceiptFor struct {
	Leaf      []byte
	Index     uint64
	Challenge []byte      // the signed checkpoint that the entry's challenge has; nil for historical evidence and other kinds
	Under     *Checkpoint // covers the entry and has the quorum
	First     *Checkpoint // an earlier checkpoint that covers the entry, so that the receipt shows when it was there; nil: Under alone
	Published bool        // prove that the log published the leaf, even if it is malformed or was judged out of its interval
}

// Receipt makes the receipt of an entry from the log's tiles, for a client that did not submit it.
// It verifies under the client's policy, unless Published asks for less.
func (c *Client) Receipt(ctx context.Context, in ReceiptFor) ([]byte, error) {
	r := &poclog.Receipt{Entry: in.Leaf, Index: in.Index, Challenge: in.Challenge}
	under, err := c.inclusion(ctx, in, in.Under)
	if err != nil {
		return nil, err
	}
	r.Inclusion = *under
	if in.First != nil && in.First.Size < in.Under.Size {
		if r.First, err = c.inclusion(ctx, in, in.First); err != nil {
			return nil, err
		}
	}
	if r.Exceptions, err = c.Exceptions(ctx, in.Under); err != nil {
		return nil, err
	}
	file, err := r.Marshal()
	if err != nil {
		return nil, err
	}
	_, err = receipt.Open(file, c.Policy)
	if err == nil || in.Published && (malformed(in.Leaf) || outOfInterval(err)) {
		return file, nil
	}
	return nil, fmt.Errorf("receipt of entry %d: %w", in.Index, err)
}

func malformed(leaf []byte) bool {
	_, err := poclog.ParseLeaf(leaf)
	return err != nil
}

func outOfInterval(err error) bool {
	refused, ok := errors.AsType[*verify.Error](err)
	return ok && refused.Check == receipt.StepInterval
}

func (c *Client) inclusion(ctx context.Context, in ReceiptFor, cp *Checkpoint) (*poclog.Inclusion, error) {
	hashes, err := c.Inclusion(ctx, in.Leaf, in.Index, cp.Tree)
	if err != nil {
		return nil, fmt.Errorf("prove entry %d under size %d: %w", in.Index, cp.Size, err)
	}
	return &poclog.Inclusion{Hashes: hashes, Checkpoint: cp.Signed}, nil
}
