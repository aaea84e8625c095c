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

// A StatedFilter says which statements to list. Its zero value is all.
type StatedFilter struct {
	Subject   poclog.Identity
	Registrar string
	Ref       EntryRef // of one entry; without an origin any

	Newest     bool // the newest first, not the logs' order; only with Most
	Skip, Most int  // of Newest: leave out so many, and list at most so many
}

// maxStated is how many statements are read at once.
const maxStated = 256

// Statements lists the statements of the logs that are followed, in the logs' order or the newest
// first. Nothing of them is verified beyond their being in the log. The caller may ask the monitor
// other things meanwhile, and take its time: no connection is held.
func (m *Monitor) Statements(ctx context.Context, f StatedFilter) iter.Seq2[*Stated, error] {
	return func(yield func(*Stated, error) bool) {
		log, entry := 0, int64(-1)
		for {
			page, err := m.state.stated(ctx, &f, &log, &entry)
			for _, x := range page {
				if !yield(x, nil) {
					return
				}
			}
			if err != nil {
				yield(nil, fmt.Errorf("read the statements: %w", err))
				return
			}
			if len(page) < maxStated || f.Newest {
				return
			}
		}
	}
}

// stated reads a page of statements after an entry of a log, and sets both to those of the last.
func (s *state) stated(ctx context.Context, f *StatedFilter, log *int, entry *int64) (page []*Stated, err error) {
	query, args := "SELECT number, log.origin, entry, seen, leaf FROM stated JOIN log ON log.number = stated.log WHERE removed = 0 AND (stated.log, entry) > (?, ?)", []any{*log, *entry}
	and := func(clause string, arg ...any) { query, args = query+" AND "+clause, append(args, arg...) }
	if f.Subject != "" {
		and("subject = ?", string(f.Subject))
	}
	if f.Registrar != "" {
		and("registrar = ?", f.Registrar)
	}
	if f.Ref.Origin != "" {
		and("log.origin = ? AND entry = ?", f.Ref.Origin, int64(f.Ref.Index))
	}
	if f.Newest {
		query, args = query+" ORDER BY seen DESC, stated.log DESC, entry DESC LIMIT ? OFFSET ?", append(args, min(f.Most, maxStated), f.Skip)
	} else {
		query, args = query+" ORDER BY stated.log, entry LIMIT ?", append(args, maxStated)
	}
	rows, err := s.db.Read.QueryContext(ctx, query, args...)
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

// A Stating counts what a registrar stated in the logs that are followed.
type Stating struct {
	Registrar  string
	Statements int
	Subjects   int
	First      time.Time
	Last       time.Time
}

// Registrars lists who stated something, by name. Whether anybody believes them is not said.
func (m *Monitor) Registrars(ctx context.Context) (list []Stating, err error) {
	rows, err := m.state.db.Read.QueryContext(ctx, `SELECT registrar, count(*), count(DISTINCT subject), min(seen), max(seen)
		FROM stated JOIN log ON log.number = stated.log WHERE removed = 0 GROUP BY 1 ORDER BY 1`)
	if err != nil {
		return nil, fmt.Errorf("read the registrars: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var x Stating
		var first, last int64
		if err := rows.Scan(&x.Registrar, &x.Statements, &x.Subjects, &first, &last); err != nil {
			return nil, fmt.Errorf("read the registrars: %w", err)
		}
		x.First, x.Last = time.Unix(first, 0).UTC(), time.Unix(last, 0).UTC()
		list = append(list, x)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read the registrars: %w", err)
	}
	return list, nil
}
