package log

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/durable"
	"github.com/poclog/poclog/internal/sqlite"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

// keepCovering is how long the first covering checkpoints are kept, so that a receipt can be had
// again with its interval. Those of index entries are kept for ever.
const keepCovering = 7 * 24 * time.Hour

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

func newCheckpoints(dir string) *checkpoints {
	return &checkpoints{path: filepath.Join(dir, dirState, "checkpoints.db")}
}

func (c *checkpoints) open() (*sqlite.DB, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.db != nil {
		return c.db, nil
	}
	if err := durable.MkdirAll(filepath.Dir(c.path), 0o700); err != nil {
		return nil, err
	}
	if err := sqlite.Create(c.path, checkpointSchema); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make %s: %w", c.path, err)
	}
	db, err := sqlite.Open(c.path, checkpointSchema)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", c.path, err)
	}
	c.db = db
	return db, nil
}

func (c *checkpoints) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.db == nil {
		return nil
	}
	return c.db.Close()
}

// put keeps a checkpoint. It is durable once put returns.
func (c *checkpoints) put(ctx context.Context, size uint64, seen time.Time, signed []byte, indexed bool) error {
	db, err := c.open()
	if err != nil {
		return err
	}
	digest := poclog.Sum(signed)
	return db.Tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec(`INSERT INTO checkpoints VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (digest) DO UPDATE SET indexed = max(indexed, excluded.indexed)`,
			int64(size), seen.Unix(), digest[:], signed, indexed)
		if err == nil {
			_, err = tx.Exec(`DELETE FROM checkpoints WHERE indexed = 0 AND seen < ?`, seen.Add(-keepCovering).Unix())
		}
		return err
	})
}

// get returns the checkpoint of a digest.
func (c *checkpoints) get(digest poclog.Digest) ([]byte, error) {
	return c.one(`SELECT signed FROM checkpoints WHERE digest = ?`, digest[:])
}

// covering returns the first checkpoint that is known to have covered an entry.
func (c *checkpoints) covering(number uint64) ([]byte, error) {
	return c.one(`SELECT signed FROM checkpoints WHERE size > ? ORDER BY size, seen LIMIT 1`, int64(number))
}

// before returns the largest checkpoint that was seen by a time.
func (c *checkpoints) before(t time.Time) ([]byte, error) {
	return c.one(`SELECT signed FROM checkpoints WHERE seen <= ? ORDER BY size DESC, seen LIMIT 1`, t.Unix())
}

// one returns a checkpoint, or nil where there is none.
func (c *checkpoints) one(query string, args ...any) (signed []byte, err error) {
	db, err := c.open()
	if err != nil {
		return nil, err
	}
	if err := db.Read.QueryRow(query, args...).Scan(&signed); err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("read the kept checkpoints: %w", err)
	}
	return signed, nil
}

// keepCheckpoints keeps each published checkpoint of a tree that has grown, until the context ends.
func (s *Service) keepCheckpoints(ctx context.Context) {
	size := uint64(0)
	for {
		base, changed := s.published.base()
		if cp, err := tlogpolicy.ParseCheckpoint(base); err == nil && cp.Size > size {
			if err := s.kept.put(ctx, cp.Size, s.cfg.Now(), base, false); err != nil && ctx.Err() == nil {
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
