package mysqls3

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/transparency-dev/tessera"

	"github.com/poclog/poclog/log/store"
)

// A Target is a store into which a log is moved.
type Target struct {
	*store.Store
	tiles *tiles
}

// OpenTarget opens a store that no front end serves.
func OpenTarget(ctx context.Context, c *Config) (*Target, error) {
	s, err := Open(ctx, c, "")
	if err != nil {
		return nil, err
	}
	return &Target{s, s.Tiles.(*tiles)}, nil
}

// PutTile keeps a tile or an entry bundle by its path. One that is there with other bytes is an error.
func (t *Target) PutTile(ctx context.Context, path string, b []byte) error {
	return t.tiles.bucket.putNew(ctx, path, put{body: b})
}

// Publish replaces the published checkpoint, never by a smaller one.
func (t *Target) Publish(ctx context.Context, signed []byte) error {
	return t.tiles.publish(ctx, signed)
}

// Guarded makes the guard with a text. One that has this text already is right.
func (t *Target) Guarded(ctx context.Context, text []byte) error {
	err := t.Guard.Create(ctx, text)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	have, _, err := t.Guard.Load(ctx)
	if err == nil && string(have) != string(text) {
		err = fmt.Errorf("%s holds another checkpoint: it belongs to a log", t.Guard.Name())
	}
	return err
}

// Adopt gives the driver's tables the tree that the tiles hold. Tables of another tree are an error.
func (t *Target) Adopt(ctx context.Context, state store.TreeState) error {
	// The driver makes its tables when it is opened.
	d, release, err := t.tiles.Driver(ctx, nil)
	if err != nil {
		return err
	}
	if _, err := tessera.NewMigrationTarget(ctx, d, tessera.NewMigrationOptions()); err != nil {
		return errors.Join(fmt.Errorf("make the driver's tables: %w", explain(err)), release())
	}
	if err := release(); err != nil {
		return err
	}
	tx, err := t.tiles.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("adopt the tree: %w", explain(err))
	}
	defer func() { _ = tx.Rollback() }() // after Commit it does nothing
	var next, size uint64
	if err := tx.QueryRowContext(ctx, "SELECT next FROM SeqCoord WHERE id = 0 FOR UPDATE").Scan(&next); err != nil {
		return fmt.Errorf("adopt the tree: %w", explain(err))
	}
	if err := tx.QueryRowContext(ctx, "SELECT seq FROM IntCoord WHERE id = 0 FOR UPDATE").Scan(&size); err != nil {
		return fmt.Errorf("adopt the tree: %w", explain(err))
	}
	if next != size || size != 0 && size != state.Size {
		return fmt.Errorf("adopt the tree: the database has a tree of size %d and numbers up to %d: want none, or one of size %d", size, next, state.Size)
	}
	for _, s := range []struct {
		query string
		args  []any
	}{
		{"UPDATE SeqCoord SET next = ? WHERE id = 0", []any{state.Size}},
		{"UPDATE IntCoord SET seq = ?, rootHash = ? WHERE id = 0", []any{state.Size, state.Root}},
		{"UPDATE PubCoord SET publishedAt = 0 WHERE id = 0", nil},
	} {
		if _, err := tx.ExecContext(ctx, s.query, s.args...); err != nil {
			return fmt.Errorf("adopt the tree: %w", explain(err))
		}
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("adopt the tree: %w", explain(err))
	}
	return nil
}
