package mysqls3

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/poclog/poclog/internal/sqlite"
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

// known are tables. What many submissions ask at one time is one statement.
type known struct {
	db      *sql.DB
	owner   []byte // 16 bytes: this process
	finding *group[store.Key, foundEntry]
	claims  *group[store.Key, foundEntry]
	settled *group[settlement, struct{}]
}

type foundEntry struct {
	store.KnownEntry
	ok bool
}

// A settlement is an entry that is in the tree: the key that was claimed for it, and its rows.
type settlement struct {
	key  store.Key
	rows []store.KnownRow
}

func newKnown(db *sql.DB, owner []byte) *known {
	k := &known{db: db, owner: owner}
	k.finding = &group[store.Key, foundEntry]{do: k.findAll}
	k.claims = &group[store.Key, foundEntry]{do: k.claimAll}
	k.settled = &group[settlement, struct{}]{do: k.settleAll}
	return k
}

// again repeats what a deadlock, or a table or its row that is not there yet, stopped.
func (k *known) again(ctx context.Context, do func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	for try := 0; ; try++ {
		err := do(ctx)
		switch code := codeOf(err); {
		case err == nil || try == knownTries:
			return explainKnown(err)
		case code == codeNoTable || errors.Is(err, sql.ErrNoRows):
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
func (k *known) Find(ctx context.Context, key store.Key) (store.KnownEntry, bool, error) {
	found, err := k.finding.ask(ctx, key)
	return found.KnownEntry, found.ok, err
}

func (k *known) findAll(ctx context.Context, list []*asked[store.Key, foundEntry]) error {
	found := make(map[store.Key]store.KnownEntry, len(list))
	err := k.again(ctx, func(ctx context.Context) error { return k.read(ctx, questions(list), found) })
	for _, a := range list {
		a.answer.KnownEntry, a.answer.ok = found[a.question]
	}
	return err
}

// read looks keys up.
func (k *known) read(ctx context.Context, keys []store.Key, found map[store.Key]store.KnownEntry) error {
	return sqlite.Each(ctx, k.db, `SELECT k, number, proved FROM PoclogKnown WHERE k IN (`+marks("?", len(keys))+`)`, keyArgs(keys), func(rows *sql.Rows) error {
		var key []byte
		var e store.KnownEntry
		if err := rows.Scan(&key, &e.Number, &e.Proved); err != nil {
			return err
		}
		found[store.Key(key)] = e
		return nil
	})
}

func questions(list []*asked[store.Key, foundEntry]) []store.Key {
	keys := make([]store.Key, len(list))
	for i, a := range list {
		keys[i] = a.question
	}
	return keys
}

func keyArgs(keys []store.Key) []any {
	args := make([]any, len(keys))
	for i := range keys {
		args[i] = keys[i][:]
	}
	return args
}

func marks(mark string, n int) string { return strings.Repeat(mark+", ", n-1) + mark }

// Claim inserts a claim, or ends one whose process is dead and whose entry would be known by now.
// After that it looks who answers.
func (k *known) Claim(ctx context.Context, key store.Key) (store.KnownEntry, bool, error) {
	found, err := k.claims.ask(ctx, key)
	return found.KnownEntry, found.ok, err
}

func (k *known) claimAll(ctx context.Context, list []*asked[store.Key, foundEntry]) error {
	// In one order, so that two processes do not wait for each other.
	slices.SortFunc(list, func(a, b *asked[store.Key, foundEntry]) int { return bytes.Compare(a.question[:], b.question[:]) })
	if err := k.insertAll(ctx, list); err != nil {
		return err
	}
	mine := slices.DeleteFunc(slices.Clone(list), func(a *asked[store.Key, foundEntry]) bool { return a.err != nil })
	if len(mine) == 0 {
		return nil
	}
	err := k.findAll(ctx, mine)
	if err != nil {
		_ = k.releaseAll(ctx, mine) // or they expire
	}
	return err
}

// insertAll inserts claims. Each of those that others have is tried by itself.
func (k *known) insertAll(ctx context.Context, list []*asked[store.Key, foundEntry]) error {
	err := k.insert(ctx, list)
	if codeOf(err) != codeDuplicate {
		return err
	}
	there, err := k.claimed(ctx, list)
	if err != nil {
		return err
	}
	var free, rest []*asked[store.Key, foundEntry]
	for _, a := range list {
		if there[a.question] {
			rest = append(rest, a)
		} else {
			free, there[a.question] = append(free, a), true // a second one of the same key is not free
		}
	}
	if len(free) > 0 {
		if err := k.insert(ctx, free); codeOf(err) == codeDuplicate {
			rest = append(rest, free...)
		} else if err != nil {
			return err
		}
	}
	for _, a := range rest {
		a.err = k.claimOne(ctx, a.question)
	}
	return nil
}

func (k *known) insert(ctx context.Context, list []*asked[store.Key, foundEntry]) error {
	args := make([]any, 0, 3*len(list))
	for _, a := range list {
		args = append(args, a.question[:], k.owner, int(claimLives/time.Second))
	}
	return k.again(ctx, func(ctx context.Context) error {
		_, err := k.db.ExecContext(ctx, `INSERT INTO PoclogClaims VALUES `+marks(`(?, ?, SYSDATE(6) + INTERVAL ? SECOND, NULL)`, len(list)), args...)
		return err
	})
}

// claimed returns those keys of which there is a claim.
func (k *known) claimed(ctx context.Context, list []*asked[store.Key, foundEntry]) (map[store.Key]bool, error) {
	there := make(map[store.Key]bool)
	return there, k.again(ctx, func(ctx context.Context) error {
		return sqlite.Each(ctx, k.db, `SELECT k FROM PoclogClaims WHERE k IN (`+marks("?", len(list))+`)`, keyArgs(questions(list)), func(rows *sql.Rows) error {
			var key []byte
			err := rows.Scan(&key)
			if err == nil {
				there[store.Key(key)] = true
			}
			return err
		})
	})
}

func (k *known) claimOne(ctx context.Context, key store.Key) error {
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
	return k.releaseAll(ctx, []*asked[store.Key, foundEntry]{{question: key}})
}

func (k *known) releaseAll(ctx context.Context, list []*asked[store.Key, foundEntry]) error {
	return k.again(ctx, func(ctx context.Context) error { return k.release(ctx, k.db, questions(list)) })
}

func (k *known) release(ctx context.Context, db execer, keys []store.Key) error {
	_, err := db.ExecContext(ctx, `DELETE FROM PoclogClaims WHERE owner = ? AND k IN (`+marks("?", len(keys))+`)`, append([]any{k.owner}, keyArgs(keys)...)...)
	return err
}

// Settle adds an entry's rows and removes its claim, in one transaction.
func (k *known) Settle(ctx context.Context, key store.Key, rows []store.KnownRow) error {
	_, err := k.settled.ask(ctx, settlement{key, rows})
	return err
}

func (k *known) settleAll(ctx context.Context, list []*asked[settlement, struct{}]) error {
	var keys []store.Key
	var rows []store.KnownRow
	for _, a := range list {
		keys, rows = append(keys, a.question.key), append(rows, a.question.rows...)
	}
	// In the order of those who follow, so that they and this do not wait for each other.
	slices.SortStableFunc(rows, func(a, b store.KnownRow) int {
		return cmp.Or(bytes.Compare(a.Key[:], b.Key[:]), cmp.Compare(a.Number, b.Number))
	})
	return k.again(ctx, func(ctx context.Context) error {
		tx, err := k.db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }() // after Commit it does nothing
		if err := addKnown(ctx, tx, rows); err != nil {
			return err
		}
		if err := k.release(ctx, tx, keys); err != nil {
			return err
		}
		return tx.Commit()
	})
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
		_, err := db.ExecContext(ctx, `INSERT INTO PoclogKnown (k, number, proved) VALUES `+marks(`(?, ?, ?)`, n)+`
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

// Follow adds rows and the number after them in one transaction. Of most entries the front end that
// appended them settled the rows: these are only read.
func (k *known) Follow(ctx context.Context, from, next uint64, rows []store.KnownRow, config []byte) error {
	return k.again(ctx, func(ctx context.Context) error {
		rows, err := k.unsettled(ctx, rows)
		if err != nil {
			return err
		}
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

// unsettled returns the rows that are not there as they are. A row that is there answers from then on, or
// one that takes its place by the rule: rows are never removed.
func (k *known) unsettled(ctx context.Context, rows []store.KnownRow) ([]store.KnownRow, error) {
	there := make(map[store.Key]store.KnownEntry, len(rows))
	for part := range slices.Chunk(rows, knownRows) {
		keys := make([]store.Key, len(part))
		for i, r := range part {
			keys[i] = r.Key
		}
		if err := k.read(ctx, keys, there); err != nil {
			return nil, err
		}
	}
	return slices.DeleteFunc(slices.Clone(rows), func(r store.KnownRow) bool { return there[r.Key] == r.KnownEntry }), nil
}

var _ store.Known = (*known)(nil)
