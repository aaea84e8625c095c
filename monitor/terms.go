package monitor

import (
	"context"
	"database/sql"
	"fmt"
)

// maxTerms bounds the strings of one log: a row has two bytes for each. No cloud has so many zones; a log that makes them up stops itself.
const maxTerms = 1<<16 - 1

// terms are the strings of one log's records, such as zones, by number. Number 0 is the empty string.
type terms struct {
	texts []string
	ids   map[string]uint16
	saved int // how many of texts are durable
}

func newTerms() *terms {
	return &terms{texts: []string{""}, ids: map[string]uint16{"": 0}, saved: 1}
}

// text returns a term, or "" for a number that was never given.
func (t *terms) text(id uint16) string {
	if int(id) < len(t.texts) {
		return t.texts[id]
	}
	return ""
}

// id returns the number of a string, a new one if need be.
func (t *terms) id(s []byte) (uint16, error) {
	if id, ok := t.ids[string(s)]; ok {
		return id, nil
	}
	if len(t.texts) > maxTerms {
		return 0, fmt.Errorf("more than %d names of places, statuses and logs in one log", maxTerms)
	}
	text := string(s)
	id := uint16(len(t.texts))
	t.texts, t.ids[text] = append(t.texts, text), id
	return id, nil
}

// save writes the new terms of a log into a transaction. The caller sets saved once it is committed.
func (t *terms) save(ctx context.Context, tx *sql.Tx, log int) error {
	for id := t.saved; id < len(t.texts); id++ {
		if _, err := tx.ExecContext(ctx, "INSERT INTO term (log, id, text) VALUES (?, ?, ?)", log, id, t.texts[id]); err != nil {
			return err
		}
	}
	return nil
}

// terms reads the terms of a log.
func (s *state) terms(ctx context.Context, log int) (*terms, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT id, text FROM term WHERE log = ? ORDER BY id", log)
	if err != nil {
		return nil, fmt.Errorf("read the terms: %w", err)
	}
	defer rows.Close()
	t := newTerms()
	for rows.Next() {
		var id int
		var text string
		if err := rows.Scan(&id, &text); err != nil {
			return nil, fmt.Errorf("read the terms: %w", err)
		}
		if id != len(t.texts) || id > maxTerms {
			return nil, fmt.Errorf("read the terms: %d follows %d", id, len(t.texts)-1)
		}
		t.texts, t.ids[text] = append(t.texts, text), uint16(id)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read the terms: %w", err)
	}
	t.saved = len(t.texts)
	return t, nil
}
