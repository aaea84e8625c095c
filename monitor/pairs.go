package monitor

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/internal/sqlite"
)

// Checkpoints that are kept: one a minute for two days, then one an hour.
const (
	coveringEvery = time.Minute
	coveringFull  = 48 * time.Hour
)

// adopt makes a checkpoint the log's newest, if the one before is still that of l.
func (s *state) adopt(ctx context.Context, l *logState, cp *client.Checkpoint, looked, seen time.Time) error {
	var old []byte
	if l.checkpoint != nil {
		old = l.checkpoint.Signed
	}
	return s.tx(ctx, fmt.Sprintf("record the checkpoint of %q", l.origin), func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, "UPDATE log SET checkpoint = ?, looked = ? WHERE number = ? AND checkpoint IS ?", cp.Signed, looked.Unix(), l.number, old)
		if err := sqlite.OneRow(res, err); err != nil {
			return err
		}
		res, err = tx.ExecContext(ctx, `INSERT INTO covering (log, size, time, signed) SELECT ?, ?, ?, ?
			WHERE NOT EXISTS (SELECT 1 FROM covering WHERE log = ? AND time > ?) ON CONFLICT DO NOTHING`,
			l.number, int64(cp.Size), seen.Unix(), cp.Signed, l.number, seen.Add(-coveringEvery).Unix())
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return err
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM covering WHERE log = ?1 AND time < ?2
			AND size NOT IN (SELECT min(size) FROM covering WHERE log = ?1 GROUP BY time / 3600)`, l.number, seen.Add(-coveringFull).Unix())
		return err
	})
}

// covering returns the smallest checkpoint on record that covers an entry, or nil.
func (s *state) covering(ctx context.Context, log int, index uint64) ([]byte, error) {
	var signed []byte
	err := s.db.QueryRowContext(ctx, "SELECT signed FROM covering WHERE log = ? AND size > ? ORDER BY size LIMIT 1", log, int64(index)).Scan(&signed)
	if err == sql.ErrNoRows {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the checkpoints: %w", err)
	}
	return signed, nil
}

const (
	insertPair = "INSERT INTO pair (log_a, a, log_b, b) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
	deletePair = "DELETE FROM pair WHERE log_a = ? AND a = ? AND log_b = ? AND b = ?"
)

func (s *state) addPair(tx *sql.Tx, p pair) error {
	_, err := s.insertPair.Exec(tx, p.a.log(), int64(p.a.index()), p.b.log(), int64(p.b.index()))
	return err
}

func (s *state) dropPair(tx *sql.Tx, p pair) error {
	_, err := s.deletePair.Exec(tx, p.a.log(), int64(p.a.index()), p.b.log(), int64(p.b.index()))
	return err
}

// A pending is a pair that waits.
type pending struct {
	pair
	tries int
}

// maxPairs is how many pairs are read at once.
const maxPairs = 256

// duePairs returns pairs that are due, the newest entries' last.
func (s *state) duePairs(ctx context.Context, now time.Time) ([]pending, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT log_a, a, log_b, b, tries FROM pair WHERE due <= ? ORDER BY log_b, b, log_a, a LIMIT ?", now.Unix(), maxPairs)
	if err != nil {
		return nil, fmt.Errorf("read the pairs: %w", err)
	}
	defer rows.Close()
	var list []pending
	for rows.Next() {
		var logA, logB, tries int
		var a, b int64
		if err := rows.Scan(&logA, &a, &logB, &b, &tries); err != nil {
			return nil, fmt.Errorf("read the pairs: %w", err)
		}
		list = append(list, pending{pair{refOf(logA, uint64(a)), refOf(logB, uint64(b))}, tries})
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read the pairs: %w", err)
	}
	return list, nil
}

// waiting counts the pairs that could not be compared yet.
func (s *state) waiting(ctx context.Context) (n int, err error) {
	if err := s.db.QueryRowContext(ctx, "SELECT count(*) FROM pair").Scan(&n); err != nil {
		return 0, fmt.Errorf("count the pairs: %w", err)
	}
	return n, nil
}

// Pauses between two tries of one pair.
const (
	firstRetry = time.Minute
	lastRetry  = 24 * time.Hour
)

func postponePair(ctx context.Context, tx *sql.Tx, p pending, now time.Time) error {
	pause := min(firstRetry<<min(p.tries, 20), lastRetry)
	_, err := tx.ExecContext(ctx, "UPDATE pair SET tries = tries + 1, due = ? WHERE log_a = ? AND a = ? AND log_b = ? AND b = ?",
		now.Add(pause).Unix(), p.a.log(), int64(p.a.index()), p.b.log(), int64(p.b.index()))
	return err
}

// waitPair puts a pair off that was not looked at.
func waitPair(ctx context.Context, tx *sql.Tx, p pair, now time.Time) error {
	_, err := tx.ExecContext(ctx, "UPDATE pair SET due = ? WHERE log_a = ? AND a = ? AND log_b = ? AND b = ?",
		now.Add(firstRetry).Unix(), p.a.log(), int64(p.a.index()), p.b.log(), int64(p.b.index()))
	return err
}
