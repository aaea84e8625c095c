package monitor

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"fmt"
)

// maxTerms bounds the strings of one log that are kept. No cloud has so many zones, but a log can
// make them up: further ones are kept as a part of their digests, by which they are still found and
// told apart.
var maxTerms = 1 << 16 // a variable for the tests alone

// A term stands for a string of one log: its number, or digested and 31 bits of its SHA-256.
type term uint32

const digested term = 1 << 31

// terms are the strings of one log's records, such as zones, by number. Number 0 is the empty
// string.
type terms struct {
	texts []string
	ids   map[string]term
	saved int      // how many of texts are durable
	often [64]term // of strings that came before, by nearly nothing of them: most come again soon
}

func newTerms() *terms {
	return &terms{texts: []string{""}, ids: map[string]term{"": 0}, saved: 1}
}

// full reports whether strings that are new are kept as digests.
func (t *terms) full() bool { return len(t.texts) >= maxTerms }

// text returns the string of a term, or of one that is kept as a digest "#" and that. It is "" for
// a number that was never given.
func (t *terms) text(id term) string {
	switch {
	case id&digested != 0:
		return fmt.Sprintf("#%08x", uint32(id&^digested))
	case int(id) < len(t.texts):
		return t.texts[id]
	}
	return ""
}

// find returns the term of a string: no record has it if the string is new.
func (t *terms) find(text string) term {
	if id, ok := t.ids[text]; ok {
		return id
	}
	sum := sha256.Sum256([]byte(text))
	return digested | term(binary.BigEndian.Uint32(sum[:]))&^digested
}

// id returns the term of a string, a new one if need be.
func (t *terms) id(s []byte) term {
	if len(s) == 0 {
		return 0
	}
	often := &t.often[(5*len(s)+int(s[len(s)-1]))%len(t.often)]
	if t.texts[*often] == string(s) {
		return *often
	}
	if id, ok := t.ids[string(s)]; ok {
		*often = id
		return id
	}
	text := string(s)
	if t.full() {
		return t.find(text)
	}
	id := term(len(t.texts))
	t.texts, t.ids[text] = append(t.texts, text), id
	return id
}

// save writes the terms of a log into a transaction that are new among texts. The caller sets saved
// once it is committed.
func (t *terms) save(ctx context.Context, tx *sql.Tx, log int, texts []string) error {
	for id := t.saved; id < len(texts); id++ {
		if _, err := tx.ExecContext(ctx, "INSERT INTO term (log, id, text) VALUES (?, ?, ?)", log, id, texts[id]); err != nil {
			return err
		}
	}
	return nil
}

// terms reads the terms of a log.
func (s *state) terms(ctx context.Context, log int) (*terms, error) {
	rows, err := s.db.Read.QueryContext(ctx, "SELECT id, text FROM term WHERE log = ? ORDER BY id", log)
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
		if id != len(t.texts) {
			return nil, fmt.Errorf("read the terms: %d follows %d", id, len(t.texts)-1)
		}
		t.texts, t.ids[text] = append(t.texts, text), term(id)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read the terms: %w", err)
	}
	t.saved = len(t.texts)
	return t, nil
}
