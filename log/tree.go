package log

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/transparency-dev/tessera"
	"golang.org/x/mod/sumdb/note"

	"github.com/poclog/poclog/log/store"
)

// A tree is the log's tree in its store. It is read from there, whether it can be written or not:
// writing needs Tessera, and Tessera needs a store that can be written to.
type tree struct {
	store.Reader
	proofs    *proofTiles
	guard     *guard
	signers   []note.Signer // beside the guard
	witnesses tessera.WitnessGroup
	asking    http.RoundTripper // how witnesses are asked
	interval  time.Duration     // between checkpoints of a growing log
	republish time.Duration     // between those of an idle one

	mu       sync.Mutex // guards what follows
	add      tessera.AddFn
	shutdown func(context.Context) error // nil: it is not open for writing
	cancel   context.CancelFunc          // ends what writes
	gone     <-chan struct{}             // closed by it
	release  func() error
}

// open opens the tree for writing, until the context ends. What failed can be tried again.
func (t *tree) open(ctx context.Context) (err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.shutdown != nil {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	driver, release, err := t.Driver(ctx, &http.Client{Timeout: witnessTimeout, Transport: t.asking})
	if err != nil {
		cancel()
		return fmt.Errorf("open tiles: %w", err)
	}
	defer func() {
		if err != nil {
			cancel()
			err = errors.Join(fmt.Errorf("open tiles: %w", err), release())
		}
	}()
	options := tessera.NewAppendOptions().
		WithCheckpointSigner(t.guard, t.signers...).
		WithCheckpointInterval(t.interval).
		WithCheckpointRepublishInterval(t.republish).
		WithBatching(batchSize, batchAge).
		WithWitnesses(t.witnesses, &tessera.WitnessOptions{Timeout: witnessTimeout})
	appender, shutdown, _, err := tessera.NewAppender(ctx, driver, options)
	if err != nil {
		return err
	}
	t.add, t.shutdown, t.cancel, t.gone, t.release = appender.Add, shutdown, cancel, ctx.Done(), release
	return nil
}

// appender returns what adds a leaf, or nil while the tree cannot be written, and what is closed
// when the leaves that are queued are given up.
func (t *tree) appender() (add tessera.AddFn, gone <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.add, t.gone
}

// abandon gives up a tree that is open for writing, with what it has queued. It can be opened
// again.
func (t *tree) abandon() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.shutdown == nil {
		return nil
	}
	t.cancel()
	t.add, t.shutdown = nil, nil
	return t.release()
}

// close waits until what is in the tree is published; not for long where signing fails.
func (t *tree) close(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.shutdown == nil {
		return nil
	}
	_, _, failing := t.guard.state()
	if failing != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, failingTimeout)
		defer cancel()
	}
	err := t.shutdown(ctx)
	if err != nil && failing != nil {
		err = fmt.Errorf("what was admitted stays in the tree, to be published after the next start: %w", failing)
	}
	return errors.Join(err, t.release())
}
