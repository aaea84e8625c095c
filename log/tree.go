package log

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/api/layout"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"
)

// A tree is the log's tree in a folder. It is read from its files, whether it can be written or
// not: writing needs Tessera, and Tessera needs a disk that can be written to.
type tree struct {
	client.FileFetcher // of the tiles
	guard              *guard
	signers            []note.Signer // beside the guard
	witnesses          tessera.WitnessGroup
	asking             http.RoundTripper // how witnesses are asked
	interval           time.Duration     // between checkpoints of a growing log
	republish          time.Duration     // between those of an idle one
	logger             *slog.Logger

	mu       sync.Mutex // guards what follows
	add      tessera.AddFn
	shutdown func(context.Context) error // nil: it is not open for writing
	unlock   func() error
}

// IntegratedSize returns how many leaves the tree has, whether they are published or not.
func (t *tree) IntegratedSize(context.Context) (uint64, error) {
	state, err := readState(t.Root)
	return state.Size, err
}

// A treeState is how Tessera keeps the tree that it integrated.
type treeState struct {
	Size uint64 `json:"size"`
	Root []byte `json:"root"`
}

// readState reads Tessera's state. A log that was never served has none: its tree is empty.
func readState(tiles string) (treeState, error) {
	state := treeState{Root: emptyRoot[:]}
	b, err := os.ReadFile(filepath.Join(tiles, ".state", "treeState"))
	if errors.Is(err, fs.ErrNotExist) {
		return state, nil
	}
	if err != nil {
		return state, fmt.Errorf("read the state of the log's tree: %w", err)
	}
	if err := json.Unmarshal(b, &state); err != nil {
		return state, fmt.Errorf("the state of the log's tree: %w", err)
	}
	return state, nil
}

// open opens the tree for writing, until the context ends. What failed can be tried again.
func (t *tree) open(ctx context.Context) (err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.shutdown != nil {
		return nil
	}
	if err := sweep(t.Root, 0); err != nil {
		return fmt.Errorf("remove what a full disk left: %w", err)
	}
	unlock, err := lockInMemory(filepath.Join(t.Root, ".state"))
	if err != nil {
		return fmt.Errorf("open tiles: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer func() {
		if err != nil {
			cancel()
			err = errors.Join(fmt.Errorf("open tiles: %w", err), unlock())
		}
	}()
	driver, err := posix.New(ctx, posix.Config{Path: t.Root, HTTPClient: &http.Client{Timeout: witnessTimeout, Transport: t.asking}})
	if err != nil {
		return err
	}
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
	t.add, t.shutdown, t.unlock = appender.Add, shutdown, unlock
	return nil
}

// appender returns what adds a leaf, or nil while the tree cannot be written.
func (t *tree) appender() tessera.AddFn {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.add
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
	return errors.Join(err, t.unlock())
}

// read reads the published checkpoint. Tessera reckons its age by its file's time: one in the
// future would stop publication until then.
func (t *tree) read(ctx context.Context) ([]byte, error) {
	path := filepath.Join(t.Root, layout.CheckpointPath)
	now := time.Now()
	if info, err := os.Stat(path); err == nil && info.ModTime().After(now.Add(t.interval)) {
		if err := os.Chtimes(path, now, now); err != nil {
			return nil, fmt.Errorf("the checkpoint's file has a time in the future, %s, until which nothing can be published: set it back: %w", info.ModTime().Format(time.RFC3339), err)
		}
		t.logger.Warn("the checkpoint's file had a time in the future, which would have stopped publication: it was set back", "time", info.ModTime())
	}
	return t.ReadCheckpoint(ctx)
}
