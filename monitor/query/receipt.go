package query

import (
	"context"
	"fmt"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/monitor"
	"github.com/poclog/poclog/verify/receipt"
)

// Asker asks logs under the monitor's policies: a [monitor.Monitor].
type Asker interface {
	Logs(ctx context.Context) ([]monitor.LogInfo, error)
	Record(ctx context.Context, origin string, index uint64) (*monitor.Record, error)
	Client(ctx context.Context, origin string) (*client.Client, error)
	Covering(ctx context.Context, origin string, index uint64) ([]byte, error)
}

// ReceiptOf makes the receipt of an entry that a monitor has read, from the log's tiles and the
// entry's bundle, under the newest checkpoint seen and the first that the monitor saw cover it. The
// entry must hash to what was read then.
func ReceiptOf(ctx context.Context, m Asker, e monitor.EntryRef) ([]byte, error) {
	cl, cp, leaf, err := entryOf(ctx, m, e)
	if err != nil {
		return nil, err
	}
	in := client.ReceiptFor{Leaf: leaf, Index: e.Index, Under: cp}
	if in.Challenge, err = challengeOf(ctx, cl, leaf); err != nil {
		return nil, err
	}
	signed, err := m.Covering(ctx, e.Origin, e.Index)
	if err != nil {
		return nil, err
	}
	if len(signed) > 0 {
		if in.First, err = opened(cl, signed); err != nil {
			return nil, err
		}
	}
	return cl.Receipt(ctx, in)
}

// entryOf fetches an entry under the newest checkpoint seen.
func entryOf(ctx context.Context, m Asker, e monitor.EntryRef) (cl *client.Client, cp *client.Checkpoint, leaf []byte, err error) {
	r, err := m.Record(ctx, e.Origin, e.Index)
	if err != nil {
		return nil, nil, nil, err
	}
	if r == nil {
		return nil, nil, nil, fmt.Errorf("entry %d of %s: the monitor has not read it", e.Index, e.Origin)
	}
	logs, err := m.Logs(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	if cl, err = m.Client(ctx, e.Origin); err != nil {
		return nil, nil, nil, err
	}
	for _, l := range logs {
		if l.Origin == e.Origin && len(l.Checkpoint) > 0 {
			if cp, err = opened(cl, l.Checkpoint); err != nil {
				return nil, nil, nil, err
			}
		}
	}
	if cp == nil || cp.Size <= e.Index {
		return nil, nil, nil, fmt.Errorf("entry %d of %s: no checkpoint covers it", e.Index, e.Origin)
	}
	for l, err := range cl.Entries(ctx, cp.Tree, client.Range{From: e.Index, To: e.Index + 1}) {
		if err != nil {
			return nil, nil, nil, err
		}
		leaf = l.Entry
	}
	if got := poclog.Digest(receipt.LeafHash(leaf)); got != r.Leaf {
		return nil, nil, nil, fmt.Errorf("entry %d of %s: leaf hash %s, and %s when it was read", e.Index, e.Origin, got, r.Leaf)
	}
	return cl, cp, leaf, nil
}

// opened opens a checkpoint that the monitor kept.
func opened(cl *client.Client, signed []byte) (*client.Checkpoint, error) {
	v, err := cl.Policy.OpenLogged(signed)
	if err != nil {
		return nil, fmt.Errorf("kept checkpoint: %w", err)
	}
	return &client.Checkpoint{Tree: client.Tree{Origin: v.Origin, Size: v.Size, Root: v.Root}, Signed: signed, View: v}, nil
}

// challengeOf fetches the challenge's checkpoint of an entry; nil for historical evidence and
// entries that are no proofs.
func challengeOf(ctx context.Context, cl *client.Client, leaf []byte) ([]byte, error) {
	l, err := poclog.ParseLeaf(leaf)
	if err != nil || l.Proof == nil {
		return nil, err
	}
	return cl.ChallengeOf(ctx, l.Proof)
}

// IntervalOf asks the log for an entry's receipt, and says when its evidence was made under the
// monitor's policy for the log.
func IntervalOf(ctx context.Context, m Asker, e monitor.EntryRef) (*Interval, error) {
	file, err := ReceiptOf(ctx, m, e)
	if err != nil {
		return nil, err
	}
	cl, err := m.Client(ctx, e.Origin)
	if err != nil {
		return nil, err
	}
	v, err := receipt.Open(file, cl.Policy)
	if err != nil {
		return nil, err
	}
	i := new(Interval)
	for _, b := range []struct {
		bound receipt.Bound
		at    **time.Time
	}{{v.T1, &i.NotBefore}, {v.T2, &i.NotAfter}} {
		if b.bound.Known {
			*b.at = &b.bound.Time
		} else {
			i.Why = b.bound.Why
		}
	}
	return i, nil
}
