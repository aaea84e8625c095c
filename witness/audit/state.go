package audit

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/internal/sqlite"
	"github.com/poclog/poclog/verify/tlogpolicy"
	"github.com/poclog/poclog/witness"
)

var schema = sqlite.Schema{`
CREATE TABLE log (
	origin        TEXT PRIMARY KEY,
	hash          TEXT NOT NULL UNIQUE,        -- hex SHA-256 of the origin
	url           TEXT NOT NULL,
	policy        TEXT NOT NULL,               -- tlog-policy
	removed       INTEGER NOT NULL DEFAULT 0,  -- 1: left alone
	audited       INTEGER NOT NULL DEFAULT 0,  -- every entry below was verified, or is in withheld; never goes down
	in_force      TEXT NOT NULL DEFAULT '',    -- digest of the policy of the newest config entry below; empty before the first
	in_force_size INTEGER NOT NULL DEFAULT 0,
	target        BLOB,                        -- the signed checkpoint up to which entries are being or were audited; NULL before the first
	seen          INTEGER NOT NULL DEFAULT 0   -- Unix seconds by which the target was first seen
) STRICT;
CREATE TABLE withheld (                        -- exceptions: entries below log.audited whose evidence was not seen
	origin      TEXT NOT NULL REFERENCES log(origin),
	entry       INTEGER NOT NULL,
	part        TEXT NOT NULL,
	digest      TEXT NOT NULL,
	seen        INTEGER NOT NULL,              -- Unix seconds at which it was found withheld
	tried       INTEGER NOT NULL,              -- and at which it was last asked for
	bound       INTEGER NOT NULL,              -- and by which a checkpoint that covers the entry was seen
	judged      TEXT NOT NULL,                 -- digest of the policy in force for the entry
	judged_size INTEGER NOT NULL,
	PRIMARY KEY (origin, entry)
) STRICT;
CREATE TABLE refused (
	origin   TEXT NOT NULL REFERENCES log(origin),
	entry    INTEGER NOT NULL,
	chk      TEXT NOT NULL,
	detail   TEXT NOT NULL,
	seen     INTEGER NOT NULL,                 -- Unix seconds of the first refusal
	resolved INTEGER NOT NULL DEFAULT 0,       -- and of when it passed after all; 0: it did not
	PRIMARY KEY (origin, entry)
) STRICT;
CREATE TABLE stated (                          -- statement entries below log.audited: what later ones are judged by
	origin    TEXT NOT NULL REFERENCES log(origin),
	entry     INTEGER NOT NULL,
	registrar TEXT NOT NULL,
	subject   TEXT NOT NULL,                   -- empty of a commitment
	leaf      BLOB NOT NULL,
	PRIMARY KEY (origin, entry)
) STRICT;
CREATE INDEX stated_line ON stated (origin, registrar, subject, entry);
CREATE TABLE split (                           -- evidence that a log signed two histories
	origin   TEXT NOT NULL REFERENCES log(origin),
	evidence BLOB NOT NULL,
	seen     INTEGER NOT NULL,
	PRIMARY KEY (origin, evidence)
) STRICT;
`}

const (
	maxRefused = 1024 // kept of one log
	maxSplits  = 8    // kept of one log: one is proof enough
)

// A state is the SQLite database of an auditor.
type state struct{ db *sqlite.DB }

var errNoLog = errors.New("unknown log")

func openState(path string) (*state, error) {
	db, err := sqlite.Open(path, schema)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("no auditor here: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("open the audit state: %w", err)
	}
	return &state{db}, nil
}

func (s *state) close() error { return s.db.Close() }

// A record is what is known of one log.
type record struct {
	origin  string
	url     string
	policy  *tlogpolicy.Policy
	removed bool

	audited uint64
	inForce poclog.Blob        // zero before the first config entry
	target  *client.Checkpoint // nil before the first; without a View
	seen    time.Time          // by which the target was first seen
}

const recordColumns = "origin, url, policy, removed, audited, in_force, in_force_size, target, seen"

// record returns what is known of the log whose origin has a hex SHA-256, or errNoLog.
func (s *state) record(ctx context.Context, hash string) (*record, error) {
	r, err := scanRecord(s.db.QueryRowContext(ctx, "SELECT "+recordColumns+" FROM log WHERE hash = ?", hash))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, errNoLog
	}
	if err != nil {
		return nil, fmt.Errorf("read the audit state: %w", err)
	}
	return r, nil
}

func scanRecord(row interface{ Scan(...any) error }) (*record, error) {
	var r record
	var policy, digest string
	var target []byte
	var seen int64
	if err := row.Scan(&r.origin, &r.url, &policy, &r.removed, &r.audited, &digest, &r.inForce.Size, &target, &seen); err != nil {
		return nil, err
	}
	fail := func(err error) (*record, error) {
		return nil, fmt.Errorf("log %q: %w", r.origin, err)
	}
	var err error
	if r.policy, err = tlogpolicy.Parse([]byte(policy)); err != nil {
		return fail(err)
	}
	if digest != "" {
		if r.inForce.SHA256, err = poclog.ParseDigest(digest); err != nil {
			return fail(err)
		}
	}
	if target != nil {
		c, err := tlogpolicy.ParseCheckpoint(target)
		if err != nil {
			return fail(err)
		}
		r.target = &client.Checkpoint{Tree: client.Tree{Origin: c.Origin, Size: c.Size, Root: c.Root}, Signed: target}
		r.seen = time.Unix(seen, 0).UTC()
	}
	return &r, nil
}

// logs returns every log that is not removed, by origin.
func (s *state) logs(ctx context.Context) ([]*record, error) {
	var list []*record
	err := s.each(ctx, "SELECT "+recordColumns+" FROM log WHERE removed = 0 ORDER BY origin", nil, func(rows *sql.Rows) error {
		r, err := scanRecord(rows)
		list = append(list, r)
		return err
	})
	return list, err
}

func (s *state) addLog(ctx context.Context, origin, url, policy string) error {
	_, err := s.db.ExecContext(ctx, `INSERT INTO log (origin, hash, url, policy) VALUES (?, ?, ?, ?)
		ON CONFLICT (origin) DO UPDATE SET url = excluded.url, policy = excluded.policy, removed = 0`, origin, witness.HashOf(origin), url, policy)
	if err != nil {
		return fmt.Errorf("add log %q: %w", origin, err)
	}
	return nil
}

func (s *state) removeLog(ctx context.Context, origin string) error {
	if _, err := s.db.ExecContext(ctx, "UPDATE log SET removed = 1 WHERE origin = ?", origin); err != nil {
		return fmt.Errorf("remove log %q: %w", origin, err)
	}
	return nil
}

// adopt makes a checkpoint the target, if r's is still it and was audited to its end. It is durable
// once adopt returns.
func (s *state) adopt(ctx context.Context, r *record, target []byte, seen time.Time) error {
	var old []byte
	if r.target != nil {
		old = r.target.Signed
	}
	res, err := s.db.ExecContext(ctx, "UPDATE log SET target = ?, seen = ? WHERE origin = ? AND target IS ? AND audited = ?",
		target, seen.Unix(), r.origin, old, r.audited)
	if err := sqlite.OneRow(res, err); err != nil {
		return fmt.Errorf("record the target of %q: %w", r.origin, err)
	}
	return nil
}

// A step is the outcome of a batch.
type step struct {
	audited  uint64 // the new value
	inForce  poclog.Blob
	withheld []Withheld // below audited
	refused  []Finding  // at audited and above
	stated   []stated   // those below audited count
	at       time.Time
}

// save records a batch, durably, if nothing else was recorded since r was read.
func (s *state) save(ctx context.Context, r *record, b *step) error {
	if err := s.db.Tx(ctx, func(tx *sql.Tx) error { return b.write(ctx, tx, r) }); err != nil {
		return fmt.Errorf("record the audit of %q: %w", r.origin, err)
	}
	return nil
}

func (b *step) write(ctx context.Context, tx *sql.Tx, r *record) error {
	digest := ""
	if b.inForce != (poclog.Blob{}) {
		digest = b.inForce.SHA256.String()
	}
	err := sqlite.OneRow(tx.ExecContext(ctx, "UPDATE log SET audited = ?, in_force = ?, in_force_size = ? WHERE origin = ? AND audited = ?",
		b.audited, digest, b.inForce.Size, r.origin, r.audited))
	exec := func(query string, args ...any) {
		if err == nil {
			_, err = tx.ExecContext(ctx, query, args...)
		}
	}
	for _, w := range b.withheld {
		exec("INSERT INTO withheld (origin, entry, part, digest, seen, tried, bound, judged, judged_size) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
			r.origin, w.Entry, w.Part, w.Digest.String(), b.at.Unix(), b.at.Unix(), r.seen.Unix(), w.judgedBy.SHA256.String(), w.judgedBy.Size)
	}
	for _, e := range b.stated {
		if e.entry < b.audited {
			exec("INSERT INTO stated (origin, entry, registrar, subject, leaf) VALUES (?, ?, ?, ?, ?)", r.origin, e.entry, e.key.Registrar, string(e.key.Subject), e.leaf)
		}
	}
	// Of what is withheld, only looking again tells.
	exec(`UPDATE refused SET resolved = ? WHERE origin = ? AND entry < ? AND resolved = 0
		AND entry NOT IN (SELECT entry FROM withheld WHERE withheld.origin = refused.origin)`, b.at.Unix(), r.origin, b.audited)
	for _, f := range b.refused {
		exec(`INSERT INTO refused (origin, entry, chk, detail, seen) SELECT ?, ?, ?, ?, ? WHERE (SELECT count(*) FROM refused WHERE origin = ?) < ?
			ON CONFLICT DO UPDATE SET chk = excluded.chk, detail = excluded.detail`, r.origin, f.Entry, f.Check, f.Detail, b.at.Unix(), r.origin, maxRefused)
	}
	return err
}

// addSplit keeps the evidence of a split view.
func (s *state) addSplit(ctx context.Context, origin string, evidence []byte, at time.Time) error {
	_, err := s.db.ExecContext(ctx, `INSERT INTO split (origin, evidence, seen) SELECT ?, ?, ? WHERE (SELECT count(*) FROM split WHERE origin = ?) < ?
		ON CONFLICT DO NOTHING`, origin, evidence, at.Unix(), origin, maxSplits)
	if err != nil {
		return fmt.Errorf("record the split view of %q: %w", origin, err)
	}
	return nil
}
