package client

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"time"
)

// DefaultPoll is how often [Client.Follow] asks for a checkpoint: logs publish every second, and
// republish every minute.
const DefaultPoll = 10 * time.Second

// A Cursor is how far a follower came. It is what a follower keeps, durably, to go on after a
// restart; the zero value is the log's beginning.
type Cursor struct {
	Next       uint64 // every entry below it was handled
	Checkpoint []byte // the signed checkpoint under which they were proven, of size Next or more; empty only for Next 0
}

// errUnread says that a follower skipped entries, which it may not do unnoticed.
var errUnread = errors.New("entries were left unread without an error")

// Follow calls each for every new checkpoint that the log publishes, with the entries from the
// cursor up to its size, until an error ends it: the context's, each's own, or the log's.
// [Temporary] says whether to follow again from the kept cursor.
//
// Every checkpoint carries the policy's quorum and is proven to extend the cursor's, also without a
// store; every entry is proven to be in the checkpoint's tree before it is yielded. Entries come in
// order, each index once. A republished checkpoint with later cosignatures comes without entries;
// one that is smaller than the last, from a cache, is skipped.
//
// each must read entries to their end or return an error, also the one that entries yield. It moves
// a cursor of its own as it handles them: {index + 1, checkpoint.Signed}. Poll 0 is [DefaultPoll].
func (c *Client) Follow(ctx context.Context, from Cursor, poll time.Duration, each func(*Checkpoint, iter.Seq2[Leaf, error]) error) error {
	last, err := c.cursor(from)
	if err != nil {
		return err
	}
	for next := from.Next; ; {
		cp, err := c.Checkpoint(ctx)
		if err != nil {
			return err
		}
		news, err := c.news(ctx, last, cp, next)
		if err != nil {
			return err
		}
		if news {
			if err := c.hand(ctx, cp, next, each); err != nil {
				return err
			}
			last, next = cp, cp.Size
		}
		if err := c.Wait(ctx, cmp.Or(poll, DefaultPoll)); err != nil {
			return err
		}
	}
}

// cursor opens a cursor's checkpoint. It needs no quorum: whose cosignatures it has may have
// changed since.
func (c *Client) cursor(from Cursor) (*Checkpoint, error) {
	if len(from.Checkpoint) == 0 {
		if from.Next != 0 {
			return nil, fmt.Errorf("follow from entry %d: the cursor has no checkpoint", from.Next)
		}
		return nil, nil
	}
	v, err := c.Policy.OpenLogged(from.Checkpoint)
	if err != nil {
		return nil, fmt.Errorf("follow from entry %d: cursor: %w", from.Next, err)
	}
	if from.Next > v.Size {
		return nil, fmt.Errorf("follow from entry %d: the cursor's checkpoint has size %d", from.Next, v.Size)
	}
	return checkpointOf(v, from.Checkpoint), nil
}

// news proves cp to extend last, or the reverse, and reports whether there is something to hand on.
func (c *Client) news(ctx context.Context, last, cp *Checkpoint, next uint64) (bool, error) {
	if last == nil {
		return true, nil
	}
	if bytes.Equal(last.Signed, cp.Signed) {
		return next < cp.Size, nil
	}
	if err := c.Consistent(ctx, last, cp); err != nil {
		return false, err
	}
	return cp.Size >= last.Size, nil
}

// hand gives a follower the entries of a checkpoint from next on.
func (c *Client) hand(ctx context.Context, cp *Checkpoint, next uint64, each func(*Checkpoint, iter.Seq2[Leaf, error]) error) error {
	read, failed := next, error(nil)
	err := each(cp, func(yield func(Leaf, error) bool) {
		for leaf, err := range c.Entries(ctx, cp.Tree, Range{From: read, To: cp.Size}) {
			if err != nil {
				failed = err
			} else {
				read = leaf.Index + 1
			}
			if !yield(leaf, err) {
				return
			}
		}
	})
	switch {
	case err != nil:
		return err
	case failed != nil:
		return failed
	case read != cp.Size:
		return fmt.Errorf("follow: %w: from %d of %d", errUnread, read, cp.Size)
	}
	return nil
}
