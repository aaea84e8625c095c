package witness

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/sqlite"
)

// The one row of a log carries what the next checkpoint must be consistent with. A row is never
// deleted: a log that is removed and added again goes on from where it was.
var schema = sqlite.Schema{`
CREATE TABLE log (
	origin     TEXT PRIMARY KEY,
	hash       TEXT NOT NULL UNIQUE,       -- hex SHA-256 of the origin, for the monitoring API
	size       INTEGER NOT NULL,           -- of the latest cosigned checkpoint, 0 before the first
	root       BLOB NOT NULL,              -- 32 bytes, the empty tree's before the first
	cosigned   INTEGER NOT NULL DEFAULT 0, -- Unix seconds of the latest cosignature; never goes down
	checkpoint BLOB                        -- the latest checkpoint with the log's and our signatures; NULL before the first
) STRICT;
CREATE TABLE vkey (
	origin TEXT NOT NULL REFERENCES log(origin),
	vkey   TEXT NOT NULL,
	PRIMARY KEY (origin, vkey)
) STRICT;
CREATE TABLE conflict (                    -- signed checkpoints of a size that we cosigned with another root
	origin TEXT NOT NULL REFERENCES log(origin),
	size   INTEGER NOT NULL,
	root   BLOB NOT NULL,
	seen   INTEGER NOT NULL,               -- Unix seconds
	theirs BLOB NOT NULL,                  -- the refused checkpoint with the log's signatures
	ours   BLOB NOT NULL,                  -- the checkpoint that we had cosigned
	PRIMARY KEY (origin, size, root)
) STRICT;
`}

// maxConflicts is how many conflicting checkpoints are kept for one log. One is proof enough.
const maxConflicts = 16

// A state is the SQLite database of a witness. Several processes can have it open: every decision
// is made by one statement.
type state struct{ db *sqlite.DB }

// A head is what a witness knows of a log at one moment.
type head struct {
	size       uint64
	root       [sha256.Size]byte
	cosigned   int64  // Unix seconds
	checkpoint []byte // nil before the first
	vkeys      string // the trusted keys, one a line, in order; empty for a log that is not witnessed any more
}

var errNoLog = errors.New("unknown log")

func openState(path string) (*state, error) {
	db, err := sqlite.Open(path, schema)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open the state, without which a witness must not sign: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("open the state: %w", err)
	}
	return &state{db}, nil
}

func (s *state) close() error { return s.db.Close() }

// head returns what is known of a log, or errNoLog.
func (s *state) head(ctx context.Context, origin string) (*head, error) {
	var h head
	var root []byte
	err := s.db.Read.QueryRowContext(ctx, `SELECT size, root, cosigned, checkpoint,
		(SELECT coalesce(group_concat(vkey, char(10) ORDER BY vkey), '') FROM vkey WHERE vkey.origin = log.origin)
		FROM log WHERE origin = ?`, origin).Scan(&h.size, &root, &h.cosigned, &h.checkpoint, &h.vkeys)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, errNoLog
	}
	if err != nil {
		return nil, fmt.Errorf("read the state of %q: %w", origin, err)
	}
	if copy(h.root[:], root) != sha256.Size {
		return nil, fmt.Errorf("read the state of %q: root of %d bytes", origin, len(root))
	}
	return &h, nil
}

// An advance is the replacement of a log's head.
type advance struct {
	origin     string
	from       *head
	size       uint64
	root       [sha256.Size]byte
	cosigned   int64
	checkpoint []byte
}

// compareAndSet replaces the head of a log if it still is what the decision was made on. It is
// durable once it returns true. One statement does it, so no two decisions are made on one head, in
// however many processes.
func (s *state) compareAndSet(ctx context.Context, a advance) (bool, error) {
	n, err := sqlite.Changed(s.db.ExecContext(ctx, `UPDATE log SET size = ?, root = ?, cosigned = ?, checkpoint = ?
		WHERE origin = ? AND size = ? AND root = ? AND cosigned <= ? AND (checkpoint IS NULL) = ?`,
		int64(a.size), a.root[:], a.cosigned, a.checkpoint, a.origin, int64(a.from.size), a.from.root[:], a.cosigned, a.from.checkpoint == nil))
	if err != nil {
		return false, fmt.Errorf("record the checkpoint of %q: %w", a.origin, err)
	}
	return n == 1, nil
}

// published returns the latest cosigned checkpoint of the log whose origin has this hex SHA-256, or
// errNoLog if there is none.
func (s *state) published(ctx context.Context, hash string) ([]byte, error) {
	var cp []byte
	err := s.db.Read.QueryRowContext(ctx, "SELECT checkpoint FROM log WHERE hash = ? AND checkpoint IS NOT NULL", hash).Scan(&cp)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, errNoLog
	}
	if err != nil {
		return nil, fmt.Errorf("read the checkpoint of %s: %w", hash, err)
	}
	return cp, nil
}

// HashOf names the log of an origin in addresses: by its hex SHA-256.
func HashOf(origin string) string { return poclog.Sum([]byte(origin)).String() }

// addLog makes sure that the log is known and trusts the keys, and returns how many of them are
// new.
func (s *state) addLog(ctx context.Context, origin string, vkeys []string) (added int, err error) {
	err = s.db.Tx(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "INSERT INTO log (origin, hash, size, root) VALUES (?, ?, 0, ?) ON CONFLICT DO NOTHING",
			origin, HashOf(origin), emptyRoot[:]); err != nil {
			return err
		}
		for _, k := range vkeys {
			n, err := sqlite.Changed(tx.ExecContext(ctx, "INSERT INTO vkey (origin, vkey) VALUES (?, ?) ON CONFLICT DO NOTHING", origin, k))
			if err != nil {
				return err
			}
			added += int(n)
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("add log %q: %w", origin, err)
	}
	return added, nil
}

// removeKeys stops trusting every key of a log. What was cosigned stays.
func (s *state) removeKeys(ctx context.Context, origin string) error {
	n, err := sqlite.Changed(s.db.ExecContext(ctx, "DELETE FROM vkey WHERE origin = ?", origin))
	if err == nil && n == 0 {
		err = errNoLog
	}
	if err != nil {
		return fmt.Errorf("remove log %q: %w", origin, err)
	}
	return nil
}

// addConflict keeps a checkpoint that contradicts one we cosigned. It is kept once, and only so
// many of one log.
func (s *state) addConflict(ctx context.Context, origin string, c Conflict) error {
	_, err := s.db.ExecContext(ctx, `INSERT INTO conflict (origin, size, root, seen, theirs, ours)
		SELECT ?, ?, ?, ?, ?, ? WHERE (SELECT count(*) FROM conflict WHERE origin = ?) < ? ON CONFLICT DO NOTHING`,
		origin, int64(c.Size), c.Root[:], c.Seen.Unix(), c.Theirs, c.Ours, origin, maxConflicts)
	if err != nil {
		return fmt.Errorf("record the conflict of %q: %w", origin, err)
	}
	return nil
}

func (s *state) conflicts(ctx context.Context, origin string) ([]Conflict, error) {
	var list []Conflict
	err := sqlite.Each(ctx, s.db.Read, "SELECT size, root, seen, theirs, ours FROM conflict WHERE origin = ? ORDER BY seen, size", []any{origin}, func(rows *sql.Rows) error {
		var c Conflict
		var root []byte
		var seen int64
		err := rows.Scan(&c.Size, &root, &seen, &c.Theirs, &c.Ours)
		copy(c.Root[:], root)
		c.Seen = time.Unix(seen, 0).UTC()
		list = append(list, c)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the conflicts of %q: %w", origin, err)
	}
	return list, nil
}

// logs returns every log that is witnessed, by origin.
func (s *state) logs(ctx context.Context) ([]Log, error) {
	var list []Log
	err := sqlite.Each(ctx, s.db.Read, `SELECT origin, size, cosigned, checkpoint IS NOT NULL,
		(SELECT group_concat(vkey, char(10) ORDER BY vkey) FROM vkey WHERE vkey.origin = log.origin) AS keys,
		(SELECT count(*) FROM conflict WHERE conflict.origin = log.origin)
		FROM log WHERE keys IS NOT NULL ORDER BY origin`, nil, func(rows *sql.Rows) error {
		var l Log
		var keys string
		var cosigned int64
		err := rows.Scan(&l.Origin, &l.Size, &cosigned, &l.Started, &keys, &l.Conflicts)
		l.VKeys = strings.Split(keys, "\n")
		if l.Started {
			l.Cosigned = time.Unix(cosigned, 0).UTC()
		}
		list = append(list, l)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list the logs: %w", err)
	}
	return list, nil
}
