package mysqls3

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/poclog/poclog/log/store"
)

// Codes of errors that a statement is tried again after.
const (
	codeDuplicate   = 1062
	codeDeadlock    = 1213
	codeLockTimeout = 1205
)

// Bounds of the tables.
const (
	// claimLives is longer than a fence holds: when a claim has expired, its process writes no more.
	claimLives = frontEndIdle
	knownRows  = 500 // in one statement
	knownTries = 10
)

// knownSchema: PoclogKnown is derived from the entries below PoclogNext. A claim that has expired
// gets the number of the next entry then, and ends once the entries below it are followed.
var knownSchema = []string{
	`CREATE TABLE IF NOT EXISTS PoclogKnown (k BINARY(16) NOT NULL PRIMARY KEY, number BIGINT UNSIGNED NOT NULL, proved INT UNSIGNED NOT NULL)`,
	`CREATE TABLE IF NOT EXISTS PoclogClaims (k BINARY(16) NOT NULL PRIMARY KEY, owner BINARY(16) NOT NULL, expires DATETIME(6) NOT NULL, after BIGINT UNSIGNED)`,
	`CREATE TABLE IF NOT EXISTS PoclogNext (id INT NOT NULL PRIMARY KEY, next BIGINT UNSIGNED NOT NULL, config MEDIUMBLOB)`,
	`INSERT IGNORE INTO PoclogNext VALUES (0, 0, NULL)`,
}

// known are tables.
type known struct {
	db    *sql.DB
	owner []byte // 16 bytes: this process
}

// again repeats what a deadlock, or a table that is not there yet, stopped.
func (k *known) again(ctx context.Context, do func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	for try := 0; ; try++ {
		err := do(ctx)
		switch code := codeOf(err); {
		case err == nil || try == knownTries:
			return explainKnown(err)
		case code == codeNoTable:
			if err := k.make(ctx); err != nil {
				return explainKnown(err)
			}
		case code != codeDeadlock && code != codeLockTimeout:
			return explainKnown(err)
		}
	}
}

func explainKnown(err error) error {
	if err == nil || errors.Is(err, store.ErrClaimed) || errors.Is(err, store.ErrChanged) {
		return err
	}
	return fmt.Errorf("known evidence: %w", explain(err))
}

func (k *known) make(ctx context.Context) error {
	for _, s := range knownSchema {
		if _, err := k.db.ExecContext(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// Find looks a key up.
func (k *known) Find(ctx context.Context, key store.Key) (e store.KnownEntry, ok bool, err error) {
	err = k.again(ctx, func(ctx context.Context) error {
		err := k.db.QueryRowContext(ctx, `SELECT number, proved FROM PoclogKnown WHERE k = ?`, key[:]).Scan(&e.Number, &e.Proved)
		if ok = err == nil; errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		return err
	})
	return e, ok, err
}

// Claim inserts a claim, or ends one whose process is dead and whose entry would be known by now.
func (k *known) Claim(ctx context.Context, key store.Key) error {
	return k.again(ctx, func(ctx context.Context) error {
		for range 2 {
			_, err := k.db.ExecContext(ctx, `INSERT INTO PoclogClaims VALUES (?, ?, SYSDATE(6) + INTERVAL ? SECOND, NULL)`, key[:], k.owner, int(claimLives/time.Second))
			if codeOf(err) != codeDuplicate {
				return err
			}
			ended, err := k.expire(ctx, key)
			if err != nil {
				return err
			}
			if !ended {
				return store.ErrClaimed
			}
		}
		return store.ErrClaimed
	})
}

// expire ends a claim that expired, if the entries that had numbers by then are followed.
func (k *known) expire(ctx context.Context, key store.Key) (ended bool, err error) {
	var expired bool
	err = k.db.QueryRowContext(ctx, `SELECT expires < SYSDATE(6) FROM PoclogClaims WHERE k = ?`, key[:]).Scan(&expired)
	if errors.Is(err, sql.ErrNoRows) {
		return true, nil // it was released meanwhile
	}
	if err != nil || !expired {
		return false, err
	}
	// It is noted which entries have numbers by now: the dead process's is among them, if it has one.
	if _, err := k.db.ExecContext(ctx, `UPDATE PoclogClaims SET after = (SELECT next FROM SeqCoord WHERE id = 0)
		WHERE k = ? AND expires < SYSDATE(6) AND after IS NULL`, key[:]); err != nil {
		return false, err
	}
	done, err := k.db.ExecContext(ctx, `DELETE FROM PoclogClaims WHERE k = ? AND after IS NOT NULL AND after <= (SELECT next FROM PoclogNext WHERE id = 0)`, key[:])
	if err != nil {
		return false, err
	}
	n, err := done.RowsAffected()
	return n > 0, err
}

// Release removes a claim.
func (k *known) Release(ctx context.Context, key store.Key) error {
	return k.again(ctx, func(ctx context.Context) error {
		_, err := k.db.ExecContext(ctx, `DELETE FROM PoclogClaims WHERE k = ? AND owner = ?`, key[:], k.owner)
		return err
	})
}

// Note adds rows.
func (k *known) Note(ctx context.Context, rows []store.KnownRow) error {
	return k.again(ctx, func(ctx context.Context) error { return addKnown(ctx, k.db, rows) })
}

type execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// addKnown adds rows, by the rule that says which of two entries answers. Number is decided before
// proved is replaced: assignments are made from left to right.
func addKnown(ctx context.Context, db execer, rows []store.KnownRow) error {
	const wins = `(VALUES(proved) & proved = proved AND (VALUES(proved) <> proved OR VALUES(number) < number))`
	for len(rows) > 0 {
		n := min(len(rows), knownRows)
		args := make([]any, 0, 3*n)
		for _, r := range rows[:n] {
			args = append(args, r.Key[:], r.Number, r.Proved)
		}
		_, err := db.ExecContext(ctx, `INSERT INTO PoclogKnown (k, number, proved) VALUES `+strings.Repeat(`(?, ?, ?), `, n-1)+`(?, ?, ?)
			ON DUPLICATE KEY UPDATE number = @n := IF(`+wins+`, VALUES(number), number), proved = IF(@n = VALUES(number), VALUES(proved), proved)`, args...)
		if err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

// Next reads how far the entries were followed.
func (k *known) Next(ctx context.Context) (next uint64, config []byte, err error) {
	err = k.again(ctx, func(ctx context.Context) error {
		return k.db.QueryRowContext(ctx, `SELECT next, config FROM PoclogNext WHERE id = 0`).Scan(&next, &config)
	})
	return next, config, err
}

// Follow adds rows and the number after them in one transaction.
func (k *known) Follow(ctx context.Context, from, next uint64, rows []store.KnownRow, config []byte) error {
	return k.again(ctx, func(ctx context.Context) error {
		tx, err := k.db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }() // after Commit it does nothing
		var have uint64
		if err := tx.QueryRowContext(ctx, `SELECT next FROM PoclogNext WHERE id = 0 FOR UPDATE`).Scan(&have); err != nil {
			return err
		}
		if have != from {
			return store.ErrChanged
		}
		if err := addKnown(ctx, tx, rows); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE PoclogNext SET next = ?, config = COALESCE(?, config) WHERE id = 0`, next, config); err != nil {
			return err
		}
		return tx.Commit()
	})
}

var _ store.Known = (*known)(nil)
