package folder

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/sqlite"
	"github.com/poclog/poclog/log/store"
)

// checkpointSchema: signed checkpoints as they were published; indexed is 1 for those that an index
// entry names.
var checkpointSchema = sqlite.Schema{`
	CREATE TABLE checkpoints (size INTEGER NOT NULL, seen INTEGER NOT NULL, digest BLOB NOT NULL UNIQUE, signed BLOB NOT NULL, indexed INTEGER NOT NULL) STRICT;
	CREATE INDEX by_size ON checkpoints (size);
	CREATE INDEX by_age ON checkpoints (indexed, seen);
`}

// checkpoints are those that the log published and keeps. What is here cannot be made anew from the
// entries. The database is opened when it is first needed, and again if that failed: a log whose
// disk is full or cannot be written starts and reads.
type checkpoints struct {
	path string

	mu sync.Mutex // guards db
	db *sqlite.DB // nil until it is open
}

func (c *checkpoints) open() (*sqlite.DB, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.db != nil {
		return c.db, nil
	}
	db, err := sqlite.Make(c.path, checkpointSchema)
	if err != nil {
		return nil, fmt.Errorf("open the kept checkpoints: %w", err)
	}
	c.db = db
	return db, nil
}

func (c *checkpoints) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.db.Close()
}

// Put keeps a checkpoint.
func (c *checkpoints) Put(ctx context.Context, size uint64, seen time.Time, signed []byte, indexed bool) error {
	db, err := c.open()
	if err != nil {
		return err
	}
	digest := poclog.Sum(signed)
	return db.Tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec(`INSERT INTO checkpoints VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (digest) DO UPDATE SET indexed = max(indexed, excluded.indexed)`,
			int64(size), seen.Unix(), digest[:], signed, indexed)
		if err == nil {
			_, err = tx.Exec(`DELETE FROM checkpoints WHERE indexed = 0 AND seen < ?`, seen.Add(-store.KeepCovering).Unix())
		}
		return err
	})
}

// Get returns the checkpoint of a digest.
func (c *checkpoints) Get(ctx context.Context, digest poclog.Digest) ([]byte, error) {
	return c.one(ctx, `SELECT signed FROM checkpoints WHERE digest = ?`, digest[:])
}

// Covering returns the first checkpoint that is known to have covered an entry.
func (c *checkpoints) Covering(ctx context.Context, number uint64) ([]byte, error) {
	return c.one(ctx, `SELECT signed FROM checkpoints WHERE size > ? ORDER BY size, seen LIMIT 1`, int64(number))
}

// Before returns the largest checkpoint that was seen by a time.
func (c *checkpoints) Before(ctx context.Context, t time.Time) ([]byte, error) {
	return c.one(ctx, `SELECT signed FROM checkpoints WHERE seen <= ? ORDER BY size DESC, seen LIMIT 1`, t.Unix())
}

// one returns a checkpoint, or nil where there is none.
func (c *checkpoints) one(ctx context.Context, query string, args ...any) (signed []byte, err error) {
	db, err := c.open()
	if err != nil {
		return nil, err
	}
	if err := db.Read.QueryRowContext(ctx, query, args...).Scan(&signed); err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("read the kept checkpoints: %w", err)
	}
	return signed, nil
}
