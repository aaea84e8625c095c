package monitor

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/internal/sqlite"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

// The cursor of a log, and whatever its entries caused, move in one transaction. Records themselves
// lie in a file beside, which is durable before the cursor moves past them: what lies beyond the
// cursor was never there.
var schema = sqlite.Schema{`
CREATE TABLE log (
	number     INTEGER PRIMARY KEY,
	origin     TEXT NOT NULL UNIQUE,
	url        TEXT NOT NULL,
	policy     TEXT NOT NULL,               -- tlog-policy
	removed    INTEGER NOT NULL DEFAULT 0,  -- 1: left alone
	next       INTEGER NOT NULL DEFAULT 0,  -- every entry below has a record; never goes down
	checkpoint BLOB,                        -- the signed checkpoint under which they were proven; NULL before the first
	looked     INTEGER NOT NULL DEFAULT 0,  -- Unix seconds at which the log last showed a fresh checkpoint
	roots      INTEGER NOT NULL DEFAULT 0   -- the challenges of every entry below were held to the logs' trees; never goes down
) STRICT;
CREATE TABLE covering (                     -- signed checkpoints that this monitor has seen: a later receipt is as tight as they are
	log    INTEGER NOT NULL REFERENCES log(number),
	size   INTEGER NOT NULL,
	time   INTEGER NOT NULL,                -- Unix seconds by which its quorum saw it, or this monitor did
	signed BLOB NOT NULL,
	PRIMARY KEY (log, size)
) STRICT;
CREATE TABLE term (                         -- strings of a log's records
	log  INTEGER NOT NULL REFERENCES log(number),
	id   INTEGER NOT NULL,
	text TEXT NOT NULL,
	PRIMARY KEY (log, id)
) STRICT;
CREATE TABLE pair (                         -- two entries that are still to be compared
	log_a INTEGER NOT NULL, a INTEGER NOT NULL,
	log_b INTEGER NOT NULL, b INTEGER NOT NULL,
	tries INTEGER NOT NULL DEFAULT 0,       -- that ended without a decision
	due   INTEGER NOT NULL DEFAULT 0,       -- Unix seconds before which it is not tried again
	PRIMARY KEY (log_a, a, log_b, b)
) STRICT;
CREATE TABLE alert (
	seq        INTEGER PRIMARY KEY,         -- in the order in which they came
	id         TEXT NOT NULL UNIQUE,
	time       INTEGER NOT NULL,            -- Unix seconds
	rule       TEXT NOT NULL,
	severity   TEXT NOT NULL,
	subject    TEXT NOT NULL,
	body       TEXT NOT NULL,               -- JSON
	silenced   TEXT NOT NULL DEFAULT ''     -- why nobody is to be told
) STRICT;
CREATE INDEX alert_subject ON alert (subject, seq);
CREATE INDEX alert_grave ON alert (severity, seq) WHERE severity <> 'information';
CREATE INDEX alert_silenced ON alert (rule, severity) WHERE silenced <> '';
CREATE TABLE delivery (                     -- alerts that a sink has taken
	sink  TEXT NOT NULL,
	alert TEXT NOT NULL REFERENCES alert(id),
	time  INTEGER NOT NULL,
	PRIMARY KEY (sink, alert)
) STRICT;
CREATE TABLE stated (                       -- statement entries: what registrars said of a subject
	log       INTEGER NOT NULL REFERENCES log(number),
	entry     INTEGER NOT NULL,
	registrar TEXT NOT NULL,
	subject   TEXT NOT NULL,                -- empty of a commitment
	seen      INTEGER NOT NULL,             -- Unix seconds, as in the record
	leaf      BLOB NOT NULL,
	PRIMARY KEY (log, entry)
) STRICT;
CREATE INDEX stated_subject ON stated (subject, log, entry);
CREATE INDEX stated_registrar ON stated (registrar, seen, log, entry);
CREATE TABLE mark (                         -- how far readers of the records came
	reader TEXT NOT NULL,
	log    INTEGER NOT NULL REFERENCES log(number),
	next   INTEGER NOT NULL,
	PRIMARY KEY (reader, log)
) STRICT;
`}

// A state is the SQLite database of a monitor.
type state struct {
	db *sqlite.DB

	// What is done for most pairs.
	insertPair, deletePair, insertAlert *sqlite.Statement
}

// stateCache is how much of the database is in memory, in KiB: the IDs of alerts fall anywhere in
// their index.
const stateCache = 32 << 10

var errNoLog = errors.New("unknown log")

func openState(path string) (*state, error) {
	db, err := sqlite.Open(path, schema)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("no monitor here: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("open the monitor's state: %w", err)
	}
	if _, err := db.Exec(fmt.Sprintf("PRAGMA cache_size = -%d", stateCache)); err != nil {
		return nil, errors.Join(fmt.Errorf("open the monitor's state: %w", err), db.Close())
	}
	s := &state{db: db}
	for _, p := range []struct {
		to    **sqlite.Statement
		query string
	}{{&s.insertPair, insertPair}, {&s.deletePair, deletePair}, {&s.insertAlert, insertAlert}} {
		if *p.to, err = db.Statement(p.query); err != nil {
			return nil, errors.Join(fmt.Errorf("open the monitor's state: %w", err), db.Close())
		}
	}
	return s, nil
}

func (s *state) close() error { return s.db.Close() }

// A logState is what is known of one log.
type logState struct {
	number     int
	origin     string
	url        string
	policy     *tlogpolicy.Policy
	policyText string
	removed    bool

	next       uint64
	checkpoint *client.Checkpoint // nil before the first; without a View
	looked     time.Time          // zero before the first look
	roots      uint64
}

const logColumns = "number, origin, url, policy, removed, next, checkpoint, looked, roots"

func scanLog(row interface{ Scan(...any) error }) (*logState, error) {
	var l logState
	var signed []byte
	var looked int64
	if err := row.Scan(&l.number, &l.origin, &l.url, &l.policyText, &l.removed, &l.next, &signed, &looked, &l.roots); err != nil {
		return nil, fmt.Errorf("read the monitor's state: %w", err)
	}
	fail := func(err error) (*logState, error) {
		return nil, fmt.Errorf("read the monitor's state of %q: %w", l.origin, err)
	}
	var err error
	if l.policy, err = tlogpolicy.Parse([]byte(l.policyText)); err != nil {
		return fail(err)
	}
	if looked != 0 {
		l.looked = time.Unix(looked, 0).UTC()
	}
	if signed == nil {
		if l.next != 0 {
			return fail(fmt.Errorf("%d entries without a checkpoint", l.next))
		}
		return &l, nil
	}
	c, err := tlogpolicy.ParseCheckpoint(signed)
	if err != nil {
		return fail(err)
	}
	if c.Origin != l.origin || c.Size < l.next {
		return fail(fmt.Errorf("%d entries under a checkpoint of %q at size %d", l.next, c.Origin, c.Size))
	}
	l.checkpoint = &client.Checkpoint{Tree: client.Tree{Origin: c.Origin, Size: c.Size, Root: c.Root}, Signed: signed}
	return &l, nil
}

// log returns what is known of a log, or errNoLog.
func (s *state) log(ctx context.Context, origin string) (*logState, error) {
	l, err := scanLog(s.db.Read.QueryRowContext(ctx, "SELECT "+logColumns+" FROM log WHERE origin = ?", origin))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("log %q: %w", origin, errNoLog)
	}
	return l, err
}

// logs returns every log, the removed ones too, by number.
func (s *state) logs(ctx context.Context) ([]*logState, error) {
	rows, err := s.db.Read.QueryContext(ctx, "SELECT "+logColumns+" FROM log ORDER BY number")
	if err != nil {
		return nil, fmt.Errorf("list the logs: %w", err)
	}
	defer rows.Close()
	var list []*logState
	for rows.Next() {
		l, err := scanLog(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, l)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list the logs: %w", err)
	}
	return list, nil
}

func (s *state) addLog(ctx context.Context, origin, url, policy string) error {
	_, err := s.db.ExecContext(ctx, `INSERT INTO log (origin, url, policy) VALUES (?, ?, ?)
		ON CONFLICT (origin) DO UPDATE SET url = excluded.url, policy = excluded.policy, removed = 0`, origin, url, policy)
	if err != nil {
		return fmt.Errorf("add log %q: %w", origin, err)
	}
	return nil
}

func (s *state) removeLog(ctx context.Context, origin string) error {
	res, err := s.db.ExecContext(ctx, "UPDATE log SET removed = 1 WHERE origin = ?", origin)
	if err != nil {
		return fmt.Errorf("remove log %q: %w", origin, err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return fmt.Errorf("remove log %q: %w", origin, errors.Join(errNoLog, err))
	}
	return nil
}

// tx does something in one transaction, which is durable once tx returns nil.
func (s *state) tx(ctx context.Context, what string, do func(*sql.Tx) error) error {
	if err := s.db.Tx(ctx, do); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}
