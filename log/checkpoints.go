package log

import (
	"context"

	"github.com/poclog/poclog/verify/tlogpolicy"
)

// keepCheckpoints keeps each published checkpoint of a tree that has grown, until the context ends.
func (s *Service) keepCheckpoints(ctx context.Context) {
	size := uint64(0)
	for {
		base, changed := s.published.base()
		if cp, err := tlogpolicy.ParseCheckpoint(base); err == nil && cp.Size > size {
			if err := s.store.Checkpoints.Put(ctx, cp.Size, s.cfg.Now(), base, false); err != nil && ctx.Err() == nil {
				s.cfg.Logger.Error("a checkpoint is not kept: receipts that are asked for again are less exact", "size", cp.Size, "error", err)
			}
			size = cp.Size
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}
