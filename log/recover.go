package log

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/transparency-dev/merkle/compact"

	"github.com/poclog/poclog/log/store"
	"github.com/poclog/poclog/log/store/mysqls3"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

// Recover rebuilds the tables of a log whose database lost commits, such as by a restored backup,
// from its tiles: up to the size that was signed last, or further where tiles and entries agree.
// What lies beyond that was never signed, and is removed. It returns the size of the tree. No front
// end may run.
func Recover(ctx context.Context, dir string) (size uint64, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("recover log %s: %w", dir, err)
		}
	}()
	file, err := os.ReadFile(filepath.Join(dir, fileStore))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("it is kept in its folder: a folder that lost writes cannot be recovered, because other copies of it may be served")
	}
	if err != nil {
		return 0, err
	}
	config, err := mysqls3.ParseConfig(file)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", fileStore, err)
	}
	t, err := mysqls3.OpenTarget(ctx, config)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	if n, err := t.Alive(ctx); err != nil || n > 0 {
		return 0, errors.Join(fmt.Errorf("%d front ends run, or ran less than a minute ago: stop them, and wait", n), err)
	}
	text, _, err := t.Guard.Load(ctx)
	if err != nil {
		return 0, err
	}
	last, err := tlogpolicy.ParseCheckpoint(text)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", t.Guard.Name(), err)
	}
	state, err := t.Tiles.State(ctx)
	if err != nil {
		return 0, err
	}
	whole, err := largest(ctx, t, last)
	if err != nil {
		return 0, err
	}
	if state.Size >= last.Size {
		root, err := rootOf(ctx, state.Size, store.Reader{Tiles: t.Tiles})
		if err == nil && bytes.Equal(root, state.Root) {
			return 0, fmt.Errorf("nothing is to be recovered: the database has the tree of size %d, and size %d was signed", state.Size, last.Size)
		}
	}
	if _, err := t.Trim(ctx, whole.Size); err != nil {
		return 0, err
	}
	return whole.Size, t.Reset(ctx, whole)
}

// largest finds the largest tree that the tiles hold whole, and that extends what was signed last.
func largest(ctx context.Context, t *mysqls3.Target, last tlogpolicy.Checkpoint) (store.TreeState, error) {
	tiles := store.Reader{Tiles: t.Tiles}
	state := store.TreeState{Size: last.Size, Root: last.Root[:], Written: true}
	if err := holds(ctx, tiles, last, state); err != nil {
		return state, fmt.Errorf("the tiles do not hold what was signed: %w", err)
	}
	sizes, err := t.EntriesBeyond(ctx, last.Size)
	if err != nil {
		return state, err
	}
	for _, size := range sizes {
		root, err := rootOf(ctx, size, tiles)
		if err != nil {
			continue // its tiles were not written
		}
		if more := (store.TreeState{Size: size, Root: root, Written: true}); holds(ctx, tiles, last, more) == nil {
			return more, nil
		}
	}
	return state, nil
}

// holds computes a tree from its entries, and at the size that was signed last compares it with
// that.
func holds(ctx context.Context, tiles store.Reader, last tlogpolicy.Checkpoint, state store.TreeState) error {
	compare := func(r *compact.Range, root []byte) error {
		got, err := rootOfRange(r)
		if err == nil && !bytes.Equal(got, root) {
			err = fmt.Errorf("the entries have root %x at size %d: want %x", got, r.End(), root)
		}
		return err
	}
	r, err := rehash(ctx, state.Size, tiles, func(r *compact.Range, _ []byte) error {
		if r.End() == last.Size {
			return compare(r, last.Root[:])
		}
		return nil
	})
	if err != nil {
		return err
	}
	return compare(r, state.Root)
}
