package monitor

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/poclog/poclog"
)

// A statedLeaf is a statement entry that was read.
type statedLeaf struct {
	index uint64
	seen  int64
	leaf  []byte
}

// addStated keeps statement entries. They are the monitor's only whole leaves: registrars that logs
// list are few.
func addStated(ctx context.Context, tx *sql.Tx, log int, list []statedLeaf) error {
	for _, x := range list {
		e, err := statementOf(x.leaf)
		if err != nil {
			return err
		}
		s := &e.Envelope.Statement
		if _, err := tx.ExecContext(ctx, "INSERT INTO stated (log, entry, registrar, subject, seen, leaf) VALUES (?, ?, ?, ?, ?, ?)",
			log, int64(x.index), s.Registrar, string(s.Subject), x.seen, x.leaf); err != nil {
			return err
		}
	}
	return nil
}

func statementOf(leaf []byte) (*poclog.StatementEntry, error) {
	l, err := poclog.ParseLeaf(leaf)
	if err == nil && l.Statement == nil {
		err = errors.New("it is no statement")
	}
	return l.Statement, err
}

// A Stated is a statement entry of a log that is followed.
type Stated struct {
	Origin string // of the log
	Index  uint64
	Seen   time.Time // when a checkpoint that covers it met the quorum, at the latest
	Entry  *poclog.StatementEntry
}

// maxStated is how many statements are read at once.
const maxStated = 256

// Statements lists the statements of the logs that are followed, in the logs' order; of one subject
// if that is not empty. Nothing of them is verified beyond their being in the log. The caller may
// ask the monitor other things meanwhile, and take its time: no connection is held.
func (m *Monitor) Statements(ctx context.Context, subject poclog.Identity) iter.Seq2[*Stated, error] {
	return func(yield func(*Stated, error) bool) {
		log, entry := 0, int64(-1)
		for {
			page, err := m.state.stated(ctx, subject, &log, &entry)
			for _, x := range page {
				if !yield(x, nil) {
					return
				}
			}
			if err != nil {
				yield(nil, fmt.Errorf("read the statements: %w", err))
				return
			}
			if len(page) < maxStated {
				return
			}
		}
	}
}

// stated reads a page of statements after an entry of a log, and sets both to those of the last.
func (s *state) stated(ctx context.Context, subject poclog.Identity, log *int, entry *int64) (page []*Stated, err error) {
	query, args := "SELECT number, log.origin, entry, seen, leaf FROM stated JOIN log ON log.number = stated.log WHERE removed = 0 AND (stated.log, entry) > (?, ?)", []any{*log, *entry}
	if subject != "" {
		query, args = query+" AND subject = ?", append(args, string(subject))
	}
	rows, err := s.db.Read.QueryContext(ctx, query+" ORDER BY stated.log, entry LIMIT ?", append(args, maxStated)...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		x := new(Stated)
		var seen int64
		var leaf []byte
		if err := rows.Scan(log, &x.Origin, entry, &seen, &leaf); err != nil {
			return page, err
		}
		x.Index, x.Seen = uint64(*entry), time.Unix(seen, 0).UTC()
		if x.Entry, err = statementOf(leaf); err != nil {
			return page, err
		}
		page = append(page, x)
	}
	return page, rows.Err()
}
